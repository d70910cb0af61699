//! Builds a [`Network`] out of records: parses, indexes, ties together, classifies.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use super::Family;
use super::class;
use super::model::{self, Resources};
use super::network::{
    Interface, InterfaceKind, NatGateway, Network, Peering, PeeringSide, Settings, Subnet, Vpc,
};
use super::route::{Lookups, PrefixList, RouteTable, RouteTarget};

impl Network {
    /// Builds the network that the records describe.
    pub fn new(at: DateTime<Utc>, resources: Arc<Resources>, settings: Settings) -> Self {
        let vpcs = vpcs(&resources);
        let vpc_index = index(vpcs.iter().map(|vpc| &vpc.id));
        let nacls = nacls_of_subnets(&resources);
        let subnets: Vec<_> = resources
            .subnets
            .iter()
            .map(|record| subnet(record, &vpc_index, &nacls))
            .collect();
        let subnet_index = index(subnets.iter().map(|subnet| &subnet.id));
        let interfaces = interfaces(&resources, &vpc_index, &subnet_index);
        let interface_index = index(interfaces.iter().map(|interface| &interface.id));
        let tables = route_tables(&resources, &settings, &vpcs, &interfaces, &interface_index);
        let table_index = index(tables.iter().map(|table| &table.id));
        let nats = nat_gateways(&resources, &vpc_index, &subnet_index, &table_index);
        let nat_index = index(nats.iter().map(|nat| &nat.id));
        let peerings = peerings(&resources, &vpcs, &vpc_index);
        let peering_index = index(peerings.iter().map(|peering| &peering.id));
        let nacl_index = resources
            .network_acls
            .iter()
            .map(|acl| acl.network_acl_id.as_str().into())
            .zip(0..)
            .collect();
        let endpoint_index = resources
            .vpc_endpoints
            .iter()
            .map(|endpoint| endpoint.vpc_endpoint_id.as_str().into())
            .zip(0..)
            .collect();
        let mut network = Self {
            at,
            transit: transit(&resources, &tables, &vpc_index),
            resources,
            settings,
            vpcs,
            subnets,
            interfaces,
            tables,
            nats,
            peerings,
            vpc_index,
            subnet_index,
            interface_index,
            table_index,
            nat_index,
            peering_index,
            nacl_index,
            endpoint_index,
            by_address: HashMap::new(),
            by_public_address: HashMap::new(),
        };
        network.tie_together();
        network.find_addresses();
        class::classify(&mut network);
        network
    }

    /// Gives VPCs their subnets, tables and peerings, and subnets their tables.
    fn tie_together(&mut self) {
        let mut associated: HashMap<&str, usize> = HashMap::new();
        for (index, table) in self.tables.iter().enumerate() {
            for association in &table.record.associations {
                let state = association
                    .association_state
                    .state
                    .as_deref()
                    .unwrap_or("associated");
                if let Some(subnet_id) = &association.subnet_id
                    && state == "associated"
                {
                    associated.insert(subnet_id, index);
                }
            }
            if let Some(vpc) = table.vpc_id.as_ref().and_then(|id| self.vpc_index.get(id)) {
                self.vpcs[*vpc].tables.push(index);
            }
        }
        for (index, subnet) in self.subnets.iter_mut().enumerate() {
            let explicit = associated.get(subnet.id.as_ref()).copied();
            let vpc = subnet.vpc.map(|vpc| &mut self.vpcs[vpc]);
            let main = || {
                vpc.as_ref()?
                    .tables
                    .iter()
                    .copied()
                    .find(|&table| self.tables[table].is_main)
            };
            subnet.is_explicit = explicit.is_some();
            subnet.table = explicit.or_else(main);
            subnet.route_table_id = subnet.table.map(|table| Arc::clone(&self.tables[table].id));
            if let Some(vpc) = vpc {
                vpc.subnets.extend(
                    subnet
                        .cidr_block
                        .iter()
                        .chain(&subnet.ipv6_cidr_blocks)
                        .map(|&net| (net, index)),
                );
            }
        }
        for (index, peering) in self.peerings.iter().enumerate() {
            for vpc in peering.sides.iter().filter_map(|side| side.vpc) {
                self.vpcs[vpc].peerings.push(index);
            }
        }
        for vpc in &mut self.vpcs {
            vpc.subnets
                .sort_by_key(|(net, _)| Reverse(net.prefix_len()));
        }
    }

    fn find_addresses(&mut self) {
        for (index, interface) in self.interfaces.iter().enumerate() {
            for &addr in &interface.addresses {
                self.by_address.entry(addr).or_default().push(index);
                if addr.is_ipv6() {
                    self.by_public_address.insert(addr, index);
                }
            }
            for &addr in &interface.public_addresses {
                self.by_public_address.insert(addr, index);
            }
            if let Some(vpc) = interface.vpc {
                let vpc = &mut self.vpcs[vpc];
                vpc.addresses
                    .extend(interface.addresses.iter().map(|&addr| (addr, index)));
                vpc.delegated
                    .extend(interface.prefixes.iter().map(|&net| (net, index)));
            }
        }
        for vpc in &mut self.vpcs {
            vpc.delegated
                .sort_by_key(|(net, _)| Reverse(net.prefix_len()));
        }
    }
}

