//! What an address can mean at all, whoever recorded it: what [`Network::resolve`] may answer from any place of any network.
//!
//! Where nothing is known for sure, more is possible, never less: who leaves out what is not possible misses nothing.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::network::{InterfaceKind, Network, Settings, Subnet};
use super::ranges::Ranges;
use super::resolve::{Scope, is_private, is_special};
use super::route::{Line, RouteTarget};
use super::{Class, Family};

/// A set of scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    const ALL: [Scope; 8] = [
        Scope::Vpc,
        Scope::Peer,
        Scope::Transit,
        Scope::OnPrem,
        Scope::AwsService,
        Scope::Internet,
        Scope::Unrouted,
        Scope::Special,
    ];

    /// The scopes that fulfil a condition.
    pub fn where_is(is: impl Fn(Scope) -> bool) -> Self {
        Self::of(Self::ALL.into_iter().filter(|scope| is(*scope)))
    }

    fn of(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self(
            scopes
                .into_iter()
                .fold(0, |bits, scope| bits | 1 << scope as u8),
        )
    }

    fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a scope is in both.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The subnet that an address can be in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum InSubnet {
    /// In none.
    #[default]
    No,
    /// If in any, in this one, by number.
    Only(u32),
    /// In one that is not known, or one of several.
    Any,
}

/// What an address can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outlook {
    /// Where it can be.
    pub scopes: Scopes,
    /// The subnet it can be in.
    pub subnet: InSubnet,
    /// The class of that subnet in its family, if it is of one class all the time.
    pub class: Option<Class>,
    /// Whether it is a NAT gateway's: packets to and from it are other people's.
    pub is_of_nat: bool,
    /// Whether a route can lead from it to a NAT gateway, which then speaks for it.
    pub is_behind_nat: bool,
}

impl Outlook {
    /// That of no address at all.
    pub const NONE: Self = Self {
        scopes: Scopes(0),
        subnet: InSubnet::No,
        class: None,
        is_of_nat: false,
        is_behind_nat: false,
    };

    /// That of an end on our side of which nothing more is known.
    pub fn ours() -> Self {
        use Scope::{AwsService, Internet, Special};
        Self {
            scopes: Scopes::where_is(|scope| !matches!(scope, AwsService | Internet | Special)),
            subnet: InSubnet::Any,
            ..Self::NONE
        }
    }
}

/// Tells what addresses can mean in some networks.
#[derive(Debug)]
pub struct Outlooks {
    settings: Settings,
    /// What the networks' own CIDRs and routes say.
    places: Ranges<Place>,
    subnets: Vec<InNetworks>,
    /// Addresses that are translated to others, NAT gateways' own among them.
    of_nat: HashSet<IpAddr>,
    public: HashSet<IpAddr>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    is_in_vpc: bool,
    /// Where routes to it lead, other than to everything.
    routed: Scopes,
    subnet: InSubnet,
}

impl Place {
    fn and(self, other: Self) -> Self {
        Self {
            is_in_vpc: self.is_in_vpc || other.is_in_vpc,
            routed: self.routed.union(other.routed),
            subnet: match (self.subnet, other.subnet) {
                (InSubnet::No, one) | (one, InSubnet::No) => one,
                (one, same) if one == same => one,
                _ => InSubnet::Any,
            },
        }
    }
}

/// What all networks say of a subnet.
#[derive(Debug, Clone, Copy)]
struct InNetworks {
    /// Its class in each family; `None` where it changed.
    class4: Option<Class>,
    class6: Option<Class>,
    /// Whether one of its routes leads to a NAT gateway, or its routes are not known.
    is_behind_nat: bool,
}

impl InNetworks {
    fn of(subnet: &Subnet, network: &Network) -> Self {
        let lines = subnet.table.map(|table| &network.tables[table].lines);
        let leads_to_nat = |line: &Line| line.target == RouteTarget::NatGateway;
        Self {
            class4: subnet.class(Family::V4),
            class6: subnet.class(Family::V6),
            is_behind_nat: lines.is_none_or(|lines| lines.iter().any(leads_to_nat)),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            class4: self.class4.filter(|_| self.class4 == other.class4),
            class6: self.class6.filter(|_| self.class6 == other.class6),
            is_behind_nat: self.is_behind_nat || other.is_behind_nat,
        }
    }
}

