//! Replay: every conversation that was recorded, run through changed ACLs.
//!
//! Conversations come as groups of records that no rule can tell apart. A conversation needs both of its halves, at every edge of a
//! subnet that they cross: where a change denies one of them, the other is lost with it, and both are counted.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Action, Direction, Match, Nacl, Packet, Rule};
use crate::topology::Network;

/// Who opened a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Began {
    /// The sender of these records: they are requests.
    Src,
    /// Their receiver: they are replies.
    Dst,
    /// It is not recorded, as with ICMP.
    Unknown,
}

/// Who refused records, by the rules of their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// Security groups, and the ACL let them pass.
    SecurityGroup,
    /// The ACL, whatever the groups say.
    Nacl,
    /// Block Public Access, encryption controls, or it can't be told.
    Other,
}

/// Where packets cross the edge of a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge {
    /// The subnet.
    pub subnet_id: Arc<str>,
    /// Into it or out of it.
    pub direction: Direction,
}

/// Records that no rule can tell apart, as packets of one half of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Where the packets cross the edge of a subnet; of refused ones, where they were refused.
    pub edges: Vec<Edge>,
    /// The packet's source.
    pub src: IpAddr,
    /// Its destination.
    pub dst: IpAddr,
    /// The IANA number.
    pub protocol: u8,
    /// The packet's destination port; of replies, the first of a range that no rule divides.
    pub dst_port: Option<u16>,
    /// The server's port.
    pub service_port: Option<u16>,
    /// The client's ports that were seen, within a range that no rule divides.
    pub client_ports: Option<RangeInclusive<u16>>,
    /// Who opened it.
    pub began: Began,
    /// Who refused it; `None` for accepted records.
    pub refused: Option<Refusal>,
    /// True if the sender is in the VPC or in a network that routes lead to.
    pub from_ours: bool,
    /// The same of the receiver.
    pub to_ours: bool,
    /// The sender's subnet, where that is ours.
    pub from_subnet: Option<Arc<str>>,
    /// True for packets that a NAT gateway takes from outside and drops, since nobody of ours opened them.
    pub is_absorbed: bool,
    /// What the two halves of a conversation have in common.
    pub conversation: Option<u64>,
    /// Records, each counted once.
    pub flows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first began.
    pub first: DateTime<Utc>,
    /// When the last ended.
    pub last: DateTime<Utc>,
}

impl Observed {
    /// The packet at an edge.
    pub fn packet(&self, direction: Direction) -> Packet {
        Packet {
            direction,
            protocol: self.protocol,
            remote: match direction {
                Direction::Ingress => self.src,
                Direction::Egress => self.dst,
            },
            dst_port: self.dst_port,
        }
    }
}

/// The ACLs of a network, by the subnets that they guard.
#[derive(Debug, Clone, Default)]
pub struct Guarded {
    nacls: Vec<Nacl>,
    of_subnet: HashMap<Arc<str>, usize>,
}

impl Guarded {
    /// Of a network.
    pub fn of(network: &Network) -> Self {
        let nacls: Vec<Nacl> = network
            .resources()
            .network_acls
            .iter()
            .map(|record| Nacl::from_record(record))
            .collect();
        let of_subnet = network.subnets().iter().filter_map(|subnet| {
            let id = subnet.nacl_id.as_deref()?;
            let at = nacls.iter().position(|nacl| nacl.id.as_ref() == id)?;
            Some((Arc::clone(&subnet.id), at))
        });
        let of_subnet: HashMap<Arc<str>, usize> = of_subnet.collect();
        let mut guarded = Self { nacls, of_subnet };
        // A subnet that nothing associates has the VPC's default ACL.
        for nacl in &mut guarded.nacls {
            nacl.subnet_ids.clear();
        }
        let mut pairs: Vec<(Arc<str>, usize)> = guarded
            .of_subnet
            .iter()
            .map(|(id, at)| (Arc::clone(id), *at))
            .collect();
        pairs.sort();
        for (id, at) in pairs {
            guarded.nacls[at].subnet_ids.push(id);
        }
        guarded
    }

    /// Every ACL.
    pub fn nacls(&self) -> &[Nacl] {
        &self.nacls
    }

    /// An ACL by id.
    pub fn nacl(&self, id: &str) -> Option<&Nacl> {
        self.nacls.iter().find(|nacl| nacl.id.as_ref() == id)
    }

    /// The ACL of a subnet.
    pub fn of_subnet(&self, id: &str) -> Option<&Nacl> {
        self.of_subnet.get(id).map(|at| &self.nacls[*at])
    }

    /// The same with a further ACL, which guards no subnet yet.
    #[must_use]
    pub fn with_created(mut self, nacl: Nacl) -> Self {
        self.nacls.push(Nacl {
            subnet_ids: Vec::new(),
            ..nacl
        });
        self
    }

