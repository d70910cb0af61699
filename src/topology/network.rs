//! A topology that can be asked: everything by id, by address and by route, built once and never changed.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use super::class::Classified;
use super::group_rules::SecurityGroups;
use super::model::{self, Coverage, Kind, Resources};
use super::ranges::Ranges;
use super::route::{Route, RouteTable, RouteTarget};
use super::{Class, Family, Geo, IpRanges, Vantage};

/// What is known of addresses besides the topology.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// AWS's own ranges.
    pub ip_ranges: IpRanges,
    /// Ranges that somebody named as on premises.
    pub on_premises: Vec<IpNet>,
    /// Whose addresses of the internet are, where the user has files that tell.
    pub geo: Geo,
}

/// A VPC.
#[derive(Debug)]
pub struct Vpc {
    /// Its id.
    pub id: Arc<str>,
    /// The account that owns it.
    pub account_id: Option<Arc<str>>,
    /// Its region.
    pub region: Option<Arc<str>>,
    /// Its `Name` tag.
    pub name: Option<Arc<str>>,
    /// Every IPv4 and IPv6 CIDR.
    pub cidrs: Vec<IpNet>,
    /// EC2's own record; `None` for a VPC that only its subnets, interfaces or route tables mention.
    pub record: Option<Arc<model::Vpc>>,
    /// The longest prefix first.
    pub(super) subnets: Vec<(IpNet, usize)>,
    /// The subnet of each address, the longest prefix.
    pub(super) subnet_of: Ranges<Option<usize>>,
    pub(super) addresses: HashMap<IpAddr, usize>,
    /// Prefixes delegated to interfaces, the longest first.
    pub(super) delegated: Vec<(IpNet, usize)>,
    pub(super) tables: Vec<usize>,
    pub(super) peerings: Vec<usize>,
}

impl Vpc {
    /// True if an address is in one of the VPC's CIDRs.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.cidrs.iter().any(|net| net.contains(&addr))
    }
}

/// A subnet.
#[derive(Debug)]
pub struct Subnet {
    /// Its id.
    pub id: Arc<str>,
    /// Its VPC.
    pub vpc_id: Option<Arc<str>>,
    /// The account that owns it.
    pub account_id: Option<Arc<str>>,
    /// Its region.
    pub region: Option<Arc<str>>,
    /// Its `Name` tag.
    pub name: Option<Arc<str>>,
    /// Its IPv4 CIDR.
    pub cidr_block: Option<IpNet>,
    /// Its IPv6 CIDRs.
    pub ipv6_cidr_blocks: Vec<IpNet>,
    /// The route table in force.
    pub route_table_id: Option<Arc<str>>,
    /// The network ACL in force.
    pub nacl_id: Option<Arc<str>>,
    /// EC2's own record.
    pub record: Arc<model::Subnet>,
    pub(super) vpc: Option<usize>,
    pub(super) table: Option<usize>,
    /// False where the table is the VPC's main one and nothing associates it with the subnet.
    pub(super) is_explicit: bool,
    pub(super) class4: Option<Classified>,
    pub(super) class6: Option<Classified>,
}

impl Subnet {
    /// How the subnet reaches the outside; `None` where it has no CIDR of that family.
    pub fn class(&self, family: Family) -> Option<Class> {
        self.classified(family).map(|classified| classified.class)
    }

    /// Why it is of that class, naming route table, destination and target.
    pub fn class_reason(&self, family: Family) -> Option<&str> {
        self.classified(family)
            .map(|classified| classified.reason.as_str())
    }

    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        model::tag(&self.record.tags, key)
    }

    pub(super) fn has(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.cidr_block.is_some() || self.ipv6_cidr_blocks.is_empty(),
            Family::V6 => !self.ipv6_cidr_blocks.is_empty(),
        }
    }

    fn classified(&self, family: Family) -> Option<&Classified> {
        match family {
            Family::V4 => self.class4.as_ref(),
            Family::V6 => self.class6.as_ref(),
        }
    }
}

/// What an interface is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterfaceKind {
    /// An instance's, a container's, or nobody's.
    Interface,
    /// A NAT gateway's.
    Nat,
    /// A regional NAT gateway's.
    RegionalNat,
    /// A transit gateway attachment's.
    TransitGateway,
    /// A Network Load Balancer's.
    NetworkLoadBalancer,
    /// An Application or Classic Load Balancer's.
    LoadBalancer,
    /// An interface endpoint's.
    VpcEndpoint,
    /// A Gateway Load Balancer's.
    GatewayLoadBalancer,
    /// A Gateway Load Balancer endpoint's.
    GatewayLoadBalancerEndpoint,
    /// A Lambda function's.
    Lambda,
    /// Another service's.
    Other,
}

