//! What single records can't tell and conversations can: who opened the connection, which record counts, what came late.
//!
//! A conversation is the records between two endpoints (address in its VPC, and port) over one protocol, in both directions and
//! from every interface, NAT leg and flow log that recorded it.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use super::flow::{Action, Direction, Flow, Initiator, Leg};
use super::resolve::Resolved;
use crate::session::functions::service_of;

/// Two records of one exchange start and end this far apart at most, beside their overlap: `start` and `end` are exact to 60 s
/// (Amazon VPC User Guide, "Flow log records").
const SLACK: i64 = 60_000_000;

/// SYN without ACK opens, SYN with ACK answers (Amazon VPC User Guide, `tcp-flags`: 2 SYN, 18 SYN-ACK).
const SYN: i32 = 2;
const SYN_ACK: i32 = 18;

/// Records sorted into conversations: each a run of indices, ordered by start.
pub(super) struct Conversations {
    order: Vec<u32>,
    runs: Vec<std::ops::Range<usize>>,
}

impl Conversations {
    pub(super) fn of(flows: &[Flow], resolved: &Resolved<'_>) -> Self {
        let keys: Vec<u64> = flows.iter().map(|flow| key(flow, resolved)).collect();
        let mut order: Vec<u32> = (0..u32::try_from(flows.len())
            .expect("fewer than 2^32 records fit in memory"))
            .collect();
        order.sort_unstable_by_key(|&index| {
            (keys[index as usize], flows[index as usize].start, index)
        });
        let mut runs = Vec::new();
        let mut from = 0;
        for at in 1..=order.len() {
            if at == order.len() || keys[order[at] as usize] != keys[order[from] as usize] {
                runs.push(from..at);
                from = at;
            }
        }
        Self { order, runs }
    }

    fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.runs.iter().map(|run| &self.order[run.clone()])
    }

    /// Finds the initiator of every record, marks late packets, and leaves one counted record for each exchange.
    pub(super) fn settle(&self, flows: &mut [Flow], resolved: &Resolved<'_>) {
        let peers = Peers::of(self, flows);
        for conversation in self.iter() {
            find_initiator(conversation, flows, &peers);
            mark_late(conversation, flows, resolved);
            count_once(conversation, flows, resolved);
        }
    }
}

/// The same for both directions of a conversation and at every place that recorded it.
fn key(flow: &Flow, resolved: &Resolved<'_>) -> u64 {
    let src = (resolved.network_of(flow.src_end), flow.src, flow.src_port);
    let dst = (resolved.network_of(flow.dst_end), flow.dst, flow.dst_port);
    let mut hasher = DefaultHasher::new();
    if src <= dst { (src, dst) } else { (dst, src) }.hash(&mut hasher);
    flow.protocol.hash(&mut hasher);
    // What a NAT gateway rewrote is a conversation of its own until its legs are joined; so is a leg that hides the far end.
    if matches!(flow.leg, Leg::NatOutside | Leg::NatInsideBlind) {
        flow.recorder.hash(&mut hasher);
    }
    hasher.finish()
}

/// Who opened it, as far as the record's own flags tell.
fn by_flags(flow: &Flow) -> Initiator {
    let Some(flags) = flow.tcp_flags.filter(|_| flow.protocol == Some(6)) else {
        return Initiator::Unknown;
    };
    match flags & SYN_ACK {
        // Transit gateways report ACK by itself, so that an initiator's SYN and later ACK add up to SYN-ACK there.
        SYN_ACK if flow.leg != Leg::Transit => Initiator::Dst,
        SYN => Initiator::Src,
        _ => Initiator::Unknown,
    }
}

fn mirrored(initiator: Initiator) -> Initiator {
    match initiator {
        Initiator::Src => Initiator::Dst,
        Initiator::Dst => Initiator::Src,
        Initiator::Unknown => Initiator::Unknown,
    }
}

fn has_ports(flow: &Flow) -> bool {
    matches!(flow.protocol, Some(6 | 17 | 33 | 132 | 136))
        && flow.src_port.is_some()
        && flow.dst_port.is_some()
}

