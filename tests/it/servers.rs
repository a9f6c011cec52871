//! Real MySQL and MariaDB servers, in whatever state a wait can meet them. `wait` runs on this
//! machine, which reaches containers by their addresses, or where its host must have a name, in a
//! container beside the server.

mod crowds;

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};

use crate::containers::{
    docker, image, mariadb_image, mysql_image, static_wait, text, try_docker, wait_image,
};
use crate::fixtures::tls::Authority;
use crate::support::{Outcome, WAIT, has_line, wait, with_path_alone};

/// A database server in a network of its own, gone when this is dropped.
pub struct Server {
    name: String,
    client: &'static str,
}

/// Both kinds: a name, the image, and its client program.
pub fn kinds() -> [(&'static str, String, &'static str); 2] {
    [
        ("mysql", mysql_image(), "mysql"),
        ("mariadb", mariadb_image(), "mariadb"),
    ]
}

impl Server {
    /// Makes the network alone, with options of docker's.
    fn to_be_started(
        test: &str,
        (kind, _, client): &(&str, String, &'static str),
        options: &[&str],
    ) -> Self {
        let name = format!("compose-wait-test-{test}-{kind}-{}", std::process::id());
        docker(&[&["network", "create"], options, &[&name]].concat());
        Self { name, client }
    }

    /// Starts one; `options` are docker's, `args` the server's.
    fn start(
        test: &str,
        kind: &(&str, String, &'static str),
        options: &[&str],
        args: &[&str],
    ) -> Self {
        let server = Self::to_be_started(test, kind, &[]);
        server.run(&kind.1, options, args);
        server
    }

    fn run(&self, image: &str, options: &[&str], args: &[&str]) {
        let mut run = vec!["run", "--detach", "--name", &self.name];
        run.extend(["--network", &self.name, "--network-alias", "db"]);
        for var in [
            "MYSQL_USER=app",
            "MYSQL_PASSWORD=s3cret",
            "MYSQL_DATABASE=shop",
            "MYSQL_ROOT_PASSWORD=r00t",
        ] {
            run.extend(["--env", var]);
        }
        run.extend(options);
        run.push(image);
        run.extend(args);
        docker(&run);
    }

    /// Starts one and waits for it.
    pub fn started(
        test: &str,
        kind: &(&str, String, &'static str),
        options: &[&str],
        args: &[&str],
    ) -> Self {
        let server = Self::start(test, kind, options, args);
        server
            .wait("app:s3cret@db/shop", &["--timeout=60"])
            .exits(0);
        server
    }

    pub fn address(&self) -> String {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        docker(&["inspect", "--format", format, &self.name])
    }

    /// `wait` for a target, whose host `db` becomes the server's address.
    fn wait(&self, target: &str, args: &[&str]) -> Outcome {
        let target = target.replace("@db", &format!("@{}", self.address()));
        wait().args(["--mysql", &target]).args(args).run()
    }

    /// The same, on beside the test.
    fn begin_wait(&self, target: &str, args: &[&str]) -> Beginning {
        let target = target.replace("@db", &format!("@{}", self.address()));
        Beginning::new(with_path_alone(WAIT).args(["--mysql", &target]).args(args))
    }

    /// The output of `/wait`, and its status, in a container beside the server.
    fn wait_beside(&self, args: &[&str]) -> (i32, String) {
        let run = ["run", "--rm", "--network", &self.name, wait_image()];
        let output = try_docker(&[&run[..], args].concat(), &[]);
        (output.status.code().expect("a status"), text(&output))
    }

    /// Runs one statement, which may have semicolons in it.
    #[track_caller]
    pub fn sql(&self, statement: &str) -> String {
        let output = self.try_sql(statement);
        assert!(output.status.success(), "{statement}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The same on a server that is full: root has a place of its own, in which others may be for a
    /// moment, until they are sent away.
    #[track_caller]
    fn sql_when_full(&self, statement: &str) -> String {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            let output = self.try_sql(statement);
            if output.status.success() {
                return String::from_utf8_lossy(&output.stdout).trim().to_owned();
            }
        }
        self.sql(statement)
    }

    fn try_sql(&self, statement: &str) -> Output {
        let exec = ["exec", &self.name, self.client, "-uroot", "-pr00t", "-N"];
        let statement = ["--delimiter=//", "-e", statement];
        try_docker(&[&exec[..], &statement].concat(), &[])
    }

    /// The contents of a file inside.
    pub fn file(&self, path: &str) -> String {
        docker(&["exec", &self.name, "cat", path])
    }

    /// Its output, or the last lines of it.
    pub fn log(&self, lines: &str) -> String {
        text(&try_docker(&["logs", "--tail", lines, &self.name], &[]))
    }

    /// A number of its status.
    fn status(&self, name: &str) -> u64 {
        let row = self.sql_when_full(&format!("SHOW GLOBAL STATUS LIKE '{name}'"));
        let number = row.split_whitespace().last().expect("a row");
        number.parse().expect("a number")
    }

    /// `Aborted_clients` and `Aborted_connects`.
    fn marks(&self) -> [u64; 2] {
        ["Aborted_clients", "Aborted_connects"].map(|name| self.status(name))
    }

    /// The application's own login, by another client than ours.
    async fn connect(&self) -> mysql_async::Result<Conn> {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.address())
            .prefer_socket(false)
            .user(Some("app"))
            .pass(Some("s3cret"))
            .db_name(Some("shop"));
        Conn::new(options).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log("20"));
        }
        try_docker(&["rm", "--force", "--volumes", &self.name], &[]);
        try_docker(&["network", "rm", &self.name], &[]);
    }
}

/// A wait that goes on.
struct Beginning {
    child: Child,
    log: tempfile::NamedTempFile,
    start: Instant,
}

impl Beginning {
    fn new(command: &mut Command) -> Self {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let stderr = log.reopen().expect("the file");
        let child = command.stdin(Stdio::null()).stderr(stderr).spawn();
        Self {
            child: child.expect("it starts"),
            log,
            start: Instant::now(),
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the log")
    }

    /// Waits until a line of the log holds all of these.
    #[track_caller]
    fn until_it_says(&mut self, parts: &[&str]) {
        let start = Instant::now();
        while !has_line(&self.log(), parts) {
            let ended = self.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && start.elapsed() < Duration::from_secs(30),
                "{parts:?} is not in {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(mut self) -> Outcome {
        let status = self.child.wait().expect("a status");
        Outcome {
            status,
            code: status.code(),
            stdout: String::new(),
            stderr: self.log(),
            took: self.start.elapsed(),
        }
    }
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn after_a_first_start_the_applications_very_first_login_works() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let init = folder.path().join("init.sql");
    std::fs::write(&init, five_megabytes_of_rows()).expect("written");
    let volume = format!("{}:/docker-entrypoint-initdb.d/init.sql:ro", init.display());
    for kind in kinds() {
        let server = Server::start("first", &kind, &["--volume", &volume], &[]);
        let outcome = server.wait("app:s3cret@db/shop", &["--timeout=120"]);
        let mut application = server.connect().await.expect("the first login");
        let rows: Option<u32> = application
            .query_first("SELECT COUNT(*) FROM things")
            .await
            .expect("the query");
        assert_eq!(rows, Some(ROWS), "{outcome:?}");
        outcome.exits(0).says(&["not ready after"]);
        application.disconnect().await.expect("disconnected");
        println!("{}: {}", kind.0, outcome.stderr);
    }
}

const ROWS: u32 = 50_000;

fn five_megabytes_of_rows() -> String {
    let mut sql = "CREATE TABLE things (id INT PRIMARY KEY, text VARCHAR(100));\n".to_owned();
    let numbers: Vec<_> = (0..ROWS).collect();
    for numbers in numbers.chunks(1000) {
        let row = |number: &u32| format!("({number}, '{number:090}')");
        let rows: Vec<_> = numbers.iter().map(row).collect();
        sql += &format!("INSERT INTO things VALUES {};\n", rows.join(","));
    }
    assert!(sql.len() > 5_000_000);
    sql
}

#[test]
#[ignore = "needs Docker"]
fn a_real_server_is_told_apart() {
    for kind in kinds() {
        let server = Server::started("apart", &kind, &[], &[]);
        for (target, code, reason) in [
            ("app:wrong@db/shop", 1, "access_denied: error 1045"),
            ("nobody@db", 1, "access_denied: "),
            ("app:s3cret@db/none", 1, "unknown_database: error 1044"),
            ("root:r00t@db/none", 1, "unknown_database: error 1049"),
            ("app:s3cret@db:3307/shop", 1, "refused"),
        ] {
            let outcome = server.wait(target, &["--timeout=0"]);
            outcome.exits(code).says(&[reason]);
            assert!(!outcome.stderr.contains("s3cret"), "{outcome:?}");
        }
        for (target, code, reason) in [
            ("db", 0, "is ready after"),
            ("app:s3cret@db/shop", 0, "is ready after"),
            ("app:s3cret@nowhere/shop", 1, "unresolved: no such name"),
        ] {
            let (status, log) = server.wait_beside(&["--mysql", target, "--timeout=0"]);
            assert_eq!(status, code, "{target}: {log}");
            assert!(log.contains(reason), "{target}: {log}");
        }
    }
}

#[test]
#[ignore = "needs Docker"]
fn ways_to_log_in_work_with_every_password() {
    // Every printable character, and some beyond ASCII.
    let printable: String = (' '..='~').collect();
    let passwords = [&printable, "пароль é 🔑", "", "x"];
    for kind in kinds() {
        let server = Server::started("ways", &kind, &[], &[]);
        let plugins: &[(&str, &str)] = match kind.0 {
            "mysql" => &[
                ("caching_sha2_password", "WITH caching_sha2_password BY"),
                ("sha256_password", "WITH sha256_password BY"),
            ],
            _ => &[
                ("mysql_native_password", "BY"),
                ("ed25519", "VIA ed25519 USING PASSWORD"),
            ],
        };
        if kind.0 == "mariadb" {
            server.sql("INSTALL SONAME 'auth_ed25519'");
        }
        let mut user = 0;
        for (plugin, how) in plugins {
            for password in passwords {
                // Not even MariaDB's own client gets in without one.
                if password.is_empty() && *plugin == "ed25519" {
                    continue;
                }
                let quoted = password.replace('\\', r"\\").replace('\'', r"\'");
                let quoted = match how.ends_with("PASSWORD") {
                    true => format!("('{quoted}')"),
                    false => format!("'{quoted}'"),
                };
                // A user each, so that the server has not seen the password before.
                for mode in ["DISABLED", "PREFERRED"] {
                    user += 1;
                    server.sql(&format!("CREATE USER u{user} IDENTIFIED {how} {quoted}"));
                    let file = tempfile::NamedTempFile::new().expect("a file");
                    std::fs::write(file.path(), format!("{password}\n")).expect("written");
                    let encoded: String = password.bytes().map(|b| format!("%{b:02X}")).collect();
                    let address = server.address();
                    let target = format!("u{user}@{address}?ssl-mode={mode}");
                    let in_url = format!("u{user}:{encoded}@{address}?ssl-mode={mode}");
                    let once = || wait().args(["--timeout", "0", "--mysql"]);
                    for outcome in [
                        once().args([&in_url]).run(),
                        once()
                            .args([&target])
                            .var("WAIT_MYSQL_PASSWORD", password)
                            .run(),
                        once()
                            .args([&target])
                            .var("WAIT_MYSQL_PASSWORD_FILE", file.path())
                            .run(),
                    ] {
                        assert_eq!(outcome.code, Some(0), "{plugin} {password}: {outcome:?}");
                    }
                }
            }
        }
        // The right plugin and the wrong password.
        for user in 1..=user {
            let target = format!("u{user}:wrong@db");
            let outcome = server.wait(&target, &["--timeout=0"]);
            outcome.exits(1).says(&["access_denied: error 1045"]);
        }
    }
}

/// Starts a server that keeps account of the hosts that connect to it. The images turn that off,
/// for MySQL in a file that no option can take back.
fn server_with_host_cache(
    test: &str,
    kind: &(&str, String, &'static str),
    args: &[&str],
) -> Server {
    host_cache_on(Server::to_be_started(test, kind, &[]), kind, &[], args)
}

/// The same in a network that is there already, with more options of docker's.
fn host_cache_on(
    server: Server,
    kind: &(&str, String, &'static str),
    options: &[&str],
    args: &[&str],
) -> Server {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("my.cnf");
    let socket = "socket=/var/run/mysqld/mysqld.sock";
    let settings = format!("[mysqld]\nhost-cache-size=128\n{socket}\n[client]\n{socket}\n");
    std::fs::write(&file, settings).expect("written");
    let volume = format!("{}:/my.cnf:ro", file.display());
    let ours: &[&str] = match kind.0 {
        "mysql" => &["--defaults-file=/my.cnf"],
        _ => &[
            "--host-cache-size=128",
            "--skip-name-resolve=OFF",
            "--performance-schema=ON",
        ],
    };
    let options = [&["--volume", &volume], options].concat();
    server.run(&kind.1, &options, &[ours, args].concat());
    server
        .wait("app:s3cret@db/shop", &["--timeout=60"])
        .exits(0);
    server
}

#[test]
#[ignore = "needs Docker"]
fn a_wait_leaves_no_mark() {
    for kind in kinds() {
        let server = server_with_host_cache("marks", &kind, &[]);
        let box_ = Box_::beside(&server);
        // The server learns the name of the host that asks.
        box_.wait(&["--mysql=app:s3cret@db/shop", "--timeout=0"]);
        let errors = || {
            let sum = "SELECT COALESCE(SUM(SUM_CONNECT_ERRORS), 0), COUNT(*) \
                       FROM performance_schema.host_cache";
            server.sql(sum)
        };
        let (before, errors_before) = (server.marks(), errors());
        assert_ne!(
            errors_before.split_whitespace().last(),
            Some("0"),
            "no host cache"
        );
        for mode in ["PREFERRED", "DISABLED"] {
            for _ in 0..25 {
                let target = format!("--mysql=app:s3cret@db/shop?ssl-mode={mode}");
                let (code, log) = box_.wait(&[&target, "--timeout=0"]);
                assert_eq!(code, 0, "{log}");
            }
        }
        assert_eq!((server.marks(), errors()), (before, errors_before.clone()));
        for _ in 0..50 {
            let (code, log) = box_.wait(&["--mysql=app:wrong@db/shop", "--timeout=0"]);
            assert_eq!(code, 1, "{log}");
        }
        let expected = [before[0], before[1] + 50];
        assert_eq!(
            (server.marks(), errors()),
            (expected, errors_before.clone())
        );
        // Whatever else cannot succeed is not counted against the host either.
        for target in [
            "db",
            "nobody@db",
            "app:s3cret@db/none",
            "app:s3cret@db/shop?ssl-mode=REQUIRED",
            "app:s3cret@db/shop?ssl-mode=VERIFY_IDENTITY",
        ] {
            for _ in 0..5 {
                box_.wait(&["--mysql", target, "--timeout=0"]);
            }
        }
        assert_eq!(errors(), errors_before);
    }
}

/// A container beside a server, with `/wait` in it.
struct Box_ {
    name: String,
}

impl Box_ {
    fn beside(server: &Server) -> Self {
        let name = format!("{}-box", server.name);
        let debian = image("DEBIAN_IMAGE", "debian:bookworm-slim");
        let network = ["--network", &server.name];
        let sleep = ["sleep", "600"];
        docker(
            &[
                &["run", "--detach", "--init", "--name", &name],
                &network[..],
                &[&debian],
                &sleep,
            ]
            .concat(),
        );
        let box_ = Self { name };
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let binary = static_wait(folder.path());
        let to = format!("{}:/wait", box_.name);
        docker(&["cp", binary.to_str().expect("UTF-8"), &to]);
        box_
    }

    fn wait(&self, args: &[&str]) -> (i32, String) {
        let output = try_docker(&[&["exec", &self.name, "/wait"], args].concat(), &[]);
        (output.status.code().expect("a status"), text(&output))
    }
}

impl Drop for Box_ {
    fn drop(&mut self) {
        try_docker(&["rm", "--force", &self.name], &[]);
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_frozen_server_is_ready_when_it_thaws() {
    for kind in kinds() {
        let server = Server::started("frozen", &kind, &[], &[]);
        let before = server.marks();
        docker(&["pause", &server.name]);
        let mut begun = server.begin_wait("app:s3cret@db/shop", &[]);
        begun.until_it_says(&[
            "timed_out: no answer for ",
            " while waiting for the greeting",
        ]);
        docker(&["unpause", &server.name]);
        let thawed = Instant::now();
        begun.end().exits(0);
        assert!(thawed.elapsed() < Duration::from_secs(5));
        assert_eq!(server.marks(), before);
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_published_port_with_nothing_behind_it_is_closed() {
    for kind in kinds() {
        let server = Server::start("published", &kind, &["--publish=127.0.0.1::3306"], &[]);
        let port = docker(&["port", &server.name, "3306"]);
        let target = format!("app:s3cret@{port}/shop");
        let outcome = wait().args(["--mysql", &target, "--timeout=60"]).run();
        outcome
            .exits(0)
            .says(&["closed: ", "while waiting for the greeting"]);
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_server_that_reads_its_init_file_is_waited_for() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let init = folder.path().join("slow.sql");
    std::fs::write(&init, "DO SLEEP(4);\n").expect("written");
    let volume = format!("{}:/slow.sql:ro", init.display());
    for kind in kinds() {
        let args = ["--init-file=/slow.sql"];
        let server = Server::start("init", &kind, &["--volume", &volume], &args);
        let outcome = server.wait("app:s3cret@db/shop", &["--timeout=60"]);
        let doing = " while waiting for the greeting";
        outcome.exits(0).says(&["timed_out: no answer for ", doing]);
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_full_server_is_ready_when_there_is_room() {
    for kind in kinds() {
        let server = Server::started("full", &kind, &[], &[]);
        server.sql("SET GLOBAL max_connections = 10");
        let sleep = ["-uapp", "-ps3cret", "-e", "SELECT SLEEP(600)"];
        let exec = ["exec", "--detach", &server.name, server.client];
        // Root has a place of its own, from which it asks, but may be in another's way meanwhile.
        let start = Instant::now();
        while server.status("Threads_connected") < 11 {
            assert!(start.elapsed() < Duration::from_secs(60), "never full");
            docker(&[&exec[..], &sleep].concat());
        }
        let mut begun = server.begin_wait("app:s3cret@db/shop", &["--timeout=60"]);
        begun.until_it_says(&["too_many_connections: error 1040"]);
        let sleepers = server.sql_when_full("SHOW PROCESSLIST");
        let cells = sleepers.lines().map(|row| row.split('\t'));
        let cells = cells.filter(|cells| cells.clone().nth(1) == Some("app"));
        let kill = cells.filter_map(|mut cells| Some(format!("KILL {}//", cells.next()?)));
        server.sql_when_full(&kill.collect::<String>());
        begun.end().exits(0);
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_blocked_host_is_reported_until_it_is_unblocked() {
    for kind in kinds() {
        let server = server_with_host_cache("blocked", &kind, &["--max-connect-errors=3"]);
        let box_ = Box_::beside(&server);
        box_.wait(&["--mysql=app:s3cret@db/shop", "--timeout=0"]);
        for _ in 0..10 {
            box_.wait(&["--for=db:3306", "--timeout=0"]); // connects and leaves
        }
        let (code, log) = box_.wait(&["--mysql=app:s3cret@db/shop", "--timeout=1"]);
        assert_eq!(code, 1, "{log}");
        assert!(log.contains("host_blocked: error 1129"), "{log}");
        let begun = Beginning::new(Command::new("docker").args([
            "exec",
            &box_.name,
            "/wait",
            "--mysql=app:s3cret@db/shop",
        ]));
        std::thread::sleep(Duration::from_secs(1));
        server.sql("TRUNCATE TABLE performance_schema.host_cache");
        begun.end().exits(0).took_from_to(0.9, 20.0);
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_server_that_goes_down_and_comes_back_is_waited_for() {
    for kind in kinds() {
        let server = Server::started("down", &kind, &[], &[]);
        // A sleep alone would return a row when it is interrupted.
        server.sql(
            "CREATE FUNCTION shop.dawdle() RETURNS INT NO SQL BEGIN DECLARE n INT DEFAULT 0; \
             label: LOOP IF n = 30 THEN RETURN 1; END IF; DO SLEEP(0.1); SET n = n + 1; \
             END LOOP; END",
        );
        let mut begun = Beginning::new(
            with_path_alone(WAIT)
                .args(["--mysql", &format!("root:r00t@{}/shop", server.address())])
                .args(["--timeout=60"])
                .env("WAIT_MYSQL_QUERY", "SELECT dawdle()"),
        );
        begun.until_it_says(&["no answer for ", " while running the query"]);
        docker(&["stop", &server.name]);
        docker(&["start", &server.name]);
        let outcome = begun.end();
        println!("{}: {}", kind.0, outcome.stderr);
        outcome.exits(0);
        let said = |reason: &str| outcome.stderr.contains(reason);
        // MariaDB may hang up without a word.
        assert!(
            said("shutting_down: error ") || kind.0 == "mariadb" && said("closed: the server"),
            "{outcome:?}"
        );
    }
}

#[test]
#[ignore = "needs Docker"]
fn accounts_in_every_state_are_told_apart() {
    let kind = &kinds()[0];
    // With this an expired password logs in, to be good for nothing but a new one.
    let args = ["--disconnect-on-expired-password=OFF"];
    let server = Server::started("states", kind, &[], &args);
    for (user, how) in [
        ("locked", "ACCOUNT LOCK"),
        ("expired", "PASSWORD EXPIRE"),
        ("tls", "REQUIRE SSL"),
        ("limited", "WITH MAX_CONNECTIONS_PER_HOUR 1"),
        ("guarded", "FAILED_LOGIN_ATTEMPTS 100 PASSWORD_LOCK_TIME 1"),
    ] {
        server.sql(&format!("CREATE USER {user} IDENTIFIED BY 'zebra' {how}"));
    }
    server.sql("CREATE USER elsewhere@'192.0.2.1' IDENTIFIED BY 'zebra'");
    let says = |target: &str, reason: &str| {
        server
            .wait(target, &["--timeout=0"])
            .exits(1)
            .says(&["error: ", reason]);
    };
    says("locked:zebra@db", "access_denied: error 3118");
    says("expired:zebra@db", "access_denied: error 1820");
    says(
        "tls:zebra@db?ssl-mode=DISABLED",
        "access_denied: error 1045",
    );
    server.wait("tls:zebra@db", &["--timeout=0"]).exits(0);
    server.wait("limited:zebra@db", &["--timeout=0"]).exits(0);
    says("limited:zebra@db", "too_many_connections: error 1226");
    says("elsewhere:zebra@db", "access_denied: error 1045");

    // A user that is made late is an error at once, and ready in the end.
    let mut begun = server.begin_wait("late:zebra@db", &[]);
    begun.until_it_says(&["error: mysql://late@"]);
    server.sql("CREATE USER late IDENTIFIED BY 'zebra'");
    begun
        .end()
        .exits(0)
        .says(&["access_denied", "check the user"]);

    let outcome = server.wait("guarded:wrong@db", &["--timeout=30"]);
    outcome.exits(1);
    server.wait("guarded:zebra@db", &["--timeout=0"]).exits(0);

    // Nobody at all from here.
    server.sql("DROP USER IF EXISTS app, root@'%', locked, expired, tls, limited, guarded, late");
    server.sql("FLUSH PRIVILEGES");
    says("app:s3cret@db", "access_denied: error 1130");
}

#[test]
#[ignore = "needs Docker"]
fn the_socket_and_ipv6_are_ways_too() {
    for kind in kinds() {
        let folder = tempfile::tempdir_in("/tmp").expect("a folder");
        std::fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .expect("open to the server");
        let volume = format!("{}:/run/wait", folder.path().display());
        let args = ["--socket=/run/wait/db.sock", "--bind-address=::"];
        let ipv6 = "--sysctl=net.ipv6.conf.all.disable_ipv6=0";
        let server = Server::start("socket", &kind, &["--volume", &volume, ipv6], &args);
        let socket = folder.path().join("db.sock");
        // Before there is one, and then the images' server without a network has its own.
        for mode in ["PREFERRED", "REQUIRED", "DISABLED"] {
            if kind.0 == "mariadb" && mode == "REQUIRED" {
                continue; // it has no certificate
            }
            let target = format!(
                "app:s3cret@localhost/shop?socket={}&ssl-mode={mode}",
                socket.display()
            );
            let outcome = wait().args(["--mysql", &target, "--timeout=60"]).run();
            outcome
                .exits(0)
                .says(&["mysql://app@localhost:3306/shop?socket=/tmp/"]);
        }
        let network = format!("container:{}", server.name);
        let run = ["run", "--rm", "--network", &network, wait_image()];
        let args = ["--mysql=app:s3cret@[::1]/shop", "--timeout=0"];
        let output = try_docker(&[&run[..], &args].concat(), &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
}

#[test]
#[ignore = "needs Docker"]
fn certificates_are_verified_as_asked_for() {
    for kind in kinds() {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let authority = folder.path().join("ca.pem");
        // MySQL makes certificates without a host's name when it first starts.
        let server = if kind.0 == "mysql" {
            let server = Server::started("tls", &kind, &[], &[]);
            let pem = docker(&["exec", &server.name, "cat", "/var/lib/mysql/ca.pem"]);
            std::fs::write(&authority, pem).expect("written");
            server
        } else {
            let made = Authority::new().certify(&["db.example"]);
            std::fs::write(&authority, made.authority).expect("written");
            std::fs::write(folder.path().join("cert.pem"), made.certificate).expect("written");
            std::fs::write(folder.path().join("key.pem"), made.key).expect("written");
            let volume = format!("{}:/tls:ro", folder.path().display());
            let args = ["--ssl-cert=/tls/cert.pem", "--ssl-key=/tls/key.pem"];
            Server::started("tls", &kind, &["--volume", &volume], &args)
        };
        let cases = |cases: &[(&str, bool, i32, &str)]| {
            for (mode, with_authority, code, says) in cases {
                let address = server.address();
                let target = format!("app:s3cret@{address}/shop?ssl-mode={mode}");
                let mut once = wait().args(["--timeout=0", "--mysql", &target]);
                if *with_authority {
                    once = once.var("WAIT_TLS_CA_FILE", &authority);
                }
                once.run().exits(*code).says(&[says]);
            }
        };
        cases(&[
            ("DISABLED", false, 0, "is ready after"),
            ("PREFERRED", false, 0, "is ready after"),
            ("REQUIRED", false, 0, "is ready after"),
            (
                "VERIFY_CA",
                false,
                1,
                "tls_failed: the certificate is not signed by an authority that is trusted",
            ),
            ("VERIFY_CA", true, 0, "is ready after"),
            (
                "VERIFY_IDENTITY",
                true,
                1,
                "tls_failed: the certificate is not valid for name",
            ),
        ]);
        server.sql("SET GLOBAL require_secure_transport = ON");
        let refusal = match kind.0 {
            "mysql" => "tls_required: error 3159",
            _ => "error 1045",
        };
        cases(&[
            ("PREFERRED", false, 0, "is ready after"),
            ("REQUIRED", false, 0, "is ready after"),
            ("DISABLED", false, 1, refusal),
        ]);
        let plain = "app:s3cret@db/shop?ssl-mode=DISABLED";
        let mut begun = server.begin_wait(plain, &[]);
        begun.until_it_says(&["error "]);
        server.sql("SET GLOBAL require_secure_transport = OFF");
        begun.end().exits(0);
    }
}

/// A hundred hosts wait for a server that starts late and has room for twenty.
#[test]
#[ignore = "needs Docker, and root to make network namespaces"]
fn a_hundred_hosts_get_in_where_twenty_have_room() {
    let kind = &kinds()[0];
    let subnet = [
        "--subnet=10.213.7.0/24",
        "--opt=com.docker.network.bridge.name=cwbridge",
    ];
    let server = Server::to_be_started("hundred", kind, &subnet);
    let hosts = Hosts::on_bridge("cwbridge", &server.name);
    let waits: Vec<_> = (0..100)
        .map(|host| {
            let namespace = hosts.namespace(host);
            Beginning::new(
                Command::new("ip")
                    .args(["netns", "exec", &namespace, WAIT])
                    .args(["--mysql=app:s3cret@10.213.7.2/shop", "--timeout=90"]),
            )
        })
        .collect();
    server.run(&kind.1, &["--ip=10.213.7.2"], &["--max-connections=20"]);
    let outcomes: Vec<_> = waits.into_iter().map(Beginning::end).collect();
    let full = outcomes
        .iter()
        .filter(|o| o.stderr.contains("too_many_connections"));
    println!("{} of them found it full", full.count());
    for outcome in outcomes {
        outcome.exits(0);
    }
}

/// Network namespaces with an address each on a bridge, gone when this is dropped.
struct Hosts(String);

impl Hosts {
    fn on_bridge(bridge: &str, name: &str) -> Self {
        let hosts = Self(name.to_owned());
        for host in 0..100 {
            let namespace = hosts.namespace(host);
            let (link, address) = (format!("cw{host}"), format!("10.213.7.{}/24", host + 100));
            for args in [
                vec!["netns", "add", &namespace],
                vec![
                    "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns",
                    &namespace,
                ],
                vec!["link", "set", &link, "master", bridge, "up"],
                vec!["-n", &namespace, "address", "add", &address, "dev", "eth0"],
                vec!["-n", &namespace, "link", "set", "eth0", "up"],
            ] {
                let status = Command::new("ip").args(&args).status();
                assert!(status.expect("iproute2 is installed").success(), "{args:?}");
            }
        }
        hosts
    }

    fn namespace(&self, host: u32) -> String {
        format!("{}-{host}", self.0)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in 0..100 {
            let namespace = self.namespace(host);
            let _ = Command::new("ip")
                .args(["netns", "delete", &namespace])
                .status();
        }
    }
}
