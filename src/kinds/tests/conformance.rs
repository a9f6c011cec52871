//! The conformance of every kind: one test for each rule.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use super::*;
use crate::net::Network;
use crate::output::capture::Capture;
use crate::output::live::Live;
use crate::probe::{Attempt, NotReady, Probe, Reason, Stop, reason};
use crate::settings::Timing;
use crate::settings::environment::{self, is_scrubbed};
use crate::targets::address::shown;
use crate::wait;

/// The most that an attempt may read of a server that never stops sending, in bytes.
const MOST_READ: usize = 1 << 20;

/// The words of a server, and its end.
#[derive(Clone, Debug)]
struct Script {
    /// Repeated for ever if the end is `Never`.
    sends: Vec<u8>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    HangsUp,
    FallsSilent,
    Never,
}

impl Script {
    fn new(sends: impl Into<Vec<u8>>, end: End) -> Self {
        let sends = sends.into();
        Self { sends, end }
    }
}

/// A connection with a server that follows a script, whatever it receives.
struct Server {
    script: Script,
    at: usize,
    counts: Arc<Counts>,
}

/// The bytes read and written on connections with a server.
#[derive(Debug, Default)]
struct Counts {
    /// How often more was asked for.
    reads: AtomicUsize,
    /// In bytes.
    read: AtomicUsize,
    written: Mutex<Vec<u8>>,
}

impl AsyncRead for Server {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.counts.reads.fetch_add(1, Relaxed);
        let mut left = &self.script.sends[self.at..];
        if left.is_empty() {
            match self.script.end {
                End::HangsUp => return Poll::Ready(Ok(())),
                End::FallsSilent => return Poll::Pending,
                End::Never => {}
            }
            left = &self.script.sends;
        }
        let part = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..part]);
        self.at = self.script.sends.len() - left.len() + part;
        let read = self.counts.read.fetch_add(part, Relaxed) + part;
        assert!(read <= MOST_READ, "it reads on and on");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut written = self.counts.written.lock().expect("not poisoned");
        written.extend_from_slice(bytes);
        assert!(written.len() < 1 << 16, "it sends without end");
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A probe whose every attempt meets such a server.
#[derive(Debug)]
struct Scripted {
    probe: Box<dyn Probe>,
    script: Script,
    counts: Arc<Counts>,
}

impl Scripted {
    fn new(example: &str, script: Script) -> Self {
        Self {
            probe: target(example).expect(example).probe,
            script,
            counts: Arc::default(),
        }
    }

    async fn meet(&self) -> Result<(), NotReady> {
        let server = Server {
            script: self.script.clone(),
            at: 0,
            counts: Arc::clone(&self.counts),
        };
        self.probe.attempt(&attempt_over(server)).await
    }
}

impl Probe for Scripted {
    fn attempt<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        self.meet().boxed()
    }
}

/// The reason that an example is not ready with such a server; `None` if it is ready without having
/// read anything, as a port is.
async fn against(example: &str, script: Script) -> Option<NotReady> {
    let scripted = Scripted::new(example, script);
    let result = timeout(Duration::from_secs(60), scripted.meet()).await;
    let result = result.unwrap_or_else(|_| panic!("{example} hangs"));
    let counts = &scripted.counts;
    if address(example).expect(example).scheme.is_tls {
        let written = counts.written.lock().expect("not poisoned");
        let mut windows = written.windows(PASSWORD.len());
        assert!(
            !windows.any(|at| at == PASSWORD.as_bytes()),
            "{example}: in clear"
        );
    }
    match result {
        Ok(()) => assert_eq!(counts.reads.load(Relaxed), 0, "{example} is ready"),
        Err(why) => return Some(why),
    }
    None
}

/// A password that is no word of the program's own.
const UNIQUE: &str = "Open-Sesame";

/// The examples that have a password, with this one.
fn examples_with_a_unique_password() -> impl Iterator<Item = String> {
    let examples = examples().filter(|(_, example)| example.contains(PASSWORD));
    examples.map(|(_, example)| example.replace(PASSWORD, UNIQUE))
}

#[track_caller]
fn is_hidden(printed: &str, text: &str) {
    assert!(!printed.contains(UNIQUE), "{text}: {printed}");
}

