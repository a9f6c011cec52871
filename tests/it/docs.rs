//! The documentation, the help and the code say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use compose_wait::kinds::KINDS;
use compose_wait::probe::Reason;
use compose_wait::probe::reason::COMMON;
use compose_wait::settings::cli::{self, Parsed};
use compose_wait::settings::{self, Surroundings, environment};

use crate::containers::{text, try_docker};
use crate::support::{WAIT, wait};

#[path = "../../examples/docs/pages.rs"]
mod pages;

const README: &str = include_str!("../../README.md");
const SETTINGS: &str = include_str!("../../docs/settings.md");
const REASONS: &str = include_str!("../../docs/reasons.md");
const MOVING: &str = include_str!("../../docs/moving.md");
const DESIGN: &str = include_str!("../../docs/design.md");
const GUIDE: &str = include_str!("../../docs/adding-a-kind.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn help() -> String {
    wait().args(["--help"]).run().stdout
}

#[test]
fn the_generated_parts_are_not_stale() {
    for page in pages::all(root()).expect("pages") {
        let path = page.path.display();
        assert!(
            !page.is_stale(),
            "{path}: docs are stale: run `cargo run --example docs`"
        );
    }
}

#[test]
fn every_variable_is_documented_and_in_the_help() {
    let help = help();
    for variable in environment::ALL {
        let documented = format!("`{}`", variable.name);
        assert!(SETTINGS.contains(&documented), "{variable:?}");
        assert!(help.contains(variable.name), "{variable:?}");
        if let Some(deprecated) = variable.deprecated {
            assert!(
                SETTINGS.contains(&format!("`{deprecated}`")),
                "{variable:?}"
            );
        }
    }
    for kind in KINDS.iter().filter(|kind| kind.has_settings()) {
        assert!(help.contains(&kind.variable()), "{kind:?}");
        for variable in kind.variables() {
            assert!(SETTINGS.contains(&format!("`{variable}`")), "{variable}");
            // The help has the first one in full, and only the ends of the others.
            let end = variable.trim_start_matches(&kind.variable());
            assert!(help.contains(end), "{variable}");
        }
    }
}

#[test]
fn every_flag_of_the_help_is_documented_and_the_other_way_round() {
    let flags = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '-');
        let is_flag =
            |word: &&str| word.starts_with("--") && word.len() > 4 && !word[2..].starts_with('-');
        words
            .filter(is_flag)
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let rows = SETTINGS.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    assert_eq!(flags(&documented.join("\n")), flags(&help()));
}

#[test]
fn every_reason_is_documented_with_its_hint_and_its_codes() {
    let has_row = |parts: &[&str]| {
        let is_row = |line: &str| line.starts_with('|') && parts.iter().all(|p| line.contains(p));
        assert!(REASONS.lines().any(is_row), "no row has {parts:?}");
    };
    let name = |reason: &Reason| format!("`{}`", reason.name);
    let own = KINDS.iter().flat_map(|kind| kind.reasons);
    for reason in own.chain(&COMMON) {
        has_row(&[&name(reason), reason.hint, reason.seen]);
    }
    for (code, reason) in KINDS.iter().flat_map(|kind| kind.codes) {
        has_row(&[&name(reason), &format!("`{code}`")]);
        has_row(&[&name(reason), reason.hint]);
    }
}

#[test]
fn the_readme_and_the_help_are_short() {
    assert!(README.lines().count() <= 150);
    let help = help();
    assert!(help.lines().count() <= 50, "{help}");
    let longest = help.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{help}");
}

/// The documents for readers: the README, docs/ and the READMEs of the examples.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs"), root().join("examples")];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("a folder");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            let is_installed = path.ends_with("node_modules");
            match path.extension() {
                _ if path.is_dir() && !is_installed => folders.push(path),
                Some(extension) if extension == "md" => documents.push(path),
                _ => {}
            }
        }
    }
    documents
}

/// The anchors of a document, as GitHub and crates.io make them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = without_code_blocks(text)
        .filter(|line| line.starts_with('#'))
        .collect::<Vec<_>>();
    let anchor = |heading: &&str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let is_kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
        let kept: String = heading.chars().filter(is_kept).collect();
        kept.replace(' ', "-")
    };
    headings.iter().map(anchor).collect()
}

fn without_code_blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        is_code ^= line.starts_with("```");
        !is_code
    })
}

#[test]
fn links_between_documents_resolve() {
    let mut found = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("text");
        let lines: Vec<_> = without_code_blocks(&text).collect();
        for part in lines.join("\n").split("](").skip(1) {
            let link = part.split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let linked = match file {
                "" => document.clone(),
                file => document.parent().expect("a folder").join(file),
            };
            let (from, exists) = (document.display(), linked.exists());
            assert!(exists, "{from}: {link} does not exist");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&linked).expect("text");
                assert!(anchors(&text).contains(anchor), "{from}: {link}");
            }
            found += 1;
        }
    }
    assert!(found > 30, "{found}");
}

