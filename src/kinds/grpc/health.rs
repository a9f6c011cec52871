//! The messages of `grpc.health.v1.Health/Check`, and the meaning of a response. Nothing here touches
//! the network.

use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::{KIND, NOT_SERVING, PROTOCOL};
use crate::probe::NotReady;

/// The most of a response that is kept, in bytes; the message needs seven.
pub(super) const LONGEST_BODY: usize = 1024;
/// The longest part of a server's words that is shown, in characters.
const LONGEST_SHOWN: usize = 200;

/// The bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The names of gRPC's codes.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// The names of the health service's states.
const STATES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// The body of a request: a `HealthCheckRequest`, whose field 1 is the name of the service.
pub(super) fn request(service: Option<&str>) -> Vec<u8> {
    let mut message = Vec::new();
    if let Some(service) = service {
        message.push(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(service.bytes());
    }
    let length = (message.len() as u32).to_be_bytes();
    [&[0], &length[..], &message].concat()
}

/// A response, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: HeaderMap,
}

impl Response {
    /// Whether a message follows the headers. Otherwise the body is a page of a proxy's, or nothing.
    pub(super) fn has_message(&self) -> bool {
        let content_type = self.headers.get(header::CONTENT_TYPE);
        let is_of_grpc = |value: &[u8]| value.starts_with(b"application/grpc");
        !self.headers.contains_key("grpc-status")
            && content_type.is_some_and(|value| is_of_grpc(value.as_bytes()))
    }

    /// A field of the trailers, which may be all that there is; decoded and cut short.
    fn field(&self, name: &str) -> Option<String> {
        let value = self.trailers.get(name).or_else(|| self.headers.get(name))?;
        let value = percent_decode_str(value.to_str().unwrap_or_default()).decode_utf8_lossy();
        let mut shown: String = value.trim().chars().take(LONGEST_SHOWN + 1).collect();
        if shown.chars().count() > LONGEST_SHOWN {
            shown.pop();
            shown.push('…');
        }
        Some(shown)
    }

    /// Whether the service, or else the whole server, is serving.
    pub(super) fn judge(&self, service: Option<&str>) -> Result<(), NotReady> {
        let protocol = |detail| Err(NotReady::new(&PROTOCOL, detail));
        match self.field("grpc-status") {
            Some(code) if code == "0" => {}
            Some(code) => return Err(self.error(&code, service)),
            None if self.status != StatusCode::OK => {
                let detail = format!("the response is {}, without a gRPC status", self.status);
                return Err(KIND.error(self.status.as_str(), detail));
            }
            None => {
                let content_type = self.field("content-type");
                let content_type = content_type.as_deref().unwrap_or("without a content type");
                return protocol(format!("a response without a gRPC status ({content_type})"));
            }
        }
        let Some(state) = state(&self.body) else {
            return protocol("a response that is not of the health service".to_owned());
        };
        let name = STATES.get(state as usize).copied().unwrap_or("not one that is known");
        let detail = match service {
            _ if name == "SERVING" => return Ok(()),
            Some(service) => format!("the state of the service {service} is {name}"),
            None => format!("the state of the server is {name}"),
        };
        match STATES.contains(&name) {
            true => Err(KIND.error(name, detail)),
            false => Err(NotReady::new(&NOT_SERVING, detail)),
        }
    }

    /// The error of a gRPC status that is not 0.
    fn error(&self, code: &str, service: Option<&str>) -> NotReady {
        let name = code.parse().ok().and_then(|code: usize| CODES.get(code));
        let name = name.copied().unwrap_or("a code that is not known");
        let mut detail = match (name, service) {
            ("NOT_FOUND", Some(service)) => format!("the server does not know the service {service} ({name})"),
            ("NOT_FOUND", None) => format!("the server has no state for the whole of it ({name})"),
            ("UNIMPLEMENTED", _) => format!("the server has no health service ({name})"),
            _ => format!("the gRPC status is {name}"),
        };
        let words = self.field("grpc-message").unwrap_or_default();
        if !words.is_empty() {
            detail += &format!(": {words}");
        }
        let why = KIND.error(code, detail);
        match (name, service) {
            ("NOT_FOUND", None) => why.with_hint("name one of its services: HOST:PORT/PACKAGE.SERVICE"),
            _ => why,
        }
    }
}

/// The state in a body that is one `HealthCheckResponse`, its field 1; `None` if it is anything else.
fn state(body: &[u8]) -> Option<u32> {
    let (prefix, mut message) = body.split_at_checked(PREFIX)?;
    // It is not compressed, because that was not asked for.
    if prefix[0] != 0 || prefix[1..] != (message.len() as u32).to_be_bytes() {
        return None;
    }
    let mut state = 0;
    while !message.is_empty() {
        let key = number(&mut message)?;
        let length = match key & 7 {
            0 => {
                let value = number(&mut message)?;
                if key >> 3 == 1 {
                    state = value as u32; // as it is defined for enumerations
                }
                0
            }
            1 => 8,
            2 => number(&mut message)?,
            5 => 4,
            _ => return None,
        };
        message = message.get(usize::try_from(length).ok()?..)?;
    }
    Some(state)
}

/// Takes a number off a message, seven bits in each byte.
fn number(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
