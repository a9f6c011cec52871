//! `wait` at work, without Docker: `cargo run --example demo`.
//!
//! A port that opens after a second, a file that appears after a second and a half, and a MySQL
//! server that starts after two. `wait` waits for all of them and becomes a command.

#![allow(unsafe_code)] // the promise below

#[path = "../../tests/fixtures/mysql.rs"]
#[allow(dead_code, unreachable_pub)] // it is shared
mod mysql;
#[path = "../../tests/fixtures/ports.rs"]
#[allow(dead_code, unreachable_pub)] // it is shared
mod ports;

use std::io;
use std::process::{Command, ExitCode};
use std::thread::{self, sleep};
use std::time::Duration;

use compose_wait::process::sys::OneThread;
use mysql::Account;
use ports::Port;

/// Set for the copy of this program that is `wait`.
const ROLE: &str = "COMPOSE_WAIT_DEMO";

const ACCOUNT: Account = Account {
    user: "app",
    password: "demo-password",
    database: "shop",
};

fn main() -> ExitCode {
    if std::env::var_os(ROLE).is_some() {
        // SAFETY: nothing has started a thread yet.
        let thread = unsafe { OneThread::promise() };
        let exit = compose_wait::run(std::env::args_os(), thread);
        return ExitCode::from(exit.code() as u8);
    }
    demo().unwrap_or_else(|error| {
        eprintln!("the demo cannot be shown: {error}");
        ExitCode::FAILURE
    })
}

fn demo() -> io::Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("migrated");
    let (web, mysql) = (Port::new(), Port::new());
    let (web_at, mysql_at) = (web.address, mysql.address);

    let mut wait = Command::new(std::env::current_exe()?);
    wait.env(ROLE, "wait")
        .env("WAIT_HOSTS", web_at.to_string())
        .env("WAIT_PATHS", &file)
        .env("WAIT_MYSQL", format!("app@{mysql_at}/shop"))
        .env("WAIT_MYSQL_PASSWORD", ACCOUNT.password)
        .args(["echo", "the application: everything I need is there"]);
    eprintln!(
        "$ WAIT_HOSTS={web_at} WAIT_PATHS={} \\\n  WAIT_MYSQL=app@{mysql_at}/shop WAIT_MYSQL_PASSWORD=… \\\n  wait echo 'the application: everything I need is there'",
        file.display(),
    );
    let wait = thread::spawn(move || wait.status());

    sleep(Duration::from_secs(1));
    web.open();
    sleep(Duration::from_millis(500));
    std::fs::write(&file, "")?;
    sleep(Duration::from_millis(500));
    mysql::serve_on(mysql.listener(), ACCOUNT);

    let status = wait.join().map_err(|_| io::Error::other("a panic"))??;
    Ok(ExitCode::from(status.code().unwrap_or(1) as u8))
}
