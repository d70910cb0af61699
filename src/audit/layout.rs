//! How VPCs are laid out over zones.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Problem, counted, interfaces_in, listed, subnet_named, subnets_in, vpc_named};
use crate::detect::Severity;
use crate::topology::{Class, Family, Network, Subnet, Vpc};

pub(super) const DEFAULT_VPC: Check = Check {
    id: "audit_default_vpc_in_use",
    title: "Default VPC in use",
};

pub(super) const SINGLE_ZONE: Check = Check {
    id: "audit_single_zone",
    title: "VPC in fewer than two zones",
};

pub(super) const PARTNERS: Check = Check {
    id: "audit_zone_without_partner",
    title: "Private and public subnets not in the same zones",
};

/// AWS makes a default VPC in every region: 172.31.0.0/16, one public subnet for each zone, each of which gives new instances a
/// public address. What lands there by accident is on the internet by accident, and its CIDR is the same in every region.
/// (VPC User Guide, "Default VPCs".)
pub(super) fn default_vpc_in_use(network: &Network) -> Vec<Problem> {
    let mut problems = Vec::new();
    for vpc in network.vpcs() {
        let is_default = vpc.record.as_ref().is_some_and(|record| record.is_default);
        let interfaces = interfaces_in(network, vpc).unwrap_or_default();
        if !is_default || interfaces.is_empty() {
            continue;
        }
        let public: usize = network
            .interfaces()
            .iter()
            .filter(|interface| interface.vpc_id.as_deref() == Some(vpc.id.as_ref()))
            .filter(|interface| !interface.public_addresses.is_empty())
            .count();
        let reason = format!(
            "{} is the default VPC{} and has {}, {public} of them with a public address",
            vpc_named(vpc),
            vpc.region
                .as_ref()
                .map(|region| format!(" of {region}"))
                .unwrap_or_default(),
            counted(interfaces.len(), "interface")
        );
        let severity = if public > 0 {
            Severity::Medium
        } else {
            Severity::Low
        };
        problems.push(
            Problem::of_vpc(vpc, severity, reason)
                .with_ids("interface", &interfaces)
                .with("public_interfaces", public),
        );
    }
    problems
}

/// Zones fail one at a time; a VPC whose subnets are all in one goes down with it. AWS asks for at least two, and load balancers and
/// database subnet groups insist. (Well-Architected, REL10-BP01.)
pub(super) fn fewer_than_two_zones(network: &Network) -> Vec<Problem> {
    let mut problems = Vec::new();
    for vpc in network.vpcs() {
        let subnets = subnets_in(network, vpc);
        let zones: BTreeSet<Option<&str>> = subnets.iter().map(|subnet| zone_of(subnet)).collect();
        let [Some(zone)] = zones.into_iter().collect::<Vec<_>>()[..] else {
            continue;
        };
        if lacks_subnets(network, vpc) {
            continue;
        }
        let interfaces = interfaces_in(network, vpc);
        // Nobody goes down with a VPC that is empty, or whose use is not known.
        let severity = match &interfaces {
            Some(interfaces) if !interfaces.is_empty() => Severity::Medium,
            _ => Severity::Low,
        };
        let reason = format!(
            "{} has all of its subnets in {zone}: {}",
            vpc_named(vpc),
            names(&subnets)
        );
        problems.push(
            Problem::of_vpc(vpc, severity, reason)
                .with("availability_zone", zone)
                .with_ids("subnet", &ids(&subnets)),
        );
    }
    problems
}

/// In each zone a private subnet has its public partner, for the NAT gateway and the load balancer's node in front of it, and a public
/// one the private partner that holds what it fronts; otherwise traffic crosses zones, which costs, and fails with either.
/// A VPC that has no public subnet at all is built otherwise (over a transit gateway, or closed), and left alone.
pub(super) fn zones_without_partners(network: &Network) -> Vec<Problem> {
    let mut problems = Vec::new();
    for vpc in network.vpcs() {
        // AWS lays out default VPCs, all public; that one is in use is another finding.
        if vpc.record.as_ref().is_some_and(|record| record.is_default) {
            continue;
        }
        let mut zones: BTreeMap<&str, (Vec<&Subnet>, Vec<&Subnet>)> = BTreeMap::new();
        // A subnet whose class or zone is not known may be the partner that seems to be missing.
        let mut is_known = !lacks_subnets(network, vpc);
        for subnet in subnets_in(network, vpc) {
            match (zone_of(subnet), is_public(subnet)) {
                (Some(zone), Some(is_public)) => {
                    let (public, private) = zones.entry(zone).or_default();
                    if is_public { public } else { private }.push(subnet);
                }
                _ => is_known = false,
            }
        }
        if !is_known {
            continue;
        }
        let any_public = zones.values().any(|(public, _)| !public.is_empty());
        let any_private = zones.values().any(|(_, private)| !private.is_empty());
        if !any_public {
            continue;
        }
        if !any_private {
            let all: Vec<&Subnet> = zones
                .values()
                .flat_map(|(public, _)| public)
                .copied()
                .collect();
            let reason = format!(
                "{} has public subnets only, and no private one to put anything in: {}",
                vpc_named(vpc),
                names(&all)
            );
            problems
                .push(Problem::of_vpc(vpc, Severity::Low, reason).with_ids("subnet", &ids(&all)));
            continue;
        }
        for (zone, (public, private)) in zones {
            let (here, what, lacks, severity) = if public.is_empty() {
                // What goes out over a NAT gateway crosses zones for it.
                let over_nat =
                    |subnet: &&Subnet| subnet.class(Family::V4) == Some(Class::PrivateNat);
                let severity = if private.iter().any(over_nat) {
                    Severity::Low
                } else {
                    Severity::Info
                };
                (private, "private", "public", severity)
            } else if private.is_empty() {
                (public, "public", "private", Severity::Info)
            } else {
                continue;
            };
            let reason = format!(
                "{} has in {zone} only {what} subnets and no {lacks} partner for them: {}",
                vpc_named(vpc),
                names(&here)
            );
            problems.push(
                Problem::of_vpc(vpc, severity, reason)
                    .about(zone)
                    .with("availability_zone", zone)
                    .with_ids("subnet", &ids(&here)),
            );
        }
    }
    problems
}

/// True if a VPC's interfaces tell of subnets that the topology lacks: then it is not whole, and says nothing of the layout.
fn lacks_subnets(network: &Network, vpc: &Vpc) -> bool {
    network
        .interfaces()
        .iter()
        .filter(|interface| interface.vpc_id.as_deref() == Some(vpc.id.as_ref()))
        .filter_map(|interface| interface.subnet_id.as_deref())
        .any(|id| network.subnet(id).is_none())
}

fn zone_of(subnet: &Subnet) -> Option<&str> {
    subnet
        .record
        .availability_zone
        .as_deref()
        .or(subnet.record.availability_zone_id.as_deref())
}

/// Whether a subnet is public in either family; `None` where its routes are not known.
fn is_public(subnet: &Subnet) -> Option<bool> {
    let classes = [subnet.class(Family::V4), subnet.class(Family::V6)];
    let known: Vec<Class> = classes
        .into_iter()
        .flatten()
        .filter(|class| *class != Class::Unknown)
        .collect();
    (!known.is_empty()).then(|| known.contains(&Class::Public))
}

fn names(subnets: &[&Subnet]) -> String {
    let names: Vec<String> = subnets.iter().map(|subnet| subnet_named(subnet)).collect();
    listed(&names)
}

fn ids<'n>(subnets: &[&'n Subnet]) -> Vec<&'n str> {
    subnets.iter().map(|subnet| subnet.id.as_ref()).collect()
}
