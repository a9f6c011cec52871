//! What people write by mistake, and what helps.

use std::borrow::Cow;
use std::ffi::OsString;

use super::environment::{self, Variable};
use crate::kinds::{self, KINDS};
use crate::targets::address::shown;
use crate::targets::{Endpoint, Expected, Kind, Parameters, env_reference};

/// The form of a setting's value, as far as it decides what of it is not meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One word.
    Word,
    /// A list, in which line ends separate.
    List,
    /// A command, several of them or a statement, which may hold quotes and comments of its own.
    Text,
}

impl Form {
    /// By the name of the variable.
    pub(super) fn of(name: &str) -> Self {
        let kinds = || KINDS.iter().filter(|kind| kind.has_settings());
        if [environment::COMMAND.name, environment::EXEC.name].contains(&name)
            || kinds().any(|kind| name == format!("{}_QUERY", kind.variable()))
        {
            Self::Text
        } else if [environment::HOSTS.name, environment::PATHS.name].contains(&name)
            || kinds().any(|kind| name == kind.variable())
        {
            Self::List
        } else {
            Self::Word
        }
    }
}

/// Drops the parts of a value that are not meant: one pair of quotes around it, as
/// `docker run --env-file` keeps it, a line end, and a comment after it. Returns the rest, and what is
/// wrong with the value.
pub(super) fn cleaned(value: &str, form: Form) -> (Cow<'_, str>, Option<&'static str>) {
    let line = value.trim_end_matches(['\r', '\n']);
    let ends = &value[line.len()..];
    let flaw = match (ends.contains('\r'), ends.is_empty(), form) {
        (true, ..) => Some("the value ends in a Windows line end"),
        (false, false, Form::Word) => Some("the value ends in a line end"),
        _ => None,
    };
    for quote in ['"', '\''] {
        let inner = line.trim().strip_prefix(quote);
        let Some((inner, after)) = inner.and_then(|inner| inner.rsplit_once(quote)) else {
            continue;
        };
        let is_whole = after.trim().is_empty() || after.trim_start().starts_with('#');
        if is_whole && !inner.contains(quote) {
            let flaw = "the value is in quotes, which --env-file keeps";
            return (inner.into(), Some(flaw));
        }
    }
    if form == Form::Text {
        return (line.into(), flaw);
    }
    let lines: Vec<_> = line.split('\n').map(without_comment).collect();
    match lines.iter().map(|line| line.len() + 1).sum::<usize>() == line.len() + 1 {
        true => (line.into(), flaw),
        false => (
            lines.join("\n").into(),
            Some("the value has a comment after it"),
        ),
    }
}

/// A line without the comment that ends it, or is all of it.
fn without_comment(line: &str) -> &str {
    let is_comment = |text: &str| text.starts_with([' ', '#', '\r']) || text.is_empty();
    match line.split_once(" #") {
        _ if line.trim_start().strip_prefix('#').is_some_and(is_comment) => "",
        Some((before, comment)) if is_comment(comment) => before.trim_end(),
        _ => line,
    }
}

/// The scheme of what has no server to wait for, and what it is: a database in a file or in memory, a
/// queue in the application itself, or one whose URL names no host.
pub(super) fn without_server(item: &str) -> Option<(&str, &'static str)> {
    if kinds::of_driver(item).is_some() {
        return None;
    }
    let item = item
        .strip_prefix("jdbc:")
        .or(item.strip_prefix("r2dbc:"))
        .unwrap_or(item);
    let (scheme, rest) = item.split_once(':')?;
    let name = scheme.split('+').next().unwrap_or_default();
    let what = match &*name.to_ascii_lowercase() {
        "sqlite" | "sqlite3" | "file" | "duckdb" | "h2" => "a file database",
        "memory" => "a queue in memory",
        // The key of an account may come before the host.
        "sqs"
            if rest
                .split('/')
                .nth(2)
                .is_none_or(|place| place.is_empty() || place.ends_with('@')) =>
        {
            "a queue without a host"
        }
        _ => return None,
    };
    // A host may have such a name.
    let is_port = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    (!is_port).then_some((scheme, what))
}

pub(super) const NO_QUOTES: &str =
    "expected no quotes: the value is in quotes, which --env-file keeps";

/// Whether an item of a list begins with a quote.
pub(super) fn is_quoted(item: &[u8]) -> bool {
    item.starts_with(b"\"") || item.starts_with(b"'")
}

