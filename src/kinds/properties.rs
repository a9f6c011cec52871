//! What holds for every target: it is printed without its secrets, and parsed as it was.

use std::fmt::Display;

use percent_encoding::NON_ALPHANUMERIC;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn host() -> impl Strategy<Value = Host> {
    let name = r"[a-z][a-z0-9_-]{0,20}(\.[a-z][a-z0-9-]{0,20}){0,3}\.?"
        // What is behind this prefix has a meaning, and mostly none.
        .prop_filter("punycode", |name| !name.contains("xn--"));
    prop_oneof![
        name.prop_map(Host::Name),
        any::<IpAddr>().prop_map(Host::Address)
    ]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (host(), 1..=u16::MAX).prop_map(|(host, port)| Endpoint { host, port })
}

/// A text that is not empty.
fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("empty", |text| !text.is_empty())
}

fn mysql_target() -> impl Strategy<Value = Target> {
    let socket = any::<String>().prop_map(|path| PathBuf::from(format!("/{path}")));
    // These two are folders in every URL, however they are encoded.
    let database = text().prop_filter("no name", |name| name != "." && name != "..");
    let ssl_mode = prop::sample::select(SslMode::ALL.to_vec());
    let parts = (
        endpoint(),
        option::of(socket),
        option::of(text()),
        option::of(any::<String>()),
        option::of(database),
        ssl_mode,
    );
    parts.prop_map(|(endpoint, socket, user, password, database, ssl_mode)| {
        Target::MySql(MySql {
            endpoint,
            socket,
            user,
            password: password.map(Secret),
            database,
            ssl_mode,
        })
    })
}

fn http_target() -> impl Strategy<Value = Target> {
    let path = r"(/[a-z0-9_~:,-]{0,10}){1,4}";
    let query = r"[a-z0-9_~:,=&+/-]{0,20}";
    let parts = (
        any::<bool>(),
        endpoint(),
        option::of(text()),
        option::of(text()), // an empty one is none in a URL
        path,
        option::of(query),
    );
    parts.prop_map(|(is_secure, endpoint, user, password, path, query)| {
        Target::Http(Http {
            is_secure,
            endpoint,
            user,
            password: password.map(Secret),
            path,
            query: query.map(Secret),
        })
    })
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        endpoint().prop_map(Target::Tcp),
        mysql_target(),
        http_target()
    ]
}

/// What a target has of a password and of a URL's query.
fn secrets(target: &mut Target) -> Vec<&mut Option<Secret>> {
    match target {
        Target::MySql(mysql) => vec![&mut mysql.password],
        Target::Http(http) => vec![&mut http.password, &mut http.query],
        Target::Tcp(_) | Target::Path(_) => Vec::new(),
    }
}

fn without_secrets(mut target: Target) -> Target {
    for secret in secrets(&mut target) {
        *secret = None;
    }
    target
}

/// What is printed, but for the sign that something is left out.
fn printed(target: &Target) -> String {
    let name = target.to_string();
    name.strip_suffix("?…").unwrap_or(&name).to_owned()
}

/// The target's name with its secrets in it, as somebody writes it.
fn written(target: &Target) -> String {
    let mut name = printed(target);
    if let Target::Http(Http {
        query: Some(Secret(query)),
        ..
    }) = target
    {
        name = format!("{name}?{query}");
    }
    let (user, password) = match target {
        Target::MySql(mysql) => (&mysql.user, &mysql.password),
        Target::Http(http) => (&http.user, &http.password),
        Target::Tcp(_) | Target::Path(_) => return name,
    };
    let Some(Secret(password)) = password else {
        return name;
    };
    let password = utf8_percent_encode(password, NON_ALPHANUMERIC);
    match user {
        Some(_) => name.replacen('@', &format!(":{password}@"), 1),
        None => name.replacen("://", &format!("://:{password}@"), 1),
    }
}

fn shown(text: &impl Display, debug: &impl fmt::Debug) -> String {
    format!("{text} {debug:?}")
}

proptest! {
    #[test]
    fn a_target_is_parsed_as_it_is_written(target in target()) {
        prop_assert_eq!(written(&target).parse(), Ok(target));
    }

    #[test]
    fn a_target_is_parsed_as_it_is_printed_but_for_its_secrets(target in target()) {
        prop_assert_eq!(printed(&target).parse(), Ok(without_secrets(target)));
    }

    #[test]
    fn what_is_printed_does_not_depend_on_the_secrets(target in target(), other: String) {
        let mut another = target.clone();
        for secret in secrets(&mut another).into_iter().flatten() {
            *secret = Secret(other.clone());
        }
        prop_assert_eq!(shown(&target, &target), shown(&another, &another));
    }

    #[test]
    fn an_error_does_not_show_what_stands_in_the_place_of_a_password(before: String, after: String) {
        for (scheme, mysql) in [("mysql://", false), ("mariadb://", true), ("", true), ("", false)] {
            let text = format!("{scheme}app:{before}s3cret{after}@db:0/shop");
            let error = parse(&text, mysql).expect_err("a port that is none");
            let shown = format!("{error}: {}", redacted(&text));
            prop_assert!(!shown.contains("s3cret"), "{}", shown);
        }
    }

    #[test]
    fn any_text_is_a_target_or_an_error(text: String) {
        for mysql in [false, true] {
            match parse(&text, mysql) {
                Ok(target) => prop_assert_eq!(printed(&target).parse(), Ok(without_secrets(target))),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn a_list_has_the_items_that_were_put_in(
        items in prop::collection::vec(r"[a-z:é]([a-z:é \t]*[a-z:é])?", 0..8),
        between in r"[ \t]*[,\r\n][ \t,\r\n]*",
    ) {
        let list = items.join(&between);
        let split: Vec<_> = split_list(OsStr::new(&list)).filter_map(OsStr::to_str).collect();
        prop_assert_eq!(split, items);
    }
}

fn parse(text: &str, mysql: bool) -> Result<Target, TargetError> {
    match mysql {
        true => MySql::parse(text, Parameters::Ours).map(Target::MySql),
        false => text.parse(),
    }
}
