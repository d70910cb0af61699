//! What the ends of a record are: who recorded it, on which leg, what its addresses mean there, and the route between them.
//!
//! Each distinct recorder, address and route is looked up once; rows carry indices.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use chrono::DateTime;

use super::flow::{Direction, Flow, Flows, Leg, NONE, Path, RecorderIds, Text, Texts};
use super::witness::{direction, forwarding_interfaces, leads, next_is, own_addresses};
use crate::topology::{
    Class, Endpoint, Family, History, InterfaceKind, Network, Route, RouteTarget, Scope, Subnet,
    Vantage, is_private,
};

/// One end of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'n> {
    pub(super) scope: Scope,
    pub(super) interface_id: Option<&'n str>,
    pub(super) subnet: Option<&'n Subnet>,
    /// The record's own word where the topology does not know the subnet.
    pub(super) subnet_id: Option<&'n str>,
    pub(super) vpc_id: Option<&'n str>,
    pub(super) account_id: Option<&'n str>,
    pub(super) region: Option<&'n str>,
    pub(super) service: Option<&'n str>,
    /// The NAT gateway that the address belongs to.
    pub(super) nat_id: Option<&'n str>,
    pub(super) class: Option<&'static str>,
    /// A number of the VPC that the address means something in; 0 outside of any.
    network: u32,
}

/// Who recorded a flow, at the time of the flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorder<'n> {
    pub(super) network: &'n Network,
    pub(super) account_id: Option<&'n str>,
    pub(super) region: Option<&'n str>,
    pub(super) vpc_id: Option<&'n str>,
    pub(super) subnet_id: Option<&'n str>,
    pub(super) interface_id: Option<&'n str>,
    pub(super) vantage: Vantage<'n>,
    kind: InterfaceKind,
    /// The NAT gateway that it is.
    pub(super) nat_id: Option<&'n str>,
    /// The same for records of one interface, whatever their format says beside its id.
    place: u32,
    /// The interface's own address as its records show it, where the topology does not know the interface.
    pub(super) own: Option<IpAddr>,
}

impl Recorder<'_> {
    fn is_in_subnet(&self, address: IpAddr) -> bool {
        self.vantage.subnet.is_some_and(|subnet| {
            let mut blocks = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
            blocks.any(|block| block.contains(&address))
        })
    }
}

/// How an address of a record stands to the interface that recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    /// It is the interface's own.
    Own,
    /// On the interface's side, but the packet may only pass through.
    Near,
    Far,
}

/// The sides of a record's source and destination.
fn sides(flow: &Flow, recorder: &Recorder<'_>) -> (Side, Side) {
    // What a regional NAT gateway takes in or hands back names the far end on both levels: only its public addresses are its own.
    let of_regional =
        |address: Option<IpAddr>, other: Option<IpAddr>| match recorder.vantage.nat_gateway {
            Some(nat) => address.is_some_and(|address| nat.public_addresses.contains(&address)),
            None => ![address, other].into_iter().flatten().any(is_private),
        };
    let side = |address: Option<IpAddr>, seen: Option<IpAddr>, other: Option<IpAddr>| match recorder
        .kind
    {
        InterfaceKind::RegionalNat if of_regional(address, other) => Side::Own,
        InterfaceKind::RegionalNat => Side::Far,
        _ if address == seen => Side::Own,
        _ => Side::Near,
    };
    match flow.direction {
        Direction::Egress => (side(flow.src, flow.at_src, flow.dst), Side::Far),
        Direction::Ingress => (Side::Far, side(flow.dst, flow.at_dst, flow.src)),
        Direction::Unknown => (Side::Far, Side::Far),
    }
}

/// A route in force, as a flow meets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'n> {
    pub(super) target: RouteTarget,
    pub(super) target_id: Option<&'n str>,
}

/// What was looked up, for rows to point at.
#[derive(Debug)]
pub(super) struct Resolved<'n> {
    pub(super) recorders: Vec<Recorder<'n>>,
    pub(super) ends: Vec<End<'n>>,
    pub(super) ways: Vec<Way<'n>>,
    texts: &'n Texts,
    networks: HashMap<&'n str, u32>,
}

impl<'n> Resolved<'n> {
    /// The VPC that an end's address means something in; 0 outside of any.
    pub(super) fn network_of(&self, end: u32) -> u32 {
        self.ends.get(end as usize).map_or(0, |end| end.network)
    }

