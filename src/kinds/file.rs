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
    several_hosts: false,
    parameters: Parameters::Known {
        shown: &[],
        others: &[],
    },
    dialects: &[],
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
            cx.overlap().look(&self.0).await.map_err(|error| {
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
