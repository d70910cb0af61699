//! Joins the two sides of a NAT gateway, which rewrites address and port, so that what passes it is counted once.
//!
//! A NAT gateway writes four records for what an instance's interface writes two (Amazon VPC User Guide, "Traffic through a NAT
//! gateway"): in from the instance, out to the internet, back from the internet, back to the instance. The inner legs name the
//! client and, with `pkt-*` fields, the far end; the outer legs name only the gateway.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::conversation::{Conversations, SLACK};
use super::count::Interval;
use super::flow::{Addresses, Direction, Flow, Initiator, Leg, NONE, Text};
use super::hash::{self, Map, Set};
use super::threads::in_parallel;
use super::world::World;
use crate::topology::{RouteTarget, Scope};

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct At {
    bucket: u32,
    row: u32,
}

/// A record at a NAT gateway or behind one, with all that decides about it, so that it need not be looked at again.
#[derive(Debug, Clone, Copy)]
struct Side {
    /// What it has in common with the records it is joined to, by hash: of an inner record the [`far_key`], of the others the
    /// [`twin_key`].
    key: u64,
    time: Interval,
    at: At,
    /// The same for all addresses of an interface.
    client: u64,
    gateway: Text,
}

impl Side {
    fn new(
        key: u64,
        flow: &Flow,
        at: At,
        client_is_src: bool,
        gateway: Text,
        world: &World<'_>,
    ) -> Self {
        let (client, end) = if client_is_src {
            (flow.src, flow.src_end)
        } else {
            (flow.dst, flow.dst_end)
        };
        Self {
            key,
            time: Interval::of(flow),
            at,
            client: world
                .end(end)
                .map_or(client.into(), |end| end.talker(client)),
            gateway,
        }
    }
}

impl AsRef<Side> for Side {
    fn as_ref(&self) -> &Side {
        self
    }
}

/// A record on the internet side.
#[derive(Debug, Clone)]
struct Outer {
    side: Side,
    far: Option<u64>,
    out: bool,
}

impl AsRef<Side> for Outer {
    fn as_ref(&self) -> &Side {
        &self.side
    }
}

/// The records at NAT gateways and behind them.
#[derive(Debug, Default)]
pub(super) struct Sides {
    /// Out on the internet side, with what each has in common with an inner record that hides the far end.
    outer: Vec<Outer>,
    /// At the client or the gateway, with the far end.
    inner: Vec<Side>,
    /// At the gateway, without the far end.
    blind: Vec<Side>,
    /// Whether what is out on the internet side can be in the answer.
    is_wanted: bool,
}

impl Sides {
    /// Adds the records of a bucket. Those that hide the far end do not count until they are joined. `is_wanted` says whether a record
    /// on the internet side can be in the answer, or an inner one that takes over its far end; of one that hides it, whether it is now.
    pub(super) fn add(
        &mut self,
        bucket: u32,
        conversations: &mut Conversations,
        world: &World<'_>,
        is_wanted: impl Fn(&Flow) -> bool,
    ) {
        for row in 0..conversations.len() {
            let flow = conversations.get_mut(row);
            let row = u32::try_from(row).expect("fewer than 2^32 records fit in memory");
            let at = At { bucket, row };
            match flow.leg {
                Leg::NatOutside => {
                    let out = flow.direction == Direction::Egress;
                    let gateway = world.recorder(flow.recorder).nat_id;
                    self.is_wanted = self.is_wanted || is_wanted(flow);
                    self.outer.push(Outer {
                        side: Side::new(twin_key(flow, out, world), flow, at, out, gateway, world),
                        far: far_key(flow, out),
                        out,
                    });
                }
                Leg::NatInsideBlind => {
                    flow.counted = false;
                    self.is_wanted = self.is_wanted || is_wanted(flow);
                    let out = flow.direction == Direction::Ingress;
                    let key = twin_key(flow, out, world);
                    self.blind.push(Side::new(key, flow, at, out, NONE, world));
                }
                _ => self.inner.extend(inner(flow, at, world)),
            }
        }
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        self.outer.append(&mut other.outer);
        self.inner.append(&mut other.inner);
        self.blind.append(&mut other.blind);
        self.is_wanted |= other.is_wanted;
    }
}

/// What the two sides of a gateway have in common: the far end, the protocol, and which way.
fn far_key(flow: &Flow, out: bool) -> Option<u64> {
    let (src, dst) = flow.sockets();
    let (far, socket) = if out {
        (flow.dst, dst)
    } else {
        (flow.src, src)
    };
    (far != NONE).then(|| hash::mix(hash::mix(hash::seed(), socket), of_protocol(flow, out)))
}

/// What the inner and the outer record of the same packets have in common where the inner one does not name the far end.
fn twin_key(flow: &Flow, out: bool, world: &World<'_>) -> u64 {
    // The NAT rewrites the client's port, not the server's.
    let (src, dst) = flow.ports();
    let port = if out { dst } else { src };
    let place = u64::from(world.place(flow.recorder)) << 32 | u64::from(port.cast_unsigned());
    let number = |value: Option<i64>| value.map_or(u64::MAX, i64::cast_unsigned);
    [
        place,
        of_protocol(flow, out),
        number(flow.packets()),
        number(flow.bytes()),
    ]
    .into_iter()
    .fold(hash::seed(), hash::mix)
}

