//! From the connection to the server's decision about a login.

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;
use ring::digest::{self, SHA256, SHA384, SHA512};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::drivers::Binding;
use super::probe::Postgres;
use super::session::{Message, Session, end};
use super::{ACCESS_DENIED, PROTOCOL, TLS_FAILED, codes};
use crate::net::tls::TlsMode;
use crate::net::{Route, Stream, Verdict};
use crate::probe::{Attempt, NotReady, reason};

/// The user and the database of a login that only has to be decided: those of every server that is not
/// set up otherwise. A server that does not know a user complains about it in its log, unless it asks
/// for a password first.
const ANYBODY: (&str, &str) = ("postgres", "postgres");

/// More messages than any login takes.
const MOST_MESSAGES: usize = 500;

/// The requests for authentication.
const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// Who logs in, and where to.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) user: Option<&'a str>,
    /// `None` is none to send; an empty one is none for a server, too.
    pub(super) password: Option<&'a str>,
    pub(super) database: Option<&'a str>,
}

/// A connection before the login.
pub(super) struct Secured {
    stream: Stream,
    pub(super) is_tls: bool,
    /// The data that a login is bound to the TLS connection by (RFC 5929, `tls-server-end-point`).
    end_point: Option<Vec<u8>>,
}

impl Secured {
    /// Has the server end the statement of a session.
    pub(super) async fn cancel(mut self, key: Key, cx: &Attempt) -> Result<(), NotReady> {
        let mut request = BytesMut::new();
        frontend::cancel_request(key.process, key.secret, &mut request);
        let sent = async {
            self.stream.io.write_all(&request).await?;
            self.stream.io.flush().await
        };
        sent.await.map_err(|error| cx.broken(&error))?;
        end(&mut self.stream.io).await;
        Ok(())
    }
}

/// The number of a session and the secret that a request to cancel its statement has to name.
#[derive(Clone, Copy)]
pub(super) struct Key {
    process: i32,
    secret: i32,
}

/// Makes TLS of a connection as far as the mode asks for it. On a unix socket there is none.
pub(super) async fn secure(
    mut stream: Stream,
    target: &Postgres,
    mode: TlsMode,
    cx: &Attempt,
) -> Result<Secured, NotReady> {
    let is_plain = mode == TlsMode::Off || stream.route == Route::Local;
    let is_direct = target.encryption.is_direct && matches!(mode, TlsMode::Require(_));
    if is_plain || !is_direct && !offers_tls(&mut stream, cx).await? {
        if !is_plain && mode != TlsMode::Prefer {
            end(&mut stream.io).await; // as clients do it
            let reason = TLS_FAILED.with_hint(
                "have the server offer TLS (ssl = on), or allow none: sslmode=prefer",
            );
            return Err(target.explain_mode(NotReady::new(&reason, "the server offers no TLS")));
        }
        return Ok(Secured {
            stream,
            is_tls: false,
            end_point: None,
        });
    }
    // A server logs a handshake that is broken off, but not the end after it.
    let Verdict {
        mut stream,
        distrust,
        certificate,
    } = cx.tls_with_verdict(stream, &target.tls).await?;
    if let Some(why) = distrust {
        end(&mut stream.io).await; // nothing confidential was sent
        return Err(target.explain_mode(why));
    }
    Ok(Secured {
        stream,
        is_tls: true,
        end_point: certificate.and_then(|certificate| end_point(&certificate)),
    })
}

/// Asks the server whether it has TLS.
async fn offers_tls(stream: &mut Stream, cx: &Attempt) -> Result<bool, NotReady> {
    cx.phase("asking for TLS");
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    // More than one byte in answer is another protocol, or was injected by others.
    let mut answer = [0; 16];
    let exchanged = async {
        stream.io.write_all(&request).await?;
        stream.io.flush().await?;
        stream.io.read(&mut answer).await
    };
    let length = exchanged.await.map_err(|error| cx.broken(&error))?;
    match &answer[..length] {
        [] => return Err(cx.closed()),
        b"S" | b"N" => cx.talking(),
        // Its text may be anybody's. The server has no process for the connection.
        [b'E', ..] if length == 1 || answer[1] == 0 || answer.starts_with(b"Ecould") => {
            let detail = "the server reports an error before the login";
            return Err(NotReady::new(&reason::SERVER_ERROR, detail));
        }
        another => return Err(cx.another_protocol(another)),
    }
    Ok(answer[0] == b'S')
}

