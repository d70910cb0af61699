//! An address explained: who has it, in every VPC where it means something, and what it is as seen from each.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Serialize, Serializer};

use super::{VpcNamed, owned};
use crate::topology::network::{Interface, Network, Subnet, Vpc};
use crate::topology::resolve::is_special;
use crate::topology::route::{Route, RouteTarget};
use crate::topology::words::named;
use crate::topology::{Class, Endpoint, Family, Scope, Vantage, is_private};

/// An address, explained.
#[derive(Debug, Serialize)]
pub(crate) struct AddressExplained {
    pub(crate) address: String,
    /// What the address is by itself, wherever it is seen.
    pub(crate) by_itself: Vec<String>,
    /// The VPCs that it lies in, and interfaces that it is the public address of.
    pub(crate) held_by: Vec<Holder>,
    /// What it is to each VPC; one entry for each way its subnets see it.
    pub(crate) seen_from: Vec<Seen>,
}

/// Who has an address.
#[derive(Debug, Serialize)]
pub(crate) struct Holder {
    pub(crate) vpc: Option<VpcNamed>,
    pub(crate) subnet_id: Option<String>,
    pub(crate) subnet_name: Option<String>,
    pub(crate) subnet_class: Option<Class>,
    pub(crate) interface_id: Option<String>,
    pub(crate) interface_part_of: Option<&'static str>,
    pub(crate) instance_id: Option<String>,
    pub(crate) words: String,
}

/// What an address is to the subnets of one VPC.
#[derive(Debug, Serialize)]
pub(crate) struct Seen {
    pub(crate) vpc_id: String,
    pub(crate) vpc_name: Option<String>,
    /// Those that see it so; empty where the VPC's subnets are not in the topology.
    pub(crate) subnet_ids: Vec<String>,
    #[serde(serialize_with = "as_word")]
    pub(crate) scope: Scope,
    pub(crate) service: Option<String>,
    pub(crate) far_vpc_id: Option<String>,
    pub(crate) far_subnet_id: Option<String>,
    pub(crate) far_interface_id: Option<String>,
    pub(crate) route: Option<RouteTaken>,
    /// The tables that have this route.
    pub(crate) route_table_ids: Vec<String>,
    pub(crate) words: String,
}

/// The route in force for the address.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RouteTaken {
    pub(crate) destination: String,
    pub(crate) target: &'static str,
    pub(crate) target_id: String,
}

fn as_word<S: Serializer>(scope: &Scope, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(scope.as_str())
}

impl Network {
    pub(super) fn explain_address(&self, addr: IpAddr, only: Option<&Vpc>) -> AddressExplained {
        let vpcs: Vec<&Vpc> = self
            .vpcs
            .iter()
            .filter(|vpc| only.is_none_or(|only| only.id == vpc.id))
            .collect();
        let mut held_by: Vec<Holder> = Vec::new();
        if !is_special(addr) {
            held_by.extend(
                vpcs.iter()
                    .filter(|vpc| vpc.contains(addr))
                    .map(|vpc| self.holder_in(vpc, addr)),
            );
            held_by.extend(self.public_holder(addr, &vpcs));
        }
        AddressExplained {
            address: addr.to_string(),
            by_itself: self.by_itself(addr),
            held_by,
            // A special address is the same to everybody.
            seen_from: vpcs
                .iter()
                .filter(|_| !is_special(addr))
                .flat_map(|vpc| self.seen_from(vpc, addr))
                .collect(),
        }
    }

    /// What an address is before anybody asks where it is seen.
    fn by_itself(&self, addr: IpAddr) -> Vec<String> {
        if let Some(words) = special(addr) {
            return vec![words.to_owned()];
        }
        let mut facts = Vec::new();
        for net in &self.settings.on_premises {
            if net.contains(&addr) {
                facts.push(format!("on premises: in {net}, which was named so"));
            }
        }
        if is_private(addr) {
            facts.push(format!(
                "private ({}): it means nothing outside of a VPC or network that uses it",
                private_range(addr)
            ));
            return facts;
        }
        let date = self.settings.ip_ranges.date();
        match self.settings.ip_ranges.owner(addr) {
            Some(owner) if owner.service == "EC2" => facts.push(format!(
                "a machine at AWS ({}), any customer's: in EC2's range, by AWS's list of {date}",
                owner.region
            )),
            Some(owner) if owner.service == "AMAZON" => facts.push(format!(
                "AWS's own ({}), for no service that its list of {date} names",
                owner.region
            )),
            Some(owner) => facts.push(format!(
                "AWS service {} ({}), by AWS's list of {date}",
                owner.service, owner.region
            )),
            None => facts.push(format!("public, and not AWS's by its list of {date}")),
        }
        facts
    }

