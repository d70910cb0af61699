//! Joins the two sides of a NAT gateway, which rewrites address and port, so that what passes it is counted once.
//!
//! A NAT gateway writes four records for what an instance's interface writes two (Amazon VPC User Guide, "Traffic through a NAT
//! gateway"): in from the instance, out to the internet, back from the internet, back to the instance. The inner legs name the
//! client and, with `pkt-*` fields, the far end; the outer legs name only the gateway.

use std::collections::HashMap;
use std::net::IpAddr;

use super::conversation::overlap;
use super::flow::{Direction, Flow, Initiator, Leg};
use super::resolve::{Resolved, Way};
use crate::topology::RouteTarget;

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

/// Decides which of the outer legs count: those whose packets no inner record, at the gateway or at the client, accounts for.
/// Where only the gateway is logged and without `pkt-*` fields, the inner leg with the same packets, bytes, port and time takes over
/// the far end from the outer one, if just one client fits.
pub(super) fn join(flows: &mut [Flow], resolved: &Resolved<'_>) {
    let mut outer = Vec::new();
    let mut inner: HashMap<FarKey, Vec<u32>> = HashMap::new();
    let mut blind: HashMap<TwinKey, Vec<u32>> = HashMap::new();
    for (index, flow) in flows.iter_mut().enumerate() {
        let index = u32::try_from(index).expect("fewer than 2^32 records fit in memory");
        match flow.leg {
            Leg::NatOutside => outer.push(index),
            Leg::NatInsideBlind => {
                flow.counted = false;
                blind
                    .entry(twin_key(
                        flow,
                        flow.direction == Direction::Ingress,
                        resolved,
                    ))
                    .or_default()
                    .push(index);
            }
            _ => {
                if let Some(key) = inner_key(flow, resolved) {
                    inner.entry(key).or_default().push(index);
                }
            }
        }
    }
    for index in outer {
        let flow = &flows[index as usize];
        let gateway = resolved.recorder(flow.recorder).nat_id;
        let out = flow.direction == Direction::Egress;
        let Some(far) = (if out { flow.dst } else { flow.src }) else {
            continue;
        };
        let far_port = if out { flow.dst_port } else { flow.src_port };
        let is_covered =
            inner
                .get(&(far, far_port, flow.protocol, out))
                .is_some_and(|candidates| {
                    candidates
                        .iter()
                        .map(|&index| &flows[index as usize])
                        .any(|inside| {
                            let known = gateway_of(inside, resolved);
                            overlap(inside, flow)
                                && (known.is_none() || gateway.is_none() || known == gateway)
                        })
                });
        if is_covered {
            flows[index as usize].counted = false;
            continue;
        }
        let twins = blind
            .get(&twin_key(flow, out, resolved))
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut fitting = twins.iter().copied().filter(|&twin| {
            let inside = &flows[twin as usize];
            !inside.counted && overlap(inside, flow)
        });
        let client = |index: u32| {
            if out {
                flows[index as usize].src
            } else {
                flows[index as usize].dst
            }
        };
        if let Some(twin) = fitting.next()
            && fitting.all(|other| client(other) == client(twin))
        {
            take_over(flows, twin, index, out);
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
    let is_ours = |end: u32| resolved.end(end).is_some_and(|end| end.vpc_id.is_some());
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
