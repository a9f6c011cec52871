//! Becoming the command.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::exit::Exit;
use crate::settings::environment;

/// The longest first line of a script that the kernel reads, in bytes.
const LONGEST_FIRST_LINE: u64 = 256;

/// A program and its arguments. `Debug` keeps the arguments to itself: they may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// A path, or a name to be looked up in `PATH`.
    pub program: OsString,
    /// Without the program.
    pub args: Vec<OsString>,
}

impl Command {
    /// The program as it may be printed. A text that is no path may be a target or a `PASSWORD=…` in
    /// the wrong place.
    pub fn name(&self) -> String {
        let program = self.program.to_string_lossy();
        let suspect = program.find(['=', ':', '?', '#']);
        match (program.starts_with('/'), program.contains('@'), suspect) {
            (true, ..) | (false, false, None) => program.into_owned(),
            (false, true, _) => "…".to_owned(),
            (false, false, Some(at)) => format!("{}…", &program[..=at]),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} and {} arguments", self.name(), self.args.len())
    }
}

/// Why the command could not be started. `Display` is one line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program.
    #[error("cannot start {0}: not found")]
    NotFound(String),
    /// The program is there, and its interpreter or dynamic loader is not.
    #[error("cannot start {0}: its interpreter or dynamic loader is not in this image")]
    NoInterpreter(String),
    /// A script whose first line ends with a carriage return, which is taken for a part of the
    /// interpreter's name.
    #[error(
        "cannot start {0}: its first line ends with a Windows line end (CR): save it with LF alone"
    )]
    WindowsLineEnd(String),
    /// Any other error of the system's.
    #[error("cannot start {0}: {1}")]
    Refused(String, Errno),
}

impl LaunchError {
    /// The exit status that shells have for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotFound(_) => Exit::NotFound,
            Self::NoInterpreter(_) | Self::WindowsLineEnd(_) | Self::Refused(..) => {
                Exit::CannotExecute
            }
        }
    }
}

/// Replaces this process with the command, which is looked up in `PATH` as a shell does. Returns
/// only if that fails.
pub fn exec(command: Command) -> LaunchError {
    let program = command.name();
    let words = std::iter::once(command.program.clone()).chain(command.args);
    let words: Result<Vec<CString>, _> = words.map(c_string).collect();
    let errno = match words {
        // std's own exec would put SIGPIPE back to its default, whatever it was before.
        Ok(words) => match nix::unistd::execvp(&words[0], &words) {
            Ok(never) => match never {},
            Err(errno) => errno,
        },
        Err(_) => Errno::EINVAL,
    };
    match (errno, find(&command.program)) {
        (Errno::ENOENT, Some(path)) if is_with_carriage_return(&path) => {
            LaunchError::WindowsLineEnd(program)
        }
        (Errno::ENOENT, Some(_)) => LaunchError::NoInterpreter(program),
        (Errno::ENOENT | Errno::ENOTDIR, _) => LaunchError::NotFound(program),
        (errno, _) => LaunchError::Refused(program, errno),
    }
}

pub(super) fn c_string(word: OsString) -> Result<CString, std::ffi::NulError> {
    CString::new(word.into_vec())
}

/// The file that the program's name leads to.
pub(crate) fn find(program: &OsStr) -> Option<PathBuf> {
    if program.is_empty() {
        return None;
    }
    if program.as_bytes().contains(&b'/') {
        return Some(program.into()).filter(|path: &PathBuf| path.exists());
    }
    // Where there is none, the C library has one of its own.
    let path = environment::get("PATH").unwrap_or("/bin:/usr/bin".into());
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(program));
    found.find(|path| path.is_file())
}

/// Whether a file is a script whose first line ends with a carriage return.
fn is_with_carriage_return(path: &Path) -> bool {
    let mut start = Vec::new();
    let file = File::open(path).map(|file| file.take(LONGEST_FIRST_LINE));
    let _ = file.and_then(|mut file| file.read_to_end(&mut start));
    let line = start
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    line.starts_with(b"#!") && line.ends_with(b"\r")
}
