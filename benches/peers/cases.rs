//! The measurements, and the limits of ours.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::dns::{Answer, NameServer};
use crate::peer::{Peer, Target};
use crate::ports::Port;
use crate::world::{AbsentHost, Firewall};

/// The name that the name server is asked for.
const NAME: &str = "db.test";
/// A file of the namespace's own.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The longest that a peer may take, in seconds.
const PATIENCE: u32 = 60;

/// One row of the table.
pub struct Case {
    pub name: &'static str,
    unit: &'static str,
    rounds: Rounds,
    /// Measures these peers once; `None` for who cannot do it.
    measure: fn(&[&Peer]) -> Vec<Option<f64>>,
    must: &'static [Must],
}

/// The order of the measurements.
enum Rounds {
    /// A peer after the other, so many times the number of runs.
    ByTurns(f64),
    /// All at once, since it takes long.
    SideBySide,
    /// Once is enough.
    Once,
}

/// A limit of ours.
enum Must {
    MedianAtMost(f64),
    P95AtMost(f64),
    /// Of the peer's median, where the peer is there.
    FractionOf(&'static str, f64),
    TimesTheSmallest(f64),
}

use Must::{FractionOf, MedianAtMost, P95AtMost, TimesTheSmallest};
use Rounds::{ByTurns, Once, SideBySide};

pub const CASES: &[Case] = &[
    Case {
        name: "lag-1s",
        unit: "ms",
        rounds: ByTurns(1.0),
        measure: |peers| each(peers, |peer| lag(peer, 1_000)),
        must: &[
            MedianAtMost(5.0),
            P95AtMost(15.0),
            FractionOf("wait-for-it", 0.02),
        ],
    },
    side_by_side("lag-10s", lag_side_by_side, &[P95AtMost(100.0)]),
    side_by_side(
        "dropped-2.2s",
        |peers| dropped(peers, 2_200),
        &[MedianAtMost(100.0)],
    ),
    side_by_side(
        "dropped-4.3s",
        |peers| dropped(peers, 4_300),
        &[MedianAtMost(100.0)],
    ),
    side_by_side(
        "dropped-6.5s",
        |peers| dropped(peers, 6_500),
        &[MedianAtMost(100.0)],
    ),
    side_by_side(
        "absent-host-5s",
        |peers| absent(peers, 5_000),
        &[MedianAtMost(1_100.0)],
    ),
    side_by_side(
        "no-such-name-2s",
        |peers| named(peers, Answer::NoSuchName, 2_000),
        &[P95AtMost(110.0)],
    ),
    side_by_side(
        "no-such-name-4s",
        |peers| named(peers, Answer::NoSuchName, 4_000),
        &[P95AtMost(110.0)],
    ),
    side_by_side(
        "no-such-name-7s",
        |peers| named(peers, Answer::NoSuchName, 7_000),
        &[P95AtMost(110.0)],
    ),
    side_by_side(
        "server-failure-2s",
        |peers| named(peers, Answer::ServerFailure, 2_000),
        &[P95AtMost(110.0)],
    ),
    side_by_side(
        "server-failure-4s",
        |peers| named(peers, Answer::ServerFailure, 4_000),
        &[P95AtMost(110.0)],
    ),
    side_by_side(
        "server-failure-7s",
        |peers| named(peers, Answer::ServerFailure, 7_000),
        &[P95AtMost(110.0)],
    ),
    side_by_side(
        "silent-name-server-2s",
        |peers| named(peers, Answer::Silence, 2_000),
        &[P95AtMost(260.0)],
    ),
    side_by_side(
        "silent-name-server-4s",
        |peers| named(peers, Answer::Silence, 4_000),
        &[P95AtMost(260.0)],
    ),
    side_by_side(
        "silent-name-server-7s",
        |peers| named(peers, Answer::Silence, 7_000),
        &[P95AtMost(260.0)],
    ),
    Case {
        name: "dead-address-of-three",
        unit: "ms more",
        rounds: ByTurns(1.0),
        measure: |peers| each(peers, dead_address),
        must: &[MedianAtMost(30.0)],
    },
    Case {
        name: "dead-address-first-of-three",
        unit: "ms more",
        rounds: ByTurns(1.0),
        measure: |peers| each(peers, dead_address_first),
        must: &[MedianAtMost(260.0)],
    },
    Case {
        name: "questions-1s",
        unit: "packets to the name server",
        rounds: Once,
        measure: |peers| each(peers, |peer| Some(questions(peer, 1))),
        must: &[MedianAtMost(200.0)],
    },
    Case {
        name: "questions-10s",
        unit: "packets to the name server",
        rounds: Once,
        measure: |peers| each(peers, |peer| Some(questions(peer, 10))),
        must: &[MedianAtMost(1_100.0)],
    },
    Case {
        name: "twenty-targets",
        unit: "ms",
        rounds: ByTurns(1.0),
        measure: |peers| each(peers, twenty),
        must: &[MedianAtMost(50.0)],
    },
    Case {
        name: "ready",
        unit: "ms",
        rounds: ByTurns(7.0),
        measure: |peers| each(peers, ready),
        must: &[TimesTheSmallest(1.5)],
    },
    Case {
        name: "cpu-30s",
        unit: "% of a core",
        rounds: Once,
        measure: |peers| each(peers, |peer| Some(processor_time(peer, 1))),
        must: &[MedianAtMost(0.5)],
    },
    Case {
        name: "cpu-30s-twenty-targets",
        unit: "% of a core",
        rounds: Once,
        measure: |peers| {
            each(peers, |peer| {
                peer.takes_many().then(|| processor_time(peer, 20))
            })
        },
        must: &[MedianAtMost(5.0)],
    },
    Case {
        name: "peak-memory",
        unit: "MB",
        rounds: Once,
        measure: |peers| each(peers, |peer| Some(while_no_host_answers(peer).0)),
        must: &[MedianAtMost(8.0)],
    },
    Case {
        name: "descriptors",
        unit: "",
        rounds: Once,
        measure: |peers| each(peers, |peer| Some(while_no_host_answers(peer).1)),
        must: &[MedianAtMost(63.0)],
    },
    Case {
        name: "file-size",
        unit: "MB",
        rounds: Once,
        measure: |peers| {
            each(peers, |peer| {
                Some(peer.program.metadata().ok()?.len() as f64 / 1e6)
            })
        },
        must: &[MedianAtMost(6.0)],
    },
];

/// The lag of all of them at once.
const fn side_by_side(
    name: &'static str,
    measure: fn(&[&Peer]) -> Vec<Option<f64>>,
    must: &'static [Must],
) -> Case {
    Case {
        name,
        unit: "ms",
        rounds: SideBySide,
        measure,
        must,
    }
}

impl Case {
    /// Prints the row. Whether all that must hold does.
    pub fn measure(&self, peers: &[Peer], runs: usize) -> bool {
        let all: Vec<&Peer> = peers.iter().collect();
        let mut samples = vec![Vec::new(); peers.len()];
        let mut add = |found: Vec<Option<f64>>| {
            for (samples, value) in samples.iter_mut().zip(found) {
                samples.extend(value);
            }
        };
        let rounds = match self.rounds {
            ByTurns(factor) => (runs as f64 * factor) as usize,
            SideBySide => runs,
            Once => 1,
        };
        (0..rounds).for_each(|_| add((self.measure)(&all)));
        for samples in &mut samples {
            samples.sort_by(f64::total_cmp);
        }
        let ours = peers.iter().position(Peer::is_ours).expect("ours");
        let our_median = quantile(&samples[ours], 0.5);
        let cells = peers.iter().zip(&samples).map(|(peer, samples)| {
            if samples.is_empty() {
                return String::new();
            }
            let (median, p95) = (quantile(samples, 0.5), quantile(samples, 0.95));
            match peer.is_ours() {
                true if samples.len() > 1 => format!("{median:.1} (95 %: {p95:.1})"),
                true => format!("{median:.1}"),
                false => format!("{median:.1} (× {:.1})", median / our_median),
            }
        });
        let cells: Vec<_> = cells.collect();
        println!("| {}, {} | {} |", self.name, self.unit, cells.join(" | "));
        let broken = self.must.iter().filter(|must| {
            let others = peers
                .iter()
                .zip(&samples)
                .filter(|(peer, _)| !peer.is_ours());
            !match must {
                MedianAtMost(most) => our_median <= *most,
                P95AtMost(most) => quantile(&samples[ours], 0.95) <= *most,
                FractionOf(name, fraction) => others
                    .filter(|(peer, _)| peer.name == *name)
                    .all(|(_, theirs)| our_median <= fraction * quantile(theirs, 0.5)),
                TimesTheSmallest(factor) => others
                    .filter(|(_, theirs)| !theirs.is_empty())
                    .all(|(_, theirs)| our_median <= factor * quantile(theirs, 0.5)),
            }
        });
        let broken = broken.count();
        if broken > 0 {
            eprintln!("{}: {broken} of what must hold does not", self.name);
        }
        let failed = rounds - samples[ours].len();
        if failed > 0 {
            eprintln!("{}: {failed} of {rounds} runs of ours failed", self.name);
        }
        broken == 0 && failed == 0
    }
}

/// Of samples in order.
fn quantile(samples: &[f64], share: f64) -> f64 {
    let at = (samples.len() as f64 * share) as usize;
    samples
        .get(at)
        .or(samples.last())
        .copied()
        .unwrap_or(f64::NAN)
}

fn each(peers: &[&Peer], measure: impl Fn(&Peer) -> Option<f64>) -> Vec<Option<f64>> {
    peers.iter().map(|peer| measure(peer)).collect()
}

fn sleep(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// The time from `since` until each of them ended well, in milliseconds.
fn ends(children: Vec<(Child, Instant)>) -> Vec<Option<f64>> {
    let waits: Vec<_> = children
        .into_iter()
        .map(|(mut child, since)| {
            thread::spawn(move || {
                let status = child.wait().expect("a status");
                let lag = Instant::now().saturating_duration_since(since);
                status.success().then_some(lag.as_secs_f64() * 1e3)
            })
        })
        .collect();
    waits
        .into_iter()
        .map(|wait| wait.join().expect("no panic"))
        .collect()
}

/// Opens a port a while after the start, half a second more or less, so that no peer's whole seconds
/// are met.
fn lag(peer: &Peer, after: u64) -> Option<f64> {
    let port = Port::new();
    let child = peer.start(&[port.address.into()], PATIENCE);
    sleep(after - 500 + fastrand::u64(..1_000));
    port.open();
    ends(vec![(child, Instant::now())])[0]
}

fn lag_side_by_side(peers: &[&Peer]) -> Vec<Option<f64>> {
    let begun: Vec<_> = peers
        .iter()
        .map(|peer| {
            let port = Port::new();
            (peer.start(&[port.address.into()], PATIENCE), port)
        })
        .collect();
    sleep(9_500 + fastrand::u64(..1_000));
    let mut ports = Vec::new();
    let children = begun.into_iter().map(|(child, port)| {
        sleep(20); // so that they are not all busy at the same moment
        port.open();
        ports.push(port);
        (child, Instant::now())
    });
    // In threads at once: each is waited for from the moment its port opens.
    let waits: Vec<_> = children
        .map(|child| thread::spawn(move || ends(vec![child])[0]))
        .collect();
    waits
        .into_iter()
        .map(|wait| wait.join().expect("no panic"))
        .collect()
}

/// Starts all of them, lets something happen after a while, and measures from there.
fn until(peers: &[&Peer], target: &Target, after: u64, happens: impl FnOnce()) -> Vec<Option<f64>> {
    let children: Vec<_> = peers
        .iter()
        .map(|peer| peer.start(std::slice::from_ref(target), PATIENCE))
        .collect();
    sleep(after);
    happens();
    let since = Instant::now();
    ends(children.into_iter().map(|child| (child, since)).collect())
}

fn dropped(peers: &[&Peer], after: u64) -> Vec<Option<f64>> {
    let port = Port::opened();
    let firewall = Firewall::before(port.address);
    until(peers, &port.address.into(), after, || drop(firewall))
}

fn absent(peers: &[&Peer], after: u64) -> Vec<Option<f64>> {
    let host = AbsentHost::new();
    let target = Target {
        host: AbsentHost::ADDRESS.to_owned(),
        port: AbsentHost::PORT,
    };
    until(peers, &target, after, || host.appear())
}

fn named(peers: &[&Peer], at_first: Answer, after: u64) -> Vec<Option<f64>> {
    let (port, server) = (Port::opened(), name_server());
    server.say(at_first);
    let target = Target {
        host: NAME.to_owned(),
        port: port.address.port(),
    };
    until(peers, &target, after, || {
        server.say(Answer::Addresses(vec![Ipv4Addr::LOCALHOST]));
    })
}

fn name_server() -> &'static NameServer {
    static SERVER: std::sync::OnceLock<NameServer> = std::sync::OnceLock::new();
    SERVER.get_or_init(NameServer::start)
}

/// The time that it takes longer when the first of three addresses is dead; the others are better by
/// RFC 6724.
fn dead_address(peer: &Peer) -> Option<f64> {
    dead_beside(peer, Ipv4Addr::LOCALHOST)
}

/// The same where none is better than another, so that they are tried in the name server's order.
fn dead_address_first(peer: &Peer) -> Option<f64> {
    dead_beside(peer, Ipv4Addr::new(127, 0, 0, 3))
}

fn dead_beside(peer: &Peer, alive: Ipv4Addr) -> Option<f64> {
    let listener = TcpListener::bind((alive, 0)).expect("a port");
    let (port, server) = (listener.local_addr().expect("bound").port(), name_server());
    let dead = Ipv4Addr::new(127, 0, 0, 2);
    let _firewall = Firewall::before((dead, port).into());
    let target = Target {
        host: NAME.to_owned(),
        port,
    };
    let time = |addresses: [Ipv4Addr; 3]| {
        server.say(Answer::Addresses(addresses.into()));
        let start = Instant::now();
        ends(vec![(
            peer.start(std::slice::from_ref(&target), PATIENCE),
            start,
        )])[0]
    };
    Some(time([dead, alive, alive])? - time([alive, alive, alive])?)
}

/// The questions for a name that does not exist, with the search domains of a pod in Kubernetes.
fn questions(peer: &Peer, seconds: u32) -> f64 {
    let server = name_server();
    server.say(Answer::NoSuchName);
    let conf = "nameserver 127.0.0.1\noptions ndots:5\nsearch a.test b.test c.test d.test\n";
    let before = std::fs::read_to_string(RESOLV_CONF).expect("it is there");
    std::fs::write(RESOLV_CONF, conf).expect("written");
    let target = Target {
        host: "db".to_owned(),
        port: 1,
    };
    let asked = server.questions();
    let mut child = peer.start(&[target], PATIENCE);
    sleep(u64::from(seconds) * 1_000);
    let asked = server.questions() - asked;
    child.kill().expect("killed");
    child.wait().expect("a status");
    std::fs::write(RESOLV_CONF, before).expect("written");
    asked as f64
}

fn twenty(peer: &Peer) -> Option<f64> {
    if !peer.takes_many() {
        return None;
    }
    let ports: Vec<_> = (0..20).map(|_| Port::new()).collect();
    let targets: Vec<_> = ports.iter().map(|port| port.address.into()).collect();
    let child = peer.start(&targets, PATIENCE);
    for port in &ports {
        sleep(100);
        port.open();
    }
    ends(vec![(child, Instant::now())])[0]
}

fn ready(peer: &Peer) -> Option<f64> {
    let port = Port::opened();
    let start = Instant::now();
    ends(vec![(peer.start(&[port.address.into()], PATIENCE), start)])[0]
}

/// Of a wait of 30 s for ports that never open, in percent of one core.
fn processor_time(peer: &Peer, targets: usize) -> f64 {
    let ports: Vec<_> = (0..targets).map(|_| Port::new()).collect();
    let targets: Vec<_> = ports.iter().map(|port| port.address.into()).collect();
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("its own");
        (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6
    };
    let before = used();
    let start = Instant::now();
    ends(vec![(peer.start(&targets, 30), start)]);
    100.0 * (used() - before) / start.elapsed().as_secs_f64()
}

/// The most memory (in MB) and descriptors that it has in 6 s of packets that are dropped.
fn while_no_host_answers(peer: &Peer) -> (f64, f64) {
    let port = Port::opened();
    let _firewall = Firewall::before(port.address);
    let mut child = peer.start(&[port.address.into()], PATIENCE);
    let (mut memory, mut descriptors) = (0.0_f64, 0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        sleep(20);
        let process = format!("/proc/{}", child.id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        memory = memory.max(peak.unwrap_or_default() / 1e3);
        let open = std::fs::read_dir(format!("{process}/fd")).map_or(0, Iterator::count);
        descriptors = descriptors.max(open);
    }
    child.kill().expect("killed");
    child.wait().expect("a status");
    (memory, descriptors as f64)
}
