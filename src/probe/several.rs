//! An attempt at a target of several hosts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::{Attempt, NotReady, Stage, reason};
use crate::net::At;

/// Makes an attempt at one of several hosts.
pub type AttemptAt<P> =
    for<'a> fn(&'a P, &'a At, &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>>;

/// How long a host has for itself, before it answers, until the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// How long the conversations with other hosts may take to end properly once one is ready.
const GRACE: Duration = Duration::from_millis(100);

impl Attempt {
    /// Tries the hosts of a target in their order, as clients do: the next one after a failure, or
    /// beside one that does not answer. The first success decides, and so does a server that refuses
    /// the login or the like.
    ///
    /// # Errors
    /// Otherwise the failure of the host whose attempt came farthest.
    pub async fn first_of<P: Sync>(
        &self,
        places: &[At],
        probe: &P,
        attempt: AttemptAt<P>,
    ) -> Result<(), NotReady> {
        if let [at] = places {
            return attempt(probe, at, self).await;
        }
        let mut places = places.iter().peekable();
        let mut running = FuturesUnordered::new();
        let mut farthest: Option<(Stage, NotReady)> = None;
        loop {
            if let Some(at) = places.next() {
                let part = self.part();
                running.push(async move {
                    let result = attempt(probe, at, &part).await;
                    (part, at, result)
                });
            }
            // The next one begins when this ends.
            loop {
                let head_start = match places.peek() {
                    Some(_) => HEAD_START,
                    None => Duration::MAX,
                };
                let (part, at, result) = match timeout(head_start, running.next()).await {
                    Err(_) if self.is_answered() => continue,
                    Err(_) => break,
                    Ok(Some(ended)) => ended,
                    Ok(None) => {
                        return Err(match farthest {
                            Some((_, why)) => why,
                            None => NotReady::new(&reason::UNRESOLVED, "there is no host"),
                        });
                    }
                };
                let stage = part.stage();
                self.take(&part);
                match result {
                    Ok(()) => {
                        let rest = async { while running.next().await.is_some() {} };
                        if self.is_answered() {
                            let _ = timeout(GRACE, rest).await;
                        }
                        return Ok(());
                    }
                    Err(why) if !is_passed_over(&why) => return Err(at_host(at, why)),
                    Err(why) if farthest.as_ref().is_none_or(|(other, _)| stage > *other) => {
                        farthest = Some((stage, at_host(at, why)));
                    }
                    Err(_) => {}
                }
                break;
            }
        }
    }

    /// Begins an attempt at one of several hosts.
    pub(crate) fn part(&self) -> Arc<Self> {
        let part = Arc::new(Self {
            connected: self.connected.clone(),
            ..Self::new(
                Arc::clone(&self.network),
                self.overlap.clone(),
                self.stop.clone(),
            )
        });
        self.state().parts.push(Arc::clone(&part));
        part
    }

    /// Whether one of the hosts has answered.
    fn is_answered(&self) -> bool {
        let parts = &self.state().parts;
        parts.iter().any(|part| part.stage() >= Stage::Talking)
    }

    /// Takes over what is left of an attempt at one host.
    pub(crate) fn take(&self, part: &Arc<Self>) {
        let mut state = self.state();
        state.parts.retain(|other| !Arc::ptr_eq(other, part));
        let mut part = part.state();
        state.stage = state.stage.max(part.stage);
        state.warning = state.warning.take().or(part.warning.take());
        state.passwords.append(&mut part.passwords);
    }
}

/// Whether clients go on to another host: this one cannot be reached, or does not serve.
fn is_passed_over(why: &NotReady) -> bool {
    let reasons = [
        &reason::UNRESOLVED,
        &reason::REFUSED,
        &reason::UNREACHABLE,
        &reason::TIMED_OUT,
        &reason::CLOSED,
        &reason::MISSING,
        &reason::STARTING,
        &reason::NOT_SERVING,
        &reason::SHUTTING_DOWN,
    ];
    reasons.into_iter().any(|reason| why.is(reason))
}

