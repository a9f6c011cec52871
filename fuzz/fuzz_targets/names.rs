//! The hosts file and resolv.conf, with a name that is looked for in them: three parts, with a zero
//! byte between them.
#![no_main]

use compose_wait::net::names::what_files_say;
use compose_wait::targets::Host;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (name, hosts, resolv_conf) = (part(), part(), part());
    let Ok(Ok(Host::Name(name))) = std::str::from_utf8(name).map(str::parse) else {
        return;
    };
    let (addresses, candidates, servers) = what_files_say(hosts, resolv_conf, &name);
    let lines = hosts.split(|byte| *byte == b'\n').count();
    assert!(addresses.len() <= lines);
    assert!((1..=3).contains(&servers));
    let bare = name.trim_end_matches('.').to_ascii_lowercase();
    for candidate in candidates {
        assert!(candidate.is_fqdn());
        let asked = candidate.to_ascii(); // for display, hickory decodes what begins with xn--
        assert!(asked.starts_with(&bare), "{asked}");
    }
});
