//! From the greeting to the server's OK.

use std::borrow::Cow;
use std::collections::HashMap;

use mysql_common::constants::CapabilityFlags;
use mysql_common::crypto::rsa::{GetRandom, Pkcs1OaepPadding, PublicKey};
use mysql_common::packets::{AuthPlugin, HandshakeResponse, SslRequest, parse_parsec_salt};
use mysql_common::proto::MySerialize;
use mysql_common::scramble::create_response_for_parsec;
use num_bigint::BigUint;
use pkcs1::RsaPublicKey;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use spki::SubjectPublicKeyInfoRef;

use super::probe::MySql;
use super::session::{EOF, ERROR, MORE_DATA, OK, Session};
use super::{ACCESS_DENIED, PROTOCOL, TLS_FAILED, codes};
use crate::net::tls::{NOTHING_IN_COMMON, TlsMode, Verification};
use crate::net::{Route, Stream};
use crate::probe::{Attempt, NotReady, reason};

/// The user of a login that only has to be decided.
const NOBODY: &str = "wait";

/// More packets than any authentication plugin takes.
const MOST_ROUNDS: usize = 10;

/// The longest packet that we announce to take, in bytes.
const MAX_PACKET: u32 = 1 << 24;

/// `utf8mb4_general_ci`, which every server since MySQL 5.5.3 knows.
const UTF8MB4: u8 = 45;

/// The length of a nonce, in bytes; a zero may follow that is not part of it.
const NONCE: usize = 20;
/// The same for MariaDB's ed25519.
const ED25519_NONCE: usize = 32;

/// The length of the nonce of MariaDB's parsec, in bytes.
const PARSEC_NONCE: usize = 32;
/// The most work that a server may ask for: about a second of a processor. MariaDB asks for 8192.
const MOST_ITERATIONS: u32 = 1 << 20;

const SHA256_PASSWORD: &[u8] = b"sha256_password";
const PARSEC: &[u8] = b"parsec";

/// The server's messages in caching_sha2_password, besides the first.
const FAST_LOGIN: u8 = 0x03;
const FULL_LOGIN: u8 = 0x04;
/// How the two plugins ask for the server's key.
const CACHING_SHA2_KEY_REQUEST: u8 = 0x02;
const SHA256_KEY_REQUEST: u8 = 0x01;

/// The user of a login, and what goes with it.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) password: &'a str,
    pub(super) database: Option<&'a str>,
}

/// The server's first packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    /// The number of the connection, to be named when its statement is cancelled.
    pub(super) id: u32,
    /// Whether the server is MariaDB, which has settings of its own.
    pub(super) is_mariadb: bool,
    capabilities: CapabilityFlags,
    plugin: Vec<u8>,
    nonce: Vec<u8>,
    /// The route of the connection.
    route: Route,
}

/// The lengths of RSA keys that are used.
const MIN_KEY_BITS: u64 = 1024;
const MAX_KEY_BITS: u64 = 8192;
/// The length that the padding adds to a message, in bytes.
const OAEP_OVERHEAD: usize = 42;

/// Reads the greeting. Any other packet in its place is an error after which the server closes the
/// connection.
pub(super) async fn greeting(
    stream: Stream,
    cx: &Attempt,
) -> Result<(Session<'_>, Greeting), NotReady> {
    cx.phase("waiting for the greeting");
    let route = stream.route;
    let mut session = Session::new(stream, cx);
    let packet = session.read().await?;
    cx.talking();
    if packet.first() == Some(&ERROR) {
        return Err(codes::not_ready(&packet));
    }
    let greeting = Greeting::parse(&packet, route).ok_or_else(|| cx.another_protocol(&packet))?;
    let needed = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SECURE_CONNECTION;
    match greeting.capabilities.contains(needed) {
        true => Ok((session, greeting)),
        false => Err(NotReady::new(
            &reason::PROTOCOL,
            "a server that is older than MySQL 4.1",
        )),
    }
}

impl Greeting {
    /// Version 10 of the protocol, which every server since MySQL 3.21 speaks.
    fn parse(packet: &[u8], route: Route) -> Option<Self> {
        let rest = packet.strip_prefix(&[10])?;
        let version = rest.iter().position(|byte| *byte == 0)?;
        let is_mariadb = rest[..version].windows(7).any(|part| part == b"MariaDB");
        // Connection id, half the nonce, a zero, half the capabilities.
        let (first, rest) = rest[version + 1..].split_at_checked(4 + 8 + 1 + 2)?;
        // Collation, status, the other capabilities, the length of the nonce, ten zeros.
        let (second, rest) = rest.split_at_checked(1 + 2 + 2 + 1 + 10)?;
        let (rest_of_nonce, plugin) =
            rest.split_at_checked(usize::from(second[5]).saturating_sub(8).max(13))?;
        let capabilities = u32::from_le_bytes([first[13], first[14], second[3], second[4]]);
        let mut nonce = [&first[4..12], rest_of_nonce].concat();
        nonce.truncate(NONCE);
        Some(Self {
            id: u32::from_le_bytes([first[0], first[1], first[2], first[3]]),
            is_mariadb,
            capabilities: CapabilityFlags::from_bits_truncate(capabilities),
            plugin: plugin.split(|byte| *byte == 0).next()?.to_vec(),
            nonce,
            route,
        })
    }
}

