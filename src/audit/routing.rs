//! Where subnets are routed to, against what they are meant for.

use std::collections::BTreeSet;

use super::{Check, Problem, named, subnet_named};
use crate::detect::Severity;
use crate::topology::{Class, Family, NatGateway, Network, Subnet};

pub(super) const PRIVATE_PUBLIC: Check = Check {
    id: "audit_private_subnet_public",
    title: "Private subnet routed to an internet gateway",
};

pub(super) const NAT_ZONES: Check = Check {
    id: "audit_nat_across_zones",
    title: "NAT gateway in another zone",
};

/// A subnet is public by its routes alone, IPv4 and IPv6 each on their own: `0.0.0.0/0` to a NAT gateway says nothing of `::/0`. So
/// a subnet that its owner calls private, or that is private in one family, is public as soon as one route of the other leads to an
/// internet gateway. (VPC User Guide, "Subnet types"; "Egress-only internet gateways" for the private way out over IPv6.)
pub(super) fn private_routed_to_internet(network: &Network) -> Vec<Problem> {
    let mut problems = Vec::new();
    for subnet in network.subnets() {
        let classes = [Family::V4, Family::V6].map(|family| (family, subnet.class(family)));
        let public: Vec<Family> = classes
            .iter()
            .filter(|(_, class)| *class == Some(Class::Public))
            .map(|(family, _)| *family)
            .collect();
        if public.is_empty() {
            continue;
        }
        let private: Vec<(Family, Class)> = classes
            .into_iter()
            .filter_map(|(family, class)| Some((family, class?)))
            .filter(|(_, class)| !matches!(class, Class::Public | Class::Unknown))
            .collect();
        let said = said_private(subnet);
        if private.is_empty() && said.is_none() {
            continue;
        }
        let ways: Vec<String> = public
            .iter()
            .map(|family| {
                format!(
                    "public in {family}, since {}",
                    subnet.class_reason(*family).unwrap_or_default()
                )
            })
            .collect();
        let mut reason = format!("{} is {}", subnet_named(subnet), ways.join(", and "));
        for (family, class) in &private {
            reason.push_str(&format!("; in {family} it is {}", class.as_str()));
        }
        if let Some(said) = &said {
            reason.push_str(&format!("; {said}"));
        }
        // A public subnet that lacks an IPv6 route is an oversight; one that is private in IPv4 and open in IPv6 is a back door.
        let severity = if said.is_some() || public == [Family::V6] {
            Severity::High
        } else {
            Severity::Low
        };
        let word = |family| subnet.class(family).map(Class::as_str);
        problems.push(
            Problem::of_subnet(subnet, severity, reason)
                .with("class", word(Family::V4))
                .with("class6", word(Family::V6))
                .with("route_table_id", subnet.route_table_id.as_deref())
                .with("said_private", said),
        );
    }
    problems
}

/// Which tag calls a subnet private, as people write it: a word of its own in the name, or in a tag about its kind.
fn said_private(subnet: &Subnet) -> Option<String> {
    const OF_KIND: [&str; 8] = [
        "tier",
        "type",
        "subnet",
        "network",
        "visibility",
        "scope",
        "access",
        "zone",
    ];
    for tag in &subnet.record.tags {
        let key = tag.key.to_ascii_lowercase();
        // `internal-elb` marks the private subnets of a Kubernetes cluster.
        if key.ends_with("role/internal-elb") && tag.value != "0" {
            return Some(format!("its tag {} marks it as private", tag.key));
        }
        if key != "name" && !OF_KIND.iter().any(|word| key.contains(word)) {
            continue;
        }
        let words = words_of(&tag.value);
        let has = |wanted: &[&str]| wanted.iter().any(|word| words.contains(*word));
        if has(&["private", "priv", "internal", "isolated", "intra"]) && !has(&["public", "pub"]) {
            return Some(format!("its tag {} says `{}`", tag.key, tag.value));
        }
    }
    None
}

