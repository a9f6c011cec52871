//! Single targets: what is parsed is parsed again as it is printed, and whatever stands in the place
//! of a password is neither in a name nor in an error.
#![no_main]

use std::ffi::OsStr;

use compose_wait::kinds::KINDS;
use compose_wait::settings::cli::Cli;
use compose_wait::targets::{Address, Origin, Parameters, Secret, Target};
use compose_wait_fuzz::{PASSWORD, defaults, is_message, resolve};
use libfuzzer_sys::fuzz_target;

/// Everything that is printed of the target at an address, or of the error in its place.
fn all_printed(address: Address) -> String {
    let kind = address.kind;
    match Target::at(address, &defaults(kind)) {
        Ok(target) => format!("{target} {target:?}"),
        Err(error) => error.to_string(),
    }
}

fn is_printed_and_parsed_again(address: Address) {
    let bare = Address {
        password: None,
        query: address.shown_query().map(Secret::new),
        options: Vec::new(),
        ..address
    };
    let printed = bare.to_string();
    let again = Address::parse(&printed, KINDS, None, bare.origin);
    assert_eq!(again.as_ref(), Ok(&bare), "{printed}");
    let with = |password: &str| Address {
        password: Some(Secret::new(password)),
        ..bare.clone()
    };
    let (one, other) = (with(PASSWORD), with("x"));
    assert_eq!(one.to_string(), printed);
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    let shown = all_printed(one);
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert_eq!(shown, all_printed(other));
}

fn keeps_its_password(variable: &str, text: &str) {
    is_kept(text, &[(variable, OsStr::new(text))]);
}

/// The same for a variable of the application.
fn keeps_its_password_in_an_application(text: &str) {
    let lists = ["WAIT_HOSTS", "WAIT_MYSQL"];
    for list in lists {
        is_kept(
            text,
            &[(list, OsStr::new("env:URL")), ("URL", OsStr::new(text))],
        );
    }
}

fn is_kept(text: &str, variables: &[(&str, &OsStr)]) {
    let shown = match resolve(&Cli::default(), variables, b"") {
        Ok((config, notices)) => {
            let names: Vec<String> = config.targets.iter().map(Target::to_string).collect();
            let described: Vec<_> = config.targets.iter().map(Target::description).collect();
            format!("{names:?} {described:?} {config:?} {notices:?}")
        }
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.contains(PASSWORD), "{variables:?}: {text}: {shown}");
}

/// Forms of drivers, for an application's variable.
const FORMS: &[&str] = &[
    "app:PASSWORD@tcp(db:3306)/shop",
    "app:PASSWORD@tcp(db:x)/shop",
    "Server=db;Port=3306;Database=shop;Uid=app;Pwd=PASSWORD",
    "Server=db;Port=x;Uid=app;Pwd=PASSWORD",
    "jdbc:mysql://db/shop?user=app&password=PASSWORD",
    "r2dbc:mysql://app:PASSWORD@db:x/shop",
    "mysql+pymysql://app:PASSWORD@db/shop?ssl_verify_cert=true",
    "postgres://app:PASSWORD@db/shop",
    "mysql:host=db;dbname=shop;user=app;password=PASSWORD",
    "pgsql:host=db;dbname=shop;user=app;password=PASSWORD",
    "Host=db;Username=app;Password=PASSWORD;Database=shop",
    "host=db user=app password=PASSWORD dbname=shop",
    "db:6379,password=PASSWORD,defaultDatabase=2",
    "mongodb://app:PASSWORD@db/shop",
];

fuzz_target!(|text: &str| {
    let kinds: Vec<_> = KINDS
        .iter()
        .copied()
        .filter(|kind| kind.parse.is_some())
        .collect();
    for kind in kinds.iter().copied().map(Some).chain([None]) {
        for origin in [Origin::Ours, Origin::Application] {
            match Address::parse(text, KINDS, kind, origin) {
                Ok(address) if !text.contains(PASSWORD) => is_printed_and_parsed_again(address),
                Ok(_) => {}
                Err(error) => is_message(&error.to_string()),
            }
        }
    }
    // One form and one kind for each text, chosen by its bytes: all of them at once take too long.
    let sum: usize = text.bytes().map(usize::from).sum();
    let (form, kind) = (FORMS[sum % FORMS.len()], kinds[sum % kinds.len()]);
    let passwords = [format!("{text}{PASSWORD}"), format!("{PASSWORD}{text}")];
    // Each of these begins another part of one of the forms.
    let is_separator = |c: char| c.is_control() || ",#'\" &;?".contains(c);
    if !text.contains(is_separator) {
        for password in &passwords {
            keeps_its_password_in_an_application(&form.replace("PASSWORD", password));
        }
    }
    // A comma or line end parts the items of a list, so that its password can only be encoded, and so
    // can one that has an option in it.
    if text.contains([',', '\n', '\r']) || text.contains('#') && text.contains('=') {
        return;
    }
    for password in &passwords {
        keeps_its_password("WAIT_HOSTS", &format!("app:{password}@db:80"));
        // What stands after these is the path, query or fragment of another URL.
        let is_another =
            kind.parameters == Parameters::Opaque && password.contains(['/', '\\', '?', '#']);
        for scheme in kind.schemes.iter().filter(|_| !is_another) {
            let url = format!("{}://app:{password}@db:3306/shop", scheme.name);
            keeps_its_password("WAIT_HOSTS", &url);
        }
        if kind.has_settings() {
            keeps_its_password(&kind.variable(), &format!("app:{password}@db/shop"));
        }
    }
});
