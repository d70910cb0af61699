//! What was found while records were resolved, each once: who recorded them, what their ends are, and the routes between. Rows carry indices.

use std::collections::HashMap;
use std::net::IpAddr;

use super::flow::Pool;
use super::flow::{Address, NONE, RecorderIds, Text, Texts};
use super::hash::Set;
use super::witness::Sightings;
use crate::topology::{
    Class, Endpoint, Family, Interface, InterfaceKind, Network, RouteTarget, Scope, Subnet, Vantage,
};

/// An address that stands for others and is in no record.
const UNSEEN: Address = NONE - 1;

/// What is told of one end of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EndTexts {
    pub(super) scope: Scope,
    pub(super) interface_id: Text,
    /// The record's own word where the topology does not know the subnet.
    pub(super) subnet_id: Text,
    pub(super) vpc_id: Text,
    pub(super) account_id: Text,
    pub(super) region: Text,
    pub(super) service: Text,
    pub(super) class: Text,
}

/// One end of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'n> {
    pub(super) texts: EndTexts,
    pub(super) subnet: Option<&'n Subnet>,
    /// The NAT gateway that the address belongs to.
    pub(super) nat_id: Text,
    /// A number of the VPC that the address means something in; 0 outside of any.
    pub(super) network: u32,
    /// A number of the subnet's route table; [`NONE`] without one.
    pub(super) table: u32,
    /// The address of its interface that without `pkt-*` fields stands for this one and others; [`NONE`] where the interface has no other.
    pub(super) stand_in: Address,
    /// Whether it is a public address, which the interface itself never sees.
    pub(super) is_public: bool,
    /// Whether it is a Network Load Balancer's.
    pub(super) is_balancer: bool,
}

impl End<'_> {
    /// The same for all addresses of an interface that has several.
    pub(super) fn talker(&self, address: Address) -> u64 {
        if self.stand_in == NONE {
            address.into()
        } else {
            1 << 32 | u64::from(self.texts.interface_id)
        }
    }

    fn key(&self) -> EndKey {
        EndKey {
            texts: self.texts,
            subnet: address_of(self.subnet),
            nat_id: self.nat_id,
            network: self.network,
            stand_in: self.stand_in,
            is_public: self.is_public,
            is_balancer: self.is_balancer,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct EndKey {
    texts: EndTexts,
    subnet: usize,
    nat_id: Text,
    network: u32,
    stand_in: Address,
    is_public: bool,
    is_balancer: bool,
}

/// What is told of who recorded a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecorderTexts {
    pub(super) account_id: Text,
    pub(super) region: Text,
    pub(super) vpc_id: Text,
    pub(super) subnet_id: Text,
    pub(super) interface_id: Text,
}

/// Who recorded a flow, at the time of the flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorder<'n> {
    pub(super) network: &'n Network,
    pub(super) texts: RecorderTexts,
    pub(super) vantage: Vantage<'n>,
    pub(super) kind: InterfaceKind,
    /// The NAT gateway that it is.
    pub(super) nat_id: Text,
    /// The same for records of one interface, whatever their format says beside its id.
    pub(super) place: u32,
    /// The interface's own address as its records show it, where the topology does not know the interface.
    pub(super) own: Option<IpAddr>,
    /// A number of what a far address is looked up from.
    pub(super) group: u32,
}

impl Recorder<'_> {
    pub(super) fn is_in_subnet(&self, address: IpAddr) -> bool {
        self.vantage.subnet.is_some_and(|subnet| {
            let mut blocks = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
            blocks.any(|block| block.contains(&address))
        })
    }
}

/// What tells two recorders of the same ids apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RecorderKey {
    ids: u32,
    network: NetworkKey,
    interface: usize,
    subnet: usize,
    vpc: usize,
    pub(super) kind: InterfaceKind,
    own: Option<IpAddr>,
}

/// What a far address means the same from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct GroupKey {
    network: NetworkKey,
    vpc: usize,
    pub(super) table: u32,
    /// Where the route table is not known, the subnet.
    subnet: usize,
    nat_gateway: usize,
    /// The record's own word where the topology does not know the VPC.
    vpc_id: Text,
}

