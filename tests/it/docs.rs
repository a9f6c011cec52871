//! The README, the help and the code say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use compose_wait::env;
use compose_wait::probe::Reason;
use compose_wait::probe::mysql::MEANINGS;

use crate::support::{WAIT, wait};

const README: &str = include_str!("../../README.md");

#[test]
fn every_variable_is_in_the_readme_and_in_the_help() {
    let help = wait().args(["--help"]).run().stdout;
    for variable in env::ALL {
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
    for reason in Reason::ALL {
        has_row(&[&format!("`{}`", reason.name()), reason.hint()]);
    }
    for meaning in MEANINGS {
        has_row(&[
            &format!("`{}`", meaning.reason.name()),
            &meaning.number.to_string(),
        ]);
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
