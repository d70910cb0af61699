//! What a route means: where it leads, whether it is in force, and what it does for the class.

use serde::Serialize;

use crate::topology::class::{Judged, Verdict, judge, judge_for_nat};
use crate::topology::network::{NatGateway, Network, Subnet, Vpc};
use crate::topology::route::{Line, RouteTable, RouteTarget};
use crate::topology::words::{listed, named};
use crate::topology::{Class, Family, InterfaceKind, model};

/// A route of the table in force.
#[derive(Debug, Serialize)]
pub(crate) struct RouteExplained {
    /// A CIDR or a prefix list.
    pub(crate) destination: String,
    /// The prefix list's name.
    pub(crate) destination_name: Option<String>,
    /// What a prefix list holds; null where its entries are not known, or the destination is a CIDR.
    pub(crate) prefix_list_cidrs: Option<Vec<String>>,
    /// The word for the kind of target, as in the table `routes`.
    pub(crate) target: &'static str,
    pub(crate) target_id: String,
    /// `active`, `blackhole` or `filtered`.
    pub(crate) state: &'static str,
    /// `static` or `propagated`.
    pub(crate) origin: &'static str,
    /// The class that this route alone would give; null where it does nothing for the class.
    pub(crate) class: Option<Class>,
    /// True for the route that decided the class.
    pub(crate) decides: bool,
    /// Where it leads, in words.
    pub(crate) means: String,
    /// Other routes that take its destination, or a part of it, from it.
    pub(crate) beaten_by: Vec<BeatenBy>,
    pub(crate) nat_gateway: Option<NatExplained>,
    pub(crate) endpoint: Option<EndpointExplained>,
}

/// Another route with the same destination, which wins.
#[derive(Debug, Serialize)]
pub(crate) struct BeatenBy {
    pub(crate) cidr: String,
    pub(crate) destination: String,
    pub(crate) target_id: String,
    pub(crate) why: &'static str,
}

/// Where a NAT gateway sits, and what its own subnet is.
#[derive(Debug, Serialize)]
pub(crate) struct NatExplained {
    pub(crate) nat_gateway_id: String,
    pub(crate) connectivity_type: &'static str,
    pub(crate) availability_mode: &'static str,
    pub(crate) state: Option<String>,
    pub(crate) public_addresses: Vec<String>,
    pub(crate) subnet_id: Option<String>,
    pub(crate) availability_zone: Option<String>,
    /// As a NAT gateway in it sees it, in IPv4.
    pub(crate) subnet_class: Option<Class>,
    pub(crate) subnet_class_reason: Option<String>,
}

/// What kind of endpoint a route leads to.
#[derive(Debug, Serialize)]
pub(crate) struct EndpointExplained {
    pub(crate) vpc_endpoint_id: String,
    /// `Gateway` or `GatewayLoadBalancer`.
    pub(crate) vpc_endpoint_type: &'static str,
    pub(crate) service_name: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) subnet_ids: Vec<String>,
}

/// Explains routes of one table for one subnet and family.
pub(super) struct Routes<'n> {
    pub(super) network: &'n Network,
    pub(super) subnet: &'n Subnet,
    pub(super) vpc: Option<&'n Vpc>,
    pub(super) family: Family,
}

