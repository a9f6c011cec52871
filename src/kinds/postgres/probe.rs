//! A real login, as the application will make it, a statement, and a clean goodbye.
//!
//! A server complains in its log about logins that break off and messages that it does not expect, but
//! not about a connection that ends where it waits for a password.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::drivers::{self, Binding, Encryption, Role};
use super::login::{self, Account, Key};
use super::session::{Answer, Session};
use crate::kinds::query;
use crate::net::At;
use crate::net::tls::{Tls, TlsMode, Verification};
use crate::probe::{Attempt, NotReady, Probe, reason, goodbye};
use crate::targets::{Address, Defaults, Expected, Login, Secret};

/// A statement that does nothing.
const NOTHING: &str = "SELECT 1";
/// The errors of a server, or a proxy, that lacks the limits or does not take them together with the
/// query: a syntax error, an unknown setting, a missing feature, no transaction.
const LACKING: [&str; 5] = ["0A000", "25001", "2D000", "42601", "42704"];

/// The protocol's name in TLS.
const ALPN: &[u8] = b"postgresql";

/// A server and how to log in to it.
#[derive(Debug)]
pub(super) struct Postgres {
    places: Vec<At>,
    /// Without a user no login has to succeed: it is enough that the server decides one.
    login: Login,
    pub(super) encryption: Encryption,
    pub(super) tls: Tls,
    pub(super) binding: Binding,
    /// The methods of authentication that the target takes; empty for all.
    methods: Vec<String>,
    /// Whether a server may have the password in clear text, without TLS.
    pub(super) is_cleartext: bool,
    role: Role,
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
    if query.as_ref().is_some_and(|query| query.contains('\0')) {
        return Err(Expected::new("expected a query without a NUL (%00)"));
    }
    defaults.notice_no_user(address, &login);
    let mut encryption = drivers::encryption(address)?;
    if let Some(mode) = address.tls_mode()? {
        encryption = Encryption {
            mode,
            is_reluctant: false,
            is_taken_strictly: false,
            ..encryption
        };
    }
    if encryption.mode != TlsMode::Off {
        drivers::take_identity(address)?;
    }
    let verification = encryption.mode.verification();
    let authorities = encryption.authorities.as_ref();
    let authorities = authorities.filter(|_| verification != Verification::Nothing);
    let mut tls = defaults.tls(address, verification, authorities)?;
    tls.protocol = Some(ALPN);
    // As in libpq, where TLS begins at once.
    tls.is_protocol_optional = !encryption.is_direct;
    let port = address.endpoint.port;
    let places = address.places()?.into_iter().map(|at| drivers::at(at, port));
    Ok(Box::new(Postgres {
        places: places.collect(),
        login,
        encryption,
        tls,
        binding: drivers::binding(address)?,
        methods: drivers::methods(address)?,
        is_cleartext: address.flag("cleartext")?,
        role: drivers::role(address)?,
        query: query.map(Secret::new),
        without_tls: Mutex::default(),
    }))
}

impl Probe for Postgres {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        cx.first_of(&self.places, self, |this, at, cx| {
            this.log_in_and_ask(at, cx).boxed()
        })
        .boxed()
    }

    fn description(&self) -> Vec<(&'static str, String)> {
        let mut parts = self.login.description();
        parts.push(("TLS", self.encryption.mode.to_string()));
        parts.extend(self.role.name().map(|name| ("server", name.to_owned())));
        parts.extend(self.query.is_some().then(|| ("query", "yes".to_owned())));
        parts
    }

    fn verifies_certificates(&self) -> bool {
        self.tls.verification != Verification::Nothing
    }
}

/// A session, how its connection was made, and the key to cancel its statements.
struct LoggedIn<'a> {
    session: Session<'a>,
    is_tls: bool,
    key: Option<Key>,
}

