//! Files and directories.

use std::io;
use std::path::Path;

use super::{NotReady, Overlap, Progress, Reason};

/// Ready when there is something at the path, links followed.
pub(super) async fn attempt(
    path: &Path,
    overlap: &Overlap,
    progress: &Progress,
) -> Result<(), NotReady> {
    progress.set("looking at the file system");
    let result = match look_without_waiting(path) {
        Some(result) => result,
        None => {
            let look = {
                let path = path.to_owned();
                move || path.metadata().map(drop)
            };
            match overlap.aside(look).await {
                // Where no thread is allowed, a look that may take long is better than none.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    path.metadata().map(drop)
                }
                looked => looked,
            }
        }
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
