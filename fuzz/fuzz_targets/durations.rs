//! Durations, a line for each setting: a variable that holds none earns a notice where a flag is an error, what is understood
//! is understood again as it is printed, and no duration makes a wait panic or miss its deadline.
#![no_main]

use std::ffi::OsStr;
use std::pin::Pin;
use std::time::Duration;

use compose_wait::kinds::KINDS;
use compose_wait::net::Network;
use compose_wait::output::live::Live;
use compose_wait::probe::{Attempt, NotReady, Probe, Stop, reason};
use compose_wait::settings::Timing;
use compose_wait::settings::cli::Cli;
use compose_wait::targets::Target;
use compose_wait::wait;
use compose_wait_fuzz::{is_message, resolve};
use libfuzzer_sys::fuzz_target;
use tokio::time::{Instant, timeout};

/// A flag's place on the command line.
type Flag = fn(&mut Cli) -> &mut Option<String>;

const SETTINGS: [(&str, Flag); 5] = [
    ("WAIT_TIMEOUT", |cli| &mut cli.timeout),
    ("WAIT_HOST_CONNECT_TIMEOUT", |cli| &mut cli.connect_timeout),
    ("WAIT_SLEEP_INTERVAL", |cli| &mut cli.interval),
    ("WAIT_BEFORE", |cli| &mut cli.before),
    ("WAIT_AFTER", |cli| &mut cli.after),
];

/// What a setting comes to, alone; the same from a flag and from a variable. `None` is no duration.
fn alone(index: usize, text: &str) -> Option<Timing> {
    let (variable, field) = SETTINGS[index];
    let mut cli = Cli::default();
    *field(&mut cli) = Some(text.to_owned());
    // What .env files add is dropped from a variable, and an error in a flag.
    if text.contains(['"', '\'', '#', '\r']) {
        return resolve(&cli, &[], b"").ok().map(|(typed, _)| typed.timing);
    }
    let given = [(variable, OsStr::new(text))];
    let (config, notices) = resolve(&Cli::default(), &given, b"").expect("never an error");
    notices.iter().for_each(|notice| is_message(&notice.0));
    match resolve(&cli, &[], b"") {
        Ok((typed, _)) => {
            assert_eq!(notices, []);
            assert_eq!(config.timing, typed.timing);
            Some(config.timing)
        }
        Err(_) => {
            let is_set = !text.is_empty(); // an empty variable counts as unset
            assert_eq!(notices.len(), usize::from(is_set));
            assert_eq!(config.timing, Timing::default());
            None
        }
    }
}

/// It is never ready.
#[derive(Debug)]
struct Never;

impl Probe for Never {
    fn attempt<'a>(
        &'a self,
        _: &'a Attempt,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotReady>> + Send + 'a>> {
        Box::pin(async { Err(NotReady::new(&reason::REFUSED, "as ever")) })
    }
}

/// Waits for what is never there.
async fn wait(timing: Timing) {
    /// Long enough for a few attempts with the shortest pauses.
    const WATCHED: Duration = Duration::from_millis(20);
    /// What the timer cannot tell apart.
    const TICK: Duration = Duration::from_millis(2);
    let start = Instant::now();
    let target = Target::named(KINDS[0], "never", Box::new(Never));
    let (network, live) = (Network::default(), Live::default());
    let stop = Stop::default();
    let waiting = wait::all(vec![target], network, timing, false, live, &stop);
    match timeout(WATCHED, waiting).await {
        Ok(ready) => assert!(!ready && timing.timeout.is_some()),
        Err(_) => assert!(
            timing
                .timeout
                .is_none_or(|timeout| timeout + TICK >= WATCHED)
        ),
    }
    if let Some(timeout) = timing.timeout {
        assert!(start.elapsed() <= timeout.saturating_add(TICK));
    }
}

fuzz_target!(|text: &str| {
    let mut timing = Timing::default();
    for (index, line) in text.split('\n').take(SETTINGS.len()).enumerate() {
        let Some(alone) = alone(index, line) else {
            continue;
        };
        match index {
            0 => timing.timeout = alone.timeout,
            1 => timing.connect_timeout = alone.connect_timeout,
            2 => timing.interval = alone.interval,
            _ => {
                let pause = alone.before + alone.after; // one of them is zero
                let printed = humantime::format_duration(pause).to_string();
                assert_eq!(self::alone(index, &printed), Some(alone), "{printed}");
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(wait(timing));
});
