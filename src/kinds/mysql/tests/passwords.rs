//! Authentication plugins, supported or not.

use std::num::NonZeroU32;

use ring::pbkdf2;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::*;

/// The server's nonce and salt.
const NONCE: &[u8; 32] = b"12345678901234567890123456789012";
const SALT: &[u8; 18] = b"salt-of-18-bytes-!";

impl Server {
    /// Asks for another plugin, with this nonce.
    async fn switch(&mut self, plugin: &str, nonce: &[u8]) -> Vec<u8> {
        self.greet(NATIVE).await;
        self.receive().await.expect("a login");
        let switch = [&[EOF], plugin.as_bytes(), &[0], nonce].concat();
        self.send(2, &switch).await;
        self.receive().await.expect("an answer")
    }

    /// Denies a login that the client gives up, and sees it go.
    async fn deny(&mut self, sequence: u8) {
        assert_eq!(self.receive().await.expect("an answer"), b"");
        let denial = error(1045, "#28000Access denied");
        self.send(sequence, &denial).await;
        assert_eq!(self.receive().await, None);
    }
}

/// Verifies as MariaDB's server does: the account holds the public key that PBKDF2 with HMAC-SHA512
/// makes of the password, and the client signs both nonces.
fn is_signed_with_parsec(password: &[u8], factor: u8, answer: &[u8]) -> bool {
    let mut seed = [0; 32];
    let iterations = NonZeroU32::new(1024 << factor).expect("not 0");
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
    pbkdf2::derive(algorithm, iterations, SALT, password, &mut seed);
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
    let key = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec());
    let (nonce, signature) = answer.split_at(32);
    key.verify(&[NONCE, nonce].concat(), signature).is_ok()
}

#[tokio::test]
async fn parsec_signs_both_nonces() {
    for (start, password, is_let_in) in [
        (&[][..], PASSWORD, true),
        (&[MORE_DATA], PASSWORD, true),
        (&[], b"another", false),
    ] {
        let result = against(TARGET, None, 9, async |mut server| {
            assert_eq!(server.switch("parsec", NONCE).await, b"");
            let salt = [start, b"P\x00", SALT].concat();
            server.send(4, &salt).await;
            let answer = server.receive().await.expect("a signature");
            assert_eq!(answer.len(), 96);
            assert_eq!(is_signed_with_parsec(password, 0, &answer), is_let_in);
            server.send(6, &ok()).await;
            server.answer_ping().await;
            server.expect_the_end().await;
        });
        assert_eq!(result.await, Ok(()));
    }
}

#[tokio::test]
async fn parsec_does_not_work_for_ever() {
    for (salt, detail) in [
        ([b"P\x0b", &SALT[..]].concat(), "2097152 iterations"),
        ([b"P\x14", &SALT[..]].concat(), "1073741824 iterations"),
        ([b"P\x15", &SALT[..]].concat(), "an unexpected answer"),
        ([b"Q\x00", &SALT[..]].concat(), "an unexpected answer"),
        (b"P\x00short".to_vec(), "an unexpected answer"),
    ] {
        let result = against(TARGET, None, 9, async |mut server| {
            server.switch("parsec", NONCE).await;
            server.send(4, &salt).await;
            server.deny(6).await;
        });
        refused(result.await, &PROTOCOL, detail);
    }
    // Nor with another's nonce.
    let result = against(TARGET, None, 9, async |mut server| {
        assert_eq!(server.switch("parsec", &NONCE[..20]).await, b"");
        server.send(4, &error(1045, "#28000Access denied")).await;
    });
    refused(result.await, &ACCESS_DENIED, "asks for parsec");
}

