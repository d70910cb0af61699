//! Joins the two sides of a NAT gateway, which rewrites address and port, so that what passes it is counted once.
//!
//! A NAT gateway writes four records for what an instance's interface writes two (Amazon VPC User Guide, "Traffic through a NAT
//! gateway"): in from the instance, out to the internet, back from the internet, back to the instance. The inner legs name the
//! client and, with `pkt-*` fields, the far end; the outer legs name only the gateway.

use std::cmp::Ordering;

use super::conversation::{Conversations, SLACK, near, overlap};
use super::flow::{Address, Addresses, Direction, Flow, Initiator, Leg, NONE, Text};
use super::hash::{Map, Set};
use super::resolve::World;
use crate::topology::{RouteTarget, Scope};

/// What the two sides of a gateway have in common: the far end, the protocol, and which way.
type FarKey = (Address, Option<i32>, Option<i32>, bool);

/// What the inner and the outer record of the same packets have in common where the inner one does not name the far end.
type TwinKey = (
    u32,
    Option<i32>,
    Option<i32>,
    Option<i64>,
    Option<i64>,
    bool,
);

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct At {
    bucket: u32,
    row: u32,
}

/// The records at NAT gateways and behind them.
#[derive(Debug, Default)]
pub(super) struct Sides {
    /// Out on the internet side, with what each has in common with an inner record that hides the far end.
    outer: Vec<(TwinKey, At)>,
    /// At the client or the gateway, with the far end.
    inner: Vec<(FarKey, At)>,
    /// At the gateway, without the far end.
    blind: Vec<(TwinKey, At)>,
}

impl Sides {
    /// Adds the records of a bucket. Those that hide the far end do not count until they are joined.
    pub(super) fn add(
        &mut self,
        bucket: u32,
        conversations: &mut Conversations,
        world: &World<'_>,
    ) {
        for row in 0..conversations.len() {
            let flow = conversations.get_mut(row);
            let row = u32::try_from(row).expect("fewer than 2^32 records fit in memory");
            let at = At { bucket, row };
            match flow.leg {
                Leg::NatOutside => {
                    let out = flow.direction == Direction::Egress;
                    self.outer.push((twin_key(flow, out, world), at));
                }
                Leg::NatInsideBlind => {
                    flow.counted = false;
                    let out = flow.direction == Direction::Ingress;
                    self.blind.push((twin_key(flow, out, world), at));
                }
                _ => {
                    if let Some(key) = inner_key(flow, world) {
                        self.inner.push((key, at));
                    }
                }
            }
        }
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        self.outer.append(&mut other.outer);
        self.inner.append(&mut other.inner);
        self.blind.append(&mut other.blind);
    }
}

fn far_key(flow: &Flow) -> Option<FarKey> {
    let out = flow.direction == Direction::Egress;
    let (far, port) = if out {
        (flow.dst, flow.dst_port())
    } else {
        (flow.src, flow.src_port())
    };
    (far != NONE).then_some((far, port, flow.protocol(), out))
}

/// The buckets as one list of records.
struct Rows<'b>(&'b mut [Conversations]);

impl Rows<'_> {
    fn at(&self, at: At) -> &Flow {
        self.0[at.bucket as usize].get(at.row as usize)
    }

    fn at_mut(&mut self, at: At) -> &mut Flow {
        self.0[at.bucket as usize].get_mut(at.row as usize)
    }
}

/// An order by time that is the same in every run.
fn by_time(one: &Flow, other: &Flow, addresses: &Addresses) -> Ordering {
    let rest = |flow: &Flow| {
        (
            flow.end,
            (addresses.get(flow.src), flow.src_port()),
            (addresses.get(flow.dst), flow.dst_port()),
            (flow.packets(), flow.bytes()),
        )
    };
    one.start
        .cmp(&other.start)
        .then_with(|| rest(one).cmp(&rest(other)))
}

/// Records in order of time.
#[derive(Default)]
struct Timeline {
    records: Vec<(i64, At)>,
    longest: i64,
}

impl Timeline {
    fn push(&mut self, flow: &Flow, at: At) {
        self.records.push((flow.start, at));
        self.longest = self.longest.max(flow.end.saturating_sub(flow.start));
    }

    /// Those that may share packets with a record.
    fn close<'t>(&'t self, of: &Flow) -> impl Iterator<Item = At> + use<'t> {
        let earliest = of.start.saturating_sub(SLACK).saturating_sub(self.longest);
        let latest = of.end.saturating_add(SLACK);
        let from = self.records.partition_point(|&(start, _)| start < earliest);
        let to = self.records.partition_point(|&(start, _)| start <= latest);
        self.records[from..to.max(from)].iter().map(|&(_, at)| at)
    }
}

fn timelines<K: Copy + Eq + std::hash::Hash>(
    mut records: Vec<(K, At)>,
    rows: &Rows<'_>,
    addresses: &Addresses,
) -> Map<K, Timeline> {
    records.sort_unstable_by(|&(_, a), &(_, b)| by_time(rows.at(a), rows.at(b), addresses));
    let mut timelines: Map<K, Timeline> = Map::default();
    for (key, at) in records {
        timelines.entry(key).or_default().push(rows.at(at), at);
    }
    timelines
}

