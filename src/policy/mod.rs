//! What the network's owner expects: `policy.toml`, a list of `[[expect]]` entries matched against single flows.
//!
//! Keys of an entry are ANDed, values within a key ORed. `subnets`, `interfaces` and `vpcs` are the client's side (for a spike
//! the refusing subnet's), `remote` the other end.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Days, NaiveDate, Utc};
use ipnet::IpNet;
use serde::Deserialize;
use thiserror::Error;

use crate::topology::History;

mod protocol;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    expect: Vec<Typed>,
}

/// An entry as it is typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    detection: String,
    subnets: Option<OneOrMany<String>>,
    interfaces: Option<OneOrMany<String>>,
    vpcs: Option<OneOrMany<String>>,
    remote: Option<OneOrMany<String>>,
    ports: Option<OneOrMany<Port>>,
    protocol: Option<OneOrMany<Port>>,
    reason: String,
    until: Option<toml::value::Datetime>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Many(values) if values.is_empty())
    }

    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Number(i64),
    Text(String),
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
        let file: File = toml::from_str(text).map_err(|error| PolicyError::Syntax {
            path: path.to_owned(),
            detail: located(text, &error),
        })?;
        let mut entries = Vec::new();
        for (index, typed) in file.expect.into_iter().enumerate() {
            entries.push(checked(typed, index + 1, path)?);
        }
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

