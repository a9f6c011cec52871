//! What `wait` does, for people without Docker: `cargo run --example demo`.
//!
//! A port that opens after a second, a file that appears after a second and a half, and a MySQL
//! server that starts after two. `wait` waits for all of them and becomes a command.

mod mysql_server;

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;

use mysql_server::Account;

/// Set for the copy of this program that is `wait`.
const ROLE: &str = "COMPOSE_WAIT_DEMO";

const ACCOUNT: Account = Account {
    user: "app",
    password: "demo-password",
    database: "shop",
};

fn main() -> ExitCode {
    if std::env::var_os(ROLE).is_some() {
        let exit = compose_wait::run(std::env::args_os());
        return ExitCode::from(exit.code() as u8);
    }
    demo().unwrap_or_else(|error| {
        eprintln!("the demo cannot be shown: {error}");
        ExitCode::FAILURE
    })
}

#[tokio::main(flavor = "current_thread")]
async fn demo() -> std::io::Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("migrated");
    let (port, web) = reserved_port()?;
    let (mysql_port, mysql) = reserved_port()?;

    let mut wait = Command::new(std::env::current_exe()?);
    wait.env(ROLE, "wait")
        .env("WAIT_HOSTS", format!("127.0.0.1:{port}"))
        .env("WAIT_PATHS", &file)
        .env("WAIT_MYSQL", format!("app@127.0.0.1:{mysql_port}/shop"))
        .env("WAIT_MYSQL_PASSWORD", ACCOUNT.password)
        .args(["echo", "the application: everything I need is there"]);
    eprintln!(
        "$ WAIT_HOSTS=127.0.0.1:{port} WAIT_PATHS={} \\\n  WAIT_MYSQL=app@127.0.0.1:{mysql_port}/shop WAIT_MYSQL_PASSWORD=… \\\n  wait echo 'the application: everything I need is there'",
        file.display(),
    );
    let wait = tokio::task::spawn_blocking(move || wait.status());

    sleep(Duration::from_secs(1)).await;
    let _web: TcpListener = web.listen(8)?;
    sleep(Duration::from_millis(500)).await;
    std::fs::write(&file, "")?;
    sleep(Duration::from_millis(500)).await;
    let mysql = mysql.listen(8)?;
    tokio::spawn(mysql_server::serve(mysql, ACCOUNT, Arc::default()));

    let status = wait.await.map_err(std::io::Error::other)??;
    Ok(ExitCode::from(status.code().unwrap_or(1) as u8))
}

/// A port that is ours and on which nobody listens yet.
fn reserved_port() -> std::io::Result<(u16, TcpSocket)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse().map_err(std::io::Error::other)?)?;
    Ok((socket.local_addr()?.port(), socket))
}
