//! Subnet classes: how a subnet reaches the outside, judged by its active routes, and why in words.
//!
//! Of all that applies the first in this order counts, IPv4 and IPv6 each on their own: `public`,
//! `public_via_inspection`, `private_nat`, `private_nat_private`, `private_eigw`, `private_tgw`, `vpn_only`,
//! `peered_only`, `endpoint_only`, `isolated`; `unknown` where routes are missing.

use std::cmp::Reverse;

use ipnet::IpNet;

use super::Family;
use super::network::{Network, Subnet};
use super::resolve::is_private;
use super::route::{Line, RouteTable, RouteTarget};

/// A packet is followed through this many appliances; a longer way is a loop.
const MOST_HOPS: usize = 4;

/// A reason names this many routes that do nothing; the rest are counted.
const MOST_REMARKS: usize = 3;

/// How a subnet reaches the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A route to an internet or carrier gateway.
    Public,
    /// Through a firewall or appliance whose subnet has one.
    PublicViaInspection,
    /// Through a NAT gateway or NAT instance that has one.
    PrivateNat,
    /// Through a private NAT gateway: not the internet by itself.
    PrivateNatPrivate,
    /// Outbound IPv6 only.
    PrivateEigw,
    /// Through a transit gateway or core network.
    PrivateTgw,
    /// Only to what lies behind a virtual private gateway, local gateway or VPN appliance.
    VpnOnly,
    /// Only to peered VPCs.
    PeeredOnly,
    /// Only to S3 or DynamoDB.
    EndpointOnly,
    /// Only within its VPC.
    Isolated,
    /// The topology does not have the routes.
    Unknown,
}

impl Class {
    /// The word for it in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::PublicViaInspection => "public_via_inspection",
            Self::PrivateNat => "private_nat",
            Self::PrivateNatPrivate => "private_nat_private",
            Self::PrivateEigw => "private_eigw",
            Self::PrivateTgw => "private_tgw",
            Self::VpnOnly => "vpn_only",
            Self::PeeredOnly => "peered_only",
            Self::EndpointOnly => "endpoint_only",
            Self::Isolated => "isolated",
            Self::Unknown => "unknown",
        }
    }
}

/// A class and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Classified {
    pub(super) class: Class,
    pub(super) reason: String,
}

/// Who uses the routes: Block Public Access treats what only opens connections outwards better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    Host,
    NatGateway,
}

/// Classifies every subnet.
pub(super) fn classify(network: &mut Network) {
    let classes: Vec<_> = network
        .subnets
        .iter()
        .map(|subnet| {
            let class = |family| {
                subnet
                    .has(family)
                    .then(|| of_subnet(network, subnet, family, User::Host, 0))
            };
            (class(Family::V4), class(Family::V6))
        })
        .collect();
    for (subnet, (class4, class6)) in network.subnets.iter_mut().zip(classes) {
        subnet.class4 = class4;
        subnet.class6 = class6;
    }
}

fn of_subnet(
    network: &Network,
    subnet: &Subnet,
    family: Family,
    user: User,
    hops: usize,
) -> Classified {
    let Some(table) = subnet.table.map(|table| &network.tables[table]) else {
        let vpc = subnet.vpc_id.as_deref().unwrap_or("its VPC");
        let reason = format!(
            "no route table that applies is in the topology: neither one of its own nor the main one of {vpc}"
        );
        return Classified {
            class: Class::Unknown,
            reason,
        };
    };
    let judge = Judge {
        network,
        subnet,
        family,
        user,
        hops,
        block: block_mode(network, subnet),
        cidrs: subnet.vpc.map_or(&[], |vpc| &network.vpcs[vpc].cidrs),
    };
    judge.table(table)
}

/// What Block Public Access does to a subnet; the subnet's own state, where it has one, is the effective one.
fn block_mode<'n>(network: &'n Network, subnet: &'n Subnet) -> Option<&'n str> {
    let of_vpc = || {
        network.vpcs[subnet.vpc?]
            .record
            .as_ref()?
            .block_public_access_states
            .internet_gateway_block_mode
            .as_deref()
    };
    let mode = subnet
        .record
        .block_public_access_states
        .internet_gateway_block_mode
        .as_deref()
        .or_else(of_vpc);
    mode.filter(|mode| mode.starts_with("block-"))
}