    pub(super) fn end(&self, end: u32) -> Option<&End<'n>> {
        self.ends.get(end as usize)
    }

    pub(super) fn way(&self, way: u32) -> Option<&Way<'n>> {
        self.ways.get(way as usize)
    }

    pub(super) fn recorder(&self, recorder: u32) -> &Recorder<'n> {
        &self.recorders[recorder as usize]
    }

    pub(super) fn text(&self, text: Text) -> Option<&'n str> {
        self.texts.get(text)
    }

    /// A number of the interface (or of the NAT or transit gateway) that recorded, whatever its records' format says beside its id.
    pub(super) fn place(&self, recorder: u32) -> u32 {
        self.recorders[recorder as usize].place
    }

    /// Whether two recorders are the same interface (or the same NAT or transit gateway).
    pub(super) fn same_interface(&self, a: u32, b: u32) -> bool {
        self.place(a) == self.place(b)
    }
}

/// Looks everything up; rows are left with their recorder at the flow's time, ends, leg, direction, route and path.
pub(super) fn resolve<'n>(
    rows: &mut [Flow],
    flows: &'n Known,
    history: &'n History,
) -> Resolved<'n> {
    let mut resolver = Resolver {
        history,
        texts: &flows.texts,
        ids: &flows.recorders,
        own: own_addresses(rows, flows, history),
        forwarding: forwarding_interfaces(rows, flows),
        recorders: HashMap::new(),
        places: HashMap::new(),
        end_keys: HashMap::new(),
        way_keys: HashMap::new(),
        nats: HashMap::new(),
        resolved: Resolved {
            recorders: Vec::new(),
            ends: Vec::new(),
            ways: Vec::new(),
            texts: &flows.texts,
            networks: HashMap::new(),
        },
    };
    for flow in rows {
        resolver.row(flow);
    }
    resolver.resolved
}

/// The shared parts of [`Flows`], apart from the rows.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) texts: Texts,
    pub(super) recorders: Vec<RecorderIds>,
}

impl From<Flows> for (Vec<Flow>, Known) {
    fn from(flows: Flows) -> Self {
        (
            flows.rows,
            Known {
                texts: flows.texts,
                recorders: flows.recorders,
            },
        )
    }
}

/// A network by its place in memory: snapshots are built once and kept.
pub(super) type NetworkKey = usize;

type RecorderKey = (u32, NetworkKey, Option<(IpAddr, IpAddr)>);

type EndKey = (u32, IpAddr, Text, Side);

pub(super) fn key_of(network: &Network) -> NetworkKey {
    std::ptr::from_ref(network) as usize
}

struct Resolver<'n> {
    history: &'n History,
    texts: &'n Texts,
    ids: &'n [RecorderIds],
    own: HashMap<Text, IpAddr>,
    forwarding: HashSet<Text>,
    /// By ids, snapshot and, for records that name nothing we know, by their addresses.
    recorders: HashMap<RecorderKey, u32>,
    places: HashMap<(Text, Text, Text), u32>,
    end_keys: HashMap<EndKey, u32>,
    way_keys: HashMap<(NetworkKey, &'n str, IpAddr), u32>,
    /// The NAT gateway of each of their interfaces.
    nats: HashMap<NetworkKey, HashMap<&'n str, &'n str>>,
    resolved: Resolved<'n>,
}

fn index(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than 2^32 distinct values fit in memory")
}

impl<'n> Resolver<'n> {
    fn row(&mut self, flow: &mut Flow) {
        let at = DateTime::from_timestamp_micros(flow.start).unwrap_or(DateTime::UNIX_EPOCH);
        let network: &'n Network = self.history.at(at);
        let ids = self.ids[flow.recorder as usize];
        flow.recorder = self.recorder(flow, ids, network);
        let recorder = self.resolved.recorders[flow.recorder as usize];
        flow.direction = direction(flow, &recorder);
        let (src_side, dst_side) = sides(flow, &recorder);
        flow.src_end = self.end(flow.src, flow.src_service, flow.recorder, src_side);
        flow.dst_end = match self.texts.get(ids.tgw_dst_vpc_id) {
            Some(vpc_id) => {
                self.end_behind_tgw(flow, vpc_id, self.texts.get(ids.tgw_dst_subnet_id), network)
            }
            None => self.end(flow.dst, flow.dst_service, flow.recorder, dst_side),
        };
        flow.leg = self.leg(flow, &recorder);
        flow.route = self.way(flow, network);
        flow.path = self.path(flow);
    }

