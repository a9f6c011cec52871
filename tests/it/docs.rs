//! The README, the help and the code say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::Parser as _;
use compose_wait::kinds::KINDS;
use compose_wait::probe::reason;
use compose_wait::settings::cli::Cli;
use compose_wait::settings::{self, Surroundings, environment};

use crate::containers::{text, try_docker};
use crate::support::{WAIT, wait};

const README: &str = include_str!("../../README.md");

#[test]
fn every_variable_is_in_the_readme_and_in_the_help() {
    let help = wait().args(["--help"]).run().stdout;
    for variable in environment::ALL {
        assert!(
            README.contains(&format!("`{}`", variable.name)),
            "{variable:?}"
        );
        assert!(help.contains(variable.name), "{variable:?}");
        if let Some(deprecated) = variable.deprecated {
            assert!(README.contains(&format!("`{deprecated}`")), "{variable:?}");
        }
    }
}

#[test]
fn every_flag_of_the_help_is_in_the_readme_and_the_other_way_round() {
    let flags = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '-');
        let is_flag =
            |word: &&str| word.starts_with("--") && word.len() > 4 && !word[2..].starts_with('-');
        words
            .filter(is_flag)
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let settings = README
        .split("\n## Settings and exit status\n")
        .nth(1)
        .and_then(|text| text.split("\n## ").next())
        .expect("a section");
    assert_eq!(
        flags(settings),
        flags(&wait().args(["--help"]).run().stdout)
    );
}

#[test]
fn every_reason_is_in_the_readme_with_its_hint_and_its_numbers() {
    let has_row = |parts: &[&str]| {
        let is_row = |line: &str| line.starts_with('|') && parts.iter().all(|p| line.contains(p));
        assert!(README.lines().any(is_row), "no row has {parts:?}");
    };
    for reason in reason::COMMON {
        has_row(&[&format!("`{}`", reason.name), reason.hint]);
    }
    for kind in KINDS {
        for reason in kind.reasons {
            has_row(&[&format!("`{}`", reason.name), reason.hint]);
        }
        for (code, reason) in kind.codes {
            has_row(&[&format!("`{}`", reason.name), code]);
        }
    }
}

#[test]
fn the_readme_and_the_help_are_short() {
    assert!(README.lines().count() < 250);
    let help = wait().args(["--help"]).run().stdout;
    assert!(help.lines().count() <= 40, "{help}");
    let longest = help.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{help}");
}

/// The example `manual` writes what the workflow attaches to a release; `cargo test` has built it.
#[test]
#[ignore = "needs bash"]
fn the_manual_and_the_completions_are_understood() {
    let folder = tempfile::tempdir().expect("a folder");
    let manual = Path::new(WAIT).with_file_name("examples/manual");
    let status = Command::new(manual).arg(folder.path()).status();
    assert!(status.expect("the example").success());
    let completions = "source ./wait.bash && COMP_WORDS=(/wait --time) COMP_CWORD=1 && \
         _wait /wait --time /wait && printf '%s' \"${COMPREPLY[*]}\"";
    let bash = Command::new("bash")
        .args(["-ec", completions])
        .current_dir(folder.path())
        .output();
    assert_eq!(bash.expect("bash").stdout, b"--timeout");
    let page = fs::read_to_string(folder.path().join("wait.1")).expect("a page");
    assert!(page.contains("connect\\-timeout"), "{page}");
    for name in ["_wait", "wait.fish"] {
        let script = fs::read_to_string(folder.path().join(name)).expect("a script");
        assert!(script.contains("connect-timeout"), "{name}");
    }
}

