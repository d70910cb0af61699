//! Network ACLs as AWS evaluates them: stateless, by rule number, the first match decides.
//!
//! Flow logs record neither ICMP types nor which rule decided. So a rule that depends on what is not recorded *may*
//! match; where that would change the answer, the verdict is [`Action::Undecidable`] instead of a guess.
//!
//! What passes the ACL meets the interface's security groups: [`Guard`].

mod advise;
mod aggregate;
mod change;
mod crossing;
mod explain;
mod groups;
mod guarded;
mod plan;
mod replay;
mod script;
mod tighten;
mod words;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use crate::topology::Family;
use crate::topology::model::{NetworkAcl, NetworkAclEntry};

pub use advise::{Advice, AdviseSettings, Advised, advise};
pub use aggregate::{Block, aggregate};
pub use change::{Change, ChangeError, Quota, Step};
pub use explain::{Crossing, EndWords, Looked, Outcome, Walk, WalkError, walk};
pub use groups::{Far, Group, Guard};
pub use guarded::Guarded;
pub use plan::{PlanError, Planned, read_changes};
pub use replay::{
    Began, Denied, Edge, NaclReplay, Numbers, Observed, Refusal, replay, unused_rules,
};
pub use script::{Line, aws_cli, terraform};
pub use tighten::{RoundTo, TightenSettings, Tightened, tighten};
pub use words::{number_words, ports_words, protocol_words, rule_words};

/// The rule `*` of an IPv4 ACL, as EC2 numbers it.
pub const IMPLICIT_DENY_V4: u16 = 32767;
/// The rule `*` of an IPv6 ACL, as EC2 numbers it.
pub const IMPLICIT_DENY_V6: u16 = 32768;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Which way a packet crosses the subnet's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Into the subnet.
    Ingress,
    /// Out of the subnet.
    Egress,
}

impl Direction {
    /// The word for it in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// The way of the answers.
    fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

/// What an ACL or a security group does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Lets it pass.
    Allow,
    /// Drops it.
    Deny,
    /// Depends on what flow logs do not record.
    Undecidable,
}

impl Action {
    /// The word for it in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Undecidable => "undecidable",
        }
    }
}

/// What an ACL does with a packet, and the first rule that decides it or may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// What happens to the packet.
    pub action: Action,
    /// The rule; 32767 and 32768 are the implicit deny.
    pub rule_number: u16,
}

/// A packet as a flow log shows it, from the subnet's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Into the subnet or out of it.
    pub direction: Direction,
    /// The IANA number.
    pub protocol: u8,
    /// The other end: the source on ingress, the destination on egress.
    pub remote: IpAddr,
    /// The destination port, in both directions; `None` if it is not recorded.
    pub dst_port: Option<u16>,
}

/// A rule of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Lower numbers come first.
    pub number: u16,
    /// The IANA number; `None` for every protocol.
    pub protocol: Option<u8>,
    /// The other end.
    pub cidr: IpNet,
    /// Destination ports; `None` for every port and for protocols without.
    pub ports: Option<RangeInclusive<u16>>,
    /// The ICMP type and code that the rule is for, -1 for any; `None` for every type and for protocols without.
    pub icmp: Option<(i32, i32)>,
    /// True for allow, false for deny.
    pub allows: bool,
}

/// Whether a rule matches a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    No,
    Maybe,
    Yes,
}