impl Postgres {
    async fn log_in_and_ask(&self, at: &At, cx: &Attempt) -> Result<(), NotReady> {
        let password = match &self.login.password {
            Some(password) if self.login.user.is_some() => Some(cx.password(password).await?),
            _ => None,
        };
        let account = Account {
            user: self.login.user.as_deref(),
            password: password.as_ref().map(|password| password.expose()),
            database: self.login.database.as_deref(),
        };
        let mut logged_in = match self.log_in(at, account, cx).await {
            Ok(Some(logged_in)) => logged_in,
            Ok(None) => return Ok(()),
            Err(why) if self.login.user.is_none() && is_decision(&why) => return Ok(()),
            // Others have hints of their own.
            Err(why) if why.own_hint.is_none() && why.reason == super::ACCESS_DENIED => {
                return Err(self.login.explain(why, password.as_deref()));
            }
            Err(why) => return Err(why),
        };
        let result = match self.login.user {
            Some(_) => self.ask(&mut logged_in, at, cx).await,
            None => Ok(()),
        };
        cx.phase("closing the session");
        goodbye(logged_in.session.quit()).await;
        result
    }

    /// Connects and logs in, as libpq does: where TLS is preferred and cannot be agreed on, or the server
    /// has no place for a login with it, it goes without; where TLS is only allowed, the other way round.
    /// A failed handshake leaves a line in the server's log, so from then on none is tried.
    async fn log_in<'a>(
        &self,
        at: &At,
        account: Account<'_>,
        cx: &'a Attempt,
    ) -> Result<Option<LoggedIn<'a>>, NotReady> {
        if self.encryption.mode != TlsMode::Prefer || matches!(at, At::Socket(_)) {
            return self.log_in_with(at, self.encryption.mode, account, cx).await;
        }
        let (first, second) = match self.encryption.is_reluctant {
            true => (TlsMode::Off, TlsMode::Require(Verification::Nothing)),
            false => (TlsMode::Prefer, TlsMode::Off),
        };
        let known = self.without_tls().clone();
        let failure = match known {
            Some(failure) => failure,
            None => match self.log_in_with(at, first, account, cx).await {
                Err(why) if why.is(&reason::TLS_FAILED) => why,
                Err(why) if account.user.is_some() && is_refusal(&why) => why,
                result => return result,
            },
        };
        let result = self.log_in_with(at, second, account, cx).await;
        if failure.is(&reason::TLS_FAILED) {
            *self.without_tls() = Some(failure.clone());
        }
        result.map_err(|why| match why {
            // The server refuses both, or has no TLS for the second.
            why if is_refusal(&why) && !failure.is(&reason::TLS_FAILED) => failure,
            why if why.is(&reason::TLS_FAILED) => failure,
            why if why.is(&reason::ACCESS_DENIED) && failure.is(&reason::TLS_FAILED) => NotReady {
                detail: format!("{}, without TLS: {}", why.detail, failure.detail),
                ..why
            },
            why => why,
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
    ) -> Result<Option<LoggedIn<'a>>, NotReady> {
        let stream = cx.connect(at).await?;
        let secured = login::secure(stream, self, mode, cx).await?;
        let is_tls = secured.is_tls;
        let logged_in = login::log_in(secured, self, account, cx).await?;
        Ok(logged_in.map(|(session, key)| LoggedIn {
            session,
            is_tls,
            key,
        }))
    }

    /// The steps after the login.
    async fn ask(
        &self,
        LoggedIn {
            session,
            is_tls,
            key,
        }: &mut LoggedIn<'_>,
        at: &At,
        cx: &Attempt,
    ) -> Result<(), NotReady> {
        if let Some((statement, expected)) = self.role.question() {
            cx.phase("asking for the server's role");
            let answer = session.run(statement).await?.first;
            if answer.as_deref() != Some(expected) {
                let detail = format!(
                    "the server is not {}",
                    self.role.name().unwrap_or_default()
                );
                return Err(NotReady::new(&reason::NOT_SERVING, detail)
                    .with_hint("is the primary up, and is it among the hosts of the target?"));
            }
        }
        let Some(statement) = &self.query else {
            cx.phase("running a statement");
            return session.run(NOTHING).await.map(drop);
        };
        query::begin(cx).await?;
        let limits = cx.time_left().map(limits).unwrap_or_default();
        let answer = query::run_or_cancel(
            run_limited(session, &limits, statement.expose()),
            || self.cancel(*key, at, *is_tls, cx).boxed(),
            cx,
        );
        let rows = answer.await.map(|answer| answer.rows);
        query::judge(rows, &super::QUERY_EMPTY, super::QUERY_FAILED)
    }

    /// Has the server end the statement of another connection, over TLS if that one has it: the key is
    /// confidential.
    async fn cancel(
        &self,
        key: Option<Key>,
        at: &At,
        is_tls: bool,
        cx: &Attempt,
    ) -> Result<(), NotReady> {
        // Without one it can only be left.
        let key = key.ok_or_else(|| NotReady::new(&reason::TIMED_OUT, "the query was cancelled"))?;
        let stream = cx.connect(at).await?;
        let mode = match is_tls {
            true => TlsMode::Require(self.tls.verification),
            false => TlsMode::Off,
        };
        let secured = login::secure(stream, self, mode, cx).await?;
        secured.cancel(key, cx).await
    }

    /// Whether the target takes a method of authentication.
    pub(super) fn allows(&self, method: &str) -> bool {
        match self.methods.iter().any(|own| own.starts_with('!')) {
            true => !self.methods.iter().any(|own| own.trim_start_matches('!') == method),
            false => self.methods.is_empty() || self.methods.iter().any(|own| own == method),
        }
    }

    /// A failure of TLS with a hint, if it is due to how the mode is understood.
    pub(super) fn explain_mode(&self, why: NotReady) -> NotReady {
        match self.encryption.is_taken_strictly {
            true => why.with_hint(
                "sslmode is taken as verify-full, as npm's pg takes it; for libpq's meaning add \
                 uselibpqcompat=true to the URL or #tls=require to the target; or name the authority \
                 (WAIT_TLS_CA_FILE)",
            ),
            false => why,
        }
    }
}