    /// Who recorded it, at the flow's time.
    fn recorder(&mut self, flow: &Flow, ids: RecorderIds, network: &'n Network) -> u32 {
        let text = |text| self.texts.get(text);
        let (interface_id, resource_id) = (text(ids.interface_id), text(ids.resource_id));
        let (account_id, subnet_id, vpc_id) =
            (text(ids.account_id), text(ids.subnet_id), text(ids.vpc_id));
        let known = network.vantage(interface_id, subnet_id, vpc_id, resource_id, None);
        let is_known = known.interface.is_some()
            || known.subnet.is_some()
            || known.vpc.is_some()
            || known.nat_gateway.is_some();
        let addresses = if is_known {
            None
        } else {
            flow.at_src.zip(flow.at_dst)
        };
        let key = (flow.recorder, key_of(network), addresses);
        if let Some(&recorder) = self.recorders.get(&key) {
            return recorder;
        }
        let vantage = match addresses {
            // `unknown` is what AWS writes for the interfaces of its own services.
            Some((src, dst)) => {
                let account_id = account_id.filter(|id| *id != "unknown");
                // An interface that is named is not the one that has the address now: only where they are is taken over.
                let found = network
                    .vantage_by_address(account_id, src, dst)
                    .unwrap_or_default();
                if interface_id.is_some() {
                    Vantage {
                        interface: None,
                        ..found
                    }
                } else {
                    found
                }
            }
            None => known,
        };
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
            (None, _) if self.forwarding.contains(&ids.interface_id) => InterfaceKind::Nat,
            (None, _) => InterfaceKind::Interface,
        };
        let nat_id = match kind {
            InterfaceKind::Nat => {
                let interface_id = vantage
                    .interface
                    .map(|interface| &*interface.id)
                    .or(interface_id);
                interface_id
                    .and_then(|id| self.nat_of(network, id))
                    .or(interface_id)
            }
            InterfaceKind::RegionalNat => vantage.nat_gateway.map(|nat| &*nat.id).or(resource_id),
            _ => None,
        };
        let place = match (ids.interface_id, ids.resource_id, ids.tgw_attachment_id) {
            (NONE, NONE, NONE) => (NONE, NONE, flow.recorder),
            (NONE, resource, attachment) => (NONE, resource, attachment),
            (interface, ..) => (interface, NONE, NONE),
        };
        let place_count = index(self.places.len());
        let place = *self.places.entry(place).or_insert(place_count);
        let interface = vantage.interface;
        let recorder = Recorder {
            network,
            account_id: account_id
                .or_else(|| interface.and_then(|interface| interface.account_id.as_deref()))
                .or_else(|| vantage.vpc.and_then(|vpc| vpc.account_id.as_deref())),
            region: text(ids.region)
                .or_else(|| interface.and_then(|interface| interface.region.as_deref()))
                .or_else(|| vantage.subnet.and_then(|subnet| subnet.region.as_deref()))
                .or_else(|| vantage.vpc.and_then(|vpc| vpc.region.as_deref())),
            vpc_id: vpc_id.or_else(|| vantage.vpc.map(|vpc| &*vpc.id)),
            subnet_id: subnet_id.or_else(|| vantage.subnet.map(|subnet| &*subnet.id)),
            interface_id: interface_id.or_else(|| interface.map(|interface| &*interface.id)),
            vantage,
            kind,
            nat_id,
            place,
            own: self.own.get(&ids.interface_id).copied(),
        };
        self.resolved.recorders.push(recorder);
        let recorder = index(self.resolved.recorders.len() - 1);
        self.recorders.insert(key, recorder);
        recorder
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

