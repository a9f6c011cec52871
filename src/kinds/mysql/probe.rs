//! A real login, as the application will make it, and a clean goodbye.
//!
//! A server counts connections that end before their login against the host, and blocks it when
//! there are too many. So no attempt ends after the connection or the greeting alone, and a login that
//! cannot succeed is left for the server to deny.
//!
//! Existing drivers cannot do that: they take TLS always or never and find out that a server has
//! none by breaking off, they connect to addresses in their own way, and they do not report in which
//! phase an attempt fails. So the conversation is our own, on the packets and ciphers of
//! `mysql_common`, the base of `mysql_async`.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use tokio::time::timeout;

use super::drivers;
use super::login::{self, Account, Greeting};
use super::session::{Rows, Session};
use crate::net::At;
use crate::net::tls::{Tls, TlsMode, Verification};
use crate::probe::{Attempt, NotReady, Probe, reason};
use crate::targets::{Address, Defaults, Expected, Login, Secret};

/// The longest that a goodbye may take: the result is known by then.
const GOODBYE: Duration = Duration::from_millis(500);

/// A statement that does nothing.
const NOTHING: &str = "DO 0";
/// The errors of a server, or a proxy, that lacks the statement.
const LACKING: [&str; 3] = ["1064", "1235", "1295"];

/// The longest limit that every server takes, in seconds.
const LONGEST_LIMIT: u64 = 1_000_000;

/// A server and how to log in to it.
#[derive(Debug)]
pub(super) struct MySql {
    places: Vec<At>,
    /// Without a user no login has to succeed: it is enough that the server decides one.
    pub(super) login: Login,
    pub(super) mode: TlsMode,
    pub(super) tls: Tls,
    /// Whether a server may have the password in clear text, over TLS that is verified.
    pub(super) is_cleartext: bool,
    /// It may compare with a secret.
    query: Option<Secret>,
    /// Why TLS, where it is preferred, could not be agreed on.
    without_tls: Mutex<Option<NotReady>>,
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
    let (mode, authorities) = drivers::tls(address)?;
    let mode = address.tls_mode()?.unwrap_or(mode);
    Ok(Box::new(MySql {
        places: address.places()?,
        login,
        mode,
        tls: defaults.tls(address, mode.verification(), authorities.as_ref())?,
        is_cleartext: address.flag("cleartext")?,
        query: query.map(Secret::new),
        without_tls: Mutex::default(),
    }))
}

impl Probe for MySql {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        cx.first_of(&self.places, self, |this, at, cx| {
            this.log_in_and_ask(at, cx).boxed()
        })
        .boxed()
    }

    fn description(&self) -> Vec<(&'static str, String)> {
        let mut parts = self.login.description();
        parts.push(("TLS", self.mode.to_string()));
        parts.extend(self.query.is_some().then(|| ("query", "yes".to_owned())));
        parts
    }

    fn verifies_certificates(&self) -> bool {
        self.tls.verification != Verification::Nothing
    }
}

impl MySql {
    async fn log_in_and_ask(&self, at: &At, cx: &Attempt) -> Result<(), NotReady> {
        let password = match &self.login.password {
            Some(password) if self.login.user.is_some() => Some(cx.password(password).await?),
            _ => None,
        };
        let account = Account {
            user: self.login.user.as_deref(),
            password: password.as_ref().map_or("", |password| password.expose()),
            database: self.login.database.as_deref(),
        };
        let (mut session, greeting) = match self.log_in(at, account, cx).await {
            Ok(logged_in) => logged_in,
            Err(why) if self.login.user.is_none() && is_denial(&why) => return Ok(()),
            // Other numbers have hints of their own.
            Err(why) if why.code.as_deref() == Some("1045") => {
                return Err(self.login.explain(why, password.as_deref()));
            }
            Err(why) => return Err(why),
        };
        let result = match self.login.user {
            Some(_) => self.ask(&mut session, &greeting, at, account, cx).await,
            None => Ok(()),
        };
        // Even after a failure: a connection that ends without COM_QUIT is counted as aborted.
        cx.phase("closing the session");
        let _ = timeout(GOODBYE, session.quit()).await;
        result
    }