fn of_protocol(flow: &Flow, out: bool) -> u64 {
    let protocol = flow.protocol().unwrap_or(i32::MIN).cast_unsigned();
    u64::from(protocol) << 1 | u64::from(out)
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

    /// An order by key and time that is the same in every run.
    fn by_time(&self, one: &Side, other: &Side, addresses: &Addresses) -> Ordering {
        let rest = |side: &Side| {
            let flow = self.at(side.at);
            (
                (addresses.get(flow.src), flow.src_port()),
                (addresses.get(flow.dst), flow.dst_port()),
                (flow.packets(), flow.bytes()),
            )
        };
        (one.key, one.time)
            .cmp(&(other.key, other.time))
            .then_with(|| rest(one).cmp(&rest(other)))
    }
}

/// What is decided about a record on the internet side.
#[derive(Clone, Copy)]
enum Decision {
    /// Another record accounts for its packets.
    Covered(At),
    /// An inner record takes over its far end; whether the packets go out.
    TakenOver { twin: At, outer: At, out: bool },
}

/// Outer records whose twins one thread looks for at once.
const STRETCH: usize = 4096;

/// Decides which of the outer legs count: those whose packets no inner record, at the gateway or at the client, accounts for.
///
/// Without `pkt-*` fields an inner leg at the gateway does not name the far end. Its twin on the other side has the same packets,
/// bytes, port and time; where just one client fits, or all that fit go to one far end, the inner leg takes over the far end from it
/// and counts in its place.
pub(super) fn join(
    sides: Sides,
    buckets: &mut [Conversations],
    addresses: &Addresses,
    threads: usize,
) {
    if !sides.is_wanted {
        return;
    }
    let mut rows = Rows(buckets);
    let sides = Joined::new(sides, &rows, addresses);
    let stretches: Vec<Range<usize>> = sides.stretches();
    let decisions = Mutex::new(Vec::new());
    in_parallel(threads, stretches.len(), |_, todo| {
        let mut own = Vec::new();
        for stretch in todo {
            sides.decide(stretches[stretch].clone(), &mut own);
        }
        let mut decisions = decisions.lock().unwrap_or_else(PoisonError::into_inner);
        decisions.append(&mut own);
    });
    for decision in decisions
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        match decision {
            Decision::Covered(outer) => rows.at_mut(outer).counted = false,
            Decision::TakenOver { twin, outer, out } => take_over(&mut rows, twin, outer, out),
        }
    }
}

/// The sides in the orders in which they are looked up.
struct Joined {
    /// By twin and time.
    outer: Vec<Outer>,
    blind: Vec<Side>,
    /// By far end and time.
    inner: Vec<Side>,
    outer_by_far: Vec<Side>,
    /// By far end, where its records are in both.
    of_far: Map<u64, [Range<u32>; 2]>,
    /// No record takes longer.
    longest: i64,
}

/// Of sides ordered by key, the stretch with a key, from a place on where it can begin.
fn of_key(sides: &[Side], key: u64, from: &mut usize) -> Range<usize> {
    while sides.get(*from).is_some_and(|side| side.key < key) {
        *from += 1;
    }
    let count = sides[*from..].iter().take_while(|side| side.key == key);
    *from..*from + count.count()
}

impl Joined {
    fn new(sides: Sides, rows: &Rows<'_>, addresses: &Addresses) -> Self {
        let Sides {
            mut outer,
            mut inner,
            mut blind,
            ..
        } = sides;
        let all = outer.iter().map(|outer| &outer.side);
        let all = all.chain(&inner).chain(&blind);
        let longest = all
            .map(|side| side.time.end.saturating_sub(side.time.start))
            .max();
        let fars: Set<u64> = outer.iter().filter_map(|outer| outer.far).collect();
        let twins: Set<u64> = outer.iter().map(|outer| outer.side.key).collect();
        inner.retain(|side| fars.contains(&side.key));
        blind.retain(|side| twins.contains(&side.key));
        let by_far = |outer: &Outer| {
            let side = outer.side;
            outer.far.map(|key| Side { key, ..side })
        };
        let mut outer_by_far: Vec<Side> = outer.iter().filter_map(by_far).collect();
        // Which of the records with one far end comes first is of no concern.
        let by_key = |sides: &mut Vec<Side>| {
            sides.sort_unstable_by_key(|side| (side.key, side.time.start));
        };
        let by_time = |a: &Side, b: &Side| rows.by_time(a, b, addresses);
        std::thread::scope(|scope| {
            scope.spawn(|| outer.sort_unstable_by(|a, b| by_time(&a.side, &b.side)));
            scope.spawn(|| blind.sort_unstable_by(by_time));
            by_key(&mut inner);
            by_key(&mut outer_by_far);
        });
        let index = |at: usize| u32::try_from(at).expect("fewer than 2^32 records fit in memory");
        let (mut of_inner, mut of_outer) = (0, 0);
        let mut of_far = Map::default();
        while let Some(side) = outer_by_far.get(of_outer) {
            let inner = of_key(&inner, side.key, &mut of_inner);
            let outer = of_key(&outer_by_far, side.key, &mut of_outer);
            of_outer = outer.end;
            let ranges = [inner, outer].map(|range| index(range.start)..index(range.end));
            of_far.insert(side.key, ranges);
        }
        Self {
            outer,
            blind,
            inner,
            outer_by_far,
            of_far,
            longest: longest.unwrap_or(0),
        }
    }

