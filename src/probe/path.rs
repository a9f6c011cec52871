//! Files and directories.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use super::{NotReady, Overlap, Progress, Reason};

/// What a look needs, in bytes.
const STACK: usize = 128 * 1024;

/// Ready when there is something at the path, links followed.
pub(super) async fn attempt(
    path: &Path,
    overlap: &Overlap,
    progress: &Progress,
) -> Result<(), NotReady> {
    progress.set("looking at the file system");
    let result = match look_without_waiting(path) {
        Some(result) => result,
        None => look_aside(path, overlap).await,
    };
    result.map_err(|error| {
        let detail = match error.kind() {
            io::ErrorKind::NotFound => "it does not exist".to_owned(),
            _ => error.to_string(),
        };
        NotReady::new(Reason::Missing, detail)
    })
}

/// What the kernel knows without asking a disk or a server; `None` if it does not.
#[cfg(target_os = "linux")]
fn look_without_waiting(path: &Path) -> Option<io::Result<()>> {
    use nix::errno::Errno;
    use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
    use nix::libc;

    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED));
    match openat2(AT_FDCWD, path, how) {
        Ok(_) => Some(Ok(())),
        Err(errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES)) => Some(Err(errno.into())),
        // It would have to wait, or it is older than Linux 5.12, or it is not allowed here.
        Err(_) => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn look_without_waiting(_: &Path) -> Option<io::Result<()>> {
    None
}

/// Looks on a thread of its own: a dead network file system must not hold up the deadline.
async fn look_aside(path: &Path, overlap: &Overlap) -> io::Result<()> {
    let (looks, path) = (Arc::clone(&overlap.looks), path.to_owned());
    // Never closed; while earlier looks are stuck this waits, as long as the attempt may take.
    let look = looks.acquire_owned().await.map_err(io::Error::other)?;
    let (tell, told) = oneshot::channel();
    thread::Builder::new().stack_size(STACK).spawn(move || {
        let _ = tell.send(path.metadata().map(drop)); // nobody may be waiting any more
        drop(look);
    })?;
    told.await.map_err(io::Error::other)?
}
