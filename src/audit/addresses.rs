//! CIDRs: their size, how full they are, and where they overlap.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Check, Problem, counted, listed, subnet_named, vpc_named};
use crate::detect::Severity;
use crate::topology::model;
use crate::topology::{Network, Vpc};

pub(super) const MASKS: Check = Check {
    id: "audit_mask_size",
    title: "CIDR of a size that AWS does not give out",
};

pub(super) const FULL: Check = Check {
    id: "audit_subnet_nearly_full",
    title: "Subnet nearly out of addresses",
};

pub(super) const OVERLAP: Check = Check {
    id: "audit_cidr_overlap",
    title: "Overlapping CIDRs of VPCs that are joined",
};

pub(super) const ON_PREMISES: Check = Check {
    id: "audit_cidr_overlap_on_premises",
    title: "VPC overlaps a block on premises",
};

/// Of a subnet's IPv4 addresses AWS keeps the first four and the last.
const RESERVED: u64 = 5;

/// A subnet with fewer than this share of its usable addresses left is nearly full.
const NEARLY_FULL: u64 = 10;

/// IPv4 CIDRs of VPCs and subnets are /16 to /28; IPv6 ones of VPCs /44 to /60 and of subnets /44 to /64, in steps of four. What is
/// wider was not made by AWS, so that the export or its reading is in doubt; what is narrower cannot grow. (VPC User Guide, "VPC
/// CIDR blocks" and "Subnet CIDR blocks".)
pub(super) fn masks(network: &Network) -> Vec<Problem> {
    let mut problems = Vec::new();
    for vpc in network.vpcs().iter().filter(|vpc| vpc.record.is_some()) {
        let odd: Vec<String> = vpc
            .cidrs
            .iter()
            .filter(|net| !is_usual(net, 60))
            .map(ToString::to_string)
            .collect();
        if !odd.is_empty() {
            let reason = format!(
                "{} has {}, outside of /16 to /28 (IPv6: /44 to /60)",
                vpc_named(vpc),
                listed(&odd)
            );
            problems.push(Problem::of_vpc(vpc, Severity::Low, reason).with("cidrs", odd));
        }
    }
    for subnet in network.subnets() {
        let odd: Vec<String> = subnet
            .cidr_block
            .iter()
            .chain(&subnet.ipv6_cidr_blocks)
            .filter(|net| !is_usual(net, 64))
            .map(ToString::to_string)
            .collect();
        if !odd.is_empty() {
            let reason = format!(
                "{} has {}, outside of /16 to /28 (IPv6: /44 to /64)",
                subnet_named(subnet),
                listed(&odd)
            );
            problems.push(Problem::of_subnet(subnet, Severity::Low, reason).with("cidrs", odd));
        }
    }
    problems
}

fn is_usual(net: &IpNet, longest_v6: u8) -> bool {
    let length = net.prefix_len();
    match net {
        IpNet::V4(_) => (16..=28).contains(&length),
        IpNet::V6(_) => (44..=longest_v6).contains(&length) && length.is_multiple_of(4),
    }
}

/// A subnet cannot be enlarged; when it is full, what scales in it fails: load balancers, Lambda functions, nodes of a cluster. AWS
/// keeps five addresses of each, so a /24 holds 251. (VPC User Guide, "Subnet sizing".)
pub(super) fn nearly_full_subnets(network: &Network) -> Vec<Problem> {
    let mut problems = Vec::new();
    for subnet in network.subnets() {
        let (Some(available), Some(IpNet::V4(net))) =
            (subnet.record.available_ip_address_count, subnet.cidr_block)
        else {
            continue;
        };
        // How much of a CIDR that AWS did not give out is taken says nothing.
        if !is_usual(&IpNet::V4(net), 0) {
            continue;
        }
        let all = 1_u64 << (32 - u32::from(net.prefix_len()));
        let usable = all.saturating_sub(RESERVED);
        let available = u64::try_from(available).unwrap_or(0);
        if available * NEARLY_FULL >= usable {
            continue;
        }
        let severity = if available == 0 {
            Severity::High
        } else {
            Severity::Medium
        };
        let reason = format!(
            "{} has {available} of {usable} addresses left in {net}",
            subnet_named(subnet)
        );
        problems.push(
            Problem::of_subnet(subnet, severity, reason)
                .with("available_addresses", available)
                .with("usable_addresses", usable)
                .with("cidr_block", net.to_string()),
        );
    }
    problems
}

