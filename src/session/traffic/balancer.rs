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

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::conversation::{Conversations, End, ends};
use super::count::Interval;
use super::flow::{Action, Flow, Initiator, Leg, NONE, Text};
use super::hash::{self, Map};
use super::world::World;
use crate::topology::{History, InterfaceKind};

/// The addresses of all load balancers.
pub(super) fn addresses(history: &History) -> Vec<IpAddr> {
    let interfaces = history.networks().flat_map(|network| network.interfaces());
    let balancers =
        interfaces.filter(|interface| interface.kind() == InterfaceKind::NetworkLoadBalancer);
    let addresses = balancers.flat_map(|interface| {
        interface
            .addresses
            .iter()
            .chain(&interface.public_addresses)
    });
    let distinct: BTreeSet<IpAddr> = addresses.copied().collect();
    distinct.into_iter().collect()
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

/// A load balancer's record that counts so far.
struct Front {
    /// Where the record stands.
    at: (usize, usize),
    time: Interval,
    common_is_client: bool,
    /// What a record of the same packets has, the load balancer left out.
    key: u64,
    vpc_id: Text,
    /// What the client's side of a connection and the target's have in common where the load balancer keeps the client's port.
    connection: u64,
}

impl Front {
    fn of(flow: &Flow, at: (usize, usize), world: &World<'_>) -> Option<Self> {
        let counts = flow.counted && flow.initiator != Initiator::Unknown;
        common_end(flow, |end| world.is_balancer(end)).filter(|_| counts)?;
        let common_is_src = !world.is_balancer(flow.src_end);
        let client_is_src = flow.initiator == Initiator::Src;
        let common_is_client = client_is_src == common_is_src;
        let (src_port, dst_port) = flow.ports();
        let client_port = if client_is_src { src_port } else { dst_port };
        let balancer = world.end(other_end(flow, common_is_src))?;
        let interface_id = u64::from(balancer.texts.interface_id);
        let connection = interface_id << 32 | u64::from(client_port.cast_unsigned());
        let keys = keys(flow, common_is_src);
        Some(Self {
            at,
            time: Interval::of(flow),
            common_is_client,
            key: keys[usize::from(!common_is_client)],
            vpc_id: balancer.texts.vpc_id,
            connection: hash::mix(
                hash::mix(hash::seed(), connection),
                way(flow, client_is_src),
            ),
        })
    }
}

/// The end that is not the common one.
fn other_end(flow: &Flow, common_is_src: bool) -> u32 {
    if common_is_src {
        flow.dst_end
    } else {
        flow.src_end
    }
}

/// The protocol, and which of two ways.
fn way(flow: &Flow, forward: bool) -> u64 {
    let protocol = flow.protocol().unwrap_or(i32::MIN).cast_unsigned();
    u64::from(protocol) << 1 | u64::from(forward)
}

/// What records of the same packets have: the client and its port, whoever its target is; or the target and its port, and the client's port.
fn keys(flow: &Flow, common_is_src: bool) -> [u64; 2] {
    let ((src, dst), (src_port, dst_port)) = (flow.sockets(), flow.ports());
    let (socket, port) = if common_is_src {
        (src, dst_port)
    } else {
        (dst, src_port)
    };
    let of_client = hash::mix(hash::mix(hash::seed(), socket), way(flow, common_is_src));
    let port = u64::from(port.cast_unsigned());
    [of_client, hash::mix(of_client, port + 1)]
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
    // By key, when something was told without the load balancer, and the VPC of who is in its place.
    let told = fronts.iter().map(|front| (front.key, Vec::new()));
    let mut told: Map<u64, Vec<(Interval, Text)>> = told.collect();
    each(buckets, |flow, _| {
        for common_is_src in [true, false] {
            for key in keys(flow, common_is_src) {
                if let Some(told) = told.get_mut(&key)
                    && flow.counted
                    && let other = other_end(flow, common_is_src)
                    && !world.is_balancer(other)
                {
                    let vpc_id = world.end(other).map_or(NONE, |end| end.texts.vpc_id);
                    told.push((Interval::of(flow), vpc_id));
                }
            }
        }
    });
    let mut of_clients: Map<u64, Vec<Interval>> = Map::default();
    for front in fronts.iter().filter(|front| front.common_is_client) {
        let times = of_clients.entry(front.connection).or_default();
        times.push(front.time);
    }
    for front in &fronts {
        let is_told = told[&front.key].iter().any(|(time, vpc_id)| {
            // A target is in the load balancer's VPC; a client may be anywhere.
            let may_be = !front.common_is_client || *vpc_id == front.vpc_id;
            may_be && time.is_near(front.time)
        });
        let is_told_by_client = || {
            let times = of_clients.get(&front.connection);
            let mut times = times.into_iter().flatten();
            !front.common_is_client && times.any(|time| time.is_near(front.time))
        };
        if is_told || is_told_by_client() {
            let (bucket, row) = front.at;
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
