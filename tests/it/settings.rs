//! Settings that cannot be used, and those that change what starts. The meaning of every setting
//! is in the tables of `contract.rs`.

use std::io::Write as _;

use compose_wait::kinds::KINDS;

use crate::support::{Wait, wait};

/// One line, exit 2, at once, and nothing started.
#[track_caller]
fn is_unusable(wait: Wait, line: &str) {
    let outcome = wait.args(["echo", "started"]).run();
    outcome.exits(2).took_from_to(0.0, 2.0);
    assert_eq!(outcome.stderr, format!("wait: error: {line}\n"));
    assert_eq!(outcome.stdout, "");
}

#[test]
fn malformed_input_is_one_line_that_names_the_setting_and_the_item() {
    for (variable, value, line) in [
        (
            "WAIT_HOSTS",
            "a:1, db",
            "WAIT_HOSTS: db: expected HOST:PORT",
        ),
        (
            "WAIT_HOSTS",
            "db:99999",
            "WAIT_HOSTS: db:99999: expected a port from 1 to 65535",
        ),
        (
            "WAIT_HOSTS",
            "mysql://app:s3cret@d b/",
            "WAIT_HOSTS: mysql://…@…: expected a host name, an IPv4 address or [IPv6]",
        ),
        (
            "WAIT_TLS_CA_FILE",
            "/nonexistent",
            "WAIT_TLS_CA_FILE: /nonexistent: expected a readable file with certificates: No such file or directory (os error 2)",
        ),
        (
            "WAIT_TLS_CA_FILE",
            "/dev/zero",
            "WAIT_TLS_CA_FILE: /dev/zero: expected a readable file with certificates: it is not a regular file",
        ),
    ] {
        is_unusable(wait().var(variable, value), line);
    }
}

#[test]
fn an_unclosed_quote_is_an_error() {
    let outcome = wait().var("WAIT_COMMAND", "echo 'started").run();
    outcome.exits(2).took_from_to(0.0, 2.0);
    let line = "wait: error: WAIT_COMMAND: echo …: expected every quote to be closed\n";
    assert_eq!(outcome.stderr, line);
}

#[test]
fn a_flag_that_does_not_exist_is_an_error_and_a_commands_own_flag_is_not() {
    is_unusable(
        wait().args(["--tiemout", "3"]),
        "unexpected argument '--tiemout' found (see /wait --help)",
    );
    let outcome = wait().args(["echo", "--tiemout", "-n"]).run();
    assert_eq!(outcome.exits(0).stdout, "--tiemout -n\n");
}

#[test]
fn usage_errors_say_where_the_help_is() {
    // In a shell, `wait` alone is the builtin.
    let see = "(see /wait --help)";
    for (args, error) in [
        (
            &["--timeout"][..],
            "a value is required for '--timeout <DURATION>' but none was supplied",
        ),
        (&["--tiemout=3"], "unexpected argument '--tiemout' found"),
        (&["-t", "60"], "-t: a time limit is given as --timeout 60"),
        (
            &["--timeout=1", "--timeout=2"],
            "the argument '--timeout <DURATION>' cannot be used multiple times",
        ),
    ] {
        let outcome = wait().args(args).run();
        let line = format!("wait: error: {error} {see}\n");
        assert_eq!(outcome.exits(2).stderr, line);
    }
}

#[test]
fn a_host_after_h_is_an_error_that_shows_the_flag() {
    for (host, shown) in [("db", "db"), ("app:s3cret@db", "\u{2026}@db"), ("-p", "-p")] {
        let line = format!("-h: a host is given as --for {shown}:PORT (see /wait --help)");
        is_unusable(wait().args(["-h", host, "-p", "3306", "--"]), &line);
    }
    let help = wait().args(["-h"]).run();
    assert_eq!(help.exits(0).stdout, wait().args(["--help"]).run().stdout);
    // After the command it is the command's own.
    let outcome = wait().args(["echo", "-h", "db"]).run();
    assert_eq!(outcome.exits(0).stdout, "-h db\n");
}

