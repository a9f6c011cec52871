//! Which server the driver would choose, by what each says of itself: the rules of the specifications
//! "Server Discovery and Monitoring" and "Server Selection". Nothing here touches the network.

use std::collections::VecDeque;

use super::bson::Document;
use super::options::{Members, Options, Tags};
use super::{NO_PRIMARY, NOT_INITIATED};
use crate::net::At;
use crate::probe::{NotReady, Reason, Stage, reason};
use crate::targets::Endpoint;

/// The most hosts that are tried in one attempt; a replica set has at most 50 members.
const MOST_HOSTS: usize = 64;

/// The most hosts that a message names.
const MOST_NAMED: usize = 5;

/// The port of a host that names none.
const DEFAULT_PORT: u16 = 27017;

const OTHER_SET: Reason =
    reason::NOT_SERVING.with_hint("check replicaSet, and the name that the server has (--replSet)");
const NO_MEMBER: Reason = reason::NOT_SERVING
    .with_hint("start the server as a member of a replica set (--replSet), or leave out replicaSet");
const NO_BALANCER: Reason =
    reason::NOT_SERVING.with_hint("leave out loadBalanced: there is no load balancer in front of mongos");
const OTHER_ADDRESS: Reason = reason::NOT_SERVING.with_hint(
    "drivers go on with the addresses in the replica set's configuration: make them reachable from here \
     (rs.reconfig()), or add ?directConnection=true",
);

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Standalone,
    /// A mongos.
    Router,
    Primary,
    Secondary,
    Arbiter,
    Hidden,
    /// A member that starts or recovers.
    Other,
    /// A member of a replica set that has not been initiated.
    NotInitiated,
}

/// The parts of a reply to `hello` that count.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) role: Role,
    set: Option<String>,
    /// The members of its replica set, in lower case.
    members: Vec<String>,
    /// Its own address among them.
    me: Option<String>,
    tags: Tags,
    /// The mechanisms of the account that was asked for.
    pub(super) mechanisms: Option<Vec<String>>,
    is_balanced: bool,
}

impl Hello {
    pub(super) fn parse(reply: Document<'_>) -> Self {
        let lower = |text: &str| text.to_ascii_lowercase();
        let set = reply.text("setName").map(str::to_owned);
        let lists = ["hosts", "passives", "arbiters"].into_iter();
        let members = lists.flat_map(|name| reply.texts(name).unwrap_or_default());
        let role = match () {
            () if reply.is_true("isreplicaset") => Role::NotInitiated,
            () if reply.text("msg") == Some("isdbgrid") => Role::Router,
            () if set.is_none() => Role::Standalone,
            () if reply.is_true("hidden") => Role::Hidden,
            () if reply.is_true("isWritablePrimary") || reply.is_true("ismaster") => Role::Primary,
            () if reply.is_true("secondary") => Role::Secondary,
            () if reply.is_true("arbiterOnly") => Role::Arbiter,
            () => Role::Other,
        };
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let tags = reply.pairs("tags").unwrap_or_default();
        let mechanisms = reply.texts("saslSupportedMechs");
        Self {
            role,
            set,
            members: members.map(lower).take(MOST_HOSTS).collect(),
            me: reply.text("me").map(lower),
            tags: tags.into_iter().map(owned).collect(),
            mechanisms: mechanisms.map(|names| names.into_iter().map(str::to_owned).collect()),
            is_balanced: reply.has("serviceId"),
        }
    }
}

/// The search for a suitable server.
pub(super) struct Search<'a> {
    options: &'a Options,
    is_load_balanced: bool,
    /// The replica set: the one that is asked for, or else the first that is found.
    set: Option<String>,
    is_set_given: bool,
    /// All hosts that have been found, and how many of them are servers on their own beside others.
    found: Vec<String>,
    dropped: usize,
    /// Those that have not been asked yet.
    left: VecDeque<At>,
    /// Why the servers that have answered are not suitable.
    unsuitable: Vec<NotReady>,
    failures: Vec<(Stage, String, NotReady)>,
}

/// The address of a host, as drivers compare it.
fn address(at: &At) -> String {
    at.to_string().to_ascii_lowercase()
}

impl<'a> Search<'a> {
    pub(super) fn new(
        seeds: Vec<At>,
        options: &'a Options,
        set: Option<String>,
        is_load_balanced: bool,
    ) -> Self {
        let mut search = Self {
            options,
            is_load_balanced,
            is_set_given: set.is_some(),
            set,
            found: Vec::new(),
            dropped: 0,
            left: VecDeque::new(),
            unsuitable: Vec::new(),
            failures: Vec::new(),
        };
        for seed in seeds {
            search.add(seed);
        }
        search
    }

    fn add(&mut self, at: At) {
        let address = address(&at);
        if self.found.len() < MOST_HOSTS && !self.found.contains(&address) {
            self.found.push(address);
            self.left.push_back(at);
        }
    }

    /// The next host to ask.
    pub(super) fn next(&mut self) -> Option<At> {
        self.left.pop_front()
    }

    /// Whether a server has answered.
    pub(super) fn is_answered(&self) -> bool {
        !self.unsuitable.is_empty()
    }

    /// Takes in what a server says of itself. Returns whether it is suitable.
    pub(super) fn hear(&mut self, at: &At, hello: &Hello) -> bool {
        let judged = self.judge(&address(at), hello);
        if !self.options.is_direct && !self.is_load_balanced && self.is_of_set(hello) {
            for member in &hello.members {
                if let Ok(endpoint) = Endpoint::parse(member, Some(DEFAULT_PORT)) {
                    self.add(At::Tcp(endpoint));
                }
            }
        }
        match judged {
            Ok(()) => true,
            Err((reason, why)) => {
                self.unsuitable.push(NotReady::new(&reason, format!("{at} {why}")));
                false
            }
        }
    }