/// Logs in, and starts TLS first if the target asks for it.
pub(super) async fn log_in<'a>(
    mut session: Session<'a>,
    greeting: &Greeting,
    target: &MySql,
    mode: TlsMode,
    account: Account<'_>,
) -> Result<Session<'a>, NotReady> {
    let offers_tls = greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL);
    let uses_tls = match mode {
        TlsMode::Off => false,
        TlsMode::Prefer => offers_tls && greeting.route != Route::Local,
        TlsMode::Require(_) => true,
    };
    let mut login = Login::new(account, greeting);
    login.is_confidential = uses_tls || greeting.route == Route::Local;
    login.takes_clear_password = uses_tls
        && target.is_cleartext
        && target.tls.verification != Verification::Nothing;
    if uses_tls && !offers_tls {
        login.be_denied(&mut session, greeting).await;
        let reason = TLS_FAILED.with_hint(
            "have the server offer TLS (ssl_cert, ssl_key), or allow none: ssl-mode=PREFERRED",
        );
        return Err(NotReady::new(&reason, "the server offers no TLS"));
    }
    if uses_tls {
        login.capabilities |= CapabilityFlags::CLIENT_SSL;
        let request = SslRequest::new(login.capabilities, MAX_PACKET, UTF8MB4);
        session.write(&bytes(&request)).await?;
        let secured = session.secure(&target.tls).await;
        let (secured, distrust) = secured.map_err(|why| match why.reason {
            NOTHING_IN_COMMON => NotReady {
                reason: super::NOTHING_IN_COMMON,
                ..why
            },
            _ => why,
        })?;
        session = secured;
        if let Some(why) = distrust {
            login.be_denied(&mut session, greeting).await;
            return Err(why);
        }
    } else if greeting.route == Route::Public
        && target.mode == TlsMode::Prefer
        && !login.password.is_empty()
    {
        session.cx().warn(
            "there is no TLS with the server: the password goes unencrypted to a host that is not \
             on a private network",
        );
    }
    session.cx().phase("logging in");
    login.authenticate(&mut session, greeting).await?;
    Ok(session)
}

/// Who logs in, and how.
struct Login<'a> {
    user: &'a str,
    password: &'a str,
    database: Option<&'a str>,
    /// The capabilities of both sides. A server goes by those that it gets before TLS starts.
    capabilities: CapabilityFlags,
    /// Whether nothing between us and the server can be read by others.
    is_confidential: bool,
    /// Whether the target allows the password in clear text, over a connection that is verified.
    takes_clear_password: bool,
}

impl<'a> Login<'a> {
    fn new(account: Account<'a>, greeting: &Greeting) -> Self {
        let mut ours = CapabilityFlags::CLIENT_LONG_PASSWORD
            | CapabilityFlags::CLIENT_LONG_FLAG
            | CapabilityFlags::CLIENT_PROTOCOL_41
            | CapabilityFlags::CLIENT_TRANSACTIONS
            | CapabilityFlags::CLIENT_SECURE_CONNECTION
            | CapabilityFlags::CLIENT_MULTI_RESULTS
            | CapabilityFlags::CLIENT_PLUGIN_AUTH
            | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
            | CapabilityFlags::CLIENT_CONNECT_ATTRS;
        let (user, password, database) = match account.user {
            Some(user) => (user, account.password, account.database),
            None => (NOBODY, "", None),
        };
        if database.is_some() {
            ours |= CapabilityFlags::CLIENT_CONNECT_WITH_DB;
        }
        Self {
            user,
            password,
            database,
            capabilities: greeting.capabilities & ours,
            is_confidential: false,
            takes_clear_password: false,
        }
    }