impl Outlooks {
    /// What addresses can mean in any of some networks, which share their settings.
    pub fn new<'n>(networks: impl IntoIterator<Item = &'n Arc<Network>>) -> Self {
        let mut outlooks = Self {
            settings: Settings::default(),
            places: Ranges::default(),
            subnets: Vec::new(),
            of_nat: HashSet::new(),
            public: HashSet::new(),
        };
        let mut places = Vec::new();
        let mut numbers: HashMap<Arc<str>, u32> = HashMap::new();
        for network in networks {
            outlooks.settings = network.settings().clone();
            places.extend(places_of(network));
            for subnet in network.subnets() {
                let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                let number = *numbers.entry(Arc::clone(&subnet.id)).or_insert(next);
                let of_network = InNetworks::of(subnet, network);
                match outlooks.subnets.get_mut(number as usize) {
                    Some(known) => *known = known.and(of_network),
                    None => outlooks.subnets.push(of_network),
                }
                let blocks = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
                places.extend(blocks.map(|block| {
                    let place = Place {
                        subnet: InSubnet::Only(number),
                        ..Place::default()
                    };
                    (*block, place)
                }));
            }
            for interface in network.interfaces() {
                outlooks.public.extend(&interface.public_addresses);
                if matches!(
                    interface.kind(),
                    InterfaceKind::Nat | InterfaceKind::RegionalNat
                ) {
                    outlooks.of_nat.extend(&interface.addresses);
                    outlooks.of_nat.extend(&interface.public_addresses);
                }
            }
            for nat in &network.nats {
                outlooks.of_nat.extend(&nat.public_addresses);
            }
        }
        let on_premises = outlooks.settings.on_premises.iter().map(|net| {
            let place = Place {
                routed: Scopes::of([Scope::OnPrem]),
                ..Place::default()
            };
            (*net, place)
        });
        places.extend(on_premises);
        places.sort_unstable_by_key(|(net, _)| *net);
        places.dedup();
        outlooks.places = Ranges::new(&places, Place::and);
        outlooks
    }

    /// What an address can mean.
    pub fn of(&self, addr: IpAddr) -> Outlook {
        use Scope::{AwsService, Internet, OnPrem, Peer, Special, Transit, Unrouted, Vpc};
        if is_special(addr) {
            return Outlook {
                scopes: Scopes::of([Special]),
                ..Outlook::NONE
            };
        }
        let place = self.places.get(addr);
        let is_owned = self.public.contains(&addr);
        let is_local = place.is_in_vpc || is_private(addr) || is_owned;
        let mut scopes = place.routed;
        if is_local {
            scopes = scopes.union(Scopes::of([Vpc, Peer, Transit, OnPrem, AwsService]));
        }
        if is_private(addr) {
            scopes = scopes.union(Scopes::of([Unrouted]));
        } else {
            // What the ranges do not have, a record may name itself.
            let public = match self.resolve_public(addr) {
                AwsService => Scopes::of([AwsService]),
                _ => Scopes::of([AwsService, Internet]),
            };
            scopes = scopes.union(public);
        }
        let subnet = match place.subnet {
            InSubnet::No if is_local || place.routed != Scopes::default() => InSubnet::Any,
            subnet => subnet,
        };
        let (class, is_behind_nat) = match subnet {
            InSubnet::Only(number) => {
                let known = self.subnets[number as usize];
                let class = if addr.is_ipv4() {
                    known.class4
                } else {
                    known.class6
                };
                (class, known.is_behind_nat)
            }
            InSubnet::Any => (None, true),
            InSubnet::No => (None, false),
        };
        Outlook {
            scopes,
            subnet,
            class,
            is_of_nat: self.of_nat.contains(&addr),
            is_behind_nat,
        }
    }

    fn resolve_public(&self, addr: IpAddr) -> Scope {
        super::resolve::public_scope(&self.settings.ip_ranges, addr)
    }
}

/// The CIDRs of a network's VPCs and peers, and the destinations of its routes.
fn places_of(network: &Network) -> impl Iterator<Item = (IpNet, Place)> {
    let in_vpc = Place {
        is_in_vpc: true,
        ..Place::default()
    };
    let vpcs = network.vpcs().iter().flat_map(|vpc| &vpc.cidrs);
    let peers = network.peerings.iter().flat_map(|peering| &peering.sides);
    let cidrs = vpcs.chain(peers.flat_map(|side| &side.cidrs));
    let routes = network.tables.iter().flat_map(|table| &table.lines);
    let routes = routes.flat_map(|line| {
        let routed = leads_to(line.target);
        let nets = line.nets.iter().filter(move |net| {
            // To everything, or to half of it, is to the internet, and to private addresses.
            routed != Scopes::default() && net.prefix_len() > 1
        });
        nets.map(move |net| {
            let place = Place {
                routed,
                ..Place::default()
            };
            (*net, place)
        })
    });
    cidrs.map(move |net| (*net, in_vpc)).chain(routes)
}

/// Where a route can lead by itself; through a NAT gateway or an appliance, the routes there say.
fn leads_to(target: RouteTarget) -> Scopes {
    use RouteTarget as To;
    match target {
        To::Peering | To::OdbNetwork => Scopes::of([Scope::Peer]),
        To::TransitGateway | To::CoreNetwork => Scopes::of([Scope::Transit, Scope::OnPrem]),
        To::VpnGateway | To::LocalGateway => Scopes::of([Scope::OnPrem]),
        To::GatewayEndpoint => Scopes::of([Scope::AwsService]),
        To::InternetGateway
        | To::CarrierGateway
        | To::EgressOnlyInternetGateway
        | To::NatGateway
        | To::NatInstance
        | To::InspectionEndpoint
        | To::Interface
        | To::Local
        | To::None => Scopes::default(),
    }
}
