//! What an address means, seen from the interface that recorded it.
//!
//! The same 10.0.0.5 is a neighbour here, a peer's host there and nobody elsewhere. So an address is looked up in this
//! order, and private ranges by themselves mean nothing:
//!
//! ```text
//! special ─> own VPC ─> over the route in force: peer, transit, on premises ─> named on premises ─> AWS ─> internet
//!                                                                                     a private one ─> unrouted
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ip_ranges::{IpRanges, Owner};
use super::network::{Interface, Network, Subnet, Vpc};
use super::route::{Line, RouteTable, RouteTarget};
use super::vantage::Vantage;

/// A packet is followed through this many appliances and NAT gateways; a longer way is a loop.
const MOST_HOPS: usize = 4;

/// Where an address is, relative to the VPC that recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// In the same VPC.
    Vpc,
    /// In a VPC behind an active peering.
    Peer,
    /// Behind a transit gateway or core network.
    Transit,
    /// Behind a virtual private gateway, or named so.
    OnPrem,
    /// An AWS service's public address.
    AwsService,
    /// Any other public address.
    Internet,
    /// A private address that no route leads to.
    Unrouted,
    /// Link-local, multicast, broadcast, loopback, unspecified.
    Special,
}

impl Scope {
    /// The word for it in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Peer => "peer",
            Self::Transit => "transit",
            Self::OnPrem => "on_prem",
            Self::AwsService => "aws_service",
            Self::Internet => "internet",
            Self::Unrouted => "unrouted",
            Self::Special => "special",
        }
    }
}

/// What an address means.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'n> {
    /// Where it is.
    pub scope: Scope,
    /// The interface that has it.
    pub interface: Option<&'n Interface>,
    /// The subnet that holds it.
    pub subnet: Option<&'n Subnet>,
    /// The VPC that holds it.
    pub vpc: Option<&'n Vpc>,
    /// The AWS service whose range it is in; `EC2` is other customers' machines, and scope `internet`.
    pub service: Option<&'n str>,
}

impl Endpoint<'_> {
    fn only(scope: Scope) -> Self {
        Self {
            scope,
            interface: None,
            subnet: None,
            vpc: None,
            service: None,
        }
    }
}

impl Network {
    /// What an address means to whoever recorded it.
    pub fn resolve<'n>(&'n self, vantage: &Vantage<'n>, addr: IpAddr) -> Endpoint<'n> {
        if is_special(addr) {
            return Endpoint::only(Scope::Special);
        }
        if let Some(interface) = vantage.interface
            && interface.owns(addr)
        {
            let endpoint = Endpoint::only(Scope::Vpc);
            return Endpoint {
                interface: Some(interface),
                subnet: vantage.subnet,
                vpc: vantage.vpc,
                ..endpoint
            };
        }
        let is_of_nat = vantage
            .nat_gateway
            .is_some_and(|nat| nat.public_addresses.contains(&addr));
        if is_of_nat {
            return Endpoint {
                vpc: vantage.vpc,
                ..Endpoint::only(Scope::Vpc)
            };
        }
        if let Some(vpc) = vantage.vpc {
            if vpc.contains(addr) {
                return self.endpoint_in(Scope::Vpc, vpc, addr);
            }
            if let Some(endpoint) = self.over_routes(vantage, vpc, addr) {
                return endpoint;
            }
        }
        let is_vpc_known = vantage.vpc.is_some_and(|vpc| !vpc.cidrs.is_empty());
        if vantage.local_addr == Some(addr) && !is_vpc_known {
            return Endpoint {
                subnet: vantage.subnet,
                vpc: vantage.vpc,
                ..Endpoint::only(Scope::Vpc)
            };
        }
        if self
            .settings
            .on_premises
            .iter()
            .any(|net| net.contains(&addr))
        {
            return Endpoint::only(Scope::OnPrem);
        }
        if is_private(addr) {
            Endpoint::only(Scope::Unrouted)
        } else {
            self.public(addr)
        }
    }

    /// The interface, else the subnet, that has an address in a VPC.
    fn endpoint_in<'n>(&'n self, scope: Scope, vpc: &'n Vpc, addr: IpAddr) -> Endpoint<'n> {
        let delegated = || {
            vpc.delegated
                .iter()
                .find(|(net, _)| net.contains(&addr))
                .map(|(_, interface)| interface)
        };
        let interface = vpc
            .addresses
            .get(&addr)
            .or_else(delegated)
            .map(|&interface| &self.interfaces[interface]);
        let of_interface = interface
            .and_then(|interface| interface.subnet)
            .map(|subnet| &self.subnets[subnet]);
        let subnet = of_interface.or_else(|| self.subnet_in(vpc, addr));
        Endpoint {
            interface,
            subnet,
            vpc: Some(vpc),
            ..Endpoint::only(scope)
        }
    }

