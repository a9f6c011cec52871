//! Settings that are written wrongly.

use crate::support::wait;

#[test]
fn malformed_settings_name_the_item_and_the_expectation() {
    let folder = tempfile::tempdir().expect("a folder");
    let not_pem = folder.path().join("ca.der");
    std::fs::write(&not_pem, b"0\x82\x01\x0a").expect("written");
    let not_pem = not_pem.to_str().expect("UTF-8");
    let port = "a port from 1 to 65535";
    let host = "a host name, an IPv4 address or [IPv6]";
    let mode = "ssl-mode to be DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY";
    // The item as far as it may be shown, and what was expected in its place.
    let rows = [
        ("WAIT_HOSTS", "db", "db: expected HOST:PORT"),
        ("WAIT_HOSTS", "db:", &format!("db:: expected {port}")),
        ("WAIT_HOSTS", ":80", &format!("…: expected {host}")),
        ("WAIT_HOSTS", "db:80:90", &format!("…: expected {host}")),
        ("WAIT_HOSTS", "db:080000", &format!("db:…: expected {port}")),
        ("WAIT_HOSTS", "[::1", &format!("…: expected {host}")),
        (
            "WAIT_HOSTS",
            "htp://web/",
            "htp://web…: the scheme htp is unknown: expected HOST:PORT, tcp://…, http://…",
        ),
        ("WAIT_HOSTS", "http//web:80/", "http…: expected HOST:PORT"),
        ("WAIT_HOSTS", "http://", "http://…: expected a host"),
        (
            "WAIT_HOSTS",
            "http://web:99999/",
            &format!("http://web:99999…: expected {port}"),
        ),
        (
            "WAIT_HOSTS",
            "https://web /",
            &format!("https://…: expected {host}"),
        ),
        (
            "WAIT_HOSTS",
            "http://app:%ff@web/",
            "http://…@web…: percent-encoding that is not UTF-8",
        ),
        (
            "WAIT_HOSTS",
            "mysql://db?socket=run",
            "mysql://db…: expected socket=/PATH",
        ),
        (
            "WAIT_HOSTS",
            "env:NOT_SET",
            "env:NOT_SET: expected a variable that is set",
        ),
        (
            "WAIT_HOSTS",
            "env:WAIT_HOSTS",
            "env:WAIT_HOSTS: expected a variable that does not lead back",
        ),
        (
            "WAIT_HOSTS",
            "db:80 redis",
            &format!("db:…: expected {port}"),
        ),
        (
            "WAIT_MYSQL",
            "app@db:33o6",
            &format!("…@db:…: expected {port}"),
        ),
        (
            "WAIT_MYSQL",
            "app:p@ss@db/x/y",
            "…@db…: expected one name after the host",
        ),
        (
            "WAIT_MYSQL",
            "%ff@db",
            "…@db: percent-encoding that is not UTF-8",
        ),
        (
            "WAIT_MYSQL",
            "db?ssl-mode=yes",
            &format!("db…: expected {mode}"),
        ),
        (
            "WAIT_MYSQL",
            "db?charset=x",
            "db…: an unknown parameter: expected ssl-mode or socket",
        ),
        (
            "WAIT_MYSQL",
            "redis://cache",
            "redis://cache: expected a mysql:// URL",
        ),
        (
            "WAIT_MYSQL",
            "app@db#quer=SELECT 1",
            "…@db…: an unknown option after '#': expected user, query, tls, ca-file, cert-file, key-file",
        ),
        (
            "WAIT_TLS_CA_FILE",
            "/etc",
            "/etc: expected a readable file with certificates: it is not a regular",
        ),
        (
            "WAIT_TLS_CA_FILE",
            not_pem,
            &format!("{not_pem}: expected certificates in PEM format"),
        ),
        (
            "WAIT_COMMAND",
            "echo 'a",
            "echo …: expected every quote to be closed",
        ),
        ("WAIT_INIT", "yes", "yes: expected auto, always or never"),
        ("WAIT_SCRUB", "yes", "yes: expected 1 or 0"),
        ("WAIT_ON_TIMEOUT", "go", "go: expected fail or start"),
    ];
    // docker-compose-wait ignored such values.
    for (name, value, expected) in [
        (
            "WAIT_LOGGER_LEVEL",
            "loud",
            "expected off, error, warn, info, debug or trace",
        ),
        ("WAIT_LOG_FORMAT", "xml", "expected text or json"),
    ] {
        let outcome = wait().var(name, value).run();
        let line = format!("wait: warning: {name}: {value}: {expected}; the default is used");
        outcome.exits(0).says(&[&line]);
    }
    let is_refused = |variables: &[(&str, &str)], line: &str| {
        let wait = variables
            .iter()
            .fold(wait(), |wait, (name, value)| wait.var(name, value));
        let outcome = wait.run();
        outcome.exits(2).took_from_to(0.0, 2.0);
        assert!(
            outcome.stderr.starts_with(line),
            "{line} is not {outcome:?}"
        );
        assert_eq!(outcome.stderr.lines().count(), 1, "{line}: {outcome:?}");
    };
    for (name, value, expected) in rows {
        let line = format!("wait: error: {name}: {expected}");
        is_refused(&[(name, value)], &line);
    }
    let both = [
        ("WAIT_MYSQL", "app@db"),
        ("WAIT_MYSQL_PASSWORD", "secret"),
        ("WAIT_MYSQL_PASSWORD_FILE", "/etc/hostname"),
    ];
    let line = "wait: error: WAIT_MYSQL: …@db: expected one of WAIT_MYSQL_PASSWORD and WAIT_MYSQL_PASSWORD_FILE, not both";
    is_refused(&both, line);
}