    /// What an address of a record means to its recorder.
    fn end(&mut self, address: Option<IpAddr>, service: Text, recorder: u32, side: Side) -> u32 {
        let Some(address) = address else { return NONE };
        let key = (recorder, address, service, side);
        if let Some(&end) = self.end_keys.get(&key) {
            return end;
        }
        let by = self.resolved.recorders[recorder as usize];
        let endpoint = by.network.resolve(&by.vantage, address);
        // A container's address that the topology does not list is still of the interface in whose subnet it lies.
        let is_listed = endpoint.interface.is_some();
        let is_own = match side {
            Side::Own => true,
            Side::Near => {
                !is_listed && by.kind == InterfaceKind::Interface && by.is_in_subnet(address)
            }
            Side::Far => false,
        };
        let mut end = self.end_of(endpoint, address, service, by.network);
        if is_own && !matches!(end.scope, Scope::Special) {
            end.scope = Scope::Vpc;
            end.interface_id = end.interface_id.or(by.interface_id);
            if end.subnet.is_none() {
                end.subnet = by.vantage.subnet;
                end.class = end
                    .subnet
                    .and_then(|subnet| subnet.class(Family::of(address)))
                    .map(Class::as_str);
            }
            end.subnet_id = end.subnet_id.or(by.subnet_id);
            end.vpc_id = end.vpc_id.or(by.vpc_id);
            end.account_id = end.account_id.or(by.account_id);
            end.region = end.region.or(by.region);
            end.nat_id = end.nat_id.or(by.nat_id);
            end.service = None;
        }
        // The same two ends at both places that record them: where no route leads back to a neighbour, it is one all the same, and
        // without the topology of its VPC a private address is taken to be in the VPC of the record that names it.
        let beside = match (end.vpc_id, end.scope, by.vantage.vpc) {
            (None, Scope::Unrouted | Scope::Transit | Scope::Peer, Some(vpc)) => {
                by.network.neighbour(vpc, address).map(|vpc| &*vpc.id)
            }
            (None, Scope::Unrouted, None) => by.vpc_id,
            _ => None,
        };
        end.network = end
            .vpc_id
            .or(beside)
            .map_or(0, |id| self.network_number(id));
        self.push_end(key, end)
    }

    /// The far end of a transit gateway's record, which names its VPC and subnet itself.
    fn end_behind_tgw(
        &mut self,
        flow: &Flow,
        vpc_id: &'n str,
        subnet_id: Option<&'n str>,
        network: &'n Network,
    ) -> u32 {
        let Some(address) = flow.dst else { return NONE };
        let near = self.end(flow.dst, flow.dst_service, flow.recorder, Side::Far);
        let Some(vpc) = network.vpc(vpc_id).filter(|vpc| vpc.contains(address)) else {
            return near;
        };
        let key = (u32::MAX - near, address, flow.dst_service, Side::Far);
        if let Some(&end) = self.end_keys.get(&key) {
            return end;
        }
        let vantage = Vantage {
            vpc: Some(vpc),
            ..network.vantage(None, subnet_id, Some(vpc_id), None, None)
        };
        let endpoint = network.resolve(&vantage, address);
        let mut end = self.end_of(endpoint, address, flow.dst_service, network);
        end.scope = Scope::Transit;
        end.network = self.network_number(vpc_id);
        self.push_end(key, end)
    }