struct Judge<'n> {
    network: &'n Network,
    subnet: &'n Subnet,
    family: Family,
    user: User,
    hops: usize,
    block: Option<&'n str>,
    cidrs: &'n [IpNet],
}

/// What one line of a table makes of the subnet: the class, and what there is to say about the target.
struct Opinion {
    class: Class,
    about: String,
}

impl Opinion {
    fn plain(class: Class) -> Option<Self> {
        Some(Self {
            class,
            about: String::new(),
        })
    }

    fn about(class: Class, about: impl Into<String>) -> Option<Self> {
        Some(Self {
            class,
            about: about.into(),
        })
    }
}

impl Judge<'_> {
    fn table(&self, table: &RouteTable) -> Classified {
        let lines: Vec<&Line> = table
            .lines
            .iter()
            .filter(|line| line.family == self.family)
            .collect();
        let name = self.name_of(table);
        if table.lines.is_empty() {
            return Classified {
                class: Class::Unknown,
                reason: format!("{name} lists no routes in the topology"),
            };
        }
        let mut remarks = Vec::new();
        let outside: Vec<&Line> = lines
            .iter()
            .copied()
            .filter(|line| self.leads_outside(line))
            .collect();
        for line in outside
            .iter()
            .filter(|line| line.blackhole || line.target == RouteTarget::None)
        {
            remarks.push(format!(
                "{} to {} is a blackhole and ignored",
                line.destination, line.target_id
            ));
        }
        let active = outside
            .iter()
            .copied()
            .filter(|line| !line.blackhole && line.target != RouteTarget::None);
        let mut opinions: Vec<(&Line, Opinion)> = Vec::new();
        for line in active {
            match self.opinion(line) {
                Ok(Some(opinion)) => opinions.push((line, opinion)),
                Ok(None) => {}
                Err(remark) => remarks.push(format!(
                    "{} to {} {remark}",
                    line.destination, line.target_id
                )),
            }
        }
        // The class first; of lines that agree the default route, else the widest.
        opinions.sort_by_key(|(line, opinion)| (precedence(opinion.class), Reverse(width(line))));
        let classified = match opinions.first() {
            Some((line, opinion)) => {
                let split = split_default(line, opinions.iter().map(|(line, _)| *line));
                let destination = match split {
                    Some(other) => format!("{} and {}", line.destination, other.destination),
                    None => line.destination.to_string(),
                };
                let mut reason = format!("{name} sends {destination} to {}", line.target_id);
                if !opinion.about.is_empty() {
                    reason.push_str(&format!(" ({})", opinion.about));
                }
                Classified {
                    class: opinion.class,
                    reason,
                }
            }
            None => Classified {
                class: Class::Isolated,
                reason: format!("{name} has only local routes"),
            },
        };
        let Classified { class, mut reason } = classified;
        if class == Class::Isolated && !remarks.is_empty() {
            reason = format!("{name} has no route that leads out of the VPC");
        }
        let more = remarks.len().saturating_sub(MOST_REMARKS);
        for remark in remarks.into_iter().take(MOST_REMARKS) {
            reason.push_str("; ");
            reason.push_str(&remark);
        }
        if more > 0 {
            reason.push_str(&format!("; and {more} more"));
        }
        Classified { class, reason }
    }

    fn name_of(&self, table: &RouteTable) -> String {
        match (self.subnet.is_explicit, table.is_main) {
            (false, _) => format!("{} (main, implicit)", table.id),
            (true, true) => format!("{} (main, explicit)", table.id),
            (true, false) => table.id.to_string(),
        }
    }

    /// A route whose whole destination is in the VPC steers traffic inside it and says nothing of the outside.
    fn leads_outside(&self, line: &Line) -> bool {
        let is_inside = |net: &IpNet| self.cidrs.iter().any(|cidr| cidr.contains(net));
        line.target != RouteTarget::Local
            && (line.nets.is_empty() || !line.nets.iter().all(is_inside))
    }

    /// What a line makes of the subnet; an error is a remark on why it does nothing.
    fn opinion(&self, line: &Line) -> Result<Option<Opinion>, String> {
        let id = line.target_id.as_ref();
        Ok(match line.target {
            RouteTarget::InternetGateway | RouteTarget::CarrierGateway => {
                self.unless_blocked(self.user == User::NatGateway)?;
                Opinion::plain(Class::Public)
            }
            RouteTarget::EgressOnlyInternetGateway => {
                self.unless_blocked(true)?;
                Opinion::plain(Class::PrivateEigw)
            }
            RouteTarget::NatGateway => self.over_nat_gateway(id)?,
            RouteTarget::NatInstance | RouteTarget::Interface => self.over_interface(line, id)?,
            RouteTarget::InspectionEndpoint => self.over_endpoint(line, id)?,
            RouteTarget::TransitGateway | RouteTarget::CoreNetwork => {
                Opinion::plain(Class::PrivateTgw)
            }
            RouteTarget::VpnGateway | RouteTarget::LocalGateway => Opinion::plain(Class::VpnOnly),
            RouteTarget::Peering | RouteTarget::OdbNetwork => Opinion::plain(Class::PeeredOnly),
            RouteTarget::GatewayEndpoint => Opinion::plain(Class::EndpointOnly),
            RouteTarget::Local | RouteTarget::None => None,
        })
    }

    /// `block-ingress` lets connections out that cannot come in: those of NAT gateways and egress-only gateways.
    fn unless_blocked(&self, is_outbound_only: bool) -> Result<(), String> {
        match self.block {
            Some("block-ingress") if is_outbound_only => Ok(()),
            Some(mode) => Err(format!("is blocked by Block Public Access ({mode})")),
            None => Ok(()),
        }
    }

    fn over_nat_gateway(&self, id: &str) -> Result<Option<Opinion>, String> {
        let Some(nat) = self.network.nat_gateway(id) else {
            return Ok(Opinion::about(
                Class::PrivateNat,
                "not in the topology, taken as public",
            ));
        };
        if !nat.is_available {
            return Err(format!(
                "is ignored: it is {}",
                nat.record.state.as_deref().unwrap_or("not available")
            ));
        }
        if !nat.is_public {
            return Ok(Opinion::about(
                Class::PrivateNatPrivate,
                "private connectivity: not the internet by itself",
            ));
        }
        if nat.is_regional {
            let table = nat.table.map(|table| &self.network.tables[table]);
            let reaches_internet = table.is_none_or(|table| {
                table
                    .lines
                    .iter()
                    .any(|line| line.target == RouteTarget::InternetGateway && !line.blackhole)
            });
            let about = match (table, reaches_internet) {
                (None, _) => "regional".to_owned(),
                (Some(table), true) => {
                    format!("regional, with an internet gateway in {}", table.id)
                }
                (Some(table), false) => {
                    return Err(format!(
                        "leads nowhere: {} has no internet gateway",
                        table.id
                    ));
                }
            };
            return Ok(Opinion::about(Class::PrivateNat, about));
        }
        let Some(subnet) = nat.subnet.map(|subnet| &self.network.subnets[subnet]) else {
            let subnet = nat.record.subnet_id.as_deref().unwrap_or("its subnet");
            return Ok(Opinion::about(
                Class::PrivateNat,
                format!("{subnet} is not in the topology, taken as public"),
            ));
        };
        // A public NAT gateway translates to IPv4, whatever came to it.
        let beyond = self.beyond(subnet, Family::V4, User::NatGateway);
        match beyond {
            Class::Public => Ok(Opinion::about(
                Class::PrivateNat,
                format!("in {}, which is public", subnet.id),
            )),
            Class::PublicViaInspection => Ok(Opinion::about(
                Class::PrivateNat,
                format!("in {}, which is public via inspection", subnet.id),
            )),
            Class::Unknown => Ok(Opinion::about(
                Class::PrivateNat,
                format!(
                    "in {}, whose routes are not known, taken as public",
                    subnet.id
                ),
            )),
            other => Err(format!(
                "leads nowhere: {} is {}, not public",
                subnet.id,
                other.as_str()
            )),
        }
    }

    fn over_interface(&self, line: &Line, id: &str) -> Result<Option<Opinion>, String> {
        if !is_internet(line) {
            return Ok(Opinion::about(Class::VpnOnly, "an appliance in the VPC"));
        }
        let Some(interface) = self.network.interface(id) else {
            return Ok(Opinion::about(
                Class::Unknown,
                "an interface that is not in the topology",
            ));
        };
        let Some(subnet) = interface.subnet.map(|subnet| &self.network.subnets[subnet]) else {
            return Ok(Opinion::about(
                Class::Unknown,
                "an interface whose subnet is not in the topology",
            ));
        };
        let beyond = self.beyond(subnet, self.family, User::Host);
        Ok(match (line.target, beyond) {
            (RouteTarget::NatInstance, Class::Public) => Opinion::about(
                Class::PrivateNat,
                format!("a NAT instance in {}, which is public", subnet.id),
            ),
            (_, beyond) => via(beyond, "an appliance", &subnet.id),
        })
    }

    fn over_endpoint(&self, line: &Line, id: &str) -> Result<Option<Opinion>, String> {
        let subnet_id = self
            .network
            .endpoint(id)
            .and_then(|endpoint| endpoint.subnet_ids.first());
        let Some(subnet) = subnet_id.and_then(|id| self.network.subnet(id)) else {
            let about = "an inspection endpoint whose subnet is not in the topology";
            return if is_internet(line) {
                Ok(Opinion::about(Class::Unknown, about))
            } else {
                Err(format!("is {about}"))
            };
        };
        let beyond = self.beyond(subnet, self.family, self.user);
        match via(beyond, "an inspection endpoint", &subnet.id) {
            // Only what is meant for the internet makes a subnet public behind a firewall.
            Some(opinion) if opinion.class == Class::PublicViaInspection && !is_internet(line) => {
                Err(format!(
                    "is not for the internet, though {} is public",
                    subnet.id
                ))
            }
            opinion => Ok(opinion),
        }
    }

    fn beyond(&self, subnet: &Subnet, family: Family, user: User) -> Class {
        if self.hops >= MOST_HOPS {
            return Class::Unknown;
        }
        of_subnet(self.network, subnet, family, user, self.hops + 1).class
    }
}

