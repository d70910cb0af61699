//! Which record of an exchange counts: one for each direction and interval, however many interfaces, NAT legs and flow logs recorded it.

use super::conversation::{FlowLogs, Forward, SLACK};
use super::flow::{Action, Address, Direction, Flow, Initiator, Leg};
use super::world::World;

/// Memory that each conversation uses anew.
#[derive(Default)]
pub(super) struct Ways {
    way: Vec<u32>,
    kept: Vec<u32>,
    overruled: Vec<bool>,
    uncounted: Vec<bool>,
    /// Of counted records, the addresses that they hide and others of the same packets have.
    named: Vec<Named>,
}

/// An address that another record has of a record's end, where the record itself has one that stands for several.
#[derive(Clone, Copy)]
struct Named {
    /// The record.
    index: u32,
    is_src: bool,
    address: Address,
}

/// How near to the sender a record was made: the sender's own counts first, then the receiver's, then whoever stood between.
fn rank(flow: &Flow) -> u8 {
    match (flow.leg, flow.direction) {
        (Leg::Direct, Direction::Egress) => 0,
        (Leg::Direct, Direction::Ingress) => 1,
        (Leg::Direct, Direction::Unknown) => 2,
        (Leg::NatInside, _) => 3,
        (Leg::Middle, _) => 4,
        (Leg::Transit, _) => 5,
        (Leg::NatInsideBlind | Leg::NatOutside | Leg::TransitBlind | Leg::MiddleBlind, _) => 6,
    }
}

/// When a record's packets passed, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interval {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Interval {
    pub(super) fn of(flow: &Flow) -> Self {
        let Flow { start, end, .. } = *flow;
        Self { start, end }
    }

    /// Whether two records share time. Intervals that only touch do not.
    pub(super) fn overlaps(self, other: Self) -> bool {
        if self.start == self.end || other.start == other.end {
            return self.start <= other.end && other.start <= self.end;
        }
        self.start < other.end && other.start < self.end
    }

    /// Whether two records may share packets all the same, by the tolerance of their times.
    pub(super) fn is_near(self, other: Self) -> bool {
        self.start <= other.end.saturating_add(SLACK)
            && other.start <= self.end.saturating_add(SLACK)
    }
}

fn overlap(one: &Flow, other: &Flow) -> bool {
    Interval::of(one).overlaps(Interval::of(other))
}

/// Whether one record ends in the second in which the other starts.
fn touches(one: &Flow, other: &Flow) -> bool {
    one.end == other.start || other.end == one.start
}

fn near(one: &Flow, other: &Flow) -> bool {
    Interval::of(one).is_near(Interval::of(other))
}

/// Leaves one counted record for each direction and interval.
pub(super) fn count_once(
    conversation: &mut [Flow],
    world: &World<'_>,
    flow_logs: &FlowLogs,
    scratch: &mut Ways,
) {
    let first = Forward::of(&conversation[0]);
    let is_forward = |flow: &Flow| first.is(flow);
    let num_forward = conversation.iter().filter(|flow| is_forward(flow)).count();
    for (forward, count) in [
        (true, num_forward),
        (false, conversation.len() - num_forward),
    ] {
        if count < 2 {
            continue;
        }
        scratch.way.clear();
        for (at, flow) in (0..).zip(conversation.iter()) {
            if is_forward(flow) == forward {
                scratch.way.push(at);
            }
        }
        drop_repeats(
            &mut scratch.way,
            &mut scratch.kept,
            conversation,
            world,
            flow_logs,
        );
        if scratch.way.len() < 2 {
            continue;
        }
        judge(conversation, world, flow_logs, scratch);
        for (at, &index) in scratch.way.iter().enumerate() {
            if scratch.overruled[at] || scratch.uncounted[at] {
                conversation[index as usize].counted = false;
            }
        }
        name(conversation, &mut scratch.named);
    }
}

