//! Explains a decision to a reader: which subnet, which route table and why, what every route means, and why the class
//! is not a better one.
//!
//! ```text
//! subnet ──> route table (explicit, else main) ──> every route, IPv4 and IPv6 apart ──> class, and why not a better one
//! interface ──> addresses, groups, who can reach it ──> its subnet
//! address ──> who has it (in several VPCs, where CIDRs overlap) ──> what it is as seen from each VPC
//! ```
//!
//! What is said is plain data with the sentences in it, the same for a reader and for a program.

mod address;
mod interface;
mod routes;
mod subnet;

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::Serialize;

pub(crate) use address::{AddressExplained, Holder, Seen};
pub(crate) use interface::{Group, InterfaceExplained};
pub(crate) use routes::RouteExplained;
pub(crate) use subnet::{FamilyExplained, NotBetter, Rules, SubnetExplained};

use super::TopologyError;
use super::network::{Network, Vpc};
use super::words::{counted, listed, named};

/// A subnet, an interface or an address, explained as of a moment.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    pub(crate) at: DateTime<Utc>,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What is explained.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum What {
    Subnet(Box<SubnetExplained>),
    Interface(Box<InterfaceExplained>),
    Address(AddressExplained),
}

/// A VPC in a few words.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VpcNamed {
    pub(crate) vpc_id: String,
    pub(crate) name: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) cidrs: Vec<String>,
}

impl VpcNamed {
    fn of(vpc: &Vpc) -> Self {
        Self {
            vpc_id: vpc.id.to_string(),
            name: owned(vpc.name.as_deref()),
            account_id: owned(vpc.account_id.as_deref()),
            region: owned(vpc.region.as_deref()),
            cidrs: vpc.cidrs.iter().map(ToString::to_string).collect(),
        }
    }

    /// Id, name, CIDRs, account and region, on one line.
    pub(crate) fn words(&self) -> String {
        let mut words = named(&self.vpc_id, self.name.as_deref());
        if !self.cidrs.is_empty() {
            words.push_str(&format!(" {}", listed(&self.cidrs)));
        }
        if let Some(account_id) = &self.account_id {
            words.push_str(&format!(", account {account_id}"));
        }
        if let Some(region) = &self.region {
            words.push_str(&format!(", {region}"));
        }
        words
    }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

impl Network {
    /// Explains a subnet or an interface by id, or an address, in one VPC or in all of them.
    ///
    /// # Errors
    /// The text is neither, or names what the topology does not have.
    pub(crate) fn explain(
        &self,
        subject: &str,
        vpc_id: Option<&str>,
    ) -> Result<Explained, TopologyError> {
        let vpc = vpc_id
            .map(|id| {
                let ids = self.vpcs.iter().map(|vpc| vpc.id.as_ref());
                self.vpc(id).ok_or_else(|| self.unknown("VPC", id, ids))
            })
            .transpose()?;
        let what = if let Ok(addr) = subject.parse::<IpAddr>() {
            What::Address(self.explain_address(addr, vpc))
        } else if subject.starts_with("subnet-") {
            let within = |own: Option<usize>| is_within(self, own, vpc);
            let subnet = self
                .subnet(subject)
                .filter(|subnet| within(subnet.vpc))
                .ok_or_else(|| {
                    let subnets = self.subnets.iter().filter(|subnet| within(subnet.vpc));
                    self.unknown("subnet", subject, subnets.map(|subnet| subnet.id.as_ref()))
                })?;
            What::Subnet(Box::new(self.explain_subnet(subnet)))
        } else if subject.starts_with("eni-") {
            let within = |own: Option<usize>| is_within(self, own, vpc);
            let interface = self
                .interface(subject)
                .filter(|interface| within(interface.vpc))
                .ok_or_else(|| {
                    let interfaces = self
                        .interfaces
                        .iter()
                        .filter(|interface| within(interface.vpc));
                    let ids = interfaces.map(|interface| interface.id.as_ref());
                    self.unknown("interface", subject, ids)
                })?;
            What::Interface(Box::new(self.explain_interface(interface)))
        } else {
            return Err(TopologyError::NotExplained {
                subject: subject.to_owned(),
            });
        };
        Ok(Explained { at: self.at, what })
    }

    fn unknown<'n>(
        &self,
        what: &'static str,
        id: &str,
        there: impl Iterator<Item = &'n str>,
    ) -> TopologyError {
        let there: Vec<&str> = there.collect();
        let there = match there.len() {
            0 => format!("there is no {what} at all"),
            1 => format!("there is 1: {}", there[0]),
            count => format!("there are {}: {}", counted(count, what), listed(there)),
        };
        TopologyError::Unknown {
            what,
            id: id.to_owned(),
            at: self.at,
            there,
        }
    }
}

fn is_within(network: &Network, own: Option<usize>, vpc: Option<&Vpc>) -> bool {
    vpc.is_none_or(|vpc| own.is_some_and(|own| network.vpcs[own].id == vpc.id))
}

#[cfg(test)]
mod tests;