#[test]
fn every_page_can_be_reached_from_the_readme() {
    let mut reached = BTreeSet::new();
    let mut left = vec![root().join("README.md")];
    while let Some(page) = left.pop() {
        let page = page.canonicalize().expect("a page");
        let folder = page.parent().expect("a folder").to_owned();
        let text = fs::read_to_string(&page).expect("text");
        if reached.insert(page) {
            let links = text.split("](").skip(1);
            let files = links.filter_map(|part| part.split([')', '#']).next());
            let files = files.filter(|file| !file.contains("://"));
            let files = files.map(|file| folder.join(file));
            left.extend(files.filter(|file| file.extension() == Some("md".as_ref())));
        }
    }
    for document in documents() {
        let document = document.canonicalize().expect("a page");
        let is_docs = document.starts_with(root().canonicalize().expect("root").join("docs"));
        assert!(
            !is_docs || reached.contains(&document),
            "{}",
            document.display()
        );
    }
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
fn the_calls_for_those_who_move_from_another_program_are_understood() {
    let mut understood = 0;
    for row in MOVING.lines().filter(|row| row.starts_with('|')) {
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
                names: &|| {
                    let names = variables.iter().filter_map(|word| word.split('=').next());
                    names.map(Into::into).collect()
                },
                file: &|path| panic!("{path:?} is not needed"),
                is_terminal: false,
            };
            let args: Vec<_> = words.iter().map(Into::into).collect();
            let cli = match cli::parse(&args).unwrap_or_else(|e| panic!("{code}: {e}")) {
                Parsed::Cli(cli) => cli,
                Parsed::Text(text) => panic!("{code}: {text}"),
            };
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
            // It does the same as there.
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
            understood += 1;
        }
    }
    assert!(understood >= 7, "{understood}");
}

/// A module that forbids it forbids it in everything below too, and nothing there can allow it.
#[test]
fn unsafe_code_is_forbidden_but_in_two_files() {
    let src = root().join("src");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let forbids = |text: &str| text.lines().any(|line| line == "#![forbid(unsafe_code)]");
    let mut modules = 0;
    for entry in fs::read_dir(&src).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        match name.expect("UTF-8") {
            "main.rs" => {}
            // These are above sys.rs, so they can do no more than to have none.
            "lib.rs" => assert!(!read(&path).contains("unsafe")),
            "process" => {
                for entry in fs::read_dir(&path).expect("a folder") {
                    let path = entry.expect("an entry").path();
                    let is_safe = path.ends_with("sys.rs") || !read(&path).contains("unsafe");
                    assert!(is_safe, "{}", path.display());
                }
            }
            name => {
                let module = if path.is_dir() {
                    path.join("mod.rs")
                } else {
                    path.clone()
                };
                assert!(forbids(&read(&module)), "{name}");
                modules += 1;
            }
        }
    }
    assert!(modules >= 6, "{modules}");
    let manifest = include_str!("../../Cargo.toml");
    assert!(manifest.contains("\nunsafe_code = \"deny\""));
}

/// The guide adds a toy kind, `echo`, to the lists as they are.
#[test]
fn the_guide_to_a_new_kind_has_the_lists_of_the_code() {
    let between = |text: &str, start: &str, end: &str| {
        let after = text.split(start).nth(1).expect(start);
        let inside = after.split(end).next().unwrap_or_default();
        let words = inside.split(|c: char| !c.is_ascii_alphanumeric());
        let words = words.filter(|word| !word.is_empty() && *word != "echo");
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let features = |text: &str| between(text, "\ndefault = [", "]");
    assert_eq!(features(GUIDE), features(include_str!("../../Cargo.toml")));
    let kinds = |text: &str| between(text, "\nkinds! {", "}");
    assert_eq!(kinds(GUIDE), kinds(include_str!("../../src/kinds/mod.rs")));

    // Each field of a kind has a row, and a line in the example.
    let code = include_str!("../../src/targets/kind.rs");
    let fields = code.split("pub struct Kind {").nth(1).expect("the type");
    let fields = fields.split("\n}").next().unwrap_or_default().lines();
    let fields = fields.filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next());
    let fields: Vec<_> = fields.collect();
    assert!(fields.contains(&"ready_when"), "{fields:?}");
    for field in fields {
        assert!(GUIDE.contains(&format!("\n| `{field}` |")), "{field}");
        assert!(GUIDE.contains(&format!("\n    {field}: ")), "{field}");
    }
    let code = include_str!("../../src/probe/reason.rs");
    let retries = code.split("pub enum Retry {").nth(1).expect("the type");
    let retries = retries.split("\n}").next().unwrap_or_default().lines();
    for retry in retries.filter_map(|line| line.trim().strip_suffix(',')) {
        assert!(GUIDE.contains(&format!("\n| `{retry}` |")), "{retry}");
    }
}

#[test]
fn every_crate_is_documented_with_its_reason() {
    let manifest = include_str!("../../Cargo.toml");
    let dependencies = manifest
        .split("\n[dependencies]\n")
        .nth(1)
        .and_then(|text| text.split("\n[").next())
        .expect("a section");
    let reasons = DESIGN
        .split("\n| crates | reason |\n")
        .nth(1)
        .and_then(|text| text.split("\n\n").next())
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