impl InterfaceKind {
    /// The word for it in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Nat => "nat",
            Self::RegionalNat => "regional_nat",
            Self::TransitGateway => "transit_gateway",
            Self::NetworkLoadBalancer => "network_load_balancer",
            Self::LoadBalancer => "load_balancer",
            Self::VpcEndpoint => "vpc_endpoint",
            Self::GatewayLoadBalancer => "gateway_load_balancer",
            Self::GatewayLoadBalancerEndpoint => "gateway_load_balancer_endpoint",
            Self::Lambda => "lambda",
            Self::Other => "other",
        }
    }
}

/// A network interface.
#[derive(Debug)]
pub struct Interface {
    /// Its id.
    pub id: Arc<str>,
    /// Its VPC.
    pub vpc_id: Option<Arc<str>>,
    /// Its subnet.
    pub subnet_id: Option<Arc<str>>,
    /// The account that owns it.
    pub account_id: Option<Arc<str>>,
    /// Its region.
    pub region: Option<Arc<str>>,
    /// The instance that it is attached to.
    pub instance_id: Option<Arc<str>>,
    /// Private IPv4 addresses, the primary first, and IPv6 addresses.
    pub addresses: Vec<IpAddr>,
    /// Public IPv4 addresses that are translated to a private one.
    pub public_addresses: Vec<IpAddr>,
    /// Prefixes delegated to it.
    pub prefixes: Vec<IpNet>,
    /// EC2's own record.
    pub record: Arc<model::NetworkInterface>,
    pub(super) kind: InterfaceKind,
    pub(super) vpc: Option<usize>,
    pub(super) subnet: Option<usize>,
}

impl Interface {
    /// What the interface is part of.
    pub fn kind(&self) -> InterfaceKind {
        self.kind
    }

    /// True if an address is one of its own: private, IPv6, delegated or public.
    pub fn owns(&self, addr: IpAddr) -> bool {
        self.addresses.contains(&addr)
            || self.public_addresses.contains(&addr)
            || self.prefixes.iter().any(|net| net.contains(&addr))
    }
}

/// A NAT gateway.
#[derive(Debug)]
pub struct NatGateway {
    /// Its id.
    pub id: Arc<str>,
    /// True for a regional one, which has no subnet and no interface of its own in the logs.
    pub is_regional: bool,
    /// True for one that translates to a public address.
    pub is_public: bool,
    /// True unless it is being made or taken down.
    pub is_available: bool,
    /// The public addresses that it translates to.
    pub public_addresses: Vec<IpAddr>,
    /// EC2's own record.
    pub record: Arc<model::NatGateway>,
    pub(super) vpc: Option<usize>,
    pub(super) subnet: Option<usize>,
    pub(super) table: Option<usize>,
}

/// A peering, seen from one of its VPCs.
#[derive(Debug)]
pub(super) struct Peering {
    pub(super) id: Arc<str>,
    pub(super) is_active: bool,
    pub(super) sides: [PeeringSide; 2],
}

/// One side of a peering.
#[derive(Debug)]
pub(super) struct PeeringSide {
    pub(super) vpc_id: Option<String>,
    pub(super) vpc: Option<usize>,
    pub(super) cidrs: Vec<IpNet>,
}

impl Peering {
    pub(super) fn far_side(&self, vpc_id: &str) -> &PeeringSide {
        let [requester, accepter] = &self.sides;
        if requester.vpc_id.as_deref() == Some(vpc_id) {
            accepter
        } else {
            requester
        }
    }
}

/// The network as of one moment.
#[derive(Debug)]
pub struct Network {
    pub(super) at: DateTime<Utc>,
    pub(super) resources: Arc<Resources>,
    /// What the resources are all of.
    pub(super) coverage: Arc<BTreeSet<Coverage>>,
    pub(super) settings: Settings,
    pub(super) vpcs: Vec<Vpc>,
    pub(super) subnets: Vec<Subnet>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) tables: Vec<RouteTable>,
    pub(super) nats: Vec<NatGateway>,
    pub(super) peerings: Vec<Peering>,
    pub(super) vpc_index: HashMap<Arc<str>, usize>,
    pub(super) subnet_index: HashMap<Arc<str>, usize>,
    pub(super) interface_index: HashMap<Arc<str>, usize>,
    pub(super) table_index: HashMap<Arc<str>, usize>,
    pub(super) nat_index: HashMap<Arc<str>, usize>,
    pub(super) peering_index: HashMap<Arc<str>, usize>,
    pub(super) nacl_index: HashMap<Arc<str>, usize>,
    /// Endpoints by id, as positions in the records.
    pub(super) endpoint_index: HashMap<Arc<str>, usize>,
    /// VPCs on each transit gateway or core network.
    pub(super) transit: HashMap<Arc<str>, Vec<usize>>,
    /// Interfaces by private or IPv6 address; several VPCs may use the same.
    pub(super) by_address: HashMap<IpAddr, Vec<usize>>,
    /// Interfaces by public address.
    pub(super) by_public_address: HashMap<IpAddr, usize>,
    /// Built when somebody first asks what a group lets through.
    pub(super) groups: OnceLock<SecurityGroups>,
}