/// A route in force, as a flow meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Way {
    pub(super) target: RouteTarget,
    pub(super) target_id: Text,
}

/// A network by its place in memory: snapshots are built once and kept.
pub(super) type NetworkKey = usize;

pub(super) fn key_of(network: &Network) -> NetworkKey {
    std::ptr::from_ref(network) as usize
}

/// What is built once and kept, by its place in memory; 0 for nothing.
fn address_of<T>(value: Option<&T>) -> usize {
    value.map_or(0, |value| std::ptr::from_ref(value) as usize)
}

fn index(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than 2^32 distinct values fit in memory")
}

/// What the passes of a slice of time share.
#[derive(Clone, Copy)]
pub(super) struct Known<'p> {
    pub(super) pool: &'p Pool,
    pub(super) sightings: &'p Sightings,
    pub(super) forwarding: &'p Set<Text>,
}

/// What was looked up, each once, for rows to point at.
#[derive(Debug, Default)]
pub(super) struct World<'n> {
    pub(super) recorders: Vec<Recorder<'n>>,
    pub(super) ends: Vec<End<'n>>,
    pub(super) ways: Vec<Way>,
    pub(super) texts: Texts,
    known_recorders: HashMap<RecorderKey, u32>,
    known_ends: HashMap<EndKey, u32>,
    known_ways: HashMap<Way, u32>,
    groups: HashMap<GroupKey, u32>,
    places: HashMap<(Text, Text, Text), u32>,
    tables: HashMap<(NetworkKey, Text), u32>,
    networks: HashMap<Text, u32>,
    /// The NAT gateway of each of their interfaces.
    nats: HashMap<NetworkKey, HashMap<&'n str, &'n str>>,
}

