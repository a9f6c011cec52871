//! The query of a SQL database: it has to return a row whose first column is true, it is run by one
//! attempt at a time, and it ends with the wait.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};

use crate::probe::{Attempt, NotReady, Reason, reason};

/// The longest limit that every server takes, in seconds.
const LONGEST_LIMIT: u64 = 1_000_000;

/// The rows that a statement has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rows {
    None,
    /// Each has NULL, 0, false or nothing in its first column.
    False,
    /// One at least has something else there.
    True,
}

/// Waits until no other attempt runs a query.
///
/// # Errors
/// The end of the wait.
pub(super) async fn begin(cx: &Attempt) -> Result<(), NotReady> {
    let permit = pin!(cx.working("running the query"));
    match select(pin!(cx.stopped()), permit).await {
        Either::Left(_) => Err(NotReady::new(&reason::TIMED_OUT, "the query was not run")),
        Either::Right(_) => Ok(()),
    }
}

/// Runs a query to its end. When the wait ends first, `cancel` has the server end it; its result, an
/// error or not, is then that of a statement that was cut short.
pub(super) async fn run_or_cancel<'a, T>(
    query: impl Future<Output = Result<T, NotReady>>,
    cancel: impl FnOnce() -> BoxFuture<'a, Result<(), NotReady>>,
    cx: &Attempt,
) -> Result<T, NotReady> {
    match select(pin!(query), pin!(cx.stopped())).await {
        Either::Left((result, _)) => result,
        Either::Right(((), query)) => {
            cancel().await?;
            let _ = query.await;
            Err(NotReady::new(&reason::TIMED_OUT, "the query was cancelled"))
        }
    }
}

/// The limit that a server is to set itself, in seconds: it ends the query a second after the wait, also
/// behind a lock.
pub(super) fn limit(time_left: Duration) -> u64 {
    time_left.as_secs().saturating_add(2).min(LONGEST_LIMIT)
}

/// The meaning of a query's result, with the kind's own versions of the reasons.
pub(super) fn judge(
    rows: Result<Rows, NotReady>,
    empty: &Reason,
    failed: Reason,
) -> Result<(), NotReady> {
    match rows {
        Ok(Rows::True) => Ok(()),
        Ok(Rows::False) => Err(NotReady::new(
            empty,
            "the first column of each row is NULL, 0, false or empty",
        )),
        Ok(Rows::None) => Err(NotReady::new(empty, "the query returns no row")),
        // Errors that would not have come in answer to any other statement.
        Err(why) if why.is(&reason::SERVER_ERROR) || why.is(&reason::UNKNOWN_DATABASE) => {
            Err(NotReady {
                reason: failed,
                ..why
            })
        }
        Err(why) => Err(why),
    }
}
