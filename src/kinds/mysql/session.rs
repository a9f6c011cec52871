//! Packets and commands of one connection.

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::codes;
use crate::kinds::query::Rows;
use crate::net::tls::Tls;
use crate::net::{Stream, Verdict};
use crate::probe::{Attempt, NotReady};

/// The most that is kept of a packet, in bytes; nothing that is needed is longer.
const KEPT: usize = 64 * 1024;
/// A part of this length is not the last of its packet.
const FULL_PART: usize = 0xff_ff_ff;
/// `SERVER_MORE_RESULTS_EXISTS`, a status flag.
const MORE_RESULTS: u16 = 0x0008;

const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0e;

/// First bytes of packets.
pub(super) const OK: u8 = 0x00;
pub(super) const MORE_DATA: u8 = 0x01;
pub(super) const LOCAL_INFILE: u8 = 0xfb;
pub(super) const EOF: u8 = 0xfe;
pub(super) const ERROR: u8 = 0xff;

/// A connection to a server.
pub(super) struct Session<'a> {
    stream: Stream,
    /// The number that the next packet has.
    sequence: u8,
    cx: &'a Attempt,
}

impl<'a> Session<'a> {
    pub(super) fn new(stream: Stream, cx: &'a Attempt) -> Self {
        Self {
            stream,
            sequence: 0,
            cx,
        }
    }

    pub(super) fn cx(&self) -> &'a Attempt {
        self.cx
    }

    /// Goes on with TLS. Also returns why the server is not trusted, if it is not.
    pub(super) async fn secure(self, tls: &Tls) -> Result<(Self, Option<NotReady>), NotReady> {
        let Verdict { stream, distrust, .. } = self.cx.tls_with_verdict(self.stream, tls).await?;
        Ok((Self { stream, ..self }, distrust))
    }

    /// Reads a packet that cannot be long.
    pub(super) async fn read(&mut self) -> Result<Vec<u8>, NotReady> {
        self.read_packet(Some(KEPT)).await
    }

    /// Reads a packet of any length and returns how it starts.
    async fn read_start(&mut self) -> Result<Vec<u8>, NotReady> {
        self.read_packet(None).await
    }

    async fn read_packet(&mut self, longest: Option<usize>) -> Result<Vec<u8>, NotReady> {
        let mut kept = Vec::new();
        loop {
            let mut header = [0; 4];
            self.read_exact(&mut header).await?;
            let [a, b, c, sequence] = header;
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            if longest.is_some_and(|longest| length > longest) {
                return Err(self.cx.another_protocol(&header));
            }
            self.sequence = sequence.wrapping_add(1);
            let wanted = length.min(KEPT - kept.len());
            let from = kept.len();
            kept.resize(from + wanted, 0);
            let mut part = std::mem::take(&mut kept);
            self.read_exact(&mut part[from..]).await?;
            kept = part;
            self.discard(length - wanted).await?;
            if length < FULL_PART {
                return Ok(kept);
            }
        }
    }

    async fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), NotReady> {
        match self.stream.io.read_exact(bytes).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.cx.broken(&error)),
        }
    }

    async fn discard(&mut self, mut length: usize) -> Result<(), NotReady> {
        let mut rubbish = [0; 4096];
        while length > 0 {
            let part = length.min(rubbish.len());
            self.read_exact(&mut rubbish[..part]).await?;
            length -= part;
        }
        Ok(())
    }

    /// Writes one packet. None of ours needs a second part.
    pub(super) async fn write(&mut self, payload: &[u8]) -> Result<(), NotReady> {
        let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
        let mut packet = vec![a, b, c, self.sequence];
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        let written = async {
            self.stream.io.write_all(&packet).await?;
            self.stream.io.flush().await
        };
        written.await.map_err(|error| self.cx.broken(&error))
    }

    async fn command(&mut self, command: u8, argument: &[u8]) -> Result<(), NotReady> {
        self.sequence = 0;
        self.write(&[&[command], argument].concat()).await
    }

    /// Asks whether the server is there.
    pub(super) async fn ping(&mut self) -> Result<(), NotReady> {
        self.command(COM_PING, b"").await?;
        let answer = self.read().await?;
        match answer.first() {
            Some(&OK) => Ok(()),
            Some(&ERROR) => Err(codes::not_ready(&answer)),
            _ => Err(self.cx.unexpected()),
        }
    }

    /// Runs a statement and reads all that it returns.
    pub(super) async fn run(&mut self, statement: &str) -> Result<Rows, NotReady> {
        self.command(COM_QUERY, statement.as_bytes()).await?;
        let mut rows = Rows::None;
        loop {
            let start = self.read_start().await?;
            let status = match start.first() {
                Some(&OK) => ok_status(&start),
                Some(&ERROR) => return Err(codes::not_ready(&start)),
                // The server asks for a file of ours.
                Some(&LOCAL_INFILE) | None => return Err(self.cx.unexpected()),
                Some(_) => {
                    while !is_eof(&self.read_start().await?) {} // the columns
                    loop {
                        let row = self.read_start().await?;
                        match row.first() {
                            Some(&ERROR) => return Err(codes::not_ready(&row)),
                            _ if is_eof(&row) => break status_at(&row, 3),
                            _ if is_true(&row) => rows = Rows::True,
                            _ => rows = rows.max(Rows::False),
                        }
                    }
                }
            };
            if status.unwrap_or(0) & MORE_RESULTS == 0 {
                return Ok(rows);
            }
        }
    }

    /// Ends the session.
    pub(super) async fn quit(&mut self) -> Result<(), NotReady> {
        self.command(COM_QUIT, b"").await?;
        self.stream
            .io
            .shutdown()
            .await
            .map_err(|error| self.cx.broken(&error))
    }
}