/// The hash of a certificate by which a login is bound to its connection: that of its signature, but
/// SHA-256 at least. `None` for signatures that name none.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (content, _) = element(certificate, 0x30)?;
    let (_, signature) = element(content, 0x30)?;
    let (algorithm, _) = element(signature, 0x30)?;
    let (name, _) = element(algorithm, 0x06)?;
    let hash = match name {
        // RSA with MD5, SHA-1 or SHA-256; ECDSA with SHA-1 or SHA-256
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4 | 5 | 11]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => &SHA256,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => &SHA384,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => &SHA512,
        _ => return None,
    };
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// The content of an element in DER, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Logs in; `None` if the server has asked for a password and there is no user, which is a decision. Also
/// returns the key to cancel statements with, if the server has one.
pub(super) async fn log_in<'a>(
    secured: Secured,
    target: &Postgres,
    account: Account<'_>,
    cx: &'a Attempt,
) -> Result<Option<(Session<'a>, Option<Key>)>, NotReady> {
    cx.phase("logging in");
    let route = secured.stream.route;
    if route == Route::Public && !secured.is_tls && account.password.is_some() {
        cx.warn(
            "there is no TLS with the server: the login goes unencrypted to a host that is not on a \
             private network",
        );
    }
    let mut session = Session::new(secured.stream.io, cx);
    let (user, database) = match account.user {
        Some(user) => (user, account.database),
        None => (ANYBODY.0, Some(ANYBODY.1)),
    };
    let parameters = [
        ("user", Some(user)),
        ("database", database),
        ("application_name", Some("wait")),
        ("client_encoding", Some("UTF8")),
    ];
    let parameters = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
    session
        .send(|bytes| frontend::startup_message(parameters, bytes))
        .await?;
    let mut login = Login {
        target,
        user,
        password: account.password.filter(|password| !password.is_empty()),
        is_confidential: secured.is_tls || route == Route::Local,
        end_point: secured.end_point,
        state: State::New,
    };
    let mut key = None;
    for _ in 0..MOST_MESSAGES {
        let Message { tag, body } = session.read_at_login().await?;
        match tag {
            b'E' => return Err(codes::not_ready(&body)),
            b'N' | b'v' => {}
            b'R' => {
                let Some((request, data)) = body.split_first_chunk() else {
                    return Err(cx.unexpected());
                };
                let request = u32::from_be_bytes(*request);
                if request != OK && account.user.is_none() {
                    let _ = session.close().await; // the decision is known
                    return Ok(None);
                }
                if let Err(why) = login.answer(&mut session, request, data).await {
                    let _ = session.close().await;
                    return Err(why);
                }
            }
            _ if !matches!(login.state, State::Over) => break,
            b'Z' => return Ok(Some((session, key))),
            b'K' => {
                let numbers = body.first_chunk::<8>().filter(|_| body.len() == 8);
                key = numbers.map(|&[a, b, c, d, e, f, g, h]| Key {
                    process: i32::from_be_bytes([a, b, c, d]),
                    secret: i32::from_be_bytes([e, f, g, h]),
                });
            }
            _ => {} // a setting
        }
    }
    Err(cx.unexpected())
}

/// A login under way.
struct Login<'a> {
    target: &'a Postgres,
    user: &'a str,
    password: Option<&'a str>,
    /// Whether nothing between us and the server can be read by others.
    is_confidential: bool,
    end_point: Option<Vec<u8>>,
    state: State,
}

/// How far a login has come.
enum State {
    New,
    /// The password was sent, or a hash of it.
    Sent,
    Scram(Box<ScramSha256>),
    /// The server has proved that it knows the password.
    Proved,
    Over,
}

