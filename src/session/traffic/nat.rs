//! Joins the two sides of a NAT gateway, which rewrites address and port, so that what passes it is counted once.
//!
//! A NAT gateway writes four records for what an instance's interface writes two (Amazon VPC User Guide, "Traffic through a NAT
//! gateway"): in from the instance, out to the internet, back from the internet, back to the instance. The inner legs name the
//! client and, with `pkt-*` fields, the far end; the outer legs name only the gateway.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::conversation::{near, overlap};
use super::flow::{Direction, Flow, Initiator, Leg};
use super::resolve::{Resolved, Way};
use crate::topology::{RouteTarget, Scope};

/// What the two sides of a gateway have in common: the far end, the protocol, and which way.
type FarKey = (IpAddr, Option<i32>, Option<i32>, bool);

/// What the inner and the outer record of the same packets have in common where the inner one does not name the far end.
type TwinKey = (
    u32,
    Option<i32>,
    Option<i32>,
    Option<i64>,
    Option<i64>,
    bool,
);

/// The records at NAT gateways and behind them, by what their two sides have in common.
#[derive(Default)]
struct Sides {
    /// Out on the internet side, with what each has in common with an inner record that hides the far end.
    outer: Vec<(TwinKey, u32)>,
    /// At the client or the gateway, with the far end.
    inner: HashMap<FarKey, Vec<u32>>,
    /// At the gateway, without the far end.
    blind: HashMap<TwinKey, Vec<u32>>,
}

impl Sides {
    fn of(flows: &mut [Flow], resolved: &Resolved<'_>) -> Self {
        let mut sides = Self::default();
        for (index, flow) in flows.iter_mut().enumerate() {
            let index = u32::try_from(index).expect("fewer than 2^32 records fit in memory");
            match flow.leg {
                Leg::NatOutside => {
                    let out = flow.direction == Direction::Egress;
                    sides.outer.push((twin_key(flow, out, resolved), index));
                }
                Leg::NatInsideBlind => {
                    flow.counted = false;
                    let out = flow.direction == Direction::Ingress;
                    let key = twin_key(flow, out, resolved);
                    sides.blind.entry(key).or_default().push(index);
                }
                _ => {
                    if let Some(key) = inner_key(flow, resolved) {
                        sides.inner.entry(key).or_default().push(index);
                    }
                }
            }
        }
        sides
            .outer
            .sort_by_key(|&(_, index)| (flows[index as usize].start, index));
        sides
    }
}

fn far_key(flow: &Flow) -> Option<FarKey> {
    let out = flow.direction == Direction::Egress;
    let (far, port) = if out {
        (flow.dst, flow.dst_port)
    } else {
        (flow.src, flow.src_port)
    };
    Some((far?, port, flow.protocol, out))
}

