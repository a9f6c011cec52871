//! HTTP and HTTPS: a GET that is answered with a status from 200 to 399, as Kubernetes judges.

use std::pin::pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::connect::{self, Connection};
use super::{NotReady, Overlap, Probe, Progress, Reason};
use crate::target::{Http, Secret, SslMode};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// What is read of a body, in bytes and in time: to close with some of it unread is, for the
/// server, a connection that broke.
const LONGEST_BODY: usize = 16 * 1024;
const BODY: Duration = Duration::from_millis(50);

/// The most headers that an answer may have.
const MOST_HEADERS: usize = 1000;

/// Ready when GET is answered with a status from 200 to 399; redirects are not followed.
pub(super) async fn attempt(
    probe: &Probe,
    target: &Http,
    overlap: &Overlap,
    progress: &Progress,
) -> Result<(), NotReady> {
    let stream = connect::tcp(&probe.names, &target.endpoint, overlap, progress).await?;
    converse(Box::new(stream), probe, target, progress).await
}

/// All that is said over one connection.
pub(super) async fn converse(
    mut stream: Box<dyn Connection>,
    probe: &Probe,
    target: &Http,
    progress: &Progress,
) -> Result<(), NotReady> {
    if target.is_secure {
        let host = &target.endpoint.host;
        let secured = probe
            .trust
            .secure(stream, host, SslMode::VerifyIdentity, progress)
            .await?;
        if let Some(why) = secured.distrust {
            return Err(why);
        }
        stream = secured.stream;
    }
    progress.set("waiting for the answer");
    let not_http = |error: &hyper::Error| failed(error, progress);
    // As lenient as browsers and curl are: it is the status alone that counts.
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(MOST_HEADERS)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| not_http(&error))?;
    let answer = pin!(sender.send_request(request(target)?));
    // The connection moves only while it is polled, and is gone with this attempt.
    let mut connection = pin!(connection);
    let answer = match select(answer, &mut connection).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, answer)) => answer.await,
    };
    let answer = answer.map_err(|error| not_http(&error))?;
    let status = answer.status();
    let _ = timeout(BODY, select(pin!(read(answer)), connection)).await;
    match status.as_u16() {
        200..=399 => Ok(()),
        code => Err(NotReady::new(
            Reason::HttpStatus(code),
            format!("the answer is {status}"),
        )),
    }
}

fn request(target: &Http) -> Result<Request<Empty<Bytes>>, NotReady> {
    let mut uri = target.path.clone();
    if let Some(query) = &target.query {
        uri = format!("{uri}?{}", query.expose());
    }
    let mut request = Request::get(uri)
        .header(header::HOST, target.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    if target.user.is_some() || target.password.is_some() {
        let user = target.user.as_deref().unwrap_or_default();
        let password = target.password.as_ref().map_or("", Secret::expose);
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        request = request.header(header::AUTHORIZATION, format!("Basic {credentials}"));
    }
    // The URL was parsed, so this does not happen.
    request
        .body(Empty::new())
        .map_err(|_| NotReady::new(Reason::Protocol, "a URL that HTTP cannot carry"))
}

async fn read(answer: Response<Incoming>) {
    let (mut body, mut length) = (answer.into_body(), 0);
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > LONGEST_BODY {
            break;
        }
    }
}

fn failed(error: &hyper::Error, progress: &Progress) -> NotReady {
    let doing = progress.doing();
    let source = std::error::Error::source(error);
    if let Some(error) = source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        return NotReady::broken(error, progress);
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return NotReady::new(Reason::Closed, format!("the server hung up while {doing}"));
    }
    NotReady::new(
        Reason::Protocol,
        format!("an answer that is not HTTP ({error})"),
    )
}
