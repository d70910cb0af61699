//! Where on its way a record was made, and the route that it took.

use std::sync::Mutex;

use super::{Ips, Lens, lock};
use crate::session::traffic::flow::{Direction, Flow, Leg, NONE, Path, Pool, Text};
use crate::session::traffic::witness::{leads, next_is};
use crate::session::traffic::world::{End, Recorder, Way, World};
use crate::topology::{InterfaceKind, Network, RouteTarget, Scope};

impl<'n> Lens<'n> {
    pub(super) fn leg(&self, flow: &Flow, recorder: &Recorder<'n>) -> Leg {
        let (src, dst) = (self.end_at(flow.src_end), self.end_at(flow.dst_end));
        let ours = |end: Option<&End<'_>>| {
            end.is_some_and(|end| {
                matches!(end.texts.scope, Scope::Vpc | Scope::Peer | Scope::Transit)
            })
        };
        match recorder.kind {
            InterfaceKind::Nat | InterfaceKind::RegionalNat => {
                let is_nat = |end: Option<&End<'_>>| {
                    end.is_some_and(|end| end.nat_id != NONE && end.nat_id == recorder.nat_id)
                };
                match (is_nat(src), is_nat(dst)) {
                    (true, true) => Leg::Direct,
                    (true, false) if ours(dst) => Leg::NatInsideBlind,
                    (false, true) if ours(src) => Leg::NatInsideBlind,
                    (true, false) | (false, true) => Leg::NatOutside,
                    (false, false) => Leg::NatInside,
                }
            }
            InterfaceKind::TransitGateway | InterfaceKind::GatewayLoadBalancerEndpoint => {
                let is_of_tgw = recorder.kind == InterfaceKind::TransitGateway;
                let own = |end: Option<&End<'_>>| {
                    let own = recorder.texts.interface_id;
                    own != NONE && end.is_some_and(|end| end.texts.interface_id == own)
                };
                match (own(src) || own(dst), is_of_tgw) {
                    (true, true) => Leg::TransitBlind,
                    (true, false) => Leg::MiddleBlind,
                    (false, true) => Leg::Transit,
                    (false, false) => Leg::Middle,
                }
            }
            _ => {
                let own = match flow.direction {
                    Direction::Egress => src,
                    Direction::Ingress => dst,
                    Direction::Unknown => return Leg::Direct,
                };
                let passes_through = match (own, recorder.texts.interface_id) {
                    (None, _) | (_, NONE) => false,
                    (Some(end), id) => match end.texts.interface_id {
                        NONE => {
                            let is_public =
                                matches!(end.texts.scope, Scope::Internet | Scope::AwsService);
                            is_public
                                || end.texts.scope != Scope::Vpc && recorder.vantage.vpc.is_some()
                        }
                        owner => owner != id,
                    },
                };
                if passes_through {
                    Leg::Middle
                } else {
                    Leg::Direct
                }
            }
        }
    }

    /// The route in force of our side's subnet towards the other end.
    pub(super) fn way(
        &mut self,
        flow: &Flow,
        network: &'n Network,
        ips: Ips,
        world: &Mutex<World<'n>>,
    ) -> u32 {
        let (src, dst) = (self.end_at(flow.src_end), self.end_at(flow.dst_end));
        let subnet_of = |end: Option<&End<'n>>| end.and_then(|end| Some((end.subnet?, end.table)));
        let ((subnet, table), far, far_ip) = match (subnet_of(src), subnet_of(dst)) {
            (Some(subnet), _) => (subnet, flow.dst, ips.dst),
            (None, Some(subnet)) => (subnet, flow.src, ips.src),
            (None, None) => return NONE,
        };
        // Link-local and multicast addresses are not routed.
        let is_special =
            |end: Option<&End<'_>>| end.is_some_and(|end| end.texts.scope == Scope::Special);
        if is_special(src) || is_special(dst) {
            return NONE;
        }
        let Some(far_ip) = far_ip.filter(|_| table != NONE) else {
            return NONE;
        };
        let key = u64::from(table) << 32 | u64::from(far);
        if let Some(way) = self.on_way.get(key) {
            return way;
        }
        let route = network.route(subnet, far_ip);
        let mut locked = lock(world);
        let way = Way {
            target: route.map_or(RouteTarget::None, |route| route.target),
            target_id: locked.text(route.map(|route| route.target_id)),
        };
        let way = locked.push_way(way);
        self.sync(&locked);
        drop(locked);
        self.on_way.insert(key, way);
        way
    }

    /// Whether the record's own witnesses (v5 `traffic-path`, v11 `next-hop-interface-type`) agree with the route.
    pub(super) fn path(
        &self,
        flow: &Flow,
        traffic_path: Option<i32>,
        next_hop_type: Text,
        pool: &Pool,
    ) -> Path {
        let Some(way) = self.ways.get(flow.route as usize) else {
            return Path::Unknown;
        };
        if way.target == RouteTarget::None {
            return Path::Impossible;
        }
        let is_senders = flow.direction == Direction::Egress
            && matches!(flow.leg, Leg::Direct | Leg::NatOutside);
        let agrees = traffic_path
            .filter(|_| is_senders)
            .is_none_or(|code| leads(code, way.target))
            && pool
                .texts
                .get(next_hop_type)
                .filter(|_| is_senders)
                .is_none_or(|kind| next_is(kind, way.target));
        if agrees {
            Path::Expected
        } else {
            Path::Contradicts
        }
    }
}