impl<'n> World<'n> {
    pub(super) fn end(&self, end: u32) -> Option<&End<'n>> {
        self.ends.get(end as usize)
    }

    /// Whether an end is a Network Load Balancer's.
    pub(super) fn is_balancer(&self, end: u32) -> bool {
        self.end(end).is_some_and(|end| end.is_balancer)
    }

    pub(super) fn has_balancers(&self) -> bool {
        self.ends.iter().any(|end| end.is_balancer)
    }

    pub(super) fn way(&self, way: u32) -> Option<&Way> {
        self.ways.get(way as usize)
    }

    pub(super) fn recorder(&self, recorder: u32) -> &Recorder<'n> {
        &self.recorders[recorder as usize]
    }

    /// A number of the interface (or of the NAT or transit gateway) that recorded, whatever its records' format says beside its id.
    pub(super) fn place(&self, recorder: u32) -> u32 {
        self.recorders[recorder as usize].place
    }

    /// Whether two recorders are the same interface (or the same NAT or transit gateway).
    pub(super) fn same_interface(&self, a: u32, b: u32) -> bool {
        self.place(a) == self.place(b)
    }

    pub(super) fn text(&mut self, value: Option<&str>) -> Text {
        value.map_or(NONE, |value| self.texts.intern(value))
    }

    pub(super) fn network_number(&mut self, vpc_id: Text) -> u32 {
        let next = index(self.networks.len() + 1);
        *self.networks.entry(vpc_id).or_insert(next)
    }

    pub(super) fn table_number(&mut self, network: &Network, subnet: Option<&Subnet>) -> u32 {
        let Some(table) = subnet.and_then(|subnet| subnet.route_table_id.as_deref()) else {
            return NONE;
        };
        let next = index(self.tables.len());
        let key = (key_of(network), self.texts.intern(table));
        *self.tables.entry(key).or_insert(next)
    }

    fn nat_of(&mut self, network: &'n Network, interface_id: &str) -> Option<&'n str> {
        let nats = self.nats.entry(key_of(network)).or_insert_with(|| {
            let gateways = network.resources().nat_gateways.iter();
            gateways
                .flat_map(|gateway| {
                    let addresses = gateway.nat_gateway_addresses.iter();
                    addresses.filter_map(|address| {
                        Some((
                            address.network_interface_id.as_deref()?,
                            gateway.nat_gateway_id.as_str(),
                        ))
                    })
                })
                .collect()
        });
        nats.get(interface_id).copied()
    }

    pub(super) fn push_end(&mut self, end: End<'n>) -> u32 {
        let next = index(self.ends.len());
        let end_number = *self.known_ends.entry(end.key()).or_insert(next);
        if end_number == next {
            self.ends.push(end);
        }
        end_number
    }

    pub(super) fn push_way(&mut self, way: Way) -> u32 {
        let next = index(self.ways.len());
        let number = *self.known_ways.entry(way).or_insert(next);
        if number == next {
            self.ways.push(way);
        }
        number
    }

    /// What an address means there, in the texts of this world.
    pub(super) fn end_of(
        &mut self,
        endpoint: Endpoint<'n>,
        address: IpAddr,
        pool: &Pool,
        service: Text,
        network: &'n Network,
    ) -> End<'n> {
        let service = pool.texts.get(service);
        let (mut scope, mut of_service) = (endpoint.scope, endpoint.service);
        // The record's own word was true when it was written; the ranges we have may be older or newer.
        if matches!(scope, Scope::Internet)
            && let Some(word) = service.filter(|word| !matches!(*word, "EC2" | "AMAZON"))
        {
            (scope, of_service) = (Scope::AwsService, Some(word));
        }
        let interface = endpoint.interface;
        let subnet = endpoint.subnet;
        let nat_id = interface
            .filter(|interface| {
                matches!(
                    interface.kind(),
                    InterfaceKind::Nat | InterfaceKind::RegionalNat
                )
            })
            .map(|interface| self.nat_of(network, &interface.id).unwrap_or(&interface.id));
        let of_vpc = endpoint.vpc;
        End {
            texts: EndTexts {
                scope,
                interface_id: self.text(interface.map(|interface| &*interface.id)),
                subnet_id: self.text(subnet.map(|subnet| &*subnet.id)),
                vpc_id: self.text(of_vpc.map(|vpc| &*vpc.id)),
                account_id: self.text(
                    interface
                        .and_then(|interface| interface.account_id.as_deref())
                        .or_else(|| of_vpc.and_then(|vpc| vpc.account_id.as_deref())),
                ),
                region: self.text(
                    subnet
                        .and_then(|subnet| subnet.region.as_deref())
                        .or_else(|| of_vpc.and_then(|vpc| vpc.region.as_deref())),
                ),
                service: self.text(of_service),
                class: self.text(class(subnet, address)),
            },
            subnet,
            nat_id: self.text(nat_id),
            network: 0,
            table: self.table_number(network, subnet),
            stand_in: interface.map_or(NONE, |interface| stand_in(interface, address, pool)),
            is_public: interface
                .is_some_and(|interface| interface.public_addresses.contains(&address)),
            is_balancer: interface
                .is_some_and(|interface| interface.kind() == InterfaceKind::NetworkLoadBalancer),
        }
    }
}

/// The address that stands for whatever an interface sends or receives where records have no `pkt-*` fields: its first one of the family
/// (Amazon VPC User Guide, `srcaddr` and `dstaddr`). [`NONE`] where it has no other.
fn stand_in(interface: &Interface, address: IpAddr, pool: &Pool) -> Address {
    let is_like = |other: IpAddr| other.is_ipv4() == address.is_ipv4();
    let mut own = interface.addresses.iter().filter(|own| is_like(**own));
    let first = own.next();
    let has_others = own.next().is_some()
        || interface.public_addresses.iter().any(|own| is_like(*own))
        || interface.prefixes.iter().any(|net| is_like(net.addr()));
    let first = first.filter(|_| has_others);
    first.map_or(NONE, |&first| {
        // Where no record has it, nothing is known by it either.
        pool.addresses.lookup(first).unwrap_or(UNSEEN)
    })
}

pub(super) fn class(subnet: Option<&Subnet>, address: IpAddr) -> Option<&'static str> {
    subnet
        .and_then(|subnet| subnet.class(Family::of(address)))
        .map(Class::as_str)
}

