//! What single records can't tell and conversations can: who opened the connection, which record counts, what came late.
//!
//! A conversation is the records between two endpoints (address in its VPC, and port) over one protocol, in both directions and
//! from every interface, NAT leg and flow log that recorded it.

use super::count::{self, count_once};
use super::flow::{Action, Address, Flow, Initiator, Leg, Standing, Texts};
use super::hash::{self, Map, Set};
use super::world::World;
use crate::session::functions::service_of;

/// Two records of one exchange start and end this far apart at most, beside their overlap: `start` and `end` are exact to 60 s
/// (Amazon VPC User Guide, "Flow log records").
pub(super) const SLACK: i64 = 60_000_000;

/// SYN without ACK opens, SYN with ACK answers (Amazon VPC User Guide, `tcp-flags`: 2 SYN, 18 SYN-ACK).
const SYN: i32 = 2;
const SYN_ACK: i32 = 18;

/// The conversations of a bucket, each ordered by start. The records stay where they were read to: moved, they would take twice the
/// memory for a while.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    chunks: Vec<Vec<Flow>>,
    /// Chunk and place of each record, conversation by conversation.
    order: Vec<(u32, u32)>,
    /// Where each conversation ends in `order`.
    ends: Vec<u32>,
}

impl Conversations {
    /// Sorts records into conversations. Conversations none of whose records matter are left out.
    pub(super) fn arrange(
        chunks: Vec<Vec<Flow>>,
        talker: impl Fn(u32, Address) -> (u32, u64),
        matters: impl Fn(&Flow) -> bool,
        scratch: &mut Scratch,
    ) -> Self {
        let index = |at: usize| u32::try_from(at).expect("fewer than 2^32 records fit in memory");
        let Scratch { keyed, keys, .. } = scratch;
        keyed.clear();
        keys.clear();
        for (chunk, flows) in (0..).zip(&chunks) {
            for (at, flow) in (0..).zip(flows) {
                let key = key(flow, &talker);
                if matters(flow) {
                    keys.insert(key);
                }
                keyed.push((key, flow.start, (chunk, at)));
            }
        }
        keyed.retain(|(key, ..)| keys.contains(key));
        keyed.sort_unstable();
        let mut ends = Vec::new();
        for (at, pair) in keyed.windows(2).enumerate() {
            if pair[0].0 != pair[1].0 {
                ends.push(index(at + 1));
            }
        }
        if !keyed.is_empty() {
            ends.push(index(keyed.len()));
        }
        Self {
            order: keyed.iter().map(|&(.., at)| at).collect(),
            chunks,
            ends,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn get(&self, row: usize) -> &Flow {
        let (chunk, at) = self.order[row];
        &self.chunks[chunk as usize][at as usize]
    }

    pub(super) fn get_mut(&mut self, row: usize) -> &mut Flow {
        let (chunk, at) = self.order[row];
        &mut self.chunks[chunk as usize][at as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Flow> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// The first record of each conversation.
    fn firsts(&self) -> impl Iterator<Item = &Flow> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .take(self.ends.len())
            .map(|start| self.get(start as usize))
    }

    /// Finds the initiator of every record, marks late packets, and leaves one counted record for each exchange; of the conversations
    /// that are wanted.
    pub(super) fn settle(
        &mut self,
        is_wanted: impl Fn(&[Flow]) -> bool,
        peers: &Peers,
        world: &World<'_>,
        flow_logs: &FlowLogs,
        scratch: &mut Scratch,
    ) {
        let mut from = 0;
        for number in 0..self.ends.len() {
            let to = self.ends[number] as usize;
            let rows = from..to;
            from = to;
            let Scratch {
                conversation,
                evidence,
                ways,
                ..
            } = &mut *scratch;
            conversation.clear();
            conversation.extend(rows.clone().map(|row| *self.get(row)));
            if !is_wanted(conversation) {
                continue;
            }
            find_initiator(conversation, peers, evidence);
            mark_late(conversation, world);
            count_once(conversation, world, flow_logs, ways);
            for flow in conversation.iter_mut() {
                flow.counted = flow.counted && !flow.leg.stands_in();
            }
            for (row, settled) in rows.zip(conversation.iter()) {
                *self.get_mut(row) = *settled;
            }
        }
    }
}

/// Memory that each conversation uses anew.
#[derive(Default)]
pub(super) struct Scratch {
    keyed: Vec<(u64, i64, (u32, u32))>,
    keys: Set<u64>,
    conversation: Vec<Flow>,
    evidence: Vec<(i64, Initiator)>,
    ways: count::Ways,
}

/// Which flow log wrote the records of each kind of [`Traits`](super::flow::Traits), in texts whose order is the same in every run.
#[derive(Debug, Default)]
pub(super) struct FlowLogs {
    pub(super) of_traits: Vec<u32>,
    pub(super) names: Texts,
    /// An order of the kinds by the object that they are of, which is the same in every run.
    pub(super) order: Vec<usize>,
}

/// The same for both directions of a conversation and at every place that recorded it.
fn key(flow: &Flow, talker: impl Fn(u32, Address) -> (u32, u64)) -> u64 {
    let (src_port, dst_port) = flow.ports();
    let end = |end: u32, address: Address, port: i32| {
        let (network, talker) = talker(end, address);
        let talker = hash::mix(
            hash::mix(hash::seed(), talker),
            u64::from(port.cast_unsigned()),
        );
        (network, talker)
    };
    let src = end(flow.src_end, flow.src, src_port);
    let dst = end(flow.dst_end, flow.dst, dst_port);
    let (one, other) = if src <= dst { (src, dst) } else { (dst, src) };
    let networks = u64::from(one.0) << 32 | u64::from(other.0);
    let mut hash = hash::mix(hash::mix(hash::seed(), networks), one.1);
    let protocol = flow
        .protocol()
        .map_or(u64::MAX, |protocol| u64::from(protocol.cast_unsigned()));
    hash = hash::mix(hash::mix(hash, other.1), protocol);
    // What a NAT gateway rewrote is a conversation of its own until its legs are joined; so is a leg that hides the far end.
    if matches!(flow.leg, Leg::NatOutside | Leg::NatInsideBlind) || flow.leg.stands_in() {
        hash = hash::mix(hash, u64::from(flow.recorder) + 1);
    }
    hash
}

/// Who opened it, as far as the record's own flags tell, or as flags told before.
fn by_flags(flow: &Flow) -> Initiator {
    let own = flow.tcp_flags().filter(|_| flow.protocol() == Some(6));
    match own.map(|flags| flags & SYN_ACK) {
        // Transit gateways report ACK by itself, so that an initiator's SYN and later ACK add up to SYN-ACK there.
        Some(SYN_ACK) if flow.leg != Leg::Transit => Initiator::Dst,
        Some(SYN) => Initiator::Src,
        _ if flow.standing == Standing::KeptByFlags => flow.initiator,
        _ => Initiator::Unknown,
    }
}

/// The way of a conversation's first record.
#[derive(Clone, Copy)]
pub(super) struct Forward {
    src: u64,
    dst: u64,
    ports: (i32, i32),
}

impl Forward {
    pub(super) fn of(first: &Flow) -> Self {
        let (src, dst) = first.sockets();
        Self {
            src,
            dst,
            ports: first.ports(),
        }
    }

    /// Whether another record of the conversation goes the same way. An end may have several addresses, but has one port.
    pub(super) fn is(self, flow: &Flow) -> bool {
        if self.ports.0 != self.ports.1 {
            return flow.ports() == self.ports;
        }
        let (src, dst) = flow.sockets();
        src == self.src || dst == self.dst && src != self.dst
    }
}

fn mirrored(initiator: Initiator) -> Initiator {
    match initiator {
        Initiator::Src => Initiator::Dst,
        Initiator::Dst => Initiator::Src,
        Initiator::Unknown => Initiator::Unknown,
    }
}

/// Whether a protocol has ports: TCP, UDP, DCCP, SCTP, UDP-Lite (IANA, Protocol Numbers).
pub(super) fn has_ports(protocol: Option<i32>) -> bool {
    matches!(protocol, Some(6 | 17 | 33 | 132 | 136))
}

/// Flags first: the record's own, else the nearest earlier ones of the conversation (the port may have been used again), else the
/// next later ones. Without any, the ports; then the number of peers of each end; then who was heard first.
fn find_initiator(conversation: &mut [Flow], peers: &Peers, evidence: &mut Vec<(i64, Initiator)>) {
    let first = &conversation[0];
    if ends(first).is_none() {
        return;
    }
    let forward = Forward::of(first);
    // Evidence in terms of the first record's direction.
    evidence.clear();
    for flow in conversation.iter() {
        match by_flags(flow) {
            Initiator::Unknown => {}
            found if forward.is(flow) => evidence.push((flow.start, found)),
            found => evidence.push((flow.start, mirrored(found))),
        }
    }
    if evidence.is_empty() {
        let guess = by_ports(conversation, peers);
        for flow in conversation {
            flow.initiator = if forward.is(flow) {
                guess
            } else {
                mirrored(guess)
            };
        }
        return;
    }
    for flow in conversation {
        let own = by_flags(flow);
        flow.standing = flow.standing.by_flags();
        flow.initiator = if own == Initiator::Unknown {
            let at = evidence.partition_point(|(start, _)| *start <= flow.start);
            let near = at
                .checked_sub(1)
                .and_then(|earlier| evidence.get(earlier))
                .or_else(|| evidence.get(at));
            let found = near.map_or(Initiator::Unknown, |(_, found)| *found);
            if forward.is(flow) {
                found
            } else {
                mirrored(found)
            }
        } else {
            own
        };
    }
}

/// The initiator by ports, in terms of the first record's direction.
fn by_ports(conversation: &[Flow], peers: &Peers) -> Initiator {
    let first = &conversation[0];
    let (Some(src), Some(dst)) = (first.src_port(), first.dst_port()) else {
        return Initiator::Unknown;
    };
    if src == dst {
        return Initiator::Unknown;
    }
    if let Some(client_is_src) = ephemeral(src, dst) {
        return if client_is_src {
            Initiator::Src
        } else {
            Initiator::Dst
        };
    }
    let (of_src, of_dst) = (
        peers.of_end(first.src, src, first.protocol()),
        peers.of_end(first.dst, dst, first.protocol()),
    );
    if of_src != of_dst {
        return if of_dst > of_src {
            Initiator::Src
        } else {
            Initiator::Dst
        };
    }
    match (service_of(i64::from(src)), service_of(i64::from(dst))) {
        (None, Some(_)) => return Initiator::Src,
        (Some(_), None) => return Initiator::Dst,
        _ => {}
    }
    // The conversation is ordered by start: whoever is heard strictly first opened it.
    let answer = conversation
        .iter()
        .find(|flow| flow.src_port() == first.dst_port());
    match answer {
        Some(answer) if answer.start > first.start => Initiator::Src,
        _ => Initiator::Unknown,
    }
}

/// Whether the source is the client by the ephemeral range, `None` where the ports don't tell (Linux uses 32768-60999, load
/// balancers and NAT gateways 1024-65535: Amazon VPC User Guide, "Custom network ACLs", ephemeral ports).
pub(super) fn ephemeral(src: i32, dst: i32) -> Option<bool> {
    const WELL_KNOWN: i32 = 1024;
    const EPHEMERAL: i32 = 32768;
    match (src, dst) {
        (src, dst) if src >= WELL_KNOWN && dst < WELL_KNOWN => Some(true),
        (src, dst) if src < WELL_KNOWN && dst >= WELL_KNOWN => Some(false),
        (src, dst) if src < WELL_KNOWN && dst < WELL_KNOWN => None,
        (src, dst) if src >= EPHEMERAL && dst < EPHEMERAL => Some(true),
        (src, dst) if src < EPHEMERAL && dst >= EPHEMERAL => Some(false),
        _ => None,
    }
}

pub(super) type End = (Address, i32, Option<i32>);

/// The two ends of a conversation that has ports.
pub(super) fn ends(first: &Flow) -> Option<[End; 2]> {
    if !has_ports(first.protocol()) {
        return None;
    }
    Some([
        (first.src, first.src_port()?, first.protocol()),
        (first.dst, first.dst_port()?, first.protocol()),
    ])
}

/// Whether neither the record's flags nor its ports tell who opened the connection.
pub(super) fn is_open(flow: &Flow) -> bool {
    let ports = flow.src_port().zip(flow.dst_port());
    has_ports(flow.protocol())
        && by_flags(flow) == Initiator::Unknown
        && ports.is_some_and(|(src, dst)| src != dst && ephemeral(src, dst).is_none())
}

/// How many conversations each end takes part in, for the ends whose ports don't tell.
#[derive(Debug, Default)]
pub(super) struct Peers(Map<End, u32>);

impl Peers {
    pub(super) fn of(wanted: &Set<End>) -> Self {
        Self(wanted.iter().map(|&end| (end, 0)).collect())
    }

    /// Adds what another thread counted.
    pub(super) fn add(&mut self, other: Self) {
        for (end, count) in other.0 {
            *self.0.entry(end).or_default() += count;
        }
    }

    /// Counts the conversations of a bucket.
    pub(super) fn count(&mut self, conversations: &Conversations) {
        // The address of who stands in for others is nobody's peer.
        let firsts = conversations.firsts();
        for first in firsts.filter(|first| !first.leg.stands_in()) {
            for end in ends(first).into_iter().flatten() {
                if let Some(count) = self.0.get_mut(&end) {
                    *count += 1;
                }
            }
        }
    }

    fn of_end(&self, address: Address, port: i32, protocol: Option<i32>) -> u32 {
        self.0.get(&(address, port, protocol)).copied().unwrap_or(0)
    }
}

/// A rejected packet that belongs to a connection the interface had accepted is late, not an attempt. TCP flags tell; without them
/// an earlier ACCEPT of the same tuple or its mirror at the same interface does.
fn mark_late(conversation: &mut [Flow], world: &World<'_>) {
    for at in 0..conversation.len() {
        let flow = &conversation[at];
        if flow.action != Action::Reject {
            continue;
        }
        let late = match flow.tcp_flags().filter(|_| flow.protocol() == Some(6)) {
            Some(flags) => flags & SYN_ACK != SYN,
            None => conversation[..at].iter().any(|earlier| {
                earlier.action == Action::Accept
                    && earlier.start < flow.start
                    && world.same_interface(earlier.recorder, flow.recorder)
            }),
        };
        conversation[at].late = late;
    }
}
