//! The contract of every setting, as tables.

use std::collections::HashMap;

use clap::Parser as _;
use proptest::prelude::*;

use super::*;

/// What a command line, an environment and some files come to.
#[derive(Default)]
struct Given {
    args: Vec<&'static str>,
    vars: HashMap<&'static str, &'static str>,
    files: HashMap<&'static str, &'static [u8]>,
}

fn vars<const N: usize>(vars: [(&'static str, &'static str); N]) -> Given {
    Given {
        vars: vars.into(),
        ..Given::default()
    }
}

fn args<const N: usize>(args: [&'static str; N]) -> Given {
    Given {
        args: args.into(),
        ..Given::default()
    }
}

impl Given {
    fn args<const N: usize>(mut self, args: [&'static str; N]) -> Self {
        self.args.extend(args);
        self
    }

    fn file(mut self, path: &'static str, contents: &'static [u8]) -> Self {
        self.files.insert(path, contents);
        self
    }

    fn resolve(&self) -> Result<(Config, Vec<Notice>), ConfigError> {
        let cli = Cli::try_parse_from([&["wait"], &self.args[..]].concat()).expect("arguments");
        resolve(
            &cli,
            &Surroundings {
                variable: &|name| self.vars.get(name).map(OsString::from),
                file: &|path| match self.files.get(path.to_str().expect("UTF-8")) {
                    Some(contents) => Ok(contents.to_vec()),
                    None => Err(io::ErrorKind::NotFound.into()),
                },
                is_terminal: false,
            },
        )
    }

    /// The configuration, where there is nothing to notice.
    fn config(&self) -> Config {
        let (config, notices) = self.resolve().expect("usable settings");
        assert_eq!(notices, []);
        config
    }

    fn targets(&self) -> Vec<String> {
        let targets = self.config().targets;
        targets.iter().map(Target::to_string).collect()
    }

    fn error(&self) -> String {
        self.resolve().expect_err("unusable settings").to_string()
    }

    fn notices(&self) -> Vec<String> {
        let notices = self.resolve().expect("usable settings").1;
        notices.into_iter().map(|Notice(text)| text).collect()
    }
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn without_settings_there_is_nothing_to_wait_for() {
    let expected = Config {
        targets: Vec::new(),
        timing: Timing {
            timeout: Some(s(30)),
            connect_timeout: s(5),
            interval: None,
            before: s(0),
            after: s(0),
        },
        mysql_query: None,
        is_check: false,
        tls_authorities: Vec::new(),
        command: None,
        scrub: false,
    };
    assert_eq!(vars([]).config(), expected);
    // An empty variable counts as unset, whichever it is.
    let given = Given {
        vars: env::ALL
            .iter()
            .map(|variable| (variable.name, ""))
            .collect(),
        ..Given::default()
    };
    assert_eq!(given.config(), expected);
}

#[test]
fn lists_are_split_and_empty_items_ignored() {
    let given = vars([
        ("WAIT_HOSTS", "a:1, b:2,\n"),
        ("WAIT_PATHS", "/x , /y z\n\n"),
        ("WAIT_MYSQL", "db,\n app@other:3307/shop"),
    ]);
    assert_eq!(
        given.targets(),
        [
            "a:1",
            "b:2",
            "mysql://db:3306",
            "mysql://app@other:3307/shop",
            "/x",
            "/y z"
        ]
    );
}

#[test]
fn a_flag_beats_its_variable() {
    let given = vars([
        ("WAIT_HOSTS", "a:1"),
        ("WAIT_PATHS", "/x"),
        ("WAIT_MYSQL", "db"),
        ("WAIT_TIMEOUT", "nonsense that nobody looks at"),
        ("WAIT_COMMAND", "an 'unclosed quote that nobody looks at"),
    ])
    .args([
        "--for",
        "b:2",
        "--for",
        "c:3,d:4",
        "--path",
        "/a,b",
        "--mysql",
        "m",
        "--timeout=7",
    ])
    .args(["node", "--flag", "main.js"]);
    assert_eq!(
        given.targets(),
        ["b:2", "c:3", "d:4", "mysql://m:3306", "/a,b"]
    );
    let config = given.config();
    assert_eq!(config.timing.timeout, Some(s(7)));
    let expected = Command {
        program: "node".into(),
        args: vec!["--flag".into(), "main.js".into()],
    };
    assert_eq!(config.command, Some(expected));
}

#[test]
fn durations_are_seconds_or_what_humantime_reads() {
    for (text, timeout) in [
        ("0", Some(s(0))),
        ("3", Some(s(3))),
        (" 3 ", Some(s(3))),
        ("3s", Some(s(3))),
        ("500ms", Some(Duration::from_millis(500))),
        ("1m 30s", Some(s(90))),
        ("18446744073709551615", Some(s(u64::MAX))),
        ("infinity", None),
    ] {
        assert_eq!(
            vars([("WAIT_TIMEOUT", text)]).config().timing.timeout,
            timeout,
            "{text}"
        );
    }
    let timing = vars([
        ("WAIT_HOST_CONNECT_TIMEOUT", "1"),
        ("WAIT_SLEEP_INTERVAL", "0"),
        ("WAIT_BEFORE", "2s"),
        ("WAIT_AFTER", "3"),
    ])
    .config()
    .timing;
    let expected = Timing {
        timeout: Some(s(30)),
        connect_timeout: s(1),
        interval: Some(s(0)),
        before: s(2),
        after: s(3),
    };
    assert_eq!(timing, expected);
}

proptest! {
    #[test]
    fn a_duration_is_read_as_it_is_printed(duration: Duration) {
        let printed = humantime::format_duration(duration).to_string();
        prop_assert_eq!(parse_duration(&printed), Some(duration));
        let seconds = duration.as_secs();
        prop_assert_eq!(parse_duration(&seconds.to_string()), Some(s(seconds)));
    }
}

#[test]
fn a_deprecated_name_works_and_earns_one_warning() {
    type Value = fn(Timing) -> Option<Duration>;
    let table: [(&str, &str, Value); 3] = [
        ("WAIT_HOSTS_TIMEOUT", "WAIT_TIMEOUT", |timing| {
            timing.timeout
        }),
        ("WAIT_BEFORE_HOSTS", "WAIT_BEFORE", |timing| {
            Some(timing.before)
        }),
        ("WAIT_AFTER_HOSTS", "WAIT_AFTER", |timing| {
            Some(timing.after)
        }),
    ];
    for (old, new, value) in table {
        let (config, _) = vars([(old, "3")]).resolve().expect("usable settings");
        assert_eq!(value(config.timing), Some(s(3)), "{old}");
        let warning = format!("{old} is deprecated: use {new}");
        assert_eq!(vars([(old, "3")]).notices(), [warning.as_str()]);
        assert_eq!(vars([(old, "3"), (new, "")]).notices(), [warning.as_str()]);

        let both = vars([(old, "3"), (new, "4")]);
        let (config, _) = both.resolve().expect("usable settings");
        assert_eq!(value(config.timing), Some(s(4)), "{new}");
        assert_eq!(both.notices(), [warning + ", which is set too and is used"]);
    }
}

#[test]
fn a_variable_that_is_no_duration_earns_a_warning_and_a_flag_an_error() {
    for (variable, flag, default) in [
        ("WAIT_TIMEOUT", "--timeout", "30s"),
        ("WAIT_HOST_CONNECT_TIMEOUT", "--connect-timeout", "5s"),
        ("WAIT_SLEEP_INTERVAL", "--interval", "adaptive"),
        ("WAIT_BEFORE", "--before", "0s"),
        ("WAIT_AFTER", "--after", "0s"),
    ] {
        for text in ["abc", "-1", "1.5", "99999999999999999999"] {
            let given = vars([(variable, text)]);
            assert_eq!(
                given.resolve().expect("usable settings").0.timing,
                Timing::default()
            );
            let notices = given.notices();
            assert_eq!(notices.len(), 1, "{notices:?}");
            assert!(notices[0].starts_with(&format!("{variable}: {text}: expected ")));
            assert!(notices[0].ends_with(&format!("; the default is used: {default}")));
        }
        let flag: &'static str = Box::leak(format!("{flag}=abc").into_boxed_str());
        let error = args([flag]).error();
        assert!(
            error.starts_with(&flag.replace("=abc", ": abc: expected ")),
            "{error}"
        );
    }
    // Time that never ends makes sense for the deadline alone, and an attempt needs some.
    assert_eq!(vars([("WAIT_BEFORE", "infinity")]).notices().len(), 1);
    assert_eq!(
        vars([("WAIT_HOST_CONNECT_TIMEOUT", "0")]).notices().len(),
        1
    );
}

#[test]
fn what_cannot_be_understood_is_an_error_that_names_the_setting_and_the_item() {
    const HOST_PORT: &str = "expected HOST:PORT";
    const PORT: &str = "expected a port from 1 to 65535";
    let quote = "expected every quote to be closed";
    for (variable, text, item, expected) in [
        ("WAIT_HOSTS", "a:1,db", "db: ", HOST_PORT),
        ("WAIT_HOSTS", "db:99999", "db:99999: ", PORT),
        (
            "WAIT_HOSTS",
            "mysql://app:s3cret@db:x",
            "mysql://…@db:…: ",
            PORT,
        ),
        (
            "WAIT_HOSTS",
            "env:UNSET",
            "env:UNSET: ",
            "expected a variable that is set",
        ),
        (
            "WAIT_HOSTS",
            "env:WAIT_HOSTS",
            "env:WAIT_HOSTS: ",
            "expected a variable that does not lead back here",
        ),
        ("WAIT_MYSQL", "app:s3,cret@db", "app:…: ", PORT),
        ("WAIT_COMMAND", "echo 's3cret", "echo …: ", quote),
        ("WAIT_SCRUB", "yes", "yes: ", "expected 1 or 0"),
        ("WAIT_INIT", "no", "no: ", "expected auto, always or never"),
        (
            "WAIT_MYSQL_PASSWORD_FILE",
            "/none",
            "/none: ",
            "expected a readable file with the password: entity not found",
        ),
        (
            "WAIT_TLS_CA_FILE",
            "/none",
            "/none: ",
            "expected a readable file with certificates: entity not found",
        ),
        (
            "WAIT_TLS_CA_FILE",
            "/text",
            "/text: ",
            "expected certificates in PEM format",
        ),
    ] {
        let error = vars([(variable, text)]).file("/text", b"hello\n").error();
        assert_eq!(error, format!("{variable}: {item}{expected}"));
        assert!(!error.contains("s3"), "{error}");
    }
    assert_eq!(
        args(["--for", "db"]).error(),
        "--for: db: expected HOST:PORT"
    );
}

#[test]
fn what_is_too_long_for_a_line_is_cut_short() {
    let long: &'static str = "x".repeat(10_000).leak();
    let url: &'static str = format!("mysql://db?{long}").leak();
    let messages = [
        vars([("WAIT_HOSTS", long)]).error(),
        vars([("WAIT_HOSTS", url)]).error(),
        vars([("WAIT_TIMEOUT", long)]).notices().concat(),
        args(["--timeout", long]).error(),
    ];
    for message in messages {
        assert!(message.contains("expected "), "{message}");
        assert!(message.len() < 400, "{message}");
    }
}

#[test]
fn a_mysql_target_gets_what_it_does_not_say() {
    fn mysql(given: Given) -> Vec<(Option<String>, Option<String>, Option<String>)> {
        let targets = given.config().targets;
        let parts = targets.into_iter().map(|target| match target {
            Target::MySql(m) => (
                m.user,
                m.password.map(|p| p.expose().to_owned()),
                m.database,
            ),
            other => panic!("{other}"),
        });
        parts.collect()
    }
    let some = |text: &str| Some(text.to_owned());
    let given = vars([
        ("WAIT_MYSQL", "db, other@db, other:own@db/theirs, other:@db"),
        ("WAIT_MYSQL_USER", "app"),
        ("WAIT_MYSQL_PASSWORD", " p%40ss,\n"),
        ("WAIT_MYSQL_DATABASE", "shop"),
    ]);
    let password = some(" p%40ss,\n"); // as it is: only a URL is encoded
    assert_eq!(
        mysql(given),
        [
            (some("app"), password.clone(), some("shop")),
            (some("other"), password, some("shop")),
            (some("other"), some("own"), some("theirs")),
            (some("other"), some(""), some("shop")),
        ]
    );
    for (contents, password) in [
        (&b"s3cret"[..], "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b"s3cret\n\n", "s3cret\n"),
        (b" s3cret \r", " s3cret \r"),
        (b"", ""),
    ] {
        let given = vars([
            ("WAIT_MYSQL", "app@db"),
            ("WAIT_MYSQL_PASSWORD_FILE", "/run/secrets/db"),
        ]);
        assert_eq!(
            mysql(given.file("/run/secrets/db", contents)),
            [(some("app"), some(password), None)]
        );
    }
}

#[test]
fn a_password_is_given_in_one_way_and_is_text() {
    let both = vars([
        ("WAIT_MYSQL_PASSWORD", "a"),
        ("WAIT_MYSQL_PASSWORD_FILE", "/f"),
    ]);
    let expected = "WAIT_MYSQL_PASSWORD_FILE: expected either this or WAIT_MYSQL_PASSWORD";
    assert_eq!(both.error(), expected);
    let binary = vars([("WAIT_MYSQL_PASSWORD_FILE", "/f")]).file("/f", b"\xff");
    assert_eq!(
        binary.error(),
        "WAIT_MYSQL_PASSWORD_FILE: /f: expected UTF-8 text"
    );
}

#[test]
fn a_login_that_was_meant_is_not_left_out_silently() {
    let query = vars([("WAIT_MYSQL", "db"), ("WAIT_MYSQL_QUERY", "SELECT 1")]);
    assert_eq!(
        query.error(),
        "WAIT_MYSQL_QUERY: expected a user for mysql://db:3306, to run the statement as"
    );
    let password = vars([("WAIT_MYSQL", "db"), ("WAIT_MYSQL_PASSWORD", "a")]);
    assert_eq!(password.notices().len(), 1);
}

#[test]
fn env_stands_for_what_the_variable_holds() {
    let given = vars([
        ("WAIT_HOSTS", "cache:6379, env:DATABASE_URL, env:LIST"),
        (
            "DATABASE_URL",
            "mysql://app:s3cret@db/shop?connection_limit=5",
        ),
        ("LIST", "a:1, env:INNER"),
        ("INNER", "b:2"),
    ]);
    assert_eq!(
        given.targets(),
        ["cache:6379", "mysql://app@db:3306/shop", "a:1", "b:2"]
    );
    // The same parameter in a target that is written for us is a mistake.
    let given = vars([("WAIT_HOSTS", "mysql://db?connection_limit=5")]);
    assert!(given.error().contains("an unknown parameter"));
    let given = vars([("WAIT_MYSQL", "env:DB"), ("DB", "app@db")]);
    assert_eq!(given.targets(), ["mysql://app@db:3306"]);
}

#[test]
fn a_target_is_waited_for_once_and_mysql_never_by_a_bare_connection() {
    let given = vars([
        ("WAIT_HOSTS", "a:1,db:3306,a:1"),
        ("WAIT_MYSQL", "app@db,app@db"),
    ]);
    assert_eq!(given.targets(), ["a:1", "mysql://app@db:3306"]);
}

#[test]
fn a_command_is_split_as_a_shell_does_and_nothing_expanded() {
    for (line, words) in [
        ("npm start", &["npm", "start"][..]),
        ("  npm  ", &["npm"]),
        (
            r#"sh -c 'echo "$HOME" *' "" a\ b"#,
            &["sh", "-c", r#"echo "$HOME" *"#, "", "a b"],
        ),
        ("   ", &[]),
    ] {
        let command = vars([("WAIT_COMMAND", line)]).config().command;
        let found: Vec<OsString> = command
            .into_iter()
            .flat_map(|command| std::iter::once(command.program).chain(command.args))
            .collect();
        assert_eq!(found, words, "{line}");
    }
    let given = vars([("WAIT_COMMAND", "npm start")]).args(["--", "--odd"]);
    assert_eq!(
        given.config().command.map(|command| command.program),
        Some("--odd".into())
    );
}

fn log_settings_of(given: &Given, is_terminal: bool) -> Result<log::Settings, String> {
    let cli = Cli::try_parse_from([&["wait"], &given.args[..]].concat()).expect("arguments");
    let surroundings = Surroundings {
        variable: &|name| given.vars.get(name).map(OsString::from),
        file: &|_| unreachable!(),
        is_terminal,
    };
    log_settings(&cli, &surroundings).map_err(|error| error.to_string())
}

#[test]
fn lines_change_in_place_at_a_terminal_that_can_and_may() {
    for (given, is_live) in [
        (vars([]), true),
        (vars([("TERM", "xterm")]), true),
        (vars([("TERM", "dumb")]), false),
        (vars([("NO_COLOR", "1")]), false),
        (vars([("NO_COLOR", "")]), true),
        (vars([("WAIT_LOG_FORMAT", "json")]), false),
        (vars([("WAIT_LOGGER_LEVEL", "debug")]), false),
        (vars([("WAIT_LOGGER_LEVEL", "warn")]), false),
    ] {
        let found = |is_terminal| log_settings_of(&given, is_terminal).map(|found| found.is_live);
        assert_eq!(found(true), Ok(is_live), "{:?}", given.vars);
        assert_eq!(found(false), Ok(false), "{:?}", given.vars);
    }
}

#[test]
fn log_settings_are_names() {
    let settings = |given: Given| log_settings_of(&given, false);
    assert_eq!(settings(vars([])), Ok(log::Settings::default()));
    let expected = log::Settings {
        level: LevelFilter::TRACE,
        format: Format::Json,
        is_live: false,
    };
    let given = vars([("WAIT_LOGGER_LEVEL", "Trace"), ("WAIT_LOG_FORMAT", "json")]);
    assert_eq!(settings(given), Ok(expected));
    let given = vars([("WAIT_LOGGER_LEVEL", "info")]).args(["--log-level=off"]);
    assert_eq!(
        settings(given).map(|settings| settings.level),
        Ok(LevelFilter::OFF)
    );
    let error = settings(vars([("WAIT_LOGGER_LEVEL", "loud")])).expect_err("no such level");
    assert_eq!(
        error,
        "WAIT_LOGGER_LEVEL: loud: expected off, error, warn, info, debug or trace"
    );
    assert!(settings(args(["--log-format", "xml"])).is_err());
}

#[test]
fn no_setting_is_printed_with_its_secrets() {
    let given = vars([
        ("WAIT_MYSQL", "app:s3cret@db, other@db"),
        ("WAIT_MYSQL_PASSWORD", "s3cret"),
        ("WAIT_COMMAND", "node --password s3cret"),
    ]);
    assert!(!format!("{:?}", given.config()).contains("s3cret"));
}
