//! A real login, as the application will make it, and a clean goodbye.
//!
//! A server counts connections that end before their login against the host, and blocks it when
//! there are too many; so nothing here ever just connects, or reads the greeting alone, and a login
//! that cannot succeed is left for the server to deny.
//!
//! Existing drivers cannot do that: they take TLS always or never and find out that a server has
//! none by breaking off, they connect to addresses in their own way, and they do not report in which
//! phase an error came. So the conversation is held here, on the packets and ciphers of
//! `mysql_common`, which is the ground that `mysql_async` stands on.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::login::{self, Account};
use super::session::Session;
use crate::net::At;
use crate::net::tls::{TlsMode, Verification};
use crate::probe::{Attempt, NotReady, Probe, reason};
use crate::targets::{Address, Defaults, Endpoint, Expected, Login, one_of};

/// The longest that a goodbye may take: the result is known by then.
const GOODBYE: Duration = Duration::from_millis(500);

/// A statement that does nothing.
const NOTHING: &str = "DO 0";

/// MySQL's own names, from the least strict to the strictest.
const SSL_MODES: [(&str, TlsMode); 5] = [
    ("DISABLED", TlsMode::Off),
    ("PREFERRED", TlsMode::Prefer),
    ("REQUIRED", TlsMode::Require(Verification::Nothing)),
    ("VERIFY_CA", TlsMode::Require(Verification::Authority)),
    ("VERIFY_IDENTITY", TlsMode::Require(Verification::AuthorityAndName)),
];

/// A server and how to log in to it.
#[derive(Debug)]
pub(super) struct MySql {
    pub(super) at: At,
    /// For the name in the server's certificate.
    pub(super) endpoint: Endpoint,
    /// Without a user no login has to succeed: it is enough that the server decides one.
    pub(super) login: Login,
    pub(super) tls: TlsMode,
    query: Option<String>,
}

pub(super) fn parse(
    address: &mut Address,
    defaults: &Defaults<'_>,
) -> Result<Box<dyn Probe>, Expected> {
    let login = defaults.login(address)?;
    let query = defaults.query(address)?;
    if login.user.is_none() {
        if query.is_some() {
            return Err(Expected::new(
                "expected a user, to run the query as (WAIT_MYSQL_USER)",
            ));
        }
        if login.password.is_some() {
            defaults.notice(format!(
                "{address} has a password and no user: it is not logged in to (set WAIT_MYSQL_USER)"
            ));
        }
    }
    Ok(Box::new(MySql {
        at: address.at()?,
        endpoint: address.endpoint.clone(),
        login,
        tls: tls_mode(address)?,
        query,
    }))
}

fn tls_mode(address: &Address) -> Result<TlsMode, Expected> {
    let ssl_mode = match address.parameter("ssl-mode")? {
        Some(name) => one_of("expected ssl-mode to be", &name, &SSL_MODES)?,
        None => TlsMode::Prefer,
    };
    Ok(address.tls_mode()?.unwrap_or(ssl_mode))
}

impl Probe for MySql {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        self.log_in_and_ask(cx).boxed()
    }

    fn verifies_certificates(&self) -> bool {
        self.tls.verification() != Verification::Nothing
    }
}

impl MySql {
    async fn log_in_and_ask(&self, cx: &Attempt) -> Result<(), NotReady> {
        let password = match &self.login.password {
            Some(password) if self.login.user.is_some() => Some(cx.password(password).await?),
            _ => None,
        };
        let account = Account {
            user: self.login.user.as_deref(),
            password: password.as_ref().map_or("", |password| password.expose()),
            database: self.login.database.as_deref(),
        };
        let stream = cx.connect(&self.at).await?;
        let (session, greeting) = login::greeting(stream, cx).await?;
        let mut session = match login::log_in(session, greeting, self, account).await {
            Ok(session) => session,
            Err(why) if self.login.user.is_none() && is_denial(&why) => return Ok(()),
            Err(why) => return Err(why),
        };
        let result = match self.login.user {
            Some(_) => self.ask(&mut session, cx).await,
            None => Ok(()),
        };
        // Even after a failure: a connection that ends without a word is counted as aborted.
        cx.phase("closing the session");
        let _ = timeout(GOODBYE, session.quit()).await;
        result
    }

    /// The steps after the login. The database was selected by it.
    async fn ask(&self, session: &mut Session<'_>, cx: &Attempt) -> Result<(), NotReady> {
        cx.phase("pinging");
        session.ping().await?;
        let Some(query) = &self.query else {
            cx.phase("running a statement");
            // With an expired password a login may succeed, and a ping, and nothing else. Where a
            // server does not know the statement, as a proxy may not, the login counts.
            return match session.has_row(NOTHING).await {
                Err(why) if why.is(&reason::SERVER_ERROR) => Ok(()),
                result => result.map(drop),
            };
        };
        cx.phase("running the query");
        match session.has_row(query).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotReady::new(&super::QUERY_EMPTY, "the query returns no row")),
            // Errors that would not have come in answer to any other statement.
            Err(why) if why.is(&reason::SERVER_ERROR) || why.is(&reason::UNKNOWN_DATABASE) => {
                let reason = super::QUERY_FAILED;
                Err(NotReady { reason, ..why })
            }
            Err(why) => Err(why),
        }
    }
}

/// Whether a server that answers so has looked at the login.
fn is_denial(why: &NotReady) -> bool {
    why.is(&reason::ACCESS_DENIED) || why.is(&reason::TLS_REQUIRED)
}
