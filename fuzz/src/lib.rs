//! What the fuzz targets share: settings without a process, and a server that follows a script.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use compose_wait::net::{Network, Route, Stream};
use compose_wait::probe::{Attempt, NotReady, Probe, Stop};
use compose_wait::settings::cli::Cli;
use compose_wait::settings::{self, Config, ConfigError, Notice, Surroundings};
use compose_wait::targets::{Defaults, Kind};
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
        names: &|| variables.iter().map(|(name, _)| name.into()).collect(),
        file: &|_| Ok(file.to_vec()),
        is_terminal: false,
    };
    let resolved = settings::resolve(cli, &surroundings);
    if let Err(error) = &resolved {
        is_message(&error.to_string());
    }
    resolved
}

/// A message for people can be read by them.
#[track_caller]
pub fn is_message(text: &str) {
    assert!(!text.is_empty(), "no message");
    assert!(text.chars().count() <= LONGEST_MESSAGE, "too long: {text}");
}

/// The settings of a kind where no variable is set.
pub fn defaults(kind: &'static Kind) -> Defaults<'static> {
    Defaults {
        kind,
        variable: &|_, _| Ok(None),
        file: &|_| Err(io::ErrorKind::NotFound.into()),
        notices: RefCell::default(),
    }
}

/// What a server says, whatever it receives.
pub struct Script {
    /// All of it.
    pub says: Vec<u8>,
    /// How many bytes arrive at once.
    pub chunk: usize,
    /// Whether it speaks before it has received anything.
    pub speaks_first: bool,
    /// Whether it hangs up in the end, or else falls silent.
    pub hangs_up: bool,
    /// The way to it.
    pub route: Route,
}

/// What came of a conversation.
pub struct Outcome {
    /// What the attempt returned; `None` if it was still waiting for a silent server.
    pub result: Option<Result<(), NotReady>>,
    /// What the server received.
    pub heard: Vec<u8>,
}

/// Makes an attempt, with a server that follows a script. The clock stands still and jumps when both
/// sides wait.
pub fn converse(probe: &dyn Probe, script: Script) -> Outcome {
    static NETWORK: LazyLock<Arc<Network>> = LazyLock::new(Arc::default);
    const PATIENCE: Duration = Duration::from_secs(5);
    /// What an attempt waits for in the end, for a goodbye or the rest of a page.
    const FAREWELL: Duration = Duration::from_secs(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (hangs_up, speaks_first) = (script.hangs_up, script.speaks_first);
    let route = script.route;
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
        let cx = Attempt::over(
            Arc::clone(&NETWORK),
            [Stream::new(server, route)],
            Stop::default(),
        );
        let result = timeout(PATIENCE, probe.attempt(&cx)).await;
        (result.ok(), start.elapsed())
    });
    let heard = std::mem::take(&mut *heard.lock().expect("one thread"));
    match &result {
        Some(_) => assert!(took <= FAREWELL, "it lingers for {took:?}"),
        None => {
            // Otherwise each of them waits for the other.
            let has_gone = hangs_up && (speaks_first || !heard.is_empty());
            assert!(!has_gone, "it waits for a server that has gone");
        }
    }
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
            return Poll::Pending; // a timer wakes the client
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