    /// Who has an address in a VPC whose CIDRs hold it.
    fn holder_in(&self, vpc: &Vpc, addr: IpAddr) -> Holder {
        let vantage = Vantage {
            vpc: Some(vpc),
            ..Vantage::default()
        };
        let endpoint = self.resolve(&vantage, addr);
        let words = match (endpoint.interface, endpoint.subnet) {
            (Some(interface), _) => self.is_interfaces(interface, addr),
            _ if is_dns_server(vpc, addr) => {
                "Amazon's DNS server of the VPC: the first address of its CIDR plus two".to_owned()
            }
            (None, Some(subnet)) => match reserved(subnet, addr) {
                Some(reserved) => format!("nobody's: {reserved}"),
                None => "no interface that the topology has: free, or gone since".to_owned(),
            },
            (None, None) => "in the VPC's CIDRs, in no subnet: nobody can have it".to_owned(),
        };
        self.holder(Some(vpc), endpoint.subnet, endpoint.interface, addr, words)
    }

    /// The interface whose public IPv4 address it is.
    fn public_holder(&self, addr: IpAddr, vpcs: &[&Vpc]) -> Option<Holder> {
        let interface = self
            .owner_of_public(addr)
            .filter(|interface| interface.public_addresses.contains(&addr))?;
        let vpc = interface.vpc.map(|vpc| &self.vpcs[vpc]);
        let is_wanted = |vpc: &Vpc| vpcs.iter().any(|wanted| wanted.id == vpc.id);
        if !vpc.is_none_or(is_wanted) {
            return None;
        }
        let subnet = interface.subnet.map(|subnet| &self.subnets[subnet]);
        let private = interface.addresses.first();
        let words = format!(
            "the public address of {}{}",
            interface.id,
            private
                .map(|addr| format!(", which has {addr}"))
                .unwrap_or_default()
        );
        Some(self.holder(vpc, subnet, Some(interface), addr, words))
    }

    fn holder(
        &self,
        vpc: Option<&Vpc>,
        subnet: Option<&Subnet>,
        interface: Option<&Interface>,
        addr: IpAddr,
        words: String,
    ) -> Holder {
        Holder {
            vpc: vpc.map(VpcNamed::of),
            subnet_id: subnet.map(|subnet| subnet.id.to_string()),
            subnet_name: owned(subnet.and_then(|subnet| subnet.name.as_deref())),
            subnet_class: subnet.and_then(|subnet| subnet.class(Family::of(addr))),
            interface_id: interface.map(|interface| interface.id.to_string()),
            interface_part_of: interface.map(|interface| interface.kind().as_str()),
            instance_id: owned(interface.and_then(|interface| interface.instance_id.as_deref())),
            words,
        }
    }

    fn is_interfaces(&self, interface: &Interface, addr: IpAddr) -> String {
        let how = if interface.addresses.first() == Some(&addr) {
            "the first address"
        } else if interface.addresses.contains(&addr) {
            "an address"
        } else {
            "in a prefix"
        };
        let mut words = format!("{how} of {}", interface.id);
        if let Some(instance) = &interface.instance_id {
            words.push_str(&format!(" of instance {instance}"));
        }
        let description = interface.record.description.as_deref().unwrap_or_default();
        if !description.is_empty() {
            words.push_str(&format!(" ({description})"));
        }
        words
    }

