//! A request that is answered with a status from 200 to 399, as Kubernetes judges, or as the target says.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tokio::time::timeout;

use super::options::{Options, retry_after};
use super::{HTTP_STATUS, WITHOUT_TEXT};
use crate::net::At;
use crate::net::limited::{Limited, Seen};
use crate::net::tls::{NOT_TLS, Tls, TlsMode};
use crate::probe::{Attempt, NotReady, Probe, reason};
use crate::targets::{Address, Defaults, Endpoint, Expected, Login, Secret};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The most that is read of a body, in bytes and in time: to close with some of it unread is, for
/// the server, a connection that broke.
const LONGEST_BODY: usize = 16 * 1024;
const BODY: Duration = Duration::from_millis(50);
/// The longest response, in bytes, interim responses included; the body is not read to its end.
const LONGEST_RESPONSE: usize = 128 * 1024;
/// The longest part of a body in which a text is looked for, in bytes.
const LONGEST_SEARCHED: usize = 512 * 1024;
/// The longest part of a body that is shown, in characters.
const LONGEST_SHOWN: usize = 200;

/// The shortest value of a query that is taken for a secret, in bytes.
const SHORTEST_SECRET: usize = 4;
/// The same of a part of a header's value, such as the token after `Bearer`.
const SHORTEST_SECRET_PART: usize = 8;

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
    login: Login,
    options: Options,
    /// Whether any answer is one too many (`#gone`).
    is_gone: bool,
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
    let options = Options::of(address)?;
    let mode = address.tls_mode_or(TlsMode::of_scheme(address.scheme.is_tls))?;
    Ok(Box::new(Http {
        confidential: Confidential(secrets(address)),
        tls: defaults.tls_or_none(address, mode, None)?,
        uri: Secret::new(uri),
        authority: match address.scheme.default_port == Some(endpoint.port) {
            true => endpoint.host.to_string(),
            false => endpoint.to_string(),
        },
        endpoint,
        login: defaults.account(address)?,
        options,
        is_gone: address.flag("gone")?,
    }))
}

/// The parts of a request that are secret, as they are sent and as a service may show them, but for the
/// login.
fn secrets(address: &Address) -> Vec<Secret> {
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
    let headers = address.options_named("header").flat_map(|header| {
        let value = header.split_once(':').map_or("", |(_, value)| value.trim());
        let is_secret = |part: &&str| part.len() >= SHORTEST_SECRET_PART;
        let parts = value.split([' ', ',', ';', '=']).filter(is_secret);
        parts.chain([value]).map(str::to_owned)
    });
    let all = values.chain(headers).filter(|text| !text.is_empty());
    all.map(Secret::new).collect()
}

impl Probe for Http {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        self.send(cx).boxed()
    }

    fn description(&self) -> Vec<(&'static str, String)> {
        let mode = TlsMode::of(self.tls.as_ref());
        let mut parts = self.login.description();
        parts.extend(self.options.description());
        parts.push(("TLS", mode.to_string()));
        parts
    }

    fn verifies_certificates(&self) -> bool {
        TlsMode::of(self.tls.as_ref()).is_verified()
    }
}

