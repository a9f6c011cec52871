//! Single targets: what is parsed is parsed again as it is printed, and whatever stands where a
//! password does is neither in a name nor in an error.
#![no_main]

use std::ffi::OsStr;

use compose_wait::cli::Cli;
use compose_wait::target::{MySql, Parameters, Target};
use compose_wait_fuzz::{PASSWORD, is_message, resolve, with_password};
use libfuzzer_sys::fuzz_target;

fn is_printed_and_parsed_again(target: Target) {
    let bare = with_password(target, None);
    let printed = bare.to_string();
    let again = printed.parse();
    assert_eq!(again.as_ref(), Ok(&bare), "{printed}");
    let debug = format!("{bare:?}");
    let one = with_password(bare, Some(PASSWORD));
    assert_eq!(one.to_string(), printed);
    assert!(!debug.contains(PASSWORD) && !format!("{one:?}").contains(PASSWORD));
}

fn keeps_its_password(variable: &str, text: &str) {
    let shown = match resolve(&Cli::default(), &[(variable, OsStr::new(text))], b"") {
        Ok((config, notices)) => {
            let names: Vec<String> = config.targets.iter().map(Target::to_string).collect();
            format!("{names:?} {config:?} {notices:?}")
        }
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.contains(PASSWORD), "{variable}={text}: {shown}");
}

fuzz_target!(|text: &str| {
    for parsed in [
        text.parse(),
        MySql::parse(text, Parameters::Ours).map(Target::MySql),
        MySql::parse(text, Parameters::Applications).map(Target::MySql),
    ] {
        match parsed {
            Ok(target) if !text.contains(PASSWORD) => is_printed_and_parsed_again(target),
            Ok(_) => {}
            Err(error) => is_message(&error.to_string()),
        }
    }
    // A comma or line end parts the items of a list, so that its password can only be encoded.
    if text.contains([',', '\n', '\r']) {
        return;
    }
    for password in [format!("{text}{PASSWORD}"), format!("{PASSWORD}{text}")] {
        keeps_its_password(
            "WAIT_HOSTS",
            &format!("mysql://app:{password}@db:3306/shop"),
        );
        keeps_its_password("WAIT_HOSTS", &format!("app:{password}@db:80"));
        keeps_its_password("WAIT_MYSQL", &format!("app:{password}@db/shop"));
        // What stands behind these is the path, query or fragment of another URL.
        if !password.contains(['/', '\\', '?', '#']) {
            keeps_its_password("WAIT_HOSTS", &format!("http://app:{password}@web/"));
        }
    }
});
