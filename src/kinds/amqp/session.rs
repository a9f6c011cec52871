//! Frames and methods of one connection.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::sleep;

use super::{KIND, TLS_REQUIRED, TOO_MANY_CONNECTIONS, UNKNOWN_VIRTUAL_HOST};
use crate::net::{Io, Stream};
use crate::probe::{Attempt, NotReady, Reason, reason};

/// The longest frame that is read, in bytes: the usual limit of clients and servers.
const LONGEST_FRAME: usize = 128 * 1024;
/// The most frames that are passed over before an answer, such as notifications.
const MOST_FRAMES: usize = 16;

/// RabbitMQ logs a failure of its own where the connection is closed while it still ends a channel.
const END_OF_CHANNEL: Duration = Duration::from_millis(20);

/// AMQP 0-9-1.
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
const FRAME_METHOD: u8 = 1;
const FRAME_HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xce;

/// A method, by the numbers of its class and its own.
type Method = (u16, u16);

const START: Method = (10, 10);
const START_OK: Method = (10, 11);
const TUNE: Method = (10, 30);
const TUNE_OK: Method = (10, 31);
const OPEN: Method = (10, 40);
const OPEN_OK: Method = (10, 41);
const CLOSE: Method = (10, 50);
const CLOSE_OK: Method = (10, 51);
const BLOCKED: Method = (10, 60);
const UNBLOCKED: Method = (10, 61);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const CHANNEL_CLOSE: Method = (20, 40);
const CHANNEL_CLOSE_OK: Method = (20, 41);
const QUEUE_DECLARE: Method = (50, 10);
const QUEUE_DECLARE_OK: Method = (50, 11);

/// The number of the connection itself, and of the only channel that is opened.
const CONNECTION: u16 = 0;
const CHANNEL: u16 = 1;

const REPLY_SUCCESS: u16 = 200;
/// The bit of a queue's declaration by which it is not created.
const PASSIVE: u8 = 1;

const NO_PERMISSION: Reason = UNKNOWN_VIRTUAL_HOST
    .with_hint("give the user permissions there: rabbitmqctl set_permissions --vhost VHOST USER '.*' '.*' '.*'");
const NO_LIMIT_KNOWN: Reason =
    reason::NOT_SERVING.with_hint("do the nodes of the cluster reach each other? The server's log may say more");
const BACKEND: Reason =
    reason::NOT_SERVING.with_hint("does the server reach its authorization backend? Its log may say more");
const VIRTUAL_HOST_DOWN: Reason =
    reason::NOT_SERVING.with_hint("the server's log has the cause; then: rabbitmqctl restart_vhost");
const NEGOTIATION: Reason = reason::SERVER_ERROR
    .with_hint("the application asks for a limit that the server does not allow (frameMax, channelMax)");
const ALARM: Reason = reason::NOT_SERVING.with_hint(
    "free memory or disk space on the server, or see to vm_memory_high_watermark and disk_free_limit",
);
const OTHER_VERSION: Reason = reason::PROTOCOL
    .with_hint("is there another port for AMQP 0-9-1? AMQP 1.0 is another protocol of the same name");

/// A connection to a server.
pub(super) struct Session<'a> {
    stream: BufReader<Box<dyn Io>>,
    /// The bytes that are sent before the next answer is read: in one packet, which nothing delays.
    unsent: Vec<u8>,
    /// Why the server takes no messages, if it has reported that.
    blocked: Option<String>,
    /// Whether the server has closed the connection.
    is_over: bool,
    cx: &'a Attempt,
}

/// How a client logs in.
pub(super) struct Credentials<'a> {
    /// By the name that the protocol has for it.
    pub(super) mechanism: &'static str,
    /// The client's answer, which is all that the mechanism needs.
    pub(super) response: &'a [u8],
}

/// Limits of a connection; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// The number of channels.
    pub(super) channel_max: u16,
    /// The length of a frame, in bytes.
    pub(super) frame_max: u32,
}

impl<'a> Session<'a> {
    /// Asks for AMQP 0-9-1, and returns the mechanisms that the server offers for the login.
    pub(super) async fn start(stream: Stream, cx: &'a Attempt) -> Result<(Self, String), NotReady> {
        let mut session = Self {
            stream: BufReader::new(stream.io),
            unsent: PROTOCOL_HEADER.to_vec(),
            blocked: None,
            is_over: false,
            cx,
        };
        let start = session.answer(START).await?;
        let mechanisms = || {
            let mut fields = Fields(&start);
            fields.take(2)?; // the version, which the header has
            fields.long()?; // the server's properties
            Some(String::from_utf8_lossy(fields.long()?).into_owned())
        };
        let mechanisms = mechanisms().ok_or_else(|| cx.unexpected())?;
        Ok((session, mechanisms))
    }

