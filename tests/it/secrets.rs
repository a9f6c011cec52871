//! No password is printed: one that occurs nowhere else comes in by every way there is and meets
//! everything that can go wrong, at every level and in both formats, and is looked for in all that
//! others can read.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::fixtures::http;
use crate::fixtures::mysql::{self, Account, packet};
use crate::fixtures::ports::{self, Port, speechless};
use crate::output::at_a_terminal;
use crate::servers::{Server, kinds};
use crate::support::{Outcome, Started, Wait, children, wait, with_path_alone};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compose_wait::kinds::KINDS;
use compose_wait::probe::reason;
use compose_wait::process::sys::OneThread;
use compose_wait::targets::Kind;
use futures_util::{StreamExt as _, stream};

/// A password that nothing else prints, between characters that URLs, JSON and shells write in another way.
const SECRET: &str = r#"Zq8vXw@Kj5tRm/"Hy2nPd\é?#%Lb6cFs"#;
const WORDS: [&str; 4] = ["Zq8vXw", "Kj5tRm", "Hy2nPd", "Lb6cFs"];

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
const FORMATS: [&str; 2] = ["text", "json"];

/// The number of `wait`s that run side by side.
const AT_ONCE: usize = 8;

/// Every word of the password in lower case, as it is and in disguise.
static TRACES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let disguises = WORDS.iter().flat_map(|word| {
        let bytes = word.bytes();
        let each = |write: fn(u8) -> String| bytes.clone().map(write).collect::<Vec<_>>();
        let in_base64 = (0..3).map(|before| {
            let all = STANDARD.encode([&b"???"[..before], word.as_bytes()].concat());
            // The first and the last characters depend on what is beside the word.
            all[[0, 2, 3][before]..][..7].to_owned()
        });
        let others = [
            (*word).to_owned(),
            each(|byte| format!("%{byte:x}")).concat(),
            each(|byte| format!("{byte:x}")).concat(),
            each(|byte| byte.to_string()).join(", "),
        ];
        in_base64.chain(others)
    });
    disguises.map(|trace| trace.to_lowercase()).collect()
});

fn trace_in(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    let found = TRACES.iter().find(|trace| text.contains(trace.as_str()));
    found.map(String::as_str)
}

/// Asserts that the password is in none of it.
#[track_caller]
fn is_not_in(way: &str, outcome: &Outcome) {
    for text in [&outcome.stdout, &outcome.stderr] {
        assert_eq!(trace_in(text), None, "{way}: {text}");
    }
}

fn percent_encoded(text: &str, stays: fn(u8) -> bool) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = match stays(byte) {
            true => encoded.write_char(byte.into()),
            false => write!(encoded, "%{byte:02X}"),
        };
        encoded
    })
}

/// The password as a URL has it.
fn in_a_url() -> String {
    percent_encoded(SECRET, |byte| byte.is_ascii_alphanumeric())
}

#[test]
fn the_search_finds_it_in_every_disguise() {
    let json = serde_json::to_string(SECRET).expect("JSON");
    let basic = |user: &str| STANDARD.encode(format!("{user}:{SECRET}"));
    for text in [
        SECRET.to_owned(),
        in_a_url(),
        percent_encoded(SECRET, |_| false),
        json,
        format!("{SECRET:?} {:?}", SECRET.as_bytes()),
        format!("{:?}", SECRET.as_bytes()),
        basic("a"),
        basic("ab"),
        basic("abc"),
        STANDARD.encode(SECRET),
        format!("{:?}", STANDARD.encode(&SECRET[9..])),
    ] {
        assert!(trace_in(&text).is_some(), "{text}");
    }
    assert_eq!(trace_in("mysql://app@db:3306/shop"), None);
}

