//! What the ends of a record are: who recorded it, on which leg, what its addresses mean there, and the route between them.
//!
//! Each distinct recorder, address and route is looked up once; rows carry indices. What a far address means does not depend on the
//! interface that recorded it but on its VPC and route table, so that it is looked up once for all interfaces that share them.
//!
//! ```text
//! World: what was found, each once        Lens: one thread's view of it, with what it looked up last
//! ```

mod memory;
mod usual;
mod way;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::DateTime;

use self::memory::{MOST_REMEMBERED, Remembered, remember};
use self::usual::{Usual, says_more};
use super::columns::Ends;
use super::flow::{Address, Direction, Flow, NONE, Pool, RecorderIds, Text};
use super::hash::Map;
use super::witness::direction;
use super::world::{End, EndTexts, Known, NetworkKey, Recorder, Way, World, class, key_of};
use crate::topology::{History, InterfaceKind, Network, RouteTarget, Scope, Vantage, is_private};

/// How an address of a record stands to the interface that recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    /// It is the interface's own.
    Own,
    /// On the interface's side, but the packet may only pass through.
    Near,
    Far,
}

/// The addresses of a record.
#[derive(Clone, Copy)]
struct Ips {
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    /// As the interface saw them.
    at_src: Option<IpAddr>,
    at_dst: Option<IpAddr>,
}

/// The sides of a record's source and destination.
fn sides(direction: Direction, ips: Ips, recorder: &Recorder<'_>) -> (Side, Side) {
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
    match direction {
        Direction::Egress => (side(ips.src, ips.at_src, ips.dst), Side::Far),
        Direction::Ingress => (Side::Far, side(ips.dst, ips.at_dst, ips.src)),
        Direction::Unknown => (Side::Far, Side::Far),
    }
}

/// One thread's view of the world: copies of what is in it, and what was looked up.
pub(super) struct Lens<'n> {
    history: &'n History,
    /// The network where it never changed.
    only: Option<&'n Network>,
    recorders: Vec<Recorder<'n>>,
    ends: Vec<End<'n>>,
    ways: Vec<Way>,
    /// Of each of the readers' recorders, which one of ours it was last.
    latest: Vec<Option<(NetworkKey, u32)>>,
    /// For records that name nothing we know, by their addresses.
    by_address: Map<(u32, NetworkKey, Address, Address), u32>,
    /// Of each of the readers' recorders, the interface that it usually is.
    usual: Vec<Option<Usual>>,
    /// By group and address.
    far: Remembered,
    /// By recorder, address, the record's word for its service, and side.
    near: Map<(u32, Address, Text, Side), u32>,
    /// By route table and address.
    on_way: Remembered,
}

impl<'n> Lens<'n> {
    pub(super) fn new(history: &'n History) -> Self {
        let is_one = history.times().len() <= 1;
        Self {
            history,
            only: is_one.then(|| &**history.latest()),
            recorders: Vec::new(),
            ends: Vec::new(),
            ways: Vec::new(),
            latest: Vec::new(),
            by_address: Map::default(),
            usual: Vec::new(),
            far: Remembered::default(),
            near: Map::default(),
            on_way: Remembered::default(),
        }
    }

    /// Forgets what more records may tell otherwise.
    pub(super) fn next_slice(&mut self, world: &World<'n>) {
        self.latest.clear();
        self.usual.clear();
        self.by_address.clear();
        self.sync(world);
    }

    /// Who talks: the VPC that an end's address means something in, 0 outside of any, and a number that is the same for all addresses of
    /// one interface.
    pub(super) fn talker(&self, end: u32, address: Address) -> (u32, u64) {
        match self.end_at(end) {
            Some(end) => (end.network, end.talker(address)),
            None => (0, address.into()),
        }
    }

