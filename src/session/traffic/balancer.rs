//! Network Load Balancers that keep the client's address: they put a target in the place of themselves, or themselves in the place of the
//! client, so that the same packets pass under two pairs of addresses.
//!
//! ```text
//! client:port ──> balancer:443        in front: the client's port tells which connection it is behind
//! client:port ──> target:8443         what is counted
//! balancer:port ──> target:8443       without `pkt-*` fields the balancer's own address stands for the client's
//! ```
//!
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html>, "Client IP preservation".

use super::conversation::{Conversations, End, ends};
use super::count::Interval;
use super::flow::{Action, Addresses, Flow, Initiator, Leg, NONE, Text};
use super::hash::{self, Map, Set};
use super::world::{EndTexts, World};
use crate::topology::{History, InterfaceKind};

/// The addresses of load balancers that some record has, by number.
pub(super) fn addresses(history: &History, known: &Addresses) -> Set<u32> {
    let interfaces = history.networks().flat_map(|network| network.interfaces());
    let balancers =
        interfaces.filter(|interface| interface.kind() == InterfaceKind::NetworkLoadBalancer);
    let addresses = balancers.flat_map(|interface| {
        interface
            .addresses
            .iter()
            .chain(&interface.public_addresses)
    });
    addresses.filter_map(|&ip| known.lookup(ip)).collect()
}

/// Whether the source of a record is a load balancer and its destination is not, or the other way round.
fn balancer_is_src(flow: &Flow, is_balancer: impl Fn(u32) -> bool) -> Option<bool> {
    match (is_balancer(flow.src_end), is_balancer(flow.dst_end)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

/// The end that a load balancer's record has in common with a record of the same packets, if there may be one: a packet that is refused
/// goes no further.
pub(super) fn common_end(flow: &Flow, is_balancer: impl Fn(u32) -> bool) -> Option<End> {
    let is_src = balancer_is_src(flow, is_balancer)?;
    let [src, dst] = ends(flow).filter(|_| flow.action != Action::Reject)?;
    Some(if is_src { dst } else { src })
}

/// A record between a load balancer and somebody else, or one that may be of the same packets.
#[derive(Clone, Copy)]
struct Side {
    time: Interval,
    /// Where the record stands.
    at: (usize, usize),
    /// The VPC and the port of the load balancer, or of whoever is in its place.
    vpc_id: Text,
    interface_id: Text,
    port: i32,
    is_balancer: bool,
}

/// A load balancer's record that counts so far.
struct Front {
    common: u64,
    common_is_client: bool,
    /// The port of the common end, and which way.
    common_port: i32,
    way: u64,
    side: Side,
}

impl Front {
    fn of(flow: &Flow, at: (usize, usize), world: &World<'_>) -> Option<Self> {
        let counts = flow.counted && flow.initiator != Initiator::Unknown;
        common_end(flow, |end| world.is_balancer(end)).filter(|_| counts)?;
        let common_is_src = !world.is_balancer(flow.src_end);
        let common_is_client = (flow.initiator == Initiator::Src) == common_is_src;
        let (src_port, dst_port) = flow.ports();
        Some(Self {
            common: key(flow, common_is_src),
            common_is_client,
            common_port: if common_is_src { src_port } else { dst_port },
            way: way(flow, common_is_src == common_is_client),
            side: side(flow, at, common_is_src, world),
        })
    }

    /// What the client's side of a connection and the target's have in common where the load balancer keeps the client's port.
    fn by_port(&self) -> u64 {
        let port = if self.common_is_client {
            self.common_port
        } else {
            self.side.port
        };
        let port = u64::from(self.side.interface_id) << 32 | u64::from(port.cast_unsigned());
        hash::mix(hash::mix(hash::seed(), port), self.way)
    }

    /// Whether another record tells of the same packets without the load balancer.
    fn is_told_by(&self, side: &Side) -> bool {
        let is_in_its_place = if self.common_is_client {
            // A target.
            side.vpc_id == self.side.vpc_id
        } else {
            // The client.
            side.port == self.side.port
        };
        is_in_its_place && side.time.is_near(self.side.time)
    }
}

/// The protocol, and which of two ways.
fn way(flow: &Flow, forward: bool) -> u64 {
    let protocol = flow.protocol().unwrap_or(i32::MIN).cast_unsigned();
    u64::from(protocol) << 1 | u64::from(forward)
}

/// The common end, the protocol, and whether the common end sends.
fn key(flow: &Flow, common_is_src: bool) -> u64 {
    let (src, dst) = flow.sockets();
    let socket = if common_is_src { src } else { dst };
    hash::mix(hash::mix(hash::seed(), socket), way(flow, common_is_src))
}

fn side(flow: &Flow, at: (usize, usize), common_is_src: bool, world: &World<'_>) -> Side {
    let (src_port, dst_port) = flow.ports();
    let (end, port) = if common_is_src {
        (flow.dst_end, dst_port)
    } else {
        (flow.src_end, src_port)
    };
    let text = |of: fn(&EndTexts) -> Text| world.end(end).map_or(NONE, |end| of(&end.texts));
    Side {
        time: Interval::of(flow),
        at,
        vpc_id: text(|texts| texts.vpc_id),
        interface_id: text(|texts| texts.interface_id),
        port,
        is_balancer: world.is_balancer(end),
    }
}

/// Of the records between a load balancer and somebody else, those do not count whose packets another record tells: one without the load
/// balancer, or else the one between the client and the load balancer.
pub(super) fn join(buckets: &mut [Conversations], world: &World<'_>) {
    if !world.has_balancers() {
        return;
    }
    let mut fronts = Vec::new();
    each(buckets, |flow, at| {
        fronts.extend(Front::of(flow, at, world))
    });
    if fronts.is_empty() {
        return;
    }
    let keys = fronts.iter().map(|front| (front.common, Vec::new()));
    let mut others: Map<u64, Vec<Side>> = keys.collect();
    each(buckets, |flow, at| {
        for common_is_src in [true, false] {
            if let Some(sides) = others.get_mut(&key(flow, common_is_src)) {
                let side = side(flow, at, common_is_src, world);
                sides.extend(Some(side).filter(|side| flow.counted && !side.is_balancer));
            }
        }
    });
    let mut of_clients: Map<u64, Vec<Interval>> = Map::default();
    for front in fronts.iter().filter(|front| front.common_is_client) {
        let times = of_clients.entry(front.by_port()).or_default();
        times.push(front.side.time);
    }
    for front in &fronts {
        let is_told = others[&front.common]
            .iter()
            .any(|side| front.is_told_by(side));
        let is_told_by_client = || {
            let times = of_clients.get(&front.by_port());
            let mut times = times.into_iter().flatten();
            !front.common_is_client && times.any(|time| time.is_near(front.side.time))
        };
        if is_told || is_told_by_client() {
            let (bucket, row) = front.side.at;
            let flow = buckets[bucket].get_mut(row);
            flow.counted = false;
            flow.leg = Leg::Middle;
        }
    }
}

fn each(buckets: &[Conversations], mut take: impl FnMut(&Flow, (usize, usize))) {
    for (bucket, conversations) in buckets.iter().enumerate() {
        for (row, flow) in conversations.iter().enumerate() {
            take(flow, (bucket, row));
        }
    }
}
