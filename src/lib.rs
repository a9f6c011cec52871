//! `wait` waits until databases, ports, files and web services are really ready, then becomes a
//! command. This is the library behind the program; [`run`] is the whole of it.
//!
//! # The way of the data
//!
//! ```text
//! process::init: as PID 1, fork; the parent stays there, the child goes on
//! argv ──settings::cli──▶ Cli (every field optional, no defaults) ┐
//! environment ──settings::environment: one table of names─────────┴▶ settings::resolve ─▶ Config + notices
//! Config.targets ──wait::all, a task each──▶ attempt ──▶ Probe of the target's kind ─▶ ready or not
//! ready ─▶ no command: exit 0 │ process::exec
//! ```
//!
//! Every arrow is one function that returns a value. A kind of target is one module in [`kinds`] and
//! one line in its table; nothing else names a protocol. The lines of the log are in [`output`], and
//! the state that the process inherits and hands on is in [`process::sys`].

pub mod kinds;
pub mod net;
pub mod output;
pub mod probe;
pub mod process;
pub mod settings;
pub mod targets;
pub mod wait;

use std::ffi::OsString;
use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::{sleep, timeout};
use tracing_subscriber::filter::LevelFilter;

#[cfg(feature = "tls")]
use net::Roots;
use net::{Names, Network};
use output::live::Live;
use output::{log, report};
use probe::Stop;
use process::exec;
use process::exit::Exit;
use process::init;
use process::sys::{self, Caught, Inherited, OneThread};
use settings::cli::{Cli, Early, Parsed};
use settings::{Config, ConfigError, Notice, OnTimeout, Surroundings, cli, environment};

/// The longest that servers may hold up the end of a wait that a signal ends: a statement that runs
/// there has to be cancelled.
const GOODBYE: Duration = Duration::from_millis(600);

/// Does everything: reads the settings, waits, and becomes the command. Returns how to exit if it
/// does not become the command. `args` begins with the program's own name.
///
/// It has to be the first call in the process.
pub fn run(args: impl IntoIterator<Item = OsString>, thread: OneThread) -> Exit {
    // Before this, the kernel drops what PID 1 has no handler for.
    let mask = sys::block_signals();
    let args: Vec<OsString> = args.into_iter().collect();
    let early = Early::look(&args);
    let init = init::start(&early, &mask, &thread, &|| start_log(&args));
    let inherited = Inherited::take_over();
    std::panic::set_hook(Box::new(report::panicked));
    let surroundings = surroundings(output::live::is_possible());
    let cli = match cli::parse(&args) {
        Ok(Parsed::Text(text)) => {
            let _ = text.print();
            return Exit::Ready;
        }
        Ok(Parsed::Cli(cli)) => Ok(*cli),
        Err(error) => Err(error),
    };
    let (config, live) = match prepare(cli, &surroundings) {
        Ok(prepared) => prepared,
        Err(error) => {
            report::unusable(&error);
            // Docker reserves every other status of a health check.
            return match early.is_check {
                true => Exit::NotReady,
                false => Exit::Unusable,
            };
        }
    };
    match init {
        Ok(warnings) => warnings.iter().for_each(report::notice),
        Err(errno) => {
            report::failed(&format_args!("cannot start another process: {errno}"));
            return Exit::CannotExecute;
        }
    }
    if config.scrub {
        sys::remove_from_environment(&thread, environment::is_scrubbed);
    }
    thread.end(); // the wait may start others

    if config.is_dry_run {
        return match report::dry_run(&config) {
            Ok(()) => Exit::Ready,
            Err(_) => Exit::NotReady,
        };
    }

    let command = config.command.clone();
    let starts_anyway = config.on_timeout == OnTimeout::Start && command.is_some();
    match wait_for_all(config, live) {
        Ok(true) => {}
        Ok(false) if starts_anyway => report::starting_anyway(),
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
    let error = exec::exec(command);
    let _ = Inherited::take_over(); // for the log, once more
    report::failed(&error);
    error.exit()
}

fn surroundings(is_terminal: bool) -> Surroundings<'static> {
    Surroundings {
        variable: &environment::get,
        names: &environment::names,
        file: &probe::files::read,
        is_terminal,
    }
}

/// Starts the log of an init, which has read no settings.
fn start_log(args: &[OsString]) {
    let cli = match cli::parse(args) {
        Ok(Parsed::Cli(cli)) => *cli,
        _ => Cli::default(),
    };
    let settings = settings::log_settings(&cli, &surroundings(false));
    log::init(settings.unwrap_or_default());
}

/// Starts the log and decides on everything else.
fn prepare(
    cli: Result<Cli, ConfigError>,
    surroundings: &Surroundings<'_>,
) -> Result<(Config, Live), ConfigError> {
    // Even an error in the command line is logged as the environment wants it.
    let mut log = match &cli {
        Ok(cli) => settings::log_settings(cli, surroundings),
        Err(_) => settings::log_settings(&Cli::default(), surroundings),
    };
    if let (Ok(Cli { check: Some(_), .. }), Ok(log)) = (&cli, &mut log) {
        log.level = log.level.min(LevelFilter::ERROR); // silent when all is well
    }
    let live = log::init(*log.as_ref().unwrap_or(&log::Settings::default()));
    let cli = cli?;
    log?;
    let (config, notices) = settings::resolve(&cli, surroundings)?;
    notices.iter().for_each(report::notice);
    Ok((config, live))
}

/// Waits, with the pauses before and after. The runtime is gone when this returns; what is stuck
/// in it is not waited for. A signal ends the process with a last line.
fn wait_for_all(config: Config, live: Live) -> io::Result<bool> {
    let caught = Caught::ending()?;
    if let Some(errno) = caught.refused() {
        report::notice(&Notice(format!("cannot catch signals: {errno}")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ready = runtime.block_on(async {
        let signals = caught.watch()?;
        let signal = pin!(signals.readable());
        let stop = Stop::default();
        match select(signal, pin!(wait_with_pauses(config, live, &stop))).await {
            Either::Left((_, wait)) => {
                stop.stop_by_signal();
                let _ = timeout(GOODBYE, wait).await;
                Ok(false)
            }
            Either::Right((ready, _)) => Ok(ready),
        }
    });
    runtime.shutdown_background();
    // One that arrives after the last attempt still ends the process.
    if let Some(signal) = caught.stop() {
        report::ended_by(&signal.name());
        signal.end();
    }
    ready
}

async fn wait_with_pauses(config: Config, live: Live, stop: &Stop) -> bool {
    let timing = config.timing;
    pause(timing.before, "before the first attempt", stop).await;
    if stop.is_by_signal() {
        return false;
    }
    report::waiting(&config);
    let network = Network {
        names: Names::default(),
        #[cfg(feature = "tls")]
        roots: Roots::new(config.tls_authorities),
    };
    let ready = wait::all(config.targets, network, timing, config.is_check, live, stop).await;
    if ready {
        pause(timing.after, "now that everything is ready", stop).await;
    }
    ready
}

/// A pause that the user asked for, unless a signal ends the wait.
async fn pause(duration: Duration, when: &str, stop: &Stop) {
    if !duration.is_zero() {
        report::pausing(duration, when);
        select(pin!(sleep(duration)), pin!(stop.stopped())).await;
    }
}