    /// Connects and logs in. Where TLS is preferred and cannot be agreed on, it goes without, as
    /// MySQL's own client does, from then on: each failed handshake counts against the host.
    async fn log_in<'a>(
        &self,
        at: &At,
        account: Account<'_>,
        cx: &'a Attempt,
    ) -> Result<(Session<'a>, Greeting), NotReady> {
        let known = self.without_tls().clone();
        let failure = match known {
            Some(failure) => failure,
            None => match self.log_in_with(at, self.mode, account, cx).await {
                Err(why) if self.mode == TlsMode::Prefer && why.is(&reason::TLS_FAILED) => why,
                result => return result,
            },
        };
        let result = self.log_in_with(at, TlsMode::Off, account, cx).await;
        let is_required = matches!(&result, Err(why) if why.is(&reason::TLS_REQUIRED));
        *self.without_tls() = (!is_required).then(|| failure.clone());
        result.map_err(|why| match is_required {
            true => failure,
            // The account may require TLS, which the denial does not mention.
            false if why.is(&reason::ACCESS_DENIED) => NotReady {
                detail: format!("{}, without TLS: {}", why.detail, failure.detail),
                ..why
            },
            false => why,
        })
    }

    fn without_tls(&self) -> MutexGuard<'_, Option<NotReady>> {
        let known = self.without_tls.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }

    async fn log_in_with<'a>(
        &self,
        at: &At,
        mode: TlsMode,
        account: Account<'_>,
        cx: &'a Attempt,
    ) -> Result<(Session<'a>, Greeting), NotReady> {
        let stream = cx.connect(at).await?;
        let (session, greeting) = login::greeting(stream, cx).await?;
        let session = login::log_in(session, &greeting, self, mode, account).await?;
        Ok((session, greeting))
    }

    /// The steps after the login. The database was selected by it.
    async fn ask(
        &self,
        session: &mut Session<'_>,
        greeting: &Greeting,
        at: &At,
        account: Account<'_>,
        cx: &Attempt,
    ) -> Result<(), NotReady> {
        cx.phase("pinging");
        session.ping().await?;
        let Some(query) = &self.query else {
            cx.phase("running a statement");
            // With an expired password a login may succeed, and a ping, and nothing else; a proxy
            // may have no server behind it. Only a server that lacks the statement is excused.
            return match session.run(NOTHING).await {
                Err(why) if why.code.as_deref().is_some_and(|code| LACKING.contains(&code)) => Ok(()),
                result => result.map(drop),
            };
        };
        if let Some(limits) = limits(greeting, cx.time_left()) {
            cx.phase("limiting the query");
            match session.run(&limits).await {
                Err(why) if why.code.is_none() => return Err(why),
                _ => {} // a server without these settings
            }
        }
        let permit = pin!(cx.working("running the query"));
        if let Either::Left(_) = select(pin!(cx.stopped()), permit).await {
            return Err(NotReady::new(&reason::TIMED_OUT, "the query was not run"));
        }
        let rows = {
            let rows = pin!(session.run(query.expose()));
            match select(rows, pin!(cx.stopped())).await {
                Either::Left((rows, _)) => rows,
                Either::Right(((), rows)) => {
                    self.cancel(greeting.id, at, account, cx).await?;
                    // Its result, an error or not, is that of a statement that was cut short.
                    let _ = rows.await;
                    return Err(NotReady::new(&reason::TIMED_OUT, "the query was cancelled"));
                }
            }
        };
        match rows {
            Ok(Rows::True) => Ok(()),
            Ok(Rows::False) => Err(NotReady::new(
                &super::QUERY_EMPTY,
                "the first column of each row is NULL, 0, false or empty",
            )),
            Ok(Rows::None) => Err(NotReady::new(&super::QUERY_EMPTY, "the query returns no row")),
            // Errors that would not have come in answer to any other statement.
            Err(why) if why.is(&reason::SERVER_ERROR) || why.is(&reason::UNKNOWN_DATABASE) => {
                let reason = super::QUERY_FAILED;
                Err(NotReady { reason, ..why })
            }
            Err(why) => Err(why),
        }
    }

    /// Has the server end the statement of another connection.
    async fn cancel(&self, id: u32, at: &At, account: Account<'_>, cx: &Attempt) -> Result<(), NotReady> {
        let (mut session, _) = self.log_in(at, account, cx).await?;
        let result = session.run(&format!("KILL QUERY {id}")).await;
        session.quit().await?;
        result.map(drop)
    }
}

/// The statement that has the server itself end the query a second after the wait, also behind a
/// lock; `None` if the wait has no end.
fn limits(greeting: &Greeting, time_left: Option<Duration>) -> Option<String> {
    let seconds = time_left?.as_secs().saturating_add(2).min(LONGEST_LIMIT);
    let limit = match greeting.is_mariadb {
        true => format!("max_statement_time={seconds}"),
        false => format!("max_execution_time={}", seconds * 1000),
    };
    Some(format!(
        "SET SESSION {limit}, lock_wait_timeout={seconds}, innodb_lock_wait_timeout={seconds}"
    ))
}

/// Whether a server with this answer has checked the login.
fn is_denial(why: &NotReady) -> bool {
    why.is(&reason::ACCESS_DENIED) || why.is(&reason::TLS_REQUIRED)
}