fn index<'a>(ids: impl Iterator<Item = &'a Arc<str>>) -> HashMap<Arc<str>, usize> {
    ids.map(Arc::clone).zip(0..).collect()
}

fn shared(text: Option<&String>) -> Option<Arc<str>> {
    text.map(|text| text.as_str().into())
}

/// What parses; what does not is in the import's notes.
fn parse<T: FromStr>(text: Option<&String>) -> Option<T> {
    text?.parse().ok()
}

fn net(text: Option<&String>) -> Option<IpNet> {
    parse::<IpNet>(text).map(|net| net.trunc())
}

/// A CIDR that is being taken away still shows up, in another state.
fn is_associated(state: &model::State) -> bool {
    state
        .state
        .as_deref()
        .is_none_or(|state| state == "associated")
}

fn ipv6_nets(associations: &[model::Ipv6CidrBlockAssociation]) -> Vec<IpNet> {
    associations
        .iter()
        .filter(|association| is_associated(&association.ipv6_cidr_block_state))
        .filter_map(|association| net(association.ipv6_cidr_block.as_ref()))
        .collect()
}

fn ipv4_nets(first: Option<&String>, associations: &[model::CidrBlockAssociation]) -> Vec<IpNet> {
    let listed = associations
        .iter()
        .filter(|association| is_associated(&association.cidr_block_state))
        .filter_map(|association| net(association.cidr_block.as_ref()));
    let mut nets: Vec<_> = net(first).into_iter().chain(listed).collect();
    nets.sort();
    nets.dedup();
    nets
}

/// Every VPC that has a record, and every one that others mention: what its subnets and local routes cover is its own.
fn vpcs(resources: &Resources) -> Vec<Vpc> {
    let blank = |id: &str| Vpc {
        id: id.into(),
        account_id: None,
        region: None,
        name: None,
        cidrs: Vec::new(),
        record: None,
        subnets: Vec::new(),
        addresses: HashMap::new(),
        delegated: Vec::new(),
        tables: Vec::new(),
        peerings: Vec::new(),
    };
    let mut vpcs: BTreeMap<String, Vpc> = BTreeMap::new();
    for record in &resources.vpcs {
        let mut cidrs = ipv4_nets(
            record.cidr_block.as_ref(),
            &record.cidr_block_association_set,
        );
        cidrs.extend(ipv6_nets(&record.ipv6_cidr_block_association_set));
        let vpc = Vpc {
            account_id: shared(record.account_id.as_ref()),
            region: shared(record.region.as_ref()),
            name: model::tag(&record.tags, "Name").map(Into::into),
            cidrs,
            record: Some(Arc::clone(record)),
            ..blank(&record.vpc_id)
        };
        vpcs.insert(record.vpc_id.clone(), vpc);
    }
    let complete: BTreeSet<String> = vpcs
        .iter()
        .filter(|(_, vpc)| !vpc.cidrs.is_empty())
        .map(|(id, _)| id.clone())
        .collect();
    let mut mention = |id: Option<&String>,
                       nets: Vec<IpNet>,
                       account_id: Option<&String>,
                       region: Option<&String>| {
        let Some(id) = id else { return };
        let vpc = vpcs.entry(id.clone()).or_insert_with(|| blank(id));
        vpc.account_id = vpc.account_id.take().or_else(|| shared(account_id));
        vpc.region = vpc.region.take().or_else(|| shared(region));
        if !complete.contains(id) {
            vpc.cidrs.extend(nets);
        }
    };
    for subnet in &resources.subnets {
        let mut nets = ipv6_nets(&subnet.ipv6_cidr_block_association_set);
        nets.extend(net(subnet.cidr_block.as_ref()));
        mention(
            subnet.vpc_id.as_ref(),
            nets,
            subnet.account_id.as_ref(),
            subnet.region.as_ref(),
        );
    }
    for table in &resources.route_tables {
        let local = table
            .routes
            .iter()
            .filter(|route| route.gateway_id.as_deref() == Some("local"));
        let nets = local
            .filter_map(|route| {
                net(route.destination_cidr_block.as_ref())
                    .or(net(route.destination_ipv6_cidr_block.as_ref()))
            })
            .collect();
        mention(
            table.vpc_id.as_ref(),
            nets,
            table.account_id.as_ref(),
            table.region.as_ref(),
        );
    }
    for interface in &resources.network_interfaces {
        mention(
            interface.vpc_id.as_ref(),
            Vec::new(),
            None,
            interface.region.as_ref(),
        );
    }
    let mut vpcs: Vec<_> = vpcs.into_values().collect();
    for vpc in &mut vpcs {
        vpc.cidrs.sort();
        vpc.cidrs.dedup();
    }
    vpcs
}

