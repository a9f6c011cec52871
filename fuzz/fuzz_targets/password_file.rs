//! Files: a password is all of one but a line end, and nothing of it is printed; certificates are
//! found or not.
#![no_main]

use std::ffi::OsStr;

use compose_wait::cli::Cli;
use compose_wait::config::Config;
use compose_wait::target::Target;
use compose_wait_fuzz::{PASSWORD, resolve};
use libfuzzer_sys::fuzz_target;

fn password(config: &Config) -> &str {
    let [Target::MySql(mysql)] = &config.targets[..] else {
        panic!("one target");
    };
    mysql.password.as_ref().expect("a password").expose()
}

fuzz_target!(|contents: &[u8]| {
    let variables = [
        ("WAIT_MYSQL", "app@db"),
        ("WAIT_MYSQL_PASSWORD_FILE", "/secret"),
    ]
    .map(|(name, value)| (name, OsStr::new(value)));
    let with = |contents| resolve(&Cli::default(), &variables, contents);
    let (other, _) = with(PASSWORD.as_bytes()).expect("a password");
    match (with(contents), str::from_utf8(contents)) {
        (Ok((config, notices)), Ok(text)) => {
            let line_end = text.strip_prefix(password(&config)).expect("a part of it");
            assert!(["", "\n", "\r\n"].contains(&line_end), "{line_end:?}");
            assert!(!line_end.is_empty() || !text.ends_with('\n'));
            assert_eq!(notices, []);
            assert_eq!(format!("{config:?}"), format!("{other:?}"));
        }
        (Err(error), Err(_)) => assert_eq!(
            error.to_string(),
            "WAIT_MYSQL_PASSWORD_FILE: /secret: expected UTF-8 text"
        ),
        (found, _) => panic!("{found:?}"),
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
