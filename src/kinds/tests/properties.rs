//! Properties of every target: it is parsed as it is written, and printed without its secrets.

use std::ffi::OsStr;
use std::net::IpAddr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::settings::split_list;
use crate::targets::address::shown;
use crate::targets::{Endpoint, Host, Parameters, Secret};

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        r"[a-z][a-z0-9_-]{0,20}(\.[a-z][a-z0-9-]{0,20}){0,3}\.?".prop_map(Host::Name),
        any::<IpAddr>().prop_map(Host::Address)
    ]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (host(), 1..=u16::MAX).prop_map(|(host, port)| Endpoint { host, port })
}

fn others(kind: &Kind) -> BoxedStrategy<Vec<Endpoint>> {
    match kind.several_hosts {
        true => vec(endpoint(), 0..3).boxed(),
        false => Just(Vec::new()).boxed(),
    }
}

/// A text that is not empty.
fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("empty", |text| !text.is_empty())
}

/// A path as it is written: of many segments where all of it is sent, and otherwise of one.
fn path(parameters: Parameters) -> BoxedStrategy<String> {
    match parameters {
        Parameters::Opaque => r"(/[a-z0-9_~:,%;-]{0,10}){0,4}".boxed(),
        Parameters::Known { .. } => option::of(any::<String>())
            .prop_map(|segment| segment.map(|segment| format!("/{}", encoded(&segment))))
            .prop_map(Option::unwrap_or_default)
            .boxed(),
    }
}

fn query(parameters: Parameters) -> BoxedStrategy<Option<String>> {
    match parameters {
        Parameters::Opaque => option::of(r"[a-z0-9_~:,=&+/%?-]{0,20}").boxed(),
        Parameters::Known { shown: [], .. } => Just(None).boxed(),
        Parameters::Known { shown: names, .. } => vec((select(names), any::<String>()), 0..3)
            .prop_map(|pairs| {
                let pairs = pairs.iter();
                let pairs = pairs.map(|(name, value)| format!("{name}={}", encoded(value)));
                Some(pairs.collect::<Vec<_>>().join("&")).filter(|query| !query.is_empty())
            })
            .boxed(),
    }
}

fn options(kind: &'static Kind) -> BoxedStrategy<Vec<(String, Secret)>> {
    match kind.options {
        [] => Just(Vec::new()).boxed(),
        names => {
            let option = (select(names), any::<String>());
            let option = option.prop_map(|(name, value)| (name.to_owned(), Secret::new(value)));
            vec(option, 0..3).boxed()
        }
    }
}

/// An address of any form that the kind's data allow; not all of them make a target.
fn of_kind(kind: &'static Kind) -> impl Strategy<Value = Address> {
    (
        any::<Index>(),
        (endpoint(), others(kind)),
        option::of(text()),
        option::of(any::<String>()),
        path(kind.parameters),
        query(kind.parameters),
        options(kind),
    )
        .prop_map(
            move |(scheme, (endpoint, others), user, password, path, query, options)| {
                // An alias is replaced by the scheme that is printed in its place.
                let alias = scheme.get(kind.schemes).name;
                Address {
                    kind,
                    scheme: kind.scheme(alias).expect("one of its own"),
                    user,
                    password: password.map(Secret::new),
                    endpoint,
                    others,
                    path,
                    query: query.map(Secret::new),
                    options,
                    origin: Origin::Ours,
                }
            },
        )
}