/// Flags first: the record's own, else the nearest earlier ones of the conversation (the port may have been used again), else the
/// next later ones. Without any, the ports; then the number of peers of each end; then who was heard first.
fn find_initiator(conversation: &[u32], flows: &mut [Flow], peers: &Peers) {
    let first = &flows[conversation[0] as usize];
    if !has_ports(first) {
        return;
    }
    let forward = (first.src, first.src_port);
    let same_way = |flow: &Flow| (flow.src, flow.src_port) == forward;
    // Evidence in terms of the first record's direction.
    let evidence: Vec<(i64, Initiator)> = conversation
        .iter()
        .map(|&index| &flows[index as usize])
        .filter_map(|flow| match by_flags(flow) {
            Initiator::Unknown => None,
            found if same_way(flow) => Some((flow.start, found)),
            found => Some((flow.start, mirrored(found))),
        })
        .collect();
    let guess = if evidence.is_empty() {
        by_ports(conversation, flows, peers)
    } else {
        Initiator::Unknown
    };
    for &index in conversation {
        let flow = &mut flows[index as usize];
        let own = by_flags(flow);
        let found = if own != Initiator::Unknown {
            own
        } else {
            let at = evidence.partition_point(|(start, _)| *start <= flow.start);
            let near = at
                .checked_sub(1)
                .and_then(|earlier| evidence.get(earlier))
                .or_else(|| evidence.get(at));
            let found = near.map_or(guess, |(_, found)| *found);
            if (flow.src, flow.src_port) == forward {
                found
            } else {
                mirrored(found)
            }
        };
        flow.initiator = found;
    }
}

