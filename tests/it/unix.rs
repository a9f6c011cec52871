//! Unix sockets: `unix:///PATH`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::support::{Outcome, WAIT, wait, with_path_alone};

fn waiting_for(target: &str) -> Outcome {
    wait().args(["--for", target, "--timeout=300ms"]).run()
}

/// A path in a folder of its own.
fn path(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    (folder, path)
}

#[test]
fn a_socket_is_ready_while_a_process_listens() {
    let (_folder, path) = path("docker.sock");
    let target = format!("unix://{}", path.display());
    let hint = "is its folder mounted, and is the process started that makes it?";
    let missing = waiting_for(&target);
    missing.exits(1).says(&[
        "wait: error: ",
        &target,
        "missing: there is no such socket; ",
        hint,
    ]);
    waiting_for(&format!("{target}#gone")).exits(0);
    {
        let _listener = UnixListener::bind(&path).expect("a socket");
        waiting_for(&target)
            .exits(0)
            .says(&[&target, " is ready after"]);
        waiting_for(&format!("{target}#gone"))
            .exits(1)
            .says(&["still_there: it is there"]);
    }
    let left = waiting_for(&target);
    left.exits(1)
        .says(&["refused: Connection refused; is the process started that makes it?"]);
    waiting_for(&format!("{target}#gone")).exits(0);
    let check = wait().args(["--check", &target]).run();
    check.exits(1).says(&["is not ready: refused"]);
}

#[test]
fn a_socket_is_waited_for() {
    let (_folder, path) = path("a.sock");
    let started = wait()
        .var("WAIT_HOSTS", format!("unix://{}", path.display()))
        .start();
    thread::sleep(Duration::from_millis(500));
    let _listener = UnixListener::bind(&path).expect("a socket");
    started.end().exits(0).took_from_to(0.5, 5.0);
}

#[test]
fn other_files_are_no_sockets() {
    let (_folder, path) = path("file");
    let target = format!("unix://{}", path.display());
    fs::write(&path, "").expect("written");
    waiting_for(&target).exits(1).says(&["refused"]);
    fs::remove_file(&path).expect("removed");
    let _datagrams = UnixDatagram::bind(&path).expect("a socket");
    waiting_for(&target)
        .exits(1)
        .says(&["unreachable: Protocol wrong type for socket"]);
}

#[test]
fn special_characters_of_a_path_are_encoded() {
    let (_folder, path) = path("a b#gone,c%.sock");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let folder = path.parent().expect("a folder").display();
    let target = format!("unix://{folder}/a%20b%23gone%2Cc%25.sock");
    waiting_for(&target)
        .exits(0)
        .says(&[&format!("wait: {target} is ready after")]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_socket_has_a_name() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("compose-wait-test-{}", std::process::id());
    let target = format!("unix://@{name}");
    waiting_for(&target).exits(1).says(&[&target, "refused"]);
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("a socket");
    waiting_for(&target)
        .exits(0)
        .says(&[&format!("wait: {target} is ready after")]);
}

#[test]
fn without_permission_a_socket_says_so() {
    let (_folder, path) = path("a.sock");
    let _listener = UnixListener::bind(&path).expect("a socket");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("a mode");
    let target = format!("unix://{}", path.display());
    // Even root needs a permission where it has no capability.
    let is_root = path.metadata().expect("a file").uid() == 0;
    let words = match is_root {
        true => &["setpriv", "--bounding-set=-all", WAIT][..],
        false => &[WAIT],
    };
    let output = with_path_alone(words[0])
        .args(&words[1..])
        .args(["--check", &target])
        .output();
    let output = output.expect("a process");
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "unreachable: Permission denied; may this user write to the socket";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_malformed_socket_is_an_error() {
    let long = format!("unix:///{}", "x".repeat(200));
    for target in [
        "unix:relative",
        "unix:/run/docker.sock",
        "unix://run/docker.sock",
        "unix://",
        "unix:",
        "unix:///a b",
        "unix:///a?b",
        "unix:///a%00b",
        "unix://@",
        &long,
    ] {
        let outcome = waiting_for(target);
        outcome
            .exits(2)
            .says(&["wait: error: --for: ", "expected unix:///PATH"]);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
    for (target, expected) in [
        ("unix:///%ff", "percent-encoding that is not UTF-8"),
        (
            "unix:///a#tls=off",
            "an unknown option after '#': expected gone, optional",
        ),
    ] {
        waiting_for(target).exits(2).says(&[expected]);
    }
    // A host may have that name.
    waiting_for("unix:1")
        .exits(1)
        .says(&["unix:1 is not ready"]);
    let command = wait().args(["unix:///run/docker.sock", "--", "node"]).run();
    command.exits(2).says(&["is a target and no command"]);
}