    /// The same with a subnet under another ACL; a subnet or an ACL that is not there changes nothing.
    #[must_use]
    pub fn with_moved(mut self, subnet_id: &str, nacl_id: &str) -> Self {
        let to = self
            .nacls
            .iter()
            .position(|nacl| nacl.id.as_ref() == nacl_id);
        let Some((to, (subnet_id, at))) = to.zip(self.of_subnet.get_key_value(subnet_id)) else {
            return self;
        };
        let (subnet_id, from) = (Arc::clone(subnet_id), *at);
        self.nacls[from].subnet_ids.retain(|id| *id != subnet_id);
        self.nacls[to].subnet_ids.push(Arc::clone(&subnet_id));
        self.nacls[to].subnet_ids.sort();
        self.of_subnet.insert(subnet_id, to);
        self
    }

    /// The same with another version of an ACL.
    #[must_use]
    pub fn with(mut self, nacl: Nacl) -> Self {
        if let Some(there) = self.nacls.iter_mut().find(|there| there.id == nacl.id) {
            *there = nacl;
        }
        self
    }
}

/// Accepted records that a change would have denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Where.
    pub edge: Edge,
    /// The rule that decides now; 32767 and 32768 are the implicit deny.
    pub rule_number: u16,
    /// The sender of the packets that are denied.
    pub src: IpAddr,
    /// Their receiver.
    pub dst: IpAddr,
    /// The IANA number.
    pub protocol: u8,
    /// The server's port.
    pub service_port: Option<u16>,
    /// True for the answers to requests that still pass: the conversation breaks.
    pub is_reply: bool,
    /// Records, those of the half that is lost with it included.
    pub flows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a change of an ACL would have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NaclReplay {
    /// The ACL.
    pub nacl_id: Arc<str>,
    /// Accepted records that it would have denied, and the halves that are lost with them.
    pub accepted_flows_denied: u64,
    /// Their bytes.
    pub accepted_bytes_denied: u64,
    /// Accepted records that depend on an ICMP type, which is not recorded.
    pub accepted_flows_undecidable: u64,
    /// Rejected records that security groups stopped and the ACL would stop now.
    pub rejected_flows_matched: u64,
    /// Rejected records that the ACL stopped and would let pass now.
    pub rejected_flows_allowed: u64,
    /// What would have been denied, most first.
    pub denied: Vec<Denied>,
}

/// The numbers that each piece of advice carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Accepted records that it would have denied, and the halves that are lost with them.
    pub accepted_flows_denied: u64,
    /// Their bytes.
    pub accepted_bytes_denied: u64,
    /// Rejected records that security groups stopped and the ACL would stop now.
    pub rejected_flows_matched: u64,
}

impl NaclReplay {
    /// The numbers in short.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            accepted_flows_denied: self.accepted_flows_denied,
            accepted_bytes_denied: self.accepted_bytes_denied,
            rejected_flows_matched: self.rejected_flows_matched,
        }
    }
}

/// Runs what was recorded through ACLs before and after a change. One answer for each ACL that differs, or that guards a subnet which
/// another one guarded before.
pub fn replay(before: &Guarded, after: &Guarded, observed: &[Observed]) -> Vec<NaclReplay> {
    let differ =
        |one: &Nacl, other: &Nacl| one.ingress != other.ingress || one.egress != other.egress;
    let mut changed: Vec<&Nacl> = Vec::new();
    // Of each subnet, the place among the changed of its ACL after the change, and that with its ACL before.
    let mut of_subnet: HashMap<&str, (usize, Pair<'_>)> = HashMap::new();
    for nacl in &after.nacls {
        let own = nacl.subnet_ids.iter().filter_map(|id| {
            let was = before.of_subnet(id).filter(|was| differ(was, nacl))?;
            Some((id.as_ref(), (changed.len(), Pair::new(was, nacl))))
        });
        let own: Vec<_> = own.collect();
        let is_other = before.nacl(&nacl.id).is_some_and(|was| differ(was, nacl));
        if is_other || !own.is_empty() {
            of_subnet.extend(own);
            changed.push(nacl);
        }
    }
    let mut sums: Vec<Sum> = changed.iter().map(|_| Sum::default()).collect();
    // The first verdict against a half decides who is blamed for the conversation.
    let mut broken: HashMap<u64, (usize, usize)> = HashMap::new();
    let mut denied_records: BTreeSet<usize> = BTreeSet::new();
    for (index, record) in observed.iter().enumerate() {
        for edge in &record.edges {
            let Some((at, pair)) = of_subnet.get(edge.subnet_id.as_ref()) else {
                continue;
            };
            let packet = record.packet(edge.direction);
            if !pair.may_differ(&packet) {
                continue;
            }
            let (at, was, is) = (
                *at,
                pair.before.evaluate(&packet),
                pair.after.evaluate(&packet),
            );
            let sum = &mut sums[at];
            match (record.refused, was.action, is.action) {
                (None, Action::Allow | Action::Undecidable, Action::Deny) => {
                    if !denied_records.insert(index) {
                        continue;
                    }
                    let denied = sum.denied.len();
                    sum.denied.push(Denied {
                        edge: edge.clone(),
                        rule_number: is.rule_number,
                        src: record.src,
                        dst: record.dst,
                        protocol: record.protocol,
                        service_port: record.service_port.or(record.dst_port),
                        is_reply: record.began == Began::Dst,
                        flows: record.flows,
                        bytes: record.bytes,
                    });
                    if let Some(conversation) = record.conversation {
                        broken.entry(conversation).or_insert((at, denied));
                    }
                }
                (None, Action::Allow, Action::Undecidable) => sum.undecidable += record.flows,
                (
                    Some(Refusal::SecurityGroup),
                    Action::Allow | Action::Undecidable,
                    Action::Deny,
                ) => {
                    sum.matched += record.flows;
                }
                (Some(Refusal::Nacl), Action::Deny, Action::Allow) => sum.allowed += record.flows,
                _ => {}
            }
        }
    }
    for (index, record) in observed.iter().enumerate() {
        let blamed = record.conversation.and_then(|id| broken.get(&id));
        if let Some(&(at, denied)) = blamed
            && record.refused.is_none()
            && !denied_records.contains(&index)
        {
            let denied = &mut sums[at].denied[denied];
            denied.flows += record.flows;
            denied.bytes += record.bytes;
        }
    }
    changed
        .iter()
        .zip(sums)
        .map(|(after, sum)| sum.finish(after))
        .collect()
}

/// An ACL before and after a change.
struct Pair<'n> {
    before: &'n Nacl,
    after: &'n Nacl,
    /// Rules that one of them has and the other lacks, by direction.
    ingress: Vec<&'n Rule>,
    egress: Vec<&'n Rule>,
}