#[test]
fn an_error_in_the_settings_is_json_where_the_log_is() {
    let outcome = wait()
        .var("WAIT_LOG_FORMAT", "json")
        .args(["--nonsense"])
        .run();
    let line: serde_json::Value = serde_json::from_str(&outcome.exits(2).stderr).expect("JSON");
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["event"], "notice");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = wait().args(["--help"]).run();
    assert!(
        help.exits(0)
            .stdout
            .contains("--connect-timeout <DURATION>")
    );
    assert_eq!(help.stderr, "");
    let version = wait().args(["--version"]).run();
    assert_eq!(
        version.stdout,
        concat!("wait ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn the_command_of_the_environment_is_split_and_not_expanded() {
    let outcome = wait()
        .var("WAIT_COMMAND", r#"printf '[%s]' "a b" $HOME '' c\ d"#)
        .run();
    assert_eq!(outcome.exits(0).stdout, "[a b][$HOME][][c d]");
}

#[test]
fn scrub_takes_the_mysql_variables_from_the_command_and_nothing_else() {
    let run = |scrub| {
        let outcome = wait()
            .var("WAIT_MYSQL", "")
            .var("WAIT_MYSQL_USER", "app")
            .var("WAIT_MYSQL_PASSWORD", "s3cret")
            .var("WAIT_TIMEOUT", "3")
            .var("WAIT_MYSQLISH", "x")
            .var("WAIT_SCRUB", scrub)
            .args(["env"])
            .run();
        let mut names: Vec<_> = outcome
            .exits(0)
            .stdout
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
            .collect();
        names.sort();
        names.join(" ")
    };
    let kept = "PATH WAIT_MYSQLISH WAIT_SCRUB WAIT_TIMEOUT";
    assert_eq!(run("1"), kept);
    assert_eq!(
        run("0"),
        "PATH WAIT_MYSQL WAIT_MYSQLISH WAIT_MYSQL_PASSWORD WAIT_MYSQL_USER WAIT_SCRUB WAIT_TIMEOUT"
    );
}

#[test]
fn a_file_of_certificates_must_hold_some() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA")
        .expect("written");
    let path = file.path().to_str().expect("UTF-8");
    is_unusable(
        wait().var("WAIT_TLS_CA_FILE", path),
        &format!("WAIT_TLS_CA_FILE: {path}: expected certificates in PEM format"),
    );
}

/// The targets of a dry run, and what is said about them.
fn dry_run(wait: Wait) -> (Vec<String>, String) {
    let outcome = wait.args(["--dry-run"]).run();
    let lines = outcome.exits(0).stdout.lines();
    let targets = lines.filter(|line| !line.starts_with(' ') && !line.starts_with("command: "));
    (targets.map(str::to_owned).collect(), outcome.stderr)
}

#[test]
fn what_surrounds_a_value_is_dropped_with_a_warning() {
    let quotes = "the value is in quotes, which --env-file keeps";
    for (name, value, flaw) in [
        ("WAIT_HOSTS", "\"db:3306\"", quotes),
        ("WAIT_HOSTS", "'db:3306'", quotes),
        ("WAIT_HOSTS", "\"db:3306\" # the database", quotes),
        ("WAIT_HOSTS", "\"db:3306\"\r", quotes),
        (
            "WAIT_HOSTS",
            "db:3306\r",
            "the value ends in a Windows line end",
        ),
        (
            "WAIT_HOSTS",
            "db:3306\r\n",
            "the value ends in a Windows line end",
        ),
        (
            "WAIT_HOSTS",
            "db:3306 # the database",
            "the value has a comment after it",
        ),
        ("WAIT_TIMEOUT", "\"60\"", quotes),
        ("WAIT_TIMEOUT", "60\n", "the value ends in a line end"),
        ("WAIT_COMMAND", "\"npm start\"", quotes),
        ("WAIT_LOGGER_LEVEL", "'info'", quotes),
        (
            "WAIT_INIT",
            "auto\r",
            "the value ends in a Windows line end",
        ),
    ] {
        let wait = match name {
            "WAIT_HOSTS" => wait(),
            _ => wait().var("WAIT_HOSTS", "db:3306"),
        };
        let (targets, said) = dry_run(wait.var(name, value));
        assert_eq!(targets, ["db:3306"], "{name}={value}");
        assert_eq!(
            said,
            format!("wait: warning: {name}: {flaw}: dropped\n"),
            "{value}"
        );
    }
    // A line end separates the items of a list, and these are in the values themselves.
    for (name, value) in [
        ("WAIT_HOSTS", "db:3306\n"),
        ("WAIT_HOSTS", "db:3306\n \n"),
        ("WAIT_COMMAND", "sh -c 'a # b'\n"),
        ("WAIT_COMMAND", "'a' 'b'"),
    ] {
        let wait = match name {
            "WAIT_HOSTS" => wait(),
            _ => wait().var("WAIT_HOSTS", "db:3306"),
        };
        let (targets, said) = dry_run(wait.var(name, value));
        assert_eq!(
            (targets, said),
            (vec!["db:3306".to_owned()], String::new()),
            "{value}"
        );
    }
    let both = wait().var("WAIT_COMMAND", "sh -c 'echo a # b'\n").run();
    assert_eq!(both.exits(0).stdout, "a\n");
}

#[test]
fn a_comment_ends_with_its_line() {
    let warning =
        |name: &str| format!("wait: warning: {name}: the value has a comment after it: dropped\n");
    for (name, value) in [
        ("WAIT_HOSTS", "a:1 # first\nb:2"),
        ("WAIT_HOSTS", "# both\na:1\nb:2 #\n"),
        ("WAIT_HOSTS", "a:1 # first, c:3\r\nb:2"),
        ("TARGETS", "a:1, b:2 # both"),
        ("TARGETS", "\n  # first\na:1\n# second\nb:2\n"),
    ] {
        let wait = match name {
            "TARGETS" => wait().var("WAIT_HOSTS", "env:TARGETS"),
            _ => wait(),
        };
        let (targets, said) = dry_run(wait.var(name, value));
        assert_eq!(targets, ["a:1", "b:2"], "{value:?}");
        assert_eq!(said, warning(name), "{value:?}");
    }
}

#[test]
fn a_file_in_the_place_of_a_variable_is_read_as_the_variable_is() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let in_file = |contents: &str| {
        std::fs::write(file.path(), contents).expect("written");
        let wait = wait().var("WAIT_HOSTS", "env:URL");
        dry_run(wait.var("URL_FILE", file.path()))
    };
    for (contents, dropped) in [
        ("redis://:s3cret@h/0\n", None),
        ("\u{feff}redis://:s3cret@h/0\r\n", None),
        (
            "\"redis://:s3cret@h/0\"\n",
            Some("the value is in quotes, which --env-file keeps"),
        ),
        (
            "redis://:s3cret@h/0 # the cache\n",
            Some("the value has a comment after it"),
        ),
    ] {
        let (targets, said) = in_file(contents);
        let warning =
            dropped.map(|dropped| format!("wait: warning: URL_FILE: {dropped}: dropped\n"));
        assert_eq!(targets, ["redis://h:6379/0"], "{contents:?}");
        assert_eq!(said, warning.unwrap_or_default(), "{contents:?}");
    }
}

