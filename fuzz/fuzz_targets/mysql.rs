//! Logins, against a server that says whatever it likes. The first byte of the input chooses the
//! target, the second how many bytes arrive at once. If the third is `|`, blank lines part what
//! follows into packets, so that their lengths are right whatever becomes of them; otherwise it is
//! served as it is. With a `.` at its end the server falls silent there, otherwise it hangs up.
#![no_main]

use std::sync::LazyLock;

use compose_wait::probe::{NotReady, Probe, Reason};
use compose_wait::target::{MySql, SslMode, Target};
use compose_wait_fuzz::{PASSWORD, Script, converse, is_in};
use libfuzzer_sys::fuzz_target;

const USER: &str = "app-user";
const QUERY: &str = "SELECT 1 FROM migration";
/// COM_QUIT, as a packet.
const GOODBYE: &[u8] = &[1, 0, 0, 0, 1];

/// The targets, and whether there is a query.
static TARGETS: LazyLock<Vec<(Target, bool)>> = LazyLock::new(|| {
    let long = PASSWORD.repeat(12);
    [
        (format!("mysql://{USER}:{PASSWORD}@db/shop"), true),
        (format!("mysql://{USER}:{PASSWORD}@db"), false),
        (
            format!("mysql://{USER}:{PASSWORD}@db?ssl-mode=DISABLED"),
            true,
        ),
        (format!("mysql://{USER}:{PASSWORD}@db?socket=/s"), true),
        (
            format!("mysql://{USER}:{PASSWORD}@db?ssl-mode=REQUIRED"),
            false,
        ),
        (
            format!("mysql://{USER}:{PASSWORD}@db?ssl-mode=VERIFY_CA"),
            true,
        ),
        (format!("mysql://{USER}:{long}@db"), false),
        (format!("mysql://{USER}@db/shop"), false),
        ("mysql://db".to_owned(), false),
        ("mysql://db?ssl-mode=REQUIRED".to_owned(), false),
    ]
    .map(|(text, has_query)| (text.parse().expect("a target"), has_query))
    .into()
});

static PROBES: LazyLock<[Probe; 2]> = LazyLock::new(|| {
    [None, Some(QUERY.to_owned())].map(|mysql_query| Probe {
        mysql_query,
        ..Probe::default()
    })
});

fn packets(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    for sequence in (0..=u8::MAX).cycle() {
        let end = rest.windows(2).position(|pair| pair == b"\n\n");
        let packet = &rest[..end.unwrap_or(rest.len())];
        bytes.extend(&(packet.len() as u32).to_le_bytes()[..3]);
        bytes.push(sequence);
        bytes.extend(packet);
        match end {
            Some(end) => rest = &rest[end + 2..],
            None => break,
        }
    }
    bytes
}

/// What has to be so whatever the server said.
fn judge(mysql: &MySql, result: Option<Result<(), NotReady>>, heard: &[u8]) {
    let needs_tls = mysql.ssl_mode >= SslMode::Required;
    if needs_tls {
        assert!(!is_in(USER, heard), "a login without TLS");
    }
    if mysql.socket.is_none() {
        assert!(!is_in(PASSWORD, heard), "the password in clear");
    }
    match result {
        None => {}
        Some(Ok(())) if mysql.user.is_some() => {
            assert!(!needs_tls, "no TLS was ever made");
            assert!(heard.ends_with(GOODBYE), "no goodbye");
        }
        Some(Ok(())) => {}
        Some(Err(why)) => {
            assert!(!why.to_string().contains(PASSWORD), "{why}");
            let strange = [
                Reason::Unresolved,
                Reason::Refused,
                Reason::Unreachable,
                Reason::Missing,
            ];
            assert!(!strange.contains(&why.reason), "{why}");
            assert!(!matches!(why.reason, Reason::HttpStatus(_)), "{why}");
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [target, chunk, served @ ..] = input else {
        return;
    };
    // A server that knows the password may say it.
    if is_in(PASSWORD, served) || is_in(USER, served) {
        return;
    }
    let (target, has_query) = &TARGETS[usize::from(*target) % TARGETS.len()];
    let served = served.strip_suffix(b"\n").unwrap_or(served);
    let (served, hangs_up) = match served.strip_suffix(b".") {
        Some(served) => (served, false),
        None => (served, true),
    };
    let says = match served.strip_prefix(b"|") {
        Some(text) => packets(text),
        None => served.to_vec(),
    };
    let script = Script {
        says,
        chunk: usize::from(*chunk).max(1),
        speaks_first: true,
        hangs_up,
    };
    let Target::MySql(mysql) = target else {
        unreachable!()
    };
    let outcome = converse(&PROBES[usize::from(*has_query)], target, script);
    judge(mysql, outcome.result, &outcome.heard);
});
