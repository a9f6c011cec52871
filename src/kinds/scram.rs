//! SCRAM (RFC 5802, RFC 7677), without channel binding: what the client says, and the proof that the
//! server knows the password too. Pure functions, apart from the random nonce.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use thiserror::Error;

/// The fewest iterations that clients accept, as RFC 7677 has it: with fewer, a false server could
/// guess the password from the proof.
const FEWEST_ITERATIONS: u32 = 4096;
/// The most iterations: the server sets the amount of work. The usual number is from 4096 to 15,000.
const MOST_ITERATIONS: u32 = 1 << 20;
/// The bytes of a nonce, before they are written as text.
const NONCE: usize = 24;
/// The bytes of the longest hash.
const LONGEST_HASH: usize = digest::SHA512_OUTPUT_LEN;
/// The header of a client without channel binding, and its form in the last message.
const HEADER: &str = "n,,";
const HEADER_IN_BASE64: &str = "biws";

/// The hash that a mechanism is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // not every kind has all of them
pub(super) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The name of the mechanism.
    pub(super) fn mechanism(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        self.hmac().digest_algorithm()
    }

    fn sign(self, key: &[u8], message: &str) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac(), key), message.as_bytes())
    }
}

/// Why a login cannot go on, in words that follow "the server sends".
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Failure {
    #[error("a message that SCRAM does not have")]
    Malformed,
    #[error("{0} iterations for SCRAM, fewer than clients accept")]
    TooFewIterations(u32),
    #[error("{0} iterations for SCRAM, which is too much work")]
    TooManyIterations(u32),
    /// The server has refused the login, in its words.
    #[error("the error {0}")]
    Refused(String),
    /// It may be a false server.
    #[error("a signature that it cannot have made with this password")]
    WrongSignature,
}

/// The beginning of a login.
#[derive(Debug)]
pub(super) struct Client {
    algorithm: Algorithm,
    /// The first message without its header.
    first: String,
    nonce: String,
}

/// What the server asks the client to compute.
#[derive(Debug)]
pub(super) struct Challenge {
    algorithm: Algorithm,
    iterations: NonZeroU32,
    salt: Vec<u8>,
    /// The client's last message without the proof.
    last: String,
    /// What both sides sign.
    signed: String,
}

/// The client's last message, and the signature that the server has to answer it with.
pub(super) struct Proof {
    message: String,
    server_key: hmac::Key,
    signed: String,
}

impl Client {
    /// Of a user, whose name is prepared (SASLprep) where the protocol wants it. `None` where the
    /// system has no random bytes.
    pub(super) fn new(algorithm: Algorithm, user: &str) -> Option<Self> {
        let mut nonce = [0; NONCE];
        SystemRandom::new().fill(&mut nonce).ok()?;
        Some(Self::with_nonce(algorithm, user, BASE64.encode(nonce)))
    }

    fn with_nonce(algorithm: Algorithm, user: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            algorithm,
            first: format!("n={user},r={nonce}"),
            nonce,
        }
    }

    /// The first message.
    pub(super) fn message(&self) -> String {
        format!("{HEADER}{}", self.first)
    }

    /// Reads the server's first message.
    pub(super) fn challenge(self, message: &[u8]) -> Result<Challenge, Failure> {
        let message = str::from_utf8(message).map_err(|_| Failure::Malformed)?;
        let mut parts = message.split(',');
        let mut part = |name| {
            let part = parts.next().unwrap_or_default();
            part.strip_prefix(name).ok_or_else(|| refusal_in(message))
        };
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        // The server adds to the client's nonce.
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Failure::Malformed);
        }
        let salt = BASE64.decode(salt).map_err(|_| Failure::Malformed)?;
        let is_number = iterations.bytes().all(|byte| byte.is_ascii_digit());
        let iterations = match iterations.parse() {
            Ok(iterations) if is_number && !salt.is_empty() => iterations,
            _ => return Err(Failure::Malformed),
        };
        if iterations > MOST_ITERATIONS {
            return Err(Failure::TooManyIterations(iterations));
        }
        let iterations = NonZeroU32::new(iterations)
            .filter(|iterations| iterations.get() >= FEWEST_ITERATIONS)
            .ok_or(Failure::TooFewIterations(iterations))?;
        let last = format!("c={HEADER_IN_BASE64},r={nonce}");
        Ok(Challenge {
            algorithm: self.algorithm,
            iterations,
            salt,
            signed: format!("{},{message},{last}", self.first),
            last,
        })
    }
}

