//! An interface explained: its addresses, its groups, who can reach it, and its subnet.

use std::collections::HashMap;

use serde::Serialize;

use super::owned;
use super::subnet::SubnetExplained;
use crate::topology::network::{Interface, Network, Subnet};
use crate::topology::words::{group_rule, listed};
use crate::topology::{Class, Family, InterfaceKind, group_rules, model};

/// An interface, explained.
#[derive(Debug, Serialize)]
pub(crate) struct InterfaceExplained {
    pub(crate) interface_id: String,
    pub(crate) name: Option<String>,
    /// What it is part of, in flowscout's word.
    pub(crate) part_of: &'static str,
    /// EC2's word.
    pub(crate) interface_type: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) instance_id: Option<String>,
    pub(crate) requester_managed: bool,
    pub(crate) source_dest_check: Option<bool>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) prefixes: Vec<String>,
    pub(crate) public_addresses: Vec<String>,
    pub(crate) security_groups: Vec<Group>,
    /// Who can open a connection to it and whom it reaches, a sentence for each family.
    pub(crate) reach: Vec<String>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) subnet_id: Option<String>,
    /// Null where the topology does not have it.
    pub(crate) subnet: Option<SubnetExplained>,
}

/// An address that the interface itself has.
#[derive(Debug, Serialize)]
pub(crate) struct Address {
    pub(crate) address: String,
    /// `primary`, `secondary` or `ipv6`.
    pub(crate) role: &'static str,
    /// What it is translated to.
    pub(crate) public_address: Option<String>,
}

/// A security group and what it lets pass.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) group_id: String,
    pub(crate) group_name: Option<String>,
    /// False where the topology has no rules of it.
    pub(crate) rules_known: bool,
    pub(crate) ingress: Vec<String>,
    pub(crate) egress: Vec<String>,
}

impl Network {
    pub(super) fn explain_interface(&self, interface: &Interface) -> InterfaceExplained {
        let record = &interface.record;
        let subnet = interface.subnet.map(|subnet| &self.subnets[subnet]);
        let text = |texts: &[std::net::IpAddr]| texts.iter().map(ToString::to_string).collect();
        InterfaceExplained {
            interface_id: interface.id.to_string(),
            name: owned(model::tag(&record.tag_set, "Name")),
            part_of: interface.kind().as_str(),
            interface_type: record.interface_type.clone(),
            description: record.description.clone().filter(|text| !text.is_empty()),
            status: record.status.clone(),
            account_id: owned(interface.account_id.as_deref()),
            instance_id: owned(interface.instance_id.as_deref()),
            requester_managed: record.requester_managed,
            source_dest_check: record.source_dest_check,
            addresses: addresses(interface),
            prefixes: interface.prefixes.iter().map(ToString::to_string).collect(),
            public_addresses: text(&interface.public_addresses),
            security_groups: self.groups(record),
            reach: subnet.map_or_else(Vec::new, |subnet| reach(interface, subnet)),
            vpc_id: owned(interface.vpc_id.as_deref()),
            subnet_id: owned(interface.subnet_id.as_deref()),
            subnet: subnet.map(|subnet| self.explain_subnet(subnet)),
        }
    }

    fn groups(&self, record: &model::NetworkInterface) -> Vec<Group> {
        let rules = group_rules::of(&self.resources);
        record
            .groups
            .iter()
            .filter_map(|group| Some((group, group.group_id.as_deref()?)))
            .map(|(group, id)| {
                let known = self
                    .resources
                    .security_groups
                    .iter()
                    .find(|known| known.group_id == id);
                let of = |is_egress: bool| {
                    rules
                        .iter()
                        .filter(|rule| rule.group_id.as_deref() == Some(id))
                        .filter(|rule| rule.is_egress == is_egress)
                        .map(group_rule)
                        .collect::<Vec<_>>()
                };
                let (ingress, egress) = (of(false), of(true));
                Group {
                    group_id: id.to_owned(),
                    group_name: group
                        .group_name
                        .clone()
                        .or_else(|| known?.group_name.clone()),
                    rules_known: known.is_some() || !ingress.is_empty() || !egress.is_empty(),
                    ingress,
                    egress,
                }
            })
            .collect()
    }
}

