//! `wait` waits until databases, ports, files and web services are really ready, then becomes a
//! command. This is the library behind the program; [`run`] is the whole of it.
//!
//! # The way of the data
//!
//! ```text
//! init: as PID 1, fork; the parent stays there, the child goes on
//! argv ──cli──▶ Cli (every field optional) ┐
//! environment ──env: one table of names────┴▶ config::resolve ─▶ Config + notices
//! Config.targets ──a task each──▶ probe ─▶ wait::all ─▶ ready or not
//! ready ─▶ no command: exit 0 │ launch: exec
//! ```
//!
//! Every arrow is one function that returns a value. What is said on the way is in [`report`], and
//! what the process was given and has to hand on is in [`sys`].

pub mod cli;
pub mod config;
pub mod env;
pub mod exit;
pub mod init;
pub mod launch;
pub mod live;
pub mod log;
pub mod probe;
pub mod report;
pub mod sys;
pub mod target;
pub mod wait;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue};
use tracing_subscriber::filter::LevelFilter;

use cli::Cli;
use config::{Config, ConfigError, Surroundings};
use exit::Exit;
use live::Live;
use probe::Probe;
use probe::resolve::Names;
#[cfg(feature = "tls")]
use probe::tls::Trust;
use sys::Inherited;

/// The longest file with a password or certificates that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// Does everything: reads the settings, waits, and becomes the command. Returns how to exit if it
/// does not become the command. `args` begins with the program's own name.
///
/// To be called first of all in a process, while it has one thread.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    // Before this, the kernel drops what PID 1 has no handler for.
    let mask = sys::block_signals();
    let args: Vec<OsString> = args.into_iter().collect();
    let init = init::start(&args, &mask);
    let inherited = Inherited::take_over();
    std::panic::set_hook(Box::new(report::panicked));
    let surroundings = Surroundings {
        variable: &|name| std::env::var_os(name),
        file: &read_file,
        is_terminal: io::stderr().is_terminal(),
    };
    let is_check = cli::early_look(&args, "--check").is_some();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => Ok(cli),
        Err(error) if !error.use_stderr() => {
            let _ = error.print(); // --help and --version
            return Exit::Ready;
        }
        Err(error) => Err(usage_error(error)),
    };
    let (config, live) = match prepare(cli, &surroundings) {
        Ok(prepared) => prepared,
        Err(error) => {
            report::unusable(&error);
            // Docker reserves every other status of a health check.
            return match is_check {
                true => Exit::NotReady,
                false => Exit::Unusable,
            };
        }
    };
    if let Err(errno) = init {
        report::failed(&format_args!("cannot start another process: {errno}"));
        return Exit::CannotExecute;
    }
    if config.scrub {
        sys::remove_from_environment(env::is_scrubbed);
    }

    let command = config.command.clone();
    match wait_for_all(config, live) {
        Ok(true) => {}
        Ok(false) => return Exit::NotReady,
        Err(error) => {
            report::failed(&format_args!("cannot wait: {error}"));
            return Exit::NotReady;
        }
    }
    let Some(command) = command else {
        return Exit::Ready;
    };
    report::starting(&command);
    inherited.give_back();
    let error = launch::exec(command);
    let _ = Inherited::take_over(); // to say so, the log is needed once more
    report::failed(&error);
    error.exit()
}

/// Starts the log and decides on everything else.
fn prepare(
    cli: Result<Cli, ConfigError>,
    surroundings: &Surroundings<'_>,
) -> Result<(Config, Live), ConfigError> {
    // Even what is wrong with the command line is said as the environment wants it said.
    let mut log = match &cli {
        Ok(cli) => config::log_settings(cli, surroundings),
        Err(_) => config::log_settings(&Cli::default(), surroundings),
    };
    if let (Ok(Cli { check: Some(_), .. }), Ok(log)) = (&cli, &mut log) {
        log.level = log.level.min(LevelFilter::ERROR); // silent when all is well
    }
    let live = log::init(*log.as_ref().unwrap_or(&log::Settings::default()));
    let cli = cli?;
    log?;
    let (config, notices) = config::resolve(&cli, surroundings)?;
    notices.iter().for_each(report::notice);
    Ok((config, live))
}

/// Waits, with the pauses before and after. The runtime is gone when this returns; what is stuck
/// in it is not waited for.
fn wait_for_all(config: Config, live: Live) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ready = runtime.block_on(async {
        let timing = config.timing;
        if !timing.before.is_zero() {
            report::pausing(timing.before, "before the first attempt");
            tokio::time::sleep(timing.before).await;
        }
        if !config.is_check {
            report::waiting(&config);
        }
        let probe = Probe {
            names: Names::default(),
            mysql_query: config.mysql_query,
            #[cfg(feature = "tls")]
            trust: Trust::new(config.tls_authorities),
        };
        if config.is_check {
            return wait::check(config.targets, probe, timing.connect_timeout).await;
        }
        let ready = wait::all(config.targets, probe, timing, live).await;
        if ready && !timing.after.is_zero() {
            report::pausing(timing.after, "now that everything is ready");
            tokio::time::sleep(timing.after).await;
        }
        ready
    });
    runtime.shutdown_background();
    Ok(ready)
}

/// The first line of clap's error alone, without its label.
fn usage_error(mut error: clap::Error) -> ConfigError {
    // There may be a target behind a flag that does not exist, as in `--mysql://…`, or that has no
    // value, as in `--help=mysql://…`.
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue] {
        if let Some(ContextValue::String(text)) = error.get(kind) {
            let text = ContextValue::String(target::redacted(text));
            error.insert(kind, text);
        }
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    ConfigError::Usage(line.strip_prefix("error: ").unwrap_or(line).to_owned())
}

/// Reads a regular file: a pipe or a device might never end, and there is no deadline yet.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut contents = Vec::new();
    let read = File::open(path)?
        .take(LONGEST_FILE + 1)
        .read_to_end(&mut contents)?;
    match read as u64 > LONGEST_FILE {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(contents),
    }
}
