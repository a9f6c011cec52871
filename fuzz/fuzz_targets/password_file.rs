//! Files: a password is all of one but a line end, and nothing of it is printed; certificates are
//! found or not.
#![no_main]

use std::ffi::OsStr;

use compose_wait::probe::reason;
use compose_wait::settings::cli::Cli;
use compose_wait::targets::SecretFile;
use compose_wait_fuzz::{is_message, resolve};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|contents: &[u8]| {
    let file = SecretFile::new("/secret");
    let secret = file.parse(Ok(contents.to_vec()));
    match (secret, str::from_utf8(contents)) {
        (Ok(secret), Ok(text)) => {
            assert!(!text.is_empty());
            let line_end = text.strip_prefix(secret.expose()).expect("a part of it");
            assert!(["", "\n", "\r\n"].contains(&line_end), "{line_end:?}");
            assert!(!line_end.is_empty() || !text.ends_with('\n'));
            assert_eq!(format!("{secret:?}"), "Secret(…)");
        }
        (Err(why), text) => {
            assert!(why.is(&reason::MISSING), "{why}");
            is_message(&why.detail);
            let what = match text {
                Ok(text) => {
                    assert_eq!(text, "", "{why}");
                    "is empty"
                }
                Err(_) => "is not UTF-8 text",
            };
            let expected = format!("the password's file /secret {what}");
            assert_eq!(why.detail, expected);
        }
        (Ok(secret), Err(_)) => panic!("{secret:?}"),
    }
    let variables = [("WAIT_TLS_CA_FILE", OsStr::new("/ca.pem"))];
    match resolve(&Cli::default(), &variables, contents) {
        Ok((config, _)) => assert!(!config.tls_authorities.is_empty()),
        Err(error) => assert_eq!(
            error.to_string(),
            "WAIT_TLS_CA_FILE: /ca.pem: expected certificates in PEM format"
        ),
    }
});
