//! Security groups as AWS evaluates them: they only allow, and a packet passes that any group of the interface allows.
//!
//! They are stateful: who calls asks for the packets that open a connection, since their answers pass unasked (Amazon VPC User Guide,
//! "Security group rules", "Security group connection tracking"). A reference to another group means the interfaces that carry it, in the
//! VPC or in a peer, by their private addresses.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Action, Direction, ICMP, ICMPV6, Match, Packet, TCP, UDP, ports_match, protocol};
use crate::topology::model::SecurityGroupRule;
use crate::topology::{Interface, InterfaceKind, Network, Scope};

/// The other end of a packet, as far as references to groups ask.
#[derive(Debug, Clone, Copy)]
pub struct Far<'n> {
    /// Where it is.
    pub scope: Scope,
    /// The interface that has the address, if it is known.
    pub interface: Option<&'n Interface>,
    /// The VPC that holds it.
    pub vpc_id: Option<&'n str>,
}

/// Whom a rule lets in, or out to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Peers<'n> {
    Nets(Vec<IpNet>),
    Group {
        id: &'n str,
        vpc_id: Option<&'n str>,
    },
    /// A prefix list whose entries are not known.
    Unknown,
}

/// A rule of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule<'n> {
    /// The IANA number; `None` for every protocol.
    protocol: Option<u8>,
    /// Destination ports; `None` for every port and for protocols without.
    ports: Option<RangeInclusive<u16>>,
    /// True if the rule is for one ICMP type or code only.
    is_icmp_specific: bool,
    peers: Peers<'n>,
}

impl<'n> Rule<'n> {
    /// Reads a rule; `None` for one without protocol or peer, which EC2 does not print.
    fn of(network: &'n Network, record: &'n SecurityGroupRule) -> Option<Self> {
        let protocol = protocol(record.ip_protocol.as_deref()?)?;
        // What ports are to TCP and UDP, type and code are to ICMP; -1 is any.
        let number = |value: Option<i32>| value.filter(|value| *value != -1);
        let (from, to) = (number(record.from_port), number(record.to_port));
        let port = |port: Option<i32>, default: u16| {
            port.map_or(default, |port| u16::try_from(port).unwrap_or(default))
        };
        let has_ports = matches!(protocol, Some(TCP | UDP));
        let range = port(from, 0)..=port(to, u16::MAX);
        let net = |cidr: &str| cidr.parse::<IpNet>().map(|net| net.trunc()).ok();
        let cidr = record.cidr_ipv4.as_ref().or(record.cidr_ipv6.as_ref());
        let referenced = record.referenced_group_info.as_ref();
        let referenced = referenced.and_then(|group| group.group_id.as_deref());
        let peers = match (cidr, &record.prefix_list_id, referenced) {
            (Some(cidr), ..) => Peers::Nets(vec![net(cidr)?]),
            (None, Some(list), _) => match network.prefix_list(list) {
                Some(nets) => Peers::Nets(nets),
                None => Peers::Unknown,
            },
            (None, None, Some(id)) => Peers::Group {
                id,
                vpc_id: network
                    .security_group(id)
                    .and_then(|group| group.vpc_id.as_deref()),
            },
            (None, None, None) => return None,
        };
        Some(Self {
            protocol,
            ports: has_ports
                .then_some(range)
                .filter(|range| *range != (0..=u16::MAX)),
            is_icmp_specific: matches!(protocol, Some(ICMP | ICMPV6))
                && (from.is_some() || to.is_some()),
            peers,
        })
    }

    fn matches(&self, packet: &Packet, far: &Far<'_>) -> Match {
        if self
            .protocol
            .is_some_and(|protocol| protocol != packet.protocol)
        {
            return Match::No;
        }
        let ports = ports_match(self.ports.as_ref(), packet.dst_port, self.is_icmp_specific);
        let peers = match &self.peers {
            _ if ports == Match::No => Match::No,
            // An IPv4 CIDR holds no IPv6 address.
            Peers::Nets(nets) if nets.iter().any(|net| net.contains(&packet.remote)) => Match::Yes,
            Peers::Nets(_) => Match::No,
            Peers::Group { id, vpc_id } => carries(far, id, *vpc_id),
            Peers::Unknown => Match::Maybe,
        };
        match (ports, peers) {
            (Match::No, _) | (_, Match::No) => Match::No,
            (Match::Yes, Match::Yes) => Match::Yes,
            _ => Match::Maybe,
        }
    }
}