/// Decides which of the outer legs count: those whose packets no inner record, at the gateway or at the client, accounts for.
///
/// Without `pkt-*` fields an inner leg at the gateway does not name the far end. Its twin on the other side has the same packets,
/// bytes, port and time; where just one client fits, or all that fit go to one far end, the inner leg takes over the far end from it
/// and counts in its place.
pub(super) fn join(flows: &mut [Flow], resolved: &Resolved<'_>) {
    let sides = Sides::of(flows, resolved);
    let mut outer_by_far: HashMap<FarKey, Vec<u32>> = HashMap::new();
    for &(_, index) in &sides.outer {
        if let Some(key) = far_key(&flows[index as usize]) {
            outer_by_far.entry(key).or_default().push(index);
        }
    }
    let mut outer_by_twin: HashMap<&TwinKey, Vec<u32>> = HashMap::new();
    for (key, index) in &sides.outer {
        outer_by_twin.entry(key).or_default().push(*index);
    }
    let mut used: HashSet<u32> = HashSet::new();
    for (twin_key, index) in &sides.outer {
        let flow = &flows[*index as usize];
        let Some(far) = far_key(flow) else { continue };
        let out = far.3;
        let client = |index: u32| {
            let flow = &flows[index as usize];
            if out { flow.src } else { flow.dst }
        };
        let gateway = resolved.recorder(flow.recorder).nat_id;
        let inner = || sides.inner.get(&far).into_iter().flatten().copied();
        let others = outer_by_far
            .get(&far)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let covers = |inside: u32| {
            let inside = &flows[inside as usize];
            let known = gateway_of(inside, resolved);
            let is_lonely = || {
                let mut others = others.iter().filter(|&other| other != index);
                !others.any(|&other| overlap(&flows[other as usize], inside))
            };
            (known.is_none() || gateway.is_none() || known == gateway)
                && (overlap(inside, flow) || near(inside, flow) && is_lonely())
        };
        let twins: Vec<u32> = sides
            .blind
            .get(twin_key)
            .into_iter()
            .flatten()
            .copied()
            .filter(|twin| !used.contains(twin) && near(&flows[*twin as usize], flow))
            .collect();
        // A client that is logged itself accounts for its own packets.
        if let Some(&twin) = twins
            .iter()
            .find(|&&twin| inner().any(|inside| client(inside) == client(twin) && covers(inside)))
        {
            used.insert(twin);
            flows[*index as usize].counted = false;
            continue;
        }
        let is_one_client = twins.iter().all(|&twin| client(twin) == client(twins[0]));
        let mut beside = outer_by_twin[twin_key]
            .iter()
            .map(|&other| &flows[other as usize]);
        let is_one_far = beside.all(|other| !near(other, flow) || far_key(other) == Some(far));
        if let Some(&twin) = twins.first().filter(|_| is_one_client || is_one_far) {
            used.insert(twin);
            take_over(flows, twin, *index, out);
        } else if inner().any(covers) {
            flows[*index as usize].counted = false;
        }
    }
}

/// The inner record gets the far end that only the outer one knows, and counts in its place.
fn take_over(flows: &mut [Flow], twin: u32, outer: u32, out: bool) {
    let (far, far_end) = {
        let flow = &flows[outer as usize];
        if out {
            (flow.dst, flow.dst_end)
        } else {
            (flow.src, flow.src_end)
        }
    };
    let initiator = flows[outer as usize].initiator;
    let inside = &mut flows[twin as usize];
    if out {
        (inside.dst, inside.dst_end) = (far, far_end);
    } else {
        (inside.src, inside.src_end) = (far, far_end);
    }
    if inside.initiator == Initiator::Unknown {
        inside.initiator = initiator;
    }
    inside.leg = Leg::NatInside;
    inside.counted = true;
    flows[outer as usize].counted = false;
}

/// The key of a record on the client's side whose packets went through a NAT gateway.
fn inner_key(flow: &Flow, resolved: &Resolved<'_>) -> Option<FarKey> {
    if flow.leg != Leg::NatInside && gateway_of(flow, resolved).is_none() {
        return None;
    }
    let is_ours = |end: u32| {
        let end = resolved.end(end);
        end.is_some_and(|end| !matches!(end.scope, Scope::Internet | Scope::AwsService))
    };
    match (is_ours(flow.src_end), is_ours(flow.dst_end)) {
        (true, false) => Some((flow.dst?, flow.dst_port, flow.protocol, true)),
        (false, true) => Some((flow.src?, flow.src_port, flow.protocol, false)),
        _ => None,
    }
}

/// The NAT gateway that a record's packets went through.
fn gateway_of<'n>(flow: &Flow, resolved: &Resolved<'n>) -> Option<&'n str> {
    if flow.leg == Leg::NatInside {
        return resolved.recorder(flow.recorder).nat_id;
    }
    match resolved.way(flow.route) {
        Some(Way {
            target: RouteTarget::NatGateway,
            target_id,
        }) => *target_id,
        _ => None,
    }
}

fn twin_key(flow: &Flow, out: bool, resolved: &Resolved<'_>) -> TwinKey {
    // The NAT rewrites the client's port, not the server's.
    let port = if out { flow.dst_port } else { flow.src_port };
    (
        resolved.place(flow.recorder),
        port,
        flow.protocol,
        flow.packets,
        flow.bytes,
        out,
    )
}
