//! Which rule decides a flow: every edge of a subnet that its packets cross, there and back, rule by rule in words.
//!
//! ```text
//! request   client's subnet, out ──> (NAT gateway's subnet, in and out) ──> server's subnet, in
//! reply     server's subnet, out ──> (NAT gateway's subnet, in and out) ──> client's subnet, in
//! ```
//!
//! ACLs are stateless, so the reply meets rules of its own, by the client's port. What stays in one subnet meets none.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::Serialize;
use thiserror::Error;

use super::words::number_words;
use super::{
    Action, Direction, Guarded, Match, Nacl, Packet, Rule, ports_words, protocol_words, rule_words,
};
use crate::topology::{Family, Interface, Network, RouteTarget, Scope, Subnet, Vantage, Vpc};

/// What a NAT gateway and clients of AWS's own services use (VPC User Guide, "Ephemeral ports").
const WHOLE_EPHEMERAL: RangeInclusive<u16> = 1024..=65535;

/// A flow to explain, and where an ambiguous address is looked for.
#[derive(Debug, Clone)]
pub struct Looked<'a> {
    /// The client.
    pub from: IpAddr,
    /// The server.
    pub to: IpAddr,
    /// The IANA number.
    pub protocol: u8,
    /// The server's port; `None` for protocols without.
    pub port: Option<u16>,
    /// The ports that the client may use.
    pub client_ports: RangeInclusive<u16>,
    /// The interface of one end.
    pub interface_id: Option<&'a str>,
    /// The subnet of one end.
    pub subnet_id: Option<&'a str>,
    /// The VPC of one end.
    pub vpc_id: Option<&'a str>,
}

/// Why a flow can't be followed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WalkError {
    /// The topology does not have what was named.
    #[error("`{flag} {id}`: the topology has no such {what}")]
    Unknown {
        /// The option.
        flag: &'static str,
        /// Its value.
        id: String,
        /// What it should have named.
        what: &'static str,
    },
    /// The named place holds neither end.
    #[error("neither {from} nor {to} is in {place}: expected the place of one end")]
    NotThere {
        /// The client.
        from: IpAddr,
        /// The server.
        to: IpAddr,
        /// The place.
        place: String,
    },
    /// No VPC has either end.
    #[error(
        "neither {from} nor {to} is in a VPC of the topology: no network ACL of it sees this flow"
    )]
    Nowhere {
        /// The client.
        from: IpAddr,
        /// The server.
        to: IpAddr,
    },
    /// Several VPCs have it.
    #[error("{addr} is in {} VPCs: say which with `--vpc`, `--subnet` or `--interface` (one of {})", vpcs.len(), vpcs.join(", "))]
    Ambiguous {
        /// The address.
        addr: IpAddr,
        /// The VPCs.
        vpcs: Vec<String>,
    },
}

/// One end of a flow.
#[derive(Debug, Clone, Serialize)]
pub struct EndWords {
    /// The address as ACLs see it.
    pub addr: String,
    /// What it is.
    pub words: String,
    /// Its subnet.
    pub subnet_id: Option<String>,
    /// Its VPC.
    pub vpc_id: Option<String>,
}

/// An edge of a subnet that packets cross.
#[derive(Debug, Clone, Serialize)]
pub struct Crossing {
    /// `request` or `reply`.
    pub packet: &'static str,
    /// The subnet.
    pub subnet_id: String,
    /// Its name.
    pub subnet_name: Option<String>,
    /// `ingress` or `egress`.
    pub direction: &'static str,
    /// The ACL; `None` where the topology does not have it.
    pub nacl_id: Option<String>,
    /// The other end.
    pub remote: String,
    /// The packet's destination ports.
    pub ports: Option<String>,
    /// What happens, once for each part of the ports.
    pub outcomes: Vec<Outcome>,
    /// Rule by rule, until it is decided.
    pub rules: Vec<String>,
}

/// What an ACL does with some of the ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The ports; `None` for protocols without.
    pub ports: Option<String>,
    /// `allow`, `deny` or `undecidable`.
    pub action: &'static str,
    /// The rule, 32767 and 32768 for the implicit deny.
    pub rule_number: u16,
}

