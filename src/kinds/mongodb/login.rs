//! The login of a user: SCRAM, or the client's certificate.

use md5::{Digest as _, Md5};

use super::ACCESS_DENIED;
use super::bson::Draft;
use super::session::{Reply, Session};
use crate::kinds::scram::{Algorithm, Client, Failure};
use crate::probe::{NotReady, reason};
use crate::targets::Expected;

/// The database of accounts that no database has, such as the names in certificates.
pub(super) const EXTERNAL: &str = "$external";

/// The mechanisms of logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// SCRAM, with the best algorithm that the account has.
    Scram,
    ScramSha1,
    ScramSha256,
    /// By the client's certificate.
    X509,
}

impl Mechanism {
    /// The names of all that the driver has, in its order, and the mechanisms that `wait` has.
    const NAMES: [(&str, Option<Self>); 8] = [
        ("MONGODB-AWS", None),
        ("DEFAULT", Some(Self::Scram)),
        ("GSSAPI", None),
        ("PLAIN", None),
        ("SCRAM-SHA-1", Some(Self::ScramSha1)),
        ("SCRAM-SHA-256", Some(Self::ScramSha256)),
        ("MONGODB-X509", Some(Self::X509)),
        ("MONGODB-OIDC", None),
    ];

    /// By its name in a URL. As the driver has it, in any case, and whole words of a name will do.
    pub(super) fn named(text: &str) -> Result<(&'static str, Option<Self>), Expected> {
        let words = format!("-{}-", text.to_ascii_uppercase());
        let mut names = Self::NAMES.into_iter();
        let found = names.find(|(name, _)| format!("-{name}-").contains(&words));
        found.ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name);
            Expected::one_of("expected authMechanism to be", &names)
        })
    }
}

/// The user of a login, and what goes with it.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) password: &'a str,
    pub(super) mechanism: Mechanism,
    /// The database that has the account.
    pub(super) source: &'a str,
}

/// Logs in. `offered` are the mechanisms that the account has, where the server has said so.
pub(super) async fn log_in(
    session: &mut Session,
    account: Account<'_>,
    offered: Option<&[String]>,
) -> Result<(), NotReady> {
    session.cx().phase("logging in");
    let user = account.user.unwrap_or_default();
    let algorithm = match account.mechanism {
        Mechanism::X509 => {
            let mut command = Draft::new()
                .int("authenticate", 1)
                .text("mechanism", "MONGODB-X509");
            if let Some(user) = account.user {
                command = command.text("user", user);
            }
            return session.run(command, EXTERNAL).await.map(drop);
        }
        Mechanism::ScramSha1 => Algorithm::Sha1,
        Mechanism::ScramSha256 => Algorithm::Sha256,
        // As drivers choose.
        Mechanism::Scram => match offered {
            Some(names) if !names.iter().any(|name| name == Algorithm::Sha256.mechanism()) => {
                Algorithm::Sha1
            }
            _ => Algorithm::Sha256,
        },
    };
    let password = match algorithm {
        Algorithm::Sha1 => digest(user, account.password),
        _ => prepare(account.password)?,
    };
    let client = Client::new(algorithm, user).ok_or_else(|| {
        NotReady::new(&reason::PROTOCOL, "this machine has no random bytes for a nonce")
    })?;
    let start = Draft::new()
        .int("saslStart", 1)
        .text("mechanism", algorithm.mechanism())
        .bytes("payload", client.message().as_bytes())
        .int("autoAuthorize", 1)
        .document("options", Draft::new().flag("skipEmptyExchange", true));
    let reply = session.run(start, account.source).await?;
    let challenge = client.challenge(payload(&reply, session)?).map_err(|why| failure(&why))?;
    let prove = move || Ok(challenge.prove(password.as_bytes()));
    let proof = session.cx().overlap().aside(prove).await;
    let proof = proof.map_err(|error| NotReady::from_io(&error))?;
    let next = |reply: &Reply, payload: &[u8]| {
        let id = reply.document().number("conversationId").unwrap_or_default();
        Draft::new()
            .int("saslContinue", 1)
            .int("conversationId", id as i32)
            .bytes("payload", payload)
    };
    let command = next(&reply, proof.message().as_bytes());
    let reply = session.run(command, account.source).await?;
    proof.verify(payload(&reply, session)?).map_err(|why| failure(&why))?;
    if reply.document().is_true("done") {
        return Ok(());
    }
    // A server before MongoDB 4.4 has one more exchange, of nothing.
    let reply = session.run(next(&reply, b""), account.source).await?;
    match reply.document().is_true("done") {
        true => Ok(()),
        false => Err(session.cx().unexpected()),
    }
}

fn payload<'a>(reply: &'a Reply, session: &Session) -> Result<&'a [u8], NotReady> {
    let payload = reply.document().bytes("payload");
    payload.ok_or_else(|| session.cx().unexpected())
}

fn failure(failure: &Failure) -> NotReady {
    let reason = match failure {
        Failure::Refused(_) => &ACCESS_DENIED,
        _ => &reason::PROTOCOL,
    };
    NotReady::new(reason, format!("the server sends {failure}"))
}

/// The form of the password that SCRAM-SHA-1 is used with, which dates from the mechanism before it.
fn digest(user: &str, password: &str) -> String {
    let digest = Md5::digest(format!("{user}:mongo:{password}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The form of the password that SCRAM-SHA-256 is used with, as drivers make it.
fn prepare(password: &str) -> Result<String, NotReady> {
    let prepared = stringprep::saslprep(password).map_err(|_| {
        NotReady::new(&ACCESS_DENIED, "the password has characters that SCRAM-SHA-256 forbids")
            .with_hint("use a password without control and private characters, or SCRAM-SHA-1")
    })?;
    Ok(prepared.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_have_the_forms_that_drivers_give_them() {
        // The user and the password of the test vector in MongoDB's specification of logins.
        assert_eq!(digest("user", "pencil"), "1c33006ec1ffd90f9cadcbcc0e118200");
        for (password, expected) in [
            ("pencil", "pencil"),
            ("I\u{ad}X", "IX"),     // SASLprep, RFC 4013, section 3
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            ("a\u{a0}b", "a b"),
            ("", ""),
        ] {
            assert_eq!(prepare(password), Ok(expected.to_owned()), "{password:?}");
        }
        for forbidden in ["a\u{7}", "\u{627}1", "\u{e000}"] {
            let why = prepare(forbidden).expect_err("forbidden");
            assert!(why.is(&ACCESS_DENIED), "{forbidden:?}: {why}");
        }
    }
}