    /// Leaves a record with its recorder at the flow's time, ends, leg, direction, route and path. `seen` are its addresses as the
    /// interface saw them.
    pub(super) fn resolve(
        &mut self,
        flow: &mut Flow,
        seen: [Address; 2],
        known: Known<'_>,
        world: &Mutex<World<'n>>,
    ) {
        let network: &'n Network = self.only.unwrap_or_else(|| {
            let at = DateTime::from_timestamp_micros(flow.start).unwrap_or(DateTime::UNIX_EPOCH);
            self.history.at(at)
        });
        if self.resolve_usual(flow, seen, network, known.pool) {
            return;
        }
        let raw = flow.recorder;
        let ids = known.pool.recorders.values[flow.recorder as usize];
        let addresses = &known.pool.addresses;
        let (src, dst) = (addresses.get(flow.src), addresses.get(flow.dst));
        let as_seen = |seen: Address, packet: Address, ip| {
            if seen == packet {
                ip
            } else {
                addresses.get(seen)
            }
        };
        let ips = Ips {
            src,
            dst,
            at_src: as_seen(seen[0], flow.src, src),
            at_dst: as_seen(seen[1], flow.dst, dst),
        };
        flow.recorder = self.recorder(flow.recorder, ids, (seen, ips), network, known, world);
        let recorder = self.recorders[flow.recorder as usize];
        flow.direction = direction(flow.direction, [ips.at_src, ips.at_dst], &recorder);
        let traits = known.pool.traits.values[flow.traits as usize];
        let (src_side, dst_side) = sides(flow.direction, ips, &recorder);
        let (src, dst) = ((flow.src, ips.src), (flow.dst, ips.dst));
        let from = (flow.recorder, &recorder);
        flow.src_end = self.end(src, traits.src_service, from, src_side, known.pool, world);
        flow.dst_end = match known.pool.texts.get(ids.tgw_dst_vpc_id) {
            Some(vpc_id) => {
                let subnet_id = known.pool.texts.get(ids.tgw_dst_subnet_id);
                self.end_behind_tgw(
                    dst,
                    traits.dst_service,
                    from,
                    (vpc_id, subnet_id),
                    known.pool,
                    world,
                )
            }
            None => self.end(dst, traits.dst_service, from, dst_side, known.pool, world),
        };
        flow.leg = self.leg(flow, &recorder);
        flow.route = self.way(flow, network, ips, world);
        flow.path = self.path(flow, traits.traffic_path, traits.next_hop_type, known.pool);
        if !says_more(flow, seen, &traits) {
            self.learn(raw, flow, ids, known.pool);
        }
    }

    /// What others have put into the world since.
    pub(super) fn sync(&mut self, world: &World<'n>) {
        self.recorders
            .extend_from_slice(&world.recorders[self.recorders.len()..]);
        self.ends.extend_from_slice(&world.ends[self.ends.len()..]);
        self.ways.extend_from_slice(&world.ways[self.ways.len()..]);
    }

    /// Whether an end is a Network Load Balancer's.
    pub(super) fn is_balancer(&self, end: u32) -> bool {
        self.end_at(end).is_some_and(|end| end.is_balancer)
    }

    fn end_at(&self, end: u32) -> Option<&End<'n>> {
        self.ends.get(end as usize)
    }

    /// Who recorded it, at the flow's time.
    fn recorder(
        &mut self,
        raw: u32,
        ids: RecorderIds,
        (seen, ips): ([Address; 2], Ips),
        network: &'n Network,
        known: Known<'_>,
        world: &Mutex<World<'n>>,
    ) -> u32 {
        if let Some(&Some((key, recorder))) = self.latest.get(raw as usize)
            && key == key_of(network)
        {
            return recorder;
        }
        let by_address = (raw, key_of(network), seen[0], seen[1]);
        if let Some(&recorder) = self.by_address.get(&by_address) {
            return recorder;
        }
        let text = |text| known.pool.texts.get(text);
        let vantage = network.vantage(
            text(ids.interface_id),
            text(ids.subnet_id),
            text(ids.vpc_id),
            text(ids.resource_id),
            None,
        );
        let is_known = vantage.interface.is_some()
            || vantage.subnet.is_some()
            || vantage.vpc.is_some()
            || vantage.nat_gateway.is_some();
        let pair = ips.at_src.zip(ips.at_dst).filter(|_| !is_known);
        let vantage = match pair {
            // `unknown` is what AWS writes for the interfaces of its own services.
            Some((src, dst)) => {
                let account_id = text(ids.account_id).filter(|id| *id != "unknown");
                // An interface that is named is not the one that has the address now: only where they are is taken over.
                let found = network
                    .vantage_by_address(account_id, src, dst)
                    .unwrap_or_default();
                if ids.interface_id == NONE {
                    found
                } else {
                    Vantage {
                        interface: None,
                        ..found
                    }
                }
            }
            None => vantage,
        };
        let mut locked = lock(world);
        let recorder = locked.recorder_of(raw, ids, vantage, network, known);
        self.sync(&locked);
        if pair.is_some() {
            if self.by_address.len() >= MOST_REMEMBERED {
                self.by_address.clear();
            }
            self.by_address.insert(by_address, recorder);
        } else {
            let slot = raw as usize;
            if self.latest.len() <= slot {
                self.latest.resize(slot + 1, None);
            }
            self.latest[slot] = Some((key_of(network), recorder));
        }
        recorder
    }

    /// What an address of a record means to its recorder.
    fn end(
        &mut self,
        (address, ip): (Address, Option<IpAddr>),
        service: Text,
        (recorder, by): (u32, &Recorder<'n>),
        side: Side,
        pool: &Pool,
        world: &Mutex<World<'n>>,
    ) -> u32 {
        let Some(ip) = ip else { return NONE };
        let is_shared = side == Side::Far
            && service == NONE
            && !by.vantage.interface.is_some_and(|own| own.owns(ip));
        let far_key = u64::from(by.group) << 32 | u64::from(address);
        let near_key = (recorder, address, service, side);
        let known = if is_shared {
            self.far.get(far_key)
        } else {
            self.near.get(&near_key).copied()
        };
        if let Some(end) = known {
            return end;
        }
        let endpoint = by.network.resolve(&by.vantage, ip);
        // A container's address that the topology does not list is still of the interface in whose subnet it lies.
        let is_listed = endpoint.interface.is_some();
        let is_own = match side {
            Side::Own => true,
            Side::Near => !is_listed && by.kind == InterfaceKind::Interface && by.is_in_subnet(ip),
            Side::Far => false,
        };
        let mut locked = lock(world);
        let mut end = locked.end_of(endpoint, ip, pool, service, by.network);
        let texts = &mut end.texts;
        if is_own && !matches!(texts.scope, Scope::Special) {
            let or = |known: Text, by: Text| if known == NONE { by } else { known };
            texts.scope = Scope::Vpc;
            texts.interface_id = or(texts.interface_id, by.texts.interface_id);
            texts.subnet_id = or(texts.subnet_id, by.texts.subnet_id);
            texts.vpc_id = or(texts.vpc_id, by.texts.vpc_id);
            texts.account_id = or(texts.account_id, by.texts.account_id);
            texts.region = or(texts.region, by.texts.region);
            texts.service = NONE;
            end.nat_id = or(end.nat_id, by.nat_id);
            if end.subnet.is_none() {
                end.subnet = by.vantage.subnet;
                end.texts.class = locked.text(class(end.subnet, ip));
                end.table = locked.table_number(by.network, end.subnet);
            }
        }
        // The same two ends at both places that record them: where no route leads back to a neighbour, it is one all the same, and
        // without the topology of its VPC a private address is taken to be in the VPC of the record that names it.
        let beside = match (end.texts.vpc_id, end.texts.scope, by.vantage.vpc) {
            (NONE, Scope::Unrouted | Scope::Transit | Scope::Peer, Some(vpc)) => {
                let neighbour = by.network.neighbour(vpc, ip);
                locked.text(neighbour.map(|vpc| &*vpc.id))
            }
            (NONE, Scope::Unrouted, None) => by.texts.vpc_id,
            (known, ..) => known,
        };
        end.network = match beside {
            NONE => 0,
            vpc_id => locked.network_number(vpc_id),
        };
        let end = locked.push_end(end);
        self.sync(&locked);
        drop(locked);
        if is_shared {
            self.far.insert(far_key, end);
        } else {
            remember(&mut self.near, near_key, end);
        }
        end
    }

    /// The far end of a transit gateway's record, which names its VPC and subnet itself.
    fn end_behind_tgw(
        &mut self,
        dst: (Address, Option<IpAddr>),
        service: Text,
        from: (u32, &Recorder<'n>),
        (vpc_id, subnet_id): (&str, Option<&str>),
        pool: &Pool,
        world: &Mutex<World<'n>>,
    ) -> u32 {
        let near = self.end(dst, service, from, Side::Far, pool, world);
        let (_, Some(ip)) = dst else { return NONE };
        let network = from.1.network;
        let Some(vpc) = network.vpc(vpc_id).filter(|vpc| vpc.contains(ip)) else {
            return near;
        };
        let key = (u32::MAX - near, dst.0, service, Side::Far);
        if let Some(&end) = self.near.get(&key) {
            return end;
        }
        let vantage = Vantage {
            vpc: Some(vpc),
            ..network.vantage(None, subnet_id, Some(vpc_id), None, None)
        };
        let endpoint = network.resolve(&vantage, ip);
        let mut locked = lock(world);
        let mut end = locked.end_of(endpoint, ip, pool, service, network);
        end.texts.scope = Scope::Transit;
        let vpc_id = locked.text(Some(&vpc.id));
        end.network = locked.network_number(vpc_id);
        let end = locked.push_end(end);
        self.sync(&locked);
        drop(locked);
        remember(&mut self.near, key, end);
        end
    }
}

fn lock<'w, 'n>(world: &'w Mutex<World<'n>>) -> MutexGuard<'w, World<'n>> {
    // Each change of a world is whole in itself.
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where routes are found by number.
pub(super) trait Ways {
    /// Whether a route leads to a NAT gateway.
    fn is_to_nat(&self, way: u32) -> bool;
}

impl Ways for Lens<'_> {
    fn is_to_nat(&self, way: u32) -> bool {
        let way = self.ways.get(way as usize);
        way.is_some_and(|way| way.target == RouteTarget::NatGateway)
    }
}

impl Ends for Lens<'_> {
    fn end(&self, end: u32) -> Option<&EndTexts> {
        self.end_at(end).map(|end| &end.texts)
    }
}