/// A flow, followed.
#[derive(Debug, Clone, Serialize)]
pub struct Walk {
    /// Who opens it.
    pub client: EndWords,
    /// Whom it is for.
    pub server: EndWords,
    /// The protocol's number.
    pub protocol: u8,
    /// The server's port.
    pub port: Option<u16>,
    /// True if both ends are in one subnet.
    pub within_subnet: bool,
    /// The edges, in the order in which packets cross them.
    pub crossings: Vec<Crossing>,
    /// `allow`, `deny`, `undecidable`, or `partly` where it depends on the client's port; of request and reply together.
    pub verdict: &'static str,
    /// The verdict in a sentence.
    pub words: String,
}

/// Finds both ends: the one that is ours, and what the other is to it.
fn ends<'n>(
    network: &'n Network,
    looked: &Looked<'_>,
) -> Result<(Found<'n>, Found<'n>), WalkError> {
    let (from, to) = (looked.from, looked.to);
    let (vantage, local) = vantage(network, looked)?;
    let local_end = Found::local(network, vantage, local);
    let other = if local == from { to } else { from };
    let endpoint = network.resolve(&vantage, other);
    let owner = network
        .owner_of_public(other)
        .filter(|_| endpoint.interface.is_none());
    let other_end = match owner.filter(|owner| owner.vpc_id == local_end.vpc_id()) {
        Some(owner) => Found::of_interface(network, owner, other),
        None => Found {
            addr: other,
            public: None,
            subnet: endpoint.subnet,
            interface: endpoint.interface,
            vpc: endpoint.vpc,
            scope: endpoint.scope,
        },
    };
    Ok(match local == from {
        true => (local_end, other_end),
        false => (other_end, local_end),
    })
}

/// An end of a flow in the topology.
#[derive(Debug, Clone, Copy)]
struct Found<'n> {
    addr: IpAddr,
    /// The public address by which it was named.
    public: Option<IpAddr>,
    subnet: Option<&'n Subnet>,
    interface: Option<&'n Interface>,
    vpc: Option<&'n Vpc>,
    scope: Scope,
}

impl<'n> Found<'n> {
    fn vpc_id(&self) -> Option<std::sync::Arc<str>> {
        self.vpc.map(|vpc| std::sync::Arc::clone(&vpc.id))
    }

    fn local(network: &'n Network, vantage: Vantage<'n>, addr: IpAddr) -> Self {
        if let Some(owner) = network.owner_of_public(addr)
            && !owner.addresses.contains(&addr)
        {
            return Self::of_interface(network, owner, addr);
        }
        Self {
            addr,
            public: None,
            subnet: vantage.subnet,
            interface: vantage.interface,
            vpc: vantage.vpc,
            scope: Scope::Vpc,
        }
    }

    /// An interface, named by its public address: within the VPC packets carry the private one.
    fn of_interface(network: &'n Network, interface: &'n Interface, public: IpAddr) -> Self {
        let vantage = network.vantage(Some(&interface.id), None, None, None, None);
        let family = Family::of(public);
        let mut own = interface.addresses.iter();
        let private = own.find(|addr| Family::of(**addr) == family).copied();
        Self {
            addr: private.unwrap_or(public),
            public: private.filter(|private| *private != public).map(|_| public),
            subnet: vantage.subnet,
            interface: Some(interface),
            vpc: vantage.vpc,
            scope: Scope::Vpc,
        }
    }

    fn words(&self) -> EndWords {
        let mut words = match (self.interface, self.subnet) {
            (Some(interface), Some(subnet)) => format!("{} in {}", interface.id, named(subnet)),
            (Some(interface), None) => interface.id.to_string(),
            (None, Some(subnet)) => format!("an address of {}", named(subnet)),
            (None, None) => match self.scope {
                Scope::Vpc => "in no subnet of the VPC".to_owned(),
                Scope::Peer => "in a peered VPC".to_owned(),
                Scope::Transit => "over a transit gateway".to_owned(),
                Scope::OnPrem => "on premises".to_owned(),
                Scope::AwsService => "an AWS service".to_owned(),
                Scope::Internet => "the internet".to_owned(),
                Scope::Unrouted => "a private address that no route leads to".to_owned(),
                Scope::Special => "a special address".to_owned(),
            },
        };
        if let Some(public) = self.public {
            words.push_str(&format!(", named by its public address {public}"));
        }
        EndWords {
            addr: self.addr.to_string(),
            words,
            subnet_id: self.subnet.map(|subnet| subnet.id.to_string()),
            vpc_id: self.vpc.map(|vpc| vpc.id.to_string()),
        }
    }
}

