//! A connection to a virtual host, opened and closed.
//!
//! RabbitMQ logs a warning for every connection that ends between its header and its opening, whatever
//! the client does. So a target without a user, which can only be asked whether it offers to start,
//! leaves one line in the log of a server that does, and one with a user leaves none.


use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::drivers::{self, Mechanism, DriverOptions};
use super::session::{Credentials, Session};
use crate::net::At;
use crate::net::tls::{Tls, TlsMode};
use crate::probe::{Attempt, NotReady, Probe, Reason, reason, goodbye};
use crate::targets::{Address, Defaults, Expected, Login, Origin, Password, Secret, Source};

/// The virtual host of a target that names none.
const DEFAULT_VIRTUAL_HOST: &str = "/";
/// The user of a URL that names none, and the password, for every client.
const DEFAULT_USER: &str = "guest";
/// The setting that the password is from then.
const DEFAULT: &str = "the default of clients";
/// The most that is shown of the mechanisms that a server offers, in characters.
const SHOWN: usize = 100;
/// The longest name of a virtual host or a queue, in bytes.
const LONGEST_NAME: usize = 255;

const GUEST: &str = "by default guest may log in only from the server's own host (loopback_users): take \
                     another user";
const NO_USER: &str = "where no user is named, clients log in as guest: name another (WAIT_AMQP_USER, \
                       WAIT_AMQP_PASSWORD), or let guest in (loopback_users)";
const CERTIFICATE: &str = "give a certificate and its key (cert-file, key-file); is its name that of a user \
                           of the server (ssl_cert_login_from)?";
const NO_MECHANISM: Reason = reason::ACCESS_DENIED
    .with_hint("let the server offer it (auth_mechanisms; EXTERNAL needs rabbitmq_auth_mechanism_ssl), or take another (?auth_mechanism=plain or external)");

/// A server and how to log in to it.
#[derive(Debug)]
struct Amqp {
    places: Vec<At>,
    tls: Option<Tls>,
    mode: TlsMode,
    /// Without a user there is no login.
    login: Login,
    queue: Option<String>,
    options: DriverOptions,
}

pub(super) fn parse(
    address: &mut Address,
    defaults: &Defaults<'_>,
) -> Result<Box<dyn Probe>, Expected> {
    let options = DriverOptions::of(address)?;
    let mode = address.tls_mode_or(options.tls)?;
    drivers::take_identity(address)?;
    drivers::make_one_segment(address)?;
    let mut login = defaults.login(address)?;
    let is_external = options.mechanism == Mechanism::External;
    // Where nothing is said, clients log in all the same.
    if address.origin == Origin::Application
        && login.user.is_none()
        && login.password.is_none()
        && !is_external
    {
        login.user = Some(DEFAULT_USER.to_owned());
        address.user.clone_from(&login.user);
        login.password = Some(Password {
            source: Source::Given(Secret::new(DEFAULT_USER)),
            setting: DEFAULT.to_owned(),
        });
    }
    let queue = address.option("queue").map(str::to_owned);
    let names = [login.database.as_deref(), queue.as_deref()];
    if names.iter().flatten().any(|name| name.len() > LONGEST_NAME) || queue.as_deref() == Some("") {
        return Err(Expected::new(
            "expected the name of a virtual host or a queue to have 1 to 255 bytes",
        ));
    }
    let amqp = Amqp {
        places: address.places()?,
        tls: defaults.tls_or_none(address, mode, options.authorities.as_ref())?,
        mode,
        login,
        queue,
        options,
    };
    if !amqp.logs_in() {
        if amqp.queue.is_some() {
            return Err(Expected::new(
                "expected a user, to look for the queue as (WAIT_AMQP_USER)",
            ));
        }
        defaults.notice_no_user(address, &amqp.login);
    }
    Ok(Box::new(amqp))
}

