//! AUTH, SELECT, PING and QUIT, each answered before the next is sent.


use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::{ACCESS_DENIED, KIND, drivers, TOO_MANY_CONNECTIONS, UNKNOWN_DATABASE};
use crate::net::tls::{Tls, TlsMode};
use crate::net::{At, Io};
use crate::probe::{Attempt, NotReady, Probe, goodbye};
use crate::targets::{Address, Defaults, Expected, Login, Origin, Secret};

/// The longest reply that is read, in bytes; nothing that is needed is longer.
const LONGEST_REPLY: u64 = 4096;
/// The longest part of it that is kept, in characters.
const LONGEST_KEPT: usize = 512;

/// A server and how to log in to it.
#[derive(Debug)]
struct Redis {
    at: At,
    tls: Option<Tls>,
    login: Login,
}

pub(super) fn parse(
    address: &mut Address,
    defaults: &Defaults<'_>,
) -> Result<Box<dyn Probe>, Expected> {
    let (mode, authorities) = drivers::tls(address)?;
    if let Some(database) = address.parameter("db")? {
        address.set_segment(&database);
        address.query = None;
    }
    let mut login = defaults.login(address)?;
    // For Lettuce and Symfony, a login of one word is the password.
    if address.origin == Origin::Application && login.password.is_none() {
        address.password = address.user.take().map(Secret::new);
        login = defaults.login(address)?;
    }
    let is_number = |database: &String| database.parse::<u32>().is_ok();
    if !login.database.as_ref().is_none_or(is_number) {
        if address.origin == Origin::Ours {
            return Err(Expected::new("expected the number of a database"));
        }
        // The name of a stream or a queue.
        login.database = None;
        address.path.clear();
    }
    if login.user.is_some() && login.password.is_none() {
        defaults.notice(format!(
            "{address} has a user and no password: it is not logged in to (set WAIT_REDIS_PASSWORD)"
        ));
    }
    Ok(Box::new(Redis {
        at: address.at()?,
        tls: defaults.tls_or_none(address, address.tls_mode_or(mode)?, authorities.as_ref())?,
        login,
    }))
}

impl Probe for Redis {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        self.log_in_and_ping(cx).boxed()
    }

    fn description(&self) -> Vec<(&'static str, String)> {
        let mut parts = self.login.description();
        parts.push(("TLS", TlsMode::of(self.tls.as_ref()).to_string()));
        parts
    }

    fn verifies_certificates(&self) -> bool {
        TlsMode::of(self.tls.as_ref()).is_verified()
    }
}

impl Redis {
    async fn log_in_and_ping(&self, cx: &Attempt) -> Result<(), NotReady> {
        let password = match &self.login.password {
            Some(password) => Some(cx.password(password).await?),
            None => None,
        };
        let stream = cx.connect_with(&self.at, self.tls.as_ref()).await?;
        let mut session = Session {
            stream: BufReader::new(stream.io),
            cx,
        };
        let password = password.as_ref().map(|password| password.expose());
        let result = self.ask(&mut session, password).await;
        if result.as_ref().is_err_and(|why| why.code.is_none()) {
            return result; // no server of Redis has answered
        }
        cx.phase("closing the session");
        goodbye(session.call(&["QUIT"])).await;
        result
    }

    async fn ask(&self, session: &mut Session<'_>, password: Option<&str>) -> Result<(), NotReady> {
        if let Some(password) = password {
            session.cx.phase("logging in");
            let user = self.login.user.as_deref();
            let words: Vec<_> = ["AUTH"].into_iter().chain(user).chain([password]).collect();
            match session.call(&words).await? {
                // Clients go on, too: the password is not needed.
                Reply::Error(text) if is_without_password(&text) => session.cx.warn(
                    "the server has no password for the default user: the one that is given is not checked",
                ),
                reply => reply.ok()?,
            }
        }
        if let Some(database) = &self.login.database {
            session.cx.phase("selecting the database");
            match session.call(&["SELECT", database]).await? {
                Reply::Error(text) if password.is_none() && text.starts_with("NOAUTH") => return Ok(()),
                reply => reply.ok()?,
            }
        }
        session.cx.phase("pinging");
        match session.call(&["PING"]).await? {
            // A user that may do other things is logged in all the same.
            Reply::Error(text) if password.is_some() && text.starts_with("NOPERM") => Ok(()),
            Reply::Error(text) if password.is_none() && text.starts_with("NOAUTH") => Ok(()),
            Reply::Ok(text) if text != "PONG" => Err(session.cx.unexpected()),
            reply => reply.ok(),
        }
    }
}

/// Whether a server refuses a password because none is set.
fn is_without_password(text: &str) -> bool {
    text.contains("no password is set") || text.contains("without any password configured")
}

/// A connection to a server.
struct Session<'a> {
    stream: BufReader<Box<dyn Io>>,
    cx: &'a Attempt,
}

/// A reply of one line.
enum Reply {
    Ok(String),
    Error(String),
}

impl Session<'_> {
    /// Sends a command and reads its reply.
    async fn call(&mut self, words: &[&str]) -> Result<Reply, NotReady> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        let mut line = Vec::new();
        let exchanged = async {
            self.stream.write_all(command.as_bytes()).await?;
            self.stream.flush().await?;
            let mut limited = (&mut self.stream).take(LONGEST_REPLY);
            limited.read_until(b'\n', &mut line).await
        };
        let length = exchanged.await.map_err(|error| self.cx.broken(&error))?;
        if length > 0 {
            self.cx.talking();
        }
        let text = match line.strip_suffix(b"\r\n") {
            Some(text) => text,
            // It may be a greeting in another protocol.
            None if line.len() as u64 == LONGEST_REPLY || line.ends_with(b"\n") => {
                return Err(self.cx.another_protocol(&line));
            }
            None => return Err(self.cx.closed()),
        };
        let words = |text: &[u8]| String::from_utf8_lossy(text).chars().take(LONGEST_KEPT).collect();
        match text.split_first() {
            Some((b'+', text)) => Ok(Reply::Ok(words(text))),
            Some((b'-', text)) if !text.is_empty() => Ok(Reply::Error(words(text))),
            _ => Err(self.cx.another_protocol(&line)),
        }
    }
}

impl Reply {
    /// `Ok` unless it is an error. The first word of an error is its code; old errors have only "ERR".
    fn ok(self) -> Result<(), NotReady> {
        let text = match self {
            Self::Ok(_) => return Ok(()),
            Self::Error(text) => text,
        };
        let code = text.split(' ').next().unwrap_or_default().to_owned();
        let reason = match &*code {
            "ERR" if text.contains("max number of clients") => &TOO_MANY_CONNECTIONS,
            "ERR" if text.contains("DB index") || text.starts_with("ERR SELECT") => {
                &UNKNOWN_DATABASE
            }
            "ERR" if text.contains("invalid password") => &ACCESS_DENIED,
            _ => return Err(KIND.error(&code, text)),
        };
        Err(NotReady::new(reason, text).with_code(code))
    }
}