/// Says of the records of one direction which are overruled, and which a better one stands for.
fn judge(flows: &[Flow], world: &World<'_>, flow_logs: &FlowLogs, scratch: &mut Ways) {
    let Ways {
        way,
        overruled,
        uncounted,
        named,
        ..
    } = scratch;
    let at = |position: usize| &flows[way[position] as usize];
    let longest = (0..way.len())
        .map(|position| at(position).end - at(position).start)
        .max()
        .unwrap_or(0);
    // Records that may share packets with `of`: `way` is ordered by start.
    let close = |of: &Flow| -> std::ops::Range<usize> {
        let earliest = of.start.saturating_sub(SLACK).saturating_sub(longest);
        let from = way.partition_point(|&index| flows[index as usize].start < earliest);
        let to = way
            .partition_point(|&index| flows[index as usize].start <= of.end.saturating_add(SLACK));
        from..to
    };
    // Two records meet if they share time; or nearly, if neither shares time with another record of the other's place: else a
    // log that stops would take the next interval of the other with it.
    let shares = |one: &Flow, place: u32| {
        close(one)
            .map(at)
            .any(|other| world.place(other.recorder) == place && overlap(one, other))
    };
    // Where they only touch, `start` and `end` being whole seconds, the packets tell: those of the second in which they touch are in both
    // if the one has so many more than the records beside it account for.
    let leaves_room = |touching: &Flow, place: u32| {
        let touched = || {
            let near = close(touching).map(at);
            near.filter(move |other| {
                world.place(other.recorder) == place && touches(touching, other)
            })
        };
        let own = world.place(touching.recorder);
        let beside = close(touching).map(at).filter(|other| {
            world.place(other.recorder) == own
                && !std::ptr::eq(*other, touching)
                && touched().any(|touched| overlap(touched, other))
        });
        let packets = |flow: &Flow| flow.packets().unwrap_or(0);
        let accounted: i64 = beside.map(packets).sum();
        touched().map(packets).sum::<i64>() - accounted >= packets(touching).max(1)
    };
    let meet = |a: &Flow, b: &Flow| {
        let (of_a, of_b) = (world.place(a.recorder), world.place(b.recorder));
        overlap(a, b)
            || near(a, b) && !shares(a, of_b) && !shares(b, of_a)
            || touches(a, b) && leaves_room(a, of_b)
    };
    // The client's side let it out, the server's side refused it: the server's records tell what became of the packets.
    overruled.clear();
    overruled.extend((0..way.len()).map(|position| {
        let flow = at(position);
        rank(flow) != 1
            && flow.action != Action::Reject
            && flow.initiator != Initiator::Dst
            && close(flow).map(at).any(|other| {
                rank(other) == 1
                    && other.action == Action::Reject
                    && !other.late
                    && meet(flow, other)
            })
    }));
    uncounted.clear();
    named.clear();
    uncounted.extend((0..way.len()).map(|position| {
        let flow = at(position);
        let is_better = |better: &Flow| {
            if world.same_interface(flow.recorder, better.recorder) {
                // Two flow logs of one interface: the same packets twice, unless one logs what the other leaves out.
                overlap(flow, better)
                    && logs_of(flow, flow_logs) != logs_of(better, flow_logs)
                    && flow.action == better.action
                    && detail(better, flow_logs) > detail(flow, flow_logs)
            } else {
                rank(better) < rank(flow)
                    || rank(better) == rank(flow) && by_name(better, world) < by_name(flow, world)
            }
        };
        let others = || {
            let counted = |&other: &usize| other != position && !overruled[other];
            close(flow).filter(counted)
        };
        let mut overlapping = others().filter(|&other| overlap(flow, at(other)));
        let better = overlapping
            .find(|&other| is_better(at(other)))
            .or_else(|| others().find(|&other| is_better(at(other)) && meet(flow, at(other))));
        if let Some(better) = better {
            let stands_in = |end: u32, address: Address| {
                let end = world.end(end);
                end.is_some_and(|end| end.stand_in == address)
            };
            let is_private = |end: u32| world.end(end).is_none_or(|end| !end.is_public);
            let index = way[better];
            let better = at(better);
            let ends = [
                (true, better.src, better.src_end, flow.src, flow.src_end),
                (false, better.dst, better.dst_end, flow.dst, flow.dst_end),
            ];
            for (is_src, hidden, of_hidden, address, of_address) in ends {
                if hidden != address && stands_in(of_hidden, hidden) && is_private(of_address) {
                    named.push(Named {
                        index,
                        is_src,
                        address,
                    });
                }
            }
        }
        better.is_some()
    }));
}

/// Gives records the addresses that they hide, where all others agree on one.
fn name(conversation: &mut [Flow], named: &mut [Named]) {
    named.sort_unstable_by_key(|named| (named.index, named.is_src));
    for of_end in named.chunk_by(|a, b| (a.index, a.is_src) == (b.index, b.is_src)) {
        let Named {
            index,
            is_src,
            address,
        } = of_end[0];
        if of_end.iter().all(|other| other.address == address) {
            let flow = &mut conversation[index as usize];
            if is_src {
                flow.src = address;
            } else {
                flow.dst = address;
            }
        }
    }
}

/// Of two recorders that are as near, one comes first in every run.
fn by_name<'w>(flow: &Flow, world: &'w World<'_>) -> (Option<&'w str>, u32) {
    let interface = world.recorder(flow.recorder).texts.interface_id;
    (world.texts.get(interface), flow.recorder)
}

fn logs_of(flow: &Flow, flow_logs: &FlowLogs) -> u32 {
    flow_logs.of_traits[flow.traits as usize]
}

/// Of two flow logs that record the same interface, the one to count: the finer interval knows more, then the one with flags, then
/// any fixed one.
fn detail<'l>(flow: &Flow, flow_logs: &'l FlowLogs) -> (bool, std::cmp::Reverse<Option<&'l str>>) {
    (
        flow.tcp_flags().is_some(),
        std::cmp::Reverse(flow_logs.names.get(logs_of(flow, flow_logs))),
    )
}

/// A record that stands twice, letter for letter, was recorded by two flow logs: of these the one of the first object counts.
fn drop_repeats(
    way: &mut Vec<u32>,
    kept: &mut Vec<u32>,
    flows: &mut [Flow],
    world: &World<'_>,
    flow_logs: &FlowLogs,
) {
    kept.clear();
    for &index in way.iter() {
        let flow = &flows[index as usize];
        let is_repeat = |earlier: &Flow| {
            world.same_interface(earlier.recorder, flow.recorder)
                && earlier.end == flow.end
                && earlier.action == flow.action
                && earlier.packets() == flow.packets()
                && earlier.bytes() == flow.bytes()
        };
        let at_once = kept.iter_mut().rev();
        let repeated = at_once
            .take_while(|earlier| flows[**earlier as usize].start == flow.start)
            .find(|earlier| is_repeat(&flows[**earlier as usize]));
        let Some(earlier) = repeated else {
            kept.push(index);
            continue;
        };
        let order = |index: u32| flow_logs.order[flows[index as usize].traits as usize];
        let mut dropped = index;
        if order(index) < order(*earlier) {
            std::mem::swap(&mut dropped, earlier);
        }
        flows[dropped as usize].counted = false;
    }
    std::mem::swap(way, kept);
}