impl Probe for Amqp {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        cx.first_of(&self.places, self, |this, at, cx| this.start_and_close(at, cx).boxed())
            .boxed()
    }

    fn description(&self) -> Vec<(&'static str, String)> {
        let login = self.login.description().into_iter();
        let mut parts: Vec<_> = login.filter(|(name, _)| *name != "database").collect();
        if self.logs_in() {
            parts.push(("virtual host", self.virtual_host().to_owned()));
            parts.push(("mechanism", self.options.mechanism.name().to_owned()));
        }
        parts.push(("TLS", self.mode.to_string()));
        parts.extend(self.queue.iter().map(|queue| ("queue", queue.clone())));
        parts
    }

    fn verifies_certificates(&self) -> bool {
        self.mode.is_verified()
    }
}

impl Amqp {
    /// Whether there is a login, by a user or by a certificate.
    fn logs_in(&self) -> bool {
        self.login.user.is_some() || self.options.mechanism == Mechanism::External
    }

    fn virtual_host(&self) -> &str {
        let database = self.login.database.as_deref();
        database.unwrap_or(DEFAULT_VIRTUAL_HOST)
    }

    async fn start_and_close(&self, at: &At, cx: &Attempt) -> Result<(), NotReady> {
        let password = match &self.login.password {
            Some(password) if self.login.user.is_some() => Some(cx.password(password).await?),
            _ => None,
        };
        let mut stream = cx.connect(at).await?;
        if let Some(tls) = &self.tls {
            if let Some(host) = &self.options.server_name {
                stream.host = host.clone();
            }
            stream = cx.tls(stream, tls).await?;
        }
        cx.phase("waiting for the server to start the connection");
        let (mut session, mechanisms) = Session::start(stream, cx).await?;
        if !self.logs_in() {
            session.leave().await;
            return Ok(());
        }
        self.log_in_and_open(&mut session, &mechanisms, password.as_deref(), cx).await?;
        let result = match &self.queue {
            None => Ok(()),
            Some(queue) => {
                cx.phase("looking for the queue");
                session.look_for_queue(queue).await
            }
        };
        cx.phase("closing the connection");
        let closed = goodbye(session.close()).await;
        result.and(closed.unwrap_or(Ok(())))?;
        session.takes_messages()
    }

    async fn log_in_and_open(
        &self,
        session: &mut Session<'_>,
        mechanisms: &str,
        password: Option<&Secret>,
        cx: &Attempt,
    ) -> Result<(), NotReady> {
        let mechanism = self.options.mechanism.name();
        if !mechanisms.split(' ').any(|offered| offered == mechanism) {
            session.leave().await;
            let mechanisms: String = mechanisms.chars().take(SHOWN).collect();
            let detail = format!("the server offers no login by {mechanism}, but by: {mechanisms}");
            return Err(NotReady::new(&NO_MECHANISM, detail));
        }
        cx.phase("logging in");
        let user = self.login.user.as_deref().unwrap_or_default();
        let response = match self.options.mechanism {
            Mechanism::Plain => format!("\0{user}\0{}", password.map_or("", Secret::expose)),
            Mechanism::External => String::new(),
        };
        let credentials = Credentials {
            mechanism,
            response: response.as_bytes(),
        };
        let proposed = session.log_in(&credentials).await;
        let proposed = proposed.map_err(|why| self.explain(why, password))?;
        cx.phase("opening the virtual host");
        let limits = self.options.limits(proposed);
        session.open(limits, self.virtual_host()).await
    }

    /// A denied login with a hint that fits.
    fn explain(&self, why: NotReady, password: Option<&Secret>) -> NotReady {
        if !why.is(&reason::ACCESS_DENIED) {
            return why;
        }
        if self.options.mechanism == Mechanism::External {
            return why.with_hint(CERTIFICATE);
        }
        if self.login.password.as_ref().is_some_and(|password| password.setting == DEFAULT) {
            return why.with_hint(NO_USER);
        }
        let why = self.login.explain(why, password);
        match self.login.user.as_deref() {
            Some(DEFAULT_USER) => {
                let hint = format!("{GUEST}, or {}", why.hint());
                why.with_hint(hint)
            }
            _ => why,
        }
    }
}
