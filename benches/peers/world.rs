//! What happens to the targets: ports that open, packets that are dropped, hosts and names that
//! appear. All of it in a namespace that only the benchmark is in.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// The network of the host that is absent at first.
const HOST: &str = "10.99.0.2";

/// Runs a program of the system's, which has to succeed.
pub fn run(line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    let status = Command::new(words[0]).args(&words[1..]).status();
    let is_good = status.as_ref().is_ok_and(|status| status.success());
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

/// A port on which nobody listens until it is opened.
pub struct Port {
    pub socket: Socket,
    pub address: SocketAddr,
}

impl Port {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a port");
        let address = socket.local_addr().expect("bound");
        Self {
            address: address.as_socket().expect("of IPv4"),
            socket,
        }
    }

    /// Begins to listen, and goes on until this is dropped.
    pub fn open(&self) {
        self.socket.listen(64).expect("listening");
    }

    /// One that is open.
    pub fn opened() -> Self {
        let port = Self::new();
        port.open();
        port
    }
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

/// Binds to a port that was somebody's a moment ago: a process that is being started has copies of
/// all sockets until it has become its program.
pub fn insist<T>(bind: impl Fn() -> io::Result<T>) -> T {
    for _ in 0..500 {
        match bind() {
            Ok(socket) => return socket,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
        }
        thread::sleep(Duration::from_millis(10));
    }
    bind().expect("a port")
}

/// What a name server says.
#[derive(Clone, Debug, Default)]
pub enum Answer {
    #[default]
    NoSuchName,
    ServerFailure,
    Silence,
    Addresses(Vec<Ipv4Addr>),
}

/// The name server of the namespace, until it is dropped.
pub struct NameServer {
    /// What it says to every question about IPv4.
    answer: Arc<Mutex<Answer>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    pub fn start() -> Self {
        let answer = Arc::new(Mutex::new(Answer::NoSuchName));
        let given = Arc::clone(&answer);
        let mut server = Self::answering(move |question| {
            let answer = given.lock().expect("not poisoned").clone();
            reply(question, &answer)
        });
        server.answer = answer;
        server
    }

    /// One that says whatever this makes of a question.
    pub fn answering(reply: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let socket = insist(|| UdpSocket::bind("127.0.0.1:53"));
        let pause = Some(Duration::from_millis(20));
        socket.set_read_timeout(pause).expect("a timeout");
        let is_over = Arc::new(AtomicBool::new(false));
        let must_end = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut question = [0; 512];
            while !must_end.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut question)
                    && let Some(packet) = reply(&question[..length])
                {
                    let _ = socket.send_to(&packet, from); // who asked may be gone
                }
            }
        });
        Self {
            answer: Arc::default(),
            is_over,
            thread: Some(thread),
        }
    }

    pub fn say(&self, answer: Answer) {
        *self.answer.lock().expect("not poisoned") = answer;
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a name server that is to say this says to a question.
pub fn reply(question: &[u8], answer: &Answer) -> Option<Vec<u8>> {
    let name_ends = 13 + question.get(12..)?.iter().position(|byte| *byte == 0)?;
    let is_v4 = question.get(name_ends..name_ends + 2)? == [0, 1];
    let (code, addresses) = match answer {
        Answer::Silence => return None,
        Answer::NoSuchName => (3, &[][..]),
        Answer::ServerFailure => (2, &[][..]),
        Answer::Addresses(addresses) if is_v4 => (0, &addresses[..]),
        Answer::Addresses(_) => (0, &[][..]),
    };
    let mut packet = question.get(..2)?.to_vec();
    packet.extend([
        0x81,
        0x80 | code,
        0,
        1,
        0,
        addresses.len() as u8,
        0,
        0,
        0,
        0,
    ]);
    packet.extend(question.get(12..name_ends + 4)?);
    for address in addresses {
        packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        packet.extend(address.octets());
    }
    Some(packet)
}
