//! What the rules of its time say of a record: who refused it, the network ACL or the security groups, and whether they would have let an
//! accepted one through.
//!
//! A packet that opens a connection meets both; its answer passes the groups and meets only the network ACL; and what stays within a subnet
//! meets no ACL.
//!
//! Each interface, remote address, port and protocol is looked up once.

use std::collections::HashMap;
use std::sync::Arc;

use super::flow::{Action, Address, Direction, Flow, Initiator, Judged, NONE, Pool, RefusedBy};
use super::hash::Map;
use super::world::{End, NetworkKey, World, key_of};
use crate::nacl::{self, Far, Group, Guard, Nacl};
use crate::topology::Scope;

/// Which records are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Judging {
    Nothing,
    Rejected,
    All,
}

impl Judging {
    pub(super) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Nothing,
            1 => Self::Rejected,
            _ => Self::All,
        }
    }
}

/// What the network ACL does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByNacl {
    /// The packet stays in its subnet.
    NotAsked,
    Allows,
    Denies(u16),
    Unknown,
}

/// What the security groups do with a packet that opens a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByGroups {
    Allow,
    Deny,
    /// It depends on what is not recorded.
    Maybe,
    /// The interface, its groups or their rules are not in the topology.
    Unknown,
    /// Nobody imported any security groups.
    NotImported,
}

/// What the rules of the time do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rules {
    nacl: ByNacl,
    groups: ByGroups,
}

/// What the answer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    recorder: u32,
    /// The other end, and its address.
    far: u32,
    remote: Address,
    dst_port: i32,
    protocol: i32,
    is_egress: bool,
}

/// What guards an interface.
#[derive(Debug)]
struct Post<'n> {
    nacl: Option<Arc<Nacl>>,
    groups: Result<Guard<'n>, ByGroups>,
}

/// What is remembered of packets: 40 bytes each.
const MOST_KNOWN: usize = 1 << 20;

