//! A real server of PostgreSQL, in whatever state a wait can meet it, beside pg and tokio-postgres. The
//! image is `POSTGRES_IMAGE`, or else the public one; PgBouncer is Debian's.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use crate::containers::{image, text};
use crate::drivers::{Server, compare, error_of, lag};
use crate::fixtures::tls::Authority;
use crate::support::{Started, Wait, wait};

fn postgres_image() -> String {
    image("POSTGRES_IMAGE", "postgres:17")
}

fn to_be_started(test: &str) -> Server {
    Server::to_be_started(&format!("postgres-{test}"), postgres_image())
}

/// The variables of the image: a superuser and its database.
const VARIABLES: [&str; 6] = [
    "--env=POSTGRES_USER=root",
    "--env=POSTGRES_PASSWORD=r00t",
    "--env=POSTGRES_DB=shop",
    "--volume",
    "INIT:/docker-entrypoint-initdb.d/init.sql:ro",
    "--stop-signal=SIGINT",
];

/// The application's own user.
const USER: &str = "CREATE ROLE app LOGIN PASSWORD 's3cret'; GRANT CREATE ON DATABASE shop TO app;";

/// Starts a server with the application's user.
fn run(server: &Server, options: &[&str], args: &[&str]) -> tempfile::TempDir {
    let folder = readable_folder();
    let init = folder.path().join("init.sql");
    fs::write(&init, USER).expect("written");
    let init = init.display().to_string();
    let variables = VARIABLES.map(|word| word.replace("INIT", &init));
    let variables: Vec<_> = variables.iter().map(String::as_str).collect();
    server.run(&[&variables[..], options].concat(), args);
    folder
}

/// The same, and waits for it.
fn started(test: &str, options: &[&str], args: &[&str]) -> (Server, tempfile::TempDir) {
    let server = to_be_started(test);
    let folder = run(&server, options, args);
    wait().args(["--for", &url(&server)]).run().exits(0);
    (server, folder)
}

/// A folder that the server may read.
fn readable_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let readable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), readable).expect("the server may read it");
    folder
}

fn url(server: &Server) -> String {
    format!("postgres://app:s3cret@{}/shop", server.address)
}

/// The output of the server's own client.
#[track_caller]
fn sql(server: &Server, statement: &str) -> String {
    let psql = ["psql", "--username=root", "--dbname=shop", "--no-align"];
    server.exec(&[&psql[..], &["--tuples-only", "--command", statement]].concat())
}

/// One attempt.
fn once(url: &str) -> Wait {
    wait().args(["--timeout=0", "--for", url])
}

fn begin(url: &str) -> Started {
    wait().args(["--connect-timeout=1", "--for", url]).start()
}

/// One attempt is ready, or has this for its reason, and pg agrees.
#[track_caller]
fn both_say(url: &str, reason: Option<&str>) {
    let outcome = once(url).run();
    let error = error_of("pg", url, &[]);
    println!("{url}: {reason:?}, pg: {error:?}");
    match reason {
        None => outcome.exits(0),
        Some(reason) => outcome.exits(1).says(&[reason]),
    };
    assert_eq!(error.is_none(), reason.is_none(), "{url}: {error:?}");
}

