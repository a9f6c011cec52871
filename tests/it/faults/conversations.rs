//! Servers that do not speak MySQL or HTTP as they should.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::*;

/// Drips to everybody.
fn dripping(text: impl Iterator<Item = u8> + Clone + Send + 'static) -> SocketAddr {
    serve(move |mut stream| {
        drip(&mut stream, text.clone(), Duration::from_millis(10));
        listen_to(stream);
    })
}

/// A server of MySQL whose greeting comes byte by byte.
fn greeting_slowly(pause: Duration) -> SocketAddr {
    serve(move |mut stream| {
        drip(&mut stream, greeting(false), pause);
        deny(stream);
    })
}

/// A port that opens and closes, and stays open in the end. It is nobody else's in between.
fn flapping_port() -> SocketAddr {
    let bind = |address: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        Ok::<_, io::Error>(socket)
    };
    let keeper = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let address = keeper.local_addr().expect("bound");
    let address = address.as_socket().expect("of IPv4");
    thread::spawn(move || {
        let _keeper = keeper;
        let mut flaps = 0;
        loop {
            // It fails while a process that is being started has a copy of the last one.
            let open = bind(address).and_then(|socket| socket.listen(64).map(|()| socket));
            if open.is_ok() {
                flaps += 1;
            }
            if flaps == 8 {
                break thread::sleep(Duration::from_secs(60));
            }
            drop(open);
            thread::sleep(Duration::from_millis(50));
        }
    });
    address
}

#[test]
fn servers_that_do_not_do_as_they_should() {
    let hang_up: fn(TcpStream) = |stream| drop(stream);
    let reset = |stream: TcpStream| {
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    };
    let half_close = |stream: TcpStream| {
        let _ = stream.shutdown(Shutdown::Write);
        listen_to(stream);
    };
    let is = |scheme: &str, address: SocketAddr, reason: &str| {
        gives_up(&waiting_for(format!("{scheme}://{address}")).run(), reason);
    };
    let is_well = |scheme: &str, address: SocketAddr, after: f64| {
        let target = format!("{scheme}://{address}");
        starts(&waiting_long_for(target).run(), after);
    };
    side_by_side(&[
        ("MySQL hangs up", &|| is("mysql", serve(hang_up), "closed")),
        ("MySQL resets", &|| is("mysql", serve(reset), "closed")),
        ("MySQL says nothing more", &|| {
            is("mysql", serve(half_close), "closed")
        }),
        ("MySQL is frozen", &|| {
            is("mysql", serve(listen_to), "timed_out")
        }),
        ("MySQL drips what is none", &|| {
            is("mysql", dripping(vec![b'J'; 9999].into_iter()), "protocol")
        }),
        ("MySQL drips", &|| {
            let server = greeting_slowly(Duration::from_millis(300));
            gives_up_as(
                &waiting_for(format!("mysql://{server}")).run(),
                "timed_out",
                "while waiting for the greeting",
            );
        }),
        ("MySQL drips and is well", &|| {
            is_well("mysql", greeting_slowly(Duration::from_millis(10)), 0.7);
        }),
        ("MySQL is HTTP", &|| is("mysql", answer(WELL), "timed_out")),
        ("MySQL is SSH", &|| {
            is(
                "mysql",
                dripping(b"SSH-2.0-x\r\n".iter().copied().cycle()),
                "protocol",
            );
        }),
        ("HTTP hangs up", &|| is("http", serve(hang_up), "closed")),
        ("HTTP resets", &|| is("http", serve(reset), "closed")),
        ("HTTP is frozen", &|| {
            is("http", serve(listen_to), "timed_out")
        }),
        ("HTTP drips headers for ever", &|| {
            let headers = b"HTTP/1.1 200 OK\r\n"
                .iter()
                .chain(b"X: y\r\n".iter().cycle());
            is("http", dripping(headers.copied()), "timed_out");
        }),
        ("HTTP drips and is well", &|| {
            is_well("http", dripping(WELL.iter().copied()), 0.0);
        }),
        ("HTTP is SSH", &|| {
            is("http", answer(b"SSH-2.0-x\r\n\r\n"), "protocol")
        }),
        ("HTTP is ill", &|| {
            is("http", answer(b"HTTP/1.1 500 Oh\r\n\r\n"), "http_status");
        }),
        ("HTTP turns away", &|| {
            is(
                "http",
                answer(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
                "http_status",
            );
        }),
        ("a port that flaps", &|| {
            is_well("tcp", flapping_port(), 0.0)
        }),
    ]);
}
