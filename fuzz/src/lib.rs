//! What the fuzz targets share: settings without a process, and a server that follows a script.

use std::ffi::{OsStr, OsString};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use compose_wait::cli::Cli;
use compose_wait::config::{self, Config, ConfigError, Notice, Surroundings};
use compose_wait::probe::{NotReady, Probe, Progress};
use compose_wait::target::{Secret, Target};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

/// A password that must not be seen where nothing is secret.
pub const PASSWORD: &str = "Open-Sesame";

/// The longest that a message may be, in characters: it is a line in a log.
pub const LONGEST_MESSAGE: usize = 640;

/// What flags, variables and the contents of all files come to.
pub fn resolve(
    cli: &Cli,
    variables: &[(&str, &OsStr)],
    file: &[u8],
) -> Result<(Config, Vec<Notice>), ConfigError> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let surroundings = Surroundings {
        variable: &variable,
        file: &|_| Ok(file.to_vec()),
        is_terminal: false,
    };
    let resolved = config::resolve(cli, &surroundings);
    if let Err(error) = &resolved {
        is_message(&error.to_string());
    }
    resolved
}

/// Something that is said to people can be read by them.
#[track_caller]
pub fn is_message(text: &str) {
    assert!(!text.is_empty(), "nothing is said");
    assert!(text.chars().count() <= LONGEST_MESSAGE, "too long: {text}");
}

/// The target with another password, if it is one that can have any, and without what else of it is
/// a secret.
pub fn with_password(mut target: Target, password: Option<&str>) -> Target {
    match &mut target {
        Target::MySql(mysql) => mysql.password = password.map(Secret::new),
        Target::Http(http) => {
            http.password = password.map(Secret::new);
            http.query = None;
        }
        Target::Tcp(_) | Target::Path(_) => {}
    }
    target
}

/// What a server says, whatever it is told.
pub struct Script {
    /// All of it.
    pub says: Vec<u8>,
    /// How many bytes arrive at once.
    pub chunk: usize,
    /// Whether it speaks before it has been told anything.
    pub speaks_first: bool,
    /// Whether it hangs up in the end, or else falls silent.
    pub hangs_up: bool,
}

/// What came of a conversation.
pub struct Outcome {
    /// What the attempt returned; `None` if it was still waiting for a silent server.
    pub result: Option<Result<(), NotReady>>,
    /// What the server was told.
    pub heard: Vec<u8>,
}

/// Holds the conversation of an attempt at a target with a server that follows a script. The clock
/// stands still and jumps when everybody waits.
pub fn converse(probe: &Probe, target: &Target, script: Script) -> Outcome {
    const PATIENCE: Duration = Duration::from_secs(5);
    /// What an attempt waits for in the end, for a goodbye or the rest of a page.
    const FAREWELL: Duration = Duration::from_secs(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let hangs_up = script.hangs_up;
    let heard = Arc::default();
    let server = Server {
        script,
        said: 0,
        ends: 0,
        waiting: None,
        heard: Arc::clone(&heard),
    };
    let (result, took) = runtime.block_on(async {
        let start = Instant::now();
        let progress = Progress::default();
        let result = timeout(PATIENCE, probe.converse(target, server, &progress)).await;
        (result.ok(), start.elapsed())
    });
    match &result {
        Some(_) => assert!(took <= FAREWELL, "it lingers for {took:?}"),
        None => assert!(!hangs_up, "it waits for a server that has gone"),
    }
    let heard = std::mem::take(&mut *heard.lock().expect("one thread"));
    if let Some(Err(why)) = &result {
        is_message(&why.detail);
    }
    Outcome { result, heard }
}

/// The server's end of a connection.
struct Server {
    script: Script,
    said: usize,
    /// How often the client has seen the end.
    ends: usize,
    /// The client, until it has said something.
    waiting: Option<Waker>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Server {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.script.speaks_first && self.heard.lock().expect("one thread").is_empty() {
            self.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        let left = &self.script.says[self.said..];
        let part = left.len().min(self.script.chunk).min(buffer.remaining());
        buffer.put_slice(&left[..part]);
        let is_over = left.is_empty();
        self.said += part;
        if is_over && !self.script.hangs_up {
            return Poll::Pending; // a timer will wake who waits for this
        }
        self.ends += usize::from(is_over);
        assert!(self.ends < 10, "it reads on and on after the end");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(client) = self.waiting.take() {
            client.wake();
        }
        let mut heard = self.heard.lock().expect("one thread");
        heard.extend_from_slice(bytes);
        assert!(heard.len() < 1 << 16, "it talks on and on");
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Whether a text is somewhere among some bytes.
pub fn is_in(text: &str, bytes: &[u8]) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}