    /// Stretches of the outer records, each with all of its twins.
    fn stretches(&self) -> Vec<Range<usize>> {
        let mut stretches = Vec::new();
        let mut from = 0;
        while from < self.outer.len() {
            let mut to = (from + STRETCH).min(self.outer.len());
            let last = self.outer[to - 1].side.key;
            to += self.outer[to..]
                .iter()
                .take_while(|outer| outer.side.key == last)
                .count();
            stretches.push(from..to);
            from = to;
        }
        stretches
    }

    /// Those of some records, which are ordered by time, that may share packets with another.
    fn close<'s, S: AsRef<Side>>(&self, sides: &'s [S], of: &Side) -> &'s [S] {
        let Interval { start, end } = of.time;
        let earliest = start.saturating_sub(SLACK).saturating_sub(self.longest);
        let latest = end.saturating_add(SLACK);
        let from = sides.partition_point(|side| side.as_ref().time.start < earliest);
        let to = sides.partition_point(|side| side.as_ref().time.start <= latest);
        &sides[from..to.max(from)]
    }

    fn decide(&self, stretch: Range<usize>, decisions: &mut Vec<Decision>) {
        let mut used: Set<At> = Set::default();
        let outers = &self.outer[stretch];
        let first = outers.first().map_or(0, |outer| outer.side.key);
        let mut at = self.blind.partition_point(|side| side.key < first);
        for twins in outers.chunk_by(|a, b| a.side.key == b.side.key) {
            let blind = &self.blind[of_key(&self.blind, twins[0].side.key, &mut at)];
            for outer in twins {
                decisions.extend(self.decision(outer, twins, blind, &mut used));
            }
        }
    }

    /// Decides about a record on the internet side. `twins` are those that look the same, and `blind` those that do on the other side.
    fn decision(
        &self,
        outer: &Outer,
        twins: &[Outer],
        blind: &[Side],
        used: &mut Set<At>,
    ) -> Option<Decision> {
        let far = outer.far?;
        let side = &outer.side;
        let [inner, outers] = &self.of_far[&far];
        let places = |range: &Range<u32>| range.start as usize..range.end as usize;
        let inner = self.close(&self.inner[places(inner)], side);
        let outers = &self.outer_by_far[places(outers)];
        let covers = |inside: &Side| {
            let is_lonely = || {
                !(self.close(outers, inside).iter())
                    .any(|other| other.at != side.at && other.time.overlaps(inside.time))
            };
            (inside.gateway == NONE || side.gateway == NONE || inside.gateway == side.gateway)
                && (inside.time.overlaps(side.time)
                    || inside.time.is_near(side.time) && is_lonely())
        };
        let free: Vec<&Side> = (self.close(blind, side).iter())
            .filter(|twin| !used.contains(&twin.at) && twin.time.is_near(side.time))
            .collect();
        // A client that is logged itself accounts for its own packets.
        let is_logged = |twin: &&&Side| {
            let mut inner = inner.iter();
            inner.any(|inside| inside.client == twin.client && covers(inside))
        };
        if let Some(twin) = free.iter().find(is_logged) {
            used.insert(twin.at);
            return Some(Decision::Covered(side.at));
        }
        let is_one_client = free.iter().all(|twin| twin.client == free[0].client);
        let is_one_far = || {
            let mut others = self.close(twins, side).iter();
            !others.any(|other| other.side.time.is_near(side.time) && other.far != Some(far))
        };
        match free.first() {
            Some(twin) if is_one_client || is_one_far() => {
                used.insert(twin.at);
                Some(Decision::TakenOver {
                    twin: twin.at,
                    outer: side.at,
                    out: outer.out,
                })
            }
            _ if inner.iter().any(covers) => Some(Decision::Covered(side.at)),
            _ => None,
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

/// The side of a record on the client's side whose packets went through a NAT gateway.
fn inner(flow: &Flow, at: At, world: &World<'_>) -> Option<Side> {
    let gateway = gateway_of(flow, world);
    if flow.leg != Leg::NatInside && gateway == NONE {
        return None;
    }
    let is_ours = |end: u32| {
        world
            .end(end)
            .is_some_and(|end| !matches!(end.texts.scope, Scope::Internet | Scope::AwsService))
    };
    let out = match (is_ours(flow.src_end), is_ours(flow.dst_end)) {
        (true, false) => true,
        (false, true) => false,
        _ => return None,
    };
    Some(Side::new(
        far_key(flow, out)?,
        flow,
        at,
        out,
        gateway,
        world,
    ))
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
