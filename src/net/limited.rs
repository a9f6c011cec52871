//! A connection of which no more than a part is read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Io;
use crate::probe::{Attempt, NotReady};

/// The most that is read at once, in bytes: to read what may be thousands of small messages takes its
/// time, which others wait for.
const LONGEST_PART: usize = 4 * 1024;
/// How much of the start is kept, in bytes.
const LONGEST_START: usize = 16;

/// A connection that gives no more than a number of bytes, and lets others go on after each part.
/// Small messages without end would be read without end, at the cost of every other target.
pub struct Limited {
    io: Box<dyn Io>,
    left: usize,
    /// Whether the next part has to wait.
    is_others_turn: bool,
    seen: Seen,
}

/// The start and the end of what was read, which the library that reads it may not pass on.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Ends>>);

#[derive(Debug, Default)]
struct Ends {
    start: Vec<u8>,
    error: Option<io::Error>,
}

impl Limited {
    /// Of a connection no more than a number of bytes.
    pub fn new(io: Box<dyn Io>, left: usize) -> Self {
        Self {
            io,
            left,
            is_others_turn: false,
            seen: Seen::default(),
        }
    }

    /// What will have been read.
    pub fn seen(&self) -> Seen {
        self.seen.clone()
    }

    /// Notes an error; what is returned of it has its kind alone.
    fn noted(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        self.seen.ends().error.get_or_insert(error);
        kind.into()
    }
}

impl Seen {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first bytes.
    pub fn start(&self) -> Vec<u8> {
        self.ends().start.clone()
    }

    /// The failure of the connection itself, if it has failed.
    pub fn failure(&self, cx: &Attempt) -> Option<NotReady> {
        self.ends().error.as_ref().map(|error| cx.broken(error))
    }
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let endless = io::Error::new(io::ErrorKind::InvalidData, "a response without end");
            return Poll::Ready(Err(self.noted(endless)));
        }
        if std::mem::take(&mut self.is_others_turn) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut part = [0; LONGEST_PART];
        let longest = LONGEST_PART.min(self.left).min(buffer.remaining());
        let mut part = ReadBuf::new(&mut part[..longest]);
        if let Err(error) = ready!(Pin::new(&mut self.io).poll_read(context, &mut part)) {
            return Poll::Ready(Err(self.noted(error)));
        }
        let part = part.filled();
        buffer.put_slice(part);
        self.left -= part.len();
        self.is_others_turn = true;
        let mut ends = self.seen.ends();
        let missing = LONGEST_START - ends.start.len();
        ends.start.extend(part.iter().take(missing));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
