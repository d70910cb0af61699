//! Replay: every conversation that was recorded, run through changed ACLs.
//!
//! Conversations come as groups of records that no rule can tell apart. A conversation needs both of its halves, at every edge of a
//! subnet that they cross: where a change denies one of them, the other is lost with it, and both are counted.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Action, Direction, Guarded, Match, Nacl, Packet, Rule};

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
    for nacl in after.nacls() {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::nacl::ICMP;

    /// Few networks, ports and numbers, so that rules meet packets and each other.
    fn rule() -> impl Strategy<Value = Rule> {
        let cidr = prop_oneof![
            Just("0.0.0.0/0"),
            Just("10.0.0.0/8"),
            Just("10.0.1.0/24"),
            Just("::/0"),
            Just("2001:db8::/32"),
        ];
        let protocol = prop_oneof![Just(None), Just(Some(6)), Just(Some(17)), Just(Some(ICMP))];
        let ports = prop_oneof![Just(None), Just(Some(22..=22)), Just(Some(20..=1023))];
        (1..6_u16, cidr, protocol, ports, any::<bool>()).prop_map(
            |(number, cidr, protocol, ports, allows)| Rule {
                number,
                protocol,
                cidr: cidr.parse().unwrap(),
                ports: ports.filter(|_| matches!(protocol, Some(6 | 17))),
                icmp: (protocol == Some(ICMP)).then_some((8, 0)),
                allows,
            },
        )
    }

    fn nacl() -> impl Strategy<Value = Nacl> {
        prop::collection::btree_map(1..6_u16, rule(), 0..5).prop_map(|rules| Nacl {
            id: "acl-1".into(),
            vpc_id: None,
            is_default: false,
            subnet_ids: Vec::new(),
            ingress: rules
                .into_iter()
                .map(|(number, rule)| Rule { number, ..rule })
                .collect(),
            egress: Vec::new(),
        })
    }

    fn packet() -> impl Strategy<Value = Packet> {
        let remote = prop_oneof![
            Just("10.0.1.5"),
            Just("10.9.9.9"),
            Just("192.0.2.1"),
            Just("2001:db8::1"),
            Just("2600::1"),
        ];
        let protocol = prop_oneof![Just(6), Just(17), Just(ICMP), Just(50)];
        let port = prop_oneof![
            Just(None),
            Just(Some(22)),
            Just(Some(443)),
            Just(Some(50_000))
        ];
        (remote, protocol, port).prop_map(|(remote, protocol, dst_port)| Packet {
            direction: Direction::Ingress,
            protocol,
            remote: remote.parse().unwrap(),
            dst_port,
        })
    }

    proptest! {
        #[test]
        fn a_packet_that_meets_no_rule_that_changed_has_the_same_verdict(
            before in nacl(),
            change in nacl(),
            is_kept in prop::collection::vec(any::<bool>(), 5),
            packets in prop::collection::vec(packet(), 1..20),
        ) {
            // Some rules stay, some come.
            let kept = before.ingress.iter().zip(&is_kept).filter(|(_, is_kept)| **is_kept);
            let mut rules: BTreeMap<u16, Rule> =
                change.ingress.iter().map(|rule| (rule.number, rule.clone())).collect();
            rules.extend(kept.map(|(rule, _)| (rule.number, rule.clone())));
            let after = Nacl { ingress: rules.into_values().collect(), ..before.clone() };
            let pair = Pair::new(&before, &after);
            for packet in packets {
                if !pair.may_differ(&packet) {
                    prop_assert_eq!(before.evaluate(&packet), after.evaluate(&packet));
                }
            }
        }
    }
}
