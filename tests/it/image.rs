//! The image: what is in it, and where it runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::containers::{docker, image, text, try_docker, wait_image};
use crate::support::{process_status, wait};

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

#[test]
#[ignore = "needs Docker"]
fn the_image_says_what_it_is_and_has_one_layer() {
    let image = wait_image();
    let inspect = |format| docker(&["image", "inspect", "--format", format, image]);
    let labels: serde_json::Value =
        serde_json::from_str(&inspect("{{json .Config.Labels}}")).expect("JSON");
    let description = "Waits until databases, ports, files and web services are really ready, then \
                       becomes your command";
    assert_eq!(
        labels,
        serde_json::json!({
            "org.opencontainers.image.title": env!("CARGO_PKG_NAME"),
            "org.opencontainers.image.description": description,
            "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
        })
    );
    assert_eq!(inspect("{{len .RootFS.Layers}}"), "1");
}

/// Takes the binary out of an image, into this folder, and returns where it is.
fn binary_of(image: &str, folder: &Path) -> PathBuf {
    let container = docker(&["create", image]);
    let binary = folder.join("wait");
    docker(&[
        "cp",
        &format!("{container}:/wait"),
        &binary.display().to_string(),
    ]);
    docker(&["rm", &container]);
    binary
}

/// Builds an image from a Dockerfile's text and returns its name.
pub fn build(name: &str, dockerfile: &str) -> String {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("Dockerfile");
    fs::write(&file, dockerfile).expect("written");
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

    let binary = binary_of(name, folder.path());
    let mount = format!("{}:/wait:ro", binary.display());
    let run = |args: &[&str]| {
        let emulated = ["run", "--rm", "--network=none", "--volume", &mount, cross];
        let emulator = ["qemu-aarch64-static", "/wait"];
        try_docker(&[&emulated[..], &emulator, args].concat(), &[])
    };
    let ready = run(&["--path=/wait", "echo", "started"]);
    assert!(text(&ready).contains("started"), "{}", text(&ready));
    // Here it is a program for another processor.
    let foreign = wait().args([&binary]).run();
    let line = "built for another processor? It is for linux/arm64, and this is ";
    foreign.exits(126).says(&["cannot start", line]);
    // Names, sockets, timers and the deadline.
    let not_ready = run(&["--for=localhost:1", "--mysql=127.0.0.1", "--timeout=1"]);
    assert_eq!(not_ready.status.code(), Some(1), "{}", text(&not_ready));
    assert!(text(&not_ready).contains("refused"), "{}", text(&not_ready));
}

/// A health check in node, with as little as possible to load.
const HEALTHCHECK_JS: &str = "require('node:http')
  .get(process.argv[2], (response) => process.exit(response.statusCode < 400 ? 0 : 1))
  .on('error', () => process.exit(1));";

#[test]
#[ignore = "needs Docker and Node.js"]
fn a_check_takes_a_tenth_of_what_a_script_in_node_takes() {
    const RUNS: usize = 15;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let wait = binary_of(wait_image(), folder.path());
    let script = folder.path().join("healthcheck.js");
    fs::write(&script, HEALTHCHECK_JS).expect("written");
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/health", server.local_addr().expect("bound"));

    // Seconds, and the most memory (in kB) by the time that it asks.
    let measure = |program: &Path, argument: &str| {
        let start = Instant::now();
        let mut check = Command::new(program)
            .args([argument, &url])
            .stdin(Stdio::null())
            .spawn()
            .expect("a check");
        let (mut connection, _) = server.accept().expect("a request");
        let read = connection.read(&mut [0; 4096]).expect("a request");
        assert!(read > 0);
        let peak = process_status(check.id(), "VmHWM") as f64;
        connection
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .expect("answered");
        assert!(check.wait().expect("a status").success());
        (start.elapsed().as_secs_f64(), peak)
    };
    let (mut ours, mut nodes) = (vec![], vec![]);
    for _ in 0..RUNS {
        ours.push(measure(&wait, "--check"));
        nodes.push(measure(Path::new("node"), &script.display().to_string()));
    }
    let median = |runs: &[(f64, f64)]| {
        let middle = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (times, peaks) = runs.iter().copied().unzip();
        (middle(times), middle(peaks))
    };
    let ((time, memory), (nodes_time, nodes_memory)) = (median(&ours), median(&nodes));
    println!(
        "wait --check: {:.1} ms, {:.1} MB; node: {:.1} ms, {:.1} MB",
        time * 1e3,
        memory / 1e3,
        nodes_time * 1e3,
        nodes_memory / 1e3
    );
    assert!(time <= nodes_time / 10.0 && memory <= nodes_memory / 10.0);
}
