//! Route tables: where a packet goes, by longest prefix and AWS's rules for ties.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Family;
use super::model;

/// What kind of thing a route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteTarget {
    /// An internet gateway.
    InternetGateway,
    /// A carrier gateway (Wavelength): the carrier's and the internet's side.
    CarrierGateway,
    /// A NAT gateway.
    NatGateway,
    /// An instance that does what a NAT gateway does: an interface with a public address.
    NatInstance,
    /// An egress-only internet gateway.
    EgressOnlyInternetGateway,
    /// A transit gateway.
    TransitGateway,
    /// A Cloud WAN core network.
    CoreNetwork,
    /// A VPC peering.
    Peering,
    /// A peering with an Oracle Database@AWS network.
    OdbNetwork,
    /// A virtual private gateway.
    VpnGateway,
    /// An Outpost's local gateway.
    LocalGateway,
    /// A gateway endpoint (S3, DynamoDB).
    GatewayEndpoint,
    /// A Gateway Load Balancer endpoint, a firewall's too.
    InspectionEndpoint,
    /// An interface in the VPC: an appliance.
    Interface,
    /// The VPC itself.
    Local,
    /// Nothing: the route is a black hole.
    None,
}

impl RouteTarget {
    /// The word for it in tables. Several kinds share one: the word says which way a packet leaves, and an appliance's
    /// interface is still in the VPC.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InternetGateway | Self::CarrierGateway => "igw",
            Self::NatGateway | Self::NatInstance => "nat",
            Self::EgressOnlyInternetGateway => "eigw",
            Self::TransitGateway | Self::CoreNetwork => "tgw",
            Self::Peering | Self::OdbNetwork => "pcx",
            Self::VpnGateway | Self::LocalGateway => "vgw",
            Self::GatewayEndpoint | Self::InspectionEndpoint => "vpce",
            Self::Interface | Self::Local => "local",
            Self::None => "none",
        }
    }
}

/// The route in force for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'n> {
    /// What kind of thing it leads to; `None` for a black hole.
    pub target: RouteTarget,
    /// The destination as the table has it: a CIDR or a prefix list.
    pub destination: &'n str,
    /// The gateway, or `local`; for a black hole the gateway that is gone.
    pub target_id: &'n str,
    /// The table.
    pub route_table_id: &'n str,
}

/// A line of a route table.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) destination: Arc<str>,
    pub(super) family: Family,
    /// What the destination covers; empty for a prefix list whose entries are not known.
    pub(super) nets: Vec<IpNet>,
    /// What it leads to, or did before it became a black hole.
    pub(super) target: RouteTarget,
    pub(super) target_id: Arc<str>,
    pub(super) blackhole: bool,
    /// Which route of the record this is; `None` for a local route that the record left out.
    position: Option<usize>,
    rank: Rank,
}

impl Line {
    /// True for a route that a gateway or a route server announced, and nobody typed.
    pub(super) fn is_propagated(&self) -> bool {
        self.rank == Rank::Propagated
    }

    /// Why another line with the same destination wins.
    pub(super) fn why_beaten_by(&self, winner: &Self) -> &'static str {
        match (winner.rank, self.rank) {
            (_, Rank::Propagated) if winner.rank != Rank::Propagated => {
                "a static route beats a propagated one"
            }
            (Rank::Cidr, Rank::PrefixList) => "a route to a CIDR beats one to a prefix list",
            _ => "AWS picks one of the two and keeps it",
        }
    }
}

/// Which of two routes with the same destination wins: the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Cidr,
    PrefixList,
    Propagated,
}

/// One destination of one line.
#[derive(Debug)]
struct Entry {
    net: IpNet,
    line: usize,
}

/// A route table.
#[derive(Debug)]
pub struct RouteTable {
    /// Its id.
    pub id: Arc<str>,
    /// The VPC it belongs to.
    pub vpc_id: Option<Arc<str>>,
    /// EC2's own record.
    pub record: Arc<model::RouteTable>,
    pub(super) is_main: bool,
    pub(super) lines: Vec<Line>,
    /// The best match first, each family on its own.
    v4: Vec<Entry>,
    v6: Vec<Entry>,
}

/// What a line of a route table is built from.
pub(super) struct Lookups<'a> {
    pub(super) prefix_lists: &'a HashMap<&'a str, PrefixList>,
    pub(super) endpoint_types: &'a HashMap<&'a str, &'a str>,
    /// True for an interface with a public address.
    pub(super) is_public_interface: &'a dyn Fn(&str) -> bool,
    pub(super) vpc_cidrs: &'a [IpNet],
}