impl Routes<'_> {
    /// Every route of the family, the longest prefix first: the order in which they are looked through.
    pub(super) fn explain(&self, table: &RouteTable, judged: &Judged<'_>) -> Vec<RouteExplained> {
        let mut verdicts: Vec<_> = judged.verdicts.iter().collect();
        let longest = |line: &Line| {
            line.nets
                .iter()
                .map(ipnet::IpNet::prefix_len)
                .max()
                .unwrap_or(0)
        };
        verdicts.sort_by_key(|(line, _)| std::cmp::Reverse(longest(line)));
        let mut routes: Vec<_> = verdicts
            .into_iter()
            .map(|(line, verdict)| {
                let decides = judged
                    .deciding
                    .iter()
                    .any(|deciding| std::ptr::eq(*deciding, *line));
                self.route(table, line, verdict, decides)
            })
            .collect();
        routes.extend(self.filtered(&table.record));
        routes
    }

    fn route(
        &self,
        table: &RouteTable,
        line: &Line,
        verdict: &Verdict,
        decides: bool,
    ) -> RouteExplained {
        let list = self.prefix_list(line);
        let beaten_by: Vec<BeatenBy> = table
            .beaten(line)
            .into_iter()
            .map(|(net, winner)| BeatenBy {
                cidr: net.to_string(),
                destination: winner.destination.to_string(),
                target_id: winner.target_id.to_string(),
                why: line.why_beaten_by(winner),
            })
            .collect();
        let is_gone = line.blackhole || line.target == RouteTarget::None;
        let mut means = if is_gone {
            format!(
                "black hole: {} is gone or detached; what matches is dropped, not sent by a wider route",
                line.target_id
            )
        } else {
            self.means(line)
        };
        match verdict {
            Verdict::Ignored(remark) if !is_gone => {
                means.push_str(&format!("; but it {remark}"));
            }
            Verdict::Inside if line.target != RouteTarget::Local => {
                means
                    .push_str("; it steers traffic within the VPC and says nothing of the outside");
            }
            _ => {}
        }
        if line.destination.starts_with("pl-") {
            means.push_str(&match (list, line.nets.len()) {
                (None, 0) => "; the prefix list is not in the topology".to_owned(),
                (Some(_), 0) => "; the list's entries are not in the topology".to_owned(),
                _ => format!("; the list holds {}", listed(&line.nets)),
            });
        }
        if let Some(first) = beaten_by.first() {
            let part = if beaten_by.len() == line.nets.len() {
                "not in force".to_owned()
            } else {
                format!(
                    "not in force for {}",
                    listed(beaten_by.iter().map(|beaten| &beaten.cidr))
                )
            };
            means.push_str(&format!(
                "; {part}: {} → {} wins, since {}",
                first.destination, first.target_id, first.why
            ));
        }
        RouteExplained {
            destination: line.destination.to_string(),
            destination_name: list.and_then(|list| list.prefix_list_name.clone()),
            prefix_list_cidrs: line
                .destination
                .starts_with("pl-")
                .then(|| line.nets.iter().map(ToString::to_string).collect())
                .filter(|cidrs: &Vec<String>| !cidrs.is_empty()),
            target: if line.blackhole {
                RouteTarget::None.as_str()
            } else {
                line.target.as_str()
            },
            target_id: line.target_id.to_string(),
            state: if line.blackhole {
                "blackhole"
            } else {
                "active"
            },
            origin: if line.is_propagated() {
                "propagated"
            } else {
                "static"
            },
            class: match verdict {
                Verdict::Leads(opinion) => Some(opinion.class),
                _ => None,
            },
            decides,
            means,
            beaten_by,
            nat_gateway: (line.target == RouteTarget::NatGateway)
                .then(|| self.nat(&line.target_id))
                .flatten(),
            endpoint: self.endpoint(line),
        }
    }

    /// Routes that a route server offered and that the table did not take.
    fn filtered(&self, record: &model::RouteTable) -> Vec<RouteExplained> {
        let is_of_family =
            |destination: &str| destination.contains(':') == (self.family == Family::V6);
        let filtered = record
            .routes
            .iter()
            .filter(|route| route.state.as_deref() == Some("filtered"));
        filtered
            .filter_map(|route| {
                let destination = route
                    .destination_cidr_block
                    .as_ref()
                    .or(route.destination_ipv6_cidr_block.as_ref())
                    .filter(|destination| is_of_family(destination))?;
                let target_id = [
                    &route.network_interface_id,
                    &route.gateway_id,
                    &route.ip_address,
                ]
                .into_iter()
                .find_map(Option::as_deref)
                .unwrap_or("nothing");
                Some(RouteExplained {
                    destination: destination.clone(),
                    destination_name: None,
                    prefix_list_cidrs: None,
                    target: RouteTarget::None.as_str(),
                    target_id: target_id.to_owned(),
                    state: "filtered",
                    origin: "propagated",
                    class: None,
                    decides: false,
                    means: "offered by a route server and not taken".to_owned(),
                    beaten_by: Vec::new(),
                    nat_gateway: None,
                    endpoint: None,
                })
            })
            .collect()
    }

    fn prefix_list(&self, line: &Line) -> Option<&model::PrefixList> {
        let lists = &self.network.resources.prefix_lists;
        let found = lists
            .iter()
            .find(|list| *list.prefix_list_id == *line.destination)?;
        Some(found)
    }

    /// Where an active route leads.
    fn means(&self, line: &Line) -> String {
        let id = line.target_id.as_ref();
        match (line.target, self.family) {
            (RouteTarget::Local, _) => "stays in the VPC".to_owned(),
            (RouteTarget::InternetGateway, Family::V4) => {
                "the internet, both ways, for whoever has a public IPv4 address".to_owned()
            }
            (RouteTarget::InternetGateway, Family::V6) => {
                "the internet, both ways: every IPv6 address here is a public one".to_owned()
            }
            (RouteTarget::CarrierGateway, _) => {
                "the carrier's network and the internet, both ways".to_owned()
            }
            (RouteTarget::EgressOnlyInternetGateway, _) => {
                "the internet, outwards only: nobody there can open a connection to here".to_owned()
            }
            (RouteTarget::NatGateway, _) => match self.network.nat_gateway(id) {
                Some(nat) => self.means_nat(nat),
                None => "a NAT gateway that is not in the topology".to_owned(),
            },
            (RouteTarget::NatInstance, _) => format!(
                "a NAT instance: {}, which has a public address",
                self.interface(id)
            ),
            (RouteTarget::Interface, _) => format!("an appliance: {}", self.interface(id)),
            (RouteTarget::InspectionEndpoint, _) => self.means_inspection(id),
            (RouteTarget::GatewayEndpoint, _) => {
                let service = self
                    .network
                    .endpoint(id)
                    .and_then(|endpoint| endpoint.service_name.as_deref())
                    .unwrap_or("an AWS service");
                format!(
                    "{service} over a gateway endpoint: it never passes a NAT or the internet, and beats the default route"
                )
            }
            (RouteTarget::TransitGateway, _) => self.means_transit(id, "a transit gateway"),
            (RouteTarget::CoreNetwork, _) => self.means_transit(id, "a Cloud WAN core network"),
            (RouteTarget::Peering, _) => self.means_peering(line),
            (RouteTarget::OdbNetwork, _) => "an Oracle Database@AWS network".to_owned(),
            (RouteTarget::VpnGateway, _) => {
                "on premises over a virtual private gateway (VPN or Direct Connect)".to_owned()
            }
            (RouteTarget::LocalGateway, _) => {
                "on premises over the Outpost's local gateway".to_owned()
            }
            (RouteTarget::None, _) => "nothing that the topology knows".to_owned(),
        }
    }

    fn means_nat(&self, nat: &NatGateway) -> String {
        let kind = if nat.is_public { "public" } else { "private" };
        let mut words = format!("a {kind} NAT gateway");
        if nat.is_regional {
            words.push_str(" (regional: in every zone, in no subnet)");
        }
        match nat.subnet.map(|subnet| &self.network.subnets[subnet]) {
            Some(subnet) => {
                words.push_str(&format!(
                    " in {}",
                    named(&subnet.id, subnet.name.as_deref())
                ));
                if let Some(zone) = &subnet.record.availability_zone {
                    words.push_str(&format!(", zone {zone}"));
                    if let Some(own) = &self.subnet.record.availability_zone
                        && own != zone
                    {
                        words.push_str(&format!(", not this subnet's {own}"));
                    }
                }
                let for_nat = judge_for_nat(self.network, subnet).classified;
                let for_whom = match subnet.class(Family::V4) {
                    Some(class) if class != for_nat.class => {
                        format!("{} for hosts, and for it ", class.as_str())
                    }
                    _ => String::new(),
                };
                words.push_str(&format!(
                    "; that subnet is {for_whom}{}: {}",
                    for_nat.class.as_str(),
                    for_nat.reason
                ));
            }
            None if !nat.is_regional => words.push_str(", whose subnet is not in the topology"),
            None => {}
        }
        if nat.is_public {
            words.push_str("; outwards only");
        } else {
            words.push_str("; not the internet by itself");
        }
        words
    }

    fn nat(&self, id: &str) -> Option<NatExplained> {
        let nat = self.network.nat_gateway(id)?;
        let subnet = nat.subnet.map(|subnet| &self.network.subnets[subnet]);
        let for_nat = subnet.map(|subnet| judge_for_nat(self.network, subnet).classified);
        Some(NatExplained {
            nat_gateway_id: nat.id.to_string(),
            connectivity_type: if nat.is_public { "public" } else { "private" },
            availability_mode: if nat.is_regional { "regional" } else { "zonal" },
            state: nat.record.state.clone(),
            public_addresses: nat
                .public_addresses
                .iter()
                .map(ToString::to_string)
                .collect(),
            subnet_id: nat.record.subnet_id.clone(),
            availability_zone: subnet.and_then(|subnet| subnet.record.availability_zone.clone()),
            subnet_class: for_nat.as_ref().map(|judged| judged.class),
            subnet_class_reason: for_nat.map(|judged| judged.reason),
        })
    }

    fn endpoint(&self, line: &Line) -> Option<EndpointExplained> {
        let vpc_endpoint_type = match line.target {
            RouteTarget::GatewayEndpoint => "Gateway",
            RouteTarget::InspectionEndpoint => "GatewayLoadBalancer",
            _ => return None,
        };
        let record = self.network.endpoint(&line.target_id);
        Some(EndpointExplained {
            vpc_endpoint_id: line.target_id.to_string(),
            vpc_endpoint_type,
            service_name: record.and_then(|record| record.service_name.clone()),
            state: record.and_then(|record| record.state.clone()),
            subnet_ids: record
                .map(|record| record.subnet_ids.clone())
                .unwrap_or_default(),
        })
    }

    fn means_inspection(&self, id: &str) -> String {
        let subnet = self
            .network
            .endpoint(id)
            .and_then(|endpoint| endpoint.subnet_ids.first());
        let place = match subnet.and_then(|id| self.network.subnet(id)) {
            Some(subnet) => {
                let beyond = judge(self.network, subnet, self.family).classified;
                format!(
                    " in {}, which is {}: {}",
                    named(&subnet.id, subnet.name.as_deref()),
                    beyond.class.as_str(),
                    beyond.reason
                )
            }
            None => ", whose subnet is not in the topology".to_owned(),
        };
        format!("a firewall or other appliance behind a Gateway Load Balancer endpoint{place}")
    }

    fn interface(&self, id: &str) -> String {
        let Some(interface) = self.network.interface(id) else {
            return "an interface that is not in the topology".to_owned();
        };
        let mut words = match &interface.instance_id {
            Some(instance) => format!("instance {instance}"),
            None if interface.kind() == InterfaceKind::Interface => "an interface".to_owned(),
            None => format!("an interface of a {}", interface.kind().as_str()),
        };
        if let Some(addr) = interface.addresses.first() {
            words.push_str(&format!(" at {addr}"));
        }
        if let Some(subnet_id) = &interface.subnet_id {
            words.push_str(&format!(" in {subnet_id}"));
        }
        words
    }

    fn means_transit(&self, id: &str, what: &str) -> String {
        let own = self.vpc.map(|vpc| &vpc.id);
        let others = self.network.transit.get(id).into_iter().flatten();
        let others: Vec<String> = others
            .map(|&vpc| &self.network.vpcs[vpc])
            .filter(|vpc| Some(&vpc.id) != own)
            .map(|vpc| named(&vpc.id, vpc.name.as_deref()))
            .collect();
        let also = if others.is_empty() {
            "no other VPC on it is known".to_owned()
        } else {
            format!("also on it: {}", listed(others))
        };
        format!("{what} ({also}); whether the internet lies behind it, its own route tables say")
    }

    fn means_peering(&self, line: &Line) -> String {
        let (Some(peering), Some(vpc)) = (self.network.peering(&line.target_id), self.vpc) else {
            return "a peering that is not in the topology".to_owned();
        };
        let far = peering.far_side(&vpc.id);
        let name = far
            .vpc
            .and_then(|vpc| self.network.vpcs[vpc].name.as_deref());
        let far_id = named(far.vpc_id.as_deref().unwrap_or("a VPC"), name);
        let mut words = format!("{far_id} over a peering");
        let is_held = |net: &ipnet::IpNet| {
            far.cidrs
                .iter()
                .any(|cidr| cidr.contains(net) || net.contains(cidr))
        };
        if !far.cidrs.is_empty() {
            words.push_str(&format!(", which holds {}", listed(&far.cidrs)));
            if !line.nets.is_empty() && !line.nets.iter().any(is_held) {
                words.push_str(" and nothing of this destination: it is dropped");
            }
        }
        words
    }
}
