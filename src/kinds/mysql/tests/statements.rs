//! The steps after the login.

use tokio::time::Instant;

use super::*;

const COLUMN: &[u8] = b"\x03def\0\0\0\x01n\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
const END_OF_ROWS: &[u8] = &[EOF, 0, 0, 2, 0];

impl<S: AsyncRead + AsyncWrite + Unpin> Server<S> {
    /// Answers a query with rows of one column, as they are sent.
    async fn send_rows(&mut self, rows: &[Vec<u8>]) {
        let before = [&[1], COLUMN, END_OF_ROWS];
        let rows = rows.iter().map(Vec::as_slice);
        let packets = before.into_iter().chain(rows).chain([END_OF_ROWS]);
        for (sequence, packet) in packets.enumerate() {
            self.send(sequence as u8 + 1, packet).await;
        }
    }

    /// Takes a statement that begins so.
    async fn expect_statement(&mut self, start: &str) -> String {
        let statement = self.receive().await.expect("a statement");
        let statement = String::from_utf8(statement).expect("UTF-8");
        assert!(statement.starts_with(&format!("\x03{start}")), "{statement}");
        statement
    }
}

/// A row whose first column holds this text.
fn row(text: &[u8]) -> Vec<u8> {
    let [low, high, ..] = text.len().to_le_bytes();
    match text.len() {
        0..=250 => [&[low], text].concat(),
        _ => [&[0xfc, low, high], text].concat(),
    }
}

#[tokio::test]
async fn after_the_login_every_error_counts_but_of_a_server_that_lacks_the_statement() {
    for (number, reason) in [
        (1047, Some(&reason::STARTING)),
        (9001, Some(&reason::NOT_SERVING)),
        (1105, Some(&reason::NOT_SERVING)),
        (3032, Some(&reason::NOT_SERVING)),
        (1030, Some(&reason::SERVER_ERROR)),
        (1317, Some(&reason::SERVER_ERROR)),
        (1820, Some(&ACCESS_DENIED)),
        (1064, None),
        (1235, None),
        (1295, None),
    ] {
        let result = against(TARGET, None, 99, async |mut server| {
            server.let_in_and_answer().await;
            server.expect_statement("DO 0").await;
            server.send(1, &error(number, "#HY000Not now")).await;
            server.expect_goodbye().await;
        });
        match reason {
            None => assert_eq!(result.await, Ok(()), "{number}"),
            Some(reason) => refused(result.await, reason, &format!("error {number}: Not now")),
        }
        // Every server knows a ping.
        let result = against(TARGET, None, 99, async |mut server| {
            server.let_in().await;
            server.receive().await.expect("a ping");
            server.send(1, &error(number, "#HY000Not now")).await;
            server.expect_goodbye().await;
        });
        let reason = reason.unwrap_or(&reason::SERVER_ERROR);
        refused(result.await, reason, &format!("error {number}: Not now"));
    }
}

#[tokio::test]
async fn a_query_is_ready_with_a_row_whose_first_column_is_true() {
    let null = || vec![0xfb];
    let long = |length| row(&vec![b'x'; length]);
    let rows = |texts: &[&[u8]]| texts.iter().map(|text| row(text)).collect::<Vec<_>>();
    for (rows, is_ready) in [
        (vec![], false),
        (vec![null()], false),
        (rows(&[b"0"]), false),
        (rows(&[b"0.0"]), false),
        (rows(&[b"0.00"]), false),
        (rows(&[b"-0"]), false),
        (rows(&[b"0e0"]), false),
        (rows(&[b""]), false),
        (rows(&[b"false"]), false),
        (rows(&[b"FALSE"]), false),
        (rows(&[b"\0"]), false), // BIT(1)
        (rows(&[b"\0\0"]), false),
        (vec![null(), row(b"0"), row(b"")], false),
        // Only the first column counts.
        (vec![[row(b"0"), row(b"1")].concat()], false),
        (rows(&[b"1"]), true),
        (rows(&[b"-1"]), true),
        (rows(&[b"0.1"]), true),
        (rows(&[b"x"]), true),
        (rows(&[b"true"]), true),
        (rows(&[b"0 of 3"]), true),
        (rows(&[b"\x01"]), true),
        (rows(&[b"\x01\0"]), true),
        (rows(&[b"2026-11-26 00:00:00"]), true),
        (vec![[row(b"1"), null()].concat()], true),
        (vec![row(b"0"), row(b"1"), row(b"0")], true),
        (vec![row(b"0"), null(), row(b"x")], true),
        (vec![long(251)], true),
        (vec![long(65_535)], true),
    ] {
        let shown = format!("{:?}", rows.first().map(|row| &row[..row.len().min(20)]));
        let result = against(TARGET, Some("SELECT f()"), 1 << 15, async |mut server| {
            server.let_in_and_answer().await;
            server.expect_statement("SELECT f()").await;
            server.send_rows(&rows).await;
            server.expect_goodbye().await;
        });
        let result = result.await;
        assert_eq!(result.is_ok(), is_ready, "{shown}: {result:?}");
        if !is_ready {
            refused(result, &QUERY_EMPTY, "");
        }
    }
}