#[test]
fn forms_of_other_databases_are_their_ports() {
    for (value, host, scheme) in [
        (
            "Server=db,1444;Database=shop;User Id=sa;Password=s3cret",
            "db:1444",
            "sqlserver",
        ),
        (
            "Server=tcp:db\\SQLEXPRESS;Database=shop;User Id=sa;Password=s3cret;Encrypt=true",
            "db:1433",
            "sqlserver",
        ),
        (
            "Server=db;User Id=sa;Password=s3cret;MultipleActiveResultSets=true",
            "db:1433",
            "sqlserver",
        ),
        (
            "sqlserver://db;database=shop;user=sa;password=s3cret",
            "db:1433",
            "sqlserver",
        ),
        (
            "jdbc:sqlserver://db:1434;user=sa;password=s3@cret",
            "db:1434",
            "sqlserver",
        ),
        ("jdbc:oracle:thin:@//db:1522/XE", "db:1522", "oracle"),
        (
            "jdbc:oracle:thin:app/s3cret@db:1521:XE",
            "db:1521",
            "oracle",
        ),
        (
            "redis-sentinel://:s3cret@a:26380,b/0",
            "a:26380",
            "redis-sentinel",
        ),
        ("redis+sentinel://a/0", "a:26379", "redis+sentinel"),
    ] {
        let wait = wait().var("WAIT_HOSTS", "env:DATABASE_URL");
        let (targets, said) = dry_run(wait.var("DATABASE_URL", value));
        assert_eq!(targets, [host], "{value}");
        let warning = format!("wait: warning: {host}: of {scheme}:// only the port is checked\n");
        assert_eq!(said, warning, "{value}");
    }
}

