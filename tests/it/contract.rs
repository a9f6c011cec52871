//! The contract of every setting, as tables.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::time::Duration;

use compose_wait::kinds::KINDS;
use compose_wait::output::log::{self, Format};
use compose_wait::process::exec::Command;
use compose_wait::settings::cli::{self, Cli, Parsed};
use compose_wait::settings::{
    self, Config, ConfigError, Notice, Surroundings, Timing, environment, log_settings,
    parse_duration, split_list,
};
use compose_wait::targets::{
    Address, Defaults, Expected, Login, Origin, Password, Secret, SecretFile, Source, Target,
    env_reference,
};
use proptest::prelude::*;
use tracing_subscriber::filter::LevelFilter;

/// A command line, an environment and some files.
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

    fn cli(&self) -> Cli {
        let args: Vec<_> = [&["wait"], &self.args[..]].concat();
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        match cli::parse(&args) {
            Ok(Parsed::Cli(cli)) => *cli,
            Ok(Parsed::Text(text)) => panic!("{text}"),
            Err(error) => panic!("{error}"),
        }
    }

    fn resolve(&self) -> Result<(Config, Vec<Notice>), ConfigError> {
        settings::resolve(
            &self.cli(),
            &Surroundings {
                variable: &|name| self.vars.get(name).map(OsString::from),
                names: &|| self.vars.keys().map(OsString::from).collect(),
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
    let common = environment::ALL.iter().flat_map(|variable| {
        let deprecated = variable.deprecated.into_iter();
        deprecated.chain([variable.name]).map(str::to_owned)
    });
    let of_kinds = KINDS.iter().filter(|kind| kind.has_settings());
    let of_kinds = of_kinds.flat_map(|kind| kind.variables().chain([kind.variable()]));
    let empty = common.chain(of_kinds).map(|name| (&*name.leak(), ""));
    // An empty variable counts as unset, whichever it is.
    for given in [
        vars([]),
        Given {
            vars: empty.collect(),
            ..Given::default()
        },
    ] {
        let config = given.config();
        assert_eq!(config.timing, Timing::default());
        assert!(config.targets.is_empty() && config.tls_authorities.is_empty());
        assert!(config.command.is_none() && !config.is_check && !config.scrub);
    }
    let default = Timing {
        timeout: Some(s(30)),
        connect_timeout: s(5),
        interval: None,
        before: s(0),
        after: s(0),
    };
    assert_eq!(Timing::default(), default);
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
        ("WAIT_TIMEOUT", "nonsense that is not read"),
        ("WAIT_COMMAND", "an 'unclosed quote that is not read"),
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
fn errors_name_the_setting_and_the_item() {
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
fn long_items_are_cut_short_in_messages() {
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

/// The address of a target and its login, with these variables.
fn login_of(
    text: &str,
    kind: &str,
    variables: &[(&str, &str)],
) -> Result<(String, Login), Expected> {
    let kind = KINDS.iter().find(|other| other.name == kind);
    let mut address = Address::parse(text, KINDS, kind.copied(), Origin::Ours)?;
    let defaults = Defaults {
        kind: address.kind,
        variable: &|name, _| {
            let found = variables.iter().find(|(other, _)| *other == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        },
        file: &|_| Err(std::io::ErrorKind::NotFound.into()),
        notices: RefCell::default(),
    };
    let login = defaults.login(&mut address)?;
    Ok((address.to_string(), login))
}

#[test]
fn targets_take_from_the_settings_of_their_kind_the_parts_that_they_leave_out() {
    let some = |text: &str| Some(text.to_owned());
    let from = |setting: &str, source: Source| {
        let setting = setting.to_owned();
        Some(Password { source, setting })
    };
    let given = |setting: &str, text: &str| from(setting, Source::Given(Secret::new(text)));
    let variables = [
        ("WAIT_MYSQL_USER", "app"),
        ("WAIT_MYSQL_PASSWORD", " p%40ss,\n"),
        ("WAIT_MYSQL_DATABASE", "sh/op"),
        ("TOKEN", "from-a-variable"),
    ];
    let default = given("WAIT_MYSQL_PASSWORD", " p%40ss,\n"); // as it is: only a URL is encoded
    let file = from(
        "the file /run/secrets/db",
        Source::File(SecretFile::new("/run/secrets/db")),
    );
    for (text, printed, user, password, database) in [
        ("db", "app@db:3306/sh%2Fop", "app", default.clone(), "sh/op"),
        (
            "other@db",
            "other@db:3306/sh%2Fop",
            "other",
            default,
            "sh/op",
        ),
        (
            "other:own@db/theirs",
            "other@db:3306/theirs",
            "other",
            given("the URL", "own"),
            "theirs",
        ),
        (
            "o:@db",
            "o@db:3306/sh%2Fop",
            "o",
            given("the URL", ""),
            "sh/op",
        ),
        (
            "o:se%40cret@db:1",
            "o@db:1/sh%2Fop",
            "o",
            given("the URL", "se@cret"),
            "sh/op",
        ),
        (
            "db#password-env=TOKEN",
            "app@db:3306/sh%2Fop",
            "app",
            given("TOKEN", "from-a-variable"),
            "sh/op",
        ),
        (
            "mariadb://o@db#password-file=/run/secrets/db",
            "o@db:3306/sh%2Fop",
            "o",
            file,
            "sh/op",
        ),
    ] {
        let expected = Login {
            user: some(user),
            password,
            database: some(database),
        };
        let found = login_of(text, "mysql", &variables);
        assert_eq!(
            found,
            Ok((format!("mysql://{printed}"), expected)),
            "{text}"
        );
    }
    // None of it is there for other kinds.
    let web = login_of("http://web", "", &variables).expect("a target").1;
    assert_eq!((web.user, web.password, web.database), (None, None, None));
}

#[test]
fn an_options_password_takes_the_place_of_an_applications() {
    let of = |target| {
        vars([
            ("WAIT_HOSTS", target),
            ("DATABASE_URL", "mysql://app:s3cret@db/shop"),
            ("M", "other"),
        ])
    };
    for (target, user, password) in [
        ("env:DATABASE_URL#password-env=M", "app", Some("from M")),
        (
            "env:DATABASE_URL#user=monitor&password-env=M",
            "monitor",
            Some("from M"),
        ),
        (
            "env:DATABASE_URL#user=monitor&password-file=/f",
            "monitor",
            Some("from the file /f"),
        ),
        ("env:DATABASE_URL#user=app", "app", Some("from the URL")),
        // Another user's password is not to be sent.
        ("env:DATABASE_URL#user=monitor", "monitor", None),
    ] {
        let config = of(target).config();
        let parts = config.targets[0].probe.description();
        let part = |name| parts.iter().find(|(known, _)| *known == name);
        let part = |name| part(name).map(|(_, value)| &**value);
        assert_eq!(
            (part("user"), part("password")),
            (Some(user), password),
            "{target}"
        );
    }
    let error = of("env:DATABASE_URL#password-env=M&password-file=/f").error();
    let expected = "expected one of a password, password-file and password-env";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn several_hosts_have_one_login() {
    for url in [
        "postgres://u:p@a:1,v:p@b:2/db",
        "postgres://u:p@a,u:q@b/db",
        "postgres://u:p@a:1,v:p@b:2/db?application_name=x&port=5",
    ] {
        let error = vars([("WAIT_HOSTS", "env:DATABASE_URL"), ("DATABASE_URL", url)]).error();
        assert!(
            error.ends_with("expected one login for all hosts"),
            "{url}: {error}"
        );
        assert!(!error.contains("p@"), "{error}");
    }
    for (url, name) in [
        ("postgres://u:p@a:1,u:p@b:2/db", "postgres://u@a:1,b:2/db"),
        (
            "postgres://u@a:1,u@b:2,c/db",
            "postgres://u@a:1,b:2,c:5432/db",
        ),
        ("postgres://u:p@a,ss@b/db", "postgres://u@b:5432/db"),
        ("postgres://u:p@ss@b,c/db", "postgres://u@b:5432,c:5432/db"),
    ] {
        let given = vars([("WAIT_HOSTS", "env:DATABASE_URL"), ("DATABASE_URL", url)]);
        assert_eq!(given.targets(), [name], "{url}");
    }
}

#[test]
fn a_password_is_given_in_one_way() {
    let both = vars([
        ("WAIT_MYSQL", "app@db"),
        ("WAIT_MYSQL_PASSWORD", "s3cret"),
        ("WAIT_MYSQL_PASSWORD_FILE", "/f"),
    ]);
    assert_eq!(
        both.error(),
        "WAIT_MYSQL: db: expected one of WAIT_MYSQL_PASSWORD and WAIT_MYSQL_PASSWORD_FILE, not both"
            .replace("db:", "…@db:")
    );
    let one = "expected one of a password, password-file and password-env";
    for target in [
        "app:s3cret@db#password-file=/f",
        "app:@db#password-env=NAME",
        "app@db#password-env=NAME&password-file=/f",
    ] {
        let error = args(["--mysql", target]).error();
        assert!(error.starts_with("--mysql: …@db"), "{error}");
        assert!(error.ends_with(one) && !error.contains("s3cret"), "{error}");
    }
    let error = args(["--mysql", "app@db#password-file="]).error();
    assert!(
        error.ends_with("expected password-file to name a file"),
        "{error}"
    );
    // A setting that no target uses is not looked at.
    let unused = vars([
        ("WAIT_MYSQL", "app:own@db"),
        ("WAIT_MYSQL_PASSWORD", "a"),
        ("WAIT_MYSQL_PASSWORD_FILE", "/f"),
    ]);
    assert_eq!(unused.targets(), ["mysql://app@db:3306"]);
}

#[test]
fn files_of_passwords_are_not_read_by_the_settings() {
    let given = vars([
        ("WAIT_MYSQL", "app@db"),
        ("WAIT_MYSQL_PASSWORD_FILE", "/none"),
    ]);
    assert_eq!(given.targets(), ["mysql://app@db:3306"]);
}

#[test]
fn options_are_those_of_the_kind() {
    let common = "gone, optional, stable or connect-timeout";
    let known = format!(
        "user, query, tls, ca-file, cert-file, key-file, password-file, password-env, cleartext, {common}"
    );
    let unknown = format!("an unknown option after '#': expected {known}");
    let modes = "expected tls to be off, prefer, require, verify-ca or verify-full";
    for (target, expected) in [
        ("app@db#quer=SELECT 1", &*unknown),
        ("app@db#query=SELECT 1&usr=x", &unknown),
        ("app@db#tls=maybe", modes),
        (
            "app@db#password-env=NOT_SET",
            "expected password-env to name a variable that is set",
        ),
        ("app@db#query=%ff", "percent-encoding that is not UTF-8"),
    ] {
        let error = args(["--mysql", target]).error();
        assert!(error.starts_with("--mysql: …@db"), "{error}");
        assert!(error.ends_with(expected), "{error}");
    }
    for (target, own) in [
        ("db:1#query=x", ""),
        (
            "http://web/#query=x",
            "status, contains, method, header, user, password-file, password-env, tls, ca-file, cert-file, \
             key-file, ",
        ),
        ("nats://db#query=x", ""),
    ] {
        let error = args(["--for", target]).error();
        let unknown = format!("an unknown option after '#': expected {own}{common}");
        assert!(error.ends_with(&unknown), "{error}");
    }
    // They are for wait alone: not part of the name, and each makes another target.
    let given = vars([
        (
            "WAIT_HOSTS",
            "env:DATABASE_URL#query=SELECT 1%2C 2&password-env=PASSWORD",
        ),
        ("DATABASE_URL", "mysql://app@db/shop?connection_limit=5"),
        ("PASSWORD", "s3cret"),
    ]);
    assert_eq!(given.targets(), ["mysql://app@db:3306/shop"]);
    let given = args([
        "--mysql=app:s3cret@db/shop#query=SELECT 1",
        "--mysql=app:s3cret@db/shop#query=SELECT 2",
        "--mysql=app:s3cret@db/shop#query=SELECT 1",
    ]);
    assert_eq!(given.targets(), ["mysql://app@db:3306/shop"; 2]);
}

#[test]
fn a_login_that_was_meant_is_not_left_out_silently() {
    let query = vars([("WAIT_MYSQL", "db"), ("WAIT_MYSQL_QUERY", "SELECT 1")]);
    assert_eq!(
        query.error(),
        "WAIT_MYSQL: db: expected a user, to run the query as (WAIT_MYSQL_USER)"
    );
    let password = vars([("WAIT_MYSQL", "db"), ("WAIT_MYSQL_PASSWORD", "a")]);
    assert_eq!(password.notices().len(), 1);
}

#[test]
fn targets_are_printed_as_they_are_parsed() {
    for (written, printed) in [
        ("db:3306", "db:3306"),
        ("tcp://db:3306", "db:3306"),
        ("TCP://db:3306/", "db:3306"),
        ("my_db.internal.:1", "my_db.internal.:1"),
        ("127.0.0.1:65535", "127.0.0.1:65535"),
        ("[::1]:80", "[::1]:80"),
        ("::1:80", "[::1]:80"),
        ("env:3306", "env:3306"),
        ("mysql://db", "mysql://db:3306"),
        ("http://web", "http://web:80/"),
        ("HTTPS://Web:443/a%2Cb", "https://Web:443/a%2Cb"),
        ("https://web:80/", "https://web:80/"),
        ("https://web/@scope/a", "https://web:443/@scope/a"),
        ("https://web/?token=s3cret", "https://web:443/?…"),
        (
            "http://u%40x:s3cret@[::1]:8080/p",
            "http://u%40x@[::1]:8080/p",
        ),
        ("mariadb://db:3307", "mysql://db:3307"),
        ("mysql://app:s3cret@db/shop", "mysql://app@db:3306/shop"),
        ("mysql://[::1]/shop", "mysql://[::1]:3306/shop"),
        (
            "mysql://a%40b:s3cret@db/a%2Fb?ssl-mode=required",
            "mysql://a%40b@db:3306/a%2Fb?ssl-mode=required",
        ),
        (
            "mysql://app@localhost?ssl-mode=DISABLED&socket=/run/my%26sql.sock",
            "mysql://app@localhost:3306?ssl-mode=DISABLED&socket=/run/my%26sql.sock",
        ),
        (
            "mysql://app@db/shop#query=SELECT 1&tls=off",
            "mysql://app@db:3306/shop",
        ),
    ] {
        let targets = |text: &str| {
            let text: &'static str = text.to_owned().leak();
            args(["--for", text]).config().targets
        };
        let found = targets(written);
        assert_eq!(found[0].to_string(), printed, "{written}");
        assert!(!format!("{found:?}").contains("s3cret"), "{written}");
        if !printed.contains('…') {
            assert_eq!(targets(printed)[0].to_string(), printed, "{written}");
        }
    }
}

#[test]
fn errors_say_which_part_of_a_target_was_expected() {
    let host = "expected a host name, an IPv4 address or [IPv6]";
    let port = "expected a port from 1 to 65535";
    let at = "expected a URL whose special characters are percent-encoded: in a URL, / is %2F, \
              ? is %3F, # is %23 and @ is %40";
    for (text, expected) in [
        ("db", "expected HOST:PORT"),
        ("[::1]", "expected HOST:PORT"),
        (":80", host),
        ("db:", port),
        ("db:0", port),
        ("db:+80", port),
        ("db:http", port),
        ("db:99999", port),
        ("db :80", host),
        ("a..b:80", host),
        ("[::1:80", host),
        ("[db]:80", host),
        ("user@db:80", "expected HOST:PORT"),
        (
            "gopher://db:21",
            "the scheme gopher is unknown: expected HOST:PORT, tcp://…",
        ),
        ("http://web:0", port),
        ("http://web:x", port),
        ("http://", "expected a host"),
        ("http://a b/", host),
        ("mysql://db:0", port),
        ("mysql://db:99999", port),
        ("mysql://", "expected a host"),
        ("mysql://a b/", host),
        ("mysql://u:p#x@db/shop", at),
        ("mysql://u:1/x@db", at),
        ("http://u:p@s/s@web/", at),
        ("mysql://u:%ff@db", "percent-encoding that is not UTF-8"),
        ("mysql://db/a/b", "expected one name after the host"),
        ("mysql://db/a#b", "an unknown option after '#'"),
        (
            "mysql://db?ssl-mode=maybe",
            "expected ssl-mode to be DISABLED, PREFERRED,",
        ),
        (
            "mysql://db?charset=x",
            "an unknown parameter: expected ssl-mode or socket",
        ),
        ("mysql://db?socket=run/mysqld.sock", "expected socket=/PATH"),
    ] {
        let error = args(["--for", text]).error();
        let expected = format!(": {expected}");
        assert!(error.contains(&expected), "{text}: {error}");
    }
    assert_eq!(
        args(["--mysql", "tcp://db:1"]).error(),
        "--mysql: tcp://db:1: expected a mysql:// URL, or one without the scheme"
    );
}

#[test]
fn an_applications_parameters_are_passed_over() {
    let url = "mysql://app@db/shop?connection_limit=5&ssl-mode=VERIFY_CA&socket=no-path";
    let given = |variable| vars([(variable, "env:DATABASE_URL"), ("DATABASE_URL", url)]);
    for given in [given("WAIT_HOSTS"), given("WAIT_MYSQL")] {
        let targets = given.config().targets;
        let name = targets[0].to_string();
        assert!(
            name.contains("ssl-mode=VERIFY_CA") && !name.contains("connection"),
            "{name}"
        );
        assert!(targets[0].probe.verifies_certificates());
    }
}

#[test]
fn env_names_a_variable_unless_it_is_a_host() {
    assert_eq!(env_reference("env:DATABASE_URL"), Some("DATABASE_URL"));
    assert_eq!(env_reference("env:_x1"), Some("_x1"));
    for text in ["env:3306", "env:", "env:a-b", "db:3306"] {
        assert_eq!(env_reference(text), None, "{text}");
    }
}

#[test]
fn a_list_is_split_at_commas_and_line_ends() {
    let items = |list| {
        let items = split_list(OsStr::new(list));
        items.map(OsStr::to_os_string).collect::<Vec<_>>()
    };
    assert_eq!(items("a:1, b:2,\n"), ["a:1", "b:2"]);
    assert_eq!(items(" a:1 \r\n\tb:2\n\n,,c:3"), ["a:1", "b:2", "c:3"]);
    assert_eq!(items(" ,\n, "), [""; 0]);
}

#[test]
fn env_stands_for_the_value_of_the_variable() {
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
fn a_target_is_waited_for_once_and_a_server_never_by_a_bare_connection() {
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
    let cli = given.cli();
    let surroundings = Surroundings {
        variable: &|name| given.vars.get(name).map(OsString::from),
        names: &Vec::new,
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
    // docker-compose-wait ignored such a variable.
    let loud = [("WAIT_LOGGER_LEVEL", "loud")];
    assert_eq!(settings(vars(loud)), Ok(log::Settings::default()));
    assert_eq!(
        vars(loud).notices(),
        [
            "WAIT_LOGGER_LEVEL: loud: expected off, error, warn, info, debug or trace; \
             the default is used"
        ]
    );
    let error = settings(args(["--log-level", "loud"])).expect_err("no such level");
    assert_eq!(
        error,
        "--log-level: loud: expected off, error, warn, info, debug or trace"
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