/// What is known of a prefix list.
#[derive(Debug, Default)]
pub(super) struct PrefixList {
    pub(super) nets: Vec<IpNet>,
    pub(super) family: Option<Family>,
}

impl RouteTable {
    pub(super) fn new(record: &Arc<model::RouteTable>, lookups: &Lookups<'_>) -> Self {
        let mut lines: Vec<_> = record
            .routes
            .iter()
            .enumerate()
            .flat_map(|(position, route)| lines_of(position, route, lookups))
            .collect();
        // A table that lists routes at all has a local one for each CIDR, even where an export left them out.
        if !lines.is_empty() {
            for net in lookups.vpc_cidrs {
                if !lines.iter().any(|line| line.nets.contains(net)) {
                    lines.push(Line {
                        destination: net.to_string().into(),
                        family: Family::of_net(net),
                        nets: vec![*net],
                        target: RouteTarget::Local,
                        target_id: "local".into(),
                        blackhole: false,
                        position: None,
                        rank: Rank::Cidr,
                    });
                }
            }
        }
        let entries = |family| {
            let mut entries: Vec<_> = lines
                .iter()
                .enumerate()
                .flat_map(|(line, of)| of.nets.iter().map(move |&net| Entry { net, line }))
                .filter(|entry| Family::of_net(&entry.net) == family)
                .collect();
            entries.sort_by_key(|entry| {
                (
                    std::cmp::Reverse(entry.net.prefix_len()),
                    lines[entry.line].rank,
                )
            });
            entries
        };
        Self {
            id: record.route_table_id.as_str().into(),
            vpc_id: record.vpc_id.as_deref().map(Into::into),
            record: Arc::clone(record),
            is_main: record
                .associations
                .iter()
                .any(|association| association.main),
            v4: entries(Family::V4),
            v6: entries(Family::V6),
            lines,
        }
    }

    /// The route in force for an address.
    pub fn lookup(&self, addr: IpAddr) -> Option<Route<'_>> {
        self.matching(addr).map(|(line, _)| self.route_of(line))
    }

    /// Word and id of what the route at a position of the record leads to.
    pub(super) fn target_of(&self, position: usize) -> Option<(&'static str, &str)> {
        let line = self
            .lines
            .iter()
            .find(|line| line.position == Some(position))?;
        let route = self.route_of(line);
        Some((route.target.as_str(), &line.target_id))
    }

    /// The line in force for an address, and the prefix that matched.
    pub(super) fn matching(&self, addr: IpAddr) -> Option<(&Line, IpNet)> {
        let entries = if addr.is_ipv4() { &self.v4 } else { &self.v6 };
        let entry = entries.iter().find(|entry| entry.net.contains(&addr))?;
        Some((&self.lines[entry.line], entry.net))
    }

    /// Of a line's CIDRs those that another line takes from it, and that line.
    pub(super) fn beaten<'t>(&'t self, line: &'t Line) -> Vec<(IpNet, &'t Line)> {
        let winner = |net: &IpNet| {
            let entries = match net {
                IpNet::V4(_) => &self.v4,
                IpNet::V6(_) => &self.v6,
            };
            let first = entries.iter().find(|entry| entry.net == *net)?;
            let first = &self.lines[first.line];
            (!std::ptr::eq(first, line)).then_some((*net, first))
        };
        line.nets.iter().filter_map(winner).collect()
    }

    fn route_of<'n>(&'n self, line: &'n Line) -> Route<'n> {
        Route {
            target: if line.blackhole {
                RouteTarget::None
            } else {
                line.target
            },
            destination: &line.destination,
            target_id: &line.target_id,
            route_table_id: &self.id,
        }
    }
}

