//! Changes as they are written: our own JSON, a Terraform plan's, or commands of the AWS CLI.

mod aws_cli;
mod ours;
mod terraform;

use serde_json::Value;
use thiserror::Error;

use super::{Change, ChangeError, Guarded, Nacl};

/// Why changes can't be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// None of the three.
    #[error(
        "expected the output of `nacl advise`, a Terraform plan (`terraform show -json PLAN`), or `aws ec2 …-network-acl-entry` commands"
    )]
    NotAPlan,
    /// A value is missing or wrong.
    #[error("{place}: `{field}`: expected {expected}, got `{value}`")]
    Value {
        /// Line, address or position.
        place: String,
        /// The field or option.
        field: &'static str,
        /// What it should have been.
        expected: &'static str,
        /// What it was.
        value: String,
    },
    /// An ACL is not in the topology.
    #[error("{place}: the topology has no network ACL `{nacl_id}` (it has {there})")]
    UnknownAcl {
        /// Line, address or position.
        place: String,
        /// The id.
        nacl_id: String,
        /// What there is.
        there: String,
    },
    /// A Terraform plan does not have a value yet, and what it refers to is no network ACL of the plan.
    #[error(
        "{place}: `{field}` is known only after apply{}: expected {expected}",
        of.as_ref().map(|of| format!(", from `{of}`")).unwrap_or_default()
    )]
    KnownAfterApply {
        /// The resource's address.
        place: String,
        /// The field.
        field: &'static str,
        /// What it should have been.
        expected: &'static str,
        /// What it refers to.
        of: Option<String>,
    },
    /// There is nothing in it.
    #[error("{what} changes no rule of a network ACL")]
    Nothing {
        /// What was read.
        what: &'static str,
    },
}

/// Changes of a network as they are planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// ACLs that come, which go by where they are written: they have no ids yet.
    pub created: Vec<Nacl>,
    /// Subnets that come under another ACL, each with its id.
    pub moves: Vec<(String, String)>,
    /// Changes of rules, in the order in which they are made.
    pub changes: Vec<Change>,
}

impl Planned {
    fn of_changes(changes: Vec<Change>) -> Self {
        Self {
            changes,
            ..Self::default()
        }
    }

    /// The ACLs after all of it.
    ///
    /// # Errors
    /// When a change does not fit its ACL.
    pub fn applied(&self, guarded: &Guarded) -> Result<Guarded, ChangeError> {
        let mut after = guarded.clone();
        for nacl in &self.created {
            after = after.with_created(nacl.clone());
        }
        for change in &self.changes {
            if let Some(nacl) = after.nacl(&change.nacl_id) {
                let nacl = nacl.with(change)?;
                after = after.with(nacl);
            }
        }
        for (subnet_id, nacl_id) in &self.moves {
            after = after.with_moved(subnet_id, nacl_id);
        }
        Ok(after)
    }
}

/// Reads changes. Those of ACLs that the topology lacks are errors: nothing could be said about them.
///
/// # Errors
/// When the text is none of the three, or names what can't be.
pub fn read_changes(text: &str, guarded: &Guarded) -> Result<Planned, PlanError> {
    let trimmed = text.trim_start();
    let (what, planned) = if trimmed.starts_with('{') || trimmed.starts_with('[') {
        let documents: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text)
            .into_iter::<Value>()
            .collect();
        let documents = documents.map_err(|_| PlanError::NotAPlan)?;
        let objects: Vec<Value> = documents
            .into_iter()
            .flat_map(|document| match document {
                Value::Array(items) => items,
                other => vec![other],
            })
            .collect();
        let has = |key: &str| objects.iter().any(|object| object.get(key).is_some());
        if has("resource_changes") {
            ("the Terraform plan", terraform::read(&objects, guarded)?)
        } else if has("NetworkAclId") {
            (
                "the input",
                Planned::of_changes(aws_cli::read_json(&objects, guarded)?),
            )
        } else if has("nacl_id") || objects.is_empty() {
            (
                "the advice",
                Planned::of_changes(ours::read(&objects, guarded)?),
            )
        } else {
            return Err(PlanError::NotAPlan);
        }
    } else if text.contains("network-acl-entry") {
        (
            "the file",
            Planned::of_changes(aws_cli::read_lines(text, guarded)?),
        )
    } else {
        return Err(PlanError::NotAPlan);
    };
    match planned == Planned::default() {
        true => Err(PlanError::Nothing { what }),
        false => Ok(planned),
    }
}

