//! Builds a [`Network`] out of records: parses, indexes, ties together, classifies.

mod interfaces;
mod routes;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use ipnet::IpNet;

pub(super) use self::routes::nets_of_list;

use self::interfaces::interfaces;
use self::routes::{route_tables, transit};
use super::class;
use super::model::{self, Resources};
use super::network::{NatGateway, Network, Peering, PeeringSide, Settings, Subnet, Vpc};
use super::ranges::Ranges;

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
            coverage: Arc::default(),
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
            groups: OnceLock::new(),
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
            // Of two with the same CIDR the first.
            let nets = vpc.subnets.iter().rev();
            let nets: Vec<_> = nets.map(|&(net, subnet)| (net, Some(subnet))).collect();
            vpc.subnet_of = Ranges::new(&nets, |_, inner| inner);
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
        subnet_of: Ranges::default(),
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
        cidrs.sort();
        cidrs.dedup();
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