    /// Logs in, and returns the limits that the server proposes.
    pub(super) async fn log_in(&mut self, by: &Credentials<'_>) -> Result<Limits, NotReady> {
        let mut fields = client_properties();
        push_short(&mut fields, by.mechanism);
        push_long(&mut fields, by.response);
        push_short(&mut fields, "en_US");
        self.send(CONNECTION, START_OK, &fields);
        let tune = self.answer(TUNE).await?;
        let mut fields = Fields(&tune);
        let mut limits = || {
            Some(Limits {
                channel_max: fields.u16()?,
                frame_max: fields.u32()?,
            })
        };
        limits().ok_or_else(|| self.cx.unexpected())
    }

    /// Agrees on limits and opens the connection to a virtual host.
    pub(super) async fn open(&mut self, limits: Limits, virtual_host: &str) -> Result<(), NotReady> {
        let mut fields = limits.channel_max.to_be_bytes().to_vec();
        fields.extend(limits.frame_max.to_be_bytes());
        // No heartbeats: a server that is slow does not miss ours, and does not complain.
        fields.extend(0_u16.to_be_bytes());
        self.send(CONNECTION, TUNE_OK, &fields);
        let mut fields = Vec::new();
        push_short(&mut fields, virtual_host);
        fields.extend([0, 0]); // two fields that are not used any more
        self.send(CONNECTION, OPEN, &fields);
        self.answer(OPEN_OK).await.map(drop)
    }

    /// Looks whether there is a queue of this name.
    pub(super) async fn look_for_queue(&mut self, queue: &str) -> Result<(), NotReady> {
        self.send(CHANNEL, CHANNEL_OPEN, &[0]);
        self.answer(CHANNEL_OPEN_OK).await?;
        let mut fields = vec![0, 0]; // not used any more
        push_short(&mut fields, queue);
        fields.push(PASSIVE);
        push_long(&mut fields, &[]); // no arguments
        self.send(CHANNEL, QUEUE_DECLARE, &fields);
        self.answer(QUEUE_DECLARE_OK).await.map(drop)
    }

    /// Closes the connection as the protocol has it, unless the server has done so.
    pub(super) async fn close(&mut self) -> Result<(), NotReady> {
        if self.is_over {
            return Ok(());
        }
        let mut fields = REPLY_SUCCESS.to_be_bytes().to_vec();
        push_short(&mut fields, "goodbye");
        fields.extend([0; 4]); // no method is to blame
        self.send(CONNECTION, CLOSE, &fields);
        self.answer(CLOSE_OK).await?;
        self.leave().await;
        Ok(())
    }

    /// An error if the server has reported that it takes no messages.
    pub(super) fn takes_messages(&self) -> Result<(), NotReady> {
        match &self.blocked {
            None => Ok(()),
            Some(why) => Err(NotReady::new(&ALARM, format!("the server takes no messages: {why}"))),
        }
    }

    /// Ends the connection.
    pub(super) async fn leave(&mut self) {
        // The server may have ended it.
        let _ = self.flush().await;
        let _ = self.stream.shutdown().await;
    }

    /// Reads up to the answer that is expected, and answers what the server has to say in its place.
    async fn answer(&mut self, expected: Method) -> Result<Vec<u8>, NotReady> {
        for _ in 0..MOST_FRAMES {
            let Some((method, fields)) = self.read().await? else {
                continue;
            };
            match method {
                method if method == expected => return Ok(fields),
                CLOSE => {
                    let why = refusal(&fields).ok_or_else(|| self.cx.unexpected())?;
                    self.send(CONNECTION, CLOSE_OK, &[]);
                    self.leave().await;
                    self.is_over = true;
                    return Err(why);
                }
                CHANNEL_CLOSE => {
                    let why = refusal(&fields).ok_or_else(|| self.cx.unexpected())?;
                    self.send(CHANNEL, CHANNEL_CLOSE_OK, &[]);
                    self.flush().await?;
                    sleep(END_OF_CHANNEL).await;
                    return Err(why);
                }
                BLOCKED => {
                    let why = Fields(&fields).short();
                    self.blocked = Some(why.ok_or_else(|| self.cx.unexpected())?);
                }
                UNBLOCKED => self.blocked = None,
                _ => return Err(self.cx.unexpected()),
            }
        }
        Err(self.cx.unexpected())
    }