/// What cannot be followed may lead to the internet, so that it hides everything but a certain `public`.
fn precedence(class: Class) -> (u8, Class) {
    let rank = match class {
        Class::Public => 0,
        Class::Unknown => 1,
        _ => 2,
    };
    (rank, class)
}

/// Behind something in another subnet, a subnet reaches what that subnet reaches.
fn via(beyond: Class, what: &str, subnet_id: &str) -> Option<Opinion> {
    let class = if beyond == Class::Public {
        Class::PublicViaInspection
    } else {
        beyond
    };
    Opinion::about(
        class,
        format!("{what} in {subnet_id}, which is {}", beyond.as_str()),
    )
}

/// True if a destination holds public addresses.
fn is_internet(line: &Line) -> bool {
    line.nets
        .iter()
        .any(|net| net.prefix_len() <= 1 || !is_private(net.network()))
}

/// The share of all addresses, as the shortest prefix; the default route is widest.
fn width(line: &Line) -> u8 {
    line.nets
        .iter()
        .map(|net| u8::MAX - net.prefix_len())
        .max()
        .unwrap_or(0)
}

/// The other half, where a line is one half of a default route.
fn split_default<'l>(line: &Line, mut others: impl Iterator<Item = &'l Line>) -> Option<&'l Line> {
    let is_half = |line: &Line| line.nets.len() == 1 && line.nets[0].prefix_len() == 1;
    if !is_half(line) {
        return None;
    }
    others.find(|other| {
        is_half(other) && other.target_id == line.target_id && other.destination != line.destination
    })
}

#[cfg(test)]
mod tests;