fn named(subnet: &Subnet) -> String {
    match subnet.name.as_deref() {
        Some(name) => format!("{} ({name})", subnet.id),
        None => subnet.id.to_string(),
    }
}

/// Where the flow is seen from, and which of its ends is there.
fn vantage<'n>(
    network: &'n Network,
    looked: &Looked<'_>,
) -> Result<(Vantage<'n>, IpAddr), WalkError> {
    let (from, to) = (looked.from, looked.to);
    let unknown = |flag, id: &str, what| WalkError::Unknown {
        flag,
        id: id.to_owned(),
        what,
    };
    let not_there = |place: &str| WalkError::NotThere {
        from,
        to,
        place: place.to_owned(),
    };
    let first_in =
        |holds: &dyn Fn(IpAddr) -> bool| [from, to].into_iter().find(|addr| holds(*addr));
    if let Some(id) = looked.interface_id {
        let interface = network
            .interface(id)
            .ok_or_else(|| unknown("--interface", id, "interface"))?;
        let local = first_in(&|addr| interface.owns(addr)).ok_or_else(|| not_there(id))?;
        return Ok((
            network.vantage(Some(id), None, None, None, Some(local)),
            local,
        ));
    }
    if let Some(id) = looked.subnet_id {
        let subnet = network
            .subnet(id)
            .ok_or_else(|| unknown("--subnet", id, "subnet"))?;
        let holds = |addr: IpAddr| {
            let cidrs = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
            cidrs.into_iter().any(|net| net.contains(&addr))
        };
        let local = first_in(&holds).ok_or_else(|| not_there(id))?;
        let vpc_id = subnet.vpc_id.as_deref();
        return Ok((
            network.vantage(None, Some(id), vpc_id, None, Some(local)),
            local,
        ));
    }
    if let Some(id) = looked.vpc_id {
        let vpc = network.vpc(id).ok_or_else(|| unknown("--vpc", id, "VPC"))?;
        let local = first_in(&|addr| vpc.contains(addr)).ok_or_else(|| not_there(id))?;
        return Ok((
            network.vantage(None, None, Some(id), None, Some(local)),
            local,
        ));
    }
    for addr in [from, to] {
        if let Some(owner) = network.owner_of_public(addr) {
            return Ok((
                network.vantage(Some(&owner.id), None, None, None, Some(addr)),
                addr,
            ));
        }
        let vpcs: Vec<&Vpc> = network
            .vpcs()
            .iter()
            .filter(|vpc| vpc.contains(addr))
            .collect();
        match vpcs[..] {
            [] => {}
            [vpc] => {
                let vantage = network.vantage(None, None, Some(&vpc.id), None, Some(addr));
                return Ok((vantage, addr));
            }
            _ => {
                return Err(WalkError::Ambiguous {
                    addr,
                    vpcs: vpcs.iter().map(|vpc| vpc.id.to_string()).collect(),
                });
            }
        }
    }
    Err(WalkError::Nowhere { from, to })
}

/// Follows a flow through the ACLs on its way, there and back.
///
/// # Errors
/// When neither end can be placed.
pub fn walk(network: &Network, guarded: &Guarded, looked: &Looked<'_>) -> Result<Walk, WalkError> {
    let (client, server) = ends(network, looked)?;
    let same = |one: Option<&Subnet>, other: Option<&Subnet>| {
        one.zip(other)
            .is_some_and(|(one, other)| one.id == other.id)
    };
    let within_subnet = same(client.subnet, server.subnet);
    let mut steps: Vec<(&Subnet, Direction, IpAddr, Part)> = Vec::new();
    let nat = nat_between(network, &client, &server);
    if !within_subnet {
        let through = nat.filter(|nat| !same(Some(nat), client.subnet));
        steps.extend(
            client
                .subnet
                .map(|of| (of, Direction::Egress, server.addr, Part::Request)),
        );
        if let Some(nat) = through {
            steps.push((nat, Direction::Ingress, client.addr, Part::Request));
        }
        if let Some(nat) = nat {
            steps.push((nat, Direction::Egress, server.addr, Part::Request));
        }
        steps.extend(
            server
                .subnet
                .map(|of| (of, Direction::Ingress, client.addr, Part::Request)),
        );
        steps.extend(
            server
                .subnet
                .map(|of| (of, Direction::Egress, client.addr, Part::Reply)),
        );
        if let Some(nat) = nat {
            steps.push((nat, Direction::Ingress, server.addr, Part::ReplyToNat));
        }
        if let Some(nat) = through {
            steps.push((nat, Direction::Egress, client.addr, Part::Reply));
        }
        steps.extend(
            client
                .subnet
                .map(|of| (of, Direction::Ingress, server.addr, Part::Reply)),
        );
    }
    let crossings: Vec<Crossing> = steps
        .into_iter()
        .map(|(subnet, direction, remote, part)| {
            crossing(guarded, looked, subnet, direction, remote, part)
        })
        .collect();
    let (verdict, words) = conclude(within_subnet, &crossings);
    Ok(Walk {
        client: client.words(),
        server: server.words(),
        protocol: looked.protocol,
        port: looked.port,
        within_subnet,
        crossings,
        verdict,
        words,
    })
}

