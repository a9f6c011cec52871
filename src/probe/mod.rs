//! One attempt at one target: the interface between the wait loop and the kinds of targets.
#![forbid(unsafe_code)]

pub mod files;
pub mod reason;
pub mod several;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::net::{At, Names, Network, Stream};
#[cfg(feature = "tls")]
use crate::net::{
    Verdict,
    tls::{self, Tls},
};
use crate::targets::{Password, Secret, Source};
pub use reason::{NotReady, Reason, Retry};

/// A target that can be tried.
pub trait Probe: fmt::Debug + Send + Sync {
    /// Makes one attempt. It has no deadline of its own: it is dropped when its time is up.
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>>;

    /// Its parts that are worth knowing, for people: a name and a value that is no secret.
    fn description(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Whether it depends on who signed a certificate.
    fn verifies_certificates(&self) -> bool {
        false
    }
}

/// The means of one attempt: the network, the limits on simultaneous work, and the state that is
/// reported. It knows no protocol.
#[derive(Debug)]
pub struct Attempt {
    network: Arc<Network>,
    overlap: Overlap,
    stop: Stop,
    /// Connections that are there already, in place of the network.
    connected: Option<Arc<Mutex<VecDeque<Stream>>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    phase: &'static str,
    warning: Option<Cow<'static, str>>,
    /// The pause that the server asks for.
    pause: Option<Duration>,
    /// The attempts at each of several hosts that are under way.
    parts: Vec<Arc<Attempt>>,
    /// The permit to run a statement.
    statement: Option<OwnedSemaphorePermit>,
    /// The passwords that have been used.
    passwords: Vec<Secret>,
}

/// How far an attempt has come: what may happen to it when it takes long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// No connection is there: it may be given up at any time.
    #[default]
    Reaching,
    /// The server has accepted the connection and sent nothing: to close it may count against the
    /// host, and another attempt may be made beside it.
    Connected,
    /// The server has sent something: to end now may leave a mark.
    Talking,
    /// The server runs a statement: it must neither be repeated nor left running.
    Working,
}

impl Attempt {
    /// An attempt over the network, which ends when `stop` does.
    pub fn new(network: Arc<Network>, overlap: Overlap, stop: Stop) -> Self {
        Self {
            network,
            overlap,
            stop,
            connected: None,
            state: Mutex::default(),
        }
    }

    /// An attempt over connections that are there already, such as those with a scripted server; once
    /// they are used up every other is refused.
    pub fn over(
        network: Arc<Network>,
        streams: impl IntoIterator<Item = Stream>,
        stop: Stop,
    ) -> Self {
        let streams = streams.into_iter().collect();
        Self {
            connected: Some(Arc::new(Mutex::new(streams))),
            ..Self::new(network, Overlap::default(), stop)
        }
    }

