//! A GET that is answered with a status from 200 to 399, as Kubernetes judges.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tokio::time::timeout;

use super::HTTP_STATUS;
use crate::net::At;
use crate::net::limited::{Limited, Seen};
use crate::net::tls::{NOT_TLS, Tls, Verification};
use crate::probe::{Attempt, NotReady, Probe, reason};
use crate::targets::{Address, Defaults, Endpoint, Expected, Secret};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The most that is read of a body, in bytes and in time: to close with some of it unread is, for
/// the server, a connection that broke.
const LONGEST_BODY: usize = 16 * 1024;
const BODY: Duration = Duration::from_millis(50);
/// The longest response, in bytes, interim responses included; the body is not read to its end.
const LONGEST_RESPONSE: usize = 128 * 1024;
/// The longest part of a body that is shown, in characters.
const LONGEST_SHOWN: usize = 200;

/// The shortest value of a query that is taken for a secret, in bytes.
const SHORTEST_SECRET: usize = 4;

/// The most headers that a response may have.
const MOST_HEADERS: usize = 1000;

/// The characters that a request line cannot carry.
const NOT_IN_REQUEST: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^');

/// A request and where it is sent.
#[derive(Debug)]
struct Http {
    endpoint: Endpoint,
    tls: Option<Tls>,
    /// The path and the query, as they are sent.
    uri: Secret,
    /// For the `Host` header: the port is left out where it is the scheme's own.
    authority: String,
    /// For basic authentication.
    credentials: Option<Secret>,
    /// The parts of the request that are secret: a service may repeat them.
    confidential: Confidential,
}

/// Texts that are not printed, nor how many there are.
struct Confidential(Vec<Secret>);

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confidential(…)")
    }
}

pub(super) fn parse(
    address: &mut Address,
    defaults: &Defaults<'_>,
) -> Result<Box<dyn Probe>, Expected> {
    if address.path.is_empty() {
        address.path.push('/');
    }
    let encode = |text| utf8_percent_encode(text, NOT_IN_REQUEST);
    let mut uri = encode(&address.path).to_string();
    if let Some(query) = &address.query {
        uri += &format!("?{}", encode(query.expose()));
    }
    let endpoint = address.endpoint.clone();
    let credentials = (address.user.is_some() || address.password.is_some()).then(|| {
        let user = address.user.as_deref().unwrap_or_default();
        let password = address.password.as_ref().map_or("", Secret::expose);
        Secret::new(STANDARD.encode(format!("{user}:{password}")))
    });
    Ok(Box::new(Http {
        confidential: Confidential(secrets(address, credentials.as_ref())),
        tls: match address.scheme.is_tls {
            true => Some(defaults.tls(address, Verification::AuthorityAndName, None)?),
            false => None,
        },
        uri: Secret::new(uri),
        authority: match address.scheme.default_port == Some(endpoint.port) {
            true => endpoint.host.to_string(),
            false => endpoint.to_string(),
        },
        endpoint,
        credentials,
    }))
}

/// The parts of a request that are secret, as they are sent and as a service may show them.
fn secrets(address: &Address, credentials: Option<&Secret>) -> Vec<Secret> {
    let query = address.query.as_ref().map_or("", Secret::expose);
    let values = query.split('&').map(|pair| match pair.split_once('=') {
        Some((_, value)) => value,
        None => pair,
    });
    let values = values.filter(|value| value.len() >= SHORTEST_SECRET);
    let values = values.flat_map(|value| {
        let decoded = percent_decode_str(value).decode_utf8_lossy().into_owned();
        [value.to_owned(), decoded]
    });
    let login = address.password.iter().chain(credentials);
    let login = login.filter(|secret| !secret.expose().is_empty());
    login.cloned().chain(values.map(Secret::new)).collect()
}

impl Probe for Http {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        self.get(cx).boxed()
    }

    fn description(&self) -> Vec<(&'static str, String)> {
        let tls = if self.tls.is_some() { "verify-full" } else { "off" };
        vec![("TLS", tls.to_owned())]
    }

    fn verifies_certificates(&self) -> bool {
        self.tls.is_some()
    }
}

impl Http {
    async fn get(&self, cx: &Attempt) -> Result<(), NotReady> {
        let mut stream = cx.connect(&At::Tcp(self.endpoint.clone())).await?;
        if let Some(tls) = &self.tls {
            let secured = cx.tls(stream, tls).await;
            stream = secured.map_err(|why| match why.reason == NOT_TLS {
                true => why.with_hint("the port does not speak TLS: is it http://?"),
                false => why,
            })?;
        }
        cx.phase("waiting for the response");
        let stream = Limited::new(stream.io, LONGEST_RESPONSE);
        let seen = stream.seen();
        let failed = |error| failed(&error, &seen, cx);
        // As lenient as browsers and curl: the status alone counts.
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(MOST_HEADERS)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let response = pin!(sender.send_request(self.request()?));
        // The connection moves only while it is polled, and is gone with this attempt.
        let mut connection = pin!(connection);
        let response = match select(response, &mut connection).await {
            Either::Left((response, _)) => response,
            Either::Right((_, response)) => response.await,
        };
        let response = response.map_err(failed)?;
        let status = response.status();
        let mut body = Vec::new();
        let _ = timeout(BODY, select(pin!(read(response, &mut body)), connection)).await;
        if (200..=399).contains(&status.as_u16()) {
            return Ok(());
        }
        let line = self.without_confidential(first_line(&body));
        let separator = if line.is_empty() { "" } else { ": " };
        let detail = format!("the response is {status}{separator}{line}");
        Err(NotReady::new(&HTTP_STATUS, detail).with_code(status.as_str().to_owned()))
    }

    /// The text, unless it holds a part of the request that is secret.
    fn without_confidential(&self, text: String) -> String {
        let is_in = |secret: &Secret| text.contains(secret.expose());
        match self.confidential.0.iter().any(is_in) {
            true => String::new(),
            false => text,
        }
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, NotReady> {
        let mut request = Request::get(self.uri.expose())
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close");
        if let Some(credentials) = &self.credentials {
            let basic = format!("Basic {}", credentials.expose());
            request = request.header(header::AUTHORIZATION, basic);
        }
        // The URL was encoded, so this does not happen.
        request
            .body(Empty::new())
            .map_err(|_| NotReady::new(&reason::PROTOCOL, "a URL that HTTP cannot carry"))
    }
}

async fn read(response: Response<Incoming>, into: &mut Vec<u8>) {
    let mut body = response.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        into.extend(frame.data_ref().into_iter().flatten());
        if into.len() > LONGEST_BODY {
            break;
        }
    }
}

/// The first line of a body that is not blank, cut short.
fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or_default();
    match line.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn failed(error: &hyper::Error, seen: &Seen, cx: &Attempt) -> NotReady {
    if let Some(why) = seen.failure(cx) {
        return why;
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return cx.closed();
    }
    NotReady::new(
        &reason::PROTOCOL,
        format!("a response that is not HTTP ({error})"),
    )
}
