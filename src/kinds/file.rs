//! Files and directories.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::probe::{Attempt, NotReady, Probe, reason};
use crate::targets::{Kind, Parameters, Target};

pub(super) static KIND: Kind = Kind {
    name: "file",
    title: "Files and directories",
    schemes: &[],
    settings: &[],
    parameters: Parameters::Known(&[]),
    options: &[],
    reasons: &[],
    codes: &[],
    ready_when: "there is a file or a directory at the path, symbolic links followed",
    examples: &[],
    parse: None, // a path is no URL
};

/// The target at a path.
pub(super) fn target(path: &Path) -> Target {
    // Two paths that are not UTF-8 may look the same.
    let identity = path.as_os_str().as_encoded_bytes().escape_ascii().to_string();
    Target::named(&KIND, path.display().to_string(), Box::new(File(path.into()))).known_as(identity)
}

#[derive(Debug)]
struct File(PathBuf);

impl Probe for File {
    fn attempt<'a>(&'a self, cx: &'a Attempt) -> BoxFuture<'a, Result<(), NotReady>> {
        async {
            cx.phase("looking at the file system");
            look(&self.0, cx).await.map_err(|error| {
                let detail = match error.kind() {
                    io::ErrorKind::NotFound => "it does not exist".to_owned(),
                    _ => error.to_string(),
                };
                NotReady::new(&reason::MISSING, detail)
            })
        }
        .boxed()
    }
}

async fn look(path: &Path, cx: &Attempt) -> io::Result<()> {
    if let Some(result) = look_without_waiting(path) {
        return result;
    }
    let owned = path.to_owned();
    let look = move || owned.metadata().map(drop);
    match cx.overlap().aside(look).await {
        // Where no thread is allowed, a look that may take long is better than none.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => path.metadata().map(drop),
        looked => looked,
    }
}

/// The kernel's answer where it needs no disk and no server for it; `None` elsewhere.
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