    /// The same beside others of the target.
    #[cfg(test)]
    #[allow(dead_code)] // not every kind has statements
    pub(crate) fn sharing(mut self, overlap: &Overlap) -> Self {
        self.overlap = overlap.clone();
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Connects by TCP, to whichever address of the host accepts first, or to a unix socket.
    ///
    /// # Errors
    /// `unresolved`, `refused`, `unreachable`, `timed_out`, `missing` for a socket.
    pub async fn connect(&self, at: &At) -> Result<Stream, NotReady> {
        self.advance(Stage::Reaching);
        let mut stream = match &self.connected {
            Some(streams) => locked(streams)
                .pop_front()
                .ok_or_else(|| NotReady::new(&reason::REFUSED, "there is no other connection"))?,
            None => self.network.connect(at, self).await?,
        };
        stream.host = at.host();
        self.advance(Stage::Connected);
        Ok(stream)
    }

    /// The addresses of a name, at least one.
    ///
    /// # Errors
    /// `unresolved`, `timed_out`.
    pub async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, NotReady> {
        self.network.look_up(name, self).await
    }

    /// Where names are looked up; `None` where connections are there already, in place of the network.
    pub fn names(&self) -> Option<&Names> {
        self.connected.is_none().then_some(&self.network.names)
    }

    /// Connects, and goes on with TLS if there is any.
    ///
    /// # Errors
    /// As of [`connect`](Self::connect) and [`tls`](Self::tls).
    #[cfg(feature = "tls")]
    pub async fn connect_with(&self, at: &At, tls: Option<&Tls>) -> Result<Stream, NotReady> {
        let stream = self.connect(at).await?;
        match tls {
            Some(tls) => self.tls(stream, tls).await,
            None => Ok(stream),
        }
    }

    /// Goes on with TLS.
    ///
    /// # Errors
    /// `tls_failed`, also where the certificate is not trusted; nothing confidential was sent then.
    #[cfg(feature = "tls")]
    pub async fn tls(&self, stream: Stream, how: &Tls) -> Result<Stream, NotReady> {
        self.phase("starting TLS");
        self.network.roots.secure(stream, how, self).await
    }

    /// Goes on with TLS even where the certificate is not trusted, for servers that count a broken
    /// handshake against the host. Nothing confidential may be sent over a stream that is not
    /// trusted.
    ///
    /// # Errors
    /// `tls_failed`, where there is no TLS at all.
    #[cfg(feature = "tls")]
    pub async fn tls_with_verdict(&self, stream: Stream, how: &Tls) -> Result<Verdict, NotReady> {
        self.phase("starting TLS");
        self.network.roots.judge(stream, how, self).await
    }

    /// Announces the next step, in words that follow "while".
    pub fn phase(&self, phase: &'static str) {
        self.state().phase = phase;
    }

    /// The server has answered something.
    pub fn talking(&self) {
        self.advance(Stage::Talking);
    }

    /// Goes on to another stage. A statement that runs decides what may happen to the attempt, whatever
    /// is done beside it.
    fn advance(&self, stage: Stage) {
        let mut state = self.state();
        if state.stage != Stage::Working {
            state.stage = stage;
        }
    }

    /// The server runs a statement, which outlives the connect timeout. Until it has ended no other
    /// is started; once [`stopped`](Self::stopped), it has to be ended on the server.
    pub async fn working(&self, phase: &'static str) {
        self.phase(phase);
        // Never closed. Where another attempt runs its statement, that one decides.
        let permit = Arc::clone(&self.overlap.statements).acquire_owned().await;
        let mut state = self.state();
        state.statement = permit.ok();
        state.stage = Stage::Working;
    }

    /// The statement has ended, and no server has noticed it: how long it took is no reason not to
    /// try again before the deadline.
    pub fn unnoticed(&self) {
        let mut state = self.state();
        state.statement = None;
        state.stage = Stage::Reaching;
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        let state = self.state();
        let parts = state.parts.iter().map(|part| part.stage());
        parts.fold(state.stage, Stage::max)
    }

    /// Returns when the wait ends and this attempt has not.
    pub async fn stopped(&self) {
        self.stop.stopped().await;
    }

    /// How long the wait may still take; `None` is for ever.
    pub fn time_left(&self) -> Option<Duration> {
        let deadline = self.stop.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// The current step; of several attempts that of the one that has come farthest.
    pub fn current_phase(&self) -> &'static str {
        let state = self.state();
        let farthest = state.parts.iter().rev().max_by_key(|part| part.stage());
        farthest.map_or(state.phase, |part| part.current_phase())
    }

    /// Leaves a warning for the user, which is logged once per target.
    pub fn warn(&self, warning: impl Into<Cow<'static, str>>) {
        self.state().warning = Some(warning.into());
    }

    /// The warning.
    pub fn warning(&self) -> Option<Cow<'static, str>> {
        self.state().warning.clone()
    }

    /// The server asks for a pause before the next attempt.
    pub fn asked_for_pause(&self, pause: Duration) {
        self.state().pause = Some(pause);
    }

    /// The pause that the server has asked for.
    pub fn pause(&self) -> Option<Duration> {
        self.state().pause
    }

    /// The limits on simultaneous work.
    pub(crate) fn overlap(&self) -> &Overlap {
        &self.overlap
    }

