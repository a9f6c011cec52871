//! Names: `dns:NAME`.

use crate::support::{Outcome, wait};

fn waiting_for(target: &str) -> Outcome {
    wait().args(["--for", target, "--timeout=0"]).run()
}

#[test]
fn a_name_of_the_hosts_file_is_ready() {
    waiting_for("dns:localhost")
        .exits(0)
        .says(&["wait: dns:localhost is ready after"]);
    waiting_for("DNS:localhost")
        .exits(0)
        .says(&["wait: dns:localhost is ready after"]);
    let gone = waiting_for("dns:localhost#gone");
    gone.exits(1).says(&["still_there: it is there"]);
}

#[test]
fn a_malformed_name_is_an_error() {
    for (target, expected) in [
        ("dns:", "expected dns:NAME"),
        (
            "dns:10.0.0.1",
            "expected dns:NAME: an address needs no look-up",
        ),
        (
            "dns:[::1]",
            "expected dns:NAME: an address needs no look-up",
        ),
        ("dns:db:5432", "expected dns:NAME, without a port"),
        ("dns://db", "expected dns:NAME, without slashes"),
        ("dns:///db:5432", "expected dns:NAME, without slashes"),
        ("dns:a b", "expected dns:NAME"),
        (
            "dns:db#tls=off",
            "an unknown option after '#': expected gone, optional",
        ),
    ] {
        let outcome = waiting_for(target);
        outcome.exits(2).says(&["wait: error: --for: ", expected]);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
    // A host may have that name.
    waiting_for("dns:53")
        .exits(1)
        .says(&["dns:53 is not ready"]);
}
