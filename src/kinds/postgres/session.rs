//! Messages and statements of one connection.

use std::io;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

use super::codes;
use crate::kinds::query::Rows;
use crate::net::Io;
use crate::probe::{Attempt, NotReady, goodbye};

/// The longest message of a login, in bytes: libpq's limit too.
const LONGEST_AT_LOGIN: usize = 30_000;
/// The most that is kept of any other message, in bytes; nothing that is needed is longer.
const KEPT: usize = 64 * 1024;

/// The messages that a server may send during a login.
const AT_LOGIN: &[u8] = b"ENRSKZv";

/// The types of a column whose false values look like nothing else's.
const BOOL: u32 = 16;
const BYTEA: u32 = 17;

/// A connection to a server.
pub(super) struct Session<'a> {
    io: BufReader<Box<dyn Io>>,
    cx: &'a Attempt,
    /// Where in the last statement the server has found an error, in characters from 1.
    pub(super) error_at: Option<usize>,
}

/// A message of the server's, or its beginning.
pub(super) struct Message {
    pub(super) tag: u8,
    pub(super) body: Vec<u8>,
}

/// The result of a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) rows: Rows,
    /// The first column of the first row.
    pub(super) first: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(io: Box<dyn Io>, cx: &'a Attempt) -> Self {
        Self {
            io: BufReader::new(io),
            cx,
            error_at: None,
        }
    }

    pub(super) fn cx(&self) -> &'a Attempt {
        self.cx
    }

    /// Sends what a function writes.
    pub(super) async fn send(
        &mut self,
        message: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), NotReady> {
        let mut bytes = BytesMut::new();
        let sent = async {
            message(&mut bytes)?;
            self.io.write_all(&bytes).await?;
            self.io.flush().await
        };
        sent.await.map_err(|error| self.cx.broken(&error))
    }

    /// Reads a message of a login.
    pub(super) async fn read_at_login(&mut self) -> Result<Message, NotReady> {
        let header = self.header().await?;
        let (tag, length) = (header[0], length(header));
        match length.filter(|length| *length <= LONGEST_AT_LOGIN) {
            Some(length) if AT_LOGIN.contains(&tag) => {
                self.cx.talking();
                self.body(tag, length).await
            }
            _ => Err(self.cx.another_protocol(&header)),
        }
    }

    /// Reads a message of any length.
    async fn read(&mut self) -> Result<Message, NotReady> {
        let header = self.header().await?;
        match length(header) {
            Some(length) => self.body(header[0], length).await,
            None => Err(self.cx.unexpected()),
        }
    }

    async fn header(&mut self) -> Result<[u8; 5], NotReady> {
        let mut header = [0; 5];
        let mut read = 0;
        while read < header.len() {
            match self.io.read(&mut header[read..]).await {
                Ok(0) if read > 0 => return Err(self.cx.another_protocol(&header[..read])),
                Ok(0) => return Err(self.cx.closed()),
                Ok(more) => read += more,
                Err(error) => return Err(self.cx.broken(&error)),
            }
        }
        Ok(header)
    }

    async fn body(&mut self, tag: u8, length: usize) -> Result<Message, NotReady> {
        let mut body = vec![0; length.min(KEPT)];
        let mut rest = length - body.len();
        let read = async {
            self.io.read_exact(&mut body).await?;
            let mut rubbish = [0; 4096];
            while rest > 0 {
                let part = rest.min(rubbish.len());
                rest -= self.io.read_exact(&mut rubbish[..part]).await?;
            }
            Ok(())
        };
        read.await.map_err(|error: io::Error| self.cx.broken(&error))?;
        Ok(Message { tag, body })
    }

    /// Runs a statement and reads all that it returns.
    pub(super) async fn run(&mut self, statement: &str) -> Result<Answer, NotReady> {
        self.send(|bytes| frontend::query(statement, bytes)).await?;
        let mut answer = Answer {
            rows: Rows::None,
            first: None,
        };
        let (mut failure, mut type_of_first) = (None, None);
        loop {
            let message = match (self.read().await, failure) {
                (Ok(message), kept) => {
                    failure = kept;
                    message
                }
                // After a fatal error the server closes the connection.
                (Err(_), Some(failure)) => return Err(failure),
                (Err(why), None) => return Err(why),
            };
            let Message { tag, body } = message;
            match tag {
                b'T' => type_of_first = type_of_first_column(&body),
                b'D' => {
                    let value = first_value(&body);
                    answer.rows = answer.rows.max(match is_true(value, type_of_first) {
                        true => Rows::True,
                        false => Rows::False,
                    });
                    let text = value.map(|value| String::from_utf8_lossy(value).into_owned());
                    answer.first = answer.first.or(text);
                }
                b'E' if failure.is_none() => {
                    failure = Some(codes::not_ready(&body));
                    self.error_at = codes::field(&body, b'P').and_then(|at| at.parse().ok());
                }
                b'Z' => return failure.map_or(Ok(answer), Err),
                // It asks for rows of ours.
                b'G' => self.send(|bytes| frontend::copy_fail("", bytes)).await?,
                // The ends of statements, rows that are copied, notices, settings.
                b'C' | b'E' | b'H' | b'I' | b'N' | b'S' | b'A' | b'c' | b'd' => {}
                _ => return Err(self.cx.unexpected()),
            }
        }
    }

    /// Ends the session.
    pub(super) async fn quit(mut self) -> Result<(), NotReady> {
        self.send(|bytes| {
            frontend::terminate(bytes);
            Ok(())
        })
        .await?;
        self.close().await
    }

    /// Ends a connection whose login is not over: a server that waits for a password takes the end for
    /// one of a client that has none, and logs nothing. Any message would be an error.
    pub(super) async fn close(mut self) -> Result<(), NotReady> {
        let closed = self.io.shutdown().await;
        closed.map_err(|error| self.cx.broken(&error))
    }
}

