//! Who refused a rejected record: the network ACL, a security group, or neither.

use std::collections::HashMap;

use super::flow::{Action, Direction, Flow, NONE, Pool, RefusedBy};
use super::resolve::{NetworkKey, World, key_of};
use crate::nacl::{self, Nacl};

/// Says which layer refused a rejected record (Amazon VPC User Guide, "Network ACLs", "Security groups", and `reject-reason`).
pub(super) struct Refusals<'r, 'n> {
    world: &'r World<'n>,
    pool: &'r Pool,
    nacls: HashMap<(NetworkKey, &'n str), Option<Nacl>>,
}

impl<'r, 'n> Refusals<'r, 'n> {
    pub(super) fn new(world: &'r World<'n>, pool: &'r Pool) -> Self {
        Self {
            world,
            pool,
            nacls: HashMap::new(),
        }
    }

    pub(super) fn of(&mut self, flow: &Flow) -> RefusedBy {
        if flow.action != Action::Reject {
            return RefusedBy::Nobody;
        }
        let reason = self.pool.traits.values[flow.traits as usize].reject_reason;
        match self.pool.texts.get(reason) {
            Some("BPA") => return RefusedBy::BlockPublicAccess,
            Some("EC") => return RefusedBy::EncryptionControls,
            _ => {}
        }
        if flow.late {
            return RefusedBy::LatePacket;
        }
        let subnet_of = |end: u32| self.world.end(end).map_or(NONE, |end| end.texts.subnet_id);
        let (src, dst) = (subnet_of(flow.src_end), subnet_of(flow.dst_end));
        if src != NONE && src == dst {
            // A network ACL is asked only when traffic enters or leaves the subnet.
            return RefusedBy::SecurityGroup;
        }
        self.by_rules(flow).unwrap_or(RefusedBy::Undecidable)
    }

    /// The network ACL's answer: what it lets through and was refused all the same, a security group refused.
    fn by_rules(&mut self, flow: &Flow) -> Option<RefusedBy> {
        let recorder = self.world.recorder(flow.recorder);
        let (direction, remote) = match flow.direction {
            Direction::Egress => (nacl::Direction::Egress, flow.dst),
            Direction::Ingress => (nacl::Direction::Ingress, flow.src),
            Direction::Unknown => return None,
        };
        let nacl_id = recorder.vantage.subnet?.nacl_id.as_deref()?;
        let nacl = self
            .nacls
            .entry((key_of(recorder.network), nacl_id))
            .or_insert_with(|| {
                let record = recorder.network.nacl(nacl_id)?;
                Some(Nacl::from_record(record))
            });
        let packet = nacl::Packet {
            direction,
            protocol: u8::try_from(flow.protocol()?).ok()?,
            remote: self.pool.addresses.get(remote)?,
            dst_port: flow.dst_port().and_then(|port| u16::try_from(port).ok()),
        };
        let verdict = nacl.as_ref()?.evaluate(&packet);
        match verdict.action {
            nacl::Action::Allow => Some(RefusedBy::SecurityGroup),
            nacl::Action::Deny => Some(RefusedBy::Nacl(verdict.rule_number)),
            nacl::Action::Undecidable => None,
        }
    }
}
