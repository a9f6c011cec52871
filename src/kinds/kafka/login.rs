//! SASL: PLAIN and SCRAM.

use super::session::{Fields, SASL_AUTHENTICATE, SASL_HANDSHAKE, Session, bytes, refuse, string};
use super::{ACCESS_DENIED, NO_SUCH_MECHANISM};
use crate::kinds::scram::{Algorithm, Client, Failure};
use crate::net::Route;
use crate::probe::{NotReady, Reason, reason};

/// The error of a listener that has other mechanisms.
const UNSUPPORTED_MECHANISM: i16 = 33;

const NOT_IN_CLEAR: Reason = reason::ACCESS_DENIED.with_hint(
    "use TLS (kafka+ssl://), or allow the password to be sent in clear text: ?sasl_mechanism=plain",
);

/// A mechanism, from the one that is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    ScramSha512,
    ScramSha256,
    /// The server gets the password itself.
    Plain,
}

impl Mechanism {
    pub(super) const NAMES: [(&str, Self); 3] = [
        ("scram-sha-512", Self::ScramSha512),
        ("scram-sha-256", Self::ScramSha256),
        ("plain", Self::Plain),
    ];

    /// The name in the protocol.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ScramSha512 => Algorithm::Sha512.mechanism(),
            Self::ScramSha256 => Algorithm::Sha256.mechanism(),
            Self::Plain => "PLAIN",
        }
    }
}

/// A user and a password.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
}

/// The answer of a broker to the choice of a mechanism.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Taken,
    /// It has these, and closes the connection.
    Refused(Vec<String>),
}

/// The mechanism to try in the place of one that was refused: the target's own, or the best, and the
/// password itself is sent only where no other process than the server can read it.
pub(super) fn choose(
    offered: &[String],
    wanted: Option<Mechanism>,
    is_verified: bool,
) -> Result<Mechanism, NotReady> {
    let is_offered = |mechanism: &Mechanism| offered.iter().any(|name| name == mechanism.name());
    let mut known = Mechanism::NAMES.iter().map(|(_, mechanism)| *mechanism);
    let list = offered.join(", ");
    match known.find(is_offered) {
        Some(Mechanism::Plain) if wanted.is_none() && !is_verified => {
            let detail = format!("of {list}, only PLAIN is supported, and the connection has no TLS that is verified");
            Err(NotReady::new(&NOT_IN_CLEAR, detail))
        }
        Some(mechanism) if wanted.is_none() => Ok(mechanism),
        _ => {
            let detail = format!("the listener has the mechanisms {list}");
            let code = UNSUPPORTED_MECHANISM.to_string();
            Err(NotReady::new(&NO_SUCH_MECHANISM, detail).with_code(code))
        }
    }
}

impl Session<'_> {
    /// Chooses a mechanism.
    pub(super) async fn choose(&mut self, mechanism: Mechanism) -> Result<Choice, NotReady> {
        self.cx.phase("choosing the mechanism of the login");
        let version = self.version(&SASL_HANDSHAKE)?;
        let response = self
            .call(&SASL_HANDSHAKE, version, &string(mechanism.name()))
            .await?;
        let mut fields = Fields(&response);
        let answer = fields.i16().zip(fields.list(Fields::string));
        match answer.ok_or_else(|| self.cx.unexpected())? {
            (UNSUPPORTED_MECHANISM, offered) => Ok(Choice::Refused(offered)),
            (error, _) => refuse(error, "the listener has no SASL").map(|()| Choice::Taken),
        }
    }

    /// Logs in by the mechanism that was chosen.
    pub(super) async fn log_in(
        &mut self,
        mechanism: Mechanism,
        account: Account<'_>,
        is_encrypted: bool,
    ) -> Result<(), NotReady> {
        self.cx.phase("logging in");
        let algorithm = match mechanism {
            Mechanism::ScramSha512 => Algorithm::Sha512,
            Mechanism::ScramSha256 => Algorithm::Sha256,
            Mechanism::Plain => {
                if !is_encrypted && self.route == Route::Public {
                    self.cx.warn(
                        "there is no TLS with the broker: the password goes unencrypted to a host that \
                         is not on a private network",
                    );
                }
                let message = format!("\0{}\0{}", account.user, account.password);
                return self.exchange(message.as_bytes()).await.map(drop);
            }
        };
        let client = Client::new(algorithm, account.user).ok_or_else(|| {
            NotReady::new(&reason::UNREACHABLE, "the system has no random bytes")
        })?;
        let challenge = self.exchange(client.message().as_bytes()).await?;
        let challenge = client.challenge(&challenge).map_err(|failure| not_scram(&failure))?;
        // The server sets the amount of work, which is not for the thread of the timers.
        let password = account.password.as_bytes().to_vec();
        let proving = self.cx.overlap().aside(move || Ok(challenge.prove(&password)));
        let proof = proving.await.map_err(|error| NotReady::from_io(&error))?;
        let signature = self.exchange(proof.message().as_bytes()).await?;
        proof
            .verify(&signature)
            .map_err(|failure| not_scram(&failure))
    }

    /// Sends a message of the mechanism and reads the answer. Before Kafka 1.0 they are frames of
    /// their own.
    async fn exchange(&mut self, message: &[u8]) -> Result<Vec<u8>, NotReady> {
        if self.version(&SASL_HANDSHAKE)? == 0 {
            self.send(message).await?;
            return self.receive().await;
        }
        let version = self.version(&SASL_AUTHENTICATE)?;
        let response = self.call(&SASL_AUTHENTICATE, version, &bytes(message)).await?;
        let mut fields = Fields(&response);
        let answer = (|| Some((fields.i16()?, fields.string()?, fields.bytes()?.to_vec())))();
        let (error, words, answer) = answer.ok_or_else(|| self.cx.unexpected())?;
        let has_words = !words.trim().is_empty();
        refuse(error, if has_words { words } else { "the broker denies the login".to_owned() })?;
        Ok(answer)
    }
}

fn not_scram(failure: &Failure) -> NotReady {
    let reason = match failure {
        Failure::Refused(_) => &ACCESS_DENIED,
        _ => &reason::PROTOCOL,
    };
    NotReady::new(reason, format!("the broker sends {failure}"))
}
