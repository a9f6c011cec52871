//! The README, the help and the code say the same.

use compose_wait::env;
use compose_wait::probe::Reason;
use compose_wait::probe::mysql::MEANINGS;

use crate::support::wait;

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
            .collect::<std::collections::BTreeSet<_>>()
    };
    let settings = README
        .split("\n## Settings\n")
        .nth(1)
        .and_then(|text| text.split("\n## ").next())
        .expect("a section");
    assert_eq!(
        flags(settings),
        flags(&wait().args(["--help"]).run().stdout)
    );
}

#[test]
fn every_reason_and_every_error_number_is_in_the_readme_with_its_hint() {
    let has_row = |parts: &[&str]| {
        let is_row = |line: &str| line.starts_with('|') && parts.iter().all(|p| line.contains(p));
        assert!(README.lines().any(is_row), "no row has {parts:?}");
    };
    for reason in Reason::ALL {
        has_row(&[&format!("`{}`", reason.name()), reason.hint()]);
    }
    for meaning in MEANINGS {
        let (number, reason) = (meaning.number.to_string(), meaning.reason.name());
        has_row(&[&number, reason, meaning.hint.unwrap_or_default()]);
    }
}