    /// The password to log in with: as it was given, or as its file holds it now.
    ///
    /// # Errors
    /// `missing`, where the file is missing, empty or unreadable.
    pub async fn password<'a>(&self, from: &'a Password) -> Result<Cow<'a, Secret>, NotReady> {
        let password = match &from.source {
            Source::Given(password) => Cow::Borrowed(password),
            Source::File(file) => {
                self.phase("reading the password's file");
                let contents = self.overlap.read(file.path()).await;
                Cow::Owned(file.parse(contents)?)
            }
        };
        self.state().passwords.push(password.as_ref().clone());
        Ok(password)
    }

    /// The same without the passwords that a server may have put into its words.
    pub(crate) fn without_secrets(&self, mut why: NotReady) -> NotReady {
        for password in self.state().passwords.iter().map(Secret::expose) {
            // Of so short a password, the gaps would show the characters.
            match password.len() {
                0 => {}
                1..4 if why.detail.contains(password) => "…".clone_into(&mut why.detail),
                _ => why.detail = why.detail.replace(password, "…"),
            }
        }
        why
    }

    /// A connection that broke.
    pub fn broken(&self, error: &io::Error) -> NotReady {
        let phase = self.current_phase();
        #[cfg(feature = "tls")]
        if let Some(error) = error.get_ref() {
            // Even after the handshake, as when a client certificate is required.
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                let mut why = tls::failure(error);
                why.detail = format!("{} while {phase}", why.detail);
                return why;
            }
        }
        let mut why = NotReady::from_io(error);
        why.detail = match error.kind() {
            io::ErrorKind::UnexpectedEof => self.closed().detail,
            _ => format!("{} while {phase}", why.detail),
        };
        why
    }

    /// The server closed the connection.
    pub fn closed(&self) -> NotReady {
        let phase = self.current_phase();
        let detail = format!("the server closed the connection while {phase}");
        NotReady::new(&reason::CLOSED, detail)
    }

    /// An answer that the protocol does not have in this place.
    pub fn unexpected(&self) -> NotReady {
        let detail = format!("an unexpected answer while {}", self.current_phase());
        NotReady::new(&reason::PROTOCOL, detail)
    }

    /// An answer in another protocol, with the bytes that people may recognise (such as "SSH-").
    pub fn another_protocol(&self, start: &[u8]) -> NotReady {
        let (start, phase) = (&start[..start.len().min(16)], self.current_phase());
        let start = start.escape_ascii();
        let detail = format!("an answer that begins with \"{start}\" while {phase}");
        NotReady::new(&reason::PROTOCOL, detail)
    }
}

/// Waits for the end of a connection, for half a second at most: the result is known by then.
pub async fn goodbye<T>(end: impl Future<Output = T>) -> Option<T> {
    timeout(GOODBYE, end).await.ok()
}

const GOODBYE: Duration = Duration::from_millis(500);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of a wait, at its deadline or by a signal.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The deadline; `None` is never.
    pub deadline: Option<Instant>,
    /// Whether a signal has ended the wait, or its deadline.
    ended: watch::Sender<Option<End>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Deadline,
    Signal,
}

impl Stop {
    /// The same with a deadline.
    pub(crate) fn with_deadline(&self, deadline: Option<Instant>) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// Ends the wait at its deadline.
    pub(crate) fn stop(&self) {
        self.ended.send_if_modified(|end| {
            let is_first = end.is_none();
            end.get_or_insert(End::Deadline);
            is_first
        });
    }

    /// Ends the wait by a signal.
    pub fn stop_by_signal(&self) {
        self.ended.send_replace(Some(End::Signal));
    }

    /// Whether a signal has ended the wait.
    pub(crate) fn is_by_signal(&self) -> bool {
        *self.ended.borrow() == Some(End::Signal)
    }

    /// Returns when the wait has ended.
    pub async fn stopped(&self) {
        let mut ended = self.ended.subscribe();
        // The sender is here, so that it is not gone.
        let _ = ended.wait_for(Option::is_some).await;
    }
}

