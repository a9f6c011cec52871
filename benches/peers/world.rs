//! The network of the namespace that only the benchmark is in: packets that are dropped, and hosts
//! that appear.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

/// The network of the host that is absent at first.
const HOST: &str = "10.99.0.2";

/// Runs a program of the system's, which has to succeed.
pub fn run(line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    let status = Command::new(words[0]).args(&words[1..]).status();
    let is_good = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(is_good, "{line}: {status:?}");
}

/// Sets up the namespace.
pub fn prepare() {
    run("ip link set lo up");
    let folder = std::env::temp_dir().join(format!("peers-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let resolv_conf = folder.join("resolv.conf");
    std::fs::write(&resolv_conf, "nameserver 127.0.0.1\n").expect("written");
    run(&format!(
        "mount --bind {} /etc/resolv.conf",
        resolv_conf.display()
    ));
    run(&format!("mount -t tmpfs none {}", "/run"));
}

/// Packets to a port are dropped until this is dropped.
pub struct Firewall(String);

impl Firewall {
    pub fn before(address: SocketAddr) -> Self {
        let (ip, port) = (address.ip(), address.port());
        let rule = format!("INPUT -p tcp -d {ip} --dport {port} -j DROP");
        run(&format!("iptables -I {rule}"));
        Self(rule)
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        run(&format!("iptables -D {}", self.0));
    }
}

/// A host on a link of its own, which is absent until it appears.
pub struct AbsentHost {
    server: Child,
}

impl AbsentHost {
    pub const ADDRESS: &str = HOST;
    pub const PORT: u16 = 7000;

    pub fn new() -> Self {
        run("ip netns add host");
        run("ip link add to-host type veth peer name eth0 netns host");
        run("ip addr add 10.99.0.1/24 dev to-host");
        run("ip link set to-host up");
        run("ip -n host link set eth0 up");
        run("ip -n host link set lo up");
        let program = std::env::current_exe().expect("a program");
        let server = Command::new("ip")
            .args(["netns", "exec", "host"])
            .arg(program)
            .args(["--listen", &Self::PORT.to_string()])
            .spawn();
        Self {
            server: server.expect("it starts"),
        }
    }

    pub fn appear(&self) {
        run(&format!("ip -n host addr add {HOST}/24 dev eth0"));
    }
}

impl Drop for AbsentHost {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        run("ip netns delete host");
        thread::sleep(Duration::from_millis(100)); // the kernel takes the link down when it can
    }
}

/// Listens on a port of all addresses until it is killed.
pub fn listen_for_ever(port: u16) -> ! {
    let _listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a port");
    loop {
        thread::park();
    }
}
