//! The options of a connection string, as the driver of Node.js (7.9) reads them. Sources are the
//! specifications of MongoDB's drivers: "Connection String", "URI Options", "Authentication", "Initial
//! DNS Seedlist Discovery" and "Server Selection".

use super::KIND;
use super::login::{EXTERNAL, Mechanism};
use crate::net::tls::{TlsMode, Verification};
use crate::targets::address::NO_PORT;
use crate::targets::{self, Address, Defaults, Expected, Login, Secret, one_of};

/// The servers that are suitable, of a replica set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    Primary,
    Secondary,
    /// Either: the modes differ in which is taken where there are both.
    Any,
}

/// The modes of a read preference.
const MODES: [(&str, Members); 5] = [
    ("primary", Members::Primary),
    ("primaryPreferred", Members::Any),
    ("secondary", Members::Secondary),
    ("secondaryPreferred", Members::Any),
    ("nearest", Members::Any),
];

/// Tags by name and value, all of which a server has to have.
pub(super) type Tags = Vec<(String, String)>;

/// The options that mean something to `wait`.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) members: Members,
    /// The mode, as it is sent.
    pub(super) read_preference: String,
    /// The first set that a server has is the one that counts; an empty set is any server.
    pub(super) tags: Vec<Tags>,
    pub(super) replica_set: Option<String>,
    /// Whether to talk to this one server, whatever it is.
    pub(super) is_direct: bool,
    pub(super) is_load_balanced: bool,
    pub(super) auth_source: Option<String>,
    /// `None` for one that `wait` lacks.
    pub(super) mechanism: Option<Mechanism>,
    pub(super) mechanism_name: &'static str,
    pub(super) tls: TlsMode,
    /// The parameter that names the file of authorities.
    pub(super) authorities: Option<(String, String)>,
    pub(super) srv: Srv,
}

/// How the records of `mongodb+srv` are read.
#[derive(Debug)]
pub(super) struct Srv {
    pub(super) service: String,
    /// The most hosts that are taken, at random; all of them if it is 0.
    pub(super) most_hosts: usize,
}

/// The parameters of an address, with their names in lower case: in a connection string, they are the
/// same in any case.
struct Parameters(Vec<(String, String)>);

/// The mechanisms whose accounts no database has.
const EXTERNAL_ALONE: [&str; 4] = ["GSSAPI", "MONGODB-AWS", "MONGODB-OIDC", "MONGODB-X509"];

/// The mechanisms that need a user in the URL, or in a setting in its place.
const WITH_USER: [&str; 4] = ["GSSAPI", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"];

/// The only parameter that may be repeated, or empty.
const TAGS: &str = "readpreferencetags";

impl Parameters {
    /// Of a name that is spelt in several ways, the first spelling counts.
    fn of(address: &Address) -> Result<Self, Expected> {
        let all = address.parameters()?;
        let mut parameters = Vec::new();
        for (at, (spelling, value)) in all.iter().enumerate() {
            let name = spelling.to_ascii_lowercase();
            let mut before = all[..at].iter().filter(|(other, _)| other.eq_ignore_ascii_case(spelling));
            match before.next() {
                Some((first, _)) if first != spelling => continue,
                Some(_) if name != TAGS => {
                    return Err(Expected::new(format!("expected {} once", canonical(spelling))));
                }
                _ => {}
            }
            if value.is_empty() && name != TAGS {
                return Err(Expected::new(format!("expected {} with a value", canonical(spelling))));
            }
            parameters.push((name, value.clone()));
        }
        Ok(Self(parameters))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(known, _)| known == &name.to_ascii_lowercase());
        found.next().map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Expected> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Expected::new(format!("expected {name} to be true or false"))),
        }
    }

    fn is_set(&self, name: &str) -> Result<bool, Expected> {
        Ok(self.flag(name)?.unwrap_or(false))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

/// The name of a parameter as the documentation spells it. Any other may be a part of a password that
/// was not encoded, and is not printed.
fn canonical(spelling: &str) -> &'static str {
    let targets::Parameters::Known { shown, others } = KIND.parameters else {
        return "each parameter";
    };
    let mut names = shown.iter().chain(others);
    names.find(|name| name.eq_ignore_ascii_case(spelling)).unwrap_or(&"each parameter")
}