impl Challenge {
    /// Computes the proof that the client knows the password, which is prepared where the protocol
    /// wants it. The server sets the amount of work, so this is not for the thread of the timers.
    pub(super) fn prove(self, password: &[u8]) -> Proof {
        let algorithm = self.algorithm;
        let mut salted = [0; LONGEST_HASH];
        let salted = &mut salted[..algorithm.digest().output_len()];
        pbkdf2::derive(
            algorithm.pbkdf2(),
            self.iterations,
            &self.salt,
            password,
            salted,
        );
        let client_key = algorithm.sign(salted, "Client Key");
        let stored_key = digest::digest(algorithm.digest(), client_key.as_ref());
        let signature = algorithm.sign(stored_key.as_ref(), &self.signed);
        let bytes = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = bytes.map(|(key, signature)| key ^ signature).collect();
        let server_key = algorithm.sign(salted, "Server Key");
        Proof {
            message: format!("{},p={}", self.last, BASE64.encode(proof)),
            server_key: hmac::Key::new(algorithm.hmac(), server_key.as_ref()),
            signed: self.signed,
        }
    }
}

impl Proof {
    /// The client's last message.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Verifies the server's last message: only who knows the password, or what is derived from it, can
    /// have made it.
    pub(super) fn verify(&self, message: &[u8]) -> Result<(), Failure> {
        let message = str::from_utf8(message).map_err(|_| Failure::Malformed)?;
        let part = message.split(',').next().unwrap_or_default();
        let signature = part.strip_prefix("v=").ok_or_else(|| refusal_in(message))?;
        let signature = BASE64.decode(signature).map_err(|_| Failure::Malformed)?;
        hmac::verify(&self.server_key, self.signed.as_bytes(), &signature)
            .map_err(|_| Failure::WrongSignature)
    }
}

