//! Which rule decides a flow: every edge of a subnet that its packets cross, there and back, rule by rule in words.
//!
//! ```text
//! request   client's subnet, out ──> (NAT gateway's subnet, in and out) ──> server's subnet, in
//! reply     server's subnet, out ──> (NAT gateway's subnet, in and out) ──> client's subnet, in
//! ```
//!
//! ACLs are stateless, so the reply meets rules of its own, by the client's port. What stays in one subnet meets none.

mod ends;
mod trace;

use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::Serialize;
use thiserror::Error;

use self::ends::{Found, ends};
use super::words::number_words;
use super::{Action, Direction, Guarded, Packet, ports_words};
use crate::topology::{Network, RouteTarget, Subnet};

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
    let nat = nat_between(network, &client, &server);
    // In the subnet of the gateway itself the client's packets cross no edge on their way to it.
    let inside = nat.filter(|nat| !same(Some(nat), client.subnet));
    let way = [
        (client.subnet, Direction::Egress, server.addr, Part::Request),
        (inside, Direction::Ingress, client.addr, Part::Request),
        (nat, Direction::Egress, server.addr, Part::Request),
        (
            server.subnet,
            Direction::Ingress,
            client.addr,
            Part::Request,
        ),
        (server.subnet, Direction::Egress, client.addr, Part::Reply),
        (nat, Direction::Ingress, server.addr, Part::ReplyToNat),
        (inside, Direction::Egress, client.addr, Part::Reply),
        (client.subnet, Direction::Ingress, server.addr, Part::Reply),
    ];
    let crossings: Vec<Crossing> = way
        .into_iter()
        .filter(|_| !within_subnet)
        .filter_map(|(subnet, direction, remote, part)| {
            Some(crossing(guarded, looked, subnet?, direction, remote, part))
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
            trace::outcomes(nacl, &packet, ports.as_ref()),
            trace::trace(nacl, &packet, ports.as_ref()),
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
            "rule {} of {} {} the {}{ports} {way} {}",
            number_words(outcome.rule_number),
            crossing.nacl_id.as_deref().unwrap_or("-"),
            match outcome.action {
                "deny" => "denies",
                _ => "allows",
            },
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