    pub(super) fn subnet_in(&self, vpc: &Vpc, addr: IpAddr) -> Option<&Subnet> {
        vpc.subnet_of.get(addr).map(|subnet| &self.subnets[subnet])
    }

    /// A public address: AWS's, or anybody's.
    fn public(&self, addr: IpAddr) -> Endpoint<'_> {
        match self
            .settings
            .ip_ranges
            .owner(embedded_ipv4(addr).unwrap_or(addr))
        {
            Some(owner) => Endpoint {
                service: Some(&owner.service),
                ..Endpoint::only(scope_of(owner))
            },
            None => Endpoint::only(Scope::Internet),
        }
    }

    /// The VPC joined to another by a peering, even one that has ended, or a transit gateway that has an address, whether or not a route leads
    /// there: packets arrive from where nothing leads back. `None` if several do.
    pub fn neighbour<'n>(&'n self, vpc: &Vpc, addr: IpAddr) -> Option<&'n Vpc> {
        let peerings = vpc.peerings.iter().map(|&peering| &self.peerings[peering]);
        let peers = peerings.filter_map(|peering| peering.far_side(&vpc.id).vpc);
        let on_same = |vpcs: &&Vec<usize>| vpcs.iter().any(|&near| self.vpcs[near].id == vpc.id);
        let attached = self.transit.values().filter(on_same).flatten().copied();
        let mut found: Option<&Vpc> = None;
        for far in peers.chain(attached).map(|far| &self.vpcs[far]) {
            if far.id == vpc.id
                || !far.contains(addr)
                || found.is_some_and(|found| found.id == far.id)
            {
                continue;
            }
            if found.is_some() {
                return None;
            }
            found = Some(far);
        }
        found
    }

    /// Where the routes lead, if that is not simply the internet.
    fn over_routes<'n>(
        &'n self,
        vantage: &Vantage<'n>,
        vpc: &'n Vpc,
        addr: IpAddr,
    ) -> Option<Endpoint<'n>> {
        let own = vantage.subnet.and_then(|subnet| subnet.table);
        let own = own.or_else(|| vantage.nat_gateway.and_then(|nat| nat.table));
        if let Some(table) = own {
            return self.follow(vpc, &self.tables[table], addr, 0);
        }
        if !vpc.tables.is_empty() {
            // The subnet is not known: of all tables of the VPC, the one that knows the address best.
            let tables = vpc.tables.iter().map(|&table| &self.tables[table]);
            let best =
                tables.max_by_key(|table| table.matching(addr).map(|(_, net)| net.prefix_len()))?;
            return self.follow(vpc, best, addr, 0);
        }
        let peers = vpc.peerings.iter().map(|&peering| &self.peerings[peering]);
        let far = peers
            .filter(|peering| peering.is_active)
            .map(|peering| peering.far_side(&vpc.id))
            .find(|side| side.cidrs.iter().any(|net| net.contains(&addr)))?;
        Some(self.far_endpoint(Scope::Peer, far.vpc, addr))
    }

    fn follow<'n>(
        &'n self,
        vpc: &'n Vpc,
        table: &'n RouteTable,
        addr: IpAddr,
        hops: usize,
    ) -> Option<Endpoint<'n>> {
        let (line, net) = table.matching(addr)?;
        if line.blackhole || hops > MOST_HOPS {
            return None;
        }
        // Half of everything is what people write for all of it.
        let is_default = net.prefix_len() <= 1;
        let leads_there = !is_default || is_private(addr);
        match line.target {
            RouteTarget::Peering => {
                let Some(peering) = self.peering(&line.target_id) else {
                    return leads_there.then(|| Endpoint::only(Scope::Peer));
                };
                let far = peering.far_side(&vpc.id);
                let holds = if far.cidrs.is_empty() {
                    leads_there
                } else {
                    far.cidrs.iter().any(|net| net.contains(&addr))
                };
                (peering.is_active && holds).then(|| self.far_endpoint(Scope::Peer, far.vpc, addr))
            }
            RouteTarget::OdbNetwork => leads_there.then(|| Endpoint::only(Scope::Peer)),
            RouteTarget::TransitGateway | RouteTarget::CoreNetwork => {
                self.over_transit(vpc, line, addr, leads_there)
            }
            RouteTarget::VpnGateway | RouteTarget::LocalGateway => {
                leads_there.then(|| Endpoint::only(Scope::OnPrem))
            }
            RouteTarget::GatewayEndpoint => Some(self.behind_gateway_endpoint(line, addr)),
            RouteTarget::NatGateway
            | RouteTarget::NatInstance
            | RouteTarget::InspectionEndpoint
            | RouteTarget::Interface => {
                let next = self.next_table(line)?;
                if std::ptr::eq(next, table) {
                    None
                } else {
                    self.follow(vpc, next, addr, hops + 1)
                }
            }
            RouteTarget::InternetGateway
            | RouteTarget::CarrierGateway
            | RouteTarget::EgressOnlyInternetGateway
            | RouteTarget::Local
            | RouteTarget::None => None,
        }
    }

    /// The route table of the subnet that a NAT gateway, an appliance or a firewall endpoint stands in.
    fn next_table(&self, line: &Line) -> Option<&RouteTable> {
        let of_subnet = |subnet: usize| self.subnets[subnet].table;
        let table = match line.target {
            RouteTarget::NatGateway => {
                let nat = self.nat_gateway(&line.target_id)?;
                nat.table.or_else(|| of_subnet(nat.subnet?))
            }
            RouteTarget::InspectionEndpoint => {
                let subnet_id = self.endpoint(&line.target_id)?.subnet_ids.first()?;
                of_subnet(*self.subnet_index.get(subnet_id.as_str())?)
            }
            _ => of_subnet(self.interface(&line.target_id)?.subnet?),
        };
        Some(&self.tables[table?])
    }

    fn over_transit<'n>(
        &'n self,
        vpc: &'n Vpc,
        line: &Line,
        addr: IpAddr,
        leads_there: bool,
    ) -> Option<Endpoint<'n>> {
        let attached = self
            .transit
            .get(line.target_id.as_ref())
            .into_iter()
            .flatten();
        let mut holders = attached
            .map(|&far| (far, &self.vpcs[far]))
            .filter(|(_, far)| far.id != vpc.id && far.contains(addr))
            .map(|(index, _)| index);
        match (holders.next(), holders.next()) {
            (Some(only), None) => Some(self.far_endpoint(Scope::Transit, Some(only), addr)),
            (Some(_), Some(_)) => Some(Endpoint::only(Scope::Transit)),
            (None, _)
                if self
                    .settings
                    .on_premises
                    .iter()
                    .any(|net| net.contains(&addr)) =>
            {
                Some(Endpoint::only(Scope::OnPrem))
            }
            (None, _) => leads_there.then(|| Endpoint::only(Scope::Transit)),
        }
    }

    fn behind_gateway_endpoint(&self, line: &Line, addr: IpAddr) -> Endpoint<'_> {
        let public = self.public(addr);
        let service = self
            .endpoint(&line.target_id)
            .and_then(|endpoint| endpoint.service_name.as_deref());
        let service = match service.and_then(|name| name.rsplit('.').next()) {
            Some("s3") => Some("S3"),
            Some("dynamodb") => Some("DYNAMODB"),
            _ => public.service,
        };
        Endpoint {
            service,
            ..Endpoint::only(Scope::AwsService)
        }
    }

    fn far_endpoint(&self, scope: Scope, vpc: Option<usize>, addr: IpAddr) -> Endpoint<'_> {
        match vpc.map(|vpc| &self.vpcs[vpc]) {
            Some(vpc) => self.endpoint_in(scope, vpc, addr),
            None => Endpoint::only(scope),
        }
    }
}