/// Ends a connection that has TLS, or that a request to cancel was sent over, and waits until the server
/// has done the same: what it still sends would be answered by a reset, which it may log.
pub(super) async fn end(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let both = async {
        let _ = io.shutdown().await;
        let mut rubbish = [0; 1024];
        // A few session tickets at most.
        for _ in 0..16 {
            if !matches!(io.read(&mut rubbish).await, Ok(1..)) {
                break;
            }
        }
    };
    goodbye(both).await;
}

/// The length of a body.
fn length(header: [u8; 5]) -> Option<usize> {
    let [_, a, b, c, d] = header;
    let length = i32::from_be_bytes([a, b, c, d]);
    usize::try_from(length).ok()?.checked_sub(4)
}

/// The type of the first column in a RowDescription: after the number of columns come its name, its
/// table and its number there.
fn type_of_first_column(body: &[u8]) -> Option<u32> {
    let rest = body.get(2..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let bytes = rest.get(end + 1 + 4 + 2..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

/// The first column of a DataRow; `None` for NULL, and for a row without columns.
fn first_value(body: &[u8]) -> Option<&[u8]> {
    let (length, rest) = body.get(2..)?.split_first_chunk()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    // A long one is not kept to its end.
    Some(&rest[..length.min(rest.len())])
}

/// Whether a value is true: neither NULL, 0, false nor empty.
fn is_true(value: Option<&[u8]>, of_type: Option<u32>) -> bool {
    let Some(value) = value else {
        return false;
    };
    let text = String::from_utf8_lossy(value);
    let is_false = match of_type {
        Some(BOOL) => text == "f",
        Some(BYTEA) => text.trim_start_matches(r"\x").bytes().all(|byte| byte == b'0'),
        _ => text.is_empty() || text.eq_ignore_ascii_case("false"),
    };
    !(is_false || text.parse().is_ok_and(|number: f64| number == 0.0))
}
