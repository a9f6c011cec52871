//! Name servers that do not do as they should, and names with addresses that lead nowhere.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::*;
use crate::fixtures::dns::{Answer, ByTcp, NameServer, silent, truncated};
use crate::fixtures::ports::Port;
use crate::world;

/// The contents of `resolv.conf` until this is dropped.
struct ResolvConf(#[allow(dead_code)] NamedTempFile);

impl ResolvConf {
    fn with(servers: &[&str]) -> Self {
        let mut file = NamedTempFile::new().expect("a file");
        for server in servers {
            writeln!(file, "nameserver {server}").expect("written");
        }
        let path = file.path().display();
        world::run(&format!("mount --bind {path} /etc/resolv.conf"));
        Self(file)
    }
}

impl Drop for ResolvConf {
    fn drop(&mut self) {
        world::run("umount /etc/resolv.conf");
    }
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn name_servers_that_do_not_do_as_they_should() {
    in_a_world(|| {
        let port = Port::opened();
        let target = format!("db.test:{}", port.address.port());
        let here = || Answer::Addresses(vec![Ipv4Addr::LOCALHOST]);
        let wrong_at_first = |first: Answer| {
            let server = NameServer::start();
            server.say(first);
            let waiting = waiting_long_for(&target).start();
            thread::sleep(Duration::from_millis(600));
            server.say(here());
            starts(&waiting.end(), 0.6);
        };
        let always = |answer: Answer, reason: &str| {
            let server = NameServer::start();
            server.say(answer);
            gives_up(&waiting_for(&target).run(), reason);
        };
        one_by_one(&[
            ("there is none", &|| {
                gives_up(&waiting_for(&target).run(), "timed_out");
            }),
            ("it is silent", &|| always(Answer::Silence, "timed_out")),
            ("it is silent at first", &|| wrong_at_first(Answer::Silence)),
            ("it fails", &|| always(Answer::ServerFailure, "unresolved")),
            ("it fails at first", &|| {
                wrong_at_first(Answer::ServerFailure);
            }),
            ("it knows no such name", &|| {
                always(Answer::NoSuchName, "unresolved");
            }),
            ("it does not know the name at first", &|| {
                wrong_at_first(Answer::NoSuchName);
            }),
            ("it knows a name without addresses", &|| {
                always(Answer::Addresses(Vec::new()), "unresolved");
            }),
            ("it is wrong at first", &|| {
                wrong_at_first(Answer::Addresses(vec![Ipv4Addr::new(127, 0, 0, 9)]));
            }),
            ("its answers are cut off, and TCP is refused", &|| {
                let _server = NameServer::answering(truncated);
                gives_up(&waiting_for(&target).run(), "unresolved");
            }),
            ("its answers are cut off, and TCP works", &|| {
                let _server = NameServer::answering(truncated);
                let _by_tcp = ByTcp::start(here());
                starts(&waiting_long_for(&target).run(), 0.0);
            }),
            ("its answers are noise", &|| {
                let noise = |question: &[u8]| Some(question.iter().map(|byte| !byte).collect());
                let _server = NameServer::answering(noise);
                gives_up(&waiting_for(&target).run(), "timed_out");
            }),
            ("the first of two is dead", &|| {
                let _conf = ResolvConf::with(&["127.0.0.2", "127.0.0.1"]);
                let _dead = silent("127.0.0.2");
                let server = NameServer::start();
                server.say(here());
                starts_within(&waiting_long_for(&target).run(), 0.0, 2.0);
            }),
            ("all three of them are silent", &|| {
                let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
                let _conf = ResolvConf::with(&addresses);
                let _silent = addresses.map(silent);
                let waiting = waiting_for(&target).var("WAIT_TIMEOUT", "5").start();
                let (start, folder) = (Instant::now(), format!("/proc/{}/fd", waiting.id()));
                let mut most = 0;
                while start.elapsed() < Duration::from_secs(4) {
                    most = most.max(fs::read_dir(&folder).expect("it is alive").count());
                    thread::sleep(Duration::from_millis(5));
                }
                // Six for the questions to each of them, besides its own.
                assert!((18..64).contains(&most), "{most} descriptors");
                let outcome = waiting.end();
                outcome.exits(1).says(&["error: ", ": timed_out: "]);
            }),
        ]);
    });
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn addresses_that_lead_nowhere() {
    in_a_world(|| {
        let port = Port::opened();
        let number = port.address.port();
        let server = NameServer::start();
        let resolves_to = |wrong: &[Ipv4Addr]| {
            let addresses = wrong.iter().copied().chain([Ipv4Addr::LOCALHOST]);
            server.say(Answer::Addresses(addresses.collect()));
            waiting_long_for(format!("db.test:{number}"))
        };
        let wrong: Vec<_> = (1..20).map(|last| Ipv4Addr::new(127, 0, 1, last)).collect();
        // An address that drops packets costs those after it a head start of 250 ms, and nothing more.
        let drops = |network: &str| {
            Rule::new(format!(
                "INPUT -p tcp -d {network} --dport {number} -j DROP"
            ))
        };
        one_by_one(&[
            ("of twenty, the last is right", &|| {
                starts(&resolves_to(&wrong).run(), 0.0);
            }),
            ("of two, the first drops packets", &|| {
                let _rule = drops("127.0.1.1");
                starts_within(&resolves_to(&wrong[..1]).run(), 0.24, 1.9);
            }),
            ("of twenty, the first seven drop packets", &|| {
                let _rule = drops("127.0.1.0/29");
                starts_within(&resolves_to(&wrong).run(), 1.7, 3.4);
            }),
        ]);
    });
}