    /// Answers the server until it has decided.
    async fn authenticate(
        &self,
        session: &mut Session<'_>,
        greeting: &Greeting,
    ) -> Result<(), NotReady> {
        // The account may have another plugin than the server's default, which is not supported here.
        let (mut plugin, answer) = match self.answer(&greeting.plugin, &greeting.nonce) {
            Some(answer) => (greeting.plugin.clone(), answer),
            None => (
                AuthPlugin::MysqlNativePassword.as_bytes().to_vec(),
                self.answer(AuthPlugin::MysqlNativePassword.as_bytes(), &greeting.nonce)
                    .unwrap_or_default(),
            ),
        };
        let mut nonce = greeting.nonce.clone();
        session.write(&self.response(&plugin, &answer)).await?;
        for _ in 0..MOST_ROUNDS {
            let packet = session.read().await?;
            match packet.split_first() {
                Some((&OK, _)) => return Ok(()),
                Some((&ERROR, _)) => return Err(codes::not_ready(&packet)),
                Some((&EOF, request)) => {
                    (plugin, nonce) = parse_switch(request);
                    let Some(answer) = self.answer(&plugin, &nonce) else {
                        return be_refused(session, unknown_plugin(&plugin)).await;
                    };
                    session.write(&answer).await?;
                }
                Some((&first, data)) if first == MORE_DATA || plugin == PARSEC => {
                    // MariaDB sends the salt without a byte before it.
                    let data = if first == MORE_DATA { data } else { &packet };
                    match self.next_answer(&plugin, &nonce, data, session.cx()).await {
                        Ok(Some(answer)) => session.write(&answer).await?,
                        Ok(None) => {}
                        Err(why) => return be_refused(session, why).await,
                    }
                }
                _ => break,
            }
        }
        Err(session.cx().unexpected())
    }

    /// Has a login that must not go on denied, by going on as a user that does not exist: the server
    /// counts a connection that is closed now against the host.
    async fn be_denied(&self, session: &mut Session<'_>, greeting: &Greeting) {
        let unknown = Login {
            user: NOBODY,
            password: "",
            database: None,
            capabilities: self.capabilities - CapabilityFlags::CLIENT_CONNECT_WITH_DB,
            ..*self
        };
        if unknown.authenticate(session, greeting).await.is_ok() {
            let _ = session.quit().await; // a connection on which nothing more can be done
        }
    }

    /// The client's half of the handshake.
    fn response(&self, plugin: &[u8], answer: &[u8]) -> Vec<u8> {
        let has = |flag| self.capabilities.contains(flag);
        let attributes = || {
            let attributes = [
                ("_client_name", env!("CARGO_PKG_NAME")),
                ("_client_version", env!("CARGO_PKG_VERSION")),
                ("program_name", "wait"),
            ];
            HashMap::from(attributes.map(|(name, value)| (name.to_owned(), value.to_owned())))
        };
        bytes(&HandshakeResponse::new(
            Some(answer),
            (5, 5, 3), // the first that knows UTF8MB4
            Some(self.user.as_bytes()),
            self.database.map(str::as_bytes),
            has(CapabilityFlags::CLIENT_PLUGIN_AUTH)
                .then_some(AuthPlugin::Other(Cow::Borrowed(plugin))),
            self.capabilities,
            has(CapabilityFlags::CLIENT_CONNECT_ATTRS).then(attributes),
            MAX_PACKET,
        ))
    }

    /// The first answer of a plugin; `None` if it is not supported.
    fn answer(&self, plugin: &[u8], nonce: &[u8]) -> Option<Vec<u8>> {
        if plugin == PARSEC {
            nonce.get(..PARSEC_NONCE)?;
            return Some(Vec::new()); // it asks for the salt
        }
        if plugin == SHA256_PASSWORD {
            return Some(match (self.password, self.is_confidential) {
                ("", _) => vec![0],
                (password, true) => terminated(password),
                (_, false) => vec![SHA256_KEY_REQUEST],
            });
        }
        let plugin = AuthPlugin::from_bytes(plugin);
        if plugin == AuthPlugin::MysqlClearPassword {
            return self.takes_clear_password.then(|| terminated(self.password));
        }
        let nonce = match plugin {
            AuthPlugin::Ed25519 => nonce.get(..ED25519_NONCE)?,
            AuthPlugin::MysqlNativePassword | AuthPlugin::CachingSha2Password => {
                nonce.get(..NONCE)?
            }
            _ => return None,
        };
        let answer = plugin.gen_data(Some(self.password), nonce);
        Some(answer.map(|answer| answer.to_vec()).unwrap_or_default())
    }

    /// The answer of a plugin to a message of the server's; `None` is to wait for the next one.
    async fn next_answer(
        &self,
        plugin: &[u8],
        nonce: &[u8],
        data: &[u8],
        cx: &Attempt,
    ) -> Result<Option<Vec<u8>>, NotReady> {
        let is_caching = plugin == AuthPlugin::CachingSha2Password.as_bytes();
        match data {
            [FAST_LOGIN] if is_caching => Ok(None),
            [FULL_LOGIN] if is_caching && self.is_confidential => {
                Ok(Some(terminated(self.password)))
            }
            [FULL_LOGIN] if is_caching => Ok(Some(vec![CACHING_SHA2_KEY_REQUEST])),
            // In clear text it is never sent in answer to a key.
            key if (is_caching || plugin == SHA256_PASSWORD) && !self.is_confidential => {
                encrypt(self.password, nonce, key).map(Some)
            }
            salt if plugin == PARSEC => self.sign(nonce, salt, cx).await.map(Some),
            _ => Err(unknown_plugin(plugin)),
        }
    }