/// The subnet of the NAT gateway that the client's route leads through.
fn nat_between<'n>(
    network: &'n Network,
    client: &Found<'n>,
    server: &Found<'n>,
) -> Option<&'n Subnet> {
    if server.subnet.is_some() {
        return None;
    }
    let route = network.route(client.subnet?, server.addr)?;
    if route.target != RouteTarget::NatGateway {
        return None;
    }
    let nat = network.nat_gateway(route.target_id)?;
    network.subnet(nat.record.subnet_id.as_deref()?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Request,
    Reply,
    /// To the port that the NAT gateway chose.
    ReplyToNat,
}

fn crossing(
    guarded: &Guarded,
    looked: &Looked<'_>,
    subnet: &Subnet,
    direction: Direction,
    remote: IpAddr,
    part: Part,
) -> Crossing {
    let ports = looked.port.map(|port| match part {
        Part::Request => port..=port,
        Part::Reply => looked.client_ports.clone(),
        Part::ReplyToNat => WHOLE_EPHEMERAL,
    });
    let packet = Packet {
        direction,
        protocol: looked.protocol,
        remote,
        dst_port: None,
    };
    let nacl = guarded.of_subnet(&subnet.id);
    let (outcomes, rules) = match nacl {
        Some(nacl) => (
            outcomes(nacl, &packet, ports.as_ref()),
            trace(nacl, &packet, ports.as_ref()),
        ),
        None => (
            Vec::new(),
            vec!["its network ACL is not in the topology".to_owned()],
        ),
    };
    Crossing {
        packet: if part == Part::Request {
            "request"
        } else {
            "reply"
        },
        subnet_id: subnet.id.to_string(),
        subnet_name: subnet.name.as_deref().map(str::to_owned),
        direction: direction.as_str(),
        nacl_id: nacl.map(|nacl| nacl.id.to_string()),
        remote: remote.to_string(),
        ports: ports.as_ref().map(ports_words),
        outcomes,
        rules,
    }
}

/// What happens to packets to any of some ports: parts of them for which the same rule decides.
fn outcomes(nacl: &Nacl, packet: &Packet, ports: Option<&RangeInclusive<u16>>) -> Vec<Outcome> {
    let Some(ports) = ports else {
        let verdict = nacl.evaluate(packet);
        return vec![Outcome {
            ports: None,
            action: verdict.action.as_str(),
            rule_number: verdict.rule_number,
        }];
    };
    let mut starts = BTreeSet::from([*ports.start()]);
    for rule in nacl.rules(packet.direction) {
        if let Some(own) = &rule.ports {
            starts.insert(*own.start());
            starts.extend(own.end().checked_add(1));
        }
    }
    let starts: Vec<u16> = starts
        .into_iter()
        .filter(|start| ports.contains(start))
        .collect();
    let mut parts: Vec<(RangeInclusive<u16>, super::Verdict)> = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(*ports.end(), |next| next - 1);
        let verdict = nacl.evaluate(&Packet {
            dst_port: Some(*start),
            ..*packet
        });
        match parts.last_mut().filter(|(_, last)| *last == verdict) {
            Some((part, _)) => *part = *part.start()..=end,
            None => parts.push((*start..=end, verdict)),
        }
    }
    parts
        .into_iter()
        .map(|(ports, verdict)| Outcome {
            ports: Some(ports_words(&ports)),
            action: verdict.action.as_str(),
            rule_number: verdict.rule_number,
        })
        .collect()
}

