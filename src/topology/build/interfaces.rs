//! Interfaces out of records: their addresses, wherever EC2 lists them, and what they are part of.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::{net, parse, shared};
use crate::topology::model::{self, Resources};
use crate::topology::network::{Interface, InterfaceKind};

pub(super) fn interfaces(
    resources: &Resources,
    vpc_index: &HashMap<Arc<str>, usize>,
    subnet_index: &HashMap<Arc<str>, usize>,
) -> Vec<Interface> {
    let mut nats = HashMap::new();
    let mut nat_addresses: HashMap<&str, Vec<IpAddr>> = HashMap::new();
    for nat in &resources.nat_gateways {
        let is_regional = nat.availability_mode.as_deref() == Some("regional");
        for address in &nat.nat_gateway_addresses {
            if let Some(id) = &address.network_interface_id {
                nats.insert(
                    id.as_str(),
                    if is_regional {
                        InterfaceKind::RegionalNat
                    } else {
                        InterfaceKind::Nat
                    },
                );
                nat_addresses
                    .entry(id)
                    .or_default()
                    .extend(parse::<IpAddr>(address.public_ip.as_ref()));
            }
        }
    }
    let mut elastic: HashMap<&str, Vec<IpAddr>> = HashMap::new();
    for address in &resources.addresses {
        if let Some(id) = &address.network_interface_id {
            elastic
                .entry(id)
                .or_default()
                .extend(address.public_ip.parse::<IpAddr>());
        }
    }
    let interface = |record: &Arc<model::NetworkInterface>| {
        let id = record.network_interface_id.as_str();
        let private = record
            .private_ip_addresses
            .iter()
            .filter_map(|address| address.private_ip_address.as_ref());
        let v6 = record
            .ipv6_addresses
            .iter()
            .filter_map(|address| address.ipv6_address.as_ref());
        let addresses = record.private_ip_address.iter().chain(private).chain(v6);
        let associations = record
            .private_ip_addresses
            .iter()
            .filter_map(|address| address.association.as_ref());
        let public = record
            .association
            .iter()
            .chain(associations)
            .filter_map(|association| {
                association
                    .public_ip
                    .as_ref()
                    .or(association.carrier_ip.as_ref())
            });
        let mut public_addresses: Vec<IpAddr> =
            public.filter_map(|addr| addr.parse().ok()).collect();
        public_addresses.extend(elastic.get(id).into_iter().flatten());
        public_addresses.extend(nat_addresses.get(id).into_iter().flatten());
        let v4_prefixes = record
            .ipv4_prefixes
            .iter()
            .map(|prefix| net(prefix.ipv4_prefix.as_ref()));
        let v6_prefixes = record
            .ipv6_prefixes
            .iter()
            .map(|prefix| net(prefix.ipv6_prefix.as_ref()));
        Interface {
            id: id.into(),
            vpc_id: shared(record.vpc_id.as_ref()),
            subnet_id: shared(record.subnet_id.as_ref()),
            account_id: shared(record.account_id.as_ref()),
            region: shared(record.region.as_ref()),
            instance_id: shared(
                record
                    .attachment
                    .as_ref()
                    .and_then(|attachment| attachment.instance_id.as_ref()),
            ),
            addresses: distinct(addresses.filter_map(|addr| addr.parse().ok())),
            public_addresses: distinct(public_addresses.into_iter()),
            prefixes: v4_prefixes.chain(v6_prefixes).flatten().collect(),
            kind: nats.get(id).copied().unwrap_or_else(|| kind_of(record)),
            vpc: record
                .vpc_id
                .as_ref()
                .and_then(|id| vpc_index.get(id.as_str()).copied()),
            subnet: record
                .subnet_id
                .as_ref()
                .and_then(|id| subnet_index.get(id.as_str()).copied()),
            record: Arc::clone(record),
        }
    };
    resources.network_interfaces.iter().map(interface).collect()
}

/// In the order given, each once.
fn distinct(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut seen = BTreeSet::new();
    addresses.filter(|addr| seen.insert(*addr)).collect()
}

/// EC2 tells most kinds by `interface_type`; load balancers, and old exports, only by the description that AWS writes.
fn kind_of(record: &model::NetworkInterface) -> InterfaceKind {
    let description = record.description.as_deref().unwrap_or_default();
    match record.interface_type.as_deref() {
        Some("nat_gateway" | "natGateway") => InterfaceKind::Nat,
        Some("transit_gateway") => InterfaceKind::TransitGateway,
        Some("network_load_balancer") => InterfaceKind::NetworkLoadBalancer,
        Some("load_balancer") => InterfaceKind::LoadBalancer,
        Some("vpc_endpoint") => InterfaceKind::VpcEndpoint,
        Some("gateway_load_balancer") => InterfaceKind::GatewayLoadBalancer,
        Some("gateway_load_balancer_endpoint") => InterfaceKind::GatewayLoadBalancerEndpoint,
        Some("lambda") => InterfaceKind::Lambda,
        None | Some("interface") => {
            let by_description = [
                ("ELB net/", InterfaceKind::NetworkLoadBalancer),
                ("ELB gwy/", InterfaceKind::GatewayLoadBalancer),
                ("ELB ", InterfaceKind::LoadBalancer),
                ("Interface for NAT Gateway ", InterfaceKind::Nat),
                (
                    "Network Interface for Transit Gateway Attachment ",
                    InterfaceKind::TransitGateway,
                ),
                ("VPC Endpoint Interface ", InterfaceKind::VpcEndpoint),
                ("AWS Lambda VPC ENI", InterfaceKind::Lambda),
            ];
            let known = by_description
                .into_iter()
                .find(|(start, _)| description.starts_with(start));
            known.map_or(InterfaceKind::Interface, |(_, kind)| kind)
        }
        Some("efa" | "efa-only" | "branch" | "trunk") => InterfaceKind::Interface,
        Some(_) => InterfaceKind::Other,
    }
}