    /// Whether a server is of the replica set, as far as it is known.
    fn is_of_set(&self, hello: &Hello) -> bool {
        hello.set.is_some() && hello.set == self.set
    }

    /// Why a server is not suitable, in words that follow its address.
    fn judge(&mut self, address: &str, hello: &Hello) -> Result<(), (Reason, String)> {
        let no = |reason, why: &str| Err((reason, why.to_owned()));
        if self.is_load_balanced {
            return match hello.is_balanced {
                true => Ok(()),
                false => no(NO_BALANCER, "is not behind a load balancer"),
            };
        }
        if let Some(set) = &hello.set {
            let known = self.set.get_or_insert_with(|| set.clone());
            if set != known {
                return Err((OTHER_SET, format!("is a member of {set:.64}, and not of {known:.64}")));
            }
        }
        // It is talked to whatever it is, to initiate it for example.
        if self.options.is_direct {
            return Ok(());
        }
        let is_known = hello.members.iter().any(|member| member == address);
        let is_itself = hello.me.as_ref().is_none_or(|me| me == address);
        match hello.role {
            Role::Standalone | Role::Router if self.is_set_given => {
                no(NO_MEMBER, "is not a member of a replica set")
            }
            // Of several, drivers drop each but the last.
            Role::Standalone if self.found.len() - self.dropped > 1 || self.set.is_some() => {
                self.dropped += 1;
                no(NO_MEMBER, "is not a member of a replica set, and not the only host")
            }
            Role::Router if self.set.is_some() => no(NO_MEMBER, "is a mongos beside a replica set"),
            Role::Standalone | Role::Router => Ok(()),
            Role::NotInitiated => no(NOT_INITIATED, "is not initiated"),
            Role::Arbiter => no(NO_PRIMARY, "is an arbiter"),
            Role::Hidden => no(NO_PRIMARY, "is hidden"),
            Role::Other => no(reason::STARTING, "is neither primary nor secondary: it starts or recovers"),
            Role::Primary if !is_known => no(OTHER_ADDRESS, &self.known_as(hello)),
            Role::Secondary if !is_itself => no(OTHER_ADDRESS, &self.known_as(hello)),
            Role::Primary | Role::Secondary => self.judge_member(hello),
        }
    }

    fn known_as(&self, hello: &Hello) -> String {
        let others = hello.me.as_slice().iter().chain(&hello.members);
        let other = others.into_iter().next().map_or("another address", String::as_str);
        format!("is known to its replica set as {other:.128}")
    }

    /// The same of a primary or secondary, by the read preference.
    fn judge_member(&self, hello: &Hello) -> Result<(), (Reason, String)> {
        let no = |why: &str| Err((NO_PRIMARY, why.to_owned()));
        let has = |tag| hello.tags.contains(tag);
        let sets = &self.options.tags;
        let has_tags = sets.is_empty() || sets.iter().any(|tags| tags.iter().all(has));
        match (hello.role, self.options.members) {
            (Role::Primary, Members::Secondary) => no("is the primary, and readPreference is secondary"),
            (Role::Secondary, Members::Primary) => no("is a secondary"),
            (Role::Secondary, _) if !has_tags => no("is a secondary without the tags of readPreferenceTags"),
            _ => Ok(()),
        }
    }

    /// Takes in that a host could not be asked.
    pub(super) fn fail(&mut self, at: &At, stage: Stage, why: NotReady) {
        self.failures.push((stage, at.to_string(), why));
    }

    /// Why no server is suitable: what those that answered have said, or else the failure of the host
    /// whose attempt came farthest.
    pub(super) fn conclude(self) -> NotReady {
        let is_one_host = self.found.len() == 1;
        let mut failures = self.failures;
        let told = |address: &str, why: &NotReady| format!("{address}: {}", why.detail);
        if self.unsuitable.is_empty() {
            // Of equals the first.
            let farthest = failures.into_iter().rev().max_by_key(|(stage, ..)| *stage);
            return match farthest {
                Some((_, _, why)) if is_one_host => why,
                Some((_, address, why)) => NotReady {
                    detail: told(&address, &why),
                    ..why
                },
                None => NotReady::new(&reason::UNRESOLVED, "there is no host"),
            };
        }
        let is = |reason: Reason| move |why: &&NotReady| why.reason == reason;
        let mut all = self.unsuitable.iter();
        let telling = all
            .clone()
            .find(is(OTHER_ADDRESS))
            .or_else(|| all.clone().find(|why| !why.is(&reason::STARTING)))
            .or_else(|| all.next());
        let reason = telling.map_or(NO_PRIMARY, |why| why.reason);
        let servers = self.unsuitable.iter().map(|why| why.detail.clone());
        failures.sort_by_key(|(stage, ..)| std::cmp::Reverse(*stage));
        let hosts = failures.iter().map(|(_, address, why)| told(address, why));
        let parts: Vec<_> = servers.chain(hosts).collect();
        let mut detail = parts[..parts.len().min(MOST_NAMED)].join("; ");
        if parts.len() > MOST_NAMED {
            detail += &format!("; and {} more", parts.len() - MOST_NAMED);
        }
        NotReady::new(&reason, detail)
    }
}