/// Servers of every temper.
struct World {
    /// Targets, without the password, and why each is not ready.
    failing: Vec<(String, &'static str)>,
    /// Targets that are ready.
    ready: Vec<String>,
    /// A target that says nothing.
    silent: String,
    password_file: tempfile::NamedTempFile,
    _refusing: Port,
}

impl World {
    fn new() -> Self {
        let port = Port::new();
        let refusing = port.number();
        let closing = ports::serve(drop).port();
        let senseless = ports::serve(babble).port();
        let speechless = speechless().port();
        // These say it themselves.
        let echo = |who: &str| format!("HTTP/1.1 401 {who}\r\nX: {who}\r\n\r\n{who}");
        let denying = answering(echo);
        let elsewhere = |_: &str| {
            let location = format!("http://app:{}@localhost/", in_a_url());
            format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n")
        };
        let redirecting = answering(elsewhere);
        let mysql = mysql_that_knows(SECRET);
        let other_mysql = mysql_that_knows("another");

        let mysql_at = |port: u16, rest: &str| format!("mysql://app@127.0.0.1:{port}/{rest}");
        let http_at = |port: u16| format!("http://app@127.0.0.1:{port}/");
        let mut failing = vec![
            (
                "mysql://app@nowhere.invalid:3306/shop".to_owned(),
                "unresolved",
            ),
            (mysql_at(refusing, "shop"), "refused"),
            (mysql_at(closing, "shop"), "closed"),
            (mysql_at(senseless, "shop"), "protocol"),
            (mysql_at(other_mysql, "shop"), "access_denied"),
            (mysql_at(mysql, "none"), "unknown_database"),
            (mysql_at(mysql, "shop"), "query_failed"),
            (mysql_at(mysql, "shop?ssl-mode=REQUIRED"), "tls_failed"),
            (mysql_at(1, "shop?socket=/nonexistent"), "missing"),
            (
                "mysql://app@255.255.255.255:3306/shop".to_owned(),
                "unreachable",
            ),
            ("http://app@255.255.255.255:80/".to_owned(), "unreachable"),
            ("http://app@nowhere.invalid:80/".to_owned(), "unresolved"),
            (http_at(refusing), "refused"),
            (http_at(closing), "closed"),
            (http_at(senseless), "protocol"),
            (http_at(denying), "http_status"),
            (http_at(redirecting).replace("http", "https"), "tls_failed"),
        ];
        for (number, reason) in [
            (1040_u16, "too_many_connections"),
            (1129, "host_blocked"),
            (1053, "shutting_down"),
            (1047, "starting"),
            (3032, "not_serving"),
            (3159, "tls_required"),
            (1234, "server_error"),
        ] {
            let [low, high] = number.to_le_bytes();
            let server = ports::serve(move |mut stream| {
                let _ = stream.write_all(&packet(0, &[0xff, low, high])); // the client may be gone
            });
            failing.push((mysql_at(server.port(), "shop"), reason));
        }
        Self {
            failing,
            ready: vec![mysql_at(mysql, "shop"), http_at(redirecting)],
            silent: mysql_at(speechless, "shop"),
            password_file: password_file(),
            _refusing: port,
        }
    }
}

/// A server that sends garbage at once.
fn babble(mut stream: TcpStream) {
    let _ = stream.write_all(b"SSH-2.0-x\r\n\r\n"); // the client may be gone
    let _ = stream.read(&mut [0; 4096]);
}

/// A service with answers that are made of the credentials in the request.
fn answering(make: impl Fn(&str) -> String + Clone + Send + 'static) -> u16 {
    let answer = move |request: &str| {
        let mut lines = request.lines();
        let credentials = lines.find_map(|line| line.strip_prefix("authorization: "));
        make(credentials.unwrap_or_default()).into()
    };
    http::answering(answer).0
}

fn password_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), SECRET).expect("written");
    file
}

fn mysql_that_knows(password: &'static str) -> u16 {
    let account = Account {
        user: "app",
        password,
        database: "shop",
    };
    mysql::start(account).0.port()
}

/// A way for a password, and targets, to come in.
struct Way {
    name: &'static str,
    /// Whether it is on the command line, where others can read it.
    is_typed: bool,
    is_check: bool,
    /// Whether it is for MySQL alone.
    is_mysql: bool,
    /// With the file that holds the password.
    plant: fn(Wait, &Path, &[&str]) -> Wait,
}

/// A list of targets with the password in each.
fn in_urls(targets: &[&str], password: &str) -> String {
    targets.join(",").replace('@', &format!(":{password}@"))
}

fn without_schemes(targets: &[&str]) -> String {
    targets.join("\n").replace("mysql://", "")
}

fn repeated(flag: &str, targets: &str) -> Vec<String> {
    targets
        .split(',')
        .map(|target| format!("{flag}={target}"))
        .collect()
}