#[test]
fn a_kind_that_is_not_compiled_in_says_so() {
    for kind in KINDS.iter().filter(|kind| kind.parse.is_none()) {
        for example in kind.examples {
            let expected = format!("support for {} is not compiled in", kind.name);
            let error = target(example).expect_err(example);
            assert_eq!(error.to_string(), expected, "{example}");
        }
    }
}

#[test]
fn the_table_is_consistent() {
    let first = KINDS[0].schemes.first().expect("a scheme");
    assert_eq!(first.default_port, None, "the first kind needs no scheme");
    assert!(KINDS[0].parse.is_some(), "the first kind is always there");
    let schemes = || KINDS.iter().flat_map(|kind| kind.schemes);
    let are_unique = |names: Vec<&str>| {
        let unique: HashSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
    };
    are_unique(KINDS.iter().map(|kind| kind.name).collect());
    are_unique(schemes().map(|scheme| scheme.name).collect());
    for scheme in schemes() {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        assert!(scheme.name.chars().all(is_plain), "{}", scheme.name);
    }
    for kind in KINDS {
        let name = kind.name;
        assert!(is_plain(name, ""), "{name}");
        assert!(!kind.title.is_empty(), "{name}");
        if kind.parse.is_none() && !kind.schemes.is_empty() {
            continue; // not compiled in
        }
        assert!(!kind.ready_when.is_empty(), "{name}");
        assert!(
            !kind.ready_when.ends_with('.'),
            "{name}: a part of a sentence"
        );
        assert_eq!(kind.schemes.is_empty(), kind.examples.is_empty(), "{name}");
    }
}

fn is_plain(name: &str, more: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
}

#[test]
fn settings_and_options_have_plain_names() {
    for kind in KINDS {
        for option in kind.options {
            assert!(is_plain(option, "-"), "{kind:?}: {option}");
        }
        let options: HashSet<_> = kind.options.iter().collect();
        assert_eq!(options.len(), kind.options.len(), "{kind:?}");
        for variable in kind.variables() {
            let rest = variable.strip_prefix("WAIT_").expect("one of ours");
            assert!(is_plain(&rest.to_ascii_lowercase(), "_"), "{variable}");
            assert_eq!(rest, rest.to_ascii_uppercase());
        }
        let variables: HashSet<_> = kind.variables().collect();
        assert_eq!(variables.len(), kind.variables().count(), "{kind:?}");
    }
}

#[test]
fn every_example_is_parsed_as_it_is_printed() {
    for (kind, example) in examples() {
        let address = address(example).expect(example);
        assert_eq!(address.kind, kind, "{example}");
        let identity = address.identity();
        assert_eq!(super::address(identity.expose()), Ok(address), "{example}");
        let target = target(example).expect(example);
        let again = super::target(identity.expose()).expect(example);
        assert!(again.is_same(&target), "{example}");
        let name = target.to_string();
        let printed = name.strip_suffix("?…").unwrap_or(&name);
        let printed = super::target(printed).expect(printed);
        assert_eq!(printed.kind, kind, "{example}");
        assert!(printed.is_at_same_place(&target), "{example}");
        assert!(
            name.starts_with(&printed.to_string()),
            "{example}: {printed}"
        );
    }
}

#[test]
fn every_scheme_has_an_example_or_is_an_alias_of_one_that_has() {
    for kind in kinds() {
        for scheme in kind.schemes {
            let main = kind.scheme(scheme.name).expect("its own");
            let is_shown = |example: &&str| address(example).expect(example).scheme == main;
            assert!(kind.examples.iter().any(is_shown), "{}", scheme.name);
        }
    }
}

#[test]
fn no_secret_of_an_example_is_printed() {
    for example in examples_with_a_unique_password() {
        let address = address(&example).expect(&example);
        is_hidden(&format!("{address} {address:?}"), &example);
        let target = target(&example).expect(&example);
        is_hidden(&format!("{target} {target:?} {:?}", target.probe), &example);
    }
}

