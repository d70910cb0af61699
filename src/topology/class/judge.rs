//! One subnet's judgement: what each line of its route table makes of it, and which of them counts.

use std::cmp::Reverse;

use ipnet::IpNet;

use super::{Class, Classified};
use crate::topology::Family;
use crate::topology::network::{Network, Subnet};
use crate::topology::resolve::is_private;
use crate::topology::route::{Line, RouteTable, RouteTarget};

/// A packet is followed through this many appliances; a longer way is a loop.
const MOST_HOPS: usize = 4;

/// A reason names this many routes that do nothing; the rest are counted.
const MOST_REMARKS: usize = 3;

/// Who uses the routes: Block Public Access treats what only opens connections outwards better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    Host,
    NatGateway,
}

/// A class, and what it was judged by.
#[derive(Debug)]
pub(in crate::topology) struct Judged<'n> {
    /// Every line of the subnet's family, in the table's order; none where there is no table.
    pub(in crate::topology) verdicts: Vec<(&'n Line, Verdict)>,
    /// The line that counts, and the other half where it is half of a default route.
    pub(in crate::topology) deciding: Vec<&'n Line>,
    pub(in crate::topology) classified: Classified,
}

/// What a line does for the class.
#[derive(Debug)]
pub(in crate::topology) enum Verdict {
    /// It steers traffic inside the VPC, and says nothing of the outside.
    Inside,
    /// It does nothing, and why: the end of a sentence about it.
    Ignored(String),
    /// It leads out.
    Leads(Opinion),
}

/// What one line of a table makes of the subnet: the class, and what there is to say about the target.
#[derive(Debug)]
pub(in crate::topology) struct Opinion {
    pub(in crate::topology) class: Class,
    pub(in crate::topology) about: String,
}

/// Judges a subnet by the route table in force.
pub(in crate::topology) fn judge<'n>(
    network: &'n Network,
    subnet: &'n Subnet,
    family: Family,
) -> Judged<'n> {
    of_subnet(network, subnet, family, User::Host, 0)
}

/// Judges a subnet as a NAT gateway in it sees it: Block Public Access may let it out, and hosts not.
pub(in crate::topology) fn judge_for_nat<'n>(
    network: &'n Network,
    subnet: &'n Subnet,
) -> Judged<'n> {
    of_subnet(network, subnet, Family::V4, User::NatGateway, 0)
}

fn of_subnet<'n>(
    network: &'n Network,
    subnet: &'n Subnet,
    family: Family,
    user: User,
    hops: usize,
) -> Judged<'n> {
    let Some(table) = subnet.table.map(|table| &network.tables[table]) else {
        let vpc = subnet.vpc_id.as_deref().unwrap_or("its VPC");
        let reason = format!(
            "no route table that applies is in the topology: neither one of its own nor the main one of {vpc}"
        );
        return Judged::unknown(reason);
    };
    let judge = Judge {
        network,
        subnet,
        family,
        user,
        hops,
        block: block_mode(network, subnet).map(|(mode, _)| mode),
        cidrs: subnet.vpc.map_or(&[], |vpc| &network.vpcs[vpc].cidrs),
    };
    judge.table(table)
}

impl Judged<'_> {
    fn unknown(reason: String) -> Self {
        Self {
            verdicts: Vec::new(),
            deciding: Vec::new(),
            classified: Classified {
                class: Class::Unknown,
                reason,
            },
        }
    }
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::topology) enum SetOn {
    Subnet,
    Vpc,
}

/// What Block Public Access does to a subnet; the subnet's own state, where it has one, is the effective one.
pub(in crate::topology) fn block_mode<'n>(
    network: &'n Network,
    subnet: &'n Subnet,
) -> Option<(&'n str, SetOn)> {
    let of_vpc = || {
        network.vpcs[subnet.vpc?]
            .record
            .as_ref()?
            .block_public_access_states
            .internet_gateway_block_mode
            .as_deref()
    };
    let own = subnet
        .record
        .block_public_access_states
        .internet_gateway_block_mode
        .as_deref()
        .map(|mode| (mode, SetOn::Subnet));
    let mode = own.or_else(|| Some((of_vpc()?, SetOn::Vpc)));
    mode.filter(|(mode, _)| mode.starts_with("block-"))
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

impl<'n> Judge<'n> {
    fn table(&self, table: &'n RouteTable) -> Judged<'n> {
        let name = self.name_of(table);
        if table.lines.is_empty() {
            return Judged::unknown(format!("{name} lists no routes in the topology"));
        }
        let verdicts: Vec<(&Line, Verdict)> = table
            .lines
            .iter()
            .filter(|line| line.family == self.family)
            .map(|line| (line, self.verdict(line)))
            .collect();
        // Black holes first: what is not there explains more than what is there and does nothing.
        let is_gone = |line: &Line| line.blackhole || line.target == RouteTarget::None;
        let mut ignored: Vec<(&Line, &String)> = Vec::new();
        let mut opinions: Vec<(&Line, &Opinion)> = Vec::new();
        for (line, verdict) in verdicts.iter().map(|(line, verdict)| (*line, verdict)) {
            match verdict {
                Verdict::Inside => {}
                Verdict::Ignored(remark) => ignored.push((line, remark)),
                Verdict::Leads(opinion) => opinions.push((line, opinion)),
            }
        }
        ignored.sort_by_key(|(line, _)| !is_gone(line));
        let remarks: Vec<String> = ignored
            .iter()
            .map(|(line, remark)| format!("{} to {} {remark}", line.destination, line.target_id))
            .collect();
        // The class first; of lines that agree the default route, else the widest.
        opinions.sort_by_key(|(line, opinion)| (precedence(opinion.class), Reverse(width(line))));
        let mut deciding = Vec::new();
        let classified = match opinions.first() {
            Some((line, opinion)) => {
                let split = split_default(line, opinions.iter().map(|(line, _)| *line));
                deciding.push(*line);
                deciding.extend(split);
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
        Judged {
            verdicts,
            deciding,
            classified: Classified { class, reason },
        }
    }

    fn verdict(&self, line: &Line) -> Verdict {
        if !self.leads_outside(line) {
            return Verdict::Inside;
        }
        if line.blackhole || line.target == RouteTarget::None {
            return Verdict::Ignored("is a blackhole and ignored".to_owned());
        }
        match self.opinion(line) {
            Ok(Some(opinion)) => Verdict::Leads(opinion),
            Ok(None) => Verdict::Inside,
            Err(remark) => Verdict::Ignored(remark),
        }
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
            RouteTarget::Peering => self.over_peering(id)?,
            RouteTarget::OdbNetwork => Opinion::plain(Class::PeeredOnly),
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

    /// Over a peering that has ended nothing passes, whatever the route's state says.
    fn over_peering(&self, id: &str) -> Result<Option<Opinion>, String> {
        match self.network.peering(id) {
            Some(peering) if !peering.is_active => {
                Err("is ignored: the peering is not active".to_owned())
            }
            _ => Ok(Opinion::plain(Class::PeeredOnly)),
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
        of_subnet(self.network, subnet, family, user, self.hops + 1)
            .classified
            .class
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