/// The words of a name: `prod-private1a`, `SubnetPrivateUSEAST1C` and `Private subnet` all have `private`. A name with dots is a host's or
/// a domain's, where `internal` says nothing.
fn words_of(name: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for part in name.split(|c: char| !c.is_ascii_alphanumeric() && c != '.') {
        let mut word = String::new();
        let mut after_lower = false;
        for c in part.chars() {
            if !c.is_ascii_alphabetic() && c != '.' || c.is_ascii_uppercase() && after_lower {
                words.insert(std::mem::take(&mut word));
            }
            if c.is_ascii_alphabetic() || c == '.' {
                word.push(c.to_ascii_lowercase());
            }
            after_lower = c.is_ascii_lowercase();
        }
        words.insert(word);
    }
    words
}

/// A zonal NAT gateway stands in one zone. Subnets of others that use it go down with that zone, and pay for every byte that
/// crosses. One in each zone, used by the subnets of that zone, or a regional one, does neither. (VPC User Guide, "NAT gateways".)
pub(super) fn nat_across_zones(network: &Network) -> Vec<Problem> {
    let mut problems = Vec::new();
    for subnet in network.subnets() {
        let Some(own) = subnet.record.availability_zone.as_deref() else {
            continue;
        };
        let mut far: Vec<(&NatGateway, &Subnet, &str)> = Vec::new();
        for nat in nats_of(network, subnet) {
            let at = nat.record.subnet_id.as_deref();
            let at = at.and_then(|id| network.subnet(id));
            if let Some(at) = at
                && let Some(zone) = at.record.availability_zone.as_deref()
                && zone != own
            {
                far.push((nat, at, zone));
            }
        }
        let Some((nat, at, zone)) = far.first().copied() else {
            continue;
        };
        let near = network
            .resources()
            .nat_gateways
            .iter()
            .filter_map(|record| network.nat_gateway(&record.nat_gateway_id))
            .find(|near| {
                let place = near
                    .record
                    .subnet_id
                    .as_deref()
                    .and_then(|id| network.subnet(id));
                near.is_available
                    && near.is_public == nat.is_public
                    && place.is_some_and(|place| {
                        place.vpc_id == subnet.vpc_id
                            && place.record.availability_zone.as_deref() == Some(own)
                    })
            });
        let mut reason = format!(
            "{} in {own} goes out over {} in {zone} ({})",
            subnet_named(subnet),
            nat.id,
            named(&at.id, at.name.as_deref())
        );
        // One NAT gateway for all is a choice; passing by one's own is a mistake.
        let severity = match near {
            Some(near) => {
                reason.push_str(&format!(", though {} is in {own}", near.id));
                Severity::Medium
            }
            None => {
                reason.push_str(&format!("; {own} has none"));
                Severity::Low
            }
        };
        problems.push(
            Problem::of_subnet(subnet, severity, reason)
                .with("availability_zone", own)
                .with("nat_gateway_id", nat.id.as_ref())
                .with("nat_availability_zone", zone)
                .with("nat_subnet_id", at.id.as_ref())
                .with("route_table_id", subnet.route_table_id.as_deref())
                .with("own_zone_nat_gateway_id", near.map(|near| near.id.as_ref())),
        );
    }
    problems
}

/// The zonal NAT gateways that a subnet's active routes lead to, each once.
fn nats_of<'n>(network: &'n Network, subnet: &Subnet) -> Vec<&'n NatGateway> {
    let table = subnet.route_table_id.as_deref();
    let Some(table) = table.and_then(|id| network.route_table(id)) else {
        return Vec::new();
    };
    let ids: BTreeSet<&str> = table
        .record
        .routes
        .iter()
        .filter(|route| route.state.as_deref().is_none_or(|state| state == "active"))
        .filter_map(|route| route.nat_gateway_id.as_deref())
        .collect();
    ids.into_iter()
        .filter_map(|id| network.nat_gateway(id))
        .filter(|nat| !nat.is_regional && nat.is_available)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::words_of;

    #[test]
    fn a_name_is_private_by_a_word_of_its_own() {
        for name in [
            "prod-private1a",
            "private_b",
            "eksctl-x-cluster/SubnetPrivateUSEAST1C",
            "PrivateSubnetA",
            "Private subnet",
            "PRIVATE",
        ] {
            assert!(words_of(name).contains("private"), "{name}");
        }
        for name in [
            "privatelink",
            "deprived",
            "defaultvpc.internal.us-west-2",
            "",
        ] {
            let words = words_of(name);
            assert!(
                !words.contains("private") && !words.contains("internal"),
                "{name}"
            );
        }
    }
}
