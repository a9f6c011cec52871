//! Attempts at the examples of every kind, against a server that says anything. The first byte of the
//! input is the kind, in the order of the table from '0' on, the second the example in the same way,
//! the third how many bytes arrive at once, and the fourth how the server behaves: a sum of 1 (it
//! falls silent in the end, otherwise it hangs up), 2 (it waits until the client has spoken), 4 (at a
//! unix socket) and 8 (on a public network). The rest is what it says. With `FUZZ_KIND=NAME` every input
//! is for that kind, whatever its first byte.
#![no_main]

use std::env;
use std::sync::LazyLock;

use compose_wait::kinds::KINDS;
use compose_wait::net::Route;
use compose_wait::probe::{NotReady, reason};
use compose_wait::targets::{Address, Kind, Origin, Target};
use compose_wait_fuzz::{Script, converse, defaults, is_in};
use libfuzzer_sys::fuzz_target;

/// The password of every example.
const EXAMPLE_PASSWORD: &str = "secret";

/// The one kind that is asked for.
static ONLY: LazyLock<Option<&Kind>> = LazyLock::new(|| {
    let name = env::var("FUZZ_KIND").ok()?;
    let found = KINDS.iter().find(|kind| kind.name == name);
    Some(found.expect("FUZZ_KIND: the name of a kind"))
});

/// An item of a list by a digit, or any other byte.
fn choose<T: Copy>(items: &[T], byte: u8) -> Option<T> {
    let at = usize::from(byte.wrapping_sub(b'0')).checked_rem(items.len())?;
    Some(items[at])
}

/// What has to be so whatever the server said.
fn judge(kind: &Kind, is_tls: bool, result: Result<(), NotReady>, says: &[u8]) {
    let Err(why) = result else {
        assert!(!is_tls, "no TLS was ever made");
        return;
    };
    // A server that knows the password may say it.
    if !is_in(EXAMPLE_PASSWORD, says) {
        assert!(!why.to_string().contains(EXAMPLE_PASSWORD), "{why}");
    }
    let is_known = kind
        .reasons
        .iter()
        .chain(&reason::COMMON)
        .any(|known| why.is(known));
    assert!(is_known, "{why}");
    // There was a connection; some probes ask for a second.
    if why.to_string().contains("there is no other connection") {
        return;
    }
    let strange = [
        &reason::UNRESOLVED,
        &reason::REFUSED,
        &reason::UNREACHABLE,
        &reason::MISSING,
    ];
    assert!(!strange.iter().any(|strange| why.is(strange)), "{why}");
}

fuzz_target!(|input: &[u8]| {
    let [kind, example, chunk, how, says @ ..] = input else {
        return;
    };
    let Some(kind) = ONLY.or_else(|| choose(KINDS, *kind)) else {
        return;
    };
    let Some(example) = choose(kind.examples, *example) else {
        return;
    };
    let address = Address::parse(example, KINDS, None, Origin::Ours).expect("an example");
    let is_tls = address.scheme.is_tls;
    let target = Target::at(address, &defaults(kind)).expect("an example");
    let how = how.wrapping_sub(b'0');
    let script = Script {
        says: says.to_vec(),
        chunk: usize::from(*chunk).max(1),
        speaks_first: how & 2 == 0,
        hangs_up: how & 1 == 0,
        route: match (how & 4, how & 8) {
            (0, 0) => Route::Private,
            (0, _) => Route::Public,
            _ => Route::Local,
        },
    };
    let outcome = converse(&*target.probe, script);
    if is_tls {
        assert!(
            !is_in(EXAMPLE_PASSWORD, &outcome.heard),
            "the password in clear"
        );
    }
    if let Some(result) = outcome.result {
        judge(kind, is_tls, result, says);
    }
});
