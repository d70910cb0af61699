//! What the network's owner expects: `policy.toml`, a list of `[[expect]]` entries matched against single flows.
//!
//! Keys of an entry are ANDed, values within a key ORed. `subnets`, `interfaces` and `vpcs` are the client's side (for a spike
//! the refusing subnet's), `remote` the other end.

mod file;
mod protocol;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use thiserror::Error;

use crate::topology::History;

pub use protocol::{protocol_number, protocol_text};

/// What went wrong with a policy file.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// The file could not be read.
    #[error("cannot read the policy `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key or a type that a policy does not have.
    #[error("policy `{}`: {detail}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        detail: String,
    },
    /// A value is not what its key takes.
    #[error("policy `{}`: entry {entry}: `{key}`: expected {expected}, got `{value}`", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The entry, counted from 1.
        entry: usize,
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What the key takes.
        expected: &'static str,
    },
}

/// A checked policy.
#[derive(Debug, Default)]
pub struct Policy {
    entries: Vec<Entry>,
}

/// One entry, as a reader of the policy names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation<'p> {
    /// The detection whose findings it expects.
    pub detection: &'p str,
    /// Why.
    pub reason: &'p str,
    /// The first instant at which it no longer applies.
    pub ends: Option<DateTime<Utc>>,
}

/// The flow that a policy is asked about: the client's side, the remote end, the service.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The client's (for a spike the refusing) subnet.
    pub subnet_id: Option<&'a str>,
    /// Its interface.
    pub interface_id: Option<&'a str>,
    /// Its VPC.
    pub vpc_id: Option<&'a str>,
    /// The other end's address.
    pub remote: Option<IpAddr>,
    /// The other end's subnet, if it has one.
    pub remote_subnet_id: Option<&'a str>,
    /// The AWS service of the other end's address.
    pub remote_service: Option<&'a str>,
    /// The service port.
    pub port: Option<i64>,
    /// The IANA protocol number.
    pub protocol: Option<i64>,
    /// When the flow started.
    pub at: Option<DateTime<Utc>>,
}

#[derive(Debug)]
struct Entry {
    detection: String,
    subnets: Vec<SubnetMatch>,
    interfaces: HashSet<String>,
    vpcs: HashSet<String>,
    remote: Vec<Remote>,
    ports: Vec<(i64, i64)>,
    protocols: Vec<i64>,
    reason: String,
    /// The first instant at which the entry no longer applies.
    ends: Option<DateTime<Utc>>,
}

#[derive(Debug)]
enum SubnetMatch {
    Id(String),
    Tag { key: String, value: String },
}

#[derive(Debug)]
enum Remote {
    Block(IpNet),
    Service(String),
    Subnet(String),
}

impl Policy {
    /// Reads and checks a policy file.
    ///
    /// # Errors
    /// When the file cannot be read, has an unknown key, or a value that its key does not take; the message names the entry.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let text = std::fs::read_to_string(path).map_err(|source| PolicyError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Checks a policy's text; `path` is named in errors.
    ///
    /// # Errors
    /// As [`Policy::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, PolicyError> {
        let entries = file::entries(text, path)?;
        Ok(Self { entries })
    }

    /// Whether there is nothing that it expects.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The detections that the policy names.
    pub fn detections(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.detection.as_str())
    }

    /// The entries, in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = Expectation<'_>> {
        self.entries.iter().map(|entry| Expectation {
            detection: &entry.detection,
            reason: &entry.reason,
            ends: entry.ends,
        })
    }

    /// The reason of the first entry that expects this flow of this detection.
    pub fn expects(
        &self,
        detection: &str,
        subject: &Subject<'_>,
        history: &History,
    ) -> Option<&str> {
        self.entries
            .iter()
            .find(|entry| entry.detection == detection && entry.matches(subject, history))
            .map(|entry| entry.reason.as_str())
    }
}

impl Entry {
    fn matches(&self, subject: &Subject<'_>, history: &History) -> bool {
        let in_time = match (self.ends, subject.at) {
            (Some(ends), Some(at)) => at < ends,
            (Some(_), None) => false,
            (None, _) => true,
        };
        in_time
            && (self.subnets.is_empty()
                || self
                    .subnets
                    .iter()
                    .any(|subnet| subnet.matches(subject, history)))
            && (self.interfaces.is_empty()
                || subject
                    .interface_id
                    .is_some_and(|id| self.interfaces.contains(id)))
            && (self.vpcs.is_empty() || subject.vpc_id.is_some_and(|id| self.vpcs.contains(id)))
            && (self.remote.is_empty() || self.remote.iter().any(|remote| remote.matches(subject)))
            && (self.ports.is_empty()
                || subject.port.is_some_and(|port| {
                    self.ports
                        .iter()
                        .any(|&(from, to)| (from..=to).contains(&port))
                }))
            && (self.protocols.is_empty()
                || subject
                    .protocol
                    .is_some_and(|protocol| self.protocols.contains(&protocol)))
    }
}

impl SubnetMatch {
    fn matches(&self, subject: &Subject<'_>, history: &History) -> bool {
        let Some(id) = subject.subnet_id else {
            return false;
        };
        match self {
            Self::Id(wanted) => wanted == id,
            Self::Tag { key, value } => {
                let at = subject.at.unwrap_or(DateTime::<Utc>::MAX_UTC);
                history
                    .at(at)
                    .subnet(id)
                    .and_then(|subnet| subnet.tag(key))
                    .is_some_and(|tag| tag == value)
            }
        }
    }
}

impl Remote {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Block(block) => subject
                .remote
                .is_some_and(|address| block.contains(&address)),
            Self::Service(service) => subject
                .remote_service
                .is_some_and(|found| found.eq_ignore_ascii_case(service)),
            Self::Subnet(id) => subject.remote_subnet_id.is_some_and(|found| found == id),
        }
    }
}