/// A greeting of MariaDB.
fn mariadb() -> Vec<u8> {
    let greeting = greeting(NATIVE, CapabilityFlags::empty());
    [&b"\x0a5.5.5-10.11.6-MariaDB\0"[..], &greeting[7..]].concat()
}

#[tokio::test]
async fn the_server_is_told_to_end_the_query_itself() {
    let of_mysql = greeting(NATIVE, CapabilityFlags::empty());
    let in_10_s = || Some(Instant::now() + Duration::from_millis(9_900));
    let of_both = "lock_wait_timeout=11, innodb_lock_wait_timeout=11";
    for (greeting, deadline, limits) in [
        (
            &of_mysql,
            in_10_s(),
            format!("SET SESSION max_execution_time=11000, {of_both}"),
        ),
        (
            &mariadb(),
            in_10_s(),
            format!("SET SESSION max_statement_time=11, {of_both}"),
        ),
        (&of_mysql, None, String::new()),
    ] {
        // Also where the server lacks a setting the query is run.
        for answer in [ok(), error(1193, "#HY000Unknown system variable")] {
            let stop = Stop::default().with_deadline(deadline);
            let target = target(TARGET, Some("SELECT f()"));
            let result = over_several(Route::Private, &target, stop, async |[mut server]| {
                server.send(0, greeting).await;
                server.receive().await.expect("a login");
                server.send(2, &ok()).await;
                server.answer_ping().await;
                if !limits.is_empty() {
                    let set = server.expect_statement("SET SESSION ").await;
                    assert_eq!(set, format!("\x03{limits}"));
                    server.send(1, &answer).await;
                }
                server.expect_statement("SELECT f()").await;
                server.send_rows(&[row(b"1")]).await;
                server.expect_goodbye().await;
            });
            assert_eq!(result.await.0, Ok(()));
        }
    }
}

/// Whether the query returns a row when it is cancelled, as `SLEEP` does, or an error.
#[tokio::test]
async fn a_query_is_cancelled_when_the_wait_ends() {
    type End = fn(&Stop);
    let ends: [End; 2] = [|stop| stop.stop(), |stop| stop.stop_by_signal()];
    for end in ends {
        for returns_a_row in [true, false] {
            let stop = Stop::default();
            let target = target(TARGET, Some("SELECT SLEEP(100)"));
            let server = async |[mut server, mut other]: [Server; 2]| {
                server.let_in_and_answer().await;
                server.expect_statement("SELECT SLEEP(100)").await;
                end(&stop);
                other.let_in().await;
                other.expect_statement("KILL QUERY 7").await;
                other.send(1, &ok()).await;
                other.expect_goodbye().await;
                match returns_a_row {
                    true => server.send_rows(&[row(b"1")]).await,
                    false => server.send(1, &error(1317, "#70100Interrupted")).await,
                }
                server.expect_goodbye().await;
            };
            let (result, _) = over_several(Route::Private, &target, stop.clone(), server).await;
            refused(result, &reason::TIMED_OUT, "the query was cancelled");
        }
    }
}

#[tokio::test]
async fn where_the_query_cannot_be_cancelled_there_is_a_goodbye_all_the_same() {
    let stop = Stop::default();
    let target = target(TARGET, Some("SELECT SLEEP(100)"));
    let server = async |[mut server, mut other]: [Server; 2]| {
        server.let_in_and_answer().await;
        server.expect_statement("SELECT SLEEP(100)").await;
        stop.stop();
        other.send(0, &error(1040, "Too many connections")).await;
        server.expect_goodbye().await;
    };
    let (result, _) = over_several(Route::Private, &target, stop.clone(), server).await;
    refused(result, &TOO_MANY_CONNECTIONS, "1040");
}

/// Two attempts that share what may go on at the same time, as those beside each other do.
#[tokio::test]
async fn a_second_attempt_runs_no_query_beside_the_first() {
    let stop = Stop::default();
    let target = target(TARGET, Some("SELECT f()"));
    let overlap = crate::probe::Overlap::default();
    let attempt = async |server: &mut Server, ours: DuplexStream| {
        let stream = Stream::new(ours, Route::Private);
        let cx = Attempt::over(Arc::default(), [stream], stop.clone());
        let cx = cx.sharing(&overlap);
        let login = async {
            server.let_in_and_answer().await;
            server.receive().await.expect("a query or a goodbye")
        };
        let attempt = target.probe.attempt(&cx);
        let (result, heard) = tokio::join!(
            async {
                let result = attempt.await;
                result.expect_err("the wait has ended").detail
            },
            login
        );
        (result, heard)
    };
    let (ours, stream) = duplex(1 << 16);
    let mut first = Server { stream, chunk: 99 };
    let (other, stream) = duplex(1 << 16);
    let mut second = Server { stream, chunk: 99 };
    let both = async {
        tokio::join!(
            attempt(&mut first, ours),
            attempt(&mut second, other),
            async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                stop.stop();
            }
        )
    };
    let ((_, heard), (why, heard_by_second), ()) = both.await;
    assert_eq!(heard, b"\x03SELECT f()");
    assert_eq!(heard_by_second, [1], "no goodbye");
    assert_eq!(why, "the query was not run");
}
