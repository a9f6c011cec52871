//! Servers that do not speak MySQL or HTTP as they should.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::*;
use crate::fixtures::http;
use crate::fixtures::mysql::{deny, greeting, packet};
use crate::fixtures::ports::{Port, answer, drip, dripping, flapping, listen_to, serve};

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

/// Sends a text again and again, until the client closes the connection.
fn flood(mut stream: TcpStream, text: &[u8]) {
    let text = text.repeat(64 * 1024 / text.len() + 1);
    while stream.write_all(&text).is_ok() {}
}

/// A web service whose response begins with a text, and goes on without end.
fn endless(start: &'static [u8], rest: &'static [u8]) -> String {
    let server = serve(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(start);
        flood(stream, rest);
    });
    format!("http://{server}")
}

/// A MySQL server whose answer to the first statement begins with these packets, and goes on without
/// end.
fn endless_rows(start: &'static [u8], rest: &'static [u8]) -> String {
    let ok = packet(1, &[0, 0, 0, 2, 0, 0, 0]);
    let server = serve(move |mut stream| {
        let _ = stream.write_all(&greeting(false));
        let mut packets = [0; 4096];
        for answer in [&packet(2, &ok[4..]), &ok] {
            let _ = stream.read(&mut packets);
            let _ = stream.write_all(answer);
        }
        let _ = stream.read(&mut packets);
        let _ = stream.write_all(start);
        flood(stream, rest);
    });
    format!("mysql://app@{server}/#query=SELECT 1")
}

/// One column, its definition, and the end of the columns.
const COLUMNS: &[u8] = b"\x01\0\0\x01\x01\x01\0\0\x02x\x05\0\0\x03\xfe\0\0\x02\0";

#[test]
fn servers_that_send_without_end() {
    let nothing = &b""[..];
    for (name, target, reason) in [
        (
            "100 Continue",
            endless(nothing, b"HTTP/1.1 100 Continue\r\n\r\n"),
            "protocol",
        ),
        (
            "a status line",
            endless(b"HTTP/1.1 200 ", b"OK"),
            "protocol",
        ),
        (
            "headers",
            endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
            "protocol",
        ),
        (
            "one header",
            endless(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
            "protocol",
        ),
        (
            "a body",
            endless(b"HTTP/1.1 500 Oh\r\n\r\n", b"yes\n"),
            "http_status",
        ),
        (
            "columns",
            endless_rows(b"\x01\0\0\x01\x01", b"\x01\0\0\x02x"),
            "timed_out",
        ),
        (
            "rows",
            endless_rows(COLUMNS, b"\x02\0\0\x04\x011"),
            "timed_out",
        ),
        ("one row", endless_rows(COLUMNS, &[0xff; 4096]), "timed_out"),
        (
            "results",
            endless_rows(nothing, b"\x07\0\0\x01\0\0\0\x0a\0\0\0"),
            "timed_out",
        ),
    ] {
        println!("without end: {name}");
        let late = Port::new();
        let targets = format!("{target},{}", late.address);
        let mut waiting = waiting_for(&targets).var("WAIT_TIMEOUT", "2").start();
        thread::sleep(Duration::from_millis(500));
        late.open();
        // Other targets are found meanwhile.
        waiting.until(&[&late.address.to_string(), " is ready after "]);
        assert!(waiting.elapsed() < Duration::from_millis(1_800), "{name}");
        let outcome = waiting.end();
        outcome.exits(1).took_from_to(2.0, 3.5);
        outcome.says(&["error: ", &format!(": {reason}: ")]);
    }
}

#[test]
fn interim_responses_are_passed_over() {
    let continued = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let server = serve(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        for text in [&continued[..], continued, continued, http::OK] {
            let _ = stream.write_all(text);
        }
        listen_to(stream);
    });
    starts(&waiting_long_for(format!("http://{server}")).run(), 0.0);
}