/// One line, or two where a prefix list holds both families.
fn lines_of(position: usize, route: &model::Route, lookups: &Lookups<'_>) -> Vec<Line> {
    let (target, target_id) = target_of(route, lookups);
    let state = route.state.as_deref().unwrap_or("active");
    // `filtered` routes were offered by a route server and not taken.
    if state == "filtered" {
        return Vec::new();
    }
    let line = |destination: &str, family, nets, rank| Line {
        destination: destination.into(),
        family,
        nets,
        target,
        target_id: target_id.into(),
        blackhole: state == "blackhole",
        position: Some(position),
        rank: match route.origin.as_deref() {
            Some("EnableVgwRoutePropagation" | "Advertisement") => Rank::Propagated,
            _ => rank,
        },
    };
    if let Some(id) = &route.destination_prefix_list_id {
        let Some(list) = lookups.prefix_lists.get(id.as_str()) else {
            return vec![line(id, Family::V4, Vec::new(), Rank::PrefixList)];
        };
        let of = |family| -> Vec<_> {
            list.nets
                .iter()
                .copied()
                .filter(|net| Family::of_net(net) == family)
                .collect()
        };
        let lines: Vec<_> = [Family::V4, Family::V6]
            .into_iter()
            .map(|family| (family, of(family)))
            .filter(|(_, nets)| !nets.is_empty())
            .map(|(family, nets)| line(id, family, nets, Rank::PrefixList))
            .collect();
        if lines.is_empty() {
            return vec![line(
                id,
                list.family.unwrap_or(Family::V4),
                Vec::new(),
                Rank::PrefixList,
            )];
        }
        return lines;
    }
    let destination = route
        .destination_cidr_block
        .as_ref()
        .or(route.destination_ipv6_cidr_block.as_ref());
    match destination.and_then(|cidr| cidr.parse::<IpNet>().ok()) {
        Some(net) => vec![line(
            &net.trunc().to_string(),
            Family::of_net(&net),
            vec![net.trunc()],
            Rank::Cidr,
        )],
        None => Vec::new(),
    }
}

fn target_of<'r>(route: &'r model::Route, lookups: &Lookups<'_>) -> (RouteTarget, &'r str) {
    let endpoint = |id: &'r str| {
        let is_gateway = match lookups.endpoint_types.get(id) {
            Some(kind) => *kind == "Gateway",
            None => route.destination_prefix_list_id.is_some(),
        };
        let target = if is_gateway {
            RouteTarget::GatewayEndpoint
        } else {
            RouteTarget::InspectionEndpoint
        };
        (target, id)
    };
    let by_field = [
        (
            &route.egress_only_internet_gateway_id,
            RouteTarget::EgressOnlyInternetGateway,
        ),
        (&route.nat_gateway_id, RouteTarget::NatGateway),
        (&route.transit_gateway_id, RouteTarget::TransitGateway),
        (&route.core_network_arn, RouteTarget::CoreNetwork),
        (&route.vpc_peering_connection_id, RouteTarget::Peering),
        (&route.odb_network_arn, RouteTarget::OdbNetwork),
        (&route.carrier_gateway_id, RouteTarget::CarrierGateway),
        (&route.local_gateway_id, RouteTarget::LocalGateway),
    ];
    if let Some((id, target)) = by_field
        .into_iter()
        .find_map(|(id, target)| Some((id.as_deref()?, target)))
    {
        return (target, id);
    }
    if let Some(id) = &route.vpc_endpoint_id {
        return endpoint(id);
    }
    if let Some(id) = &route.network_interface_id {
        let is_nat = (lookups.is_public_interface)(id);
        return (
            if is_nat {
                RouteTarget::NatInstance
            } else {
                RouteTarget::Interface
            },
            id,
        );
    }
    match route.gateway_id.as_deref() {
        Some("local") => (RouteTarget::Local, "local"),
        Some(id) if id.starts_with("igw-") => (RouteTarget::InternetGateway, id),
        Some(id) if id.starts_with("vgw-") => (RouteTarget::VpnGateway, id),
        Some(id) if id.starts_with("vpce-") => endpoint(id),
        Some(id) if id.starts_with("eigw-") => (RouteTarget::EgressOnlyInternetGateway, id),
        Some(id) if id.starts_with("cagw-") => (RouteTarget::CarrierGateway, id),
        Some(id) if id.starts_with("lgw-") => (RouteTarget::LocalGateway, id),
        Some(id) if id.starts_with("nat-") => (RouteTarget::NatGateway, id),
        Some(id) if id.starts_with("tgw-") => (RouteTarget::TransitGateway, id),
        // An instance that is stopped, or a target of a kind that did not exist when this was written.
        _ => {
            let names = [&route.instance_id, &route.gateway_id, &route.ip_address];
            (
                RouteTarget::None,
                names
                    .into_iter()
                    .find_map(Option::as_deref)
                    .unwrap_or("nothing"),
            )
        }
    }
}

#[cfg(test)]
mod tests;