impl Network {
    /// When the network looked like this.
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// EC2's own records, by kind.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    pub(super) fn with_coverage(mut self, coverage: Arc<BTreeSet<Coverage>>) -> Self {
        self.coverage = coverage;
        self
    }

    /// True if anybody asked for resources of a kind: that there are none is then known, too.
    pub(crate) fn knows_any(&self, kind: Kind) -> bool {
        self.resources.counts().iter().any(|(of, _)| *of == kind)
            || self.coverage.iter().any(|covered| covered.kind == kind)
    }

    /// True if all resources of a kind are known, of an account and region: what is not there does not exist.
    pub(crate) fn knows_all_of(
        &self,
        kind: Kind,
        account_id: Option<&str>,
        region: Option<&str>,
    ) -> bool {
        self.coverage.iter().any(|covered| {
            covered.kind == kind
                && covered.account_id.as_deref() == account_id
                && covered.region.as_deref() == region
        })
    }

    /// Transit gateways and core networks, by id, each with the VPCs on it that the topology has, by id.
    pub(crate) fn transit_gateways(&self) -> Vec<(&str, Vec<&Vpc>)> {
        let mut gateways: Vec<(&str, Vec<&Vpc>)> = self
            .transit
            .iter()
            .map(|(id, vpcs)| {
                let mut vpcs: Vec<&Vpc> = vpcs.iter().map(|&vpc| &self.vpcs[vpc]).collect();
                vpcs.sort_by(|a, b| a.id.cmp(&b.id));
                (id.as_ref(), vpcs)
            })
            .collect();
        gateways.sort_by_key(|(id, _)| *id);
        gateways
    }

    /// What is known of addresses besides the topology.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every VPC, by id.
    pub fn vpcs(&self) -> &[Vpc] {
        &self.vpcs
    }

    /// Every subnet, by id.
    pub fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }

    /// Every interface, by id.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// A VPC by id.
    pub fn vpc(&self, id: &str) -> Option<&Vpc> {
        self.vpc_index.get(id).map(|&index| &self.vpcs[index])
    }

    /// A subnet by id.
    pub fn subnet(&self, id: &str) -> Option<&Subnet> {
        self.subnet_index.get(id).map(|&index| &self.subnets[index])
    }

    /// An interface by id.
    pub fn interface(&self, id: &str) -> Option<&Interface> {
        self.interface_index
            .get(id)
            .map(|&index| &self.interfaces[index])
    }

    /// A route table by id.
    pub fn route_table(&self, id: &str) -> Option<&RouteTable> {
        self.table_index.get(id).map(|&index| &self.tables[index])
    }

    /// A NAT gateway by id.
    pub fn nat_gateway(&self, id: &str) -> Option<&NatGateway> {
        self.nat_index.get(id).map(|&index| &self.nats[index])
    }

    /// A network ACL's record by id.
    pub fn nacl(&self, id: &str) -> Option<&Arc<model::NetworkAcl>> {
        self.nacl_index
            .get(id)
            .map(|&index| &self.resources.network_acls[index])
    }

    /// An endpoint's record by id.
    pub fn endpoint(&self, id: &str) -> Option<&Arc<model::VpcEndpoint>> {
        self.endpoint_index
            .get(id)
            .map(|&index| &self.resources.vpc_endpoints[index])
    }

    /// The interface that a public IPv4 address (Elastic or not) or an IPv6 address belongs to, wherever it is seen.
    pub fn owner_of_public(&self, addr: IpAddr) -> Option<&Interface> {
        let index = self.by_public_address.get(&addr)?;
        Some(&self.interfaces[*index])
    }

    /// The route in force for an address in a subnet: the longest prefix, and AWS's rules for ties. A black hole is a
    /// route too, to `none`.
    pub fn route(&self, subnet: &Subnet, addr: IpAddr) -> Option<Route<'_>> {
        Some(self.in_force(self.tables[subnet.table?].lookup(addr)?))
    }

    /// A route to a peering that is no longer active is a black hole, whatever its state says.
    fn in_force<'n>(&self, route: Route<'n>) -> Route<'n> {
        let is_over = route.target == RouteTarget::Peering
            && self
                .peering(route.target_id)
                .is_some_and(|peering| !peering.is_active);
        if is_over {
            Route {
                target: RouteTarget::None,
                ..route
            }
        } else {
            route
        }
    }

    /// The route in force for an address, seen from whoever recorded a flow; `None` also where the subnet is not known.
    pub fn route_from(&self, vantage: &Vantage<'_>, addr: IpAddr) -> Option<Route<'_>> {
        let of_nat = || vantage.nat_gateway?.table;
        let table = vantage
            .subnet
            .and_then(|subnet| subnet.table)
            .or_else(of_nat)?;
        Some(self.in_force(self.tables[table].lookup(addr)?))
    }

    pub(super) fn peering(&self, id: &str) -> Option<&Peering> {
        self.peering_index
            .get(id)
            .map(|&index| &self.peerings[index])
    }
}