const WAYS: [Way; 13] = [
    Way {
        name: "a URL in WAIT_HOSTS",
        plant: |wait, _, targets| wait.var("WAIT_HOSTS", in_urls(targets, &in_a_url())),
        ..VARIABLE
    },
    Way {
        name: "a URL that is encoded all over",
        plant: |wait, _, targets| {
            let password = percent_encoded(SECRET, |_| false);
            wait.var("WAIT_HOSTS", in_urls(targets, &password))
        },
        ..VARIABLE
    },
    Way {
        name: "WAIT_MYSQL",
        is_mysql: true,
        plant: |wait, _, targets| {
            let targets = in_urls(&[&without_schemes(targets)], &in_a_url());
            wait.var("WAIT_MYSQL", targets)
        },
        ..VARIABLE
    },
    Way {
        name: "env:DATABASE_URL",
        plant: |wait, _, targets| {
            wait.var("DATABASE_URL", in_urls(targets, &in_a_url()))
                .var("WAIT_HOSTS", "env:DATABASE_URL")
        },
        ..VARIABLE
    },
    Way {
        name: "WAIT_MYSQL_PASSWORD",
        plant: |wait, _, targets| {
            wait.var("WAIT_HOSTS", targets.join(","))
                .var("WAIT_MYSQL_PASSWORD", SECRET)
        },
        ..VARIABLE
    },
    Way {
        name: "WAIT_MYSQL_PASSWORD_FILE",
        plant: |wait, file, targets| {
            wait.var("WAIT_HOSTS", targets.join(","))
                .var("WAIT_MYSQL_PASSWORD_FILE", file)
        },
        ..VARIABLE
    },
    Way {
        name: "beside a deprecated name",
        plant: |wait, _, targets| {
            wait.var("WAIT_HOSTS", in_urls(targets, &in_a_url()))
                .var("WAIT_AFTER_HOSTS", "0")
        },
        ..VARIABLE
    },
    Way {
        name: "--for",
        is_typed: true,
        plant: |wait, _, targets| wait.args(repeated("--for", &in_urls(targets, &in_a_url()))),
        ..VARIABLE
    },
    Way {
        name: "--mysql",
        is_typed: true,
        is_mysql: true,
        plant: |wait, _, targets| wait.args(repeated("--mysql", &in_urls(targets, &in_a_url()))),
        ..VARIABLE
    },
    Way {
        name: "--check",
        is_typed: true,
        is_check: true,
        plant: |wait, _, targets| wait.args(["--check", &in_urls(targets, &in_a_url())]),
        ..VARIABLE
    },
    Way {
        name: "--check env:DATABASE_URL",
        is_check: true,
        plant: |wait, _, targets| {
            wait.var("DATABASE_URL", in_urls(targets, &in_a_url()))
                .args(["--check", "env:DATABASE_URL"])
        },
        ..VARIABLE
    },
    Way {
        name: "--check and WAIT_MYSQL_PASSWORD",
        is_check: true,
        plant: |wait, _, targets| {
            wait.var("WAIT_MYSQL_PASSWORD", SECRET)
                .args(["--check", &targets.join(",")])
        },
        ..VARIABLE
    },
    Way {
        name: "--check and WAIT_MYSQL_PASSWORD_FILE",
        is_check: true,
        plant: |wait, file, targets| {
            wait.var("WAIT_MYSQL_PASSWORD_FILE", file)
                .args(["--check", &targets.join(",")])
        },
        ..VARIABLE
    },
];

/// The properties of most of them.
const VARIABLE: Way = Way {
    name: "",
    is_typed: false,
    is_check: false,
    is_mysql: false,
    plant: |wait, _, _| wait,
};

impl Way {
    /// `wait` for these targets, or those of them that the way is for.
    fn plant(&self, wait: Wait, file: &Path, targets: &[&str]) -> Wait {
        let targets = targets.iter().filter(|target| self.takes(target));
        (self.plant)(wait, file, &targets.copied().collect::<Vec<_>>())
    }

    fn takes(&self, target: &str) -> bool {
        !self.is_mysql || target.starts_with("mysql:")
    }
}

/// Every level in every format.
fn loudness() -> impl Iterator<Item = (&'static str, &'static str)> {
    LEVELS
        .into_iter()
        .flat_map(|level| FORMATS.map(|format| (level, format)))
}

fn logging((level, format): (&str, &str)) -> Wait {
    wait()
        .var("WAIT_LOGGER_LEVEL", level)
        .var("WAIT_LOG_FORMAT", format)
}

/// A run, its name, and what is promised of it beyond that it prints no password.
type Run<'a> = (String, Wait, Box<dyn Fn(&Outcome) + 'a>);

/// Runs them, some at once.
async fn print_nothing(runs: Vec<Run<'_>>) {
    let outcomes = runs.into_iter().map(|(name, wait, check)| async move {
        let outcome = wait.run_beside().await;
        is_not_in(&name, &outcome);
        println!("{name}");
        check(&outcome);
    });
    stream::iter(outcomes)
        .buffer_unordered(AT_ONCE)
        .count()
        .await;
}

#[tokio::test]
async fn no_failure_prints_it() {
    let world = &World::new();
    let mut runs: Vec<Run> = Vec::new();
    for way in &WAYS {
        let failing = world.failing.iter().filter(|(target, _)| way.takes(target));
        let failing: Vec<_> = failing.collect();
        // A check tells of one.
        let at_once = if way.is_check { 1 } else { failing.len() };
        for (failing, loudness) in failing
            .chunks(at_once)
            .flat_map(|failing| loudness().map(move |loudness| (failing.to_vec(), loudness)))
        {
            let targets: Vec<_> = failing.iter().map(|(target, _)| &**target).collect();
            let wait = logging(loudness)
                .var("WAIT_TIMEOUT", "0")
                .var("WAIT_MYSQL_QUERY", "SELEKT")
                .var("WAIT_COMMAND", format!("mysql '-p{SECRET}'"));
            let wait = way.plant(wait, world.password_file.path(), &targets);
            let name = format!("{}, {loudness:?}, {}", way.name, targets.join(" "));
            let check = move |outcome: &Outcome| {
                outcome.exits(1);
                if loudness.0 == "off" {
                    return assert_eq!(outcome.stderr, "");
                }
                for (target, reason) in &failing {
                    let reason = match loudness.1 {
                        "json" => format!("\"reason\":\"{reason}\""),
                        _ => format!(": {reason}: "),
                    };
                    outcome.says(&[target, &reason]);
                }
            };
            runs.push((name, wait, Box::new(check)));
        }
        let still_there = format!("{}#gone", world.ready[0]);
        // These need a setting or an option of their own.
        for (target, (name, value), reason) in [
            (
                &world.ready[0],
                ("WAIT_MYSQL_QUERY", "SELECT 1 WHERE FALSE"),
                "query_empty",
            ),
            (
                &world.silent,
                ("WAIT_HOST_CONNECT_TIMEOUT", "500ms"),
                "timed_out",
            ),
            (&still_there, ("WAIT_AFTER", "0"), "still_there"),
        ] {
            let wait = logging(("trace", "json"))
                .var("WAIT_TIMEOUT", "0")
                .var(name, value);
            let wait = way.plant(wait, world.password_file.path(), &[target]);
            let check = move |outcome: &Outcome| {
                outcome.exits(1).says(&["\"reason\":", reason]);
            };
            runs.push((format!("{}, {reason}", way.name), wait, Box::new(check)));
        }
    }
    print_nothing(runs).await;
    let reasons: BTreeSet<_> = world.failing.iter().map(|(_, reason)| *reason).collect();
    // The kinds that such servers are there for.
    let is_there = |kind: &&&Kind| {
        let mut targets = world.failing.iter();
        targets.any(|(target, _)| {
            kind.schemes
                .iter()
                .any(|scheme| target.starts_with(scheme.name))
        })
    };
    let of_kinds = KINDS.iter().filter(is_there).flat_map(|kind| kind.reasons);
    let all = reason::COMMON.iter().chain(of_kinds);
    let all: BTreeSet<_> = all.map(|reason| reason.name).collect();
    let others: Vec<_> = all.difference(&reasons).copied().collect();
    assert_eq!(others, ["query_empty", "still_there", "timed_out"]);
}

