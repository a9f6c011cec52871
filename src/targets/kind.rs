//! A kind of target: all data of a protocol.

use std::fmt;

use super::{Address, Defaults, Expected};
use crate::probe::{NotReady, Probe, Reason, reason};

/// All data of a protocol, so that help, documentation, scrubbing, tests and fuzzing loop over the
/// table of kinds instead of naming protocols.
pub struct Kind {
    /// Its name: `--NAME`, `WAIT_NAME`, the Cargo feature, `kind` in JSON.
    pub name: &'static str,
    /// Its name in prose.
    pub title: &'static str,
    /// The schemes of its URLs; an alias follows the scheme that is printed in its place.
    pub schemes: &'static [Scheme],
    /// Its settings by variable, `WAIT_NAME_*`. A kind that has any also has `WAIT_NAME` and
    /// `--NAME`, for targets without the scheme.
    pub settings: &'static [Setting],
    /// Whether a URL may name several hosts, of which one has to be ready.
    pub several_hosts: bool,
    /// The parameters after the `?` of a URL.
    pub parameters: Parameters,
    /// The forms of its drivers that are no URLs: each is made a URL, if the text has that form.
    pub dialects: &'static [Dialect],
    /// The options after the `#` of a target.
    pub options: &'static [&'static str],
    /// Its reasons, and its own versions of common ones.
    pub reasons: &'static [&'static Reason],
    /// The codes of its servers that have a reason of their own; the others are `server_error`.
    pub codes: &'static [(&'static str, Reason)],
    /// When a target is ready, for the documentation.
    pub ready_when: &'static str,
    /// Targets of every form, for the documentation and for tests. A password is `secret`.
    pub examples: &'static [&'static str],
    /// Makes a probe of an address; `None` if the kind is not compiled in. It may change the
    /// address, to what is to be printed.
    pub parse: Option<Parse>,
}

/// Makes a URL of a text in a driver's own form; `None` if it has another form.
pub type Dialect = fn(&str) -> Option<String>;

/// Makes a probe of an address.
pub type Parse = fn(&mut Address, &Defaults<'_>) -> Result<Box<dyn Probe>, Expected>;

/// A scheme of URLs.
#[derive(Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Its name, without `://`.
    pub name: &'static str,
    /// The port where a target has none; without it the port is required.
    pub default_port: Option<u16>,
    /// Whether it means TLS.
    pub is_tls: bool,
    /// Whether drivers refuse a login with special characters that are not percent-encoded.
    pub is_encoded: bool,
    /// Whether its host names a service, of which DNS has the hosts and the ports.
    pub is_service: bool,
}

impl Scheme {
    /// A scheme without TLS.
    pub const fn plain(name: &'static str, default_port: u16) -> Self {
        Self {
            name,
            default_port: Some(default_port),
            is_tls: false,
            is_encoded: false,
            is_service: false,
        }
    }

    /// A scheme that means TLS.
    pub const fn tls(name: &'static str, default_port: u16) -> Self {
        Self {
            is_tls: true,
            ..Self::plain(name, default_port)
        }
    }

    /// The same, but drivers refuse a login that is not percent-encoded.
    #[must_use]
    pub const fn encoded(self) -> Self {
        Self {
            is_encoded: true,
            ..self
        }
    }

    /// The same, but the host names a service.
    #[must_use]
    pub const fn service(self) -> Self {
        Self {
            is_service: true,
            ..self
        }
    }
}

/// A setting of a kind, by variable: `WAIT_KIND_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `_USER`, for targets that name no user.
    User,
    /// `_PASSWORD` and `_PASSWORD_FILE`, for targets that hold no password.
    Password,
    /// `_DATABASE`, for targets that name no database.
    Database,
    /// `_QUERY`: a statement that must return a row.
    Query,
}

impl Setting {
    /// The ends of its variables' names.
    pub fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::User => &["USER"],
            Self::Password => &["PASSWORD", "PASSWORD_FILE"],
            Self::Database => &["DATABASE"],
            Self::Query => &["QUERY"],
        }
    }
}