    fn end_of(
        &mut self,
        endpoint: Endpoint<'n>,
        address: IpAddr,
        service: Text,
        network: &'n Network,
    ) -> End<'n> {
        let (mut scope, mut of_service) = (endpoint.scope, endpoint.service);
        // The record's own word was true when it was written; the ranges we have may be older or newer.
        if matches!(scope, Scope::Internet)
            && let Some(word) = self
                .texts
                .get(service)
                .filter(|word| !matches!(*word, "EC2" | "AMAZON"))
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
        End {
            scope,
            interface_id: interface.map(|interface| &*interface.id),
            subnet,
            subnet_id: subnet.map(|subnet| &*subnet.id),
            vpc_id: endpoint.vpc.map(|vpc| &*vpc.id),
            account_id: interface
                .and_then(|interface| interface.account_id.as_deref())
                .or_else(|| endpoint.vpc.and_then(|vpc| vpc.account_id.as_deref())),
            region: subnet
                .and_then(|subnet| subnet.region.as_deref())
                .or_else(|| endpoint.vpc.and_then(|vpc| vpc.region.as_deref())),
            service: of_service,
            nat_id,
            class: subnet
                .and_then(|subnet| subnet.class(Family::of(address)))
                .map(Class::as_str),
            network: 0,
        }
    }

    fn push_end(&mut self, key: EndKey, end: End<'n>) -> u32 {
        self.resolved.ends.push(end);
        let end = index(self.resolved.ends.len() - 1);
        self.end_keys.insert(key, end);
        end
    }

    fn network_number(&mut self, vpc_id: &'n str) -> u32 {
        let next = index(self.resolved.networks.len() + 1);
        *self.resolved.networks.entry(vpc_id).or_insert(next)
    }

    fn leg(&self, flow: &Flow, recorder: &Recorder<'n>) -> Leg {
        let (src, dst) = (
            self.resolved.end(flow.src_end),
            self.resolved.end(flow.dst_end),
        );
        let ours = |end: Option<&End<'_>>| {
            end.is_some_and(|end| matches!(end.scope, Scope::Vpc | Scope::Peer | Scope::Transit))
        };
        match recorder.kind {
            InterfaceKind::Nat | InterfaceKind::RegionalNat => {
                let is_nat = |end: Option<&End<'_>>| {
                    end.is_some_and(|end| end.nat_id.is_some() && end.nat_id == recorder.nat_id)
                };
                match (is_nat(src), is_nat(dst)) {
                    (true, true) => Leg::Direct,
                    (true, false) if ours(dst) => Leg::NatInsideBlind,
                    (false, true) if ours(src) => Leg::NatInsideBlind,
                    (true, false) | (false, true) => Leg::NatOutside,
                    (false, false) => Leg::NatInside,
                }
            }
            InterfaceKind::TransitGateway => Leg::Transit,
            _ => {
                let own = match flow.direction {
                    Direction::Egress => src,
                    Direction::Ingress => dst,
                    Direction::Unknown => return Leg::Direct,
                };
                let passes_through = match (own, recorder.interface_id) {
                    (Some(end), Some(id)) => match end.interface_id {
                        Some(owner) => owner != id,
                        None => {
                            let is_public =
                                matches!(end.scope, Scope::Internet | Scope::AwsService);
                            is_public || end.scope != Scope::Vpc && recorder.vantage.vpc.is_some()
                        }
                    },
                    _ => false,
                };
                if passes_through {
                    Leg::Middle
                } else {
                    Leg::Direct
                }
            }
        }
    }

    /// The route in force of our side's subnet towards the other end.
    fn way(&mut self, flow: &Flow, network: &'n Network) -> u32 {
        let end = |end: u32| self.resolved.end(end).and_then(|end| end.subnet);
        let (subnet, far) = match (end(flow.src_end), end(flow.dst_end)) {
            (Some(subnet), _) => (subnet, flow.dst),
            (None, Some(subnet)) => (subnet, flow.src),
            (None, None) => return NONE,
        };
        // Link-local and multicast addresses are not routed.
        let is_special = |end: u32| {
            let end = self.resolved.end(end);
            end.is_some_and(|end| end.scope == Scope::Special)
        };
        if is_special(flow.src_end) || is_special(flow.dst_end) {
            return NONE;
        }
        let (Some(far), Some(_)) = (far, subnet.route_table_id.as_deref()) else {
            return NONE;
        };
        let key = (key_of(network), &*subnet.id, far);
        if let Some(&way) = self.way_keys.get(&key) {
            return way;
        }
        let way = match network.route(subnet, far) {
            Some(Route {
                target, target_id, ..
            }) => Way {
                target,
                target_id: Some(target_id),
            },
            None => Way {
                target: RouteTarget::None,
                target_id: None,
            },
        };
        self.resolved.ways.push(way);
        let way = index(self.resolved.ways.len() - 1);
        self.way_keys.insert(key, way);
        way
    }

    /// Whether the record's own witnesses (v5 `traffic-path`, v11 `next-hop-interface-type`) agree with the route.
    fn path(&self, flow: &Flow) -> Path {
        let Some(way) = self.resolved.way(flow.route) else {
            return Path::Unknown;
        };
        if way.target == RouteTarget::None {
            return Path::Impossible;
        }
        let is_senders = flow.direction == Direction::Egress
            && matches!(flow.leg, Leg::Direct | Leg::NatOutside);
        let agrees = flow
            .traffic_path
            .filter(|_| is_senders)
            .is_none_or(|code| leads(code, way.target))
            && self
                .texts
                .get(flow.next_hop_type)
                .filter(|_| is_senders)
                .is_none_or(|kind| next_is(kind, way.target));
        if agrees {
            Path::Expected
        } else {
            Path::Contradicts
        }
    }
}