#[test]
fn connection_strings_in_the_wrong_place_are_not_printed() {
    for (name, value, line) in [
        (
            "WAIT_REDIS",
            "cache:6379,password=abc@s3cret",
            "WAIT_REDIS: …: expected a user without = and ;, which are %3D and %3B",
        ),
        (
            "WAIT_MYSQL",
            "Host=db; Database=shop; User ID=a; Pwd=s3cret@",
            "WAIT_MYSQL: …: expected a mysql:// URL, or one without the scheme",
        ),
        (
            "WAIT_HOSTS",
            "Server=db;Uid=app;Pwd=a,s3cret",
            "WAIT_HOSTS: …: expected HOST:PORT",
        ),
        (
            "WAIT_PATHS",
            "\"/tmp\",\"/etc\"",
            "WAIT_PATHS: …: expected no quotes: the value is in quotes, which --env-file keeps",
        ),
        (
            "WAIT_HOSTS",
            "env:DB-URL",
            "WAIT_HOSTS: env:…: expected env:NAME with the name of a variable",
        ),
        (
            "WAIT_MYSQL",
            "app@db:tcp://10.0.0.5:3306/shop",
            "WAIT_MYSQL: …@…: expected a port: a variable such as DB_PORT holds tcp://…, which \
             Kubernetes sets for a service of that name (enableServiceLinks: false, or another name)",
        ),
        (
            "WAIT_HOSTS",
            "db:$DB_PORT",
            "WAIT_HOSTS: db:…: expected no $NAME: it is the name of a variable, which nothing has \
             expanded",
        ),
        (
            "WAIT_HOSTS",
            "mysql://app@db#query=SELECT a, b FROM t",
            "WAIT_HOSTS: …: expected a target: a comma in a query is written %2C",
        ),
    ] {
        is_unusable(wait().var(name, value), line);
    }
}

#[test]
fn the_hosts_of_one_url_are_one_target() {
    for (list, targets) in [
        ("mysql://a,b/shop", &["mysql://a:3306,b:3306/shop"][..]),
        (
            "web:80, mysql://a:1 , b:2?ssl-mode=REQUIRED,db:1",
            &["web:80", "mysql://a:1,b:2?ssl-mode=REQUIRED", "db:1"],
        ),
        ("mysql://a%2Cb", &["mysql://a:3306,b:3306"]),
        // These are targets of their own.
        ("mysql://a,b:2", &["mysql://a:3306", "b:2"]),
        ("mysql://a/x,b:2", &["mysql://a:3306/x", "b:2"]),
        (
            "mysql://a,b:2,mysql://c/x",
            &["mysql://a:3306", "b:2", "mysql://c:3306/x"],
        ),
    ] {
        let (printed, said) = dry_run(wait().var("WAIT_HOSTS", list));
        assert_eq!(
            (printed, &*said),
            (targets.iter().map(ToString::to_string).collect(), "")
        );
    }
    is_unusable(
        wait().var("WAIT_HOSTS", "redis://a,b/0"),
        "WAIT_HOSTS: b…: expected HOST:PORT",
    );
}