impl Login<'_> {
    /// Answers a request for authentication, or fails.
    async fn answer(
        &mut self,
        session: &mut Session<'_>,
        request: u32,
        data: &[u8],
    ) -> Result<(), NotReady> {
        let cx = session.cx();
        let state = std::mem::replace(&mut self.state, State::Sent);
        match (request, state) {
            (OK, State::New) => self.allow("none")?,
            (OK, State::Sent | State::Proved) => {}
            (CLEARTEXT, State::New) => {
                self.allow("password")?;
                let password = self.password()?;
                if !self.is_confidential && !self.target.is_cleartext {
                    let reason = ACCESS_DENIED.with_hint(
                        "let the server offer TLS or ask for scram-sha-256 (pg_hba.conf), or allow it for \
                         this target: #cleartext",
                    );
                    let detail = "the server asks for the password in clear text, without TLS";
                    return Err(NotReady::new(&reason, detail));
                }
                session.send(|bytes| frontend::password_message(password, bytes)).await?;
            }
            (MD5, State::New) => {
                self.allow("md5")?;
                let salt = data.first_chunk().ok_or_else(|| cx.unexpected())?;
                let hash = md5_hash(self.user.as_bytes(), self.password()?, *salt);
                session.send(|bytes| frontend::password_message(hash.as_bytes(), bytes)).await?;
            }
            (SASL, State::New) => {
                self.allow("scram-sha-256")?;
                let (scram, is_bound) = self.scram(data)?;
                let mechanism = if is_bound { SCRAM_SHA_256_PLUS } else { SCRAM_SHA_256 };
                session
                    .send(|bytes| frontend::sasl_initial_response(mechanism, scram.message(), bytes))
                    .await?;
                self.state = State::Scram(Box::new(scram));
                return Ok(());
            }
            (SASL_CONTINUE, State::Scram(mut scram)) => {
                // The server sets the amount of work, so it is not done where the timers are.
                let data = data.to_vec();
                let prove = move || scram.update(&data).map(|()| scram);
                let scram = cx.overlap().aside(prove).await.map_err(|error| unusable(&error))?;
                session.send(|bytes| frontend::sasl_response(scram.message(), bytes)).await?;
                self.state = State::Scram(scram);
                return Ok(());
            }
            (SASL_FINAL, State::Scram(mut scram)) => {
                scram.finish(data).map_err(|error| unusable(&error))?;
                self.state = State::Proved;
                return Ok(());
            }
            (OK | CLEARTEXT | MD5 | SASL..=SASL_FINAL, _) => return Err(cx.unexpected()),
            (other, _) => {
                let method = match other {
                    2 => "Kerberos V5",
                    7 | 8 => "GSSAPI",
                    9 => "SSPI",
                    _ => "an authentication method",
                };
                let reason = ACCESS_DENIED.with_hint(
                    "use a user with scram-sha-256, md5 or a password (pg_hba.conf), or no user at all: \
                     then a decided login is enough",
                );
                let detail = format!("the server asks for {method}, which wait lacks");
                return Err(NotReady::new(&reason, detail));
            }
        }
        if request == OK {
            self.state = State::Over;
        }
        Ok(())
    }

    fn password(&self) -> Result<&[u8], NotReady> {
        let password = self.password.map(str::as_bytes);
        let password = password.filter(|password| !password.contains(&0));
        password.ok_or_else(|| NotReady::new(&ACCESS_DENIED, "the server asks for a password"))
    }

    /// Whether the target takes a method of authentication, by its name in `require_auth`.
    fn allow(&self, method: &str) -> Result<(), NotReady> {
        let is_bound = self.target.binding == Binding::Require && method != "scram-sha-256";
        if !is_bound && self.target.allows(method) {
            return Ok(());
        }
        let reason = ACCESS_DENIED
            .with_hint("check require_auth and channel_binding, and the server's pg_hba.conf");
        let detail = format!("the server asks for the method {method}, and the target forbids it");
        Err(NotReady::new(&reason, detail))
    }

    /// Begins SCRAM with the best of the mechanisms that the server has, bound to the TLS connection
    /// where that is possible. Returns whether it is.
    fn scram(&mut self, mechanisms: &[u8]) -> Result<(ScramSha256, bool), NotReady> {
        let password = self.password()?;
        let has = |name: &str| mechanisms.split(|byte| *byte == 0).any(|own| own == name.as_bytes());
        let end_point = self.end_point.clone().filter(|_| self.target.binding != Binding::Off);
        let is_possible = end_point.is_some();
        let binding = match end_point {
            Some(end_point) if has(SCRAM_SHA_256_PLUS) => {
                let binding = ChannelBinding::tls_server_end_point(end_point);
                return Ok((ScramSha256::new(password, binding), true));
            }
            _ if self.target.binding == Binding::Require => {
                let reason = ACCESS_DENIED
                    .with_hint("use TLS (sslmode=require), or channel_binding=prefer");
                let detail = "the login cannot be bound to a TLS connection, and the target asks for it";
                return Err(NotReady::new(&reason, detail));
            }
            // The server refuses this if it does offer it, and others have taken its offer away.
            _ if is_possible => ChannelBinding::unrequested(),
            _ => ChannelBinding::unsupported(),
        };
        if has(SCRAM_SHA_256) {
            return Ok((ScramSha256::new(password, binding), false));
        }
        let reason = ACCESS_DENIED.with_hint("use a user with scram-sha-256, md5 or a password");
        let detail = "the server asks for SASL mechanisms that wait lacks";
        Err(NotReady::new(&reason, detail))
    }
}

/// A message of SCRAM that does not fit, or a proof that a server without the password has made.
fn unusable(error: &std::io::Error) -> NotReady {
    let reason = PROTOCOL.with_hint("is it the right server? It may not know the password either");
    NotReady::new(&reason, format!("the server's part of SCRAM cannot be used: {error}"))
}