fn addresses(interface: &Interface) -> Vec<Address> {
    let record = &interface.record;
    let public: HashMap<&str, &str> = record
        .private_ip_addresses
        .iter()
        .filter_map(|address| {
            let association = address.association.as_ref()?;
            let public = association
                .public_ip
                .as_ref()
                .or(association.carrier_ip.as_ref())?;
            Some((address.private_ip_address.as_deref()?, public.as_str()))
        })
        .collect();
    let primary = record
        .private_ip_addresses
        .iter()
        .find(|address| address.primary)
        .and_then(|address| address.private_ip_address.clone())
        .or_else(|| record.private_ip_address.clone());
    interface
        .addresses
        .iter()
        .map(|addr| {
            let address = addr.to_string();
            let is_primary = primary.as_ref() == Some(&address);
            let of_interface = || {
                let association = record.association.as_ref().filter(|_| is_primary)?;
                association.public_ip.as_deref()
            };
            Address {
                role: match Family::of(*addr) {
                    Family::V6 => "ipv6",
                    Family::V4 if is_primary => "primary",
                    Family::V4 => "secondary",
                },
                public_address: owned(public.get(address.as_str()).copied().or_else(of_interface)),
                address,
            }
        })
        .collect()
}

/// A public interface needs both: a route to an internet gateway and a public IPv4 (or any IPv6) address.
fn reach(interface: &Interface, subnet: &Subnet) -> Vec<String> {
    if matches!(
        interface.kind(),
        InterfaceKind::Nat | InterfaceKind::RegionalNat
    ) {
        return vec![
            "IPv4: it translates for others, outwards only; what comes unasked is dropped, though a flow log may say ACCEPT".to_owned(),
        ];
    }
    let mut sentences = Vec::new();
    let (v6, v4): (Vec<_>, Vec<_>) = interface.addresses.iter().partition(|addr| addr.is_ipv6());
    let v6: Vec<_> = v6.into_iter().map(ToString::to_string).collect();
    let v6: Vec<_> = v6
        .into_iter()
        .chain(
            interface
                .prefixes
                .iter()
                .filter(|net| Family::of_net(net) == Family::V6)
                .map(ToString::to_string),
        )
        .collect();
    if let Some(class) = subnet.class(Family::V4)
        && !v4.is_empty()
    {
        let public = listed(&interface.public_addresses);
        sentences.push(match (class, interface.public_addresses.is_empty()) {
            (Class::Public, false) => format!(
                "IPv4: open to the internet as {public}, as far as network ACL and security groups let it"
            ),
            (Class::Public, true) => {
                "IPv4: the subnet is public and the interface is not: without a public address the internet gateway passes nothing of it"
                    .to_owned()
            }
            (class, false) => format!(
                "IPv4: it has the public address {public}, but the subnet is {}: {}",
                class.as_str(),
                within(class)
            ),
            (class, true) => format!("IPv4: {}", within(class)),
        });
    }
    if let Some(class) = subnet.class(Family::V6)
        && !v6.is_empty()
    {
        sentences.push(match class {
            Class::Public => format!(
                "IPv6: open to the internet as {}, as far as network ACL and security groups let it",
                listed(&v6)
            ),
            class => format!("IPv6: {}", within(class)),
        });
    }
    sentences
}

/// Whom a host of a subnet reaches, and who reaches it.
fn within(class: Class) -> &'static str {
    match class {
        Class::Public => "open to the internet",
        Class::PublicViaInspection => {
            "to and from the internet by way of an appliance, as far as that lets it"
        }
        Class::PrivateNat => {
            "it opens connections to the internet through a NAT; nobody there can open one to it"
        }
        Class::PrivateNatPrivate => "outwards through a private NAT gateway, not to the internet",
        Class::PrivateEigw => {
            "it opens connections to the internet; nobody there can open one to it"
        }
        Class::PrivateTgw => {
            "over a transit gateway; whether the internet lies behind it is not known here"
        }
        Class::VpnOnly => "within the VPC and on premises only",
        Class::PeeredOnly => "within the VPC and peered VPCs only",
        Class::EndpointOnly => "within the VPC, and to the services of gateway endpoints",
        Class::Isolated => "within the VPC only",
        Class::Unknown => "the topology lacks the routes to tell",
    }
}