impl Rule {
    /// Reads a rule; `None` for one without a readable CIDR, protocol or number, which EC2 does not print.
    pub fn from_entry(entry: &NetworkAclEntry) -> Option<Self> {
        let cidr = entry
            .cidr_block
            .as_ref()
            .or(entry.ipv6_cidr_block.as_ref())?;
        let protocol = protocol(entry.protocol.as_deref()?)?;
        // AWS ignores ports of a rule for all protocols, and of protocols that have none.
        let has_ports = matches!(protocol, Some(TCP | UDP));
        let port = |port: Option<i32>, default: u16| match port {
            Some(port) => u16::try_from(port).unwrap_or(default),
            None => default,
        };
        let range = entry
            .port_range
            .as_ref()
            .map(|range| port(range.from, 0)..=port(range.to, u16::MAX));
        let has_types = matches!(protocol, Some(ICMP | ICMPV6));
        let icmp = entry
            .icmp_type_code
            .as_ref()
            .map(|icmp| (icmp.r#type.unwrap_or(-1), icmp.code.unwrap_or(-1)));
        Some(Self {
            number: u16::try_from(entry.rule_number).ok()?,
            protocol,
            cidr: cidr.parse::<IpNet>().ok()?.trunc(),
            ports: range.filter(|range| has_ports && *range != (0..=u16::MAX)),
            icmp: icmp.filter(|icmp| has_types && *icmp != (-1, -1)),
            allows: entry.rule_action.as_deref() == Some("allow"),
        })
    }

    fn matches(&self, packet: &Packet) -> Match {
        let is_of_protocol = |protocol: u8| protocol == packet.protocol;
        if !self.protocol.is_none_or(is_of_protocol) {
            return Match::No;
        }
        match ports_match(self.ports.as_ref(), packet.dst_port, self.icmp.is_some()) {
            // An IPv4 CIDR holds no IPv6 address, so that rules of one family never match the other's packets.
            found if found != Match::No && self.cidr.contains(&packet.remote) => found,
            _ => Match::No,
        }
    }
}

/// The number of a rule's protocol; the inner `None` for every protocol, the outer for what is none.
fn protocol(word: &str) -> Option<Option<u8>> {
    Some(match word {
        "-1" | "all" => None,
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        "icmp" => Some(ICMP),
        "icmpv6" => Some(ICMPV6),
        number => Some(number.parse().ok()?),
    })
}

/// Whether a packet of a rule's protocol is of its ports, or may be of its ICMP type.
fn ports_match(
    ports: Option<&RangeInclusive<u16>>,
    dst_port: Option<u16>,
    is_icmp_specific: bool,
) -> Match {
    match (ports, dst_port) {
        (Some(ports), Some(port)) if !ports.contains(&port) => Match::No,
        (Some(_), None) => Match::Maybe,
        _ if is_icmp_specific => Match::Maybe,
        _ => Match::Yes,
    }
}

/// A network ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nacl {
    /// Its id.
    pub id: Arc<str>,
    /// Its VPC.
    pub vpc_id: Option<Arc<str>>,
    /// True for the VPC's default ACL.
    pub is_default: bool,
    /// The subnets that it guards.
    pub subnet_ids: Vec<Arc<str>>,
    /// Rules for packets into the subnet, by number, without the implicit deny.
    pub ingress: Vec<Rule>,
    /// Rules for packets out of the subnet, by number, without the implicit deny.
    pub egress: Vec<Rule>,
}

impl Nacl {
    /// Reads an ACL.
    pub fn from_record(record: &NetworkAcl) -> Self {
        let rules = |egress: bool| {
            let entries = record.entries.iter().filter(|entry| entry.egress == egress);
            let mut rules: Vec<_> = entries
                .filter_map(Rule::from_entry)
                .filter(|rule| rule.number < IMPLICIT_DENY_V4)
                .collect();
            rules.sort_by_key(|rule| rule.number);
            rules
        };
        let subnet_ids = record
            .associations
            .iter()
            .filter_map(|association| association.subnet_id.as_deref());
        Self {
            id: record.network_acl_id.as_str().into(),
            vpc_id: record.vpc_id.as_deref().map(Into::into),
            is_default: record.is_default,
            subnet_ids: subnet_ids.map(Into::into).collect(),
            ingress: rules(false),
            egress: rules(true),
        }
    }

    /// The rules of one direction, by number.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// What the ACL does with a packet: the first rule that matches, else the implicit deny.
    ///
    /// It says nothing about packets that stay in their subnet: those no ACL sees.
    pub fn evaluate(&self, packet: &Packet) -> Verdict {
        evaluate(self.rules(packet.direction), packet)
    }
}

/// What rules, in order of their numbers, do with a packet of their direction.
pub fn evaluate(rules: &[Rule], packet: &Packet) -> Verdict {
    let implicit = match Family::of(packet.remote) {
        Family::V4 => IMPLICIT_DENY_V4,
        Family::V6 => IMPLICIT_DENY_V6,
    };
    let mut first_maybe: Option<&Rule> = None;
    let mut maybe_allows = false;
    let mut maybe_denies = false;
    let (mut allows, mut number) = (false, implicit);
    for rule in rules {
        match rule.matches(packet) {
            Match::No => {}
            Match::Maybe => {
                first_maybe = first_maybe.or(Some(rule));
                maybe_allows |= rule.allows;
                maybe_denies |= !rule.allows;
            }
            Match::Yes => {
                (allows, number) = (rule.allows, rule.number);
                break;
            }
        }
    }
    let disagrees = if allows { maybe_denies } else { maybe_allows };
    match first_maybe {
        Some(rule) if disagrees => Verdict {
            action: Action::Undecidable,
            rule_number: rule.number,
        },
        _ => Verdict {
            action: if allows { Action::Allow } else { Action::Deny },
            rule_number: number,
        },
    }
}

#[cfg(test)]
mod tests;
