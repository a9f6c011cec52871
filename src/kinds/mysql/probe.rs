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

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::drivers;
use super::login::{self, Account, Greeting};
use super::session::{LoggedIn, Session};
use crate::kinds::query;
use crate::net::At;
use crate::net::tls::{Tls, TlsMode, Verification};
use crate::probe::{Attempt, NotReady, Probe, reason, goodbye};
use crate::targets::{Address, Defaults, Expected, Login, Secret};

/// A statement that does nothing.
const NOTHING: &str = "DO 0";
/// The errors of a server, or a proxy, that lacks the statement.
const LACKING: [&str; 3] = ["1064", "1235", "1295"];

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
    let query = defaults.query(address, &login)?;
    defaults.notice_no_user(address, &login);
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
        let (mut logged_in, greeting) = match self.log_in(at, account, cx).await {
            Ok((session, greeting)) => (LoggedIn::new(session), greeting),
            Err(why) if self.login.user.is_none() && is_denial(&why) => return Ok(()),
            // Other numbers have hints of their own.
            Err(why) if why.code.as_deref() == Some("1045") => {
                return Err(self.login.explain(why, password.as_deref()));
            }
            Err(why) => return Err(why),
        };
        let result = match self.login.user {
            Some(_) => {
                let session = &mut logged_in.session;
                self.ask(session, &greeting, at, account, cx).await
            }
            None => Ok(()),
        };
        cx.phase("closing the session");
        goodbye(logged_in.quit()).await;
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
        let Some(statement) = &self.query else {
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
        query::begin(cx).await?;
        let rows = query::run_or_cancel(
            session.run(statement.expose()),
            || self.cancel(greeting.id, at, account, cx).boxed(),
            cx,
        );
        query::judge(rows.await, &super::QUERY_EMPTY, super::QUERY_FAILED)
    }

    /// Has the server end the statement of another connection.
    async fn cancel(&self, id: u32, at: &At, account: Account<'_>, cx: &Attempt) -> Result<(), NotReady> {
        let (session, _) = self.log_in(at, account, cx).await?;
        let mut logged_in = LoggedIn::new(session);
        let result = logged_in.session.run(&format!("KILL QUERY {id}")).await;
        logged_in.quit().await?;
        result.map(drop)
    }
}

/// The statement that has the server itself end the query a second after the wait, also behind a
/// lock; `None` if the wait has no end.
fn limits(greeting: &Greeting, time_left: Option<Duration>) -> Option<String> {
    let seconds = query::limit(time_left?);
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