#[test]
fn plain_targets_may_be_separated_by_blanks_alone() {
    let (targets, said) = dry_run(wait().var("WAIT_HOSTS", "db:3306  redis:6379\tmq:5672, web:80"));
    assert_eq!(targets, ["db:3306", "redis:6379", "mq:5672", "web:80"]);
    assert_eq!(said, "");
    is_unusable(
        wait().var("WAIT_HOSTS", "db:3306 redis"),
        "WAIT_HOSTS: db:…: expected a port from 1 to 65535",
    );
}

#[test]
fn mistakes_that_many_make_have_a_message_of_their_own() {
    // Those of the table, so that a kind need not change this.
    let schemes = KINDS.iter().flat_map(|kind| kind.main_schemes());
    let schemes: Vec<_> = schemes
        .map(|scheme| format!("{}://…", scheme.name))
        .collect();
    let schemes = format!(
        "HOST:PORT, {}, unix:///PATH, dns:NAME or env:NAME",
        schemes.join(", ")
    );
    let encode = "expected a URL whose special characters are percent-encoded: in a URL, / is %2F, ? is \
                  %3F, # is %23 and @ is %40";
    let links = "expected a port: a variable such as DB_PORT holds tcp://…, which Kubernetes sets for a \
                 service of that name (enableServiceLinks: false, or another name)";
    let unexpanded = "expected no ${…}: it is the name of a variable, which nothing has expanded";
    let nul = "expected a user and a database without a NUL (%00)";
    for (value, line) in [
        (
            "\"db:3306, redis:6379",
            "…: expected no quotes: the value is in quotes, which --env-file keeps".to_owned(),
        ),
        (
            "db:3306;redis:6379",
            "…: expected commas: targets are separated by commas".to_owned(),
        ),
        (
            "gopher://db/",
            format!("gopher://db…: the scheme gopher is unknown: expected {schemes}"),
        ),
        (
            "mysql://app:se/cret@db/shop",
            format!("mysql://…: {encode}"),
        ),
        (
            "mysql://app:se#cret@db/shop",
            format!("mysql://…: {encode}"),
        ),
        (
            "mysql://app:se?cret@db/shop",
            format!("mysql://…: {encode}"),
        ),
        (
            "postgres://app:se/cret@db/shop",
            format!("postgres://…: {encode}"),
        ),
        ("db:tcp://10.0.0.5:3306", format!("…: {links}")),
        ("${DB_HOST}:3306", format!("…: {unexpanded}")),
        ("db:${DB_PORT:-3306}", format!("…: {unexpanded}")),
        (
            "mysql://app:${DB_PASSWORD}@db/shop",
            format!("mysql://…@db…: {unexpanded}"),
        ),
        ("mysql://a%00pp@db", format!("mysql://…@db: {nul}")),
        ("mysql://app@db/sh%00op", format!("mysql://…@db…: {nul}")),
        (
            "localhost:3000/health",
            "localhost:3000…: expected HOST:PORT; for a web page, write http://localhost:3000/…"
                .to_owned(),
        ),
    ] {
        is_unusable(
            wait().var("WAIT_HOSTS", value),
            &format!("WAIT_HOSTS: {line}"),
        );
    }
    // Of an application's own URL nothing is shown.
    for (value, line) in [
        ("mysql://app:se/cret@db/shop", encode),
        ("mysql://app:12/cret@db/shop", encode),
        ("mysql://app:${DB_PASSWORD}@db/shop", unexpanded),
        ("mysql://a%00pp@db", nul),
    ] {
        let wait = wait().var("WAIT_HOSTS", "env:DATABASE_URL");
        is_unusable(
            wait.var("DATABASE_URL", value),
            &format!("WAIT_HOSTS: env:DATABASE_URL: {line}"),
        );
    }
}

#[test]
fn a_check_of_a_page_without_a_scheme_shows_the_url() {
    let check = wait().args(["--check", "localhost:3000/health"]).run();
    let line = "wait: error: --check: localhost:3000…: expected HOST:PORT; for a web page, write \
                http://localhost:3000/health\n";
    assert_eq!(check.exits(1).stderr, line);
}