/// Decides which of the outer legs count: those whose packets no inner record, at the gateway or at the client, accounts for.
///
/// Without `pkt-*` fields an inner leg at the gateway does not name the far end. Its twin on the other side has the same packets,
/// bytes, port and time; where just one client fits, or all that fit go to one far end, the inner leg takes over the far end from it
/// and counts in its place.
pub(super) fn join(
    sides: Sides,
    buckets: &mut [Conversations],
    addresses: &Addresses,
    world: &World<'_>,
) {
    let Sides {
        mut outer,
        mut inner,
        mut blind,
    } = sides;
    if outer.is_empty() {
        return;
    }
    let mut rows = Rows(buckets);
    outer.sort_unstable_by(|&(_, a), &(_, b)| by_time(rows.at(a), rows.at(b), addresses));
    let mut outer_by_far: Map<FarKey, Timeline> = Map::default();
    let mut outer_by_twin: Map<TwinKey, Timeline> = Map::default();
    for &(twin, at) in &outer {
        let flow = rows.at(at);
        outer_by_twin.entry(twin).or_default().push(flow, at);
        if let Some(key) = far_key(flow) {
            outer_by_far.entry(key).or_default().push(flow, at);
        }
    }
    inner.retain(|(key, _)| outer_by_far.contains_key(key));
    blind.retain(|(key, _)| outer_by_twin.contains_key(key));
    let inner_by_far = timelines(inner, &rows, addresses);
    let blind = timelines(blind, &rows, addresses);
    let mut used: Set<At> = Set::default();
    for (twin_key, index) in outer {
        let flow = rows.at(index);
        let Some(far) = far_key(flow) else { continue };
        let out = far.3;
        let client = |at: At| {
            let flow = rows.at(at);
            if out { flow.src } else { flow.dst }
        };
        let gateway = world.recorder(flow.recorder).nat_id;
        let inner = || {
            inner_by_far
                .get(&far)
                .into_iter()
                .flat_map(|inner| inner.close(flow))
        };
        let covers = |inside: At| {
            let inside = rows.at(inside);
            let known = gateway_of(inside, world);
            let is_lonely = || {
                let mut others = outer_by_far[&far].close(inside);
                !others.any(|other| other != index && overlap(rows.at(other), inside))
            };
            (known == NONE || gateway == NONE || known == gateway)
                && (overlap(inside, flow) || near(inside, flow) && is_lonely())
        };
        let twins: Vec<At> = blind
            .get(&twin_key)
            .into_iter()
            .flat_map(|blind| blind.close(flow))
            .filter(|twin| !used.contains(twin) && near(rows.at(*twin), flow))
            .collect();
        // A client that is logged itself accounts for its own packets.
        if let Some(&twin) = twins
            .iter()
            .find(|&&twin| inner().any(|inside| client(inside) == client(twin) && covers(inside)))
        {
            used.insert(twin);
            rows.at_mut(index).counted = false;
            continue;
        }
        let is_one_client = twins.iter().all(|&twin| client(twin) == client(twins[0]));
        let is_other = |at: At| {
            let other = rows.at(at);
            near(other, flow) && far_key(other) != Some(far)
        };
        let is_one_far = !outer_by_twin[&twin_key].close(flow).any(is_other);
        if let Some(&twin) = twins.first().filter(|_| is_one_client || is_one_far) {
            used.insert(twin);
            take_over(&mut rows, twin, index, out);
        } else if inner().any(covers) {
            rows.at_mut(index).counted = false;
        }
    }
}

/// The inner record gets the far end that only the outer one knows, and counts in its place.
fn take_over(rows: &mut Rows<'_>, twin: At, outer: At, out: bool) {
    let outside = *rows.at(outer);
    let inside = rows.at_mut(twin);
    if out {
        (inside.dst, inside.dst_end) = (outside.dst, outside.dst_end);
    } else {
        (inside.src, inside.src_end) = (outside.src, outside.src_end);
    }
    if inside.initiator == Initiator::Unknown {
        inside.initiator = outside.initiator;
    }
    inside.leg = Leg::NatInside;
    inside.counted = true;
    rows.at_mut(outer).counted = false;
}

/// The key of a record on the client's side whose packets went through a NAT gateway.
fn inner_key(flow: &Flow, world: &World<'_>) -> Option<FarKey> {
    if flow.leg != Leg::NatInside && gateway_of(flow, world) == NONE {
        return None;
    }
    let is_ours = |end: u32| {
        world
            .end(end)
            .is_some_and(|end| !matches!(end.texts.scope, Scope::Internet | Scope::AwsService))
    };
    let key = match (is_ours(flow.src_end), is_ours(flow.dst_end)) {
        (true, false) => (flow.dst, flow.dst_port(), flow.protocol(), true),
        (false, true) => (flow.src, flow.src_port(), flow.protocol(), false),
        _ => return None,
    };
    (key.0 != NONE).then_some(key)
}

/// The NAT gateway that a record's packets went through.
fn gateway_of(flow: &Flow, world: &World<'_>) -> Text {
    if flow.leg == Leg::NatInside {
        return world.recorder(flow.recorder).nat_id;
    }
    match world.way(flow.route) {
        Some(way) if way.target == RouteTarget::NatGateway => way.target_id,
        _ => NONE,
    }
}

fn twin_key(flow: &Flow, out: bool, world: &World<'_>) -> TwinKey {
    // The NAT rewrites the client's port, not the server's.
    let port = if out {
        flow.dst_port()
    } else {
        flow.src_port()
    };
    (
        world.place(flow.recorder),
        port,
        flow.protocol(),
        flow.packets(),
        flow.bytes(),
        out,
    )
}
