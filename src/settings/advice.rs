//! What people write by mistake, and what helps.

use std::ffi::OsString;

use super::environment;
use crate::kinds::KINDS;

/// The parts of a value that are not meant: one pair of quotes around it, as `docker run --env-file`
/// keeps it, a line end, and a comment after it. Returns the rest and what was dropped.
pub(super) fn cleaned(value: &str) -> (&str, Option<&'static str>) {
    let trimmed = value.trim_end_matches(['\r', '\n']);
    let (value, dropped) = match trimmed.len() < value.len() {
        true => (trimmed, Some("a line end at its end")),
        false => (value, None),
    };
    for quote in ['"', '\''] {
        let inner = value.trim().strip_prefix(quote);
        let Some((inner, after)) = inner.and_then(|inner| inner.rsplit_once(quote)) else {
            continue;
        };
        let is_whole = after.trim().is_empty() || after.trim_start().starts_with('#');
        if is_whole && !inner.contains(quote) {
            return (inner, Some("the quotes around it, which --env-file keeps"));
        }
    }
    match value.split_once(" #") {
        Some((before, comment)) if comment.starts_with([' ', '#']) || comment.is_empty() => {
            (before.trim_end(), Some("the comment after it"))
        }
        _ => (value, dropped),
    }
}

/// Whether a value holds a reference that nothing has expanded.
pub(super) fn is_unexpanded(value: &str) -> bool {
    let name = value
        .split_once("${")
        .and_then(|(_, rest)| rest.split_once('}'));
    name.is_some_and(|(name, _)| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_:-?+".contains(c);
        !name.is_empty() && name.chars().all(is_name)
    })
}

/// Warnings about variables that are not settings but nearly so.
pub(super) fn near_misses(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for variable in environment::ALL {
        known.push(variable.name.to_owned());
        known.extend(variable.deprecated.map(str::to_owned));
    }
    for kind in KINDS.iter().filter(|kind| kind.has_settings()) {
        known.push(kind.variable());
        known.extend(kind.variables());
    }
    let mut warnings: Vec<_> = names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("WAIT_") && !known.contains(name))
        .filter_map(|name| {
            let distance = |other: &String| edit_distance(&name, other);
            let nearest = known.iter().min_by_key(|other| distance(other))?;
            let is_near = distance(nearest) <= 2 && nearest.starts_with("WAIT_");
            is_near.then(|| format!("{name} is no setting: did you mean {nearest}?"))
        })
        .collect();
    warnings.sort();
    warnings
}

/// The number of characters to be added, dropped or changed.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The call that was meant, if the first word of a command is a target.
pub(super) fn target_as_command(words: &[OsString]) -> Option<String> {
    let first = words.first()?.to_str()?;
    let is_url = first
        .split_once("://")
        .is_some_and(|(scheme, _)| KINDS.iter().any(|kind| kind.scheme(scheme).is_some()));
    let is_port =
        |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let is_host_and_port = first
        .split_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && is_port(port));
    (is_url || is_host_and_port).then(|| {
        let shown = crate::targets::address::shown(first);
        format!("a target is given as --for {shown}, before the command")
    })
}

/// What of a command line is a shell's, and is not done without one.
pub(super) fn needs_shell(words: &[String]) -> Option<&str> {
    const OPERATORS: [&str; 8] = ["&&", "||", "|", ">", ">>", "<", ";", "&"];
    let is_shell = words.first().is_some_and(|word| {
        let name = word.rsplit('/').next().unwrap_or_default();
        matches!(name, "sh" | "bash" | "dash" | "ash" | "zsh")
    });
    let is_variable = |word: &str| {
        word.strip_prefix('$').is_some_and(|name| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '{')
        })
    };
    let mut words = words.iter().map(String::as_str);
    match is_shell {
        true => None,
        false => words.find(|word| OPERATORS.contains(word) || is_variable(word)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_line_ends_and_comments_around_a_value_are_dropped() {
        for (value, expected) in [
            ("db:1", "db:1"),
            ("\"db:1\"", "db:1"),
            ("'db:1'", "db:1"),
            ("'db:1' # the database", "db:1"),
            ("db:1\r", "db:1"),
            ("db:1\r\n", "db:1"),
            ("db:1 # the database", "db:1"),
            ("db:1 #", "db:1"),
            ("db:1#gone", "db:1#gone"),
            ("'a' 'b'", "'a' 'b'"),
            ("sh -c 'a'", "sh -c 'a'"),
            ("\"", "\""),
            ("", ""),
        ] {
            let (rest, dropped) = cleaned(value);
            assert_eq!(rest, expected, "{value:?}");
            assert_eq!(dropped.is_some(), value != expected, "{value:?}");
        }
    }

    #[test]
    fn near_misses_name_the_setting() {
        let warnings = |names: &[&str]| near_misses(names.iter().map(Into::into));
        assert_eq!(
            warnings(&["WAIT_HOST", "PATH", "WAIT_TIMEOUTS", "WAIT_FOR_THE_BUS"]),
            [
                "WAIT_HOST is no setting: did you mean WAIT_HOSTS?",
                "WAIT_TIMEOUTS is no setting: did you mean WAIT_TIMEOUT?"
            ]
        );
        assert_eq!(warnings(&["WAIT_HOSTS", "WAIT_AFTER_HOSTS"]), [""; 0]);
    }

    #[test]
    fn references_that_nothing_has_expanded_are_found() {
        for text in ["${DB_HOST}:1", "a${X:-y}b", "mysql://${A_1}/x"] {
            assert!(is_unexpanded(text), "{text}");
        }
        for text in ["db:1", "$DB:1", "${", "p${ }w", "${}"] {
            assert!(!is_unexpanded(text), "{text}");
        }
    }
}
