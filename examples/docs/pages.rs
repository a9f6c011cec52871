//! The pages of the documentation that have generated parts, as they should be. A generated part is
//! between the lines `<!-- generated: NAME -->` and `<!-- end -->`; the rest is written by hand.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use compose_wait::kinds::KINDS;
use compose_wait::probe::Reason;
use compose_wait::probe::reason::COMMON;
use compose_wait::targets::{Kind, Parameters, Setting};

const START: &str = "<!-- generated: ";
const START_END: &str = " -->";
const END: &str = "<!-- end -->";

/// Other files with addresses of this project, whose owner Cargo.toml names.
const OWNED: [&str; 6] = [
    ".github/ISSUE_TEMPLATE/config.yml",
    "SECURITY.md",
    "docs/recipes.md",
    "examples/ci-job/github-actions.yml",
    "examples/ci-job/gitlab-ci.yml",
    "examples/kubernetes/init-container.yaml",
];

/// A page.
pub(crate) struct Page {
    /// Its file.
    pub path: PathBuf,
    /// The text in the file; empty where there is no file yet.
    old: String,
    /// The text that should be there.
    new: String,
}

impl Page {
    /// Whether the file has another text than it should.
    pub(crate) fn is_stale(&self) -> bool {
        self.old != self.new
    }

    /// Writes the file.
    #[allow(dead_code)] // the tests only compare
    pub(crate) fn write(&self) -> io::Result<()> {
        fs::write(&self.path, &self.new)
    }
}

/// All pages that have generated parts, below the root of the repository.
pub(crate) fn all(root: &Path) -> io::Result<Vec<Page>> {
    let mut pages = vec![
        page(root.join("README.md"), &glance_parts(), None)?,
        page(root.join("docs/settings.md"), &settings_parts(), None)?,
        page(root.join("docs/reasons.md"), &reasons_parts(), None)?,
        page(root.join("docs/targets/README.md"), &targets_parts(), None)?,
    ];
    for kind in KINDS {
        let path = root.join(format!("docs/targets/{}.md", kind.name));
        pages.push(page(path, &kind_parts(kind), Some(&new_page(kind)))?);
    }
    for path in OWNED {
        pages.push(page(root.join(path), &Parts::new(), None)?);
    }
    Ok(pages)
}

/// A text in which the addresses of this project have the owner that Cargo.toml names.
fn owned(text: &str) -> String {
    let (_, owner) = env!("CARGO_PKG_REPOSITORY")
        .trim_end_matches("/compose-wait")
        .rsplit_once('/')
        .expect("an owner in the repository's address");
    let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '-');
    let replaced = |part: &str| match part.split_once("/compose-wait") {
        Some((name, rest)) if is_name(name) => format!("{owner}/compose-wait{rest}"),
        _ => part.to_owned(),
    };
    ["ghcr.io/", "github.com/", "uses: "]
        .iter()
        .fold(text.to_owned(), |text, before| {
            let parts: Vec<_> = text.split(before).collect();
            let first = parts.iter().take(1).map(|&part| part.to_owned());
            let rest = parts.iter().skip(1).map(|part| replaced(part));
            first.chain(rest).collect::<Vec<_>>().join(before)
        })
}

/// The parts of a page, by name.
type Parts = BTreeMap<&'static str, String>;

/// A page with its generated parts replaced. `template` is what a page without a file starts from.
fn page(path: PathBuf, parts: &Parts, template: Option<&str>) -> io::Result<Page> {
    let old = match (fs::read_to_string(&path), template) {
        (Err(error), Some(_)) if error.kind() == io::ErrorKind::NotFound => String::new(),
        (read, _) => read?,
    };
    let text = match (old.as_str(), template) {
        ("", Some(template)) => template,
        (old, _) => old,
    };
    let new = filled(text, parts)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    let new = owned(&new);
    Ok(Page { path, old, new })
}

/// A text with every generated part filled in. Each part has to be there once.
fn filled(text: &str, parts: &Parts) -> Result<String, String> {
    let mut filled = String::new();
    let mut seen = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        filled += line;
        filled.push('\n');
        let name = line
            .strip_prefix(START)
            .and_then(|rest| rest.strip_suffix(START_END));
        let Some(name) = name else { continue };
        let part = parts
            .get(name)
            .ok_or_else(|| format!("no part has the name {name}"))?;
        if !lines.any(|line| line == END) {
            return Err(format!("the part {name} has no end"));
        }
        if !part.is_empty() {
            filled += &format!("\n{}\n\n", part.trim_end());
        }
        filled += END;
        filled.push('\n');
        seen.push(name);
    }
    seen.sort_unstable();
    match seen.iter().eq(parts.keys()) {
        true => Ok(filled),
        false => Err(format!("has the parts {seen:?}, not {:?}", parts.keys())),
    }
}

