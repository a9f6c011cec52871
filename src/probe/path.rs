//! Files and directories.

use std::io;
use std::path::Path;

use super::{NotReady, Progress, Reason};

/// Ready when there is something at the path, links followed.
pub(super) async fn attempt(path: &Path, progress: &Progress) -> Result<(), NotReady> {
    progress.set("looking at the file system");
    // On a thread of its own: a dead network file system must not hold up the deadline.
    match tokio::fs::metadata(path).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(NotReady::new(Reason::Missing, "it does not exist"))
        }
        Err(error) => Err(NotReady::new(Reason::Missing, error.to_string())),
    }
}