/// The initiator by ports, in terms of the first record's direction.
fn by_ports(conversation: &[u32], flows: &[Flow], peers: &Peers) -> Initiator {
    let first = &flows[conversation[0] as usize];
    let (Some(src), Some(dst)) = (first.src_port, first.dst_port) else {
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
        peers.of_end(first.src, src, first.protocol),
        peers.of_end(first.dst, dst, first.protocol),
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
        .map(|&index| &flows[index as usize])
        .find(|flow| flow.src_port == first.dst_port);
    match answer {
        Some(answer) if answer.start > first.start => Initiator::Src,
        _ => Initiator::Unknown,
    }
}

/// Whether the source is the client by the ephemeral range, `None` where the ports don't tell (Linux uses 32768-60999, load
/// balancers and NAT gateways 1024-65535: Amazon VPC User Guide, "Custom network ACLs", ephemeral ports).
fn ephemeral(src: i32, dst: i32) -> Option<bool> {
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

type End = (Option<IpAddr>, i32, Option<i32>);

/// How many conversations each end takes part in, for the ends whose ports don't tell.
struct Peers(HashMap<End, u32>);

impl Peers {
    fn of(conversations: &Conversations, flows: &[Flow]) -> Self {
        let ends = |flow: &Flow| -> Option<[End; 2]> {
            let (src, dst) = (flow.src_port?, flow.dst_port?);
            Some([
                (flow.src, src, flow.protocol),
                (flow.dst, dst, flow.protocol),
            ])
        };
        let firsts = || {
            conversations
                .iter()
                .map(|conversation| &flows[conversation[0] as usize])
                .filter(|flow| has_ports(flow))
        };
        let mut counts = HashMap::new();
        for flow in firsts() {
            let Some([src, dst]) = ends(flow) else {
                continue;
            };
            if src.1 != dst.1 && ephemeral(src.1, dst.1).is_none() {
                counts.insert(src, 0);
                counts.insert(dst, 0);
            }
        }
        if !counts.is_empty() {
            for end in firsts().filter_map(ends).flatten() {
                if let Some(count) = counts.get_mut(&end) {
                    *count += 1;
                }
            }
        }
        Self(counts)
    }

    fn of_end(&self, address: Option<IpAddr>, port: i32, protocol: Option<i32>) -> u32 {
        self.0.get(&(address, port, protocol)).copied().unwrap_or(0)
    }
}

/// A rejected packet that belongs to a connection the interface had accepted is late, not an attempt. TCP flags tell; without them
/// an earlier ACCEPT of the same tuple or its mirror at the same interface does.
fn mark_late(conversation: &[u32], flows: &mut [Flow], resolved: &Resolved<'_>) {
    for (at, &index) in conversation.iter().enumerate() {
        let flow = &flows[index as usize];
        if flow.action != Action::Reject {
            continue;
        }
        let late = match flow.tcp_flags.filter(|_| flow.protocol == Some(6)) {
            Some(flags) => flags & SYN_ACK != SYN,
            None => conversation[..at]
                .iter()
                .map(|&earlier| &flows[earlier as usize])
                .any(|earlier| {
                    earlier.action == Action::Accept
                        && earlier.start < flow.start
                        && resolved.same_interface(earlier.recorder, flow.recorder)
                }),
        };
        flows[index as usize].late = late;
    }
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
        (Leg::NatInsideBlind | Leg::NatOutside, _) => 6,
    }
}

/// Whether two records share time. Intervals that only touch do not.
pub(super) fn overlap(a: &Flow, b: &Flow) -> bool {
    if a.start == a.end || b.start == b.end {
        return a.start <= b.end && b.start <= a.end;
    }
    a.start < b.end && b.start < a.end
}

/// Whether two records may share packets all the same, by the tolerance of their times.
pub(super) fn near(a: &Flow, b: &Flow) -> bool {
    a.start <= b.end + SLACK && b.start <= a.end + SLACK
}

/// Leaves one counted record for each direction and interval.
fn count_once(conversation: &[u32], flows: &mut [Flow], resolved: &Resolved<'_>) {
    if conversation.len() == 1 {
        return;
    }
    let first = (
        flows[conversation[0] as usize].src,
        flows[conversation[0] as usize].src_port,
    );
    for forward in [true, false] {
        let mut way: Vec<u32> = conversation
            .iter()
            .copied()
            .filter(|&index| {
                ((flows[index as usize].src, flows[index as usize].src_port) == first) == forward
            })
            .collect();
        drop_repeats(&mut way, flows, resolved);
        if way.len() < 2 {
            continue;
        }
        let longest = way
            .iter()
            .map(|&index| flows[index as usize].end - flows[index as usize].start)
            .max()
            .unwrap_or(0);
        // Records that may share packets with `of`: `way` is ordered by start.
        let close = |flows: &[Flow], of: &Flow| -> std::ops::Range<usize> {
            let from = way
                .partition_point(|&index| flows[index as usize].start < of.start - SLACK - longest);
            let to = way.partition_point(|&index| flows[index as usize].start <= of.end + SLACK);
            from..to
        };
        // Two records meet if they share time; or nearly, if neither shares time with another record of the other's place: else a
        // log that stops would take the next interval of the other with it.
        let shares = |flows: &[Flow], one: &Flow, place: u32| {
            way[close(flows, one)]
                .iter()
                .map(|&other| &flows[other as usize])
                .any(|other| resolved.place(other.recorder) == place && overlap(one, other))
        };
        let meet = |flows: &[Flow], a: &Flow, b: &Flow| {
            overlap(a, b)
                || near(a, b)
                    && !shares(flows, a, resolved.place(b.recorder))
                    && !shares(flows, b, resolved.place(a.recorder))
        };
        // The client's side let it out, the server's side refused it: the server's records tell what became of the packets.
        let overruled: Vec<u32> = way
            .iter()
            .copied()
            .filter(|&index| {
                let flow = &flows[index as usize];
                rank(flow) != 1
                    && flow.action != Action::Reject
                    && flow.initiator != Initiator::Dst
                    && way[close(flows, flow)]
                        .iter()
                        .map(|&other| &flows[other as usize])
                        .any(|other| {
                            rank(other) == 1
                                && other.action == Action::Reject
                                && !other.late
                                && meet(flows, flow, other)
                        })
            })
            .collect();
        let uncounted: Vec<u32> = way
            .iter()
            .copied()
            .filter(|&index| {
                let flow = &flows[index as usize];
                way[close(flows, flow)]
                    .iter()
                    .filter(|&&other| other != index && !overruled.contains(&other))
                    .any(|&other| {
                        let better = &flows[other as usize];
                        let same_place = resolved.same_interface(flow.recorder, better.recorder);
                        (if same_place {
                            overlap(flow, better)
                        } else {
                            meet(flows, flow, better)
                        }) && if same_place {
                            // Two flow logs of one interface: the same packets twice, unless one logs what the other leaves out.
                            flow.flow_log != better.flow_log
                                && flow.action == better.action
                                && detail(better, resolved) > detail(flow, resolved)
                        } else {
                            rank(better) < rank(flow)
                                || (rank(better) == rank(flow) && better.recorder < flow.recorder)
                        }
                    })
            })
            .collect();
        for index in overruled.into_iter().chain(uncounted) {
            flows[index as usize].counted = false;
        }
    }
}

/// Of two flow logs that record the same interface, the one to count: the finer interval knows more, then the one with flags, then
/// any fixed one.
fn detail(flow: &Flow, resolved: &Resolved<'_>) -> (bool, std::cmp::Reverse<Option<String>>) {
    (
        flow.tcp_flags.is_some(),
        std::cmp::Reverse(resolved.text(flow.flow_log).map(str::to_owned)),
    )
}

/// A record that stands twice, letter for letter, was recorded by two flow logs.
fn drop_repeats(way: &mut Vec<u32>, flows: &mut [Flow], resolved: &Resolved<'_>) {
    let mut kept: Vec<u32> = Vec::with_capacity(way.len());
    for &index in way.iter() {
        let flow = &flows[index as usize];
        let repeats = kept
            .iter()
            .rev()
            .map(|&earlier| &flows[earlier as usize])
            .take_while(|earlier| earlier.start == flow.start)
            .any(|earlier| {
                resolved.same_interface(earlier.recorder, flow.recorder)
                    && earlier.end == flow.end
                    && earlier.action == flow.action
                    && earlier.packets == flow.packets
                    && earlier.bytes == flow.bytes
            });
        if repeats {
            flows[index as usize].counted = false;
        } else {
            kept.push(index);
        }
    }
    *way = kept;
}
