//! The metadata of a cluster, from any of its brokers, and a look at the addresses that the brokers
//! advertise.
//!
//! An application connects to the addresses that it was given only to ask for the others, and then to
//! those: `localhost:9092`, advertised by a broker in another container, is the usual mistake.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::{ACCESS_DENIED, NOT_SERVING};
use super::login::{Account, Choice, Mechanism, choose};
use super::metadata::{Broker, Metadata};
use super::session::Session;
use crate::net::At;
use crate::net::tls::{Tls, TlsMode};
use crate::probe::{Attempt, NotReady, Probe, Reason, Retry, reason};
use crate::targets::{Address, Defaults, Expected, Login, Secret, one_of};

/// The longest that a connection to an advertised address may take, as clients have it (kafkajs 1 s).
const REACHING: Duration = Duration::from_secs(1);
/// For how long brokers are tried that may not be needed; an attempt has the connect timeout in all.
const REACHING_OTHERS: Duration = Duration::from_secs(2);
/// The most brokers that are tried, of those that are needed and of the others.
const MOST_TRIED: usize = 8;

/// The longest name of a topic.
const LONGEST_TOPIC: usize = 249;

/// The broker logs that as a failed login.
const NO_LOGIN: Reason = Reason {
    retry: Retry::BackOff,
    ..reason::CLOSED.with_hint("the listener may ask for a login: kafka://USER:PASSWORD@…")
};

/// The parameters for one thing, in the words of several programs.
const MECHANISM: &[&str] = &[
    "sasl_mechanism",
    "sasl-mechanism",
    "sasl.mechanism",
    "sasl.mechanisms",
    "mechanism",
];
const TLS: &[&str] = &["ssl", "tls", "tls_enabled", "enable-tls"];
const SECURITY: &[&str] = &["security_protocol", "security.protocol"];
const USER: &[&str] = &["user", "sasl_user", "sasl-user", "sasl_username", "sasl.username"];
const PASSWORD: &[&str] = &["password", "sasl_password", "sasl-password", "sasl.password"];

/// A cluster, and how to log in to it.
#[derive(Debug)]
struct Kafka {
    places: Vec<At>,
    tls: Option<Tls>,
    login: Login,
    /// The mechanism that the target names.
    mechanism: Option<Mechanism>,
    /// The mechanism that the brokers turned out to have.
    found: Mutex<Option<Mechanism>>,
    topics: Vec<String>,
}

pub(super) fn parse(
    address: &mut Address,
    defaults: &Defaults<'_>,
) -> Result<Box<dyn Probe>, Expected> {
    let parameter = |names: &[&str]| {
        let mut values = names.iter().map(|name| address.parameter(name));
        values.find_map(Result::transpose).transpose()
    };
    let mechanism = parameter(MECHANISM)?.filter(|name| !name.is_empty());
    let mechanism = mechanism.map(|name| {
        one_of("expected sasl_mechanism to be", &name, &Mechanism::NAMES)
    });
    let asks_for_tls = parameter(TLS)?.is_some_and(|value| {
        !matches!(&*value.to_ascii_lowercase(), "false" | "0" | "no" | "off")
    });
    let security = parameter(SECURITY)?.map(|name| {
        let names = [
            ("plaintext", false),
            ("sasl_plaintext", false),
            ("ssl", true),
            ("sasl_ssl", true),
        ];
        one_of("expected security_protocol to be", &name, &names)
    });
    let (user, password) = (parameter(USER)?, parameter(PASSWORD)?);
    address.user = address.user.take().or(user.filter(|user| !user.is_empty()));
    address.password = address.password.take().or(password.map(Secret::new));
    let is_tls = address.scheme.is_tls || asks_for_tls || security.transpose()?.unwrap_or(false);
    let mut login = defaults.login(address)?;
    let topics = topics(login.database.take())?;
    defaults.notice_no_user(address, &login);
    let mode = address.tls_mode_or(TlsMode::of_scheme(is_tls))?;
    Ok(Box::new(Kafka {
        places: address.places()?,
        tls: defaults.tls_or_none(address, mode, None)?,
        login,
        mechanism: mechanism.transpose()?,
        found: Mutex::default(),
        topics,
    }))
}

/// The topics in the path: one, or several with commas between.
fn topics(path: Option<String>) -> Result<Vec<String>, Expected> {
    let path = path.unwrap_or_default();
    let is_name = |topic: &str| {
        (1..=LONGEST_TOPIC).contains(&topic.len())
            && !matches!(topic, "." | "..")
            && topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let topics: Vec<_> = path.split(',').filter(|topic| !topic.is_empty()).map(str::to_owned).collect();
    match topics.iter().all(|topic| is_name(topic)) {
        true => Ok(topics),
        false => Err(Expected::new(
            "expected names of topics: letters, digits, '.', '_' and '-', with commas between the names",
        )),
    }
}

impl Probe for Kafka {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        cx.first_of(&self.places, self, |this, at, cx| this.look(at, cx).boxed())
            .boxed()
    }

    fn description(&self) -> Vec<(&'static str, String)> {
        let mut parts = self.login.description();
        parts.extend(self.mechanism.map(|mechanism| ("mechanism", mechanism.name().to_owned())));
        parts.extend((!self.topics.is_empty()).then(|| ("topics", self.topics.join(", "))));
        parts.push(("TLS", TlsMode::of(self.tls.as_ref()).to_string()));
        parts
    }

    fn verifies_certificates(&self) -> bool {
        TlsMode::of(self.tls.as_ref()).is_verified()
    }
}