    /// What an address is to a VPC: once for all its subnets that see it the same way.
    fn seen_from(&self, vpc: &Vpc, addr: IpAddr) -> Vec<Seen> {
        let vantage = |subnet| Vantage {
            subnet,
            vpc: Some(vpc),
            ..Vantage::default()
        };
        let mut subnets: Vec<&Subnet> = Vec::new();
        for &(_, subnet) in &vpc.subnets {
            let subnet = &self.subnets[subnet];
            if !subnets.iter().any(|known| known.id == subnet.id) {
                subnets.push(subnet);
            }
        }
        subnets.sort_by(|a, b| (a.cidr_block, &a.id).cmp(&(b.cidr_block, &b.id)));
        if subnets.is_empty() {
            let endpoint = self.resolve(&vantage(None), addr);
            return vec![self.seen(vpc, None, &endpoint, None)];
        }
        let mut all: Vec<Seen> = Vec::new();
        for subnet in subnets {
            let endpoint = self.resolve(&vantage(Some(subnet)), addr);
            // Every table has the local routes: they tell subnets apart only where one leads by way of an appliance.
            let route = self
                .route(subnet, addr)
                .filter(|route| route.target != RouteTarget::Local);
            let seen = self.seen(vpc, Some(subnet), &endpoint, route);
            let like = all.iter_mut().find(|known| {
                known.scope == seen.scope
                    && known.route == seen.route
                    && known.far_vpc_id == seen.far_vpc_id
            });
            match like {
                Some(known) => {
                    known.subnet_ids.extend(seen.subnet_ids);
                    for id in seen.route_table_ids {
                        if !known.route_table_ids.contains(&id) {
                            known.route_table_ids.push(id);
                        }
                    }
                }
                None => all.push(seen),
            }
        }
        all
    }

    fn seen(
        &self,
        vpc: &Vpc,
        subnet: Option<&Subnet>,
        endpoint: &Endpoint<'_>,
        route: Option<Route<'_>>,
    ) -> Seen {
        Seen {
            vpc_id: vpc.id.to_string(),
            vpc_name: owned(vpc.name.as_deref()),
            subnet_ids: subnet
                .map(|subnet| subnet.id.to_string())
                .into_iter()
                .collect(),
            scope: endpoint.scope,
            service: owned(endpoint.service),
            far_vpc_id: endpoint.vpc.map(|vpc| vpc.id.to_string()),
            far_subnet_id: endpoint.subnet.map(|subnet| subnet.id.to_string()),
            far_interface_id: endpoint.interface.map(|interface| interface.id.to_string()),
            words: seen_words(endpoint, route.as_ref()),
            route_table_ids: route
                .map(|route| route.route_table_id.to_owned())
                .into_iter()
                .collect(),
            route: route.map(|route| RouteTaken {
                destination: route.destination.to_owned(),
                target: route.target.as_str(),
                target_id: route.target_id.to_owned(),
            }),
        }
    }
}

/// What an address is to who sees it, and how a packet gets there.
fn seen_words(endpoint: &Endpoint<'_>, route: Option<&Route<'_>>) -> String {
    let far = || match (endpoint.interface, endpoint.vpc) {
        (Some(interface), Some(vpc)) => {
            format!(
                "{} in {}",
                interface.id,
                named(&vpc.id, vpc.name.as_deref())
            )
        }
        (None, Some(vpc)) => named(&vpc.id, vpc.name.as_deref()),
        _ => "a network that the topology does not have".to_owned(),
    };
    let what = match endpoint.scope {
        Scope::Vpc => match route {
            Some(route) => {
                return format!(
                    "its own, by way of {} ({})",
                    route.target_id, route.destination
                );
            }
            None => return "its own".to_owned(),
        },
        Scope::Special => return "special: no route applies".to_owned(),
        Scope::Peer => format!("a peer's: {}", far()),
        Scope::Transit => format!("behind a transit gateway: {}", far()),
        Scope::OnPrem => "on premises".to_owned(),
        Scope::AwsService => {
            format!("the AWS service {}", endpoint.service.unwrap_or("AMAZON"))
        }
        Scope::Internet => "the internet".to_owned(),
        Scope::Unrouted => "nobody: a private address that no route leads to".to_owned(),
    };
    match route {
        None if endpoint.scope == Scope::Unrouted => what,
        None => format!("{what}; no route leads there, so packets to it are dropped"),
        Some(route) if route.target == RouteTarget::None => format!(
            "{what}; {} → {} is a black hole, so packets to it are dropped",
            route.destination, route.target_id
        ),
        Some(route) if endpoint.scope == Scope::Unrouted => format!(
            "nobody that is known: a private address, which {} would send to {}",
            route.destination, route.target_id
        ),
        Some(route) if endpoint.scope == Scope::OnPrem && leads_to_internet(route.target) => {
            format!(
                "{what} by name, but {} → {} leads to the internet, where nobody has it",
                route.destination, route.target_id
            )
        }
        Some(route) => format!("{what}, by {} → {}", route.destination, route.target_id),
    }
}