/// Runs a query with limits in the same message, which makes one transaction of them: so they end with
/// it, even where a pooler gives the server's session to others. Where the server lacks them, or a
/// statement cannot be part of a transaction, the query runs alone.
async fn run_limited(
    session: &mut Session<'_>,
    limits: &str,
    query: &str,
) -> Result<Answer, NotReady> {
    let result = session.run(&format!("{limits}{query}")).await;
    let is_in_query = session
        .error_at
        .is_some_and(|at| at > limits.chars().count());
    match result {
        Err(why)
            if !limits.is_empty()
                && !is_in_query
                && why.code.as_deref().is_some_and(|code| LACKING.contains(&code)) =>
        {
            session.run(query).await
        }
        result => result,
    }
}

/// The statements that have the server itself end the query a second after the wait, also behind a
/// lock.
fn limits(time_left: Duration) -> String {
    let limit = query::limit(time_left) * 1000;
    format!("SET LOCAL statement_timeout={limit}; SET LOCAL lock_timeout={limit}; ")
}

/// Whether a server with this answer has decided about the login.
fn is_decision(why: &NotReady) -> bool {
    let undecided = [
        &reason::STARTING,
        &reason::SHUTTING_DOWN,
        &reason::TOO_MANY_CONNECTIONS,
        &reason::NOT_SERVING,
    ];
    why.code.is_some() && !undecided.iter().any(|reason| why.is(reason))
}

/// Whether the server has no place for a login with, or without, TLS. A wrong password is no reason to
/// send it again.
fn is_refusal(why: &NotReady) -> bool {
    why.code.as_deref() == Some("28000") || why.is(&reason::TLS_REQUIRED)
}