#[tokio::test]
async fn a_password_in_clear_is_for_verified_tls_alone() {
    for (text, route) in [
        ("app:secret@db/shop", Route::Private),
        ("app:secret@db/shop#cleartext", Route::Private),
        ("app:secret@db/shop#cleartext&tls=off", Route::Private),
        ("app:secret@db/shop#cleartext", Route::Local),
    ] {
        let target = target(text, None);
        let attempt = by_route(route, &target, 99, async |mut server| {
            assert_eq!(server.switch("mysql_clear_password", b"").await, b"");
            server.send(4, &error(1045, "#28000Access denied")).await;
        });
        let (result, _) = attempt.await;
        refused(result, &ACCESS_DENIED, "asks for mysql_clear_password");
        // Nor is it in the first packet.
        let attempt = by_route(route, &target, 99, async |mut server| {
            server.greet("mysql_clear_password").await;
            let login = server.receive().await.expect("a login");
            assert!(!login.windows(6).any(|window| window == PASSWORD));
            server.send(2, &error(1045, "#28000Access denied")).await;
        });
        refused(attempt.await.0, &ACCESS_DENIED, "1045");
    }
}

/// Asks for the password under this key.
async fn under_key(text: &str, key: &[u8]) -> Result<(), NotReady> {
    let server = async |mut server: Server| {
        server.greet("caching_sha2_password").await;
        server.receive().await.expect("a login");
        server.send(2, &[MORE_DATA, 4]).await;
        assert_eq!(server.receive().await.expect("a request"), [2]);
        server.send(4, &[&[MORE_DATA], key].concat()).await;
        server.deny(6).await;
    };
    against(text, None, 99, server).await
}

#[tokio::test]
async fn a_password_too_long_for_the_servers_key_is_denied_in_words_of_its_own() {
    let long = "x".repeat(86);
    let result = under_key(&format!("app:{long}@db"), KEY).await;
    let why = result.clone().expect_err("not ready");
    assert!(why.reason.hint.contains("TLS"), "{why:?}");
    refused(result, &ACCESS_DENIED, "too long for the server's RSA key");
}

/// A public key in PEM format.
fn pem(modulus: &[u8], exponent: &[u8]) -> String {
    let der = |tag: u8, contents: &[u8]| {
        let [high, low] = (contents.len() as u16).to_be_bytes();
        let length = match (high, low) {
            (0, 0..0x80) => vec![low],
            (0, _) => vec![0x81, low],
            _ => vec![0x82, high, low],
        };
        [&[tag], &length[..], contents].concat()
    };
    let numbers = [der(2, modulus), der(2, exponent)].concat();
    let key = [vec![0], der(0x30, &numbers)].concat();
    let algorithm = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\0";
    let key = der(0x30, &[&algorithm[..], &der(3, &key)].concat());
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64(&key)
    )
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let byte = |at| u32::from(*group.get(at).unwrap_or(&0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |at| match at <= group.len() {
            true => DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char,
            false => '=',
        };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[tokio::test]
async fn a_key_that_hides_nothing_gets_no_password() {
    let odd = [&[0, 0xff][..], &[0x55; 127]].concat();
    let even = [&odd[..128], &[0x54]].concat();
    for (modulus, exponent) in [
        (&odd, &[1][..]),
        (&odd, &[0]),
        (&odd, &[2]),
        (&odd, &[1, 0, 0]),
        (&even, &[1, 0, 1]),
    ] {
        let result = under_key(TARGET, pem(modulus, exponent).as_bytes()).await;
        refused(result, &PROTOCOL, "a public key that cannot be used");
    }
    // One like these that is good.
    let key = pem(&odd, &[3]);
    let result = against(TARGET, None, 99, async |mut server| {
        server.greet("caching_sha2_password").await;
        server.receive().await.expect("a login");
        server.send(2, &[MORE_DATA, 4]).await;
        server.receive().await.expect("a request");
        let key = [&[MORE_DATA], key.as_bytes()].concat();
        server.send(4, &key).await;
        let answer = server.receive().await.expect("the password");
        assert_eq!(answer.len(), 128);
        server.send(6, &error(1045, "#28000Access denied")).await;
    });
    refused(result.await, &ACCESS_DENIED, "1045");
}
