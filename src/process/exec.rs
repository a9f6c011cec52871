//! Becoming the command.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::exit::Exit;
use crate::settings::environment;

/// The length of what the kernel reads of a file to know what it is, in bytes.
const START: u64 = 256;

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
    /// There is no such program, and its name looks like one with arguments.
    #[error("cannot start {0}: not found (the program and its arguments are words of their own)")]
    OneWord(String),
    /// The program is a directory.
    #[error("cannot start {0}: it is a directory")]
    Directory(String),
    /// The program is there, and no user may execute it.
    #[error("cannot start {0}: EACCES: it is not executable (chmod +x)")]
    NotExecutable(String),
    /// The program is there, and its interpreter or dynamic loader is not.
    #[error("cannot start {0}: its interpreter or dynamic loader is not in this image")]
    NoInterpreter(String),
    /// A script whose first line ends with a carriage return, which is taken for a part of the
    /// interpreter's name.
    #[error(
        "cannot start {0}: its first line ends with a Windows line end (CR): save it with LF alone"
    )]
    WindowsLineEnd(String),
    /// A program for another processor or system, both of which are named, or a script with such an
    /// interpreter.
    #[error("cannot start {0}: built for another processor? It is for {1}, and this is {own}", own = own_platform())]
    Foreign(String, String),
    /// Any other error of the system's.
    #[error("cannot start {0}: {1}")]
    Refused(String, Errno),
}

impl LaunchError {
    /// The exit status that shells have for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotFound(_) | Self::OneWord(_) => Exit::NotFound,
            Self::Directory(_)
            | Self::NotExecutable(_)
            | Self::NoInterpreter(_)
            | Self::WindowsLineEnd(_)
            | Self::Foreign(..)
            | Self::Refused(..) => Exit::CannotExecute,
        }
    }
}

/// Replaces this process with the command, which is looked up in `PATH` as a shell does. Returns
/// only if that fails.
///
/// The C library's own look-up hands whatever the kernel cannot execute to a shell, a program for
/// another processor too; and std's exec would put SIGPIPE back to its default, whatever it was before.
pub fn exec(command: Command) -> LaunchError {
    let name = command.name();
    let files = files(&command.program);
    let has_blank = command.program.as_bytes().contains(&b' ');
    let words = std::iter::once(command.program).chain(command.args);
    let words: Result<Vec<CString>, _> = words.map(c_string).collect();
    let Ok(words) = words else {
        return LaunchError::Refused(name, Errno::EINVAL);
    };
    let mut error = match has_blank {
        true => LaunchError::OneWord(name.clone()),
        false => LaunchError::NotFound(name.clone()),
    };
    for file in files {
        let errno = execute(&file, &words);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR if !file.exists() => {}
            Errno::ENOENT if is_with_carriage_return(&start(&file)) => {
                error = LaunchError::WindowsLineEnd(name.clone());
            }
            Errno::ENOENT => error = LaunchError::NoInterpreter(name.clone()),
            Errno::EACCES => error = without_access(name.clone(), &file),
            Errno::ENOEXEC => return without_format(name, &file, words),
            errno => return LaunchError::Refused(name, errno),
        }
    }
    error
}

pub(super) fn c_string(word: impl Into<OsString>) -> Result<CString, std::ffi::NulError> {
    CString::new(word.into().into_vec())
}

fn execute(file: &Path, words: &[CString]) -> Errno {
    let Ok(file) = c_string(file) else {
        return Errno::EINVAL;
    };
    match nix::unistd::execv(&file, words) {
        Ok(never) => match never {},
        Err(errno) => errno,
    }
}

/// The files that a program's name may stand for.
pub(crate) fn files(program: &OsStr) -> Vec<PathBuf> {
    if program.is_empty() {
        return Vec::new();
    }
    if program.as_bytes().contains(&b'/') {
        return vec![program.into()];
    }
    // Where there is none, the C library has one of its own.
    let path = environment::get("PATH").unwrap_or("/bin:/usr/bin".into());
    let folders = std::env::split_paths(&path);
    folders.map(|folder| folder.join(program)).collect()
}

/// The reason why access to a file is denied.
fn without_access(name: String, file: &Path) -> LaunchError {
    match file.metadata() {
        Ok(of) if of.is_dir() => LaunchError::Directory(name),
        Ok(of) if of.is_file() && of.permissions().mode() & 0o111 == 0 => {
            LaunchError::NotExecutable(name)
        }
        _ => LaunchError::Refused(name, Errno::EACCES),
    }
}