fn at_host(at: &At, why: NotReady) -> NotReady {
    let detail = format!("{at}: {}", why.detail);
    NotReady { detail, ..why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Overlap, Stop};
    use futures_util::FutureExt as _;
    use std::future::pending;
    use std::sync::Mutex;
    use tokio::time::{Instant, sleep};

    /// The hosts, each a port, that attempts are scripted for.
    const READY: u16 = 1;
    const REFUSES: u16 = 2;
    const NO_ANSWER: u16 = 3;
    const DENIES: u16 = 4;
    /// It is ready after 10 s, of which it talks most of the time.
    const SLOW: u16 = 5;
    /// It talks, and is shutting down.
    const ENDS: u16 = 8;
    /// It talks from 1000 ms on, and is ready after 1050.
    const EARLY: u16 = 6;
    /// It talks from 780 ms on, and is ready after 870.
    const LATE: u16 = 7;

    /// When the attempt at each host began and ended.
    #[derive(Default)]
    struct Script(Mutex<Vec<(u16, u128)>>);

    impl Script {
        async fn attempt(&self, at: &At, cx: &Attempt, start: Instant) -> Result<(), NotReady> {
            let At::Tcp(endpoint) = at else {
                unreachable!("no socket")
            };
            let now = || (endpoint.port, start.elapsed().as_millis());
            self.0.lock().expect("one thread").push(now());
            let result = match endpoint.port {
                READY => Ok(()),
                REFUSES => Err(NotReady::new(&reason::REFUSED, "refused")),
                NO_ANSWER => pending().await,
                DENIES => {
                    cx.talking();
                    Err(NotReady::new(&reason::ACCESS_DENIED, "denied"))
                }
                ENDS => {
                    cx.talking();
                    Err(NotReady::new(&reason::SHUTTING_DOWN, "it ends"))
                }
                SLOW => {
                    cx.talking();
                    sleep(Duration::from_secs(10)).await;
                    Ok(())
                }
                port => {
                    let (silent, talking) = if port == EARLY { (1000, 50) } else { (780, 90) };
                    sleep(Duration::from_millis(silent)).await;
                    cx.talking();
                    sleep(Duration::from_millis(talking)).await;
                    Ok(())
                }
            };
            self.0.lock().expect("one thread").push(now());
            result
        }
    }

    async fn first_of(ports: &[u16]) -> (Result<(), NotReady>, Vec<(u16, u128)>, Attempt) {
        let at = |port| At::Tcp(format!("host-{port}:{port}").parse().expect("a host"));
        let places: Vec<_> = ports.iter().copied().map(at).collect();
        let cx = Attempt::new(Arc::default(), Overlap::default(), Stop::default());
        let script = (Script::default(), Instant::now());
        let result = cx.first_of(&places, &script, |(script, start), at, cx| {
            script.attempt(at, cx, *start).boxed()
        });
        let result = timeout(Duration::from_secs(60), result)
            .await
            .expect("in time");
        (result, script.0.0.into_inner().expect("one thread"), cx)
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_are_tried_in_their_order() {
        let (result, events, _) = first_of(&[REFUSES, READY, DENIES]).await;
        assert_eq!(result, Ok(()));
        assert_eq!(events, [(REFUSES, 0), (REFUSES, 0), (READY, 0), (READY, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_host_is_tried_beside_one_that_does_not_answer() {
        let (result, events, _) = first_of(&[NO_ANSWER, READY]).await;
        assert_eq!(result, Ok(()));
        assert_eq!(events, [(NO_ANSWER, 0), (READY, 250), (READY, 250)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_answers_is_not_overtaken() {
        let (result, events, cx) = first_of(&[SLOW, READY]).await;
        assert_eq!(result, Ok(()));
        assert_eq!(events, [(SLOW, 0), (SLOW, 10_000)]);
        assert_eq!(cx.stage(), Stage::Talking);
    }

    #[tokio::test(start_paused = true)]
    async fn a_conversation_with_another_host_ends_properly() {
        let (result, events, _) = first_of(&[EARLY, LATE]).await;
        assert_eq!(result, Ok(()));
        assert_eq!(
            events,
            [(EARLY, 0), (LATE, 250), (EARLY, 1050), (LATE, 1120)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_denies_the_login_decides() {
        let (result, events, _) = first_of(&[DENIES, READY]).await;
        let why = result.expect_err("denied");
        assert!(why.is(&reason::ACCESS_DENIED), "{why}");
        assert_eq!(why.detail, "host-4:4: denied");
        assert_eq!(events, [(DENIES, 0), (DENIES, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_failure_of_the_host_that_came_farthest_is_reported() {
        for ports in [[REFUSES, ENDS], [ENDS, REFUSES]] {
            let why = first_of(&ports).await.0.expect_err("not ready");
            assert!(why.is(&reason::SHUTTING_DOWN), "{why}");
            assert_eq!(why.detail, "host-8:8: it ends");
        }
        let why = first_of(&[REFUSES, REFUSES]).await.0.expect_err("refused");
        assert_eq!(why.detail, "host-2:2: refused");
    }
}
