//! What a record itself tells of its way: the direction at the interface, and whether its witnesses agree with the routes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::flow::{Direction, Flow, Text};
use super::resolve::{Known, Recorder};
use crate::topology::{History, RouteTarget, is_private};

/// The address that stands in every record of an interface is its own (`srcaddr` of what it sends and `dstaddr` of what it receives
/// are always its primary private address: Amazon VPC User Guide). Only for interfaces that the topology does not know and records
/// that do not say their direction; none where two addresses fit.
pub(super) fn own_addresses(
    rows: &[Flow],
    flows: &Known,
    history: &History,
) -> HashMap<Text, IpAddr> {
    let mut candidates: HashMap<Text, Vec<IpAddr>> = HashMap::new();
    let mut known: HashSet<Text> = HashSet::new();
    for flow in rows
        .iter()
        .filter(|flow| flow.direction == Direction::Unknown)
    {
        let interface = flows.recorders[flow.recorder as usize].interface_id;
        let Some(id) = flows
            .texts
            .get(interface)
            .filter(|_| !known.contains(&interface))
        else {
            continue;
        };
        let ends: Vec<IpAddr> = [flow.at_src, flow.at_dst].into_iter().flatten().collect();
        match candidates.get_mut(&interface) {
            Some(left) => left.retain(|address| ends.contains(address)),
            None if history
                .networks()
                .any(|network| network.interface(id).is_some()) =>
            {
                known.insert(interface);
            }
            None => {
                candidates.insert(interface, ends);
            }
        }
    }
    let only = |left: Vec<IpAddr>| match left.as_slice() {
        [own] => Some(*own),
        // Records of one peer only hold both: of a private and a public IPv4 address, the private one is the interface's.
        [a, b] if is_private(*a) != is_private(*b) => Some(if is_private(*a) { *a } else { *b }),
        _ => None,
    };
    candidates
        .into_iter()
        .filter_map(|(interface, left)| Some((interface, only(left)?)))
        .collect()
}

/// The interfaces that hand on packets which are neither from nor to them, with an address of the internet on their own side: NAT
/// gateways, whether or not the topology knows them.
pub(super) fn forwarding_interfaces(rows: &[Flow], flows: &Known) -> HashSet<Text> {
    let passes = |seen: Option<IpAddr>, packet: Option<IpAddr>| match (seen, packet) {
        (Some(seen), Some(packet)) => seen != packet && is_private(seen) && !is_private(packet),
        _ => false,
    };
    let forwarded = |flow: &&Flow| {
        (flow.direction != Direction::Egress && passes(flow.at_dst, flow.dst))
            || (flow.direction != Direction::Ingress && passes(flow.at_src, flow.src))
    };
    let interfaces = rows.iter().filter(forwarded);
    interfaces
        .map(|flow| flows.recorders[flow.recorder as usize].interface_id)
        .collect()
}

/// The way the packets cross the interface: the record's own word, else by whose address stands where.
pub(super) fn direction(flow: &Flow, recorder: &Recorder<'_>) -> Direction {
    if flow.direction != Direction::Unknown {
        return flow.direction;
    }
    let (src, dst) = (flow.at_src, flow.at_dst);
    let either = |is_ours: &dyn Fn(IpAddr) -> bool| match (
        src.is_some_and(is_ours),
        dst.is_some_and(is_ours),
    ) {
        (true, false) => Direction::Egress,
        (false, true) => Direction::Ingress,
        _ => Direction::Unknown,
    };
    if let Some(interface) = recorder.vantage.interface {
        return either(&|address| interface.owns(address));
    }
    if let Some(own) = recorder.own {
        return either(&|address| address == own);
    }
    if let Some(nat) = recorder.vantage.nat_gateway {
        let by_nat = either(&|address| nat.public_addresses.contains(&address));
        // What a regional NAT gateway takes in from the VPC is ingress to it.
        return match (by_nat, recorder.vantage.vpc) {
            (Direction::Unknown, Some(vpc)) => match either(&|address| vpc.contains(address)) {
                Direction::Egress => Direction::Ingress,
                Direction::Ingress => Direction::Egress,
                Direction::Unknown => Direction::Unknown,
            },
            (known, _) => known,
        };
    }
    if let Some(subnet) = recorder.vantage.subnet {
        let blocks = || subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
        let by_subnet = either(&|address| blocks().any(|block| block.contains(&address)));
        if by_subnet != Direction::Unknown {
            return by_subnet;
        }
    }
    match recorder.vantage.vpc {
        Some(vpc) => either(&|address| vpc.contains(address)),
        None => Direction::Unknown,
    }
}

/// Whether a `traffic-path` code can be what a route to this target gives (Amazon VPC User Guide, `traffic-path`). What passes
/// a NAT gateway, a transit gateway or an appliance shows as 1, another resource in the VPC. No code is documented for an
/// egress-only internet gateway.
pub(super) fn leads(code: i32, target: RouteTarget) -> bool {
    use RouteTarget as To;
    match target {
        To::InternetGateway => matches!(code, 2 | 8),
        To::GatewayEndpoint => matches!(code, 2 | 7),
        To::VpnGateway => code == 3,
        To::Peering => matches!(code, 4 | 5),
        To::CarrierGateway | To::LocalGateway => matches!(code, 1 | 6),
        To::NatGateway
        | To::NatInstance
        | To::TransitGateway
        | To::InspectionEndpoint
        | To::Interface
        | To::Local => code == 1,
        To::CoreNetwork | To::OdbNetwork | To::EgressOnlyInternetGateway | To::None => true,
    }
}

/// Whether the next hop can be what a route to this target gives (Amazon VPC User Guide, `next-hop-interface-type`).
pub(super) fn next_is(kind: &str, target: RouteTarget) -> bool {
    match kind {
        "nat_gateway" | "regional_nat_gateway" => target == RouteTarget::NatGateway,
        "transit_gateway" => matches!(
            target,
            RouteTarget::TransitGateway | RouteTarget::CoreNetwork
        ),
        _ => true,
    }
}