/// The first login of another application: no second try.
async fn log_in(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[test]
#[ignore = "needs Docker and npm"]
fn it_is_ready_when_pg_is() {
    let server = to_be_started("compared");
    let mut folder = None;
    compare("pg", &server, &url(&server), || {
        folder = Some(run(&server, &[], &[]));
    });
}

#[tokio::test]
#[ignore = "needs Docker and npm"]
async fn after_each_of_twenty_first_starts_the_very_first_logins_work() {
    for i in 0..20 {
        let server = to_be_started(&format!("first-{i}"));
        let _folder = run(&server, &[], &[]);
        let url = url(&server);
        let outcome = wait().args(["--for", &url]).run();
        let client = log_in(&url).await;
        outcome.exits(0);
        let client = client.unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
        client.simple_query("SELECT 1").await.expect("answered");
        assert_eq!(error_of("pg", &url, &[]), None);
    }
}

#[test]
#[ignore = "needs Docker and npm"]
fn logins_and_databases_are_those_of_pg() {
    let (server, _folder) = started("logins", &[], &[]);
    sql(&server, "CREATE ROLE nologin PASSWORD 'x'");
    sql(&server, "CREATE ROLE empty LOGIN");
    sql(&server, "CREATE DATABASE closed ALLOW_CONNECTIONS false");
    sql(&server, "CREATE DATABASE private");
    sql(&server, "REVOKE CONNECT ON DATABASE private FROM PUBLIC");
    for (login, reason) in [
        ("app:s3cret@HOST/shop", None),
        ("app:s3cret@HOST:5432/postgres", None),
        (
            "app:s3cret@HOST/none",
            Some("unknown_database: error 3D000: "),
        ),
        ("app:s3cret@HOST", Some("unknown_database: error 3D000: ")),
        (
            "app:s3cret@HOST/private",
            Some("unknown_database: error 42501: "),
        ),
        ("app:s3cret@HOST/closed", Some("not_serving: error 55000: ")),
        (
            "app:wrong@HOST/shop",
            Some("access_denied: error 28P01: password authentication failed"),
        ),
        ("nobody:x@HOST/shop", Some("access_denied: error 28P01: ")),
        ("empty:x@HOST/shop", Some("access_denied: error 28P01: ")),
        ("nologin:x@HOST/shop", Some("access_denied: error 28000: ")),
        (
            "app@HOST/shop",
            Some("access_denied: the server asks for a password; no password is set"),
        ),
        ("app:s3cret@HOST:5433/shop", Some("refused: ")),
    ] {
        let url = format!("postgres://{login}").replace("HOST", &server.address);
        both_say(&url, reason);
    }
    // Without a user, that the server asks for a password is enough.
    once(&format!("postgres://{}", server.address))
        .run()
        .exits(0);
    let folder = readable_folder();
    let file = folder.path().join("password");
    fs::write(&file, "s3cret\n").expect("written");
    let by_file = |target: &str| {
        let once = wait().args(["--timeout=0", "--postgres", target]);
        once.var("WAIT_POSTGRES_PASSWORD_FILE", &file)
            .var("WAIT_POSTGRES_USER", "app")
            .var("WAIT_POSTGRES_DATABASE", "shop")
    };
    by_file(&server.address).run().exits(0);
    by_file(&server.address)
        .var("WAIT_POSTGRES_QUERY", "SELECT 1 FROM none")
        .run()
        .exits(1)
        .says(&["query_failed: error 42P01: "]);
}

#[test]
#[ignore = "needs Docker and npm"]
fn every_password_works_with_every_method() {
    let (server, _folder) = started("passwords", &[], &[]);
    let encoded = |text: &str| {
        let bytes = text.bytes().map(|byte| format!("%{byte:02X}"));
        bytes.collect::<String>()
    };
    // Every printable character, and some beyond ASCII, one of which SASLprep changes.
    let printable: String = (' '..='~').collect();
    let passwords = [printable.as_str(), "пароль é 🔑", "a\u{a0}b\u{ad}c", "x"];
    // With this method the server takes secrets of both forms.
    let md5 = "sed -i s/scram-sha-256/md5/ \"$PGDATA/pg_hba.conf\"";
    server.exec(&["sh", "-c", md5]);
    sql(&server, "SELECT pg_reload_conf()");
    for method in ["scram-sha-256", "md5"] {
        for (i, password) in passwords.iter().enumerate() {
            let user = format!("{}{i}", &method[..3]);
            let quoted = password.replace('\'', "''");
            let set = format!("SET password_encryption='{method}'");
            let create = format!("CREATE ROLE {user} LOGIN PASSWORD '{quoted}'");
            sql(&server, &format!("{set}; {create}"));
            let url = format!(
                "postgres://{user}:{}@{}/shop",
                encoded(password),
                server.address
            );
            both_say(&url, None);
            once(&url.replace(&format!("{user}:"), &format!("{user}:x")))
                .run()
                .exits(1)
                .says(&["access_denied: error 28P01: "]);
        }
    }
}

#[test]
#[ignore = "needs Docker and npm"]
fn a_role_a_database_and_a_grant_may_be_made_late() {
    let (server, _folder) = started("late", &[], &[]);
    let target = format!("postgres://late:s3cret@{}/later", server.address);
    let mut begun = begin(&target);
    begun.until(&["not ready", "access_denied: error 28P01: "]);
    sql(&server, "CREATE ROLE late LOGIN PASSWORD 's3cret'");
    begun.until(&["not ready", "unknown_database: error 3D000: "]);
    // Rights are not copied, so it is closed before it has its name.
    sql(&server, "CREATE DATABASE closed");
    sql(&server, "REVOKE CONNECT ON DATABASE closed FROM PUBLIC");
    sql(&server, "ALTER DATABASE closed RENAME TO later");
    begun.until(&["not ready", "error 42501: "]);
    sql(&server, "GRANT CONNECT ON DATABASE later TO late");
    begun.end().exits(0);
    once(&target).run().exits(0);
}

#[test]
#[ignore = "needs Docker and npm"]
fn a_query_waits_for_a_migration() {
    let (server, _folder) = started("migration", &[], &[]);
    let target = format!(
        "{}#query=SELECT count(*) FROM migrations WHERE version = 2",
        url(&server)
    );
    let mut begun = begin(&target);
    begun.until(&["not ready", "query_failed: error 42P01: "]);
    sql(&server, "CREATE TABLE migrations (version int)");
    sql(&server, "GRANT SELECT ON migrations TO app");
    begun.until(&["not ready", "query_empty: "]);
    sql(&server, "INSERT INTO migrations VALUES (2)");
    begun.end().exits(0);
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_query_behind_a_lock_is_one_and_is_cancelled_at_the_end() {
    let (server, _folder) = started("lock", &[], &[]);
    sql(
        &server,
        "CREATE TABLE locked (n int); GRANT SELECT ON locked TO app",
    );
    let root = format!("postgres://root:r00t@{}/shop", server.address);
    let root = log_in(&root).await.expect("root");
    // Within a transaction the activity is always that of its first look.
    let locking = log_in(&url(&server).replace("app:s3cret", "root:r00t"))
        .await
        .expect("root");
    locking
        .batch_execute("BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("locked");
    let target = format!("{}#query=SELECT 1 FROM locked", url(&server));
    let waiting = wait().args(["--timeout=4", "--connect-timeout=1", "--for", &target]);
    let waiting = waiting.start();
    let mut most = 0;
    let count = "SELECT count(*)::int FROM pg_stat_activity WHERE query LIKE '%FROM locked' \
                 AND state = 'active' AND usename = 'app'";
    while waiting.elapsed() < Duration::from_millis(3500) {
        let row = root.query_one(count, &[]).await.expect("a row");
        most = most.max(row.get::<_, i32>(0));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(most, 1);
    let ended = tokio::task::spawn_blocking(|| waiting.end());
    let ended = ended.await.expect("no panic");
    ended
        .exits(1)
        .says(&["timed_out: no answer for ", " while running the query"]);
    ended.took_from_to(4.0, 6.0);
    let row = root.query_one(count, &[]).await.expect("a row");
    assert_eq!(row.get::<_, i32>(0), 0, "it runs on");
    let log = server.log();
    assert!(
        log.contains("canceling statement due to user request"),
        "{log}"
    );
    locking.batch_execute("COMMIT").await.expect("unlocked");
    once(&format!(
        "{}#query=SELECT 1 FROM locked UNION SELECT 1",
        url(&server)
    ))
    .run()
    .exits(0);
}

#[tokio::test]
#[ignore = "needs Docker and npm"]
async fn a_full_server_is_ready_when_there_is_room() {
    let args = [
        "-c",
        "max_connections=4",
        "-c",
        "superuser_reserved_connections=0",
        "-c",
        "max_wal_senders=0",
    ];
    let (server, _folder) = started("full", &[], &args);
    let url = url(&server);
    let mut clients = Vec::new();
    let start = Instant::now();
    while clients.len() < 4 && start.elapsed() < Duration::from_secs(20) {
        // The last session may not have ended yet.
        clients.extend(log_in(&url).await.ok());
    }
    tokio::task::spawn_blocking(move || {
        both_say(&url, Some("too_many_connections: error 53300: "));
        once(&format!("postgres://{}", server.address))
            .run()
            .exits(1)
            .says(&["too_many_connections: error 53300: "]);
        let (lag, outcome) = lag("pg", &url, || {
            thread::sleep(Duration::from_secs(1));
            drop(clients);
        });
        println!("{lag} ms after pg");
        outcome.says(&["not ready", "too_many_connections"]);
    })
    .await
    .expect("no panic");
}

/// A certificate for a server, and the script that makes it its own.
fn certified(address: &str, folder: &Path, more: &str) -> Vec<String> {
    let made = Authority::new().certify(&[address]);
    let script = format!(
        "cp /tls/cert.pem \"$PGDATA/server.crt\"; cp /tls/key.pem \"$PGDATA/server.key\"\n\
         chmod 600 \"$PGDATA/server.key\"; echo 'ssl = on' >>\"$PGDATA/postgresql.conf\"\n{more}\n"
    );
    for (name, contents) in [
        ("ca.pem", &made.authority),
        ("cert.pem", &made.certificate),
        ("key.pem", &made.key),
        ("tls.sh", &script),
    ] {
        fs::write(folder.join(name), contents).expect("written");
    }
    let folder = folder.display();
    vec![
        format!("--volume={folder}:/tls:ro"),
        format!("--volume={folder}/tls.sh:/docker-entrypoint-initdb.d/tls.sh:ro"),
    ]
}

/// A server with TLS, the file of its authority, and the folders to be kept.
fn with_tls(test: &str, more: &str) -> (Server, PathBuf, [tempfile::TempDir; 2]) {
    let server = to_be_started(test);
    let folder = readable_folder();
    let options = certified(&server.address, folder.path(), more);
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let init = run(&server, &options, &[]);
    wait()
        .args(["--for", &format!("postgres://{}", server.address)])
        .run()
        .exits(0);
    (server, folder.path().join("ca.pem"), [folder, init])
}

#[test]
#[ignore = "needs Docker and npm"]
fn certificates_are_verified_as_asked_for() {
    let (server, authority, _folders) = with_tls("tls", "");
    let url = url(&server);
    let of_the_application = |url: &str, authority: Option<&Path>| {
        let once = wait().args(["--timeout=0", "--for=env:DATABASE_URL"]);
        let once = once.var("DATABASE_URL", url);
        match authority {
            Some(authority) => once.var("WAIT_TLS_CA_FILE", authority),
            None => once,
        }
        .run()
    };
    let trusted: [(&str, &Path); 1] = [("NODE_EXTRA_CA_CERTS", &authority)];
    // Without a file of authorities, and with it, beside pg.
    for (words, without, with) in [
        ("", true, true),
        ("?sslmode=disable", true, true),
        ("?sslmode=no-verify", true, true),
        ("?sslmode=prefer", false, true),
        ("?sslmode=require", false, true),
        ("?sslmode=verify-ca", false, true),
        ("?sslmode=verify-full", false, true),
        ("?ssl=true", false, true),
        ("?uselibpqcompat=true&sslmode=require", true, true),
    ] {
        let url = format!("{url}{words}");
        for (is_ready, authority, vars) in [
            (without, None, &trusted[..0]),
            (with, Some(&*authority), &trusted[..]),
        ] {
            let outcome = of_the_application(&url, authority);
            let error = error_of("pg", &url, vars);
            println!("{words}: {is_ready}, pg: {error:?}");
            assert_eq!(outcome.code, Some(i32::from(!is_ready)), "{outcome:?}");
            assert_eq!(error.is_none(), is_ready, "{words}: {error:?}");
            if !is_ready {
                outcome.says(&["tls_failed: ", "not signed by an authority that is trusted"]);
            }
        }
    }
    // As libpq has it, in settings of our own.
    for (words, is_ready) in [
        ("?sslmode=require", true),
        ("?sslmode=allow", true),
        ("?sslmode=verify-ca", false),
        ("?sslmode=require&channel_binding=require", true),
        ("?sslmode=disable&channel_binding=require", false),
        ("?require_auth=scram-sha-256", true),
        ("?require_auth=md5", false),
        ("#tls=verify-full", false),
    ] {
        let outcome = once(&format!("{url}{words}")).run();
        assert_eq!(outcome.code, Some(i32::from(!is_ready)), "{outcome:?}");
    }
    once(&format!(
        "{url}?sslmode=verify-full&sslrootcert={}",
        authority.display()
    ))
    .run()
    .exits(0);
    let session = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    once(&format!("{url}#query={session}")).run().exits(0);
    once(&format!("{url}?sslmode=disable#query={session}"))
        .run()
        .exits(1)
        .says(&["query_empty"]);
}

#[test]
#[ignore = "needs Docker"]
fn pg_hba_conf_may_require_tls_or_forbid_it() {
    let hba = |rules: &str| {
        format!("printf '%s\\n' 'local all all trust' {rules} >\"$PGDATA/pg_hba.conf\"")
    };
    let (server, ..) = {
        let more = hba("'hostssl all all all scram-sha-256'");
        let (server, ca, folders) = with_tls("hostssl", &more);
        let url = url(&server);
        for (words, reason) in [
            ("", None),
            ("?sslmode=allow", None),
            ("?sslmode=require", None),
            (
                "?sslmode=disable",
                Some("access_denied: error 28000: no pg_hba.conf entry"),
            ),
        ] {
            let outcome = once(&format!("{url}{words}")).run();
            match reason {
                None => outcome.exits(0),
                Some(reason) => outcome
                    .exits(1)
                    .says(&[reason, "pg_hba.conf, and reload it"]),
            };
        }
        (server, ca, folders)
    };
    drop(server);
    let more = hba("'hostnossl all all all scram-sha-256'");
    let (server, _ca, _folders) = with_tls("hostnossl", &more);
    let url = url(&server);
    for (words, is_ready) in [
        ("", true),
        ("?sslmode=allow", true),
        ("?sslmode=disable", true),
        ("?sslmode=require", false),
    ] {
        let outcome = once(&format!("{url}{words}")).run();
        assert_eq!(outcome.code, Some(i32::from(!is_ready)), "{outcome:?}");
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_standby_is_no_place_to_write() {
    let replication = "echo 'host replication all all trust' >>\"$PGDATA/pg_hba.conf\"";
    let (primary, _ca, _folders) = with_tls("primary", replication);
    wait().args(["--for", &url(&primary)]).run().exits(0);
    let standby = to_be_started("standby");
    let script = format!(
        "mkdir -p /tmp/data && chmod 700 /tmp/data \
         && pg_basebackup --host={} --username=root --pgdata=/tmp/data --write-recovery-conf --checkpoint=fast \
         && exec postgres -D /tmp/data -c listen_addresses='*'",
        primary.address
    );
    let options = ["--user=postgres", "--entrypoint=bash"];
    standby.run(&options, &["-c", &script]);
    wait().args(["--for", &url(&standby)]).run().exits(0);
    for (at, attributes, is_ready) in [
        (&standby, "any", true),
        (&standby, "standby", true),
        (&standby, "read-only", true),
        (&standby, "prefer-standby", true),
        (&standby, "read-write", false),
        (&standby, "primary", false),
        (&primary, "read-write", true),
        (&primary, "primary", true),
        (&primary, "standby", false),
        (&primary, "read-only", false),
    ] {
        let outcome = once(&format!("{}?target_session_attrs={attributes}", url(at))).run();
        match is_ready {
            true => outcome.exits(0),
            false => outcome.exits(1).says(&["not_serving: the server is not "]),
        };
    }
    // Of several hosts it is the primary, wherever it stands.
    let both = format!(
        "postgres://app:s3cret@{}%2C{}/shop?target_session_attrs=read-write",
        standby.address, primary.address
    );
    once(&both).run().exits(0);
    primary.docker("kill");
    let mut begun = begin(&both);
    begun.until(&["not ready", "not_serving: ", "the server is not read-write"]);
    standby.exec(&["pg_ctl", "promote", "-D", "/tmp/data"]);
    begun.end().exits(0);
}

#[test]
#[ignore = "needs Docker"]
fn a_standby_without_hot_standby_and_a_recovery_are_starting() {
    let server = to_be_started("recovery");
    // A standby with nothing to replay, that accepts no connections.
    let script = "touch \"$PGDATA/standby.signal\"; exec postgres -c listen_addresses='*' -c hot_standby=off";
    let init = "mkdir -p /tmp/data && chmod 700 /tmp/data && export PGDATA=/tmp/data \
                && initdb --username=root >/dev/null && ";
    let options = ["--user=postgres", "--entrypoint=bash"];
    server.run(&options, &["-c", &format!("{init}{script}")]);
    for target in [
        url(&server),
        format!("postgres://{}", server.address),
        format!("{}?sslmode=disable", url(&server)),
    ] {
        let mut begun = begin(&target);
        begun.until(&["not ready", "starting: error 57P03: "]);
        begun.kill(nix::libc::SIGTERM);
        begun.end();
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_frozen_server_is_ready_when_it_thaws() {
    let (server, _folder) = started("frozen", &[], &[]);
    server.docker("pause");
    let mut begun = begin(&url(&server));
    begun.until(&["timed_out: no answer for ", " while asking for TLS"]);
    let thawed = Instant::now();
    server.docker("unpause");
    begun.end().exits(0);
    let took = thawed.elapsed();
    println!("{took:?} after the thaw");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
#[ignore = "needs Docker"]
fn a_unix_socket_takes_a_login() {
    let server = to_be_started("socket");
    let sockets = readable_folder();
    let writable = fs::Permissions::from_mode(0o777);
    fs::set_permissions(sockets.path(), writable).expect("the server may write there");
    let volume = format!("--volume={}:/sockets", sockets.path().display());
    let args = ["-c", "unix_socket_directories=/var/run/postgresql,/sockets"];
    let _folder = run(&server, &[&volume], &args);
    wait().args(["--for", &url(&server)]).run().exits(0);
    let folder = sockets.path().display();
    for target in [
        format!("postgres://app:s3cret@localhost/shop?socket={folder}"),
        format!("postgres://app:s3cret@localhost/shop?socket={folder}/.s.PGSQL.5432"),
        format!("host={folder} user=app dbname=shop"),
        format!("postgres:///shop?host={folder}&user=app"),
    ] {
        once(&target).run().exits(0);
    }
    once(&format!("postgres://app@localhost:1/shop?socket={folder}"))
        .run()
        .exits(1)
        .says(&["missing: there is no such socket"]);
}

#[test]
#[ignore = "needs Docker"]
fn waits_leave_no_complaint_in_the_log() {
    let more = "printf '%s\\n' 'local all all trust' 'hostssl all plain all password' \
                'host all plain all password' 'host all all all scram-sha-256' >\"$PGDATA/pg_hba.conf\"";
    let (server, _ca, _folders) = with_tls("marks", more);
    sql(&server, "CREATE ROLE plain LOGIN PASSWORD 's3cret'");
    let app = url(&server);
    let before = complaints(&server.log());
    for i in 0..50 {
        for (target, code) in [
            (format!("postgres://{}", server.address), 0),
            (app.clone(), 0),
            (format!("{app}?sslmode=disable"), 0),
            (format!("{app}#query=SELECT 1"), 0),
            (format!("{app}#query=SELECT 0"), 1),
            (format!("{app}?target_session_attrs=standby"), 1),
            // A certificate that is not trusted, and no login.
            (format!("{app}?sslmode=verify-full"), 1),
            // No password, and none that is sent.
            (app.replace(":s3cret", ""), 1),
            (app.replace("app:", "plain:") + "?sslmode=disable", 1),
            (app.replace("app:", "plain:"), 0),
            (format!("{app}?require_auth=md5"), 1),
        ] {
            let outcome = once(&target).run();
            assert_eq!(outcome.code, Some(code), "{i}: {target}: {outcome:?}");
        }
    }
    let log = server.log();
    assert_eq!(complaints(&log), before, "{log}");
    let left = sql(
        &server,
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wait'",
    );
    assert_eq!(left, "0");
}

/// The lines of a log that say more than that the server runs.
fn complaints(log: &str) -> usize {
    let is_news = |line: &&str| {
        line.contains("LOG:  checkpoint") // from time to time
            || line.contains("LOG:  parameter")
    };
    log.lines().filter(|line| !is_news(line)).count()
}

/// An image with Debian's PgBouncer.
fn pgbouncer_image() -> &'static str {
    const NAME: &str = "compose-wait-test-pgbouncer";
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let dockerfile = format!(
            "FROM {}\nRUN apt-get update -q && apt-get install -y -q --no-install-recommends pgbouncer\n",
            image("DEBIAN_IMAGE", "debian:bookworm-slim")
        );
        let mut build = Command::new("docker")
            .args(["build", "--tag", NAME, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker is installed");
        let mut stdin = build.stdin.take().expect("a pipe");
        stdin.write_all(dockerfile.as_bytes()).expect("written");
        drop(stdin);
        let output = build.wait_with_output().expect("an end");
        assert!(output.status.success(), "{}", text(&output));
    });
    NAME
}

#[test]
#[ignore = "needs Docker and npm"]
fn behind_pgbouncer_the_server_has_to_answer() {
    let (server, _folder) = started("pooled", &[], &[]);
    let pooler = Server::to_be_started("postgres-pgbouncer", pgbouncer_image().to_owned());
    let folder = readable_folder();
    let settings = format!(
        "[databases]\nshop = host={} port=5432 dbname=shop\n\
         nowhere = host={} port=1 dbname=shop\n\
         small = host={} port=5432 dbname=shop pool_size=1\n\
         [pgbouncer]\nlisten_addr = *\nlisten_port = 5432\nauth_type = scram-sha-256\n\
         auth_file = /etc/pool/users.txt\npool_mode = transaction\nmax_client_conn = 20\n\
         server_login_retry = 1\nquery_wait_timeout = 2\nunix_socket_dir =\n",
        server.address, server.address, server.address
    );
    for (name, contents) in [
        ("pgbouncer.ini", settings.as_str()),
        ("users.txt", "\"app\" \"s3cret\"\n"),
    ] {
        fs::write(folder.path().join(name), contents).expect("written");
    }
    let volume = format!("--volume={}:/etc/pool:ro", folder.path().display());
    let options = [volume.as_str(), "--user=nobody", "--entrypoint=pgbouncer"];
    pooler.run(&options, &["/etc/pool/pgbouncer.ini"]);
    let url = url(&pooler);
    wait().args(["--for", &url]).run().exits(0);
    both_say(&url, None);
    both_say(
        &url.replace("/shop", "/none"),
        Some("unknown_database: error "),
    );
    both_say(
        &url.replace("s3cret", "wrong"),
        Some("access_denied: error "),
    );
    once(&format!("postgres://{}", pooler.address))
        .run()
        .exits(0);
    once(&format!("{url}#query=SELECT count(*) FROM pg_class"))
        .run()
        .exits(0);
    // The limits of a query end with it: others have the same session of the server's.
    let shown = server.exec(&[
        "psql",
        "--tuples-only",
        "--command=SHOW statement_timeout",
        &url,
    ]);
    assert_eq!(shown.trim(), "0");
    let mut nowhere = begin(&url.replace("/shop", "/nowhere"));
    nowhere.until(&["not ready", "not_serving: error "]);
    nowhere.kill(nix::libc::SIGTERM);
    nowhere.end();
    // Its server is gone, and comes back.
    server.docker("kill");
    let mut begun = wait().args(["--for", &url]).start();
    begun.until(&["not ready", "not_serving: error "]);
    assert!(error_of("pg", &url, &[]).is_some());
    let (lag, _) = lag("pg", &url, || server.docker("start"));
    println!("{lag} ms after pg");
    begun.end().exits(0);
}