    /// Reads a frame: a method and its fields, or nothing but a heartbeat.
    async fn read(&mut self) -> Result<Option<(Method, Vec<u8>)>, NotReady> {
        self.flush().await?;
        let start = self.stream.fill_buf().await;
        let start = start.map_err(|error| self.cx.broken(&error))?;
        if !start.is_empty() {
            self.cx.talking();
        }
        match start {
            [] => return Err(self.cx.closed()),
            [FRAME_METHOD | FRAME_HEARTBEAT, ..] => {}
            [b'A', b'M', b'Q', b'P', _, major, minor, revision, ..] => {
                let phase = self.cx.current_phase();
                let detail =
                    format!("the server offers AMQP {major}.{minor}.{revision} while {phase}");
                return Err(NotReady::new(&OTHER_VERSION, detail));
            }
            // An alert of TLS.
            [0x15, 0x03, ..] => {
                let detail = format!("the server answers in TLS while {}", self.cx.current_phase());
                return Err(NotReady::new(&TLS_REQUIRED, detail));
            }
            start => return Err(self.cx.another_protocol(start)),
        }
        let mut header = [0; 7];
        self.read_exact(&mut header).await?;
        let [kind, _, _, length @ ..] = header;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST_FRAME {
            return Err(self.cx.another_protocol(&header));
        }
        let mut payload = vec![0; length + 1];
        self.read_exact(&mut payload).await?;
        if payload.pop() != Some(FRAME_END) {
            return Err(self.cx.unexpected());
        }
        if kind == FRAME_HEARTBEAT {
            return Ok(None);
        }
        let mut fields = Fields(&payload);
        match (fields.u16(), fields.u16()) {
            (Some(class), Some(method)) => Ok(Some(((class, method), fields.0.to_vec()))),
            _ => Err(self.cx.unexpected()),
        }
    }

    async fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), NotReady> {
        let read = self.stream.read_exact(bytes).await;
        read.map(drop).map_err(|error| self.cx.broken(&error))
    }

    fn send(&mut self, channel: u16, method: Method, fields: &[u8]) {
        let frame = &mut self.unsent;
        frame.push(FRAME_METHOD);
        frame.extend(channel.to_be_bytes());
        frame.extend((fields.len() as u32 + 4).to_be_bytes());
        frame.extend(method.0.to_be_bytes());
        frame.extend(method.1.to_be_bytes());
        frame.extend(fields);
        frame.push(FRAME_END);
    }

    async fn flush(&mut self) -> Result<(), NotReady> {
        let bytes = std::mem::take(&mut self.unsent);
        let written = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| self.cx.broken(&error))
    }
}

/// The error that a server closes a connection or a channel with.
fn refusal(fields: &[u8]) -> Option<NotReady> {
    let mut fields = Fields(fields);
    let (code, text) = (fields.u16()?, fields.short()?);
    // RabbitMQ has one code for many things.
    let reason = match code {
        530 if text.ends_with("not found") => Some(&UNKNOWN_VIRTUAL_HOST),
        530 if text.contains("is reached") || text.contains("has reached") => Some(&TOO_MANY_CONNECTIONS),
        530 if text.contains("cannot be queried") => Some(&NO_LIMIT_KNOWN),
        530 if text.contains("returned an error") => Some(&BACKEND),
        530 if text.contains("refused for user") => Some(&NO_PERMISSION),
        530 if text.contains("negotiated") => Some(&NEGOTIATION),
        541 if text.ends_with("is down") => Some(&VIRTUAL_HOST_DOWN),
        _ => None,
    };
    let detail = match code {
        404 => format!("no such queue: {code} {text}"),
        _ => format!("{code} {text}"),
    };
    let code = code.to_string();
    Some(match reason {
        Some(reason) => NotReady::new(reason, detail).with_code(code),
        None => KIND.error(&code, detail),
    })
}

/// The client's name and what it understands: the reason of a denied login, and that the server takes
/// no messages.
fn client_properties() -> Vec<u8> {
    let mut capabilities = Vec::new();
    for name in ["authentication_failure_close", "connection.blocked"] {
        push_short(&mut capabilities, name);
        capabilities.extend([b't', 1]);
    }
    let mut properties = Vec::new();
    for (name, value) in [
        ("product", env!("CARGO_PKG_NAME")),
        ("version", env!("CARGO_PKG_VERSION")),
    ] {
        push_short(&mut properties, name);
        properties.push(b'S');
        push_long(&mut properties, value.as_bytes());
    }
    push_short(&mut properties, "capabilities");
    properties.push(b'F');
    push_long(&mut properties, &capabilities);
    let mut table = Vec::new();
    push_long(&mut table, &properties);
    table
}

/// Appends a short string. None of ours is longer than it can be.
fn push_short(fields: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(u8::MAX.into())];
    fields.push(bytes.len() as u8);
    fields.extend(bytes);
}

/// Appends a long string, or a table of which these are the pairs.
fn push_long(fields: &mut Vec<u8>, bytes: &[u8]) {
    fields.extend((bytes.len() as u32).to_be_bytes());
    fields.extend(bytes);
}

/// The rest of a method's fields; each part is `None` if it is cut short.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn short(&mut self) -> Option<String> {
        let length = self.take(1)?[0];
        let text = self.take(length.into())?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }
}