impl Http {
    async fn send(&self, cx: &Attempt) -> Result<(), NotReady> {
        let password = match &self.login.password {
            Some(password) => Some(cx.password(password).await?),
            None => None,
        };
        let user = self.login.user.as_deref();
        let credentials = (user.is_some() || password.is_some()).then(|| {
            let password = password.as_ref().map_or("", |password| password.expose());
            STANDARD.encode(format!("{}:{password}", user.unwrap_or_default()))
        });
        let mut stream = cx.connect(&At::Tcp(self.endpoint.clone())).await?;
        if let Some(tls) = &self.tls {
            let secured = cx.tls(stream, tls).await;
            stream = secured.map_err(|why| match why.reason == NOT_TLS {
                true => why.with_hint("the port does not speak TLS: is it http://?"),
                false => why,
            })?;
        }
        cx.phase("waiting for the response");
        let searched = self.options.contains.as_ref().map_or(0, |_| LONGEST_SEARCHED);
        let stream = Limited::new(stream.io, LONGEST_RESPONSE + searched);
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
        // The connection moves only while it is polled, and is gone with this attempt.
        let mut connection = pin!(connection.fuse());
        let response = beside(&mut connection, sender.send_request(self.request(credentials.as_deref())?)).await;
        let response = response.map_err(failed)?;
        cx.talking();
        let status = response.status();
        if let Some(pause) = retry_after(response.headers(), SystemTime::now()) {
            cx.asked_for_pause(pause);
        }
        let is_expected = self.is_gone || self.options.expects(status);
        let mut page = Page {
            rest: response.into_body(),
            read: Vec::new(),
        };
        let mut is_found = true;
        if let (true, false, Some(text)) = (is_expected, self.is_gone, &self.options.contains) {
            cx.phase("reading the page");
            let finding = beside(&mut connection, page.find(text.expose().as_bytes()));
            is_found = finding.await.map_err(failed)?;
        }
        let longest = page.read.len().max(LONGEST_BODY);
        let _ = timeout(BODY, beside(&mut connection, page.read_to(longest))).await;
        if is_expected && is_found {
            return Ok(());
        }
        let login = password.as_ref().map(|password| password.expose());
        let login = login.into_iter().chain(credentials.as_deref());
        let line = self.without_confidential(first_line(&page.read), login);
        let separator = if line.is_empty() { "" } else { ": " };
        if is_expected {
            let detail = format!("the page does not contain the text{separator}{line}");
            return Err(NotReady::new(&WITHOUT_TEXT, detail));
        }
        let expected = self.options.expected();
        let expected = expected.map_or_else(String::new, |expected| format!(", not {expected}"));
        let detail = format!("the response is {status}{expected}{separator}{line}");
        let why = NotReady::new(&HTTP_STATUS, detail).with_code(status.as_str().to_owned());
        Err(match status {
            StatusCode::UNAUTHORIZED => why.with_hint(self.login.advice(password.as_deref())),
            _ if status.is_server_error() => why.with_hint("the service's own log may have the cause"),
            _ => why,
        })
    }

    /// The text, unless it holds a part of the request that is secret.
    fn without_confidential<'a>(
        &'a self,
        text: String,
        login: impl Iterator<Item = &'a str>,
    ) -> String {
        let mut all = self.confidential.0.iter().map(Secret::expose).chain(login);
        match all.any(|secret| !secret.is_empty() && text.contains(secret)) {
            true => String::new(),
            false => text,
        }
    }

    fn request(&self, credentials: Option<&str>) -> Result<Request<Empty<Bytes>>, NotReady> {
        let mut request = Request::builder()
            .method(&self.options.method)
            .uri(self.uri.expose())
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close");
        if let Some(credentials) = credentials {
            request = request.header(header::AUTHORIZATION, format!("Basic {credentials}"));
        }
        // The URL was encoded, so this does not happen.
        let mut request = request
            .body(Empty::new())
            .map_err(|_| NotReady::new(&reason::PROTOCOL, "a URL that HTTP cannot carry"))?;
        // The target's own replace these.
        let own = &self.options.headers;
        for name in own.keys() {
            request.headers_mut().remove(name);
        }
        for (name, value) in own {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }
}

/// Does some work while the connection moves.
async fn beside<T>(
    connection: &mut (impl Future + Unpin),
    work: impl Future<Output = T>,
) -> T {
    match select(pin!(work), connection).await {
        Either::Left((result, _)) => result,
        // The work has what has come until then.
        Either::Right((_, work)) => work.await,
    }
}

/// A body, and the part of it that has been read.
struct Page {
    rest: Incoming,
    read: Vec<u8>,
}

impl Page {
    /// Reads some more. Returns whether there was more.
    async fn read_more(&mut self) -> Result<bool, hyper::Error> {
        let frame = self.rest.frame().await.transpose()?;
        let data = frame.iter().filter_map(Frame::data_ref);
        self.read.extend(data.flatten());
        Ok(frame.is_some())
    }

    /// Reads until there is at least so much of it, or all.
    async fn read_to(&mut self, length: usize) {
        while self.read.len() < length && matches!(self.read_more().await, Ok(true)) {}
    }

    /// Reads until there is a text. Returns whether it is found.
    async fn find(&mut self, text: &[u8]) -> Result<bool, hyper::Error> {
        let mut searched = 0_usize;
        loop {
            // A part of it may have come before.
            let from = searched.saturating_sub(text.len());
            if self.read[from..].windows(text.len()).any(|part| part == text) {
                return Ok(true);
            }
            searched = self.read.len();
            if searched >= LONGEST_SEARCHED || !self.read_more().await? {
                return Ok(false);
            }
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
    // Of a body, the end is an error below this one.
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let is_end = source.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    if is_end || error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return cx.closed();
    }
    NotReady::new(
        &reason::PROTOCOL,
        format!("a response that is not HTTP ({error})"),
    )
}