/// The parameters of a kind's URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// These. Others are errors in a target that is written for `wait`, and passed over in an
    /// application's own URL.
    Known {
        /// Those that are printed.
        shown: &'static [&'static str],
        /// Those that are not, such as the words of other drivers for the same.
        others: &'static [&'static str],
    },
    /// Part of what is sent. They may hold keys and tokens, and are never printed.
    Opaque,
}

impl Kind {
    /// As much of it as this build needs: of a kind that is not compiled in no more than its name, its
    /// schemes and its settings.
    #[must_use]
    pub const fn in_this_build(&self) -> Self {
        match self.parse {
            None if !self.schemes.is_empty() => Self {
                parameters: Parameters::Known {
                    shown: &[],
                    others: &[],
                },
                dialects: &[],
                options: &[],
                reasons: &[],
                codes: &[],
                ready_when: "",
                examples: &[],
                ..*self
            },
            _ => Self { ..*self },
        }
    }

    /// Whether it has a flag and variables of its own.
    pub fn has_settings(&self) -> bool {
        !self.settings.is_empty()
    }

    /// The variable with its targets: `WAIT_NAME`.
    pub fn variable(&self) -> String {
        format!("WAIT_{}", self.name.to_ascii_uppercase())
    }

    /// The names of its variables, without the one with its targets.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        let suffixes = self.settings.iter().flat_map(|setting| setting.suffixes());
        suffixes.map(|suffix| format!("{}_{suffix}", self.variable()))
    }

    /// Whether a variable is one of its own, `WAIT_NAME` or `WAIT_NAME_…`. It allocates nothing.
    pub fn owns_variable(&self, variable: &[u8]) -> bool {
        let rest = variable.strip_prefix(b"WAIT_").unwrap_or_default();
        let Some((name, rest)) = rest.split_at_checked(self.name.len()) else {
            return false;
        };
        let upper = self.name.bytes().map(|byte| byte.to_ascii_uppercase());
        self.has_settings()
            && name.iter().copied().eq(upper)
            && (rest.is_empty() || rest.starts_with(b"_"))
    }

    /// Its schemes without their aliases.
    pub fn main_schemes(&self) -> impl Iterator<Item = &'static Scheme> {
        let is_main = |scheme: &&Scheme| self.scheme(scheme.name) == Some(*scheme);
        self.schemes.iter().filter(is_main)
    }

    /// The scheme of this name, in upper or lower case. The driver that may follow a `+` is passed
    /// over, as in `scheme+driver`; a word there that means TLS is not, nor one for another way to the
    /// server.
    pub fn scheme(&self, name: &str) -> Option<&'static Scheme> {
        let find = |name: &str| {
            let is_it = |scheme: &&Scheme| scheme.name.eq_ignore_ascii_case(name);
            self.schemes.iter().find(is_it)
        };
        let (base, driver) = name.split_once('+').unwrap_or((name, ""));
        let found = find(name).or_else(|| match &*driver.to_ascii_lowercase() {
            "tls" | "ssl" => {
                find(base)?;
                self.schemes.iter().find(|scheme| scheme.is_tls)
            }
            "sentinel" | "socket" | "srv" | "unix" => None,
            _ => find(base),
        })?;
        // An alias differs in its name alone.
        self.schemes
            .iter()
            .find(|first| (first.default_port, first.is_tls) == (found.default_port, found.is_tls))
    }

    /// An error of a server by its code. The words may be in any language.
    pub fn error(&self, code: &str, detail: impl Into<String>) -> NotReady {
        let known = self.codes.iter().find(|(known, _)| *known == code);
        let reason = known.map_or(&reason::SERVER_ERROR, |(_, reason)| reason);
        NotReady::new(reason, detail).with_code(code.to_owned())
    }

    /// The same with the kind's own version of a common reason.
    pub fn in_own_words(&self, why: NotReady) -> NotReady {
        let own = self.reasons.iter().find(|own| why.is(own));
        match own {
            Some(own) if reason::COMMON.contains(&&why.reason) => NotReady {
                reason: **own,
                ..why
            },
            _ => why,
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Kind {}