/// Whether the other end is an interface that carries a group.
fn carries(far: &Far<'_>, group_id: &str, of_vpc: Option<&str>) -> Match {
    if !matches!(far.scope, Scope::Vpc | Scope::Peer | Scope::Transit) {
        return Match::No;
    }
    // Interfaces carry groups of their own VPC. (VPCs may share a group; then it is looked for on the interface.)
    let is_elsewhere = || {
        of_vpc
            .zip(far.vpc_id)
            .is_some_and(|(one, other)| one != other)
    };
    let Some(interface) = far.interface else {
        return if is_elsewhere() {
            Match::No
        } else {
            Match::Maybe
        };
    };
    let groups = &interface.record.groups;
    let has = groups
        .iter()
        .any(|group| group.group_id.as_deref() == Some(group_id));
    match far.scope {
        // References over a transit gateway hold only where both attachments allow them.
        Scope::Transit if has => Match::Maybe,
        _ if has => Match::Yes,
        _ if groups.is_empty() && !needs_no_group(interface) && !is_elsewhere() => Match::Maybe,
        _ => Match::No,
    }
}

/// Whether an interface without a group is one of those that have none, or one whose groups are not known: every other has at least one.
fn needs_no_group(interface: &Interface) -> bool {
    matches!(
        interface.kind(),
        InterfaceKind::Nat
            | InterfaceKind::RegionalNat
            | InterfaceKind::TransitGateway
            | InterfaceKind::NetworkLoadBalancer
            | InterfaceKind::GatewayLoadBalancer
            | InterfaceKind::GatewayLoadBalancerEndpoint
    )
}

/// The rules of one security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'n> {
    ingress: Vec<Rule<'n>>,
    egress: Vec<Rule<'n>>,
}

impl<'n> Group<'n> {
    /// A group by id; `None` where its rules are not known.
    pub fn of(network: &'n Network, id: &str) -> Option<Self> {
        let records = &network.security_group(id)?.rules;
        let rules = |is_egress: bool| {
            records
                .iter()
                .filter(|record| record.is_egress == is_egress)
                .filter_map(|record| Rule::of(network, record))
                .collect()
        };
        Some(Self {
            ingress: rules(false),
            egress: rules(true),
        })
    }
}

/// The security groups of an interface.
#[derive(Debug, Clone)]
pub struct Guard<'n> {
    groups: Vec<Arc<Group<'n>>>,
    /// False for an interface that no group guards.
    is_closed: bool,
    /// False where the rules of some group are not known.
    is_whole: bool,
}

impl<'n> Guard<'n> {
    /// The guard of an interface; `None` where its groups are not known. `find` gives a group by id, `None` where its rules are not known.
    pub fn of(
        interface: &'n Interface,
        mut find: impl FnMut(&'n str) -> Option<Arc<Group<'n>>>,
    ) -> Option<Self> {
        let references = &interface.record.groups;
        let is_closed = !references.is_empty();
        if !is_closed && !needs_no_group(interface) {
            return None;
        }
        let groups: Vec<_> = references
            .iter()
            .filter_map(|group| find(group.group_id.as_deref()?))
            .collect();
        Some(Self {
            is_whole: groups.len() == references.len(),
            groups,
            is_closed,
        })
    }

    /// What the groups do with a packet that opens a connection; `None` where none is known to allow it and some are not known.
    pub fn evaluate(&self, packet: &Packet, far: &Far<'_>) -> Option<Action> {
        if !self.is_closed {
            return Some(Action::Allow);
        }
        let rules = self.groups.iter().flat_map(|group| match packet.direction {
            Direction::Ingress => &group.ingress,
            Direction::Egress => &group.egress,
        });
        let mut action = Action::Deny;
        for rule in rules {
            match rule.matches(packet, far) {
                Match::Yes => return Some(Action::Allow),
                Match::Maybe => action = Action::Undecidable,
                Match::No => {}
            }
        }
        self.is_whole.then_some(action)
    }
}

#[cfg(test)]
mod tests;
