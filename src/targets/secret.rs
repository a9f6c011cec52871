//! Text that is never printed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::probe::{NotReady, reason};

/// Text that neither `Debug` nor anything else prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to be sent.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A password, and the setting that it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// The password, or where it is.
    pub source: Source,
    /// The setting, in words that follow "from".
    pub setting: String,
}

/// The source of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The password itself.
    Given(Secret),
    /// A file that holds it, read anew for every attempt.
    File(SecretFile),
}

impl Secret {
    /// What looks wrong with a password, without any part of it.
    pub fn flaw(&self) -> Option<&'static str> {
        let text = self.expose();
        let is_in =
            |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
        if text.is_empty() {
            Some("it is empty")
        } else if text.ends_with(['\n', '\r']) {
            Some("it ends in a line end")
        } else if text.starts_with('\u{feff}') {
            Some("it begins with a byte order mark")
        } else if is_in('"') || is_in('\'') {
            Some("it is in quotes")
        } else if text.contains(" #") {
            Some("it holds ' #', which begins a comment elsewhere")
        } else if text.contains("${") {
            Some("it holds '${', which nothing has expanded")
        } else if text.contains('\0') {
            Some("it holds a NUL")
        } else {
            None
        }
    }
}

/// A file that holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// The file at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The secret in the contents of the file.
    ///
    /// # Errors
    /// `missing`, where the file is missing, empty, unreadable or not text.
    pub fn parse(&self, contents: io::Result<Vec<u8>>) -> Result<Secret, NotReady> {
        let missing = |what: &str| {
            NotReady::new(
                &reason::MISSING,
                format!("the password's file {self} {what}"),
            )
            .with_hint("does the secret exist, is it mounted, and may this user read it?")
        };
        let contents = contents.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing("does not exist"),
            _ => missing(&format!("cannot be read: {error}")),
        })?;
        if contents.is_empty() {
            return Err(missing("is empty"));
        }
        let text = String::from_utf8(contents).map_err(|_| missing("is not UTF-8 text"))?;
        // One line end, as editors and `echo` leave it, is not part of the secret.
        let line = text.strip_suffix("\r\n").or(text.strip_suffix('\n'));
        Ok(Secret::new(line.unwrap_or(&text)))
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretFile({self})")
    }
}

impl fmt::Display for SecretFile {
    /// A path that does not begin at the root may be the secret itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_absolute() {
            true => self.0.display().fmt(f),
            false => f.write_str("…"),
        }
    }
}