impl<'n> Pair<'n> {
    fn new(before: &'n Nacl, after: &'n Nacl) -> Self {
        let of = |direction: Direction| {
            let (was, is) = (before.rules(direction), after.rules(direction));
            let gone = was.iter().filter(|rule| !is.contains(rule));
            let come = is.iter().filter(|rule| !was.contains(rule));
            gone.chain(come).collect()
        };
        Self {
            before,
            after,
            ingress: of(Direction::Ingress),
            egress: of(Direction::Egress),
        }
    }

    /// False where both certainly do the same, by the same rule: most packets meet no rule that is different.
    fn may_differ(&self, packet: &Packet) -> bool {
        let rules = match packet.direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        };
        rules.iter().any(|rule| rule.matches(packet) != Match::No)
    }
}

/// The rules of an ACL that no record meets first.
pub fn unused_rules(nacl: &Nacl, observed: &[Observed]) -> Vec<(Direction, u16)> {
    let own: HashSet<&str> = nacl.subnet_ids.iter().map(AsRef::as_ref).collect();
    let mut met: BTreeSet<(Direction, u16)> = BTreeSet::new();
    for record in observed {
        for edge in &record.edges {
            if own.contains(edge.subnet_id.as_ref()) {
                let verdict = nacl.evaluate(&record.packet(edge.direction));
                met.insert((edge.direction, verdict.rule_number));
            }
        }
    }
    [Direction::Ingress, Direction::Egress]
        .into_iter()
        .flat_map(|direction| {
            let rules = nacl.rules(direction).iter();
            rules.map(move |rule| (direction, rule.number))
        })
        .filter(|rule| !met.contains(rule))
        .collect()
}

/// What is summed for one ACL.
#[derive(Debug, Default)]
struct Sum {
    denied: Vec<Denied>,
    undecidable: u64,
    matched: u64,
    allowed: u64,
}

impl Sum {
    fn finish(self, nacl: &Nacl) -> NaclReplay {
        // What was denied for one reason between the same two is one line for a reader.
        type Key = (Edge, u16, IpAddr, IpAddr, u8, Option<u16>, bool);
        let mut denied: BTreeMap<Key, (u64, u64)> = BTreeMap::new();
        for one in self.denied {
            let key = (
                one.edge,
                one.rule_number,
                one.src,
                one.dst,
                one.protocol,
                one.service_port,
                one.is_reply,
            );
            let sum = denied.entry(key).or_default();
            *sum = (sum.0 + one.flows, sum.1 + one.bytes);
        }
        let mut denied: Vec<Denied> = denied
            .into_iter()
            .map(|(key, (flows, bytes))| {
                let (edge, rule_number, src, dst, protocol, service_port, is_reply) = key;
                Denied {
                    edge,
                    rule_number,
                    src,
                    dst,
                    protocol,
                    service_port,
                    is_reply,
                    flows,
                    bytes,
                }
            })
            .collect();
        denied.sort_by_key(|one| std::cmp::Reverse(one.flows));
        NaclReplay {
            nacl_id: Arc::clone(&nacl.id),
            accepted_flows_denied: denied.iter().map(|one| one.flows).sum(),
            accepted_bytes_denied: denied.iter().map(|one| one.bytes).sum(),
            accepted_flows_undecidable: self.undecidable,
            rejected_flows_matched: self.matched,
            rejected_flows_allowed: self.allowed,
            denied,
        }
    }
}