fn any_address() -> impl Strategy<Value = Address> {
    select(kinds().collect::<Vec<_>>()).prop_flat_map(of_kind)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// An address as it is written by hand, in the scheme's name or an alias of it.
fn written(address: &Address, scheme: &str) -> String {
    let mut text = format!("{scheme}://");
    let user = address.user.as_deref().map(encoded);
    match (&user, &address.password) {
        (None, None) => {}
        (user, None) => text += &format!("{}@", user.as_deref().unwrap_or_default()),
        (user, Some(password)) => {
            let user = user.as_deref().unwrap_or_default();
            text += &format!("{user}:{}@", encoded(password.expose()));
        }
    }
    let hosts = [&address.endpoint].into_iter().chain(&address.others);
    let hosts: Vec<_> = hosts.map(Endpoint::to_string).collect();
    text += &format!("{}{}", hosts.join(","), address.path);
    if let Some(query) = &address.query {
        text += &format!("?{}", query.expose());
    }
    let options = address.options.iter();
    let options = options.map(|(name, value)| format!("{name}={}", encoded(value.expose())));
    let options: Vec<_> = options.collect();
    match options.is_empty() {
        true => text,
        false => format!("{text}#{}", options.join("&")),
    }
}

fn is_opaque(kind: &Kind) -> bool {
    kind.parameters == Parameters::Opaque
}

/// The printed part of an address.
fn without_secrets(address: &Address) -> Address {
    Address {
        password: None,
        query: address.shown_query().map(Secret::new),
        options: Vec::new(),
        origin: Origin::Ours,
        ..address.clone()
    }
}

/// Its name, but for the sign that something is left out.
fn printed(address: &Address) -> String {
    let name = address.to_string();
    name.strip_suffix("?…").unwrap_or(&name).to_owned()
}

/// Everything that is printed of a target, or of the error in its place.
fn all_printed(target: Result<Target, Expected>) -> String {
    match target {
        Ok(target) => format!("{target} {target:?}"),
        Err(error) => format!("{error} {error:?}"),
    }
}

proptest! {
    #[test]
    fn an_address_is_parsed_as_it_is_written(address in any_address()) {
        let scheme = address.scheme;
        for alias in address.kind.schemes {
            if address.kind.scheme(alias.name) == Some(scheme) {
                let text = written(&address, alias.name);
                prop_assert_eq!(super::address(&text), Ok(address.clone()), "{}", text);
            }
        }
        let identity = address.identity();
        prop_assert_eq!(super::address(identity.expose()), Ok(address));
    }

    #[test]
    fn an_address_is_parsed_as_it_is_printed_but_for_its_secrets(address in any_address()) {
        let printed = printed(&address);
        prop_assert_eq!(super::address(&printed), Ok(without_secrets(&address)), "{}", printed);
    }

    #[test]
    fn what_is_printed_does_not_depend_on_the_secrets(
        address in any_address(),
        password: String,
        query in r"[a-z0-9_~:,=&+/-]{0,20}",
        variable in option::of(text()),
    ) {
        let secret = address.password.as_ref().map_or("s3cret", Secret::expose);
        let default = variable.as_ref().map(|_| secret.to_owned());
        let mut another = address.clone();
        if another.password.is_some() {
            another.password = Some(Secret::new(password));
        }
        if is_opaque(another.kind) && another.query.is_some() {
            another.query = Some(Secret::new(query));
        }
        prop_assert_eq!(format!("{address} {address:?}"), format!("{another} {another:?}"));
        let one = all_printed(target_at(address, default.as_deref()));
        prop_assert_eq!(one, all_printed(target_at(another, variable.as_deref())));
    }

    #[test]
    fn a_target_is_named_as_a_target_that_can_be_made(address in any_address()) {
        if let Ok(target) = target_at(without_secrets(&address), None) {
            let again = super::target(&target.to_string()).expect("its own name");
            prop_assert_eq!(again.to_string(), target.to_string());
            prop_assert!(again.is_at_same_place(&target));
        }
    }

    #[test]
    fn an_error_does_not_show_what_stands_in_the_place_of_a_password(
        before: String,
        after: String,
    ) {
        let schemes = kinds().flat_map(|kind| kind.schemes.iter().map(move |scheme| (kind, scheme)));
        let urls = schemes.map(|(kind, scheme)| (None, kind, format!("{}://", scheme.name)));
        let bare = kinds().map(|kind| (Some(kind), kind, String::new()));
        for (given, kind, scheme) in urls.chain(bare) {
            let text = format!("{scheme}app:{before}s3cret{after}@db:0/shop");
            match Address::parse(&text, KINDS, given, Origin::Ours) {
                // Here it stands in a page's path or query: nothing is wrong with it.
                Ok(_) => prop_assert!(is_opaque(kind) && before.contains(['/', '?']), "{}", text),
                Err(error) => {
                    let shown = format!("{error}: {}", shown(&text));
                    prop_assert!(!shown.contains("s3cret"), "{}", shown);
                }
            }
        }
    }

    #[test]
    fn any_text_is_an_address_or_an_error(
        text in prop_oneof![any::<String>(), "[a-z]{0,5}(://)?[a-z:@/?#&=%.0-9\\[\\]-]{0,30}"],
        scheme: Index,
    ) {
        let schemes: Vec<_> = kinds().flat_map(|kind| kind.schemes).collect();
        let url = format!("{}://{text}", scheme.get(&schemes).name);
        for text in [&text, &url] {
            for kind in kinds().map(Some).chain([None]) {
                for origin in [Origin::Ours, Origin::Application] {
                    match Address::parse(text, KINDS, kind, origin) {
                        Ok(address) => {
                            let printed = printed(&address);
                            // An application may have an '@' in a path.
                            let again = Address::parse(&printed, KINDS, None, origin);
                            let expected = Address {
                                origin,
                                ..without_secrets(&address)
                            };
                            prop_assert_eq!(again, Ok(expected), "{}", printed);
                        }
                        Err(error) => prop_assert!(!error.to_string().is_empty()),
                    }
                }
            }
        }
    }

    /// In a list, it would be cut at commas and line ends, and blanks around it dropped.
    #[test]
    fn a_target_without_a_host_is_parsed_as_it_is_printed(
        text in r"(unix:(//)?[/@]|dns:)([a-z0-9._ #&=,?%é:-]|%[0-9A-F]{2}|\PC){0,12}(#gone|#stable=1)?",
    ) {
        if let Some(Ok(target)) = without_host(&text) {
            let printed = target.to_string();
            let is_whole = split_list(OsStr::new(&printed)).eq([OsStr::new(&printed)]);
            prop_assert!(is_whole, "{:?}", printed);
            let again = without_host(&printed).expect("the same kind");
            prop_assert_eq!(again.expect("a target").to_string(), printed);
        }
    }

    #[test]
    fn a_list_has_the_items_that_were_put_in(
        items in vec(r"[a-z:é]([a-z:é \t]*[a-z:é])?", 0..8),
        between in r"[ \t]*[,\r\n][ \t,\r\n]*",
    ) {
        let list = items.join(&between);
        let split: Vec<_> = split_list(OsStr::new(&list)).filter_map(OsStr::to_str).collect();
        prop_assert_eq!(split, items);
    }
}
