//! A connection to a broker: requests and responses in frames. The versions that are used have no
//! tagged fields.

use std::ops::RangeInclusive;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::KIND;
use crate::net::{Io, Route, Stream};
use crate::probe::{Attempt, NotReady, reason, goodbye};

/// The longest response that is read, in bytes: enough for the metadata of some 10,000 partitions.
const LONGEST: i32 = 1 << 20;

/// The name of this client in the broker's metrics.
const CLIENT: &str = "compose-wait";

/// A kind of request, and the versions of it that are supported here.
pub(super) struct Api {
    name: &'static str,
    key: i16,
    versions: RangeInclusive<i16>,
}

/// In its first version, which every broker answers: there is nothing to fall back to.
const API_VERSIONS: Api = Api {
    name: "ApiVersions",
    key: 18,
    versions: 0..=0,
};
/// Version 1 (Kafka 0.10) is the first with the controller, and version 4 (Kafka 0.11) the first
/// that does not create topics.
pub(super) const METADATA: Api = Api {
    name: "Metadata",
    key: 3,
    versions: 1..=4,
};
pub(super) const SASL_HANDSHAKE: Api = Api {
    name: "SaslHandshake",
    key: 17,
    versions: 0..=1,
};
pub(super) const SASL_AUTHENTICATE: Api = Api {
    name: "SaslAuthenticate",
    key: 36,
    versions: 0..=0,
};

/// A connection to a broker.
pub(super) struct Session<'a> {
    pub(super) cx: &'a Attempt,
    pub(super) route: Route,
    stream: BufReader<Box<dyn Io>>,
    /// The number of the last request.
    number: i32,
    /// The requests that the broker supports, and in which versions.
    supported: Vec<(i16, RangeInclusive<i16>)>,
}

impl<'a> Session<'a> {
    /// Asks for the versions that the broker supports.
    pub(super) async fn begin(stream: Stream, cx: &'a Attempt) -> Result<Self, NotReady> {
        cx.phase("asking for the protocol's versions");
        let mut session = Self {
            cx,
            route: stream.route,
            stream: BufReader::new(stream.io),
            number: 0,
            supported: Vec::new(),
        };
        let response = session.call(&API_VERSIONS, 0, &[]).await?;
        let mut fields = Fields(&response);
        let error = fields.i16().ok_or_else(|| cx.unexpected())?;
        refuse(error, "the broker does not say which versions it supports")?;
        let supported = fields.list(|fields| {
            let key = fields.i16()?;
            Some((key, fields.i16()?..=fields.i16()?))
        });
        session.supported = supported.ok_or_else(|| cx.unexpected())?;
        Ok(session)
    }

    /// The highest version of a request that both sides support.
    pub(super) fn version(&self, api: &Api) -> Result<i16, NotReady> {
        let mut supported = self.supported.iter();
        let theirs = supported.find_map(|(key, versions)| (*key == api.key).then_some(versions));
        let version = theirs.map(|theirs| *theirs.end().min(api.versions.end()));
        version
            .filter(|version| {
                let is_in = |versions: &RangeInclusive<i16>| versions.contains(version);
                is_in(&api.versions) && theirs.is_some_and(is_in)
            })
            .ok_or_else(|| {
                let (name, theirs) = (api.name, theirs.map(|theirs| format!("{theirs:?}")));
                let theirs = theirs.as_deref().unwrap_or("none");
                NotReady::new(
                    &reason::PROTOCOL,
                    format!("of {name}, versions {:?} are needed, and the broker supports {theirs}", api.versions),
                )
            })
    }

    /// Sends a request and reads its response.
    pub(super) async fn call(
        &mut self,
        api: &Api,
        version: i16,
        body: &[u8],
    ) -> Result<Vec<u8>, NotReady> {
        self.number += 1;
        let mut request = [api.key.to_be_bytes(), version.to_be_bytes()].concat();
        request.extend(self.number.to_be_bytes());
        request.extend(string(CLIENT));
        request.extend(body);
        self.send(&request).await?;
        let mut response = self.receive().await?;
        match Fields(&response).i32() {
            Some(number) if number == self.number => Ok(response.split_off(4)),
            _ => Err(self.cx.unexpected()),
        }
    }

    /// Sends a frame.
    pub(super) async fn send(&mut self, frame: &[u8]) -> Result<(), NotReady> {
        let sent = async {
            self.stream.write_all(&bytes(frame)).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| self.cx.broken(&error))
    }

    /// Reads a frame.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, NotReady> {
        let mut length = [0; 4];
        let read = self.stream.read_exact(&mut length).await;
        read.map_err(|error| self.cx.broken(&error))?;
        self.cx.talking();
        let expected = i32::from_be_bytes(length);
        if !(0..=LONGEST).contains(&expected) {
            // It may be a greeting in another protocol, or an alert of TLS.
            let start = [&length, self.stream.buffer()].concat();
            return Err(self.cx.another_protocol(&start));
        }
        let expected = expected as u64;
        let mut frame = Vec::new();
        let read = (&mut self.stream)
            .take(expected)
            .read_to_end(&mut frame)
            .await;
        match read.map_err(|error| self.cx.broken(&error))? as u64 {
            read if read < expected => Err(self.cx.closed()),
            _ => Ok(frame),
        }
    }

    /// Closes the connection; the protocol has no goodbye of its own.
    pub(super) async fn end(mut self) {
        goodbye(self.stream.shutdown()).await;
    }
}

/// An error of a broker by its number, unless it is none.
pub(super) fn refuse(error: i16, detail: impl Into<String>) -> Result<(), NotReady> {
    match error {
        0 => Ok(()),
        error => Err(KIND.error(&error.to_string(), detail)),
    }
}

/// A text with its length before it.
pub(super) fn string(text: &str) -> Vec<u8> {
    let length = (text.len() as i16).to_be_bytes();
    [&length, text.as_bytes()].concat()
}

/// Bytes with their length before them.
pub(super) fn bytes(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as i32).to_be_bytes();
    [&length, bytes].concat()
}

/// The fields of a response that have not been read. `None` is the end of them before its time.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn boolean(&mut self) -> Option<bool> {
        self.array().map(|[byte]| byte != 0)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// So many bytes; none for the length of null.
    fn part(&mut self, length: i32) -> Option<&'a [u8]> {
        let (part, rest) = match length {
            -1 => self.0.split_at(0),
            length => self.0.split_at_checked(length.try_into().ok()?)?,
        };
        self.0 = rest;
        Some(part)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.i32()?;
        self.part(length)
    }

    pub(super) fn string(&mut self) -> Option<String> {
        let length = self.i16()?;
        let text = self.part(length.into())?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Items, each of at least a byte.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut items = Vec::new();
        for _ in 0..self.i32()? {
            items.push(item(self)?);
        }
        Some(items)
    }
}
