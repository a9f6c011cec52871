//! Name servers that do not do as they should, names with addresses that lead nowhere, and files that
//! hang.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::*;
use crate::fixtures::dns::{self, Answer, ByTcp, NameServer, silent, truncated};
use crate::fixtures::http;
use crate::fixtures::ports::Port;
use crate::support::best_of_three;
use crate::world;

/// A file of the system's with other contents, until this is dropped.
struct Replaced(&'static str, #[allow(dead_code)] NamedTempFile);

impl Replaced {
    fn with(path: &'static str, contents: &str) -> Self {
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(contents.as_bytes()).expect("written");
        world::run(&format!("mount --bind {} {path}", file.path().display()));
        Self(path, file)
    }

    fn resolv_conf(contents: &str) -> Self {
        Self::with("/etc/resolv.conf", contents)
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        world::run(&format!("umount {}", self.0));
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
                let _conf = Replaced::resolv_conf("nameserver 127.0.0.2\nnameserver 127.0.0.1\n");
                let _dead = silent("127.0.0.2");
                let server = NameServer::start();
                server.say(here());
                starts_within(&waiting_long_for(&target).run(), 0.0, 2.0);
            }),
            ("all three of them are silent", &|| {
                let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
                let lines = addresses.map(|address| format!("nameserver {address}\n"));
                let _conf = Replaced::resolv_conf(&lines.concat());
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
fn a_name_that_does_not_exist_is_asked_for_politely() {
    in_a_world(|| {
        // As Kubernetes has it.
        let conf = "nameserver 127.0.0.1\noptions ndots:5\nsearch a.test b.test c.test d.test\n";
        let _conf = Replaced::resolv_conf(conf);
        let port = Port::opened();
        for answer in [
            Answer::NoSuchName,
            Answer::Addresses(Vec::new()),
            Answer::ServerFailure,
        ] {
            let server = NameServer::start();
            server.say(answer.clone());
            let waiting = waiting_long_for(format!("db:{}", port.number())).start();
            let questions_after = |seconds| {
                thread::sleep(Duration::from_secs(seconds).saturating_sub(waiting.elapsed()));
                server.questions()
            };
            let (first, all) = (questions_after(1), questions_after(10));
            println!("{answer:?}: {first} packets in a second, {all} in ten");
            // Ten at least for each look-up, so that this counts what it should.
            assert!(
                (10..=200).contains(&first),
                "{answer:?}: {first} in the first second"
            );
            assert!(
                (100..=1_100).contains(&all),
                "{answer:?}: {all} in ten seconds"
            );
            server.say(Answer::Addresses(vec![Ipv4Addr::LOCALHOST]));
            let since = Instant::now();
            waiting.end().exits(0);
            // At most 110 ms on a machine that is idle, which the benchmark measures.
            assert!(since.elapsed() < Duration::from_millis(900));
        }
    });
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn addresses_with_a_zone() {
    in_a_world(|| {
        let add = || {
            world::run("ip link add here type veth peer name there");
            world::run("ip link set here up");
            world::run("ip link set there up");
            world::run("ip addr add fe80::1/64 dev here nodad");
        };
        let index = || nix::net::if_::if_nametoindex("here").expect("an interface");
        let listener = TcpListener::bind("[::]:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        one_by_one(&[
            ("of an interface that is not there", &|| {
                let outcome = waiting_for(format!("[fe80::1%here]:{port}")).run();
                gives_up_as(
                    &outcome,
                    "unreachable",
                    "there is no network interface here",
                );
            }),
            ("of an interface that comes late", &|| {
                let waiting = waiting_long_for(format!("[fe80::1%here]:{port}")).start();
                thread::sleep(Duration::from_millis(600));
                add();
                starts(&waiting.end(), 0.6);
            }),
            ("by the interface's number", &|| {
                let target = format!("[fe80::1%{}]:{port}", index());
                starts(&waiting_long_for(target).run(), 0.0);
            }),
            ("of a name server", &|| {
                let _conf = Replaced::resolv_conf("nameserver fe80::1%here\n");
                let server = NameServer::at("fe80::1%here");
                server.say(Answer::Addresses(vec![Ipv4Addr::LOCALHOST]));
                starts(&waiting_long_for(format!("db.test:{port}")).run(), 0.0);
                assert!(server.questions() > 0);
            }),
        ]);
    });
}

/// The addresses of `db.test`, in the order in which they are tried.
fn tried() -> Vec<String> {
    let outcome = wait()
        .args(["--for=db.test:1", "--timeout=0", "--log-level=trace"])
        .run();
    let line = outcome
        .stderr
        .lines()
        .find(|line| line.contains("db.test is ["));
    let (_, list) = line.expect("a line").split_once('[').expect("a list");
    let addresses = list.trim_end_matches(']').split(", ");
    let address = |text: &str| text.parse::<std::net::SocketAddr>().expect("an address");
    addresses
        .map(|text| address(text).ip().to_string())
        .collect()
}

/// The same as getaddrinfo has it.
fn by_getaddrinfo() -> Vec<String> {
    let output = Command::new("getent").args(["ahosts", "db.test"]).output();
    let output = String::from_utf8(output.expect("getent").stdout).expect("UTF-8");
    let lines = output.lines().filter(|line| line.contains("STREAM"));
    let first = |line: &str| {
        line.split_whitespace()
            .next()
            .expect("an address")
            .to_owned()
    };
    lines.map(first).collect()
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn addresses_are_tried_in_the_order_of_getaddrinfo() {
    in_a_world(|| {
        world::run("ip link add here type veth peer name there");
        world::run("ip link set here up");
        world::run("ip link set there up");
        for address in ["10.1.2.4/24", "fd00:1::4/64", "2001:db8:1::4/64"] {
            world::run(&format!("ip addr add {address} dev here"));
        }
        thread::sleep(Duration::from_millis(200));
        world::run("ip route add 10.9.0.0/16 via 10.1.2.1");
        world::run("ip -6 route add 2001:db8:9::/48 via 2001:db8:1::1");
        // Without local IPv6 addresses first: older C libraries have the table of RFC 3484 for them.
        for addresses in [
            &["10.1.2.200", "10.1.2.5", "10.1.2.6"][..],
            &["10.9.0.2", "10.9.0.1", "10.9.3.1"],
            &["127.0.0.2", "127.0.0.1"],
            &["192.0.2.1", "10.1.2.9"],
            &["10.1.2.9", "2001:db8:1::9", "fd00:1::9"],
            &["2001:db8:9::1", "2001:db8:1::9"],
            &["2001:db8:8::1", "10.1.2.9"],
            &["10.1.2.9", "::1", "127.0.0.1"],
        ] {
            let lines = addresses
                .iter()
                .map(|address| format!("{address} db.test\n"));
            let _hosts = Replaced::with("/etc/hosts", &lines.collect::<String>());
            let (ours, theirs) = (tried(), by_getaddrinfo());
            assert_eq!(ours.len(), addresses.len());
            // The first is the same, and the order within a family; then the families take turns.
            let of_family = |all: &[String], is_v6: bool| -> Vec<String> {
                all.iter()
                    .filter(|a| a.contains(':') == is_v6)
                    .cloned()
                    .collect()
            };
            assert_eq!(ours[0], theirs[0], "{ours:?}, {theirs:?}");
            for is_v6 in [false, true] {
                assert_eq!(
                    of_family(&ours, is_v6),
                    of_family(&theirs, is_v6),
                    "{addresses:?}"
                );
            }
        }
    });
}

#[test]
#[ignore = "needs root, for mounts of its own"]
fn files_that_hang() {
    in_a_world(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        world::run(&format!("mkfifo {}", pipe.display()));
        let port = Port::opened();
        let server = NameServer::start();
        server.say(Answer::Addresses(vec![Ipv4Addr::LOCALHOST]));
        let by_name = format!("db.test:{}", port.number());
        // Reading it waits until there is something to read, for ever.
        for hanging in [pipe.to_str().expect("UTF-8"), "/proc/kmsg"] {
            for file in ["/etc/hosts", "/etc/resolv.conf"] {
                println!("fault: {hanging} is {file}");
                world::run(&format!("mount --bind {hanging} {file}"));
                starts(&waiting_long_for(&by_name).run(), 0.0);
                world::run(&format!("umount {file}"));
            }
            println!("fault: {hanging} is a password's file");
            let target = format!("mysql://app@127.0.0.1:1/#password-file={hanging}");
            gives_up(&waiting_for(target).run(), "missing");
        }
    });
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn addresses_that_lead_nowhere() {
    in_a_world(|| {
        // No better than the others by RFC 6724, so that they are tried in the server's order.
        let right = Ipv4Addr::new(127, 0, 1, 200);
        let listener = TcpListener::bind((right, 0)).expect("a port");
        let number = listener.local_addr().expect("bound").port();
        let server = NameServer::start();
        let resolves_to = |wrong: &[Ipv4Addr]| {
            let addresses = wrong.iter().copied().chain([right]);
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
            (
                "of two, the first drops packets and is worse by RFC 6724",
                &|| {
                    let _rule = drops("127.0.1.1");
                    let near = TcpListener::bind(("127.0.0.1", number)).expect("a port");
                    best_of_three(Duration::from_millis(200), || {
                        let addresses = vec![wrong[0], Ipv4Addr::LOCALHOST];
                        server.say(Answer::Addresses(addresses));
                        let outcome = waiting_long_for(format!("db.test:{number}")).run();
                        starts(&outcome, 0.0);
                        outcome.took
                    });
                    drop(near);
                },
            ),
            ("of twenty, the first seven drop packets", &|| {
                let _rule = drops("127.0.1.0/29");
                starts_within(&resolves_to(&wrong).run(), 1.7, 3.4);
            }),
        ]);
    });
}

/// The answer that a name has this IPv6 address alone.
fn with_ipv6_alone(question: &[u8]) -> Option<Vec<u8>> {
    let name_ends = 13 + question.get(12..)?.iter().position(|byte| *byte == 0)?;
    let is_v6 = question.get(name_ends..name_ends + 2)? == [0, 28];
    let mut packet = dns::reply(question, &Answer::Addresses(Vec::new()))?;
    if is_v6 {
        packet[7] = 1;
        packet.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 0, 0, 16]);
        packet.extend(std::net::Ipv6Addr::LOCALHOST.octets());
    }
    Some(packet)
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn a_name_is_a_target() {
    in_a_world(|| {
        let here = || Answer::Addresses(vec![Ipv4Addr::LOCALHOST]);
        let once = |answer: Answer| {
            let server = NameServer::start();
            server.say(answer);
            server
        };
        one_by_one(&[
            ("it has an address", &|| {
                let _server = once(here());
                starts(&waiting_long_for("dns:db.test").run(), 0.0);
                gives_up_as(
                    &waiting_for("dns:db.test#gone").run(),
                    "still_there",
                    "dns:db.test is not ready",
                );
            }),
            ("it has an IPv6 address alone", &|| {
                let _server = NameServer::answering(with_ipv6_alone);
                starts(&waiting_long_for("dns:db.test").run(), 0.0);
            }),
            ("it does not exist", &|| {
                let _server = once(Answer::NoSuchName);
                gives_up(&waiting_for("dns:db.test").run(), "unresolved");
                starts(&waiting_long_for("dns:db.test#gone").run(), 0.0);
            }),
            ("it has no address", &|| {
                let _server = once(Answer::Addresses(Vec::new()));
                gives_up(&waiting_for("dns:db.test").run(), "unresolved");
                starts(&waiting_long_for("dns:db.test#gone").run(), 0.0);
            }),
            ("the name server fails", &|| {
                let _server = once(Answer::ServerFailure);
                gives_up(&waiting_for("dns:db.test").run(), "unresolved");
                // That says nothing about the name.
                gives_up(&waiting_for("dns:db.test#gone").run(), "unresolved");
            }),
            ("the name server is silent", &|| {
                let _server = once(Answer::Silence);
                gives_up_as(
                    &waiting_for("dns:db.test").run(),
                    "timed_out",
                    "while looking up the name",
                );
                gives_up(&waiting_for("dns:db.test#gone").run(), "timed_out");
            }),
            ("the first questions are lost", &|| {
                // A question is repeated after a second.
                best_of_three(Duration::from_millis(900), || {
                    let asked = std::sync::atomic::AtomicUsize::new(0);
                    let _server = NameServer::answering(move |question| {
                        let is_lost = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2;
                        let answer = if is_lost { Answer::Silence } else { here() };
                        dns::reply(question, &answer)
                    });
                    let outcome = waiting_long_for("dns:db.test").run();
                    starts(&outcome, 0.0);
                    outcome.took
                });
            }),
            ("it is registered late", &|| {
                let server = once(Answer::NoSuchName);
                let waiting = waiting_long_for("dns:db.test").start();
                thread::sleep(Duration::from_millis(600));
                server.say(here());
                starts(&waiting.end(), 0.6);
            }),
        ]);
    });
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn both_addresses_of_localhost_are_tried() {
    in_a_world(|| {
        for hosts in [
            "127.0.0.1 localhost\n::1 localhost\n",
            "::1 localhost\n127.0.0.1 localhost\n",
        ] {
            let _hosts = Replaced::with("/etc/hosts", hosts);
            for address in ["127.0.0.1", "::1"] {
                let listener = TcpListener::bind((address, 0)).expect(address);
                let port = listener.local_addr().expect("bound").port();
                http::serve_on(listener, http::OK);
                let target = format!("http://localhost:{port}/");
                starts(&waiting_long_for(target).run(), 0.0);
            }
        }
    });
}