fn nacls_of_subnets(resources: &Resources) -> HashMap<&str, Arc<str>> {
    let mut nacls = HashMap::new();
    for acl in &resources.network_acls {
        for association in &acl.associations {
            if let Some(subnet_id) = &association.subnet_id {
                nacls.insert(subnet_id.as_str(), acl.network_acl_id.as_str().into());
            }
        }
    }
    nacls
}

fn subnet(
    record: &Arc<model::Subnet>,
    vpc_index: &HashMap<Arc<str>, usize>,
    nacls: &HashMap<&str, Arc<str>>,
) -> Subnet {
    Subnet {
        id: record.subnet_id.as_str().into(),
        vpc_id: shared(record.vpc_id.as_ref()),
        account_id: shared(record.account_id.as_ref()),
        region: shared(record.region.as_ref()),
        name: model::tag(&record.tags, "Name").map(Into::into),
        cidr_block: net(record.cidr_block.as_ref()),
        ipv6_cidr_blocks: ipv6_nets(&record.ipv6_cidr_block_association_set),
        route_table_id: None,
        nacl_id: nacls.get(record.subnet_id.as_str()).cloned(),
        record: Arc::clone(record),
        vpc: record
            .vpc_id
            .as_ref()
            .and_then(|id| vpc_index.get(id.as_str()).copied()),
        table: None,
        is_explicit: false,
        class4: None,
        class6: None,
    }
}

fn interfaces(
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
        Some("gateway_load_balancer" | "gateway_load_balancer_endpoint") => {
            InterfaceKind::GatewayLoadBalancer
        }
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

/// CIDRs of a prefix list; a gateway endpoint's list whose entries are not known is taken from AWS's public ranges.
fn prefix_lists<'a>(resources: &'a Resources, settings: &Settings) -> HashMap<&'a str, PrefixList> {
    let mut lists: HashMap<&str, PrefixList> = HashMap::new();
    for record in &resources.prefix_lists {
        let family = match record.address_family.as_deref() {
            Some("IPv6") => Some(Family::V6),
            Some("IPv4") => Some(Family::V4),
            _ => None,
        };
        let nets = match record.known_cidrs() {
            Some(cidrs) => cidrs
                .iter()
                .filter_map(|cidr| cidr.parse::<IpNet>().ok())
                .map(|net| net.trunc())
                .collect(),
            None => ranges_of(record.prefix_list_name.as_deref(), family, settings),
        };
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

fn route_tables(
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

fn nat_gateways(
    resources: &Resources,
    vpc_index: &HashMap<Arc<str>, usize>,
    subnet_index: &HashMap<Arc<str>, usize>,
    table_index: &HashMap<Arc<str>, usize>,
) -> Vec<NatGateway> {
    let find =
        |id: Option<&String>, index: &HashMap<Arc<str>, usize>| index.get(id?.as_str()).copied();
    let nat = |record: &Arc<model::NatGateway>| NatGateway {
        id: record.nat_gateway_id.as_str().into(),
        is_regional: record.availability_mode.as_deref() == Some("regional"),
        is_public: record.connectivity_type.as_deref() != Some("private"),
        is_available: record
            .state
            .as_deref()
            .is_none_or(|state| state == "available"),
        public_addresses: record
            .nat_gateway_addresses
            .iter()
            .filter_map(|address| parse(address.public_ip.as_ref()))
            .collect(),
        vpc: find(record.vpc_id.as_ref(), vpc_index),
        subnet: find(record.subnet_id.as_ref(), subnet_index),
        table: find(record.route_table_id.as_ref(), table_index),
        record: Arc::clone(record),
    };
    resources.nat_gateways.iter().map(nat).collect()
}

fn peerings(
    resources: &Resources,
    vpcs: &[Vpc],
    vpc_index: &HashMap<Arc<str>, usize>,
) -> Vec<Peering> {
    let side = |info: &model::PeeringVpcInfo| {
        let vpc = info
            .vpc_id
            .as_ref()
            .and_then(|id| vpc_index.get(id.as_str()).copied());
        let mut cidrs = ipv4_nets(info.cidr_block.as_ref(), &info.cidr_block_set);
        cidrs.extend(ipv6_nets(&info.ipv6_cidr_block_set));
        cidrs.extend(vpc.iter().flat_map(|&vpc| &vpcs[vpc].cidrs));
        PeeringSide {
            vpc_id: info.vpc_id.clone(),
            vpc,
            cidrs,
        }
    };
    let peering = |record: &Arc<model::VpcPeeringConnection>| Peering {
        id: record.vpc_peering_connection_id.as_str().into(),
        is_active: record
            .status
            .code
            .as_deref()
            .is_none_or(|code| code == "active"),
        sides: [
            side(&record.requester_vpc_info),
            side(&record.accepter_vpc_info),
        ],
    };
    resources
        .vpc_peering_connections
        .iter()
        .map(peering)
        .collect()
}

/// VPCs on each transit gateway, as attachments list them and as route tables point to them.
fn transit(
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
