//! Servers that do not speak MySQL or HTTP as they should.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::*;
use crate::fixtures::http;
use crate::fixtures::mysql::{deny, greeting};
use crate::fixtures::ports::{answer, drip, dripping, flapping, listen_to, serve};

/// A MySQL server whose greeting comes byte by byte.
fn greeting_slowly(pause: Duration) -> SocketAddr {
    serve(move |mut stream| {
        drip(&mut stream, greeting(false), pause);
        deny(stream);
    })
}

#[test]
fn servers_that_do_not_do_as_they_should() {
    let close: fn(TcpStream) = |stream| drop(stream);
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
        ("MySQL closes the connection", &|| {
            is("mysql", serve(close), "closed");
        }),
        ("MySQL resets", &|| is("mysql", serve(reset), "closed")),
        ("MySQL says nothing more", &|| {
            is("mysql", serve(half_close), "closed");
        }),
        ("MySQL is frozen", &|| {
            is("mysql", serve(listen_to), "timed_out");
        }),
        ("MySQL drips what is none", &|| {
            is("mysql", dripping(vec![b'J'; 9999]), "protocol");
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
        ("MySQL is HTTP", &|| {
            is("mysql", answer(http::OK), "timed_out");
        }),
        ("MySQL is SSH", &|| {
            is(
                "mysql",
                dripping(b"SSH-2.0-x\r\n".iter().copied().cycle()),
                "protocol",
            );
        }),
        ("HTTP closes the connection", &|| {
            is("http", serve(close), "closed");
        }),
        ("HTTP resets", &|| is("http", serve(reset), "closed")),
        ("HTTP is frozen", &|| {
            is("http", serve(listen_to), "timed_out");
        }),
        ("HTTP drips headers for ever", &|| {
            let headers = b"HTTP/1.1 200 OK\r\n"
                .iter()
                .chain(b"X: y\r\n".iter().cycle());
            is("http", dripping(headers.copied()), "timed_out");
        }),
        ("HTTP drips and is well", &|| {
            is_well("http", dripping(http::OK.iter().copied()), 0.0);
        }),
        ("HTTP is SSH", &|| {
            is("http", answer(b"SSH-2.0-x\r\n\r\n"), "protocol");
        }),
        ("HTTP is ill", &|| {
            is("http", answer(b"HTTP/1.1 500 Oh\r\n\r\n"), "http_status");
        }),
        ("HTTP has no such page", &|| {
            is(
                "http",
                answer(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
                "http_status",
            );
        }),
        ("a port that flaps", &|| {
            is_well(
                "tcp",
                flapping(drop, [(Duration::ZERO, Duration::from_millis(50)); 8]),
                0.0,
            );
        }),
    ]);
}