fn leads_to_internet(target: RouteTarget) -> bool {
    matches!(
        target,
        RouteTarget::InternetGateway
            | RouteTarget::CarrierGateway
            | RouteTarget::EgressOnlyInternetGateway
            | RouteTarget::NatGateway
            | RouteTarget::NatInstance
    )
}

/// What a special address is for.
fn special(addr: IpAddr) -> Option<&'static str> {
    if !is_special(addr) {
        return None;
    }
    Some(match addr {
        IpAddr::V4(addr) => match addr.octets() {
            [169, 254, 169, 254] => {
                "special: the instance metadata service, on the instance's own link"
            }
            [169, 254, 169, 253] => "special: Amazon's DNS server, on the instance's own link",
            [169, 254, 169, 123] => "special: Amazon's time service, on the instance's own link",
            [169, 254, 170, _] => "special: the credentials of a container's task, on its own link",
            [169, 254, ..] => "special: link-local (169.254.0.0/16), it never leaves the link",
            [127, ..] => "special: loopback, it never leaves the host",
            [0, ..] => "special: unspecified (0.0.0.0/8), nobody's",
            [255, 255, 255, 255] => "special: broadcast",
            [first, ..] if first >= 240 => "special: reserved (240.0.0.0/4), nobody's",
            _ => "special: multicast (224.0.0.0/4), a group and not a host",
        },
        IpAddr::V6(addr) => match addr.segments() {
            [0xfd00, 0x0ec2, ..] => {
                "special: Amazon's services on the instance's own link (fd00:ec2::/32): metadata, DNS, time"
            }
            [first, ..] if first & 0xffc0 == 0xfe80 => {
                "special: link-local (fe80::/10), it never leaves the link"
            }
            [first, ..] if first & 0xff00 == 0xff00 => {
                "special: multicast (ff00::/8), a group and not a host"
            }
            _ if addr.is_loopback() => "special: loopback, it never leaves the host",
            _ => "special: unspecified, nobody's",
        },
    })
}

fn private_range(addr: IpAddr) -> &'static str {
    match addr {
        IpAddr::V4(addr) if addr.is_private() => "RFC 1918",
        IpAddr::V4(_) => "shared space, RFC 6598",
        IpAddr::V6(addr) if addr.is_unique_local() => "unique local, RFC 4193",
        IpAddr::V6(_) => "NAT64 of a private IPv4 address",
    }
}

/// The resolver of a VPC answers at its primary IPv4 CIDR plus two, whatever subnet that is in. (VPC User Guide, "Amazon DNS server".)
fn is_dns_server(vpc: &Vpc, addr: IpAddr) -> bool {
    let primary = vpc
        .record
        .as_ref()
        .and_then(|record| record.cidr_block.as_ref()?.parse::<Ipv4Net>().ok());
    primary.is_some_and(|net| {
        u32::from(net.network())
            .checked_add(2)
            .is_some_and(|server| addr == Ipv4Addr::from(server))
    })
}

/// AWS keeps the first four addresses of a subnet, and the last.
fn reserved(subnet: &Subnet, addr: IpAddr) -> Option<&'static str> {
    let IpAddr::V4(addr) = addr else { return None };
    let Some(IpNet::V4(net)) = subnet.cidr_block else {
        return None;
    };
    let number = |net: Ipv4Net| u32::from(net.network());
    match u32::from(addr).checked_sub(number(net))? {
        0 => Some("reserved by AWS, the subnet's network address"),
        1 => Some("reserved by AWS for the VPC's router"),
        2 => Some("reserved by AWS for DNS"),
        3 => Some("reserved by AWS for later use"),
        _ if addr == Ipv4Addr::from(u32::from(net.broadcast())) => {
            Some("reserved by AWS, the subnet's last address")
        }
        _ => None,
    }
}