/// The scope of a public address that no VPC has and no route names.
pub(super) fn public_scope(ranges: &IpRanges, addr: IpAddr) -> Scope {
    let owner = ranges.owner(embedded_ipv4(addr).unwrap_or(addr));
    owner.map_or(Scope::Internet, scope_of)
}

/// `EC2` is other customers' machines.
fn scope_of(owner: &Owner) -> Scope {
    if owner.service == "EC2" {
        Scope::Internet
    } else {
        Scope::AwsService
    }
}

/// Addresses that never leave the link, or name no host.
pub(super) fn is_special(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => {
            // 240.0.0.0/4 is reserved, the broadcast address included.
            addr.octets()[0] == 0
                || addr.is_loopback()
                || addr.is_link_local()
                || addr.is_multicast()
                || addr.octets()[0] >= 240
        }
        IpAddr::V6(addr) => {
            // fd00:ec2::/32 is what 169.254.169.0/24 is to IPv4: metadata, time, DNS.
            let is_instance_service = addr.segments()[..2] == [0xfd00, 0x0ec2];
            addr.is_unspecified()
                || addr.is_loopback()
                || addr.is_unicast_link_local()
                || addr.is_multicast()
                || is_instance_service
        }
    }
}

/// RFC 1918, the shared space of RFC 6598, unique local IPv6: nobody on the internet.
pub fn is_private(addr: IpAddr) -> bool {
    match embedded_ipv4(addr).unwrap_or(addr) {
        IpAddr::V4(addr) => addr.is_private() || is_shared(addr),
        IpAddr::V6(addr) => addr.is_unique_local(),
    }
}

fn is_shared(addr: Ipv4Addr) -> bool {
    let [first, second, ..] = addr.octets();
    first == 100 && second & 0b1100_0000 == 64
}

/// The IPv4 address that `64:ff9b::/96` (NAT64) stands for.
fn embedded_ipv4(addr: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(addr) = addr else { return None };
    let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
    let is_nat64 = addr.octets()[..12] == nat64.octets()[..12];
    let [.., a, b, c, d] = addr.octets();
    is_nat64.then(|| IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
}

#[cfg(test)]
mod tests;