/// The line, the column and the plain words of a TOML error.
fn located(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    match error.span() {
        Some(span) => {
            let before = &text[..span.start.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
            format!("line {line}, column {column}: {message}")
        }
        None => message.to_owned(),
    }
}

fn checked(typed: Typed, entry: usize, path: &Path) -> Result<Entry, PolicyError> {
    let wrong = |key, value: &str, expected| PolicyError::Value {
        path: path.to_owned(),
        entry,
        key,
        value: value.to_owned(),
        expected,
    };
    let list =
        |value: Option<OneOrMany<String>>| value.map(OneOrMany::into_vec).unwrap_or_default();
    let id_of = |key: &'static str, id: String, prefix: &str, expected: &'static str| match id
        .starts_with(prefix)
    {
        true => Ok(id),
        false => Err(wrong(key, &id, expected)),
    };

    let empty = [
        (
            "subnets",
            typed.subnets.as_ref().is_some_and(OneOrMany::is_empty),
        ),
        (
            "interfaces",
            typed.interfaces.as_ref().is_some_and(OneOrMany::is_empty),
        ),
        ("vpcs", typed.vpcs.as_ref().is_some_and(OneOrMany::is_empty)),
        (
            "remote",
            typed.remote.as_ref().is_some_and(OneOrMany::is_empty),
        ),
        (
            "ports",
            typed.ports.as_ref().is_some_and(OneOrMany::is_empty),
        ),
        (
            "protocol",
            typed.protocol.as_ref().is_some_and(OneOrMany::is_empty),
        ),
    ];
    if let Some((key, _)) = empty.into_iter().find(|(_, is_empty)| *is_empty) {
        // Any of no values is none: such an entry would expect nothing, and was meant to expect something.
        return Err(wrong(
            key,
            "[]",
            "at least one value; leave the key out to expect any",
        ));
    }
    if typed.reason.trim().is_empty() {
        return Err(wrong(
            "reason",
            &typed.reason,
            "why the traffic is expected, in words",
        ));
    }
    let subnets = || -> Result<Vec<SubnetMatch>, PolicyError> {
        list(typed.subnets)
            .into_iter()
            .map(|text| match text.strip_prefix("tag:") {
                Some(tag) => match tag.split_once('=') {
                    Some((key, value)) if !key.is_empty() => Ok(SubnetMatch::Tag {
                        key: key.to_owned(),
                        value: value.to_owned(),
                    }),
                    _ => Err(wrong("subnets", &text, "`tag:Key=Value`")),
                },
                None => id_of(
                    "subnets",
                    text,
                    "subnet-",
                    "a subnet id `subnet-…` or `tag:Key=Value`",
                )
                .map(SubnetMatch::Id),
            })
            .collect()
    };
    let remote = || -> Result<Vec<Remote>, PolicyError> {
        list(typed.remote)
            .into_iter()
            .map(|text| {
                if let Some(service) = text.strip_prefix("aws:") {
                    return Ok(Remote::Service(service.to_owned()));
                }
                if text.starts_with("subnet-") {
                    return Ok(Remote::Subnet(text));
                }
                let block = text
                    .parse::<IpNet>()
                    .ok()
                    .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
                block.map(Remote::Block).ok_or_else(|| {
                    wrong(
                        "remote",
                        &text,
                        "a CIDR block, an address, `aws:SERVICE` or a subnet id",
                    )
                })
            })
            .collect()
    };
    let ports = typed
        .ports
        .map(OneOrMany::into_vec)
        .unwrap_or_default()
        .into_iter()
        .map(|port| {
            const EXPECTED: &str = "a port 0-65535 or a range \"from-to\"";
            let (text, range) = match port {
                Port::Number(number) => (number.to_string(), Some((number, number))),
                Port::Text(text) => {
                    let range = match text.split_once('-') {
                        Some((from, to)) => from.trim().parse().ok().zip(to.trim().parse().ok()),
                        None => text.trim().parse().ok().map(|port: i64| (port, port)),
                    };
                    (text, range)
                }
            };
            match range {
                Some((from, to)) if (0..=65535).contains(&from) && (from..=65535).contains(&to) => {
                    Ok((from, to))
                }
                _ => Err(wrong("ports", &text, EXPECTED)),
            }
        });
    let protocols = typed
        .protocol
        .map(OneOrMany::into_vec)
        .unwrap_or_default()
        .into_iter()
        .map(|protocol| {
            let (text, number) = match protocol {
                Port::Number(number) => (number.to_string(), Some(number)),
                Port::Text(text) => {
                    let number = protocol_number(&text);
                    (text, number)
                }
            };
            number
                .filter(|number| (0..=255).contains(number))
                .ok_or_else(|| {
                    wrong(
                        "protocol",
                        &text,
                        "\"tcp\", \"udp\", \"icmp\" or a number 0-255",
                    )
                })
        });
    let until = match typed.until {
        None => None,
        Some(until) => {
            let date = until
                .date
                .filter(|_| until.time.is_none())
                .and_then(|date| {
                    NaiveDate::from_ymd_opt(
                        i32::from(date.year),
                        u32::from(date.month),
                        u32::from(date.day),
                    )
                });
            let ends = date
                .and_then(|date| date.checked_add_days(Days::new(1)))
                .and_then(|next| next.and_hms_opt(0, 0, 0));
            Some(
                ends.ok_or_else(|| {
                    wrong("until", &until.to_string(), "a date such as 2026-12-31")
                })?
                .and_utc(),
            )
        }
    };

    let subnets = subnets()?;
    let remote = remote()?;
    let ports = ports.collect::<Result<Vec<_>, _>>()?;
    let protocols = protocols.collect::<Result<Vec<_>, _>>()?;
    let interfaces = list(typed.interfaces)
        .into_iter()
        .map(|id| id_of("interfaces", id, "eni-", "an interface id `eni-…`"))
        .collect::<Result<HashSet<_>, _>>()?;
    let vpcs = list(typed.vpcs)
        .into_iter()
        .map(|id| id_of("vpcs", id, "vpc-", "a VPC id `vpc-…`"))
        .collect::<Result<HashSet<_>, _>>()?;
    Ok(Entry {
        detection: typed.detection,
        subnets,
        interfaces,
        vpcs,
        remote,
        ports,
        protocols,
        reason: typed.reason,
        ends: until,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(entry: &str) -> String {
        let text =
            format!("[[expect]]\ndetection = \"egress_unexpected\"\nreason = \"r\"\n{entry}\n");
        Policy::parse(&text, Path::new("policy.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_key_with_no_values_is_refused_rather_than_expect_everything() {
        for key in [
            "subnets",
            "interfaces",
            "vpcs",
            "remote",
            "ports",
            "protocol",
        ] {
            let message = refused(&format!("{key} = []"));
            assert!(
                message.contains(&format!("`{key}`: expected at least one value")),
                "{message}"
            );
        }
    }

    #[test]
    fn a_typing_mistake_is_named_with_its_place() {
        assert_eq!(
            refused("port = [443]"),
            "policy `policy.toml`: line 4, column 1: unknown field `port`, expected one of `detection`, `subnets`, `interfaces`, `vpcs`, \
             `remote`, `ports`, `protocol`, `reason`, `until`"
        );
        assert_eq!(
            refused("ports = [\"90-80\"]"),
            "policy `policy.toml`: entry 1: `ports`: expected a port 0-65535 or a range \"from-to\", got `90-80`"
        );
        assert!(refused("until = 2026-12-31T00:00:00Z").contains("a date such as 2026-12-31"));
    }
}