impl<'n> World<'n> {
    pub(super) fn recorder_of(
        &mut self,
        raw: u32,
        ids: RecorderIds,
        vantage: Vantage<'n>,
        network: &'n Network,
        known: Known<'_>,
    ) -> u32 {
        let text = |text| known.pool.texts.get(text);
        let (interface_id, resource_id) = (text(ids.interface_id), text(ids.resource_id));
        let kind = match (vantage.interface, text(ids.interface_type)) {
            (Some(interface), _) => interface.kind(),
            (None, _) if vantage.nat_gateway.is_some() => InterfaceKind::RegionalNat,
            (None, Some("nat_gateway")) => InterfaceKind::Nat,
            (None, Some("regional_nat_gateway")) => InterfaceKind::RegionalNat,
            (None, Some("transit_gateway")) => InterfaceKind::TransitGateway,
            (None, Some("network_load_balancer")) => InterfaceKind::NetworkLoadBalancer,
            (None, Some("vpc_endpoint")) => InterfaceKind::VpcEndpoint,
            (None, _) if ids.tgw_id != NONE => InterfaceKind::TransitGateway,
            (None, _) if resource_id.is_some_and(|id| id.starts_with("nat-")) => {
                InterfaceKind::RegionalNat
            }
            (None, _) if known.forwarding.contains(&ids.interface_id) => InterfaceKind::Nat,
            (None, _) => InterfaceKind::Interface,
        };
        let own = known.sightings.own(ids.interface_id, &known.pool.addresses);
        let key = RecorderKey {
            ids: raw,
            network: key_of(network),
            interface: address_of(vantage.interface),
            subnet: address_of(vantage.subnet),
            vpc: address_of(vantage.vpc),
            kind,
            own,
        };
        if let Some(&recorder) = self.known_recorders.get(&key) {
            return recorder;
        }
        let nat_id = match kind {
            InterfaceKind::Nat => {
                let interface_id = vantage
                    .interface
                    .map(|interface| &*interface.id)
                    .or(interface_id);
                interface_id.map(|id| self.nat_of(network, id).unwrap_or(id))
            }
            InterfaceKind::RegionalNat => vantage.nat_gateway.map(|nat| &*nat.id).or(resource_id),
            _ => None,
        };
        let place = match (ids.interface_id, ids.resource_id, ids.tgw_attachment_id) {
            (NONE, NONE, NONE) => (NONE, NONE, raw),
            (NONE, resource, attachment) => (NONE, resource, attachment),
            (interface, ..) => (interface, NONE, NONE),
        };
        let place_count = index(self.places.len());
        let place = *self.places.entry(place).or_insert(place_count);
        let interface = vantage.interface;
        let texts = RecorderTexts {
            account_id: self.text(
                text(ids.account_id)
                    .or_else(|| interface.and_then(|interface| interface.account_id.as_deref()))
                    .or_else(|| vantage.vpc.and_then(|vpc| vpc.account_id.as_deref())),
            ),
            region: self.text(
                text(ids.region)
                    .or_else(|| interface.and_then(|interface| interface.region.as_deref()))
                    .or_else(|| vantage.subnet.and_then(|subnet| subnet.region.as_deref()))
                    .or_else(|| vantage.vpc.and_then(|vpc| vpc.region.as_deref())),
            ),
            vpc_id: self.text(text(ids.vpc_id).or_else(|| vantage.vpc.map(|vpc| &*vpc.id))),
            subnet_id: self
                .text(text(ids.subnet_id).or_else(|| vantage.subnet.map(|subnet| &*subnet.id))),
            interface_id: self
                .text(interface_id.or_else(|| interface.map(|interface| &*interface.id))),
        };
        let table = self.table_number(network, vantage.subnet);
        let group = GroupKey {
            network: key_of(network),
            vpc: address_of(vantage.vpc),
            table,
            subnet: if table == NONE {
                address_of(vantage.subnet)
            } else {
                0
            },
            nat_gateway: address_of(vantage.nat_gateway),
            vpc_id: if vantage.vpc.is_some() {
                NONE
            } else {
                texts.vpc_id
            },
        };
        let group_count = index(self.groups.len());
        let group = *self.groups.entry(group).or_insert(group_count);
        let recorder = Recorder {
            network,
            texts,
            vantage,
            kind,
            nat_id: self.text(nat_id),
            place,
            own,
            group,
        };
        self.recorders.push(recorder);
        let recorder = index(self.recorders.len() - 1);
        self.known_recorders.insert(key, recorder);
        recorder
    }
}