/// Says so where an export leaves out how many addresses are left.
pub(super) fn note(network: &Network) -> Option<String> {
    let unknown = network
        .subnets()
        .iter()
        .filter(|subnet| subnet.cidr_block.is_some())
        .filter(|subnet| subnet.record.available_ip_address_count.is_none())
        .count();
    (unknown > 0).then(|| {
        format!(
            "how full {} are is not known: their records have no `AvailableIpAddressCount`, as those of earlier imports have none",
            counted(unknown, "subnet")
        )
    })
}

/// How two VPCs are joined, and what they share.
#[derive(Debug, Default)]
struct Shared {
    over: BTreeSet<String>,
    cidrs: BTreeSet<String>,
}

/// AWS refuses a peering between VPCs whose CIDRs overlap, but neither two peerings of one VPC with two that overlap, nor both of them
/// on one transit gateway: there the routes of one hide the other. (VPC Peering Guide, "Limitations"; Transit Gateway Guide, "Route
/// propagation".)
pub(super) fn overlaps(network: &Network) -> Vec<Problem> {
    let mut shared: BTreeMap<(String, String), Shared> = BTreeMap::new();
    let mut join = |one: (&str, &[IpNet]), other: (&str, &[IpNet]), over: String| {
        let cidrs = common(one.1, other.1);
        if one.0 != other.0 && !cidrs.is_empty() {
            let (first, second) = (one.0.min(other.0), one.0.max(other.0));
            let pair = shared
                .entry((first.to_owned(), second.to_owned()))
                .or_default();
            pair.over.insert(over);
            pair.cidrs.extend(cidrs);
        }
    };
    let peerings = peerings(network);
    for (id, [one, other]) in &peerings {
        join(
            (one.0, &one.1),
            (other.0, &other.1),
            format!("the peering {id}"),
        );
    }
    for (hub, spokes) in hubs(&peerings) {
        for (index, one) in spokes.iter().enumerate() {
            for other in &spokes[index + 1..] {
                join(
                    (one.0, one.1),
                    (other.0, other.1),
                    format!("peerings of both with {hub}"),
                );
            }
        }
    }
    for (gateway, vpcs) in network.transit_gateways() {
        for (index, one) in vpcs.iter().enumerate() {
            for other in &vpcs[index + 1..] {
                join(
                    (&one.id, &one.cidrs),
                    (&other.id, &other.cidrs),
                    format!("the transit gateway {gateway}"),
                );
            }
        }
    }
    shared
        .into_iter()
        .map(|((one, other), shared)| overlap(network, &one, &other, shared))
        .collect()
}

fn overlap(network: &Network, one: &str, other: &str, shared: Shared) -> Problem {
    let name = |id: &str| network.vpc(id).map_or_else(|| id.to_owned(), vpc_named);
    let (cidrs, over): (Vec<String>, Vec<String>) = (
        shared.cidrs.into_iter().collect(),
        shared.over.into_iter().collect(),
    );
    let reason = format!(
        "{} and {} both use {}, and are joined by {}: a route can lead to one of them only",
        name(one),
        name(other),
        listed(&cidrs),
        listed(&over)
    );
    let problem = match network.vpc(one).or_else(|| network.vpc(other)) {
        Some(vpc) => Problem::of_vpc(vpc, Severity::Medium, reason),
        None => Problem {
            severity: Some(Severity::Medium),
            vpc_id: Some(one.to_owned()),
            reason,
            ..Problem::default()
        },
    };
    problem
        .about(one)
        .about(other)
        .with("vpc_ids", vec![one, other])
        .with("cidrs", cidrs)
        .with("joined_by", over)
}

/// What both hold: of two CIDRs that overlap the narrower.
fn common(one: &[IpNet], other: &[IpNet]) -> Vec<String> {
    let mut common = Vec::new();
    for a in one {
        for b in other {
            if a.contains(b) {
                common.push(b.to_string());
            } else if b.contains(a) {
                common.push(a.to_string());
            }
        }
    }
    common
}

type Side<'n> = (&'n str, Vec<IpNet>);

