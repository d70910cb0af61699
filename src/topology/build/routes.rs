//! Route tables out of records: prefix lists expanded, endpoints told apart, transit gateways with their VPCs.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;

use crate::topology::Family;
use crate::topology::model::{self, Resources};
use crate::topology::network::{Interface, Settings, Vpc};
use crate::topology::route::{Lookups, PrefixList, RouteTable, RouteTarget};

/// CIDRs of a prefix list; a gateway endpoint's list whose entries are not known is taken from AWS's public ranges.
fn prefix_lists<'a>(resources: &'a Resources, settings: &Settings) -> HashMap<&'a str, PrefixList> {
    let mut lists: HashMap<&str, PrefixList> = HashMap::new();
    for record in &resources.prefix_lists {
        let family = family_of(record);
        let nets = nets_of_list(record, settings).unwrap_or_default();
        lists.insert(&record.prefix_list_id, PrefixList { nets, family });
    }
    let services: HashMap<_, _> = resources
        .vpc_endpoints
        .iter()
        .map(|endpoint| (endpoint.vpc_endpoint_id.as_str(), &endpoint.service_name))
        .collect();
    for route in resources
        .route_tables
        .iter()
        .flat_map(|table| &table.routes)
    {
        if let Some(id) = &route.destination_prefix_list_id
            && !lists.contains_key(id.as_str())
            && let Some(endpoint) = &route.gateway_id
            && let Some(Some(service)) = services.get(endpoint.as_str())
        {
            let nets = ranges_of(Some(service), None, settings);
            lists.insert(id, PrefixList { nets, family: None });
        }
    }
    lists
}

fn family_of(record: &model::PrefixList) -> Option<Family> {
    match record.address_family.as_deref() {
        Some("IPv6") => Some(Family::V6),
        Some("IPv4") => Some(Family::V4),
        _ => None,
    }
}

/// The CIDRs of a prefix list, from its entries or, for a gateway endpoint's list, from AWS's public ranges; `None` where neither tells.
pub(in crate::topology) fn nets_of_list(
    record: &model::PrefixList,
    settings: &Settings,
) -> Option<Vec<IpNet>> {
    if let Some(cidrs) = record.known_cidrs() {
        let nets = cidrs.iter().filter_map(|cidr| cidr.parse::<IpNet>().ok());
        return Some(nets.map(|net| net.trunc()).collect());
    }
    let name = record.prefix_list_name.as_deref();
    let nets = ranges_of(name, family_of(record), settings);
    (!nets.is_empty()).then_some(nets)
}

/// What AWS publishes for `com.amazonaws.us-east-1.s3`.
fn ranges_of(name: Option<&str>, family: Option<Family>, settings: &Settings) -> Vec<IpNet> {
    let mut parts = name
        .unwrap_or_default()
        .strip_prefix("com.amazonaws.")
        .unwrap_or_default()
        .split('.');
    let service = match (parts.next(), parts.next()) {
        (Some(region), Some("s3")) => Some((region, "S3")),
        (Some(region), Some("dynamodb")) => Some((region, "DYNAMODB")),
        _ => None,
    };
    let Some((region, service)) = service else {
        return Vec::new();
    };
    let mut nets = settings.ip_ranges.nets_of(service, region);
    nets.retain(|net| family.is_none_or(|family| Family::of_net(net) == family));
    nets
}

pub(super) fn route_tables(
    resources: &Resources,
    settings: &Settings,
    vpcs: &[Vpc],
    interfaces: &[Interface],
    interface_index: &HashMap<Arc<str>, usize>,
) -> Vec<RouteTable> {
    let prefix_lists = prefix_lists(resources, settings);
    let endpoint_types = resources
        .vpc_endpoints
        .iter()
        .filter_map(|endpoint| {
            Some((
                endpoint.vpc_endpoint_id.as_str(),
                endpoint.vpc_endpoint_type.as_deref()?,
            ))
        })
        .collect();
    let is_public_interface = |id: &str| {
        interface_index
            .get(id)
            .is_some_and(|&interface| !interfaces[interface].public_addresses.is_empty())
    };
    let table = |record: &Arc<model::RouteTable>| {
        let vpc = vpcs.binary_search_by(|vpc| {
            vpc.id
                .as_ref()
                .cmp(record.vpc_id.as_deref().unwrap_or_default())
        });
        let lookups = Lookups {
            prefix_lists: &prefix_lists,
            endpoint_types: &endpoint_types,
            is_public_interface: &is_public_interface,
            vpc_cidrs: vpc.map_or(&[], |vpc| &vpcs[vpc].cidrs),
        };
        RouteTable::new(record, &lookups)
    };
    resources.route_tables.iter().map(table).collect()
}

/// VPCs on each transit gateway, as attachments list them and as route tables point to them.
pub(super) fn transit(
    resources: &Resources,
    tables: &[RouteTable],
    vpc_index: &HashMap<Arc<str>, usize>,
) -> HashMap<Arc<str>, Vec<usize>> {
    let is_up = |state: &Option<String>| {
        state
            .as_deref()
            .is_none_or(|state| matches!(state, "available" | "modifying"))
    };
    let of_vpcs = resources
        .transit_gateway_vpc_attachments
        .iter()
        .filter(|attachment| is_up(&attachment.state))
        .map(|attachment| {
            (
                attachment.transit_gateway_id.as_deref(),
                attachment.vpc_id.as_deref(),
            )
        });
    let of_any = resources
        .transit_gateway_attachments
        .iter()
        .filter(|attachment| {
            is_up(&attachment.state) && attachment.resource_type.as_deref() == Some("vpc")
        })
        .map(|attachment| {
            (
                attachment.transit_gateway_id.as_deref(),
                attachment.resource_id.as_deref(),
            )
        });
    let routed = tables.iter().flat_map(|table| {
        let lines = table.lines.iter().filter(|line| !line.blackhole);
        lines
            .filter(|line| {
                matches!(
                    line.target,
                    RouteTarget::TransitGateway | RouteTarget::CoreNetwork
                )
            })
            .map(|line| (Some(line.target_id.as_ref()), table.vpc_id.as_deref()))
    });
    let mut transit: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
    for (gateway, vpc) in of_vpcs.chain(of_any).chain(routed) {
        if let (Some(gateway), Some(&vpc)) = (gateway, vpc.and_then(|id| vpc_index.get(id))) {
            let vpcs = transit.entry(gateway.into()).or_default();
            if !vpcs.contains(&vpc) {
                vpcs.push(vpc);
            }
        }
    }
    transit
}
