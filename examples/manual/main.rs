//! Writes the manual page and the shell completions into a folder, as releases have them:
//! `cargo run --example manual -- FOLDER`.

use std::io;
use std::path::PathBuf;

use clap_complete::{Shell, generate_to};
use compose_wait::settings::cli::command;

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("expected a folder to write to"));
    };
    clap_mangen::generate_to(command(), &folder)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut command(), "wait", &folder)?;
    }
    Ok(())
}