impl Options {
    /// Of an address. The file with the client's certificate and key becomes an option of `wait`.
    pub(super) fn of(address: &mut Address, defaults: &Defaults<'_>) -> Result<Self, Expected> {
        let parameters = Parameters::of(address)?;
        let mode = parameters.get("readPreference").unwrap_or(MODES[0].0);
        let mechanism = parameters.get("authMechanism").unwrap_or("DEFAULT");
        let (mechanism_name, mechanism) = Mechanism::named(mechanism)?;
        let options = Self {
            members: one_of("expected readPreference to be", mode, &MODES)?,
            read_preference: mode.to_owned(),
            tags: tags(&parameters)?,
            replica_set: parameters.text("replicaSet"),
            is_direct: parameters.is_set("directConnection")?,
            is_load_balanced: parameters.is_set("loadBalanced")?,
            auth_source: parameters.text("authSource"),
            mechanism,
            mechanism_name,
            tls: tls(address, &parameters)?,
            authorities: parameters.text("tlsCAFile").map(|file| ("tlsCAFile".to_owned(), file)),
            srv: Srv {
                service: parameters.text("srvServiceName").unwrap_or_else(|| "mongodb".to_owned()),
                most_hosts: match parameters.get("srvMaxHosts") {
                    None => 0,
                    Some(number) => number
                        .parse()
                        .map_err(|_| Expected::new("expected srvMaxHosts to be a number"))?,
                },
            },
        };
        if let Some(file) = parameters.text("tlsCertificateKeyFile")
            && address.option("cert-file").is_none()
        {
            if parameters.get("tlsCertificateKeyFilePassword").is_some() {
                return Err(Expected::new(
                    "expected a client key that is not encrypted: name it with #cert-file and key-file",
                ));
            }
            for name in ["cert-file", "key-file"] {
                address.options.push((name.to_owned(), Secret::new(file.clone())));
            }
        }
        let asks_for_tls = parameters.0.iter().any(|(name, _)| name.starts_with("tls"));
        if options.tls == TlsMode::Off && parameters.flag("tls")?.is_none() && asks_for_tls {
            defaults.notice(format!(
                "{address}: its TLS parameters mean nothing without tls=true, as for the driver of Node.js"
            ));
        }
        options.check(address)?;
        Ok(options)
    }

    /// Refuses a login that the driver refuses. A password of the kind's setting is for other targets.
    pub(super) fn check_login(&self, login: &Login, address: &Address) -> Result<(), Expected> {
        let expected = |what| Err(Expected::new(format!("expected {what} with {}", self.mechanism_name)));
        let has_password = address.password.as_ref().is_some_and(|password| !password.expose().is_empty());
        match () {
            () if WITH_USER.contains(&self.mechanism_name) && login.user.is_none() => expected("a user"),
            () if self.mechanism == Some(Mechanism::X509) && has_password => expected("no password"),
            () => Ok(()),
        }
    }

    /// Refuses combinations that the driver refuses.
    fn check(&self, address: &Address) -> Result<(), Expected> {
        let hosts = 1 + address.others.len();
        let is_srv = address.scheme.is_tls;
        let expected = |what: &'static str| Err(Expected::new(what));
        match () {
            () if is_srv && hosts > 1 => expected("expected one host after mongodb+srv://"),
            () if is_srv && self.is_direct => {
                expected("expected directConnection with mongodb:// alone")
            }
            () if self.is_direct && hosts > 1 => {
                expected("expected one host, with directConnection=true")
            }
            () if self.is_load_balanced && (hosts > 1 || self.replica_set.is_some() || self.is_direct) => {
                expected("expected one host, and neither replicaSet nor directConnection, with loadBalanced=true")
            }
            () if self.srv.most_hosts > 0 && self.replica_set.is_some() => {
                expected("expected srvMaxHosts without replicaSet")
            }
            () if EXTERNAL_ALONE.contains(&self.mechanism_name)
                && self.auth_source.as_deref().is_some_and(|source| source != EXTERNAL) =>
            {
                Err(Expected::new(format!("expected authSource=$external with {}", self.mechanism_name)))
            }
            () if is_srv && Some(address.endpoint.port) != address.scheme.default_port => {
                expected(NO_PORT)
            }
            () => Ok(()),
        }
    }
}

/// TLS as strict as the driver makes it.
fn tls(address: &Address, parameters: &Parameters) -> Result<TlsMode, Expected> {
    let (tls, ssl) = (parameters.flag("tls")?, parameters.flag("ssl")?);
    if tls.zip(ssl).is_some_and(|(tls, ssl)| tls != ssl) {
        return Err(Expected::new("expected tls and ssl to be the same"));
    }
    let is_insecure = parameters.flag("tlsInsecure")?;
    let any_certificate = parameters.flag("tlsAllowInvalidCertificates")?;
    let any_name = parameters.flag("tlsAllowInvalidHostnames")?;
    if is_insecure.is_some() && any_certificate.or(any_name).is_some() {
        return Err(Expected::new(
            "expected tlsInsecure alone, or tlsAllowInvalidCertificates and tlsAllowInvalidHostnames",
        ));
    }
    let is_set = |flag: Option<bool>| flag == Some(true);
    address.tls_mode_or(match tls.or(ssl).unwrap_or(address.scheme.is_tls) {
        false => TlsMode::Off,
        true => TlsMode::Require(match () {
            () if is_set(is_insecure) || is_set(any_certificate) => Verification::Nothing,
            () if is_set(any_name) => Verification::Authority,
            () => Verification::AuthorityAndName,
        }),
    })
}

/// The sets of tags, `NAME:VALUE,…`, in their order.
fn tags(parameters: &Parameters) -> Result<Vec<Tags>, Expected> {
    let values = parameters.0.iter().filter(|(name, _)| name == TAGS);
    let tag = |tag: &str| {
        let (name, value) = tag.split_once(':')?;
        Some((name.to_owned(), value.to_owned()))
    };
    let set = |(_, value): &(String, String)| {
        let tags = value.split(',').filter(|tag| !tag.is_empty());
        tags.map(tag).collect::<Option<Tags>>()
    };
    let sets: Option<Vec<_>> = values.map(set).collect();
    sets.ok_or_else(|| Expected::new("expected readPreferenceTags to be NAME:VALUE,…"))
}
