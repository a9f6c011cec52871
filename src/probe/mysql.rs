//! MySQL and MariaDB: a real login, as the application will make it, and a clean goodbye.
//!
//! A server counts connections that end before their login against the host, and shuts it out
//! when there are too many; so nothing here ever just connects, or reads the greeting alone.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, DriverError, Error, IoError, OptsBuilder, Row, ServerError, SslOpts};

use super::{NotReady, Probe, Progress, Reason};
use crate::target::{Host, MySql, Secret, SslMode};

/// The user of a login that only has to be decided.
const NOBODY: &str = "wait";

/// The longest that a goodbye may take: the target's fate is known by then.
const GOODBYE: Duration = Duration::from_millis(500);

/// `ER_SECURE_TRANSPORT_REQUIRED`: MySQL's answer to a login that has to be over TLS.
const SECURE_TRANSPORT_REQUIRED: u16 = 3159;

/// With a user: ready when the login succeeds, the database is selected, a ping is answered and
/// the query, if there is one, returns a row. Without one: when the server decides a login.
pub(super) async fn attempt(
    probe: &Probe,
    target: &MySql,
    progress: &Progress,
) -> Result<(), NotReady> {
    let addresses = probe.names.look_up(&target.endpoint.host, progress).await?;
    let host = match &target.endpoint.host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    };
    let options = OptsBuilder::default()
        .ip_or_hostname(host)
        .resolved_ips(Some(addresses))
        .tcp_port(target.endpoint.port)
        // By default the driver moves to the server's unix socket where it finds one, which says
        // nothing about the port, and asks for two settings that only a pool needs.
        .prefer_socket(false)
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60));
    let options = match &target.user {
        Some(user) => options
            .user(Some(user))
            .pass(target.password.as_ref().map(Secret::expose))
            .db_name(target.database.as_ref()),
        None => options.user(Some(NOBODY)),
    };

    progress.set("logging in");
    let mut connection = match log_in(options, target.ssl_mode, probe.tls_ca.as_deref()).await {
        Ok(connection) => connection,
        Err(error) => {
            let why = why(&error);
            let is_decided = target.user.is_none() && why.reason == Reason::AccessDenied;
            return if is_decided { Ok(()) } else { Err(why) };
        }
    };
    let result = match target.user {
        Some(_) => check(&mut connection, probe.mysql_query.as_deref(), progress).await,
        None => Ok(()),
    };
    // Even after a failure: a connection that ends without a word is counted as aborted.
    progress.set("saying goodbye");
    let _ = tokio::time::timeout(GOODBYE, connection.disconnect()).await;
    result
}

async fn log_in(options: OptsBuilder, ssl_mode: SslMode, ca: Option<&[u8]>) -> Result<Conn, Error> {
    let with_tls = |options: OptsBuilder| {
        let roots = ca.map(|pem| pem.to_vec().into()).into_iter().collect();
        let tls = SslOpts::default()
            .with_root_certs(roots)
            .with_danger_accept_invalid_certs(ssl_mode < SslMode::VerifyCa)
            .with_danger_skip_domain_validation(ssl_mode < SslMode::VerifyIdentity);
        Conn::new(options.ssl_opts(Some(tls)))
    };
    match ssl_mode {
        SslMode::Disabled => Conn::new(options).await,
        // The driver cannot ask for TLS "if there is any", and to find that out by failing would
        // leave a mark on a server without. The password is not sent in clear either way.
        SslMode::Preferred => match Conn::new(options.clone()).await {
            Err(Error::Server(error)) if error.code == SECURE_TRANSPORT_REQUIRED => {
                with_tls(options).await
            }
            result => result,
        },
        SslMode::Required | SslMode::VerifyCa | SslMode::VerifyIdentity => with_tls(options).await,
    }
}

/// What comes after the login. The database was selected by it.
async fn check(
    connection: &mut Conn,
    query: Option<&str>,
    progress: &Progress,
) -> Result<(), NotReady> {
    progress.set("pinging");
    connection.ping().await.map_err(|error| why(&error))?;
    let Some(query) = query else {
        return Ok(());
    };
    progress.set("running the query");
    match connection.query_first::<Row, _>(query).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(NotReady::new(
            Reason::QueryEmpty,
            "the query returns no row",
        )),
        Err(Error::Server(error)) => Err(NotReady::new(Reason::QueryFailed, numbered(&error))),
        Err(error) => Err(why(&error)),
    }
}

fn why(error: &Error) -> NotReady {
    match error {
        Error::Server(error) => NotReady::new(by_number(error.code), numbered(error)),
        Error::Io(IoError::Tls(error)) => NotReady::new(Reason::TlsFailed, error.to_string()),
        Error::Io(IoError::Io(error)) => match error.get_ref() {
            Some(inner) if inner.is::<rustls::Error>() => {
                NotReady::new(Reason::TlsFailed, inner.to_string())
            }
            _ => NotReady::from_io(error),
        },
        // The driver's words for it are about the client.
        Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            NotReady::new(Reason::TlsFailed, "the server offers no TLS")
        }
        // MySQL does that for a user that does not exist, too, so as not to tell.
        Error::Driver(DriverError::UnknownAuthPlugin { name }) => NotReady::new(
            Reason::AccessDenied,
            format!("the server asks this user for {name}, which wait does not have"),
        ),
        Error::Driver(DriverError::ConnectionClosed) => {
            NotReady::new(Reason::Closed, "the server hung up")
        }
        // Not by `Debug`: it would show bytes of the conversation.
        error => NotReady::new(Reason::Protocol, error.to_string()),
    }
}

/// The number is the same for every version and language of the server; the text is not.
fn by_number(code: u16) -> Reason {
    match code {
        1040 | 1203 | 1226 => Reason::TooManyConnections,
        // Denied, also by host, without a password, and for a locked account.
        1045 | 1130 | 1698 | 3118 => Reason::AccessDenied,
        1044 | 1049 => Reason::UnknownDatabase,
        1053 => Reason::ShuttingDown,
        1129 => Reason::HostBlocked,
        SECURE_TRANSPORT_REQUIRED => Reason::TlsRequired,
        code => Reason::ServerError(code),
    }
}

fn numbered(error: &ServerError) -> String {
    format!("error {}: {}", error.code, error.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_error_is_known_by_its_number() {
        for (code, reason) in [
            (1040, Reason::TooManyConnections),
            (1044, Reason::UnknownDatabase),
            (1045, Reason::AccessDenied),
            (1049, Reason::UnknownDatabase),
            (1053, Reason::ShuttingDown),
            (1129, Reason::HostBlocked),
            (1130, Reason::AccessDenied),
            (3159, Reason::TlsRequired),
            (1064, Reason::ServerError(1064)),
        ] {
            let error = Error::Server(ServerError {
                code,
                message: "text".to_owned(),
                state: "HY000".to_owned(),
            });
            let expected = NotReady::new(reason, format!("error {code}: text"));
            assert_eq!(why(&error), expected);
        }
    }
}
