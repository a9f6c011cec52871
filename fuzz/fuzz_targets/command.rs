//! `WAIT_COMMAND`: its words, quoted, are the same words again, and an error holds the first alone.
#![no_main]

use std::ffi::OsStr;

use compose_wait::process::exec::Command;
use compose_wait::settings::ConfigError;
use compose_wait::settings::cli::Cli;
use compose_wait_fuzz::{PASSWORD, resolve};
use libfuzzer_sys::fuzz_target;

fn command(line: &str) -> Result<Option<Command>, ConfigError> {
    let variable = [("WAIT_COMMAND", OsStr::new(line))];
    resolve(&Cli::default(), &variable, b"").map(|(config, _)| config.command)
}

fuzz_target!(|line: &str| {
    if let Ok(Some(mut found)) = command(line) {
        // A value that is quoted as a whole is unquoted first, as from an .env file.
        found.args.push("end".into());
        let words = std::iter::once(&found.program).chain(&found.args);
        let quoted = shell_words::join(words.map(|word| word.to_str().expect("UTF-8")));
        assert_eq!(command(&quoted), Ok(Some(found.clone())), "{quoted}");

        let printed = format!("{found:?}");
        found.args.fill(PASSWORD.into());
        assert_eq!(format!("{found:?}"), printed);
    }
    if let Err(error) = command(&format!("{line} {PASSWORD}"))
        && !line.contains(PASSWORD)
    {
        assert!(!error.to_string().contains(PASSWORD), "{error}");
    }
});