#[test]
fn habits_of_other_programs_are_errors_that_show_the_call() {
    let see = "(see /wait --help)";
    for (args, line) in [
        (
            &["db:3306", "--", "node", "app.js"][..],
            "db:3306 is a target and no command: write /wait --for db:3306 -- COMMAND",
        ),
        (
            &["db:3306", "env:CACHE_URL", "redis:6379", "--", "node"],
            "db:3306 is a target and no command: write /wait --for db:3306 --for env:CACHE_URL \
             --for redis:6379 -- COMMAND",
        ),
        (
            &["mysql://app:s3cret@db/shop", "node"],
            "mysql://…@db… is a target and no command: write /wait --for mysql://…@db… -- COMMAND",
        ),
        (
            &["-t", "60", "db:3306"],
            "-t: a time limit is given as --timeout 60",
        ),
        (
            &["-t", "s3cret"],
            "-t: a time limit is given as --timeout SECONDS",
        ),
        (
            &["-h", "db", "-p", "3306"],
            "-h: a host is given as --for db:PORT",
        ),
    ] {
        let outcome = wait().args(args).run();
        assert_eq!(
            outcome.exits(2).stderr,
            format!("wait: error: {line} {see}\n")
        );
    }
}

#[test]
fn options_of_other_inits_are_errors_that_show_what_works() {
    let group = "signals go to the process group with --init-signals group";
    let init = "not needed as PID 1; elsewhere it is --init always";
    let signal =
        "the signal to stop with is set by STOPSIGNAL in the Dockerfile, or by stop_signal";
    let none = "an option of another init that is not needed here";
    for (args, line) in [
        (&["-g", "--", "app"][..], format!("-g: {group}")),
        (&["--timeout", "3", "-g", "app"], format!("-g: {group}")),
        (
            &["-e", "143", "app"],
            "-e: a status that is a success is given as --init-ok 143".into(),
        ),
        (
            &["-e", "s3cret"],
            "-e: a status that is a success is given as --init-ok STATUS".into(),
        ),
        (&["-s", "app"], format!("-s: {init}")),
        (&["-p", "SIGKILL", "app"], format!("-p: {none}")),
        (&["-c", "app"], format!("-c: {none}")),
        (&["-w", "app"], format!("-w: {none}")),
        (
            &["--single-child", "app"],
            format!("--single-child: {none}"),
        ),
        (
            &["--rewrite", "15:3", "app"],
            format!("--rewrite: {signal}"),
        ),
        (&["--rewrite=15:3", "app"], format!("--rewrite: {signal}")),
        (&["-r", "15:3", "app"], format!("-r: {signal}")),
        (
            &["-v", "app"],
            "-v: the log has more with --log-level debug".into(),
        ),
        (
            &["-vvv", "app"],
            "-vvv: the log has more with --log-level debug".into(),
        ),
        (
            &["--verbose", "app"],
            "--verbose: the log has more with --log-level debug".into(),
        ),
        (&["-x", "app"], "unexpected argument '-x' found".into()),
    ] {
        is_unusable(wait().args(args), &format!("{line} (see /wait --help)"));
    }
    // What follows the command, or `--`, is the command's own.
    assert_eq!(wait().args(["echo", "-g"]).run().stdout, "-g\n");
    assert_eq!(wait().args(["--", "-g"]).run().code, Some(127));
}

