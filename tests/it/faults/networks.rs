//! Networks that refuse, drop and lose what is sent.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::*;
use crate::fixtures::http;
use crate::fixtures::mysql::{self, Account, greet_and_deny};
use crate::fixtures::ports::{Port, answer, serve};
use crate::world::{self, Firewall};

const ACCOUNT: Account = Account {
    user: "app",
    password: "secret",
    database: "shop",
};

/// Three of ten packets from and to a port are lost until this is dropped.
struct Loss([Rule; 2]);

impl Loss {
    fn around(address: SocketAddr) -> Self {
        Self(["--dport", "--sport"].map(|end| {
            Rule::new(format!(
                "INPUT -p tcp -m tcp {end} {} -m statistic --mode random --probability 0.3 -j DROP",
                address.port()
            ))
        }))
    }

    /// The number of packets lost on the way there and on the way back.
    fn lost(&self) -> Vec<u64> {
        let table = Command::new("iptables").args(["-nvxL", "INPUT"]).output();
        let table = String::from_utf8(table.expect("iptables").stdout).expect("UTF-8");
        let number = |line: &str| line.split_whitespace().next()?.parse().ok();
        let lost: Vec<_> = table.lines().skip(2).filter_map(number).collect();
        assert_eq!(lost.len(), self.0.len(), "{table}");
        lost
    }
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn networks_that_do_not_do_as_they_should() {
    in_a_world(|| {
        let port = Port::opened();
        let (address, number) = (port.address, port.address.port());
        let gets_through = |targets: &str, address: SocketAddr| {
            let loss = Loss::around(address);
            let outcome = waiting_for(targets).var("WAIT_TIMEOUT", "60").run();
            outcome.exits(0);
            let lost = loss.lost();
            assert!(lost.iter().all(|lost| *lost > 0), "{lost:?}");
        };
        one_by_one(&[
            ("refused", &|| {
                let closed = Port::new();
                gives_up(&waiting_for(closed.address.to_string()).run(), "refused");
            }),
            ("rejected by a firewall", &|| {
                let _rule = Rule::new(format!("INPUT -p tcp --dport {number} -j REJECT"));
                gives_up(&waiting_for(address.to_string()).run(), "refused");
            }),
            ("dropped", &|| {
                let _firewall = Firewall::before(address);
                gives_up(&waiting_for(address.to_string()).run(), "timed_out");
            }),
            ("dropped at first", &|| {
                let firewall = Firewall::before(address);
                let waiting = waiting_long_for(address.to_string()).start();
                thread::sleep(Duration::from_millis(600));
                drop(firewall);
                starts(&waiting.end(), 0.6);
            }),
            ("answers are dropped", &|| {
                let _rule = Rule::new(format!("INPUT -p tcp --sport {number} -j DROP"));
                gives_up(&waiting_for(address.to_string()).run(), "timed_out");
            }),
            ("no route", &|| {
                gives_up(&waiting_for("192.0.2.1:80").run(), "unreachable");
            }),
            ("no route for IPv6", &|| {
                gives_up(&waiting_for("[2001:db8::1]:80").run(), "unreachable");
            }),
            ("no host has the address", &|| {
                world::run("ip link add here type veth peer name there");
                world::run("ip addr add 10.99.0.1/24 dev here");
                world::run("ip link set here up");
                world::run("ip link set there up");
                let outcome = waiting_for("10.99.0.2:80").var("WAIT_TIMEOUT", "5").run();
                outcome.exits(1).took_from_to(5.0, 9.0);
                outcome.says(&["is not ready after 3.", ": unreachable: "]);
            }),
            ("dies between connection and greeting", &|| {
                let server = serve(greet_and_deny);
                let target = format!("mysql://{server}");
                starts(&waiting_long_for(&target).run(), 0.0);
                // A packet with nothing in it, as of the handshake, has 52 bytes.
                let _rule = Rule::new(format!(
                    "INPUT -p tcp --sport {} --tcp-flags SYN,ACK ACK -m length --length 53:65535 -j DROP",
                    server.port()
                ));
                let outcome = waiting_for(&target).run();
                gives_up_as(&outcome, "timed_out", "while waiting for the greeting");
            }),
            ("three of ten packets are lost, of HTTP", &|| {
                let server = answer(http::OK);
                let targets: Vec<_> = (0..5).map(|i| format!("http://{server}/{i}")).collect();
                gets_through(&targets.join(","), server);
            }),
            ("three of ten packets are lost, of MySQL", &|| {
                let (server, _) = mysql::start(ACCOUNT);
                let target = |mode| format!("mysql://app:secret@{server}/shop?ssl-mode={mode}");
                gets_through(&["PREFERRED", "DISABLED"].map(target).join(","), server);
            }),
        ]);
    });
}