/// A table in Markdown. It is empty if it has no rows.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let cell = |text: &String| match text.as_str() {
        "" => "| ".to_owned(),
        text => format!("| {} ", text.replace('|', "\\|")),
    };
    let line = |cells: &[String]| format!("{}|\n", cells.iter().map(cell).collect::<String>());
    let rows: String = rows.into_iter().map(|cells| line(&cells)).collect();
    if rows.is_empty() {
        return rows;
    }
    let head: Vec<_> = head.iter().map(|&name| name.to_owned()).collect();
    let rule = vec!["---".to_owned(); head.len()];
    format!("{}{}{rows}", line(&head), line(&rule))
}

fn code(text: impl AsRef<str>) -> String {
    format!("`{}`", text.as_ref())
}

/// Names as code, with commas.
fn codes<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(code).collect::<Vec<_>>().join(", ")
}

fn schemes(kind: &Kind) -> String {
    codes(
        kind.schemes
            .iter()
            .map(|scheme| format!("{}://", scheme.name)),
    )
}

/// The kinds whose targets are no URLs: how they are written, and the flag and the variable.
const WITHOUT_URL: [(&str, &str, &str); 4] = [
    ("file", "a path", "`--path`, `WAIT_PATHS`"),
    ("unix", "`unix:///PATH`", ""),
    ("dns", "`dns:NAME`", ""),
    ("exec", "a command line", "`--exec`, `WAIT_EXEC`"),
];

fn without_url(kind: &Kind) -> Option<(&str, &str)> {
    let mut kinds = WITHOUT_URL.iter();
    let found = kinds.find(|(name, ..)| *name == kind.name);
    found.map(|(_, form, settings)| (*form, *settings))
}

/// A target of the kind, in short.
fn forms(kind: &Kind) -> String {
    match (kind.schemes, kind == KINDS[0]) {
        ([], _) => without_url(kind).unwrap_or_default().0.to_owned(),
        (_, true) => format!("`HOST:PORT`, {}", schemes(kind)),
        _ => schemes(kind),
    }
}

/// The kinds, for the README.
fn glance_parts() -> Parts {
    let rows = KINDS.iter().map(|kind| {
        let link = format!("[{}](docs/targets/{}.md)", kind.title, kind.name);
        vec![link, forms(kind), kind.ready_when.to_owned()]
    });
    let targets = table(&["kind", "written", "ready when"], rows);
    Parts::from([("targets", targets)])
}

/// The kinds, for the overview of the targets.
fn targets_parts() -> Parts {
    let rows = KINDS.iter().map(|kind| {
        let mut ports: Vec<_> = kind.schemes.iter().map(default_port).collect();
        ports.dedup();
        let settings = match kind.has_settings() {
            true => format!("`--{}`, {}", kind.name, code(kind.variable())),
            false => without_url(kind).unwrap_or_default().1.to_owned(),
        };
        vec![
            format!("[{}]({}.md)", kind.title, kind.name),
            forms(kind),
            ports.join(", "),
            settings,
            codes(kind.options),
        ]
    });
    let head = [
        "kind",
        "written",
        "default port",
        "flag and variable of its own",
        "options",
    ];
    Parts::from([("kinds", table(&head, rows))])
}

fn default_port(scheme: &compose_wait::targets::Scheme) -> String {
    let port = scheme.default_port;
    port.map_or("none: it is required".to_owned(), |port| port.to_string())
}

/// The flags and variables of the kinds.
fn settings_parts() -> Parts {
    let kinds = KINDS.iter().filter(|kind| kind.has_settings());
    let rows = kinds.flat_map(|kind| setting_rows(kind));
    Parts::from([("kinds", table(&["flag", "variable", "meaning"], rows))])
}

fn setting_rows(kind: &Kind) -> Vec<Vec<String>> {
    if !kind.has_settings() {
        return Vec::new();
    }
    let mut rows = vec![vec![
        format!("`--{} TARGET`", kind.name),
        code(kind.variable()),
        format!(
            "targets of the kind {}, without the scheme, or whole URLs",
            kind.title
        ),
    ]];
    for setting in kind.settings {
        let variables = setting.suffixes().iter();
        let variables = variables.map(|suffix| code(format!("{}_{suffix}", kind.variable())));
        let variables: Vec<_> = variables.collect();
        let meaning = match setting {
            Setting::User => "the user, for targets that name none",
            Setting::Password => "the password or a file that holds it, for targets that have none",
            Setting::Database => "the database, for targets that name none",
            Setting::Query => {
                "a query that must return a row whose first column is true, for targets that have none"
            }
        };
        rows.push(vec![
            String::new(),
            variables.join(" or "),
            meaning.to_owned(),
        ]);
    }
    rows
}

/// The reasons, common and of every kind.
fn reasons_parts() -> Parts {
    let common = COMMON.iter().map(|reason| reason_row(reason));
    let common = table(&["reason", "when", "hint"], common);
    let kinds = KINDS.iter().filter(|kind| !kind.reasons.is_empty());
    let kinds = kinds.map(|kind| {
        let page = format!("targets/{}.md", kind.name);
        format!(
            "### {}\n\nSee [its page]({page}).\n\n{}",
            kind.title,
            reasons(kind)
        )
    });
    let kinds: Vec<_> = kinds.collect();
    Parts::from([("common", common), ("kinds", kinds.join("\n"))])
}