/// Active peerings with the CIDRs of both sides.
fn peerings(network: &Network) -> Vec<(&str, [Side<'_>; 2])> {
    fn side<'n>(network: &Network, info: &'n model::PeeringVpcInfo) -> Option<Side<'n>> {
        let id = info.vpc_id.as_deref()?;
        let mut cidrs: BTreeSet<IpNet> = BTreeSet::new();
        let v4 = info.cidr_block_set.iter().map(|block| &block.cidr_block);
        let v6 = info
            .ipv6_cidr_block_set
            .iter()
            .map(|block| &block.ipv6_cidr_block);
        let texts = v4.chain(v6).chain([&info.cidr_block]).flatten();
        cidrs.extend(texts.filter_map(|text| text.parse::<IpNet>().ok()));
        cidrs.extend(network.vpc(id).iter().flat_map(|vpc| &vpc.cidrs));
        Some((id, cidrs.into_iter().collect()))
    }
    network
        .resources()
        .vpc_peering_connections
        .iter()
        .filter(|peering| {
            peering
                .status
                .code
                .as_deref()
                .is_none_or(|code| code == "active")
        })
        .filter_map(|peering| {
            let sides = [
                side(network, &peering.requester_vpc_info)?,
                side(network, &peering.accepter_vpc_info)?,
            ];
            Some((peering.vpc_peering_connection_id.as_str(), sides))
        })
        .collect()
}

/// VPCs with several peers, and those peers.
fn hubs<'p>(
    peerings: &'p [(&str, [Side<'p>; 2])],
) -> BTreeMap<&'p str, Vec<(&'p str, &'p [IpNet])>> {
    let mut hubs: BTreeMap<&str, BTreeMap<&str, &[IpNet]>> = BTreeMap::new();
    for (_, [one, other]) in peerings {
        hubs.entry(one.0).or_default().insert(other.0, &other.1);
        hubs.entry(other.0).or_default().insert(one.0, &one.1);
    }
    hubs.into_iter()
        .map(|(hub, spokes)| (hub, spokes.into_iter().collect()))
        .collect()
}

/// A local route always wins over what a gateway announces: hosts of a VPC never reach the part of a network on premises that its
/// own CIDRs hold. (VPC User Guide, "Route priority"; Site-to-Site VPN Guide, "Route tables and VPN route priority".)
pub(super) fn overlaps_on_premises(network: &Network) -> Vec<Problem> {
    let blocks = &network.settings().on_premises;
    let mut problems = Vec::new();
    for vpc in network.vpcs() {
        let mut shared: BTreeSet<String> = BTreeSet::new();
        let mut with: BTreeSet<String> = BTreeSet::new();
        for block in blocks {
            let common = common(&vpc.cidrs, std::slice::from_ref(block));
            if !common.is_empty() {
                with.insert(block.to_string());
                shared.extend(common);
            }
        }
        if shared.is_empty() {
            continue;
        }
        let way = way_on_premises(network, vpc);
        let (shared, with): (Vec<String>, Vec<String>) =
            (shared.into_iter().collect(), with.into_iter().collect());
        let mut reason = format!(
            "{} uses {}, which is on premises too ({})",
            vpc_named(vpc),
            listed(&shared),
            listed(&with)
        );
        // Without a way there nobody misses what is hidden yet.
        let severity = match &way {
            Some(way) => {
                reason.push_str(&format!("; its routes to {way} never lead there"));
                Severity::Medium
            }
            None => {
                reason.push_str("; no route of it leads to a VPN or transit gateway so far");
                Severity::Low
            }
        };
        problems.push(
            Problem::of_vpc(vpc, severity, reason)
                .with("cidrs", shared)
                .with("on_premises", with)
                .with("route_target_id", way),
        );
    }
    problems
}

/// The first gateway behind which a network on premises may lie.
fn way_on_premises(network: &Network, vpc: &Vpc) -> Option<String> {
    let of_vpc = network
        .resources()
        .route_tables
        .iter()
        .filter(|table| table.vpc_id.as_deref() == Some(vpc.id.as_ref()));
    of_vpc
        .flat_map(|table| &table.routes)
        .filter_map(|route| {
            let vgw = route
                .gateway_id
                .as_ref()
                .filter(|id| id.starts_with("vgw-"));
            let others = [&route.transit_gateway_id, &route.core_network_arn];
            vgw.or_else(|| others.into_iter().find_map(Option::as_ref))
        })
        .min()
        .cloned()
}
