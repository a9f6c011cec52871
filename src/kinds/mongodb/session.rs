//! Commands and replies of one connection, as messages of OP_MSG, which every server since MongoDB
//! 3.6 speaks.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::bson::{Document, Draft};
use super::{KIND, TLS_REQUIRED};
use crate::net::Stream;
use crate::probe::{Attempt, NotReady, goodbye};

/// The longest reply that is read, in bytes; nothing that is needed is longer. Of the longest
/// replica set, 50 members are described.
const LONGEST_REPLY: usize = 64 * 1024;
/// Four numbers: length, id, the id that is replied to, kind of message.
const HEADER: usize = 16;
/// The flags, and the kind of the one section.
const BEFORE_DOCUMENT: usize = 5;
const OP_MSG: i32 = 2013;
/// The beginning of a server's refusal to go on without TLS.
const TLS_ALERT: &[u8] = &[0x15, 3];
/// A checksum of this length follows the document.
const HAS_CHECKSUM: u32 = 1;
const CHECKSUM: usize = 4;

/// A connection to a server.
pub(super) struct Session {
    stream: Stream,
    cx: Arc<Attempt>,
    /// The number of commands that have been sent.
    sent: i32,
}

/// The reply to a command that has succeeded: a document.
pub(super) struct Reply(Vec<u8>);

impl Session {
    pub(super) fn new(stream: Stream, cx: Arc<Attempt>) -> Self {
        Self { stream, cx, sent: 0 }
    }

    pub(super) fn cx(&self) -> &Attempt {
        &self.cx
    }

    /// Runs a command and returns its reply. One that reports an error is an error.
    pub(super) async fn run(&mut self, command: Draft, database: &str) -> Result<Reply, NotReady> {
        self.sent += 1;
        let command = command.text("$db", database).finish();
        let length = HEADER + BEFORE_DOCUMENT + command.len();
        let numbers = [length as i32, self.sent, 0, OP_MSG];
        let mut message: Vec<u8> = numbers.into_iter().flat_map(i32::to_le_bytes).collect();
        message.extend([0; BEFORE_DOCUMENT]);
        message.extend(command);
        let written = async {
            self.stream.io.write_all(&message).await?;
            self.stream.io.flush().await
        };
        written.await.map_err(|error| self.cx.broken(&error))?;
        self.read_reply().await
    }

    async fn read_reply(&mut self) -> Result<Reply, NotReady> {
        let mut header = [0; HEADER];
        // What is not a length may be all that another protocol's server says.
        let mut read = 0;
        while read < 4 {
            let part = self.stream.io.read(&mut header[read..]).await;
            read += match part.map_err(|error| self.cx.broken(&error))? {
                0 => return Err(self.cx.closed()),
                part => part,
            };
            self.cx.talking();
        }
        let number = |header: &[u8; HEADER], at| {
            let bytes = header[at..].first_chunk();
            i32::from_le_bytes(*bytes.unwrap_or(&[0; 4]))
        };
        let length = usize::try_from(number(&header, 0)).unwrap_or_default();
        if !(HEADER + BEFORE_DOCUMENT..=LONGEST_REPLY).contains(&length) {
            return Err(match header.starts_with(TLS_ALERT) {
                true => NotReady::new(&TLS_REQUIRED, "the server answers in TLS"),
                false => self.cx.another_protocol(&header[..read]),
            });
        }
        self.read_exact(&mut header[read..]).await?;
        if number(&header, 12) != OP_MSG {
            return Err(self.cx.another_protocol(&header));
        }
        let mut body = vec![0; length - HEADER];
        self.read_exact(&mut body).await?;
        let reply = Reply::parse(&body).filter(|_| number(&header, 8) == self.sent);
        let reply = reply.ok_or_else(|| self.cx.unexpected())?;
        match reply.error() {
            Some(why) => Err(why),
            None => Ok(reply),
        }
    }

    async fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), NotReady> {
        match self.stream.io.read_exact(bytes).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.cx.broken(&error)),
        }
    }

    /// Ends the connection. The protocol has no goodbye of its own.
    pub(super) async fn end(mut self) {
        goodbye(self.stream.io.shutdown()).await;
    }
}

impl Reply {
    fn parse(body: &[u8]) -> Option<Self> {
        let (flags, body) = body.split_first_chunk()?;
        let flags = u32::from_le_bytes(*flags);
        let (0, mut document) = body.split_first()? else {
            return None;
        };
        match flags {
            0 => {}
            HAS_CHECKSUM => document = document.split_at_checked(document.len().checked_sub(CHECKSUM)?)?.0,
            _ => return None, // another message is to follow, which was not asked for
        }
        let reply = Self(document.to_vec());
        Document::parse(&reply.0)?.has("ok").then_some(reply)
    }

    /// Its document.
    pub(super) fn document(&self) -> Document<'_> {
        // It was parsed before.
        Document::parse(&self.0).unwrap_or_else(Document::empty)
    }

    /// The error that it reports.
    fn error(&self) -> Option<NotReady> {
        let reply = self.document();
        if reply.is_true("ok") {
            return None;
        }
        let code = reply.number("code").unwrap_or_default();
        let name = reply.text("codeName").map(|name| format!(" {name}"));
        let (name, text) = (name.unwrap_or_default(), reply.text("errmsg").unwrap_or_default());
        Some(KIND.error(&code.to_string(), format!("error {code}{name}: {text}")))
    }
}
