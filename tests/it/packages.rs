//! The packages and the action of a release, with a binary from here in the place of the release's.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::containers::{docker, image, static_wait, text};
use crate::support::{WAIT, has_line};

/// The name of this machine's binary in a release.
fn binary() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("wait-linux-{arch}")
}

/// Standard output of a shell's script in a container without a network.
fn in_container(image: &str, dist: &Path, script: &str) -> String {
    let volume = format!("{}:/dist:ro", dist.display());
    let args = ["run", "--rm", "--network=none", "--volume", &volume];
    docker(&[&args[..], &[image, "sh", "-c", script]].concat())
}

#[test]
#[ignore = "needs Docker, Node.js, npm and cargo-deb"]
fn npm_and_debian_packages_work_without_a_network() {
    let dist = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let wait = static_wait(dist.path());
    fs::rename(wait, dist.path().join(binary())).expect("renamed");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/packages");
    let output = Command::new(script).arg(dist.path()).output();
    let output = output.expect("a script");
    assert!(output.status.success(), "{}", text(&output));

    let node = image("NODE_IMAGE", "node:20-slim");
    let script = r#"
        mkdir /tmp/app && cd /tmp/app
        npm install --silent --offline /dist/compose-wait-[0-9]*.tgz /dist/compose-wait-linux-*.tgz
        npx compose-wait --version
        node -e 'setTimeout(() => require("net").createServer().listen(3000), 1000)' &
        npx compose-wait tcp://localhost:3000 --timeout 20 -- sh -c 'exit 7' || echo "status $?"
        npx compose-wait localhost:1 --timeout=0 || echo "status $?"
        npx compose-wait localhost:port || echo "status $?"
        node_modules/.bin/compose-wait localhost:3000 -- sleep 60 &
        sleep 1; kill -TERM $!; wait $! || echo "status $?"
    "#;
    let version = format!("wait {}", env!("CARGO_PKG_VERSION"));
    let statuses = ["status 7", "status 1", "status 2", "status 143"];
    assert_eq!(
        in_container(&node, dist.path(), script),
        format!("{version}\n{}", statuses.join("\n"))
    );

    let debian = image("DEBIAN_IMAGE", "debian:bookworm-slim");
    let script =
        "dpkg --install /dist/*.deb >/dev/null && compose-wait --path / -- compose-wait --version";
    assert_eq!(in_container(&debian, dist.path(), script), version);
}

#[test]
#[ignore = "needs curl"]
fn the_action_downloads_a_binary_checks_its_sum_and_waits() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (binary, steps) = (folder.path().join(binary()), folder.path().join("path"));
    fs::copy(WAIT, &binary).expect("copied");
    let sum = || {
        let mut sum = Command::new("sha256sum");
        let sum = sum
            .arg(binary.file_name().expect("a name"))
            .current_dir(folder.path());
        sum.output().expect("a sum").stdout
    };
    fs::write(folder.path().join("SHA256SUMS"), sum()).expect("written");
    let act = |targets: &str, arch: &str| {
        let mut action = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/action.sh"));
        let downloads = format!("file://{}", folder.path().display());
        action.env("COMPOSE_WAIT_DOWNLOADS", downloads);
        action.envs([
            ("TARGETS", targets),
            ("TIMEOUT", "0"),
            ("VERSION", ""),
            ("REF", "main"),
        ]);
        action.envs([
            ("RUNNER_OS", "Linux"),
            ("RUNNER_ARCH", arch),
            ("REPOSITORY", "o/r"),
        ]);
        action.envs(["GITHUB_WORKSPACE", "RUNNER_TEMP"].map(|name| (name, folder.path())));
        action.env("GITHUB_PATH", &steps);
        let output = action.output().expect("a script");
        (output.status.code(), text(&output))
    };
    let arch = match std::env::consts::ARCH {
        "aarch64" => "ARM64",
        _ => "X64",
    };

    assert_eq!(act("", arch).0, Some(0));
    let place = folder.path().join("compose-wait");
    assert_eq!(
        fs::read_to_string(&steps).expect("a path"),
        format!("{}\n", place.display())
    );
    assert!(place.join("compose-wait").exists());
    let (status, said) = act("localhost:1", arch);
    assert_eq!(status, Some(1));
    assert!(
        has_line(&said, &["error: localhost:1 is not ready"]),
        "{said}"
    );

    let (status, said) = act("", "S390X");
    assert_eq!(status, Some(1));
    assert!(has_line(&said, &["::error::", "S390X"]), "{said}");
    fs::write(&binary, "another").expect("written");
    let (status, said) = act("", arch);
    assert_eq!(status, Some(1));
    assert!(has_line(&said, &["::error::", "SHA256SUMS"]), "{said}");
}