fn known(guarded: &Guarded, nacl_id: &str, place: &str) -> Result<(), PlanError> {
    if guarded.nacl(nacl_id).is_some() {
        return Ok(());
    }
    let ids: Vec<&str> = guarded
        .nacls()
        .iter()
        .map(|nacl| nacl.id.as_ref())
        .collect();
    Err(PlanError::UnknownAcl {
        place: place.to_owned(),
        nacl_id: nacl_id.to_owned(),
        there: match ids.len() {
            0 => "none".to_owned(),
            _ => ids.join(", "),
        },
    })
}

/// What a rule is made of, as each of the three writes it.
#[derive(Debug, Default)]
struct Written<'t> {
    number: i64,
    egress: bool,
    protocol: &'t str,
    action: &'t str,
    cidr: Option<&'t str>,
    ports: (Option<i64>, Option<i64>),
    icmp: Option<(Option<i64>, Option<i64>)>,
}

impl Written<'_> {
    fn rule(&self, place: &str) -> Result<super::Rule, PlanError> {
        use crate::topology::model::{IcmpTypeCode, NetworkAclEntry, PortRange};
        let wrong = |field, expected, value: &str| PlanError::Value {
            place: place.to_owned(),
            field,
            expected,
            value: value.to_owned(),
        };
        if !(1..=32766).contains(&self.number) {
            return Err(wrong("rule number", "1 to 32766", &self.number.to_string()));
        }
        let allows = match self.action.to_ascii_lowercase().as_str() {
            "allow" => true,
            "deny" => false,
            _ => return Err(wrong("action", "`allow` or `deny`", self.action)),
        };
        let cidr = self.cidr.unwrap_or_default();
        if cidr.parse::<ipnet::IpNet>().is_err() {
            return Err(wrong("cidr", "a CIDR block", cidr));
        }
        let protocol = self.protocol.to_ascii_lowercase();
        if super::protocol(&protocol).is_none() {
            return Err(wrong(
                "protocol",
                "a protocol's name or number, or `-1`",
                self.protocol,
            ));
        }
        let port = |port: Option<i64>| match port {
            None | Some(-1) => Ok(None),
            Some(port @ 0..=65535) => Ok(i32::try_from(port).ok()),
            Some(port) => Err(wrong("port", "0 to 65535", &port.to_string())),
        };
        let (from, to) = (port(self.ports.0)?, port(self.ports.1)?);
        let is_v6 = cidr.contains(':');
        let small = |value: Option<i64>| value.and_then(|value| i32::try_from(value).ok());
        let entry = NetworkAclEntry {
            cidr_block: (!is_v6).then(|| cidr.to_owned()),
            ipv6_cidr_block: is_v6.then(|| cidr.to_owned()),
            egress: self.egress,
            icmp_type_code: self.icmp.map(|(kind, code)| IcmpTypeCode {
                r#type: small(kind),
                code: small(code),
            }),
            port_range: (from.is_some() || to.is_some()).then_some(PortRange { from, to }),
            protocol: Some(protocol),
            rule_action: Some(if allows { "allow" } else { "deny" }.to_owned()),
            rule_number: i32::try_from(self.number).unwrap_or(0),
        };
        super::Rule::from_entry(&entry).ok_or_else(|| wrong("rule", "a rule", &format!("{self:?}")))
    }
}

/// The number of a rule that goes.
fn number_of(number: i64, place: &str) -> Result<u16, PlanError> {
    u16::try_from(number)
        .ok()
        .filter(|number| (1..=32766).contains(number))
        .ok_or_else(|| PlanError::Value {
            place: place.to_owned(),
            field: "rule number",
            expected: "1 to 32766",
            value: number.to_string(),
        })
}

#[cfg(test)]
mod tests;