impl Default for Stop {
    /// Never, unless it is stopped.
    fn default() -> Self {
        Self {
            deadline: None,
            ended: watch::Sender::new(None),
        }
    }
}

/// The stack of a thread that looks at a path, reads a file or has the C library look up a name, in
/// bytes.
const STACK: usize = 256 * 1024;

/// The limits on simultaneous work for one target, so that a part that hangs does not hold up another.
#[derive(Clone, Debug)]
pub struct Overlap {
    /// How long to hear nothing before another look-up and connect is begun beside those that hang.
    pub pace: Duration,
    /// About how many descriptors all of them may have together.
    descriptors: usize,
    /// One permit for every thread that may be stuck.
    threads: Arc<Semaphore>,
    /// The permit to run a statement.
    statements: Arc<Semaphore>,
}

impl Overlap {
    /// The most that may go on at once.
    const MOST: usize = 8;
    /// The most descriptors that a target should have, so that one that never answers stays below
    /// 64.
    const MOST_DESCRIPTORS: usize = 57;
    /// The shortest [`pace`](Self::pace).
    pub const SHORTEST_PACE: Duration = Duration::from_millis(80);

    /// For a target with room for this many descriptors.
    pub fn new(descriptors: usize) -> Self {
        Self {
            pace: Self::SHORTEST_PACE,
            descriptors: descriptors.min(Self::MOST_DESCRIPTORS),
            threads: Arc::new(Semaphore::new(Self::MOST)),
            statements: Arc::new(Semaphore::new(1)),
        }
    }

    /// How many may go on at once where each has at most this many descriptors.
    pub(crate) fn most(&self, descriptors_each: usize) -> usize {
        (self.descriptors / descriptors_each).clamp(1, Self::MOST)
    }

    /// Does work that cannot be cancelled on a thread of its own: a dead network file system, for
    /// example, must not hold up the deadline.
    ///
    /// # Errors
    /// The work's, and `WouldBlock` where no thread is allowed.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        // While earlier threads are stuck this waits, as long as the attempt may take.
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let (sender, receiver) = oneshot::channel();
        let started = thread::Builder::new().stack_size(STACK).spawn(move || {
            let _ = sender.send(work()); // the attempt may be over
            drop(permit);
        });
        // A limit on processes says "again", and a seccomp profile may say anything.
        started.map_err(|error| io::Error::new(io::ErrorKind::WouldBlock, error))?;
        receiver.await.map_err(io::Error::other)?
    }
}

impl Default for Overlap {
    /// For a target that is alone.
    fn default() -> Self {
        Self::new(Self::MOST_DESCRIPTORS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use tokio::time::timeout;

    #[test]
    fn simultaneous_attempts_are_bounded_by_descriptors() {
        for (room, each, most) in [
            (1000, 1, 8),  // an address
            (1000, 7, 8),  // a name, and one name server
            (1000, 13, 4), // two
            (1000, 19, 3), // three
            (20, 7, 2),    // many targets, or a low limit
            (0, 19, 1),
        ] {
            assert_eq!(Overlap::new(room).most(each), most, "{each} of {room}");
        }
    }

    #[tokio::test]
    async fn stuck_threads_are_bounded() {
        let overlap = Overlap::default();
        // Reading from it ends when the writer is closed.
        let (reader, writer) = io::pipe().expect("a pipe");
        let look = || {
            let mut reader = reader.try_clone().expect("a descriptor");
            overlap.aside(move || reader.read(&mut [0]))
        };
        for _ in 0..Overlap::MOST {
            let stuck = timeout(Duration::from_millis(20), look()).await;
            stuck.expect_err("it is stuck");
        }
        let one_more = timeout(Duration::from_millis(200), overlap.aside(|| Ok(()))).await;
        one_more.expect_err("there is no thread for it");
        drop(writer);
        let after = timeout(Duration::from_secs(20), look()).await;
        after.expect("in time").expect("nothing is stuck any more");
    }
}
