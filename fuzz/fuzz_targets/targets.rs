//! Lists of targets and paths: what is understood is understood again as it is printed.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use compose_wait::kinds::{self, KINDS};
use compose_wait::settings::cli::Cli;
use compose_wait::settings::split_list;
use compose_wait::targets::Target;
use compose_wait_fuzz::resolve;
use libfuzzer_sys::fuzz_target;

/// The names of the targets that a variable's list has, each once: those that differ in a password or
/// an option alone have the same. `None` is a list that cannot be understood.
fn names(variable: &str, list: &OsStr) -> Option<Vec<String>> {
    let (outer, inner) = (OsStr::new("a:1, env:INNER"), OsStr::new("db:2"));
    let url = OsStr::new("mysql://app:x@db/shop?pool=5");
    let variables = [
        (variable, list),
        ("LIST", outer),
        ("INNER", inner),
        ("DATABASE_URL", url),
    ];
    let (config, _) = resolve(&Cli::default(), &variables, b"").ok()?;
    let mut names: Vec<String> = config.targets.iter().map(Target::to_string).collect();
    let mut seen = Vec::new();
    names.retain(|name| {
        let is_new = !seen.contains(name);
        seen.push(name.clone());
        is_new
    });
    Some(names)
}

/// A name as it may stand in a list: the comma between the hosts of one target is encoded.
fn in_a_list(name: &str) -> String {
    let Some((scheme, rest)) = name.split_once("://") else {
        return name.to_owned();
    };
    let (hosts, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    format!("{scheme}://{}{rest}", hosts.replace(',', "%2C"))
}

fuzz_target!(|list: &[u8]| {
    let list = OsStr::from_bytes(list);
    let own = KINDS.iter().filter(|kind| kind.has_settings());
    let own = own.map(|kind| kind.variable());
    for variable in own.chain(["WAIT_HOSTS".to_owned()]) {
        if let Some(found) = names(&variable, list) {
            let printed: Vec<_> = found.iter().map(|name| in_a_list(name)).collect();
            let again = names(&variable, OsStr::new(&printed.join(",")));
            assert_eq!(again, Some(found), "{variable}");
        }
    }
    // Every text is a path, but for the quotes and comments of .env files.
    let is_edited = |byte: &u8| b"#'\"".contains(byte);
    if list.as_bytes().iter().any(is_edited) {
        return;
    }
    let (config, _) = resolve(&Cli::default(), &[("WAIT_PATHS", list)], b"").expect("paths");
    let is_there = |path| {
        let path = kinds::path(Path::new(path));
        config.targets.iter().any(|target| target.is_same(&path))
    };
    assert!(split_list(list).all(is_there));
});