#[test]
fn no_secret_of_a_broken_example_is_printed() {
    for example in examples_with_a_unique_password() {
        let cut = (0..example.len()).filter_map(|end| example.get(..end).map(str::to_owned));
        let mut broken: Vec<String> = cut.collect();
        for c in ['@', ':', '/', '?', '#', '%', '[', '\\', ' ', 'é'] {
            broken.push(example.replacen(UNIQUE, &format!("{UNIQUE}{c}"), 1));
            broken.push(example.replacen(UNIQUE, &format!("{c}{UNIQUE}"), 1));
        }
        broken.push(example.replacen(UNIQUE, &format!("{UNIQUE}%ff"), 1));
        for separator in match example.contains(['?', '#']) {
            true => ['&', '&'],
            false => ['?', '#'],
        } {
            broken.push(format!("{example}{separator}unknown={UNIQUE}"));
        }
        broken.extend(
            example
                .split_once("://")
                .map(|(_, rest)| format!("unknown://{rest}")),
        );
        for text in broken {
            match target(&text) {
                Ok(target) => is_hidden(&format!("{target} {target:?}"), &text),
                Err(error) => is_hidden(&format!("{error} {error:?} {}", shown(&text)), &text),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_timed_out_within_the_deadline() {
    const DEADLINE: Duration = Duration::from_secs(3);
    let capture = Capture::start();
    let mut all_counts = Vec::new();
    let mut targets = Vec::new();
    for (_, example) in examples() {
        let scripted = Scripted::new(example, Script::new("", End::FallsSilent));
        all_counts.push(Arc::clone(&scripted.counts));
        let mut target = target(example).expect(example);
        target.probe = Box::new(scripted);
        targets.push(target);
    }
    let timing = Timing {
        timeout: Some(DEADLINE),
        ..Timing::default()
    };
    let start = Instant::now();
    let ready = wait::all(
        targets,
        Network::default(),
        timing,
        false,
        Live::default(),
        &Stop::default(),
    )
    .await;
    let took = start.elapsed();
    assert!(took < DEADLINE + Duration::from_millis(5), "{took:?}");
    let has_read = |counts: &&Arc<Counts>| counts.reads.load(Relaxed) > 0;
    let readers = all_counts.iter().filter(has_read).count();
    assert_eq!(ready, readers == 0);
    let late = capture.events("timed_out");
    assert_eq!(late.len(), readers, "{late:?}");
    assert!(
        late.iter()
            .all(|event| event.field("reason") == "timed_out"),
        "{late:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_at_once_is_closed() {
    for (_, example) in examples() {
        let script = Script::new("", End::HangsUp);
        if let Some(why) = against(example, script).await {
            assert!(why.is(&reason::CLOSED), "{example}: {why}");
            assert!(why.detail.contains("while "), "{example}: {why}");
        }
    }
}

/// Bytes that no server sends.
fn garbage() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(20_261_126);
    let noise = (0..4096).map(|_| random.u8(..)).collect();
    vec![
        vec![0; 4096],
        vec![0xff; 4096],
        vec![b'a'; 4096],
        vec![b'\n'; 4096],
        b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
        b"220 mail ESMTP\r\n".to_vec(),
        noise,
    ]
}

/// With TLS, a malformed alert or record is seen first.
fn is_garbled(why: &NotReady, example: &str) -> bool {
    let is_tls = address(example).expect(example).scheme.is_tls;
    why.is(&reason::PROTOCOL) || why.is(&reason::CLOSED) || is_tls && why.is(&reason::TLS_FAILED)
}

#[tokio::test(start_paused = true)]
async fn garbage_is_another_protocol_and_bounded_when_it_has_no_end() {
    for (_, example) in examples() {
        for bytes in garbage() {
            for end in [End::HangsUp, End::Never] {
                let start = &bytes[..4];
                let script = Script::new(bytes.clone(), end);
                if let Some(why) = against(example, script).await {
                    assert!(is_garbled(&why, example), "{example}: {start:?}: {why}");
                    assert!(why.detail.chars().count() < 640, "{example}: {why}");
                }
            }
        }
    }
}

/// A server with a certificate that is not trusted. Returns all that it decrypts.
#[cfg(feature = "tls")]
async fn untrusted_server(io: tokio::io::DuplexStream) -> Vec<u8> {
    use tokio::io::AsyncReadExt as _;

    let mut decrypted = Vec::new();
    if let Ok(mut stream) = untrusted_certificate().accept(io).await {
        let _ = stream.read_to_end(&mut decrypted).await;
    }
    decrypted
}

#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn an_untrusted_certificate_is_tls_failed_with_nothing_confidential_on_the_wire() {
    for kind in kinds() {
        for scheme in kind.schemes.iter().filter(|scheme| scheme.is_tls) {
            for rest in [
                "db",
                "web/",
                "app:secret@db",
                "app:secret@db:1/1",
                "app:secret@[::1]",
            ] {
                // A service has no port.
                let rest = if scheme.is_service {
                    rest.replace(":1/", "/")
                } else {
                    rest.to_owned()
                };
                let url = format!("{}://{rest}", scheme.name);
                let target = target(&url).expect(&url);
                assert!(target.probe.verifies_certificates(), "{url}");
                let (ours, theirs) = tokio::io::duplex(1 << 16);
                let cx = attempt_over(ours);
                let attempt = target.probe.attempt(&cx);
                let both = async { tokio::join!(attempt, untrusted_server(theirs)) };
                let both = timeout(Duration::from_secs(60), both).await;
                let (result, decrypted) = both.expect("neither side hangs");
                let why = result.expect_err(&url);
                assert!(why.is(&reason::TLS_FAILED), "{url}: {why}");
                assert_eq!(String::from_utf8_lossy(&decrypted), "", "{url}");
            }
        }
    }
}

#[test]
fn scrubbing_takes_the_variables_of_every_kind_and_nothing_else() {
    for kind in KINDS {
        let variable = kind.variable();
        for name in kind
            .variables()
            .chain([variable.clone(), format!("{variable}_ANY")])
        {
            assert_eq!(is_scrubbed(name.as_bytes()), kind.has_settings(), "{name}");
        }
        let upper = kind.name.to_ascii_uppercase();
        for name in [format!("{variable}X"), format!("X{variable}"), upper] {
            assert!(!is_scrubbed(name.as_bytes()), "{name}");
        }
    }
    for variable in environment::ALL {
        assert!(!is_scrubbed(variable.name.as_bytes()), "{}", variable.name);
    }
}

/// Every reason that a kind can give, in its own version.
fn all_reasons(kind: &Kind) -> Vec<Reason> {
    let common = reason::COMMON.iter();
    let common = common.map(|common| kind.in_own_words(NotReady::new(common, "")).reason);
    let codes = kind.codes.iter().map(|(_, reason)| *reason);
    let own = kind.reasons.iter().map(|own| **own);
    common.chain(own).chain(codes).collect()
}

/// Whether a text mentions a kind: one of its schemes as a word, or one of its variables.
fn mentions(text: &str, kind: &Kind) -> bool {
    let is_word = |word: &str| kind.schemes.iter().any(|scheme| scheme.name == word);
    let text = text.to_ascii_lowercase();
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let variable = kind.variable().to_ascii_lowercase();
    words.any(is_word) || kind.has_settings() && text.contains(&variable)
}

#[test]
fn every_reason_has_a_hint_without_the_words_of_another_kind() {
    for kind in KINDS {
        for Reason {
            name, seen, hint, ..
        } in all_reasons(kind)
        {
            assert!(is_plain(name, "_"), "{kind:?}: {name}");
            for text in [seen, hint] {
                assert!(!text.is_empty(), "{kind:?}: {name}");
                assert!(text.chars().count() < 200, "{kind:?}: {text}");
                let others = KINDS.iter().filter(|other| *other != kind);
                let other = others.into_iter().find(|other| mentions(text, other));
                assert!(other.is_none(), "{kind:?}: {text}");
            }
        }
    }
    for common in reason::COMMON {
        let kind = KINDS.iter().find(|kind| mentions(common.hint, kind));
        assert!(kind.is_none(), "{common}: {}", common.hint);
    }
}

#[test]
fn every_code_has_one_of_the_kinds_reasons() {
    for kind in KINDS {
        let known = || kind.reasons.iter().chain(&reason::COMMON);
        let mut codes = HashSet::new();
        for (code, reason) in kind.codes {
            assert!(
                known().any(|known| known.name == reason.name),
                "{kind:?}: {code}"
            );
            assert!(codes.insert(code), "{kind:?}: {code} is there twice");
            assert_eq!(kind.error(code, "").reason, *reason, "{kind:?}: {code}");
        }
        let names: HashSet<_> = kind.reasons.iter().map(|reason| reason.name).collect();
        assert_eq!(names.len(), kind.reasons.len(), "{kind:?}");
    }
}
