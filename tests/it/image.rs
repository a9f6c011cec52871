//! The image: what is in it, and where it runs.

use std::process::Command;

use crate::containers::{docker, image, text, try_docker, wait_image};

#[test]
#[ignore = "needs Docker"]
fn the_image_is_wait_alone() {
    let image = wait_image();
    let container = docker(&["create", image]);
    let listing = Command::new("sh")
        .args(["-c", &format!("docker export {container} | tar t")])
        .output()
        .expect("a shell");
    docker(&["rm", &container]);
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    // These are made for every container, whatever its image.
    let made = [".dockerenv", "dev/", "etc/", "proc/", "sys/"];
    let is_from_image = |name: &&str| !made.iter().any(|made| name.starts_with(made));
    let files: Vec<_> = listing.lines().filter(is_from_image).collect();
    assert_eq!(files, ["wait"]);

    let size = docker(&["image", "inspect", "--format", "{{.Size}}", image]);
    println!("the image has {size} bytes");
    assert!(
        size.parse::<u64>().expect("a number") <= 6_000_000,
        "{size} bytes"
    );
}

/// Builds an image from a Dockerfile's text and returns its name.
fn build(name: &str, dockerfile: &str) -> String {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("Dockerfile");
    std::fs::write(&file, dockerfile).expect("written");
    let name = format!("compose-wait-test-{name}");
    let (file, folder) = (
        file.display().to_string(),
        folder.path().display().to_string(),
    );
    docker(&["build", "--quiet", "--tag", &name, "--file", &file, &folder]);
    name
}

#[test]
#[ignore = "needs Docker"]
fn it_runs_on_any_base_as_any_user_with_nothing_allowed() {
    let (wait, debian) = (wait_image(), image("DEBIAN_IMAGE", "debian:bookworm-slim"));
    let glibc = format!("FROM {debian}\nCOPY --from={wait} /wait /wait\n");
    // As in Alpine, there is no glibc, and all programs are one.
    let busybox = format!(
        "FROM {debian} AS busybox\n\
         RUN apt-get update -q && apt-get install -y -q busybox-static && mkdir -p /root-of-image/bin \\\n\
          && cp /bin/busybox /root-of-image/bin/ && ln -s busybox /root-of-image/bin/true\n\
         FROM scratch\nCOPY --from=busybox /root-of-image /\nCOPY --from={wait} /wait /wait\n"
    );
    for (base, command) in [
        (build("glibc", &glibc), "true"),
        (build("busybox", &busybox), "true"),
        (wait.to_owned(), "/wait"), // nothing else is there
    ] {
        let locked = [
            "--user=12345:12345",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--entrypoint=/wait",
        ];
        let waits = ["--path=/wait", "--", command];
        let run = [
            &["run", "--rm", "--network=none"],
            &locked[..],
            &[&base],
            &waits,
        ];
        let output = try_docker(&run.concat(), &[]);
        let said = text(&output);
        assert!(output.status.success(), "{base}: {said}");
        assert!(said.contains("/wait is ready after"), "{base}: {said}");
        assert!(
            said.contains(&format!("starting {command}")),
            "{base}: {said}"
        );
    }
}

/// The compiler is Debian's, whose packages bring the standard library of other platforms along.
#[test]
#[ignore = "needs Docker"]
fn it_is_built_for_arm64_and_runs_there() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let cross = "compose-wait-test-cross";
    let debian = format!(
        "DEBIAN_IMAGE={}",
        image("DEBIAN_IMAGE", "debian:bookworm-slim")
    );
    let dockerfile = ["--file", "tests/it/cross.Dockerfile", "tests/it"];
    let args = ["build", "--quiet", "--tag", cross, "--build-arg", &debian];
    docker(&[&args[..], &dockerfile].concat());

    let (compiler, name) = (format!("RUST_IMAGE={cross}"), "compose-wait-test-arm64");
    let args = ["build", "--quiet", "--tag", name, "--build-arg", &compiler];
    docker(&[&args[..], &["--platform=linux/arm64", "."]].concat());
    let platform = docker(&[
        "image",
        "inspect",
        "--format",
        "{{.Os}}/{{.Architecture}}",
        name,
    ]);
    assert_eq!(platform, "linux/arm64");
    let size = docker(&["image", "inspect", "--format", "{{.Size}}", name]);
    println!("the image for arm64 has {size} bytes");
    assert!(size.parse::<u64>().expect("a number") <= 6_000_000);

    let container = docker(&["create", "--platform=linux/arm64", name]);
    let binary = folder.path().join("wait").display().to_string();
    docker(&["cp", &format!("{container}:/wait"), &binary]);
    docker(&["rm", &container]);
    let mount = format!("{binary}:/wait:ro");
    let run = |args: &[&str]| {
        let emulated = ["run", "--rm", "--network=none", "--volume", &mount, cross];
        let emulator = ["qemu-aarch64-static", "/wait"];
        try_docker(&[&emulated[..], &emulator, args].concat(), &[])
    };
    let ready = run(&["--path=/wait", "echo", "started"]);
    assert!(text(&ready).contains("started"), "{}", text(&ready));
    // Names, sockets, timers and the deadline.
    let not_ready = run(&["--for=localhost:1", "--mysql=127.0.0.1", "--timeout=1"]);
    assert_eq!(not_ready.status.code(), Some(1), "{}", text(&not_ready));
    assert!(text(&not_ready).contains("refused"), "{}", text(&not_ready));
}
