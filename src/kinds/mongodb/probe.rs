//! `hello` to each host, until one is a server that the driver would choose; then the login, and a
//! command. The connections end as those of drivers do: the protocol has no goodbye.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;

use super::bson::Draft;
use super::login::{self, Account, EXTERNAL, Mechanism};
use super::options::{Members, Options};
use super::seeds::{self, Seeds, Text};
use super::session::Session;
use super::topology::{Hello, Role, Search};
use crate::net::At;
use crate::net::tls::{Tls, TlsMode};
use crate::probe::{Attempt, NotReady, Probe, Stage, reason};
use crate::targets::{Address, Defaults, Expected, Login, Secret};

/// The database of the commands that are about the server, and of accounts that no other has.
const ADMIN: &str = "admin";

/// The most hosts that are asked at the same time. Drivers ask all of them.
const MOST_AT_ONCE: usize = 8;

/// How long hosts that do not answer are waited for when others have, in milliseconds: at first, and
/// at most, since the one that is missing may just be slow.
const PATIENCE: u64 = 1000;
const MOST_PATIENCE: u64 = 16_000;

/// The errors of a server that lacks the command `hello`.
const LACKING: [&str; 3] = ["59", "115", "303"];

/// The servers and how to log in to them.
#[derive(Debug)]
struct MongoDb {
    places: Vec<At>,
    is_srv: bool,
    options: Options,
    tls: Option<Tls>,
    login: Login,
    /// In milliseconds.
    patience: AtomicU64,
}

pub(super) fn parse(
    address: &mut Address,
    defaults: &Defaults<'_>,
) -> Result<Box<dyn Probe>, Expected> {
    let options = Options::of(address, defaults)?;
    let login = defaults.login(address)?;
    options.check_login(&login, address)?;
    let is_by_certificate = options.mechanism == Some(Mechanism::X509);
    if options.mechanism.is_none() {
        defaults.notice(format!(
            "{address}: wait lacks its authMechanism and does not log in; the answer to hello is enough"
        ));
    } else if !is_by_certificate {
        defaults.notice_no_user(address, &login);
    }
    let is_srv = address.scheme.is_tls;
    let tls = defaults.tls_or_none(address, options.tls, options.authorities.as_ref())?;
    Ok(Box::new(MongoDb {
        places: address.places()?,
        is_srv,
        options,
        tls,
        login,
        patience: AtomicU64::new(PATIENCE),
    }))
}

impl Probe for MongoDb {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        self.find_and_log_in(cx).boxed()
    }

    fn description(&self) -> Vec<(&'static str, String)> {
        let mut parts = self.login.description();
        parts.extend(self.options.replica_set.iter().map(|set| ("replica set", set.clone())));
        parts.push(("read preference", self.options.read_preference.clone()));
        parts.push(("TLS", self.options.tls.to_string()));
        parts
    }

    fn verifies_certificates(&self) -> bool {
        TlsMode::of(self.tls.as_ref()).is_verified()
    }
}

impl MongoDb {
    async fn find_and_log_in(&self, cx: &Attempt) -> Result<(), NotReady> {
        let is_by_certificate = self.options.mechanism == Some(Mechanism::X509);
        let logs_in = self.options.mechanism.is_some() && self.login.user.is_some() || is_by_certificate;
        let password = match &self.login.password {
            Some(password) if logs_in && !is_by_certificate => Some(cx.password(password).await?),
            _ => None,
        };
        let Seeds { places, text } = match &*self.places {
            [at] if self.is_srv => seeds::look_up(at, &self.options, cx).await?,
            places => Seeds {
                places: places.to_vec(),
                text: Text::default(),
            },
        };
        let account = self.options.mechanism.filter(|_| logs_in).map(|mechanism| Account {
            user: self.login.user.as_deref(),
            password: password.as_ref().map_or("", |password| password.expose()),
            mechanism,
            source: match (&self.options.auth_source, &text.auth_source, &self.login.database) {
                _ if is_by_certificate => EXTERNAL,
                (Some(source), ..) | (_, Some(source), _) | (_, _, Some(source)) => source,
                (None, None, None) => ADMIN,
            },
        });
        let is_load_balanced = self.options.is_load_balanced || text.is_load_balanced;
        let set = self.options.replica_set.clone().or(text.replica_set);
        let search = Search::new(places, &self.options, set, is_load_balanced);
        let (mut session, hello) = self.find(search, account, is_load_balanced, cx).await?;
        let result = match account {
            // An arbiter has no accounts.
            Some(account) if hello.role != Role::Arbiter => {
                self.ask(&mut session, account, &hello, password.as_deref()).await
            }
            _ => Ok(()),
        };
        session.cx().phase("closing the connection");
        session.end().await;
        result
    }

