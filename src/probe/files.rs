//! Files without waiting: work that may hang, as on a dead network file system, has a thread of its
//! own, so that it does not hold up the deadline.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

use super::Overlap;

/// The longest file with a password, certificates or names that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

impl Overlap {
    /// Looks whether there is something at a path, symbolic links followed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn look(&self, path: &Path) -> io::Result<()> {
        if let Some(result) = cached(path) {
            return result.map(drop);
        }
        let owned = path.to_owned();
        match self.aside(move || owned.metadata().map(drop)).await {
            // Where no thread is allowed, a look that may take long is better than none.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => path.metadata().map(drop),
            looked => looked,
        }
    }

    /// Reads a regular file.
    ///
    /// # Errors
    /// Those of [`read`].
    pub(crate) async fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(contents) = read_local(path) {
            return contents;
        }
        let owned = path.to_owned();
        match self.aside(move || read(&owned)).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => read(path),
            contents => contents,
        }
    }
}

/// Reads a file that is missing, or on a file system of this machine; `None` if it may hang.
pub(crate) fn read_local(path: &Path) -> Option<io::Result<Vec<u8>>> {
    is_local(path).then(|| read(path))
}

/// Reads a regular file.
///
/// # Errors
/// The system's, for anything but a regular file, and for a file that is too long.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe or a device might never end; this way it does not even hang.
    let mut options = OpenOptions::new();
    let file: File = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut contents = Vec::new();
    let read = file.take(LONGEST_FILE + 1).read_to_end(&mut contents)?;
    match read as u64 > LONGEST_FILE {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(contents),
    }
}

/// The file at a path, if the kernel knows it without asking a disk or a server; `None` if it does
/// not.
#[cfg(target_os = "linux")]
fn cached(path: &Path) -> Option<io::Result<std::os::fd::OwnedFd>> {
    use nix::errno::Errno;
    use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED));
    match openat2(AT_FDCWD, path, how) {
        Ok(file) => Some(Ok(file)),
        Err(errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES)) => Some(Err(errno.into())),
        // It would have to wait, or it is older than Linux 5.12, or it is not allowed here.
        Err(_) => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn cached(_: &Path) -> Option<io::Result<File>> {
    None
}

/// Whether a file is missing, or known to be on a file system of this machine.
#[cfg(target_os = "linux")]
fn is_local(path: &Path) -> bool {
    use nix::sys::statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC,
        fstatfs,
    };
    let local = [
        BTRFS_SUPER_MAGIC,
        EXT4_SUPER_MAGIC,
        OVERLAYFS_SUPER_MAGIC,
        TMPFS_MAGIC,
        XFS_SUPER_MAGIC,
    ];
    match cached(path) {
        Some(Ok(file)) => fstatfs(file).is_ok_and(|stat| local.contains(&stat.filesystem_type())),
        Some(Err(_)) => true,
        None => false,
    }
}

#[cfg(not(target_os = "linux"))]
fn is_local(_: &Path) -> bool {
    true
}
