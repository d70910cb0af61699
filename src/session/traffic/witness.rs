//! What a record itself tells of its way: the direction at the interface, and whether its witnesses agree with the routes.

use std::net::IpAddr;

use super::flow::{Address, Addresses, Direction, NONE, Text};
use super::hash::Map;
use super::world::Recorder;
use crate::topology::{RouteTarget, is_private};

/// The addresses that stood in every record of an interface so far.
///
/// The address that stands in every record of an interface is its own (`srcaddr` of what it sends and `dstaddr` of what it receives
/// are always its primary private address: Amazon VPC User Guide). Only for interfaces that the topology does not know and records
/// that do not say their direction; none where two addresses fit.
#[derive(Debug, Default)]
pub(super) struct Sightings(Map<Text, Candidates>);

#[derive(Debug)]
enum Candidates {
    /// Nothing is to be found out: the topology knows the interface.
    Known,
    Of(Vec<Address>),
}

impl Sightings {
    /// Notes the addresses of a record without a direction. `is_known` says whether the topology has the interface.
    pub(super) fn saw(
        &mut self,
        interface: Text,
        seen: [Address; 2],
        is_known: impl FnOnce(Text) -> bool,
    ) {
        if interface == NONE {
            return;
        }
        let candidates = self.0.entry(interface).or_insert_with(|| {
            if is_known(interface) {
                Candidates::Known
            } else {
                Candidates::Of(seen.into_iter().filter(|&end| end != NONE).collect())
            }
        });
        if let Candidates::Of(left) = candidates {
            left.retain(|address| seen.contains(address));
        }
    }

    /// Takes over what another stream saw.
    pub(super) fn merge(&mut self, other: Self) {
        for (interface, candidates) in other.0 {
            match (self.0.get_mut(&interface), candidates) {
                (Some(Candidates::Of(left)), Candidates::Of(others)) => {
                    left.retain(|address| others.contains(address));
                }
                (Some(_), _) => {}
                (None, candidates) => {
                    self.0.insert(interface, candidates);
                }
            }
        }
    }

    /// An interface's own address.
    pub(super) fn own(&self, interface: Text, addresses: &Addresses) -> Option<IpAddr> {
        let Candidates::Of(left) = self.0.get(&interface)? else {
            return None;
        };
        match left.as_slice() {
            [own] => addresses.get(*own),
            // Records of one peer only hold both: of a private and a public IPv4 address, the private one is the interface's.
            [a, b] => {
                let (a, b) = (addresses.get(*a)?, addresses.get(*b)?);
                (is_private(a) != is_private(b)).then_some(if is_private(a) { a } else { b })
            }
            _ => None,
        }
    }
}

/// Whether an interface hands on a packet which is neither from nor to it, with an address of the internet on its own side, as NAT
/// gateways do, whether or not the topology knows them. `direction` is the record's own word.
pub(super) fn forwards(
    direction: Direction,
    seen: [Address; 2],
    packet: [Address; 2],
    addresses: &Addresses,
) -> bool {
    let passes = |seen: Address, packet: Address| {
        seen != packet
            && match (addresses.get(seen), addresses.get(packet)) {
                (Some(seen), Some(packet)) => is_private(seen) && !is_private(packet),
                _ => false,
            }
    };
    (direction != Direction::Egress && passes(seen[1], packet[1]))
        || (direction != Direction::Ingress && passes(seen[0], packet[0]))
}

/// The way the packets cross the interface: the record's own word, else by whose address stands where.
pub(super) fn direction(
    own_word: Direction,
    [src, dst]: [Option<IpAddr>; 2],
    recorder: &Recorder<'_>,
) -> Direction {
    if own_word != Direction::Unknown {
        return own_word;
    }
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
