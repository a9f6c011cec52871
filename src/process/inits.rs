//! Commands that are inits themselves. They want to be PID 1: s6-overlay does not run as anything
//! else, and tini warns.

/// The programs, by their base names.
const NAMES: [&[u8]; 13] = [
    b"catatonit",
    b"dinit",
    b"docker-init",
    b"dumb-init",
    b"init",
    b"my_init",
    b"openrc-init",
    b"runit",
    b"runit-init",
    b"s6-svscan",
    b"systemd",
    b"tini",
    b"tini-static",
];

/// Whether a command is an init, which may be an applet of busybox and may stand behind `env`.
pub(super) fn is_init<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut next = words.next();
    while let Some(program) = next {
        next = match program.rsplit(|byte| *byte == b'/').next() {
            Some(b"env") => after_env(&mut words),
            Some(b"busybox") => words.next(),
            name => return name.is_some_and(|name| NAMES.contains(&name)),
        };
    }
    false
}

/// The program that env starts: the first word after its options and variables.
fn after_env<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    while let Some(word) = words.next() {
        match word {
            b"-u" | b"--unset" | b"-C" | b"--chdir" | b"-a" | b"--argv0" => drop(words.next()),
            word if word.starts_with(b"-") || word.contains(&b'=') => {}
            program => return Some(program),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inits_are_known_by_their_base_names_behind_env_too() {
        for (line, expected) in [
            ("/init", true),
            ("init", true),
            ("/sbin/init", true),
            ("/usr/sbin/init --log-level=err", true),
            ("/lib/systemd/systemd", true),
            ("s6-svscan /run/service", true),
            ("/package/admin/s6-overlay/bin/init", true),
            ("/usr/bin/tini -g -- node app.js", true),
            ("tini-static -- node", true),
            ("dumb-init node app.js", true),
            ("catatonit -- node", true),
            ("/sbin/runit", true),
            ("busybox init", true),
            ("/usr/bin/env tini -- node", true),
            ("env -i -u HOME --unset=X --unset Y A=b -- /init", true),
            ("/usr/bin/env /bin/busybox init", true),
            ("", false),
            ("node init.js", false),
            ("init.js", false),
            ("/app/init.sh", false),
            ("/init/app", false),
            ("./tini-wrapper", false),
            ("env", false),
            ("env node tini", false),
            ("env -u tini node", false),
            ("busybox sh", false),
            ("sh -c 'exec /init'", false),
            ("/", false),
        ] {
            let words = line.split_whitespace().map(str::as_bytes);
            assert_eq!(is_init(words), expected, "{line}");
        }
    }
}
