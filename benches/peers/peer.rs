//! The programs that are measured, and how each of them is called.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program that waits for TCP ports and then, if it can, runs a command.
pub struct Peer {
    pub name: String,
    /// The file whose size is measured.
    pub program: PathBuf,
    call: Call,
}

/// The form of its targets. `true` is the command, where there can be one.
enum Call {
    Ours,
    WaitForIt,
    Wait4x,
    WaitOn,
    WaitService,
    /// Words with placeholders.
    Template(Vec<String>),
}

/// A host and a port.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: String,
    pub port: u16,
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Peer {
    /// This project's.
    pub fn ours(program: &str) -> Self {
        Self {
            name: "wait".to_owned(),
            program: program.into(),
            call: Call::Ours,
        }
    }

    /// Those that are on this machine.
    pub fn found() -> Vec<Self> {
        let known = [
            ("wait-for-it", Call::WaitForIt),
            ("wait4x", Call::Wait4x),
            ("wait-on", Call::WaitOn),
            ("wait-service", Call::WaitService),
        ];
        let found = known.into_iter().filter_map(|(name, call)| {
            Some(Self {
                name: name.to_owned(),
                program: in_path(name)?,
                call,
            })
        });
        found.collect()
    }

    /// One that the command line names: `NAME=COMMAND`.
    pub fn named(text: &str) -> Self {
        let (name, command) = text.split_once('=').expect("NAME=COMMAND");
        let words = shell_words::split(command).expect("a command");
        let program = words
            .iter()
            .find(|word| !is_variable(word))
            .expect("a program");
        Self {
            name: name.to_owned(),
            program: in_path(program).unwrap_or_else(|| program.into()),
            call: Call::Template(words),
        }
    }

    pub fn is_ours(&self) -> bool {
        matches!(self.call, Call::Ours)
    }

    /// Whether it can wait for several targets at once.
    pub fn takes_many(&self) -> bool {
        match &self.call {
            Call::WaitForIt | Call::Wait4x => false,
            Call::Ours | Call::WaitOn | Call::WaitService => true,
            Call::Template(words) => words.iter().any(|word| word.contains("{targets}")),
        }
    }

    /// Starts it. It gives up after so many seconds.
    pub fn start(&self, targets: &[Target], seconds: u32) -> Child {
        let mut command = Command::new(&self.program);
        let timeout = seconds.to_string();
        let first = &targets[0];
        match &self.call {
            Call::Ours => {
                for target in targets {
                    command.args(["--for", &target.to_string()]);
                }
                command.args(["--timeout", &timeout, "--", "true"]);
            }
            Call::WaitForIt => {
                command.args([&first.to_string(), "-q", "-t", &timeout, "--", "true"]);
            }
            Call::Wait4x => {
                let timeout = format!("{timeout}s");
                command.args([
                    "tcp",
                    &first.to_string(),
                    "-q",
                    "-t",
                    &timeout,
                    "--",
                    "true",
                ]);
            }
            Call::WaitOn => {
                command.args(["-t", &format!("{timeout}s")]);
                command.args(targets.iter().map(|target| format!("tcp:{target}")));
            }
            Call::WaitService => {
                for target in targets {
                    command.args(["--tcp", &target.to_string()]);
                }
                command.args(["-t", &timeout, "--", "true"]);
            }
            Call::Template(words) => {
                let all: Vec<_> = targets.iter().map(Target::to_string).collect();
                let words = words.iter().map(|word| {
                    word.replace("{host}", &first.host)
                        .replace("{port}", &first.port.to_string())
                        .replace("{targets}", &all.join(","))
                });
                let (variables, words): (Vec<_>, Vec<_>) =
                    words.partition(|word| is_variable(word));
                command.envs(variables.iter().filter_map(|word| word.split_once('=')));
                command.args(&words[1..]);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

fn is_variable(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| Path::is_file(file))
}