    /// The answer of MariaDB's `parsec`. The server sets the amount of work, so it is not done where
    /// the timers are.
    async fn sign(&self, nonce: &[u8], salt: &[u8], cx: &Attempt) -> Result<Vec<u8>, NotReady> {
        let nonce: Option<[u8; PARSEC_NONCE]> = nonce.get(..PARSEC_NONCE).and_then(|nonce| nonce.try_into().ok());
        let (Some(nonce), Some((iterations, salt))) = (nonce, parse_parsec_salt(salt)) else {
            return Err(cx.unexpected());
        };
        if iterations > MOST_ITERATIONS {
            let detail = format!("parsec with {iterations} iterations, which is too much work");
            return Err(NotReady::new(&PROTOCOL, detail));
        }
        let (password, salt) = (self.password.as_bytes().to_vec(), *salt);
        let sign = move || Ok(create_response_for_parsec(&password, &nonce, iterations, &salt).to_vec());
        let signed = cx.overlap().aside(sign).await;
        signed.map_err(|error| NotReady::from_io(&error))
    }
}

/// Has a login that cannot go on denied. An empty answer is not counted against the host.
async fn be_refused(session: &mut Session<'_>, why: NotReady) -> Result<(), NotReady> {
    session.write(b"").await?;
    session.read().await?;
    Err(why)
}

fn bytes(packet: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}

fn terminated(password: &str) -> Vec<u8> {
    [password.as_bytes(), &[0]].concat()
}

/// The plugin, and its nonce, that a server asks to go on with; an empty request is for that of
/// MySQL 4.0.
fn parse_switch(request: &[u8]) -> (Vec<u8>, Vec<u8>) {
    if request.is_empty() {
        return (AuthPlugin::MysqlOldPassword.as_bytes().to_vec(), Vec::new());
    }
    let mut parts = request.splitn(2, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default().to_vec();
    (next(), next())
}

fn unknown_plugin(plugin: &[u8]) -> NotReady {
    // No server has a longer name for one than 64 characters.
    let plugin = String::from_utf8_lossy(plugin);
    let reason = ACCESS_DENIED.with_hint(match plugin.as_ref() {
        "mysql_clear_password" => {
            "it is used with verified TLS only (ssl-mode=VERIFY_CA or VERIFY_IDENTITY), and where the \
             target allows it: #cleartext"
        }
        _ => {
            "use an account with caching_sha2_password, mysql_native_password, ed25519 or parsec, or \
             no user at all: then a decided login is enough"
        }
    });
    let detail = format!("the server asks for {plugin:.64}, an authentication plugin that wait lacks");
    NotReady::new(&reason, detail)
}

/// A password, masked by the nonce, for the owner of an RSA key alone.
fn encrypt(password: &str, nonce: &[u8], key: &[u8]) -> Result<Vec<u8>, NotReady> {
    let parse = || {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(key).ok()?;
        let key = SubjectPublicKeyInfoRef::try_from(key.as_ref()).ok()?;
        let key = RsaPublicKey::try_from(key.subject_public_key.as_bytes()?).ok()?;
        let modulus = BigUint::from_bytes_be(key.modulus.as_bytes());
        let exponent = BigUint::from_bytes_be(key.public_exponent.as_bytes());
        // With a key that is too short the padding panics, one that is too long, as no server makes
        // it, would keep us busy for seconds, and one of even numbers or of exponent 1 hides nothing.
        let is_usable = (MIN_KEY_BITS..=MAX_KEY_BITS).contains(&modulus.bits())
            && (2..=64).contains(&exponent.bits())
            && modulus.bit(0)
            && exponent.bit(0);
        is_usable.then_some((modulus, exponent))
    };
    let (modulus, exponent) = parse()
        .ok_or_else(|| NotReady::new(&reason::PROTOCOL, "a public key that cannot be used"))?;
    let mut masked = terminated(password);
    let nonce = nonce.get(..NONCE).unwrap_or(&[0]);
    for (byte, mask) in masked.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mask;
    }
    if masked.len() + OAEP_OVERHEAD > modulus.bits() as usize / 8 {
        let reason = ACCESS_DENIED.with_hint("let the server offer TLS, or use a shorter password");
        return Err(NotReady::new(
            &reason,
            "the password is too long for the server's RSA key, and there is no TLS",
        ));
    }
    let padding = Pkcs1OaepPadding::new(GetRandom);
    Ok(PublicKey::new(modulus, exponent).encrypt_block(masked, padding))
}
