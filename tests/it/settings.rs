//! Settings that cannot be used, and those that change what starts. The meaning of every setting
//! is in the tables of `contract.rs`.

use std::io::Write as _;

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