impl Kafka {
    async fn look(&self, at: &At, cx: &Attempt) -> Result<(), NotReady> {
        let password = match &self.login.password {
            Some(password) if self.login.user.is_some() => Some(cx.password(password).await?),
            _ => None,
        };
        let password = password.as_deref();
        let account = self.login.user.as_deref().map(|user| Account {
            user,
            password: password.map_or("", Secret::expose),
        });
        // The other denials have hints of their own.
        let explained = |why: NotReady| match why.reason == ACCESS_DENIED {
            true => self.explain(why, password),
            false => why,
        };
        let mut session = self.open(at, account, cx).await.map_err(explained)?;
        let metadata = Metadata::ask(&mut session, &self.topics).await;
        session.end().await;
        let metadata = metadata.map_err(|why| match why.is(&reason::CLOSED) && account.is_none() {
            true => NotReady {
                reason: NO_LOGIN,
                ..why
            },
            false => why,
        })?;
        let leaders = metadata.leaders(&self.topics)?;
        self.reach(at, &metadata.brokers, &leaders, account, cx).await
    }

    /// A denied login with what may be wrong with it. An account may be one of another mechanism.
    fn explain(&self, why: NotReady, password: Option<&Secret>) -> NotReady {
        let why = self.login.explain(why, password);
        if self.mechanism.is_some() {
            return why;
        }
        let hint = format!("{}; or name the mechanism (?sasl_mechanism=scram-sha-256)", why.hint());
        why.with_hint(hint)
    }

    /// Connects to a broker and logs in.
    async fn open<'a>(
        &self,
        at: &At,
        account: Option<Account<'_>>,
        cx: &'a Attempt,
    ) -> Result<Session<'a>, NotReady> {
        let mut session = self.connect(at, cx).await?;
        let Some(account) = account else {
            return Ok(session);
        };
        let known = self.mechanism.or(*self.found());
        let mut mechanism = known.unwrap_or(Mechanism::ScramSha512);
        if let Choice::Refused(offered) = session.choose(mechanism).await? {
            session.end().await;
            mechanism = choose(&offered, self.mechanism, self.verifies_certificates())?;
            session = self.connect(at, cx).await?;
            if let Choice::Refused(offered) = session.choose(mechanism).await? {
                choose(&offered, Some(mechanism), false)?;
            }
            *self.found() = Some(mechanism);
        }
        session.log_in(mechanism, account, self.tls.is_some()).await?;
        Ok(session)
    }

    async fn connect<'a>(&self, at: &At, cx: &'a Attempt) -> Result<Session<'a>, NotReady> {
        let stream = cx.connect_with(at, self.tls.as_ref()).await?;
        Session::begin(stream, cx).await
    }

    fn found(&self) -> MutexGuard<'_, Option<Mechanism>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether the application reaches the brokers: it needs all leaders of its topics, or else
    /// any broker. That others are not reached is a warning.
    async fn reach(
        &self,
        at: &At,
        brokers: &[Broker],
        leaders: &BTreeMap<i32, &Broker>,
        account: Option<Account<'_>>,
        cx: &Attempt,
    ) -> Result<(), NotReady> {
        for broker in leaders.values().take(MOST_TRIED) {
            self.reach_one(at, broker, account, cx).await?;
        }
        let mut others: Vec<_> = brokers.iter().filter(|broker| !leaders.contains_key(&broker.id)).collect();
        // As clients do it; the one that has answered is first.
        fastrand::shuffle(&mut others);
        others.sort_by_cached_key(|broker| broker.at().as_ref() != Some(at));
        let mut is_any_reached = !leaders.is_empty();
        let mut failure = None;
        let start = Instant::now();
        for broker in others.into_iter().take(MOST_TRIED) {
            if start.elapsed() >= REACHING_OTHERS {
                break;
            }
            match self.reach_one(at, broker, account, cx).await {
                Ok(()) => is_any_reached = true,
                Err(why) => failure = failure.or(Some(why)),
            }
        }
        match failure {
            Some(why) if is_any_reached => cx.warn(format!("{}; {}", why.detail, why.hint())),
            Some(why) => return Err(why),
            None => {}
        }
        Ok(())
    }

    async fn reach_one(
        &self,
        at: &At,
        broker: &Broker,
        account: Option<Account<'_>>,
        cx: &Attempt,
    ) -> Result<(), NotReady> {
        let advertised = broker.at();
        if advertised.as_ref() == Some(at) {
            return Ok(());
        }
        let opening = async {
            match &advertised {
                Some(advertised) => self.open(advertised, account, cx).await,
                None => Err(NotReady::new(&reason::UNRESOLVED, "that is no address")),
            }
        };
        let opened = timeout(REACHING, opening).await.unwrap_or_else(|_| {
            let phase = cx.current_phase();
            Err(NotReady::new(&reason::TIMED_OUT, format!("no answer while {phase}")))
        });
        match opened {
            Ok(session) => {
                session.end().await;
                Ok(())
            }
            Err(why) => {
                let detail = format!(
                    "broker {} advertises {}, which is not reached from here: {why}",
                    broker.id,
                    broker.advertised()
                );
                // The other broker has answered, even if this one has noticed nothing.
                let retry = match why.reason.retry {
                    Retry::Soon => NOT_SERVING.retry,
                    retry => retry,
                };
                let reason = Reason {
                    retry,
                    ..NOT_SERVING
                };
                Err(NotReady::new(&reason, detail))
            }
        }
    }
}