/// Executes a file in no format that the kernel knows: as with a shell, a text is a script for sh.
/// Returns only if that fails.
fn without_format(name: String, file: &Path, mut words: Vec<CString>) -> LaunchError {
    let content = start(file);
    if let Some(platform) = platform(&content) {
        return LaunchError::Foreign(name, platform);
    }
    if let Some(interpreter) = interpreter(&content)
        && let Some(platform) = platform(&start(interpreter))
    {
        let name = format!("{name} with {}", interpreter.display());
        return LaunchError::Foreign(name, platform);
    }
    if !is_binary(&content)
        && let Ok(script) = c_string(file)
    {
        words[0] = script;
        words.insert(0, c"/bin/sh".to_owned());
        execute(Path::new("/bin/sh"), &words);
    }
    LaunchError::Refused(name, Errno::ENOEXEC)
}

/// As much of a file as the kernel looks at.
fn start(file: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    let file = File::open(file).map(|file| file.take(START));
    let _ = file.and_then(|mut file| file.read_to_end(&mut start));
    start
}

fn first_line(start: &[u8]) -> &[u8] {
    start
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
}

/// Whether a file is a script whose first line ends with a carriage return.
fn is_with_carriage_return(start: &[u8]) -> bool {
    let line = first_line(start);
    line.starts_with(b"#!") && line.ends_with(b"\r")
}

/// Whether a file cannot be a script, by the rule of POSIX for shells.
fn is_binary(start: &[u8]) -> bool {
    first_line(start).contains(&0)
}

/// The interpreter that a script names.
fn interpreter(start: &[u8]) -> Option<&Path> {
    let line = first_line(start).strip_prefix(b"#!")?.trim_ascii();
    let path = line.split(u8::is_ascii_whitespace).next()?;
    Some(Path::new(OsStr::from_bytes(path)))
}

/// Processors: the class and the number that a program's header has, Docker's name, Rust's name.
const PROCESSORS: [(u8, u16, &str, &str); 8] = [
    (1, 3, "386", "x86"),
    (1, 40, "arm", "arm"),
    (2, 21, "ppc64le", "powerpc64"),
    (2, 22, "s390x", "s390x"),
    (2, 62, "amd64", "x86_64"),
    (2, 183, "arm64", "aarch64"),
    (2, 243, "riscv64", "riscv64"),
    (2, 258, "loong64", "loongarch64"),
];

/// The platform of this program, as Docker names it.
fn own_platform() -> String {
    let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
    let known = PROCESSORS.iter().find(|(.., name)| *name == processor);
    format!(
        "{system}/{}",
        known.map_or(processor, |(_, _, name, _)| name)
    )
}

/// The platform of a program that is not for this one, by its header.
fn platform(start: &[u8]) -> Option<String> {
    let platform = match start {
        [0x7f, b'E', b'L', b'F', class, order, _, ..] => {
            let machine: [u8; 2] = start.get(18..20)?.try_into().ok()?;
            let machine = match order {
                2 => u16::from_be_bytes(machine),
                _ => u16::from_le_bytes(machine),
            };
            let known = PROCESSORS
                .iter()
                .find(|(of, number, ..)| (of, *number) == (class, machine));
            match known {
                Some((_, _, name, _)) => format!("linux/{name}"),
                None => format!("the ELF machine {machine}"),
            }
        }
        [0xca, 0xfe, 0xba, 0xbe, ..]
        | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..]
        | [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] => "macOS".to_owned(),
        [b'M', b'Z', ..] if is_binary(start) => "Windows".to_owned(),
        _ => return None,
    };
    (platform != own_platform()).then_some(platform)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of a program.
    fn elf(class: u8, order: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut header = vec![0; 64];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
        header[18..20].copy_from_slice(&machine);
        header
    }

    #[test]
    fn programs_for_other_platforms_are_known_by_their_headers() {
        let of = |start: &[u8]| platform(start).unwrap_or_default();
        let own = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
        assert_eq!(of(&own), "");
        assert_eq!(of(&elf(2, 1, [22, 0])), "linux/s390x");
        assert_eq!(of(&elf(2, 2, [0, 22])), "linux/s390x");
        assert_eq!(of(&elf(1, 1, [40, 0])), "linux/arm");
        assert_eq!(of(&elf(1, 1, [243, 0])), "the ELF machine 243");
        assert_eq!(of(&[0xcf, 0xfa, 0xed, 0xfe, 7, 0, 0, 1]), "macOS");
        assert_eq!(of(b"MZ\x90\0"), "Windows");
        for text in [
            "",
            "MZ=1\necho",
            "#!/bin/sh\n",
            "\x7fEL",
            "\x7fELF\x02\x01\x01",
        ] {
            assert_eq!(of(text.as_bytes()), "", "{text:?}");
        }
    }

    #[test]
    fn scripts_and_what_cannot_be_one_are_told_apart() {
        assert!(is_binary(b"\x7fELF\0"));
        assert!(!is_binary(b"echo\n\0") && !is_binary(b""));
        let of = |line: &[u8]| interpreter(line).map(Path::to_owned);
        assert_eq!(of(b"#! /bin/x -e\n"), Some("/bin/x".into()));
        assert_eq!(of(b"#!/bin/x\n"), Some("/bin/x".into()));
        assert_eq!(of(b"echo"), None);
    }
}
