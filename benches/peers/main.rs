//! Measures `wait` beside other programs that wait, in the same cases and by turns, and prints a
//! table of medians with the ratio to ours.
//!
//! ```sh
//! cargo bench --bench peers                      # everything, about forty minutes
//! cargo bench --bench peers -- lag-1s ready      # these cases alone
//! cargo bench --bench peers -- --runs 5
//! cargo bench --bench peers -- --peer 'dcw=WAIT_HOSTS={host}:{port} WAIT_COMMAND=true /path/wait'
//! ```
//!
//! Peers are looked for in `PATH`. Any other is named by `--peer NAME=COMMAND`: words that begin
//! with `NAME=` are variables, and `{host}`, `{port}` and `{targets}` (with commas) are filled in.
//! `--ours FILE` measures another build of `wait`, such as the static one.
//!
//! It needs Linux and runs in a network and mount namespace of its own, as root or in a user
//! namespace, so that it may drop packets and be a name server.
#![allow(unreachable_pub)] // it is a program

mod cases;
#[path = "../../tests/fixtures/dns.rs"]
#[allow(dead_code)] // the tests need more of it
mod dns;
mod peer;
#[path = "../../tests/fixtures/ports.rs"]
#[allow(dead_code)] // the tests need more of it
mod ports;
mod world;

use std::process::{Command, ExitCode};

use cases::CASES;
use peer::Peer;

/// Set for the process that is in the namespace.
const INSIDE: &str = "PEERS_BENCH_INSIDE";

/// The command line.
struct Options {
    runs: usize,
    peers: Vec<Peer>,
    cases: Vec<String>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [helper, port] = args.as_slice()
        && helper == "--listen"
    {
        world::listen_for_ever(port.parse().expect("a port"));
    }
    if std::env::var_os(INSIDE).is_none() {
        return go_inside(&args);
    }
    let options = parse(args);
    world::prepare();
    let mut is_good = true;
    let names: Vec<_> = options
        .peers
        .iter()
        .map(|peer| peer.name.as_str())
        .collect();
    println!("| case | {} |", names.join(" | "));
    println!("| --- |{}", " --- |".repeat(names.len()));
    for case in CASES {
        if options.cases.is_empty() || options.cases.iter().any(|name| name == case.name) {
            is_good &= case.measure(&options.peers, options.runs);
        }
    }
    match is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Runs this program again where it can do no harm.
fn go_inside(args: &[String]) -> ExitCode {
    let status = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--",
        ])
        .arg(std::env::current_exe().expect("a program"))
        .args(args)
        .env(INSIDE, "1")
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("unshare (util-linux) is needed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: Vec<String>) -> Options {
    let mut ours = env!("CARGO_BIN_EXE_wait").to_owned();
    let (mut runs, mut named, mut cases) = (15, Vec::new(), Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--bench" => {} // cargo's
            "--runs" => runs = value().parse().expect("a number of runs"),
            "--peer" => named.push(Peer::named(&value())),
            "--ours" => ours = value(),
            case => cases.push(case.to_owned()),
        }
    }
    let mut peers = vec![Peer::ours(&ours)];
    peers.extend(Peer::found());
    peers.extend(named);
    Options { runs, peers, cases }
}