#[test]
#[ignore = "needs Docker"]
fn the_compose_file_of_the_readme_is_one() {
    let yaml = README.split("```yaml\n").nth(1).expect("a block");
    let yaml = yaml.split("```").next().unwrap_or_default();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("compose.yaml");
    fs::write(&file, yaml).expect("written");
    let args = ["compose", "--file", file.to_str().expect("UTF-8"), "config"];
    let output = try_docker(&args, &[("DB_PASSWORD", "s3cret")]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(output.stderr.is_empty(), "{said}"); // a variable that is not set, and the like
    for part in ["WAIT_MYSQL_PASSWORD: s3cret", " MYSQL_PASSWORD: s3cret"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn what_the_readme_says_for_those_coming_from_another_program_is_understood() {
    let table = README
        .split("\nComing from another program:\n")
        .nth(1)
        .and_then(|text| text.split("\n## ").next())
        .expect("a table");
    let mut calls = 0;
    for row in table.lines().filter(|row| row.starts_with('|')) {
        let cells: Vec<_> = row.split('|').collect();
        for code in cells[2].split('`').skip(1).step_by(2) {
            let words: Vec<String> = match (code.strip_prefix("CMD "), code.split_once(": ")) {
                (Some(json), _) => serde_json::from_str(json).expect("JSON"),
                (None, Some((name, value))) => vec![format!("{name}={value}"), "/wait".into()],
                (None, None) => shell_words::split(code).expect("quotes"),
            };
            // Variables come first.
            let program = words.iter().position(|word| !word.contains('='));
            let (variables, words) = words.split_at(program.expect("a program"));
            assert_eq!(words[0], "/wait", "{code}");
            let variable = |name: &str| {
                let values = variables.iter().filter_map(|word| word.split_once('='));
                let mut values = values.filter(|(other, _)| *other == name);
                values.next().map(|(_, value)| value.into())
            };
            let surroundings = Surroundings {
                variable: &variable,
                file: &|path| panic!("no {path:?} was given"),
                is_terminal: false,
            };
            let cli = Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{code}: {e}"));
            let resolved = settings::resolve(&cli, &surroundings);
            let (config, notices) = resolved.unwrap_or_else(|e| panic!("{code}: {e}"));
            assert_eq!(notices, [], "{code}");
            assert!(
                !config.targets.is_empty() || config.command.is_some(),
                "{code}"
            );
            if words.len() == 1 {
                continue; // a variable alone
            }
            // It is what is said there.
            let there = cells[1];
            let targets: Vec<_> = config.targets.iter().map(ToString::to_string).collect();
            for target in ["db:3306", "redis:6379", "http://api", "/shared/ready"] {
                let is_here = targets.iter().any(|other| other.contains(target));
                assert_eq!(is_here, there.contains(target), "{target}: {targets:?}");
            }
            let command = config
                .command
                .map(|command| (command.program, command.args));
            let node = || ("node".into(), vec!["app.js".into()]);
            assert_eq!(command, there.contains("node app.js").then(node), "{code}");
            let timeout = if there.contains("60") { 60 } else { 30 };
            assert_eq!(config.timing.timeout, Some(Duration::from_secs(timeout)));
            calls += 1;
        }
    }
    assert!(calls >= 6, "{calls}");
}

/// What a module forbids is forbidden below it too, and cannot be allowed there.
#[test]
fn unsafe_code_is_forbidden_but_in_two_files() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |name: &str| fs::read_to_string(src.join(name)).unwrap_or_default();
    let entries = fs::read_dir(&src).expect("a folder");
    for entry in entries.map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().into_string().expect("UTF-8");
        let module = match name.strip_suffix(".rs") {
            Some("sys" | "main") => continue,
            // It is above sys.rs, so it can do no more than to have none.
            Some("lib") => {
                assert!(!read(&name).contains("unsafe"), "{name}");
                continue;
            }
            Some(module) => module,
            None => &name,
        };
        let files = [format!("{module}.rs"), format!("{module}/mod.rs")];
        let text = files.map(|file| read(&file)).concat();
        let forbids = text.lines().any(|line| line == "#![forbid(unsafe_code)]");
        assert!(forbids, "{name}");
    }
    let manifest = include_str!("../../Cargo.toml");
    assert!(manifest.contains("\nunsafe_code = \"deny\""));
}

#[test]
fn every_crate_is_in_the_readme_with_its_reason() {
    let manifest = include_str!("../../Cargo.toml");
    let dependencies = manifest
        .split("\n[dependencies]\n")
        .nth(1)
        .and_then(|text| text.split("\n[").next())
        .expect("a section");
    let reasons = README
        .split("\n| crates | are there for |\n")
        .nth(1)
        .expect("a table");
    let named = |text: &str| {
        let rows = text.lines().filter_map(|row| row.split('|').nth(1));
        let names = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let used = dependencies
        .lines()
        .filter_map(|line| line.split(" = ").next());
    assert_eq!(
        named(reasons),
        used.filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    );
}
