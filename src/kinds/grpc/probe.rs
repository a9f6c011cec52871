//! One call of `grpc.health.v1.Health/Check`, over HTTP/2.

use std::io::Cursor;
use std::pin::pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use h2::Reason as Code;
use h2::client::{self, SendRequest};
use http::{HeaderValue, Method, Request, Uri, header};

use super::health::{self, LONGEST_BODY, Response};
use super::{KIND, PROTOCOL};
use crate::net::limited::{Limited, Seen};
use crate::net::tls::{Tls, TlsMode};
use crate::net::{At, Stream};
use crate::probe::{Attempt, NotReady, Probe, reason, goodbye};
use crate::targets::{Address, Defaults, Expected, Host, Login};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
const METHOD: &str = "/grpc.health.v1.Health/Check";

/// The most that is read, in bytes, settings and pings included.
const LONGEST_RESPONSE: usize = 64 * 1024;
/// The longest list of headers, in bytes.
const LONGEST_HEADERS: u32 = 16 * 1024;

/// A server and the service to ask for.
#[derive(Debug)]
struct Grpc {
    at: At,
    tls: Option<Tls>,
    uri: Uri,
    /// The service is in the place of the database.
    login: Login,
}

pub(super) fn parse(
    address: &mut Address,
    defaults: &Defaults<'_>,
) -> Result<Box<dyn Probe>, Expected> {
    let login = defaults.login(address)?;
    let mode = address.tls_mode_or(TlsMode::of_scheme(address.scheme.is_tls))?;
    let tls = defaults.tls_or_none(address, mode, None)?;
    let endpoint = &address.endpoint;
    let authority = match &endpoint.host {
        // The zone means something to this machine alone.
        Host::Zoned(host, _) => format!("[{host}]:{}", endpoint.port),
        _ => endpoint.to_string(),
    };
    let uri = Uri::builder()
        .scheme(if tls.is_some() { "https" } else { "http" })
        .authority(authority)
        .path_and_query(METHOD)
        .build()
        .map_err(|_| Expected::new("expected a host that can be named in a request"))?;
    Ok(Box::new(Grpc {
        at: address.at()?,
        tls: tls.map(|tls| Tls {
            protocol: Some(b"h2"),
            ..tls
        }),
        uri,
        login,
    }))
}

impl Probe for Grpc {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        self.check(cx).boxed()
    }

    fn description(&self) -> Vec<(&'static str, String)> {
        let mode = TlsMode::of(self.tls.as_ref());
        let login = self.login.description().into_iter();
        login
            .map(|(name, value)| match name {
                "database" => ("service", value),
                _ => (name, value),
            })
            .chain([("TLS", mode.to_string())])
            .collect()
    }

    fn verifies_certificates(&self) -> bool {
        TlsMode::of(self.tls.as_ref()).is_verified()
    }
}

impl Grpc {
    async fn check(&self, cx: &Attempt) -> Result<(), NotReady> {
        let Login {
            user,
            password,
            database: service,
        } = &self.login;
        let password = match password {
            Some(password) => Some(cx.password(password).await?),
            None => None,
        };
        let credentials = (user.is_some() || password.is_some()).then(|| {
            let user = user.as_deref().unwrap_or_default();
            let password = password.as_ref().map_or("", |password| password.expose());
            STANDARD.encode(format!("{user}:{password}"))
        });
        let stream = cx.connect_with(&self.at, self.tls.as_ref()).await?;
        let request = self.request(credentials.as_deref());
        let response = call(stream, request, health::request(service.as_deref()), cx).await?;
        response.judge(service.as_deref()).map_err(|mut why| {
            let Some(credentials) = credentials else {
                return why;
            };
            why.detail = why.detail.replace(&credentials, "…");
            self.login.explain(why, password.as_deref())
        })
    }

    fn request(&self, credentials: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "application/grpc"),
            (header::TE, "trailers"),
            (header::USER_AGENT, USER_AGENT),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let basic = credentials.map(|credentials| format!("Basic {credentials}"));
        if let Some(Ok(basic)) = basic.map(HeaderValue::try_from) {
            headers.insert(header::AUTHORIZATION, basic);
        }
        request
    }
}

/// Makes a call and takes leave of the server.
async fn call(
    stream: Stream,
    request: Request<()>,
    body: Vec<u8>,
    cx: &Attempt,
) -> Result<Response, NotReady> {
    cx.phase("waiting for the response");
    let stream = Limited::new(stream.io, LONGEST_RESPONSE);
    let seen = stream.seen();
    let failed = |error: h2::Error| failed(&error, &seen, cx);
    let connected = client::Builder::new()
        .enable_push(false)
        .max_header_list_size(LONGEST_HEADERS)
        .handshake(stream)
        .await;
    let (sender, connection) = connected.map_err(failed)?;
    let exchange = pin!(exchange(sender, request, body, cx));
    // The connection moves only while it is polled.
    let mut connection = pin!(connection);
    match select(exchange, connection.as_mut()).await {
        Either::Left((response, _)) => {
            // It ends with a GOAWAY, because nothing uses it any more.
            goodbye(connection).await;
            response.map_err(failed)
        }
        // The response may have come before the end; that there is none, the exchange is not always told.
        Either::Right((ended, exchange)) => match (exchange.now_or_never(), ended) {
            (Some(response), _) => response.map_err(failed),
            (None, Err(error)) => Err(failed(error)),
            (None, Ok(())) => Err(cx.closed()),
        },
    }
}

/// Sends a request and reads the response.
async fn exchange(
    sender: SendRequest<Cursor<Vec<u8>>>,
    request: Request<()>,
    body: Vec<u8>,
    cx: &Attempt,
) -> Result<Response, h2::Error> {
    let mut sender = sender.ready().await?;
    let (response, mut sending) = sender.send_request(request, false)?;
    sending.send_data(Cursor::new(body), true)?;
    let (head, mut receiving) = response.await?.into_parts();
    cx.talking();
    let mut response = Response {
        status: head.status,
        headers: head.headers,
        ..Response::default()
    };
    while response.has_message() && response.body.len() <= LONGEST_BODY {
        let Some(part) = receiving.data().await else {
            response.trailers = receiving.trailers().await?.unwrap_or_default();
            break;
        };
        response.body.extend_from_slice(&part?);
    }
    Ok(response)
}

/// The reason that a call failed for.
fn failed(error: &h2::Error, seen: &Seen, cx: &Attempt) -> NotReady {
    const OTHER_VERSION: &str = "the server speaks HTTP/1: is this a web service's port?";

    if let Some(why) = seen.failure(cx) {
        return why;
    }
    match seen.start()[..] {
        // The first frame is SETTINGS, and short.
        [] | [0, _, _, 4, ..] => {}
        ref start @ [b'H', b'T', b'T', ..] => {
            return cx.another_protocol(start).with_hint(OTHER_VERSION);
        }
        ref start => return cx.another_protocol(start),
    }
    match error.reason() {
        None => cx.closed(),
        Some(Code::NO_ERROR) if error.is_go_away() => {
            NotReady::new(&reason::SHUTTING_DOWN, "the server closes its connections (GOAWAY)")
        }
        Some(Code::HTTP_1_1_REQUIRED) => cx.unexpected().with_hint(OTHER_VERSION),
        Some(code) if error.is_remote() => {
            let name = format!("{code:?}");
            let detail = format!("the server has ended the call ({name})");
            KIND.error(&name, detail)
        }
        Some(code) => NotReady::new(&PROTOCOL, format!("an answer that is not HTTP/2 ({code:?})")),
    }
}