/// Judges records. What it looked up holds as long as the world that it is given grows and never changes.
pub(super) struct Refusals<'n> {
    judging: Judging,
    nacls: HashMap<(NetworkKey, &'n str), Option<Arc<Nacl>>>,
    groups: HashMap<(NetworkKey, &'n str), Option<Arc<Group<'n>>>>,
    /// By recorder.
    posts: Map<u32, Post<'n>>,
    known: Map<Key, Rules>,
}

impl<'n> Refusals<'n> {
    pub(super) fn new(judging: Judging) -> Self {
        Self {
            judging,
            nacls: HashMap::new(),
            groups: HashMap::new(),
            posts: Map::default(),
            known: Map::default(),
        }
    }

    /// Judges records; nothing where nobody asks.
    pub(super) fn judge(&mut self, flows: &[Flow], world: &World<'n>, pool: &Pool) -> Vec<Judged> {
        match self.judging {
            Judging::Nothing => Vec::new(),
            _ => flows
                .iter()
                .map(|flow| self.of(flow, world, pool))
                .collect(),
        }
    }

    fn of(&mut self, flow: &Flow, world: &World<'n>, pool: &Pool) -> Judged {
        let without = |refused_by| Judged {
            refused_by,
            agrees: None,
        };
        match flow.action {
            Action::Accept if self.judging == Judging::All => {
                let rules = self.rules(flow, world, pool);
                return Judged {
                    refused_by: RefusedBy::Nobody,
                    agrees: lets_through(rules.of_accepted(flow.initiator)),
                };
            }
            Action::Accept | Action::Unknown => return without(RefusedBy::Nobody),
            Action::Reject => {}
        }
        let reason = pool.traits.values[flow.traits as usize].reject_reason;
        match pool.texts.get(reason) {
            Some("BPA") => return without(RefusedBy::BlockPublicAccess),
            Some("EC") => return without(RefusedBy::EncryptionControls),
            _ if flow.late => return without(RefusedBy::LatePacket),
            _ => {}
        }
        refused(self.rules(flow, world, pool).of_rejected(flow.initiator))
    }

    fn rules(&mut self, flow: &Flow, world: &World<'n>, pool: &Pool) -> Rules {
        let (src, dst) = (world.end(flow.src_end), world.end(flow.dst_end));
        let subnet_of = |end: Option<&End<'_>>| end.map_or(NONE, |end| end.texts.subnet_id);
        let own_subnet = world.recorder(flow.recorder).texts.subnet_id;
        let is_within = |one: u32, other: u32| one != NONE && one == other;
        let is_within_subnet = is_within(subnet_of(src), subnet_of(dst))
            || match flow.direction {
                Direction::Egress => is_within(own_subnet, subnet_of(dst)),
                Direction::Ingress => is_within(own_subnet, subnet_of(src)),
                Direction::Unknown => false,
            };
        let (far, remote) = match flow.direction {
            Direction::Egress => (flow.dst_end, flow.dst),
            _ => (flow.src_end, flow.src),
        };
        let key = Key {
            recorder: flow.recorder,
            far,
            remote,
            dst_port: flow.dst_port().unwrap_or(-1),
            protocol: flow.protocol().unwrap_or(-1),
            is_egress: flow.direction == Direction::Egress,
        };
        let rules = match (flow.direction, self.known.get(&key)) {
            (Direction::Unknown, _) => Rules {
                nacl: ByNacl::Unknown,
                groups: ByGroups::Unknown,
            },
            (_, Some(rules)) => *rules,
            (_, None) => {
                let rules = self.look_up(key, world, pool);
                if self.known.len() >= MOST_KNOWN {
                    self.known.clear();
                }
                self.known.insert(key, rules);
                rules
            }
        };
        match is_within_subnet {
            true => Rules {
                nacl: ByNacl::NotAsked,
                ..rules
            },
            false => rules,
        }
    }

    fn look_up(&mut self, key: Key, world: &World<'n>, pool: &Pool) -> Rules {
        if !self.posts.contains_key(&key.recorder) {
            let post = self.post(key.recorder, world);
            self.posts.insert(key.recorder, post);
        }
        let (post, recorder) = (&self.posts[&key.recorder], world.recorder(key.recorder));
        let packet = pool
            .addresses
            .get(key.remote)
            .zip(u8::try_from(key.protocol).ok())
            .map(|(remote, protocol)| nacl::Packet {
                direction: match key.is_egress {
                    true => nacl::Direction::Egress,
                    false => nacl::Direction::Ingress,
                },
                protocol,
                remote,
                dst_port: u16::try_from(key.dst_port).ok(),
            });
        let by_nacl = post.nacl.as_ref().zip(packet).map(|(nacl, packet)| {
            let verdict = nacl.evaluate(&packet);
            match verdict.action {
                nacl::Action::Allow => ByNacl::Allows,
                nacl::Action::Deny => ByNacl::Denies(verdict.rule_number),
                nacl::Action::Undecidable => ByNacl::Unknown,
            }
        });
        let end = world.end(key.far);
        let text = |text| world.texts.get(text);
        let far = Far {
            scope: end.map_or(Scope::Unrouted, |end| end.texts.scope),
            interface: end
                .and_then(|end| text(end.texts.interface_id))
                .and_then(|id| recorder.network.interface(id)),
            vpc_id: end.and_then(|end| text(end.texts.vpc_id)),
        };
        let by_groups = match (&post.groups, packet) {
            (Err(lack), _) => *lack,
            (Ok(_), None) => ByGroups::Unknown,
            (Ok(guard), Some(packet)) => match guard.evaluate(&packet, &far) {
                Some(nacl::Action::Allow) => ByGroups::Allow,
                Some(nacl::Action::Deny) => ByGroups::Deny,
                Some(nacl::Action::Undecidable) => ByGroups::Maybe,
                None if recorder.network.knows_security_groups() => ByGroups::Unknown,
                None => ByGroups::NotImported,
            },
        };
        Rules {
            nacl: by_nacl.unwrap_or(ByNacl::Unknown),
            groups: by_groups,
        }
    }

    /// What guards whoever recorded.
    fn post(&mut self, recorder: u32, world: &World<'n>) -> Post<'n> {
        let recorder = world.recorder(recorder);
        let network = recorder.network;
        let subnet = recorder.vantage.subnet;
        let nacl = subnet.and_then(|subnet| subnet.nacl_id.as_deref());
        let nacl = nacl.and_then(|id| {
            let read = || Some(Arc::new(Nacl::from_record(network.nacl(id)?)));
            let known = self.nacls.entry((key_of(network), id));
            known.or_insert_with(read).clone()
        });
        let find = |id: &'n str| {
            let read = || Group::of(network, id).map(Arc::new);
            let known = self.groups.entry((key_of(network), id));
            known.or_insert_with(read).clone()
        };
        let guard = recorder
            .vantage
            .interface
            .and_then(|interface| Guard::of(interface, find));
        let groups = guard.ok_or(match network.knows_security_groups() {
            true => ByGroups::Unknown,
            false => ByGroups::NotImported,
        });
        Post { nacl, groups }
    }
}

impl Rules {
    /// An answer passes the groups that let its question through, whatever their rules say of it.
    fn of_accepted(self, initiator: Initiator) -> Self {
        let groups = match (initiator, self.groups) {
            (Initiator::Dst, _) => ByGroups::Allow,
            (Initiator::Unknown, ByGroups::Deny) => ByGroups::Maybe,
            (_, groups) => groups,
        };
        Self { groups, ..self }
    }

    /// An answer that is refused passed the groups if they still knew of its question.
    fn of_rejected(self, initiator: Initiator) -> Self {
        let groups = match (initiator, self.groups) {
            (Initiator::Dst | Initiator::Unknown, ByGroups::Deny) => ByGroups::Maybe,
            (_, groups) => groups,
        };
        Self { groups, ..self }
    }
}

/// Whether rules let a packet through, if that can be told.
fn lets_through(rules: Rules) -> Option<bool> {
    match (rules.nacl, rules.groups) {
        (ByNacl::Denies(_), _) | (_, ByGroups::Deny) => Some(false),
        (ByNacl::Allows | ByNacl::NotAsked, ByGroups::Allow) => Some(true),
        _ => None,
    }
}

/// Who refused a packet that was refused. What the ACL lets through, the groups refused: where they may have, or where nobody imported them,
/// so that they don't say otherwise. Where they are imported and the ones in question are not there, the snapshot is not of that moment.
fn refused(rules: Rules) -> Judged {
    let refused_by = match (rules.nacl, rules.groups) {
        (ByNacl::Denies(_), ByGroups::Deny) => RefusedBy::Both,
        (ByNacl::Denies(rule), _) => RefusedBy::Nacl(rule),
        (ByNacl::NotAsked, _) => RefusedBy::SecurityGroup,
        (ByNacl::Allows, ByGroups::Deny | ByGroups::Maybe | ByGroups::NotImported) => {
            RefusedBy::SecurityGroup
        }
        (ByNacl::Allows, ByGroups::Allow | ByGroups::Unknown) | (ByNacl::Unknown, _) => {
            RefusedBy::Undecidable
        }
    };
    Judged {
        refused_by,
        agrees: lets_through(rules).map(|passes| !passes),
    }
}
