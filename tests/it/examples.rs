//! The examples, by the very commands of their READMEs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::containers::{
    Project, docker, mariadb_image, mysql_image, text, try_docker, wait_image,
};
use crate::support::{best_of_three, has_line};

/// An example, with its containers and volumes gone when this is dropped.
pub struct Example {
    folder: PathBuf,
    project: String,
}

impl Example {
    pub fn new(name: &str) -> Self {
        Self {
            folder: Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("examples")
                .join(name),
            project: format!("compose-wait-test-{name}-{}", std::process::id()),
        }
    }

    /// The commands of its README, a line each.
    pub fn commands(&self) -> Vec<String> {
        let readme = fs::read_to_string(self.folder.join("README.md")).expect("a README");
        let block = readme.split("```sh\n").nth(1).expect("a block of commands");
        let block = block.split("```").next().unwrap_or_default();
        block.lines().map(str::to_owned).collect()
    }

    /// Runs commands at the top of the repository, which have to succeed, and returns what is said.
    #[track_caller]
    pub fn run(&self, commands: &[String], vars: &[(&str, &str)]) -> String {
        let output = Command::new("sh")
            .args(["-ec", &commands.join("\n")])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("COMPOSE_PROJECT_NAME", &self.project)
            .env("COMPOSE_PROGRESS", "plain")
            .envs(vars.iter().copied())
            .output()
            .expect("a shell");
        let said = text(&output);
        assert!(output.status.success(), "{commands:?}: {said}");
        said
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let compose = ["compose", "--project-name", &self.project];
        let down = ["down", "--volumes", "--remove-orphans", "--timeout=0"];
        try_docker(&[&compose[..], &down].concat(), &[]);
    }
}

/// Asserts that a line holds all of these.
#[track_caller]
pub fn says(said: &str, parts: &[&str]) {
    assert!(has_line(said, parts), "{parts:?} not in {said}");
}

/// Asserts that a target was waited for, for one of these reasons, unless it was ready at the first
/// attempt: that depends on how fast the machine and a registry are.
#[track_caller]
fn waits_for(said: &str, target: &str, reasons: &[&str]) {
    let is_reason =
        |reason: &&str| has_line(said, &[target, "is not ready", &format!(": {reason}: ")]);
    let is_at_once = has_line(said, &[target, "is ready after", ", 1 attempt"]);
    assert!(
        is_at_once || reasons.iter().any(is_reason),
        "{target}: {said}"
    );
}

#[test]
#[ignore = "needs Docker"]
fn entrypoint_in_an_image_without_a_shell() {
    let example = Example::new("entrypoint");
    let said = example.run(&example.commands(), &[]);
    waits_for(&said, "http://api:8080/", &["http_status"]);
    says(&said, &["parent 1, user 65532: here I am"]);
}

#[test]
#[ignore = "needs Docker"]
fn compose_command_before_another_images_program() {
    let example = Example::new("compose-command");
    let said = example.run(&example.commands(), &[]);
    says(&said, &["cache:6379 is ready after"]);
    says(&said, &["mysql://app@db:3306/shop is ready after"]);
    says(&said, &["VERSION()"]);
}

#[test]
#[ignore = "needs Docker"]
fn healthcheck_lets_the_client_start_when_the_service_is_well() {
    let example = Example::new("healthcheck");
    let said = example.run(&example.commands(), &[]);
    says(&said, &["client-1 exited with code 0"]);
}

#[test]
#[ignore = "needs Docker"]
fn migrations_are_waited_for() {
    let example = Example::new("migrations");
    let said = example.run(&example.commands(), &[]);
    // Before the first migration or between them, whichever it has come in time for.
    let target = "mysql://app@db:3306/shop";
    waits_for(&said, target, &["query_failed", "query_empty"]);
    says(&said, &["app-1", "lamp"]);
}

#[test]
#[ignore = "needs Docker"]
fn node_postgres_starts_when_the_last_migration_has_run() {
    let example = Example::new("node-postgres");
    let said = example.run(&example.commands(), &[]);
    let target = "postgres://app@db:5432/shop";
    waits_for(&said, target, &["query_failed", "query_empty"]);
    says(&said, &["app-1", "the products: lamp"]);
    let password = include_str!("../../examples/node-postgres/secrets/db_password.txt");
    assert!(!said.contains(password.trim()), "{said}");
}

#[test]
#[ignore = "needs Docker, Node.js and npm"]
fn ci_job_tests_against_a_published_port() {
    wait_image();
    let example = Example::new("ci-job");
    // A port that is free, in the place of 3306: none that the kernel may give to another process in between.
    let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_768)).take(100);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = ports.find(is_free).expect("a free port").to_string();
    let said = example.run(&example.commands(), &[("DB_PORT", &port)]);
    // Docker accepted the connection.
    waits_for(&said, "mysql://root@127.0.0.1:", &["closed"]);
    says(&said, &["is ready after"]);
    says(&said, &["pass 1"]);
}

pub const NESTJS: &str = "examples/nestjs/compose.yaml";

/// Asserts that a service ends within a second, as soon as this has started it.
#[track_caller]
pub fn stops_at_once(project: &Project, start: impl Fn()) {
    best_of_three(Duration::from_secs(1), || {
        start();
        let since = Instant::now();
        project.compose(&["stop", "app"]);
        since.elapsed()
    });
}

#[test]
#[ignore = "needs Docker"]
fn nestjs_starts_once_and_its_health_check_shows_what_is_down() {
    for server in [mysql_image(), mariadb_image()] {
        let vars = [("MYSQL_IMAGE", server.as_str()), ("PORT", "0")];
        let example = Example::new("nestjs");
        let project = Project::new("nestjs", &[NESTJS], &vars);
        let said = example.run(&example.commands(), &vars);
        says(&said, &["mysql://app@db:3306/guest_book is ready after"]);
        says(&said, &["Nest application successfully started"]);
        assert_eq!(project.fetch("/guests", None), "[]");
        let app = project.compose(&["ps", "--quiet", "app"]);
        let inspect = |format| docker(&["inspect", "--format", format, &app]);
        let state = || inspect("{{.State.Health.Status}}, {{.RestartCount}} restarts");
        assert_eq!(state(), "healthy, 0 restarts");

        let start = || drop(project.compose(&["up", "--detach", "--wait", "app"]));
        stops_at_once(&project, start);
        start();
        project.compose(&["stop", "db"]);
        project.until("it stays healthy", || state() == "unhealthy, 0 restarts");
        let checks = inspect("{{range .State.Health.Log}}{{.Output}}{{end}}");
        says(&checks, &["503", "database", "down"]);
    }
}

#[test]
#[ignore = "needs Docker"]
fn nestjs_tests_end_to_end_against_a_database() {
    let files = ["examples/nestjs/compose.test.yaml"];
    let project = Project::new("nestjs-test", &files, &[]);
    let output = project.try_compose(&["run", "--build", "--rm", "-T", "test"]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    says(&said, &["mysql://app@db:3306/guest_book is ready after"]);
    says(&said, &["Tests", "3 passed"]);
}