#[test]
fn settings_that_are_likely_mistakes_earn_a_warning() {
    for (name, value, line) in [
        (
            "WAIT_HOST",
            "db:3306",
            "WAIT_HOST is no setting: did you mean WAIT_HOSTS?",
        ),
        (
            "WAIT_TIMEOUTS",
            "60",
            "WAIT_TIMEOUTS is no setting: did you mean WAIT_TIMEOUT?",
        ),
        (
            "WAIT_PATH",
            "/x",
            "WAIT_PATH is no setting: did you mean WAIT_PATHS?",
        ),
        (
            "WAIT_MYSQL_PASSWORDS",
            "s3cret",
            "WAIT_MYSQL_PASSWORDS is no setting: did you mean WAIT_MYSQL_PASSWORD?",
        ),
        (
            "WAIT_LOG_LEVEL",
            "debug",
            "WAIT_LOG_LEVEL is no setting: did you mean WAIT_LOGGER_LEVEL?",
        ),
        (
            "WAIT_MARIADB_PASSWORD",
            "s3cret",
            "WAIT_MARIADB_PASSWORD is no setting: did you mean WAIT_MYSQL_PASSWORD?",
        ),
        (
            "WAIT_REDIS_URL",
            "cache",
            "WAIT_REDIS_URL is no setting: did you mean WAIT_REDIS?",
        ),
        (
            "WAIT_VALKEY",
            "cache",
            "WAIT_VALKEY is no setting: did you mean WAIT_REDIS?",
        ),
        (
            "WAIT_MYSQL_PASS",
            "s3cret",
            "WAIT_MYSQL_PASS is no setting: did you mean WAIT_MYSQL_USER, WAIT_MYSQL_PASSWORD, \
             WAIT_MYSQL_PASSWORD_FILE, WAIT_MYSQL_DATABASE or WAIT_MYSQL_QUERY?",
        ),
        (
            "WAIT_MYSQL_QUERY",
            "SELECT 1",
            "WAIT_MYSQL_QUERY is set, and there is no mysql target",
        ),
        (
            "WAIT_MYSQL_USER",
            "app",
            "WAIT_MYSQL_USER is set, and there is no mysql target",
        ),
        (
            "WAIT_MYSQL_PASSWORD",
            "s3cret",
            "WAIT_MYSQL_PASSWORD is set, and there is no mysql target",
        ),
        (
            "WAIT_LOGGER_LEVEL",
            "loud",
            "WAIT_LOGGER_LEVEL: loud: expected off, error, warn, info, debug or trace; the default \
             is used",
        ),
        (
            "WAIT_LOG_FORMAT",
            "xml",
            "WAIT_LOG_FORMAT: xml: expected text or json; the default is used",
        ),
        (
            "WAIT_COMMAND",
            "npm run migrate && npm start",
            "WAIT_COMMAND: there is no shell to understand &&: for one, write sh -c '…'",
        ),
        (
            "WAIT_COMMAND",
            "node app.js > /log",
            "WAIT_COMMAND: there is no shell to understand >: for one, write sh -c '…'",
        ),
        (
            "WAIT_COMMAND",
            "node app.js | tee log",
            "WAIT_COMMAND: there is no shell to understand |: for one, write sh -c '…'",
        ),
        (
            "WAIT_COMMAND",
            "node $MAIN",
            "WAIT_COMMAND: there is no shell to understand $MAIN: for one, write sh -c '…'",
        ),
    ] {
        let (targets, said) = dry_run(wait().var("WAIT_HOSTS", "db:1").var(name, value));
        assert_eq!(targets, ["db:1"]);
        assert_eq!(said, format!("wait: warning: {line}\n"), "{name}");
    }
    for command in ["sh -c 'a && b'", "node --if=a>b", "echo 'a | b'"] {
        let (_, said) = dry_run(wait().var("WAIT_COMMAND", command));
        assert_eq!(said, "", "{command}");
    }
}

#[test]
fn https_at_a_plain_port_asks_for_http() {
    let plain = crate::fixtures::ports::answer(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let check = wait().args(["--check", &format!("https://{plain}/")]).run();
    let line = format!(
        "wait: error: https://{plain}/ is not ready: tls_failed: an answer that is not TLS \
         (received corrupt message of type InvalidContentType) while starting TLS; the port does not speak TLS: is it http://?\n"
    );
    assert_eq!(check.exits(1).stderr, line);
}

#[test]
fn a_script_with_windows_line_ends_says_so() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("start.sh");
    std::fs::write(&script, "#!/bin/sh\r\necho started\r\n").expect("written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&script, executable).expect("its owner may");
    let outcome = wait().args([&script]).run();
    let line = format!(
        "wait: error: cannot start {}: its first line ends with a Windows line end (CR): save it \
         with LF alone\n",
        script.display()
    );
    assert!(outcome.exits(126).stderr.ends_with(&line), "{outcome:?}");
}