    /// Asks the hosts, and those that they name, side by side until one is suitable.
    async fn find(
        &self,
        mut search: Search<'_>,
        account: Option<Account<'_>>,
        is_load_balanced: bool,
        cx: &Attempt,
    ) -> Result<(Session, Hello), NotReady> {
        let mut running = FuturesUnordered::new();
        let mut silent = Vec::new();
        loop {
            while running.len() < MOST_AT_ONCE
                && let Some(at) = search.next()
            {
                let part = cx.part();
                silent.push(at.clone());
                running.push(async move {
                    let asked = self.greet(&at, account, is_load_balanced, &part).await;
                    (at, part, asked)
                });
            }
            let patience = match search.is_answered() {
                true => Duration::from_millis(self.patience.load(Ordering::Relaxed)),
                false => Duration::MAX,
            };
            let Ok(ended) = timeout(patience, running.next()).await else {
                // Next time they are waited for longer.
                let longer = (patience.as_millis() as u64 * 2).min(MOST_PATIENCE);
                self.patience.store(longer, Ordering::Relaxed);
                for at in silent {
                    let why = NotReady::new(&reason::TIMED_OUT, "no answer");
                    search.fail(&at, Stage::Reaching, why);
                }
                return Err(search.conclude());
            };
            let Some((at, part, asked)) = ended else {
                return Err(search.conclude());
            };
            silent.retain(|other| *other != at);
            match asked {
                Ok((session, hello)) if search.hear(&at, &hello) => return Ok((session, hello)),
                Ok((session, _)) => session.end().await,
                Err(why) => search.fail(&at, part.stage(), why),
            }
            cx.take(&part);
        }
    }

    /// Connects to a host and has it say what it is.
    async fn greet(
        &self,
        at: &At,
        account: Option<Account<'_>>,
        is_load_balanced: bool,
        cx: &Arc<Attempt>,
    ) -> Result<(Session, Hello), NotReady> {
        let stream = cx.connect_with(at, self.tls.as_ref()).await?;
        cx.phase("waiting for the answer to hello");
        let mut session = Session::new(stream, Arc::clone(cx));
        let command = |name| {
            let driver = Draft::new()
                .text("name", env!("CARGO_PKG_NAME"))
                .text("version", env!("CARGO_PKG_VERSION"));
            let system = Draft::new().text("type", std::env::consts::OS);
            let client = Draft::new().document("driver", driver).document("os", system);
            let mut command = Draft::new().int(name, 1).document("client", client);
            if is_load_balanced {
                command = command.flag("loadBalanced", true);
            }
            if let Some(Account { user: Some(user), mechanism: Mechanism::Scram, source, .. }) = account {
                command = command.text("saslSupportedMechs", &format!("{source}.{user}"));
            }
            command
        };
        let reply = match session.run(command("hello"), ADMIN).await {
            // Before MongoDB 4.4.
            Err(why) if why.code.as_deref().is_some_and(|code| LACKING.contains(&code)) => {
                session.run(command("isMaster"), ADMIN).await?
            }
            reply => reply?,
        };
        let hello = Hello::parse(reply.document());
        Ok((session, hello))
    }

    /// Logs in, and runs a command that an application's first one is like.
    async fn ask(
        &self,
        session: &mut Session,
        account: Account<'_>,
        hello: &Hello,
        password: Option<&Secret>,
    ) -> Result<(), NotReady> {
        let logged_in = login::log_in(session, account, hello.mechanisms.as_deref()).await;
        logged_in.map_err(|why| match why.code.as_deref() {
            Some("11" | "18" | "8000") if account.mechanism != Mechanism::X509 => self.login.explain(why, password),
            _ => why,
        })?;
        session.cx().phase("running a command");
        let (command, database) = match self.login.database.as_deref() {
            // Any role in the database allows this; it returns nothing. The database that the user was
            // found in may be there for the login alone.
            Some(database) if database != account.source => {
                let command = Draft::new()
                    .int("listCollections", 1)
                    .document("filter", Draft::new().text("name", ""))
                    .flag("nameOnly", true)
                    .flag("authorizedCollections", true);
                (command, database)
            }
            _ => (Draft::new().int("ping", 1), ADMIN),
        };
        let mode = match hello.role {
            Role::Secondary if self.options.is_direct => Some("primaryPreferred"),
            Role::Secondary | Role::Router if self.options.members != Members::Primary => {
                Some(&*self.options.read_preference)
            }
            _ => None,
        };
        let command = match mode {
            Some(mode) => command.document("$readPreference", Draft::new().text("mode", mode)),
            None => command,
        };
        session.run(command, database).await.map(drop)
    }
}