#[tokio::test]
async fn no_end_of_a_wait_prints_it() {
    let world = &World::new();
    let targets: Vec<_> = world.ready.iter().map(|target| &**target).collect();
    let commands = [("true", 0), ("no-such-program", 127), ("/", 126)];
    let mut runs: Vec<Run> = Vec::new();
    for way in &WAYS {
        for loudness in loudness() {
            let mut add = |command: &str, code| {
                let wait = logging(loudness).var("WAIT_COMMAND", command);
                runs.push((
                    format!("{}, {loudness:?}, {command}", way.name),
                    way.plant(wait, world.password_file.path(), &targets),
                    Box::new(move |outcome| {
                        outcome.exits(code);
                    }),
                ));
            };
            match way.is_check {
                true => add("", 0),
                false => commands.iter().for_each(|(program, code)| {
                    add(&format!("{program} '-p{SECRET}'"), *code);
                }),
            }
        }
    }
    print_nothing(runs).await;
}

/// Mistakes: the exit status, a part of the message, and the variables and arguments, with
/// `{}` in the place of the password, or `{word}` where it can only be one without special characters.
const MISTAKES: &str = r#"
2 | expected a port | WAIT_HOSTS=mysql://app:{}@db:x/shop
2 | expected a port | WAIT_HOSTS=mysql://app:{}@db:99999/shop
2 | expected a port | WAIT_HOSTS=mysql://app:{word}
2 | expected ssl-mode to be | WAIT_HOSTS=mysql://app:{}@db?ssl-mode=maybe
2 | an unknown parameter: expected ssl-mode or socket | WAIT_HOSTS=mysql://app:{}@db?nonsense={}
2 | an unknown parameter: expected ssl-mode or socket | WAIT_HOSTS=mysql://app:12?{word},rest@db
2 | expected one name after the host | WAIT_HOSTS=mysql://app:{}@db/a/b
2 | expected a host name | WAIT_HOSTS=mysql://app:{}@d b/
2 | percent-encoding that is not UTF-8 | WAIT_HOSTS=mysql://app:%ff{word}@db/
2 | percent-encoded | WAIT_HOSTS=mysql://app:1/{word}@db/
1 | the value is in quotes | WAIT_HOSTS="mysql://app:{word}@127.0.0.1:1/shop" | WAIT_TIMEOUT=0
2 | expected no quotes | WAIT_HOSTS="mysql://app:{word}@db/shop
2 | expected HOST:PORT | WAIT_HOSTS=app:{}@db:3306
2 | expected HOST:PORT | WAIT_HOSTS=tcp://app:{}@db:3306
2 | is unknown: expected HOST:PORT, tcp:// | WAIT_HOSTS=gopher://app:{}@db/shop
1 | only the port is checked | WAIT_HOSTS=nats://app:{word}@127.0.0.1:1/shop | WAIT_TIMEOUT=0
1 | refused | WAIT_HOSTS=env:DB | DB=rediss://127.0.0.1:1/0?user=app&password={word} | WAIT_TIMEOUT=0
2 | expected a port | WAIT_HOSTS=postgres://app:{}@db:x/shop
2 | percent-encoded | WAIT_HOSTS=postgres://app:1/{word}@db/shop
2 | expected a port | WAIT_HOSTS=http://app:{}@web:x/
2 | expected a port | WAIT_HOSTS=http://app:{word}
1 | has a password and no user | WAIT_HOSTS=env:DB | DB=jdbc:mysql://127.0.0.1:1/shop?password={word} | WAIT_TIMEOUT=0
1 | refused | WAIT_HOSTS=env:DB | DB=jdbc:mysql://127.0.0.1:1/shop?user=app&password={word} | WAIT_TIMEOUT=0
1 | refused | WAIT_HOSTS=env:DB | DB=app:{word}@tcp(127.0.0.1:1)/shop | WAIT_TIMEOUT=0
1 | refused | WAIT_HOSTS=env:DB | DB=Server=127.0.0.1;Port=1;Uid=app;Pwd={word} | WAIT_TIMEOUT=0
2 | env:DB: expected a port | WAIT_HOSTS=env:DB | DB=jdbc:mysql://db:x/shop?user=app&password={}
2 | env:DB: expected a port | WAIT_HOSTS=env:DB | DB=app:{}@tcp(db:x)/shop
2 | env:DB: expected | WAIT_HOSTS=env:DB | DB=app:{}@tcp(db:3306/shop
2 | env:DB: expected a port | WAIT_HOSTS=env:DB | DB=Server=db;Port=x;Uid=app;Pwd={word}
2 | env:DB: expected | WAIT_HOSTS=env:DB | DB=host=db port=x user=app password={} dbname=shop
2 | env:DB: expected ssl-mode to be | WAIT_HOSTS=env:DB | DB=r2dbc:mysql://app:{}@db/shop?sslMode={word}
2 | env:DB: expected no ${…} | WAIT_HOSTS=env:DB | DB=mysql://app:{word}${X}@db/shop
2 | env:DB: expected a user and a database without a NUL | WAIT_HOSTS=env:DB | DB=mysql://a%00:{word}@db/shop
2 | expected no ${…} | WAIT_HOSTS=mysql://app:{word}${X}@db/shop
2 | targets are separated by commas | WAIT_HOSTS=db:1;{word}
2 | expected a port | WAIT_HOSTS=mysql:db;password={word}
2 | expected HOST:PORT | WAIT_HOSTS=Server=db;Password={}
2 | expected a port | WAIT_MYSQL=app:{}@db:x
2 | expected a port | WAIT_MYSQL=app:{word}
2 | percent-encoded | WAIT_MYSQL=app:{word}#@db
2 | an unknown option after '#' | WAIT_MYSQL=app@db#password={}
2 | an unknown option after '#' | WAIT_HOSTS=http://app:{}@web/#{word}
2 | an unknown option after '#' | WAIT_HOSTS=tcp://web:80#{word}
2 | expected one of a password, | WAIT_MYSQL=app:{}@db#password-file=/f
2 | to name a variable that is set | WAIT_MYSQL=app@db#password-env={word}
2 | expected a mysql:// URL | WAIT_MYSQL=app:{word}://@db
2 | expected a mysql:// URL | WAIT_MYSQL=redis://:{}@cache:6379
2 | expected HOST:PORT | WAIT_HOSTS=app:x@/{word}@db:80
2 | expected a mysql:// URL | WAIT_MYSQL=env:DB | DB=pgsql:host=db;user=app;password={word}@/shop
2 | expected a mysql:// URL | WAIT_MYSQL=Host=db;Username=app;Password={word}
2 | expected a port | WAIT_MYSQL=app:{}@udp(db:3306)/shop
2 | expected a host name | WAIT_MYSQL=Server=db;Password={}
2 | env:DB: expected HOST:PORT | WAIT_HOSTS=env:DB | DB={}
2 | expected a port | WAIT_HOSTS=env:DB | DB=mysql://app:{}@db:x
2 | env:DB: expected a host | WAIT_MYSQL=env:DB | DB=Server=db;Password={}
2 | env:DB2: expected | WAIT_HOSTS=env:DB | DB=env:DB2 | DB2={}
1 | missing: the password's file … does not exist | WAIT_MYSQL=app@127.0.0.1:1 | WAIT_MYSQL_PASSWORD_FILE={} | WAIT_TIMEOUT=0
1 | missing: the password's file … does not exist | WAIT_MYSQL=app@127.0.0.1:1#password-file={word} | WAIT_TIMEOUT=0
2 | expected one of WAIT_MYSQL_PASSWORD and | WAIT_MYSQL=app@db | WAIT_MYSQL_PASSWORD_FILE=/f | WAIT_MYSQL_PASSWORD={}
2 | expected a user | WAIT_MYSQL_QUERY=DO 0 | WAIT_MYSQL=db | WAIT_MYSQL_PASSWORD={}
2 | /f: expected a readable | WAIT_TLS_CA_FILE=/f | WAIT_MYSQL_PASSWORD={}
2 | expected 1 or 0 | WAIT_SCRUB=app:{}@db
2 | expected auto | WAIT_INIT=app:{}@db
0 | the default is used | WAIT_TIMEOUT=app:{}@db
0 | the default is used | WAIT_HOSTS_TIMEOUT=app:{}@db
1 | has a password and no user | WAIT_MYSQL=127.0.0.1:1 | WAIT_MYSQL_PASSWORD={} | WAIT_TIMEOUT=0
2 | expected every quote to be closed | WAIT_COMMAND=mysql '-p{}
2 | expected every quote to be closed | WAIT_COMMAND=mysql'-p{word}
2 | expected every quote to be closed | WAIT_COMMAND=MYSQL_PWD='{word} mysql
127 | cannot start MYSQL_PWD=…: not found | WAIT_COMMAND=MYSQL_PWD={word} mysql
2 | …@db… is a target and no command: write /wait --for | mysql://app:{}@db/shop | -- | node
2 | -t: a time limit is given as --timeout SECONDS | -t | {}
0 | did you mean WAIT_HOSTS? | WAIT_HOST=mysql://app:{}@db/shop
0 | there is no shell | WAIT_COMMAND=true {word} && true
127 | cannot start …: not found | app:{}@db:3306 | node
1 | http://127.0.0.1:1/?… is not ready | WAIT_HOSTS=http://127.0.0.1:1/?token={word} | WAIT_TIMEOUT=0
2 | unexpected value 'mysql://…@db' | --help=mysql://app:{}@db
2 | unexpected value 'mysql://…@db' | --version=mysql://app:{}@db
2 | unexpected argument '…' | --mysql://app:{}@db
2 | unexpected argument '…@db' | --mysqlapp:{}@db
2 | unexpected argument '--mysq' | --mysq=app:{}@db
2 | unexpected argument '-p' | -p{} | mysql
2 | unexpected argument '--password' | --password={} | mysql
2 | unexpected argument '--nonsense' | --mysql=app:{}@db | --nonsense
2 | a value is required | --mysql=app:{}@db | --timeout
2 | --timeout: soon: expected seconds | --mysql=app:{word}@db | --timeout=soon
2 | expected seconds | --timeout=app:{}@db
1 | expected a port | --check=mysql://app:{}@db:x
1 | multiple times | --check=mysql://app:{}@db | --check=/
1 | expected no command | --check=/ | mysql | -p{}
"#;

#[tokio::test]
async fn no_mistake_prints_it() {
    let encoded = in_a_url();
    let with_commas = WORDS.join(",");
    let mut runs: Vec<Run> = Vec::new();
    for line in MISTAKES.trim().lines() {
        let columns: Vec<_> = line.split(" | ").collect();
        let [code, says, settings @ ..] = &columns[..] else {
            panic!("{line}")
        };
        let (code, says): (i32, _) = (code.parse().expect("a status"), says.to_string());
        let warnings = [
            "default is used",
            "no user",
            "in quotes",
            "only the port",
            "did you mean",
            "no shell",
        ];
        let is_warning = warnings.iter().any(|warning| says.contains(warning));
        let mut add = |password: &str, loudness: (&'static str, &str), is_as_meant| {
            let mut wait = logging(loudness);
            for setting in settings {
                let setting = setting.replace("{}", password).replace("{word}", WORDS[0]);
                wait = match setting.split_once('=') {
                    Some((name, value)) if !name.starts_with('-') => wait.var(name, value),
                    _ => wait.args([setting]),
                };
            }
            let says = says.clone();
            let check = move |outcome: &Outcome| {
                outcome.exits(code);
                match loudness.0 {
                    "off" => assert_eq!(outcome.stderr, ""),
                    "error" if is_warning => {}
                    _ if is_as_meant => {
                        outcome.says(&[&says]);
                    }
                    _ => assert_ne!(outcome.stderr, ""),
                }
                if code == 2 {
                    assert!(outcome.stderr.lines().count() <= 1, "{outcome:?}");
                }
            };
            runs.push((
                format!("{line}, {password}, {loudness:?}"),
                wait,
                Box::new(check),
            ));
        };
        loudness().for_each(|loudness| add(WORDS[0], loudness, true));
        add(&encoded, ("trace", "text"), true);
        // These may be another mistake than the one that is meant.
        add(&with_commas, ("trace", "text"), false);
        add(SECRET, ("trace", "text"), false);
    }
    print_nothing(runs).await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_not_printed_either() {
    let odd = || OsString::from_vec([SECRET.as_bytes(), b"\xff"].concat());
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), odd().into_vec()).expect("written");
    let mut runs: Vec<Run> = Vec::new();
    for format in FORMATS {
        let loud = || logging(("trace", format));
        let mysql = || {
            let wait = loud().var("WAIT_MYSQL", "app@127.0.0.1:1");
            wait.var("WAIT_TIMEOUT", "0")
        };
        for (code, name, wait) in [
            (2, "WAIT_HOSTS", loud().var("WAIT_HOSTS", odd())),
            (
                2,
                "WAIT_MYSQL_PASSWORD: expected UTF-8 text",
                mysql().var("WAIT_MYSQL_PASSWORD", odd()),
            ),
            (
                1,
                "is not UTF-8 text",
                mysql().var("WAIT_MYSQL_PASSWORD_FILE", file.path()),
            ),
            (
                2,
                "env:DB",
                loud().var("WAIT_HOSTS", "env:DB").var("DB", odd()),
            ),
            (
                2,
                "invalid UTF-8",
                loud().args([OsString::from("--mysql"), odd()]),
            ),
        ] {
            let check = move |outcome: &Outcome| {
                outcome.exits(code).says(&[name]);
            };
            runs.push((name.to_owned(), wait, Box::new(check)));
        }
    }
    print_nothing(runs).await;
}