fn reason_row(reason: &Reason) -> Vec<String> {
    let when = match reason.permanent {
        true => format!("{} (logged as an error)", reason.seen),
        false => reason.seen.to_owned(),
    };
    vec![code(reason.name), when, reason.hint.to_owned()]
}

/// The reasons of a kind, with the codes of its servers. A code may have a hint of its own.
fn reasons(kind: &Kind) -> String {
    let rows = kind.reasons.iter().map(|reason| {
        let mut row = reason_row(reason);
        let with_code = kind
            .codes
            .iter()
            .filter(|(_, other)| other.name == reason.name);
        row.push(codes(with_code.map(|(code, _)| code)));
        row
    });
    let mut rows: Vec<_> = rows.collect();
    let mut head = vec!["reason", "when", "hint", "codes of the server"];
    if kind.codes.is_empty() {
        head.pop();
        for row in &mut rows {
            row.truncate(head.len());
        }
    }
    // Those with a hint of their own, and those of common reasons.
    let is_listed = |reason: &Reason| {
        let mut reasons = kind.reasons.iter();
        reasons.any(|other| (other.name, other.hint) == (reason.name, reason.hint))
    };
    let mut special: Vec<(&Reason, Vec<&str>)> = Vec::new();
    for (number, reason) in kind.codes.iter().filter(|(_, reason)| !is_listed(reason)) {
        let same = |(other, _): &&mut (&Reason, _)| *other == reason;
        match special.iter_mut().find(same) {
            Some((_, numbers)) => numbers.push(number),
            None => special.push((reason, vec![number])),
        }
    }
    let special = special
        .into_iter()
        .map(|(reason, numbers)| vec![codes(numbers), code(reason.name), reason.hint.to_owned()]);
    let special = table(&["code of the server", "reason", "hint"], special);
    let mut text = table(&head, rows);
    if !special.is_empty() {
        text += &format!("\nCodes with a hint of their own:\n\n{special}");
    }
    text
}

/// The page of a kind that has none yet.
fn new_page(kind: &Kind) -> String {
    let part = |name| format!("{START}{name}{START_END}\n{END}\n");
    format!(
        "# {}\n\n{}\n{}",
        kind.title,
        part("summary"),
        part("reference")
    )
}

fn kind_parts(kind: &Kind) -> Parts {
    Parts::from([("summary", summary(kind)), ("reference", reference(kind))])
}

fn summary(kind: &Kind) -> String {
    let mut text = format!("**Ready when:** {}.\n", kind.ready_when);
    if let Some(first) = kind.examples.first() {
        let lines = format!("    {}\n", kind.examples.join("\n    "));
        text += &format!(
            "\nTargets, as they are written in `WAIT_HOSTS` and after `--for`:\n\n{lines}"
        );
        if kind.has_settings() {
            let short = first.split_once("://").map_or(*first, |(_, short)| short);
            text += &format!(
                "\nIn `{}` and after `--{}` the scheme can be left out: `{short}`.\n",
                kind.variable(),
                kind.name
            );
        }
    }
    text
}

fn reference(kind: &Kind) -> String {
    let mut text = String::new();
    let mut section = |head: &str, body: String| {
        if !body.is_empty() {
            text += &format!("## {head}\n\n{body}\n");
        }
    };
    section(
        "Schemes",
        table(
            &["scheme", "default port", "TLS"],
            kind.schemes.iter().map(|scheme| {
                let tls = match (scheme.is_tls, kind.options.contains(&"tls")) {
                    (true, _) => "yes",
                    (false, true) => "by the option `tls`",
                    (false, false) => "no",
                };
                vec![
                    code(format!("{}://", scheme.name)),
                    default_port(scheme),
                    tls.to_owned(),
                ]
            }),
        ),
    );
    section(
        "Settings",
        table(&["flag", "variable", "meaning"], setting_rows(kind)),
    );
    section(
        "Parameters, after `?`",
        match kind.parameters {
            Parameters::Known { shown: [], .. } => String::new(),
            Parameters::Known { shown: names, .. } => format!(
                "{}. Another parameter is an error, except in a URL from `env:NAME`: see [Your \
                 application's URL](../application-url.md).\n",
                codes(names)
            ),
            Parameters::Opaque => "They are sent as they are, and never printed.\n".to_owned(),
        },
    );
    section(
        "Options, after `#`",
        match kind.options {
            [] => "Those of [every kind](README.md#options).\n".to_owned(),
            names => format!(
                "{}, and those of every kind. Their meaning is in [Targets](README.md#options).\n",
                codes(names)
            ),
        },
    );
    section(
        "Reasons",
        match kind.reasons {
            [] => String::new(),
            _ => format!(
                "The others are the [common reasons](../reasons.md#common-reasons).\n\n{}",
                reasons(kind)
            ),
        },
    );
    text
}