/// A session after its login. Also where the attempt is given up, the server is told of its end: it
/// counts a connection that ends without COM_QUIT as aborted.
pub(super) struct LoggedIn<'a> {
    pub(super) session: Session<'a>,
    is_told: bool,
}

impl<'a> LoggedIn<'a> {
    pub(super) fn new(session: Session<'a>) -> Self {
        Self { session, is_told: false }
    }

    /// Ends the session.
    pub(super) async fn quit(&mut self) -> Result<(), NotReady> {
        self.is_told = true;
        self.session.quit().await
    }
}

impl Drop for LoggedIn<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            // Nobody waits any more; a connection takes so little at once.
            let _ = self.session.quit().now_or_never();
        }
    }
}

/// Whether the first column of a row is true: neither NULL, 0, false nor empty.
fn is_true(row: &[u8]) -> bool {
    let (length, at) = match row {
        [0xfc, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 3),
        [0xfd | 0xfe, ..] => return true, // longer than any number
        [0xfb, ..] | [] => return false,
        [length, ..] => (usize::from(*length), 1),
    };
    // A long one is not kept to its end.
    let value = row.get(at..).unwrap_or_default();
    let value = &value[..value.len().min(length)];
    let text = String::from_utf8_lossy(value);
    let is_zero = text.parse().is_ok_and(|number: f64| number == 0.0);
    // A BIT comes as bytes.
    !(value.iter().all(|byte| *byte == 0) || is_zero || text.eq_ignore_ascii_case("false"))
}

fn is_eof(packet: &[u8]) -> bool {
    packet.first() == Some(&EOF) && packet.len() < 9
}

/// The status flags of an OK packet, after two numbers of variable length.
fn ok_status(packet: &[u8]) -> Option<u16> {
    let mut at = 1;
    for _ in 0..2 {
        at += match packet.get(at)? {
            0xfc => 3,
            0xfd => 4,
            0xfe => 9,
            _ => 1,
        };
    }
    status_at(packet, at)
}

fn status_at(packet: &[u8], at: usize) -> Option<u16> {
    let bytes = packet.get(at..at + 2)?;
    Some(u16::from_le_bytes([bytes[0], bytes[1]]))
}
