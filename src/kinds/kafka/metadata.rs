//! The brokers, the controller, and the leaders of partitions.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::session::{Fields, METADATA, Session, refuse, string};
use super::{NO_CONTROLLER, STARTING};
use crate::net::At;
use crate::probe::NotReady;
use crate::targets::{Endpoint, Host};

/// The first version in which a request says that topics are not to be created by it.
const WITHOUT_CREATION: i16 = 4;

/// The error of a topic that does not exist.
const UNKNOWN_TOPIC: i16 = 3;

/// The part of a cluster that a broker knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) brokers: Vec<Broker>,
    /// Below 0 if there is none.
    controller: i32,
    topics: Vec<Topic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) id: i32,
    host: String,
    port: i32,
}

#[derive(Debug, PartialEq, Eq)]
struct Topic {
    error: i16,
    name: String,
    partitions: Vec<Partition>,
}

#[derive(Debug, PartialEq, Eq)]
struct Partition {
    error: i16,
    index: i32,
    /// Below 0 if there is none.
    leader: i32,
}

impl Metadata {
    /// Asks a broker.
    pub(super) async fn ask(session: &mut Session<'_>, topics: &[String]) -> Result<Self, NotReady> {
        session.cx.phase("asking for the metadata");
        let version = session.version(&METADATA)?;
        let response = session.call(&METADATA, version, &request(topics, version)).await?;
        Self::parse(&response, version).ok_or_else(|| session.cx.unexpected())
    }

    fn parse(response: &[u8], version: i16) -> Option<Self> {
        let mut fields = Fields(response);
        if version >= 3 {
            fields.i32()?; // throttling, in milliseconds
        }
        let brokers = fields.list(|fields| {
            let broker = Broker {
                id: fields.i32()?,
                host: fields.string()?,
                port: fields.i32()?,
            };
            fields.string()?; // the rack
            Some(broker)
        })?;
        if version >= 2 {
            fields.string()?; // the cluster's id
        }
        Some(Self {
            brokers,
            controller: fields.i32()?,
            topics: fields.list(Topic::parse)?,
        })
    }

    /// The leaders of all partitions of these topics, by their numbers.
    pub(super) fn leaders(&self, topics: &[String]) -> Result<BTreeMap<i32, &Broker>, NotReady> {
        if self.brokers.is_empty() {
            return Err(NotReady::new(&STARTING, "the cluster has no broker yet"));
        }
        if self.controller < 0 {
            return Err(NotReady::new(&NO_CONTROLLER, "the cluster has no controller"));
        }
        let brokers = self.brokers.iter().map(|broker| (broker.id, broker));
        let brokers: HashMap<_, _> = brokers.collect();
        let mut leaders = BTreeMap::new();
        for name in topics {
            let topic = self.topics.iter().find(|topic| topic.name == *name);
            // An old broker was asked for all topics.
            let error = topic.map_or(UNKNOWN_TOPIC, |topic| topic.error);
            refuse(error, match error {
                UNKNOWN_TOPIC => format!("no such topic: {name}"),
                29 => format!("the user may not see the topic {name}"),
                5 => format!("the topic {name} has no leader yet"),
                error => format!("the topic {name}: error {error}"),
            })?;
            let partitions = topic.map_or(&[][..], |topic| &topic.partitions);
            if partitions.is_empty() {
                return Err(NotReady::new(&STARTING, format!("the topic {name} has no partition yet")));
            }
            for Partition { error, index, leader } in partitions {
                let without_leader = || format!("partition {index} of the topic {name} has no leader");
                refuse(*error, without_leader())?;
                let broker = brokers.get(leader);
                let broker = broker.ok_or_else(|| NotReady::new(&STARTING, without_leader()))?;
                leaders.insert(*leader, *broker);
            }
        }
        Ok(leaders)
    }
}

impl Topic {
    fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        let (error, name) = (fields.i16()?, fields.string()?);
        fields.boolean()?; // whether it is Kafka's own
        let partitions = fields.list(|fields| {
            let partition = Partition {
                error: fields.i16()?,
                index: fields.i32()?,
                leader: fields.i32()?,
            };
            fields.list(Fields::i32)?; // its replicas
            fields.list(Fields::i32)?; // those in sync
            Some(partition)
        })?;
        Some(Self {
            error,
            name,
            partitions,
        })
    }
}

impl Broker {
    /// The address that it advertises; `None` if it is none.
    pub(super) fn at(&self) -> Option<At> {
        let host = match self.host.parse::<IpAddr>() {
            Ok(address) => Host::Address(address),
            Err(_) => self.host.parse().ok()?,
        };
        let port = u16::try_from(self.port).ok().filter(|port| *port > 0)?;
        Some(At::Tcp(Endpoint { host, port }))
    }

    /// The same as it is advertised.
    pub(super) fn advertised(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// A request for the metadata of topics. A broker that would create those that do not exist is asked
/// for all that there are.
fn request(topics: &[String], version: i16) -> Vec<u8> {
    if version < WITHOUT_CREATION && !topics.is_empty() {
        return (-1_i32).to_be_bytes().to_vec();
    }
    let mut request = (topics.len() as i32).to_be_bytes().to_vec();
    request.extend(topics.iter().flat_map(|topic| string(topic)));
    if version >= WITHOUT_CREATION {
        request.push(0);
    }
    request
}