/// What helps with a target that cannot be understood, where that is known. One that is alone is shown
/// as a whole, if no part of it can be a secret; in a list it may be a part of one.
pub(super) fn target(item: &str, list: &str, is_alone: bool) -> Option<Expected> {
    if is_quoted(item.as_bytes()) {
        return Some(Expected::new(NO_QUOTES));
    }
    let is_endpoint = |text: &str| text.parse::<Endpoint>().is_ok();
    if !item.contains("://")
        && item
            .split_once(';')
            .is_some_and(|(first, _)| is_endpoint(first.trim()))
    {
        return Some(Expected::new(
            "expected commas: targets are separated by commas",
        ));
    }
    let name = item
        .get(..4)
        .filter(|prefix| prefix.eq_ignore_ascii_case("env:"));
    if name.is_some() && !is_endpoint(item) {
        return Some(Expected::new(
            "expected env:NAME with the name of a variable",
        ));
    }
    let is_after_query = list.contains("#query=") || list.contains("&query=");
    if is_after_query && item.len() < list.len() && !item.contains("query=") {
        return Some(Expected::new(
            "expected a target: a comma in a query is written %2C",
        ));
    }
    let endpoint = item.rsplit('@').next().unwrap_or_default();
    if item.contains(":tcp://") {
        return Some(Expected::new(
            "expected a port: a variable such as DB_PORT holds tcp://…, which Kubernetes sets for a \
             service of that name (enableServiceLinks: false, or another name)",
        ));
    }
    let is_name = |c: char| c.is_ascii_alphabetic() || c == '_';
    if endpoint
        .split_once('$')
        .is_some_and(|(_, name)| name.starts_with(is_name))
    {
        return Some(Expected::new(
            "expected no $NAME: it is the name of a variable, which nothing has expanded",
        ));
    }
    let (endpoint, path) = item.split_at(item.find('/')?);
    (is_endpoint(endpoint) && path.len() > 1).then(|| {
        let is_shown = is_alone && !path.contains(['@', '?', '#', '\\']);
        let path = if is_shown { path } else { "/…" };
        // Only web pages have paths that are sent as they are.
        let is_page = |kind: &&&Kind| kind.parameters == Parameters::Opaque;
        let page = KINDS
            .iter()
            .find(is_page)
            .map_or("", |kind| kind.schemes[0].name);
        Expected::new(format!(
            "expected HOST:PORT; for a web page, write {page}://{endpoint}{path}"
        ))
    })
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
            if let Some(meant) = other_name(&name) {
                return Some(format!("{name} is no setting: did you mean {meant}?"));
            }
            let distance = |other: &String| edit_distance(&name, other);
            let nearest = known.iter().min_by_key(|other| distance(other))?;
            if distance(nearest) <= 2 && nearest.starts_with("WAIT_") {
                return Some(format!("{name} is no setting: did you mean {nearest}?"));
            }
            let mut kinds = KINDS.iter();
            let kind = kinds.find(|kind| kind.owns_variable(name.as_bytes()))?;
            let names: Vec<_> = kind.variables().collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let expected = Expected::one_of("did you mean", &names);
            Some(format!("{name} is no setting: {expected}?"))
        })
        .collect();
    warnings.sort();
    warnings
}

/// The variable that is meant by another name for the same.
fn other_name(name: &str) -> Option<String> {
    const OTHERS: [(&str, &Variable); 9] = [
        ("WAIT_CMD", &environment::COMMAND),
        ("WAIT_CONNECT_TIMEOUT", &environment::CONNECT_TIMEOUT),
        ("WAIT_FOR", &environment::HOSTS),
        ("WAIT_INTERVAL", &environment::INTERVAL),
        ("WAIT_LOGGER_FORMAT", &environment::LOG_FORMAT),
        ("WAIT_LOG_LEVEL", &environment::LOG_LEVEL),
        ("WAIT_TARGETS", &environment::HOSTS),
        ("WAIT_TIMEOUT_SECONDS", &environment::TIMEOUT),
        ("WAIT_TLS_CA", &environment::TLS_CA_FILE),
    ];
    if let Some((_, variable)) = OTHERS.iter().find(|(other, _)| *other == name) {
        return Some(variable.name.to_owned());
    }
    let (own, rest) = name
        .strip_prefix("WAIT_")?
        .split_once('_')
        .unwrap_or((&name[5..], ""));
    let mut kinds = KINDS.iter().filter(|kind| kind.has_settings());
    let kind =
        kinds.find(|kind| kind.scheme(own).is_some() || kind.name.eq_ignore_ascii_case(own))?;
    let is_target = matches!(rest, "" | "HOST" | "HOSTS" | "URL" | "ADDRESS" | "TARGET");
    let variable = match is_target {
        true => kind.variable(),
        false => format!("{}_{rest}", kind.variable()),
    };
    let is_known = is_target || kind.variables().any(|known| known == variable);
    (is_known && variable != name).then_some(variable)
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

/// The call that was meant, if the first words of a command are targets.
pub(super) fn target_as_command(words: &[OsString]) -> Option<String> {
    let words = words.iter().map_while(|word| word.to_str());
    let name = |word: &str| env_reference(word).map_or_else(|| shown(word), |_| word.to_owned());
    let targets: Vec<_> = words.take_while(|word| is_target(word)).map(name).collect();
    let flags: Vec<_> = targets
        .iter()
        .map(|target| format!("--for {target}"))
        .collect();
    let (first, flags) = (targets.first()?, flags.join(" "));
    Some(format!(
        "{first} is a target and no command: write /wait {flags} -- COMMAND"
    ))
}

fn is_target(word: &str) -> bool {
    let scheme = word.split_once("://").map(|(scheme, _)| scheme);
    let is_port =
        |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let is_host_and_port = word
        .split_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && is_port(port));
    scheme.is_some_and(|scheme| KINDS.iter().any(|kind| kind.scheme(scheme).is_some()))
        || is_host_and_port
        || env_reference(word).is_some()
        || kinds::without_host(word).is_some()
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
    let is_operator = |word: &str| {
        OPERATORS.contains(&word) || word.starts_with(['>', '<']) || word.starts_with("2>")
    };
    if is_shell {
        return None;
    }
    words.iter().map(String::as_str).find_map(|word| {
        // Of a reference the name alone is shown.
        let end = |c: char| !(c.is_ascii_alphanumeric() || "_${}".contains(c));
        match (is_operator(word), is_variable(word)) {
            (true, _) => Some(word.trim_end_matches(|c: char| !"<>&|;2".contains(c))),
            (false, true) => word.split(end).next(),
            (false, false) => None,
        }
    })
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
            let (rest, dropped) = cleaned(value, Form::Word);
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
        for text in ["${DB_HOST}:1", "a${X:-y}b", "any://${A_1}/x"] {
            assert!(is_unexpanded(text), "{text}");
        }
        for text in ["db:1", "$DB:1", "${", "p${ }w", "${}"] {
            assert!(!is_unexpanded(text), "{text}");
        }
    }
}
