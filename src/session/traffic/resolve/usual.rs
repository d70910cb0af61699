//! Records of the usual kind: not rewritten, at an interface that is one of their ends. Most are, and need no lock and no topology.

use super::Lens;
use crate::session::traffic::flow::{
    Address, Direction, Flow, Leg, NONE, Pool, RecorderIds, Traits,
};
use crate::session::traffic::world::{NetworkKey, key_of};
use crate::topology::{InterfaceKind, Network, Scope};

/// An interface that the topology knows and that is no gateway, with what its usual records are resolved by.
#[derive(Clone, Copy)]
pub(super) struct Usual {
    network: NetworkKey,
    recorder: u32,
    group: u32,
    /// Its own addresses, and what each means to it once that was looked up.
    own: [(Address, u32); MOST_OWN],
}

/// More addresses than this are looked up one by one.
const MOST_OWN: usize = 4;

impl Lens<'_> {
    /// Resolves a record of the usual kind by what is remembered: one whose packets were not rewritten, at an interface that is one of
    /// its ends. False if something is not at hand.
    pub(super) fn resolve_usual(
        &mut self,
        flow: &mut Flow,
        seen: [Address; 2],
        network: &Network,
        pool: &Pool,
    ) -> bool {
        let Some(&Some(usual)) = self.usual.get(flow.recorder as usize) else {
            return false;
        };
        let traits = &pool.traits.values[flow.traits as usize];
        if says_more(flow, seen, traits) || usual.network != key_of(network) {
            return false;
        }
        let own = |address: Address| {
            let own = usual.own.iter().find(|(own, _)| *own == address);
            own.filter(|_| address != NONE).map(|&(_, end)| end)
        };
        let (direction, own_end, far) = match (own(flow.src), own(flow.dst)) {
            (Some(end), None) => (Direction::Egress, end, flow.dst),
            (None, Some(end)) => (Direction::Ingress, end, flow.src),
            _ => return false,
        };
        let agrees = flow.direction == Direction::Unknown || flow.direction == direction;
        if own_end == NONE || far == NONE || !agrees {
            return false;
        }
        let Some(far_end) = self.far.get(u64::from(usual.group) << 32 | u64::from(far)) else {
            return false;
        };
        let (src_end, dst_end) = match direction {
            Direction::Egress => (own_end, far_end),
            _ => (far_end, own_end),
        };
        let (src, dst) = (&self.ends[src_end as usize], &self.ends[dst_end as usize]);
        let is_special = src.texts.scope == Scope::Special || dst.texts.scope == Scope::Special;
        let (near, far) = if src.subnet.is_some() {
            (src, flow.dst)
        } else {
            (dst, flow.src)
        };
        flow.route = if is_special || near.subnet.is_none() || near.table == NONE {
            NONE
        } else {
            let key = u64::from(near.table) << 32 | u64::from(far);
            let Some(way) = self.on_way.get(key) else {
                return false;
            };
            way
        };
        flow.recorder = usual.recorder;
        flow.direction = direction;
        (flow.src_end, flow.dst_end) = (src_end, dst_end);
        flow.leg = Leg::Direct;
        flow.path = self.path(flow, traits.traffic_path, traits.next_hop_type, pool);
        true
    }

    /// Remembers what a record showed of its interface, for others of the usual kind.
    pub(super) fn learn(&mut self, raw: u32, flow: &Flow, ids: RecorderIds, pool: &Pool) {
        let recorder = &self.recorders[flow.recorder as usize];
        let Some(interface) = recorder.vantage.interface else {
            return;
        };
        let owned = || {
            interface
                .addresses
                .iter()
                .chain(&interface.public_addresses)
        };
        let is_gateway = matches!(
            recorder.kind,
            InterfaceKind::Nat | InterfaceKind::RegionalNat | InterfaceKind::TransitGateway
        );
        let is_usual = !is_gateway
            && ids.tgw_dst_vpc_id == NONE
            && interface.prefixes.is_empty()
            && owned().count() <= MOST_OWN;
        if !is_usual || flow.leg != Leg::Direct {
            return;
        }
        let slot = raw as usize;
        if self.usual.len() <= slot {
            self.usual.resize(slot + 1, None);
        }
        let network = key_of(recorder.network);
        let known = self.usual[slot].filter(|usual| usual.network == network);
        let mut usual = known.unwrap_or_else(|| {
            let mut own = [(NONE, NONE); MOST_OWN];
            // Addresses that no record has are nobody's end.
            let numbers = owned().filter_map(|&address| pool.addresses.lookup(address));
            for (slot, address) in own.iter_mut().zip(numbers) {
                slot.0 = address;
            }
            Usual {
                network,
                recorder: flow.recorder,
                group: recorder.group,
                own,
            }
        });
        let (address, end) = match flow.direction {
            Direction::Egress => (flow.src, flow.src_end),
            Direction::Ingress => (flow.dst, flow.dst_end),
            Direction::Unknown => return,
        };
        let own_id = self.end_at(end).map_or(NONE, |end| end.texts.interface_id);
        if own_id != recorder.texts.interface_id {
            return;
        }
        if let Some(slot) = usual.own.iter_mut().find(|(own, _)| *own == address) {
            slot.1 = end;
        }
        self.usual[slot] = Some(usual);
    }
}

/// Whether a record has more to be looked at than its ends and its direction.
pub(super) fn says_more(flow: &Flow, seen: [Address; 2], traits: &Traits) -> bool {
    seen != [flow.src, flow.dst] || traits.src_service != NONE || traits.dst_service != NONE
}
