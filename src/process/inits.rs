//! Commands that are inits themselves. They want to be PID 1: s6-overlay does not run as anything
//! else, and tini warns.

use std::borrow::Cow;
use std::collections::VecDeque;

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

/// The processors that tini's releases are for, and muslc of them.
const PROCESSORS: [&[u8]; 10] = [
    b"amd64",
    b"arm64",
    b"armel",
    b"armhf",
    b"i386",
    b"mips64el",
    b"muslc-amd64",
    b"ppc64el",
    b"ppc64le",
    b"s390x",
];

/// Whether a command is an init, which may be an applet of busybox and may stand behind `env`.
pub(super) fn is_init<'a>(words: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut words = words.map(Cow::Borrowed).collect();
    let mut next: Option<Cow<'_, [u8]>> = VecDeque::pop_front(&mut words);
    while let Some(program) = next {
        next = match program.rsplit(|byte| *byte == b'/').next() {
            Some(b"env") => after_env(&mut words),
            Some(b"busybox") => words.pop_front(),
            name => return name.is_some_and(is_name),
        };
    }
    false
}

/// Whether it is the name of an init. The files of tini's releases end with the processor.
fn is_name(name: &[u8]) -> bool {
    NAMES.contains(&name)
        || [&b"tini-"[..], b"tini-static-"].iter().any(|prefix| {
            let processor = name.strip_prefix(*prefix);
            processor.is_some_and(|processor| PROCESSORS.contains(&processor))
        })
}

/// The program that env starts: the first word after its options and variables.
fn after_env<'a>(words: &mut VecDeque<Cow<'a, [u8]>>) -> Option<Cow<'a, [u8]>> {
    while let Some(word) = words.pop_front() {
        match &*word {
            b"--unset" | b"--chdir" | b"--argv0" => drop(words.pop_front()),
            b"--split-string" => split(&words.pop_front()?, words)?,
            long if long.starts_with(b"--") => {
                if let Some(line) = long.strip_prefix(b"--split-string=") {
                    split(line, words)?;
                }
            }
            // Several letters may share a dash; the first one that has a value is the last.
            short if short.starts_with(b"-") => {
                if let Some(at) = short.iter().position(|letter| b"uCaS".contains(letter)) {
                    let value = match &short[at + 1..] {
                        [] => words.pop_front()?,
                        value => Cow::Owned(value.to_vec()),
                    };
                    if short[at] == b'S' {
                        split(&value, words)?;
                    }
                }
            }
            variable if variable.contains(&b'=') => {}
            _ => return Some(word),
        }
    }
    None
}

/// Puts the words of one argument in its place.
fn split(line: &[u8], words: &mut VecDeque<Cow<'_, [u8]>>) -> Option<()> {
    let line = shell_words::split(str::from_utf8(line).ok()?).ok()?;
    for word in line.into_iter().rev() {
        words.push_front(Cow::Owned(word.into_bytes()));
    }
    Some(())
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
            ("env -iu HOME /init", true),
            ("env -uHOME /init", true),
            ("env -S 'A=b /init -x'", true),
            ("env -vS '-u HOME tini --' node", true),
            ("env '-S/init -x'", true),
            ("env '--split-string=tini -- node'", true),
            ("env --split-string 'env -S tini' node", true),
            ("/sbin/tini-amd64 -- node", true),
            ("/tini-static-arm64 -- node", true),
            ("/tini-static-muslc-amd64 -- node", true),
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
            ("env -S 'node /init' tini", false),
            ("env -S", false),
            ("env -iu /init", false),
            ("env -S \"'\" /init", false),
            ("tini-static-x", false),
            ("sh -c 'exec /init'", false),
            ("/", false),
        ] {
            let words = shell_words::split(line).expect("words");
            let words = words.iter().map(String::as_bytes);
            assert_eq!(is_init(words), expected, "{line}");
        }
    }
}
