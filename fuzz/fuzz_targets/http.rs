//! HTTP and HTTPS, against a server that says whatever it likes. The first byte of the input chooses
//! the target and how the server begins and ends, the second how many bytes arrive at once.
#![no_main]

use std::sync::LazyLock;

use compose_wait::probe::{Probe, Reason};
use compose_wait::target::Target;
use compose_wait_fuzz::{PASSWORD, Script, converse, is_in};
use libfuzzer_sys::fuzz_target;

/// The targets; TLS is never got through, and so it has the least of the inputs.
static TARGETS: LazyLock<[Target; 4]> = LazyLock::new(|| {
    [
        "http://web/".to_owned(),
        format!("http://app:{PASSWORD}@web:8080/health?deep=1"),
        "http://[::1]/a%20b".to_owned(),
        "https://web/".to_owned(),
    ]
    .map(|url| url.parse().expect("a target"))
});

static PROBE: LazyLock<Probe> = LazyLock::new(Probe::default);

fuzz_target!(|input: &[u8]| {
    let [how, chunk, says @ ..] = input else {
        return;
    };
    let target = &TARGETS[usize::from(how & 3)];
    let script = Script {
        says: says.to_vec(),
        chunk: usize::from(*chunk).max(1),
        speaks_first: how & 8 != 0,
        hangs_up: how & 4 == 0,
    };
    let outcome = converse(&PROBE, target, script);
    let Target::Http(http) = target else {
        unreachable!()
    };
    // Who speaks before being asked is no server of HTTP, and need not be asked.
    if !http.is_secure && !outcome.heard.is_empty() {
        assert!(outcome.heard.starts_with(b"GET /"));
    }
    let Some(result) = outcome.result else { return };
    match result.map_err(|why| (why.reason, why.to_string())) {
        Ok(()) => {
            assert!(!http.is_secure, "no TLS was ever made");
            assert!(!outcome.heard.is_empty(), "nothing was asked");
            assert!(is_in("HTTP/1.", says) && (is_in(" 2", says) || is_in(" 3", says)));
        }
        Err((Reason::HttpStatus(code), _)) => {
            assert!(!(200..=399).contains(&code));
            assert!(is_in(&code.to_string(), says), "{code}");
        }
        Err((Reason::TlsFailed, _)) => assert!(http.is_secure),
        Err((reason @ (Reason::Closed | Reason::Protocol), text)) => {
            assert!(reason == Reason::Closed || !http.is_secure, "{text}");
            assert!(!text.contains(PASSWORD), "{text}");
        }
        Err((_, text)) => panic!("{text}"),
    }
});