/// The command line of a process as others read it; it is empty while a program is started.
fn command_line(pid: u32) -> String {
    let start = Instant::now();
    loop {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it waits");
        if !line.is_empty() {
            return String::from_utf8_lossy(&line).replace('\0', " ");
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it has ended");
    }
}

#[tokio::test]
async fn it_is_not_in_the_command_line_of_the_process() {
    let world = &World::new();
    let mut waits: Vec<(String, Started)> = Vec::new();
    for way in WAYS.iter().filter(|way| !way.is_typed && !way.is_check) {
        for format in FORMATS {
            for mode in ["always", "never"] {
                let name = format!("{}, {format}, {mode}", way.name);
                let wait = logging(("trace", format))
                    .var("WAIT_INIT", mode)
                    .var("WAIT_TIMEOUT", "3")
                    .var("WAIT_COMMAND", format!("mysql '-p{SECRET}'"));
                let started = way
                    .plant(wait, world.password_file.path(), &[&world.silent])
                    .start();
                // At once, since none of them waits for the others to be started.
                let mut processes = vec![started.id()];
                let start = Instant::now();
                while mode == "always" && processes.len() < 2 {
                    processes.extend(children(started.id()));
                    assert!(
                        start.elapsed() < Duration::from_secs(20),
                        "{name}: no child"
                    );
                }
                for pid in processes {
                    // For a moment it may still be the one of this process.
                    let mut line = command_line(pid);
                    while !line.ends_with("wait ") && start.elapsed() < Duration::from_secs(20) {
                        line = command_line(pid);
                    }
                    assert!(line.ends_with("wait "), "{name}: {line}");
                    assert_eq!(trace_in(&line), None, "{name}: {line}");
                }
                waits.push((name, started));
            }
        }
    }
    let end = move || {
        for (name, started) in waits {
            let outcome = started.end();
            is_not_in(&name, &outcome);
            outcome
                .exits(1)
                .says(&["mysql://app@127.0.0.1:", "/shop", "timed_out"]);
        }
    };
    tokio::task::spawn_blocking(end).await.expect("no panic");
}

#[tokio::test]
async fn it_is_not_drawn_at_a_terminal() {
    let world = World::new();
    let targets: Vec<_> = world.failing.iter().map(|(target, _)| &**target).collect();
    let targets = in_urls(&targets, &in_a_url());
    let draw = move || at_a_terminal(&["--timeout=1"], &[("WAIT_HOSTS", &targets)], true);
    let (outcome, drawn) = tokio::task::spawn_blocking(draw).await.expect("no panic");
    outcome.exits(1);
    assert!(
        drawn.contains("\x1b[") && drawn.contains("access_denied: "),
        "{drawn}"
    );
    assert_eq!(trace_in(&drawn), None, "{drawn}");
}

#[tokio::test]
async fn a_command_need_not_be_given_it() {
    let world = World::new();
    for name in [
        "WAIT_MYSQL",
        "WAIT_MYSQL_PASSWORD",
        "WAIT_MYSQL_PASSWORD_FILE",
    ] {
        let way = WAYS.iter().find(|way| way.name == name).expect("a way");
        for (scrub, is_kept) in [("1", false), ("0", true)] {
            let wait = wait().var("WAIT_SCRUB", scrub).args(["env"]);
            let target = world.ready[0].as_str();
            let outcome = way
                .plant(wait, world.password_file.path(), &[target])
                .run_beside()
                .await;
            outcome.exits(0).says(&[target, "is ready"]);
            assert_eq!(
                outcome.stdout.contains(&format!("{name}=")),
                is_kept,
                "{outcome:?}"
            );
            let is_in_environment = is_kept && name != "WAIT_MYSQL_PASSWORD_FILE";
            assert_eq!(
                trace_in(&outcome.stdout).is_some(),
                is_in_environment,
                "{outcome:?}"
            );
        }
    }
}

/// An init stays beside the command, which can read the init's environment.
#[tokio::test]
async fn nor_is_it_in_the_environment_of_the_init() {
    const LOOK: &str = "tr '\\0' '\\n' </proc/$PPID/environ";
    let world = World::new();
    for (scrub, is_shown) in [("1", false), (" 1 ", false), ("0", true)] {
        let outcome = wait()
            .var("WAIT_SCRUB", scrub)
            .var("WAIT_MYSQL", "")
            .var("WAIT_MYSQL_PASSWORD", SECRET)
            .args(["--init=always", "--mysql", &world.ready[0]])
            .args(["sh", "-c", LOOK])
            .run_beside()
            .await;
        outcome.exits(0);
        assert!(outcome.stdout.contains("WAIT_MYSQL_PASSWORD="));
        assert!(outcome.stdout.contains("PATH=/"), "{outcome:?}");
        assert_eq!(trace_in(&outcome.stdout).is_some(), is_shown, "{outcome:?}");
    }
}

/// Set for the process that is to panic.
const PANICS: &str = "WAIT_SECRETS_TEST_PANICS";

/// A bug: a panic that is about a password, once `wait` has begun.
#[test]
fn a_panic_in_another_process() {
    if let Ok(format) = std::env::var(PANICS) {
        let args = ["wait", "--path=/", "--log-format", &format];
        // SAFETY: the harness has threads of its own, but none that reads or changes the environment.
        #[allow(unsafe_code)]
        let thread = unsafe { OneThread::promise() };
        compose_wait::run(args.map(OsString::from), thread);
        panic!("not a URL: {SECRET}");
    }
}

#[test]
fn a_panic_does_not_print_it() {
    for format in FORMATS {
        let output = with_path_alone(std::env::current_exe().expect("a program"))
            .args([
                "secrets::a_panic_in_another_process",
                "--exact",
                "--nocapture",
            ])
            .env(PANICS, format)
            .env("RUST_BACKTRACE", "full")
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(101), "{text}");
        let place = format!("a bug in wait, please report it: {}:", file!());
        assert!(text.contains(&place), "{text}");
        assert_eq!(trace_in(&text), None, "{text}");
    }
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn no_server_logs_it() {
    const LOG: &str = "/var/lib/mysql/general.log";
    let file = password_file();
    for kind in kinds() {
        let (log, verbosity) = (
            format!("--general-log-file={LOG}"),
            match kind.0 {
                "mysql" => "--log-error-verbosity=3",
                _ => "--log-warnings=9",
            },
        );
        let server = Server::started("secrets", &kind, &[], &[&log, verbosity]);
        let plugins = match kind.0 {
            "mysql" => [
                "WITH caching_sha2_password BY '",
                "WITH sha256_password BY '",
            ],
            _ => [
                "VIA mysql_native_password USING PASSWORD('",
                "VIA ed25519 USING PASSWORD('",
            ],
        };
        if kind.0 == "mariadb" {
            server.sql("INSTALL SONAME 'auth_ed25519'");
        }
        let create = |user: &str, plugin: &str, password: &str, more: &str| {
            let end = if plugin.ends_with("('") { "')" } else { "'" };
            let password = password.replace('\\', r"\\");
            let how = format!("IDENTIFIED {plugin}{password}{end}");
            server.sql(&format!("CREATE USER {user} {how} {more}"));
            server.sql(&format!("GRANT SELECT ON shop.* TO {user}"));
        };
        for (n, plugin) in plugins.iter().enumerate() {
            create(&format!("well{n}"), plugin, SECRET, "");
            create(&format!("other{n}"), plugin, "another", "");
            create(&format!("locked{n}"), plugin, SECRET, "ACCOUNT LOCK");
        }
        server.sql("SET GLOBAL general_log = ON");
        let address = server.address();
        let mut runs: Vec<Run> = Vec::new();
        for way in &WAYS {
            for n in 0..plugins.len() {
                for (user, rest, query, says) in [
                    ("well", "shop", "SELECT 1", ""),
                    ("well", "shop?ssl-mode=DISABLED", "SELECT 1", ""),
                    ("well", "shop", "SELECT nothing", "query_failed"),
                    ("well", "none", "SELECT 1", "unknown_database"),
                    (
                        "well",
                        "shop?ssl-mode=VERIFY_IDENTITY",
                        "SELECT 1",
                        "tls_failed",
                    ),
                    ("other", "shop", "SELECT 1", "access_denied"),
                    (
                        "other",
                        "shop?ssl-mode=DISABLED",
                        "SELECT 1",
                        "access_denied",
                    ),
                    ("locked", "shop", "SELECT 1", "access_denied"),
                    ("nobody", "shop", "SELECT 1", "access_denied"),
                ] {
                    let wait = logging(("trace", "text"))
                        .var("WAIT_TIMEOUT", "0")
                        .var("WAIT_MYSQL_QUERY", query);
                    let target = format!("mysql://{user}{n}@{address}/{rest}");
                    let check = move |outcome: &Outcome| {
                        let reason = format!(": {says}: ");
                        match says {
                            "" => outcome.exits(0),
                            _ => outcome.exits(1).says(&["error: ", &reason]),
                        };
                    };
                    runs.push((
                        format!("{}, {target}, {query}", way.name),
                        way.plant(wait, file.path(), &[&target]),
                        Box::new(check),
                    ));
                }
            }
        }
        print_nothing(runs).await;
        let general = server.file(LOG);
        for part in [
            "well0",
            "other1",
            "locked0",
            "nobody1",
            "SELECT 1",
            "SELECT nothing",
        ] {
            assert!(general.contains(part), "{part} is not in {general}");
        }
        assert_eq!(trace_in(&general), None, "{general}");
        let errors = server.log("all");
        assert!(errors.contains("Access denied"), "{errors}");
        assert_eq!(trace_in(&errors), None, "{errors}");
        // It would be there.
        let wait = wait()
            .var("WAIT_MYSQL", format!("well0@{address}"))
            .var("WAIT_MYSQL_PASSWORD", SECRET)
            .var("WAIT_MYSQL_QUERY", format!("SELECT '{SECRET}'"));
        wait.run_beside().await.exits(0);
        assert!(trace_in(&server.file(LOG)).is_some());
    }
}