/// Rule by rule, until nothing is left to decide.
fn trace(nacl: &Nacl, packet: &Packet, ports: Option<&RangeInclusive<u16>>) -> Vec<String> {
    let mut lines = Vec::new();
    let family = Family::of(packet.remote);
    for rule in nacl.rules(packet.direction) {
        if Family::of_net(&rule.cidr) != family {
            continue;
        }
        let (says, decides) = against(rule, packet, ports);
        lines.push(format!("{}: {says}", rule_words(rule, packet.direction)));
        if decides {
            return lines;
        }
    }
    lines.push("rule * denies whatever no rule matches: decides the rest".to_owned());
    lines
}

/// What a rule says to a packet, and whether that settles it.
fn against(rule: &Rule, packet: &Packet, ports: Option<&RangeInclusive<u16>>) -> (String, bool) {
    if rule
        .protocol
        .is_some_and(|protocol| protocol != packet.protocol)
    {
        let protocol = protocol_words(Some(packet.protocol));
        return (format!("no match, the packet is {protocol}"), false);
    }
    if !rule.cidr.contains(&packet.remote) {
        return (format!("no match, {} is not in it", packet.remote), false);
    }
    let (Some(own), Some(ports)) = (&rule.ports, ports) else {
        return match rule.matches(packet) {
            Match::Maybe => (
                "may match: flow logs do not record the ICMP type".to_owned(),
                false,
            ),
            _ => ("matches and decides".to_owned(), true),
        };
    };
    let common = *own.start().max(ports.start())..=*own.end().min(ports.end());
    if common.is_empty() {
        return (
            format!("no match, the port is {}", ports_words(ports)),
            false,
        );
    }
    match common == *ports {
        true => ("matches and decides".to_owned(), true),
        false => (
            format!("matches and decides ports {} only", ports_words(&common)),
            false,
        ),
    }
}

/// Request and reply together.
fn conclude(within_subnet: bool, crossings: &[Crossing]) -> (&'static str, String) {
    if within_subnet {
        let words = "both ends are in one subnet, and no network ACL sees what stays there: only security groups decide";
        return ("allow", words.to_owned());
    }
    let at = |crossing: &Crossing, outcome: &Outcome| {
        let ports = match &outcome.ports {
            Some(ports) if crossing.ports.as_ref() != Some(ports) => format!(" to ports {ports}"),
            _ => String::new(),
        };
        let way = match crossing.direction {
            "ingress" => "into",
            _ => "out of",
        };
        format!(
            "rule {} of {} {}s the {}{ports} {way} {}",
            number_words(outcome.rule_number),
            crossing.nacl_id.as_deref().unwrap_or("-"),
            outcome.action,
            crossing.packet,
            crossing.subnet_id
        )
    };
    let mut verdict = "allow";
    let mut words = Vec::new();
    for crossing in crossings {
        let denied: Vec<&Outcome> = crossing
            .outcomes
            .iter()
            .filter(|outcome| outcome.action == Action::Deny.as_str())
            .collect();
        words.extend(denied.iter().map(|outcome| at(crossing, outcome)));
        let is_unknown = crossing.outcomes.is_empty()
            || crossing
                .outcomes
                .iter()
                .any(|outcome| outcome.action == Action::Undecidable.as_str());
        let here = match denied.len() {
            0 if is_unknown => "undecidable",
            0 => "allow",
            count if count == crossing.outcomes.len() => "deny",
            _ => "partly",
        };
        let rank = |verdict: &str| match verdict {
            "deny" => 3,
            "partly" => 2,
            "undecidable" => 1,
            _ => 0,
        };
        if rank(here) > rank(verdict) {
            verdict = here;
        }
    }
    let words = match (verdict, crossings.len()) {
        (_, 0) => "no subnet of the topology is on its way: no network ACL that is known decides"
            .to_owned(),
        ("allow", _) => {
            "the network ACLs let the request and its reply pass at every edge".to_owned()
        }
        ("undecidable", _) => "what flow logs and the topology record does not tell".to_owned(),
        ("partly", _) => format!("it depends on the client's port: {}", words.join("; ")),
        _ => words.join("; "),
    };
    match crossings.len() {
        0 => ("undecidable", words),
        _ => (verdict, words),
    }
}