/// The failure that a message without the expected part is.
fn refusal_in(message: &str) -> Failure {
    match message.strip_prefix("e=") {
        Some(error) => Failure::Refused(error.to_owned()),
        None => Failure::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER_PART: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const RFC_7677_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const RFC_7677_SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";

    /// Algorithm, nonce of the client, first message of the server, last messages.
    const VECTORS: [(Algorithm, &str, &str, &str, &str); 3] = [
        // RFC 5802, section 5.
        (
            Algorithm::Sha1,
            "fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        // RFC 7677, section 3.
        (
            Algorithm::Sha256,
            RFC_7677_NONCE,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
        // No RFC has one: the same input, computed with Python's hashlib and hmac.
        (
            Algorithm::Sha512,
            RFC_7677_NONCE,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
            "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
        ),
    ];

    fn client(algorithm: Algorithm, nonce: &str) -> Client {
        Client::with_nonce(algorithm, "user", nonce.to_owned())
    }

    /// The challenge in a first message with this salt and these iterations.
    fn challenge(salt: &str, iterations: &str) -> Result<Challenge, Failure> {
        let message = format!("r={RFC_7677_NONCE}{SERVER_PART},s={salt},i={iterations}");
        client(Algorithm::Sha256, RFC_7677_NONCE).challenge(message.as_bytes())
    }

    #[test]
    fn messages_are_those_of_the_test_vectors() {
        for (algorithm, nonce, server_first, client_last, server_last) in VECTORS {
            let client = client(algorithm, nonce);
            assert_eq!(client.message(), format!("n,,n=user,r={nonce}"));
            let challenge = client
                .challenge(server_first.as_bytes())
                .expect("a challenge");
            let proof = challenge.prove(b"pencil");
            assert_eq!(proof.message(), client_last, "{algorithm:?}");
            assert_eq!(
                proof.verify(server_last.as_bytes()),
                Ok(()),
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        for (algorithm, nonce, server_first, _, server_last) in VECTORS {
            let challenge = client(algorithm, nonce).challenge(server_first.as_bytes());
            let proof = challenge.expect("a challenge").prove(b"other");
            assert_eq!(
                proof.verify(server_last.as_bytes()),
                Err(Failure::WrongSignature)
            );
        }
    }

    #[test]
    fn a_signature_of_another_length_is_wrong() {
        let proof = challenge(RFC_7677_SALT, "4096")
            .expect("a challenge")
            .prove(b"pencil");
        let whole = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(proof.verify(whole.as_bytes()), Ok(()));
        assert_eq!(proof.verify(b"v="), Err(Failure::WrongSignature));
        assert_eq!(
            proof.verify(b"v=6rriTRBi23WpRR/wtup+mA=="),
            Err(Failure::WrongSignature)
        );
        assert_eq!(proof.verify(b"v=6rri,more"), Err(Failure::WrongSignature));
        for message in [&b""[..], b"x=6rri", b"v=*", b"\xff", b" v=6rri"] {
            assert_eq!(
                proof.verify(message),
                Err(Failure::Malformed),
                "{message:?}"
            );
        }
        let refused = Failure::Refused("other-error".to_owned());
        assert_eq!(proof.verify(b"e=other-error"), Err(refused));
    }

    #[test]
    fn separators_in_a_users_name_are_escaped() {
        let client = Client::with_nonce(Algorithm::Sha1, "a=b,c,d", "x".to_owned());
        assert_eq!(client.message(), "n,,n=a=3Db=2Cc=2Cd,r=x");
    }

    #[test]
    fn every_login_has_another_nonce() {
        let nonce = || {
            Client::new(Algorithm::Sha256, "user")
                .expect("random bytes")
                .nonce
        };
        let (one, other) = (nonce(), nonce());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
        assert!(!one.contains(','), "{one}");
    }

    #[test]
    fn iterations_are_bounded() {
        for (iterations, expected) in [
            ("4096", None),
            ("15000", None),
            ("1048576", None),
            ("1048577", Some(Failure::TooManyIterations(1_048_577))),
            ("4294967295", Some(Failure::TooManyIterations(u32::MAX))),
            ("4294967296", Some(Failure::Malformed)),
            ("4095", Some(Failure::TooFewIterations(4095))),
            ("0", Some(Failure::TooFewIterations(0))),
            ("+4096", Some(Failure::Malformed)),
            ("-4096", Some(Failure::Malformed)),
            ("", Some(Failure::Malformed)),
        ] {
            let failure = challenge(RFC_7677_SALT, iterations).err();
            assert_eq!(failure, expected, "{iterations}");
        }
    }

    #[test]
    fn malformed_challenges_are_refused() {
        for salt in ["", "*", "W22Z,m=x"] {
            let failure = challenge(salt, "4096").err();
            assert_eq!(failure, Some(Failure::Malformed), "{salt}");
        }
        for (message, expected) in [
            (&b""[..], Failure::Malformed),
            (b"\xff", Failure::Malformed),
            (b"r=nonce", Failure::Malformed),
            // The client's own nonce, and none of the server's.
            (b"r=nonce,s=W22Z,i=4096", Failure::Malformed),
            (b"r=other1,s=W22Z,i=4096", Failure::Malformed),
            // An extension that the client has to know.
            (b"m=x,r=nonce1,s=W22Z,i=4096", Failure::Malformed),
            (b"s=W22Z,r=nonce1,i=4096", Failure::Malformed),
            (
                b"e=unknown-user",
                Failure::Refused("unknown-user".to_owned()),
            ),
        ] {
            let failure = client(Algorithm::Sha1, "nonce").challenge(message).err();
            assert_eq!(failure, Some(expected), "{message:?}");
        }
        let optional = client(Algorithm::Sha1, "nonce").challenge(b"r=nonce1,s=W22Z,i=4096,x=y");
        assert!(optional.is_ok(), "{optional:?}");
    }
}
