//! The smallest rules that would have let every accepted flow of a window pass, with the margins that somebody wants.
//!
//! ```text
//! accepted packets at each edge ──> (direction, family, protocol, ports) with the blocks of the other ends
//!   + what each needs to be answered: requests a reply, replies a request
//!   + what no record shows and nobody can do without: path MTU discovery
//!   ──> blocks joined, ports joined, until they fit the quota ──> allows, after the denies that are kept
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::advise::Advised;
use super::aggregate::block;
use super::{
    Action, Began, Change, Direction, Guarded, ICMP, ICMPV6, Match, Nacl, Numbers, Observed, Quota,
    Rule, Step, replay, rule_words,
};
use crate::topology::{Family, InterfaceKind, Network, Vantage};

/// How far an address stands for its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundTo {
    /// Its subnet; outside of subnets 24 bits, 64 in IPv6.
    Subnet,
    /// So many bits of IPv4, 64 in IPv6; a load balancer, whose nodes move, stands for its subnet all the same.
    Prefix(u8),
}

/// The margins.
#[derive(Debug, Clone)]
pub struct TightenSettings {
    /// How far an address stands for its neighbours.
    pub round_to: RoundTo,
    /// The ports on which clients are answered.
    pub ephemeral: RangeInclusive<u16>,
    /// A port that more blocks outside use is open to all.
    pub most_blocks: usize,
    /// AWS's quota.
    pub quota: Quota,
}

/// An ACL as it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tightened {
    /// The ACL after the changes.
    pub after: Nacl,
    /// The changes, in the order in which they are made.
    pub advised: Vec<Advised>,
    /// What they would have done.
    pub numbers: Numbers,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// Which packets a rule would be for.
type Kind = (Option<u8>, Option<(u16, u16)>, Option<(i32, i32)>);

/// Blocks by kind, for one direction and family.
#[derive(Debug, Default, Clone)]
struct Needs(BTreeMap<Kind, BTreeSet<IpNet>>);

/// What accepted packets need: by direction (egress last), family (IPv6 last) and kind, blocks inside and outside of the topology's subnets.
type Asked = BTreeMap<(bool, bool), BTreeMap<Kind, (BTreeSet<IpNet>, BTreeSet<IpNet>)>>;

/// Tightens one ACL to what `observed` shows accepted.
pub fn tighten(
    network: &Network,
    guarded: &Guarded,
    nacl: &Nacl,
    observed: &[Observed],
    settings: &TightenSettings,
) -> Tightened {
    let mut notes = Vec::new();
    let mut asked = asked(network, nacl, observed, settings);
    keep_path_mtu(&mut asked);
    let mut adds: Vec<Change> = Vec::new();
    let mut deletes: Vec<Change> = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let is_egress = direction == Direction::Egress;
        let denies = kept_denies(nacl, direction, observed);
        let mut wanted = Vec::new();
        for (is_v6, family) in [(false, Family::V4), (true, Family::V6)] {
            let Some(kinds) = asked.get(&(is_egress, is_v6)) else {
                continue;
            };
            let of_family = denies
                .iter()
                .filter(|rule| Family::of_net(&rule.cidr) == family);
            let room = usize::from(settings.quota.0).saturating_sub(of_family.count() + 1);
            let mut needs = Needs::of(kinds, settings.most_blocks, is_v6);
            let joined = needs.fit(room);
            if joined > 0 {
                notes.push(format!(
                    "{} {family}: {joined} blocks or port ranges were joined to stay within {} rules",
                    direction.as_str(),
                    settings.quota.0
                ));
            }
            wanted.extend(needs.rules());
        }
        let last_deny = denies.iter().map(|rule| rule.number).max().unwrap_or(0);
        let stays = |rule: &Rule| {
            denies.iter().any(|deny| deny.number == rule.number)
                || rule.allows
                    && rule.number > last_deny
                    && wanted.iter().any(|wanted| is_same(wanted, rule))
        };
        let change = |step| Change {
            nacl_id: Arc::clone(&nacl.id),
            direction,
            step,
        };
        let (stay, go): (Vec<&Rule>, Vec<&Rule>) =
            nacl.rules(direction).iter().partition(|rule| stays(rule));
        deletes.extend(go.iter().map(|rule| change(Step::Delete(rule.number))));
        wanted.retain(|wanted| !stay.iter().any(|rule| is_same(wanted, rule)));
        let taken: BTreeSet<u16> = nacl
            .rules(direction)
            .iter()
            .map(|rule| rule.number)
            .collect();
        let first = (last_deny / 10 + 1).saturating_mul(10).max(100);
        let numbers = (first..super::IMPLICIT_DENY_V4)
            .step_by(10)
            .filter(|number| !taken.contains(number));
        for (number, rule) in numbers.zip(wanted) {
            adds.push(change(Step::Add(Rule { number, ..rule })));
        }
        let at_once = nacl.rules(direction).len()
            + adds.iter().filter(|add| add.direction == direction).count();
        if at_once >= usize::from(settings.quota.0) {
            notes.push(format!(
                "{}: old and new rules together are {at_once} and may pass the quota: delete unused ones first, or do one direction at a time",
                direction.as_str()
            ));
        }
    }
    let changes: Vec<Change> = adds.into_iter().chain(deletes).collect();
    let after = match nacl.with_all(&changes) {
        Ok(after) => after,
        Err(error) => {
            notes.push(error.to_string());
            nacl.clone()
        }
    };
    let replays = replay(guarded, &guarded.clone().with(after.clone()), observed);
    let numbers = replays
        .first()
        .map(super::NaclReplay::numbers)
        .unwrap_or_default();
    let advised = advised(nacl, &after, changes, observed, numbers);
    Tightened {
        after,
        advised,
        numbers,
        notes,
    }
}

/// What accepted packets need at the edges of an ACL's subnets, and what they need to be answered.
fn asked(
    network: &Network,
    nacl: &Nacl,
    observed: &[Observed],
    settings: &TightenSettings,
) -> Asked {
    let vpc = nacl.vpc_id.as_deref();
    let vantage = network.vantage(None, None, vpc, None, None);
    let mut rounded: BTreeMap<IpAddr, (IpNet, bool)> = BTreeMap::new();
    let mut asked = Asked::new();
    let (low, high) = (*settings.ephemeral.start(), *settings.ephemeral.end());
    for record in observed.iter().filter(|record| record.refused.is_none()) {
        for edge in &record.edges {
            if !nacl.subnet_ids.contains(&edge.subnet_id) {
                continue;
            }
            let remote = record.packet(edge.direction).remote;
            let (net, is_inside) = *rounded
                .entry(remote)
                .or_insert_with(|| round(network, &vantage, remote, settings.round_to));
            let mut ask = |is_egress: bool, ports: Option<(u16, u16)>| {
                let kinds = asked.entry((is_egress, remote.is_ipv6())).or_default();
                let blocks = kinds
                    .entry((Some(record.protocol), ports, None))
                    .or_default();
                match is_inside {
                    true => blocks.0.insert(net),
                    false => blocks.1.insert(net),
                };
            };
            let is_egress = edge.direction == Direction::Egress;
            match (record.began, record.service_port) {
                (Began::Src, Some(port)) => {
                    ask(is_egress, Some((port, port)));
                    ask(!is_egress, Some((low, high)));
                }
                (Began::Dst, Some(port)) => {
                    ask(!is_egress, Some((port, port)));
                    ask(is_egress, Some((low, high)));
                    // A client that uses other ports than most keeps them.
                    if let Some(seen) = &record.client_ports {
                        let is_beyond = *seen.start() < low || *seen.end() > high;
                        if is_beyond {
                            ask(is_egress, Some((*seen.start(), *seen.end())));
                        }
                    }
                }
                _ => ask(is_egress, record.dst_port.map(|port| (port, port))),
            }
        }
    }
    asked
}

/// ICMP's "fragmentation needed" and ICMPv6's "packet too big": without them large packets vanish, and no record shows it.
fn keep_path_mtu(asked: &mut Asked) {
    for ((_, is_v6), kinds) in asked.iter_mut() {
        let protocol = if *is_v6 { ICMPV6 } else { ICMP };
        let icmp = if *is_v6 { (2, 0) } else { (3, 4) };
        let blocks = kinds.entry((Some(protocol), None, Some(icmp))).or_default();
        blocks.1.insert(everywhere(*is_v6));
    }
}

fn everywhere(is_v6: bool) -> IpNet {
    match is_v6 {
        true => IpNet::V6(ipnet::Ipv6Net::default()),
        false => IpNet::V4(ipnet::Ipv4Net::default()),
    }
}

/// The block that an address stands for, and whether that is a subnet's.
fn round(
    network: &Network,
    vantage: &Vantage<'_>,
    addr: IpAddr,
    round_to: RoundTo,
) -> (IpNet, bool) {
    let endpoint = network.resolve(vantage, addr);
    let subnet = endpoint.subnet.and_then(|subnet| {
        let cidrs = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
        cidrs.into_iter().find(|net| net.contains(&addr)).copied()
    });
    let moves = endpoint.interface.is_some_and(|interface| {
        matches!(
            interface.kind(),
            InterfaceKind::LoadBalancer
                | InterfaceKind::NetworkLoadBalancer
                | InterfaceKind::GatewayLoadBalancer
                | InterfaceKind::GatewayLoadBalancerEndpoint
                | InterfaceKind::Lambda
        )
    });
    let bits = match (round_to, addr.is_ipv6()) {
        (_, true) => 64,
        (RoundTo::Subnet, false) => 24,
        (RoundTo::Prefix(bits), false) => bits,
    };
    match (subnet, round_to) {
        (Some(net), RoundTo::Subnet) => (net, true),
        (Some(net), RoundTo::Prefix(_)) if moves => (net, true),
        (Some(_), RoundTo::Prefix(_)) => (block(addr, bits), true),
        (None, _) => (block(addr, bits), false),
    }
}

/// The denies of today that hit no accepted packet: somebody wanted them.
fn kept_denies<'n>(nacl: &'n Nacl, direction: Direction, observed: &[Observed]) -> Vec<&'n Rule> {
    let mut denies: Vec<&Rule> = nacl
        .rules(direction)
        .iter()
        .filter(|rule| !rule.allows)
        .collect();
    for record in observed.iter().filter(|record| record.refused.is_none()) {
        let crosses = record
            .edges
            .iter()
            .any(|edge| edge.direction == direction && nacl.subnet_ids.contains(&edge.subnet_id));
        if crosses {
            let packet = record.packet(direction);
            denies.retain(|rule| rule.matches(&packet) == Match::No);
        }
    }
    denies
}

fn is_same(one: &Rule, other: &Rule) -> bool {
    let of = |rule: &Rule| {
        (
            rule.protocol,
            rule.cidr,
            rule.ports.clone(),
            rule.icmp,
            rule.allows,
        )
    };
    of(one) == of(other)
}

impl Needs {
    fn of(
        kinds: &BTreeMap<Kind, (BTreeSet<IpNet>, BTreeSet<IpNet>)>,
        most_blocks: usize,
        is_v6: bool,
    ) -> Self {
        let mut needs = Self::default();
        for (kind, (inside, outside)) in kinds {
            let outside = joined(outside.iter().copied());
            let blocks = match outside.len() > most_blocks {
                true => BTreeSet::from([everywhere(is_v6)]),
                false => joined(inside.iter().copied().chain(outside)),
            };
            needs.0.insert(*kind, blocks);
        }
        needs.simplify();
        needs
    }

    fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Takes out what other needs cover, and joins port ranges that touch and have the same blocks.
    fn simplify(&mut self) {
        let all = self.0.clone();
        for (kind, blocks) in &mut self.0 {
            blocks.retain(|net| {
                !all.iter().any(|(other, others)| {
                    other != kind
                        && holds(other, kind)
                        && others.iter().any(|wide| wide.contains(net))
                })
            });
        }
        self.0.retain(|_, blocks| !blocks.is_empty());
        while let Some((one, other)) = self.touching() {
            self.join(one, other);
        }
    }

    fn touching(&self) -> Option<(Kind, Kind)> {
        self.0.iter().find_map(|(one, blocks)| {
            let (protocol, Some((_, to)), None) = *one else {
                return None;
            };
            let next = self.0.iter().find(|(other, others)| {
                let (of, ports, icmp) = **other;
                let touches = ports.is_some_and(|(from, _)| to.checked_add(1) == Some(from));
                of == protocol && icmp.is_none() && touches && *others == blocks
            });
            next.map(|(other, _)| (*one, *other))
        })
    }

    /// Two needs as one: both port ranges and what lies between, for the blocks of both.
    fn join(&mut self, one: Kind, other: Kind) {
        let blocks = [one, other]
            .into_iter()
            .filter_map(|kind| self.0.remove(&kind))
            .flatten();
        let blocks = joined(blocks.collect::<Vec<_>>());
        let ports = one
            .1
            .zip(other.1)
            .map(|((a, b), (c, d))| (a.min(c), b.max(d)));
        self.0
            .entry((one.0, ports, None))
            .or_default()
            .extend(blocks);
    }

    /// Joins what costs least until it fits; says how often.
    fn fit(&mut self, room: usize) -> usize {
        let mut joins = 0;
        while self.count() > room && self.join_cheapest() {
            joins += 1;
            self.simplify();
        }
        joins
    }

    /// Joins the two blocks of one need whose common block is smallest; where every need has one block, the two nearest port ranges of a protocol.
    fn join_cheapest(&mut self) -> bool {
        let pairs = self.0.iter().flat_map(|(kind, blocks)| {
            let next = blocks.iter().skip(1);
            blocks
                .iter()
                .zip(next)
                .map(|(one, other)| (*kind, common(one, other), *one, *other))
        });
        let cheapest = pairs.max_by_key(|(_, net, ..)| net.prefix_len());
        if let Some((kind, net, one, other)) = cheapest
            && let Some(blocks) = self.0.get_mut(&kind)
        {
            blocks.remove(&one);
            blocks.remove(&other);
            blocks.retain(|block| !net.contains(block));
            blocks.insert(net);
            return true;
        }
        let kinds: Vec<Kind> = self.0.keys().copied().collect();
        let pairs = kinds.windows(2).filter_map(|pair| {
            let ((one, Some((_, to)), None), (other, Some((from, _)), None)) = (pair[0], pair[1])
            else {
                return None;
            };
            (one == other).then(|| (from.saturating_sub(to), pair[0], pair[1]))
        });
        let Some((_, one, other)) = pairs.min() else {
            return false;
        };
        self.join(one, other);
        true
    }

    /// As allows, not numbered yet.
    fn rules(&self) -> Vec<Rule> {
        let kinds = self.0.iter();
        kinds
            .flat_map(|((protocol, ports, icmp), blocks)| {
                blocks.iter().map(|cidr| Rule {
                    number: 0,
                    protocol: *protocol,
                    cidr: *cidr,
                    ports: ports
                        .map(|(from, to)| from..=to)
                        .filter(|ports| *ports != (0..=u16::MAX)),
                    icmp: *icmp,
                    allows: true,
                })
            })
            .collect()
    }
}

/// Whether a rule for one kind holds every packet of another.
fn holds(wide: &Kind, kind: &Kind) -> bool {
    let protocol = wide.0.is_none() || wide.0 == kind.0;
    let ports = match (wide.1, kind.1) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some((a, b)), Some((c, d))) => a <= c && d <= b,
    };
    protocol && ports && (wide.2.is_none() || wide.2 == kind.2)
}

/// Blocks without those that others hold, and halves put together.
fn joined(nets: impl IntoIterator<Item = IpNet>) -> BTreeSet<IpNet> {
    let nets: Vec<IpNet> = nets.into_iter().collect();
    IpNet::aggregate(&nets).into_iter().collect()
}

fn common(one: &IpNet, other: &IpNet) -> IpNet {
    let mut net = one.trunc();
    while !net.contains(other) {
        match net.supernet() {
            Some(wider) => net = wider,
            None => break,
        }
    }
    net
}

/// The changes with their reasons: what a new rule lets pass, what met a rule that goes.
fn advised(
    before: &Nacl,
    after: &Nacl,
    changes: Vec<Change>,
    observed: &[Observed],
    numbers: Numbers,
) -> Vec<Advised> {
    let mut hits: [BTreeMap<(Direction, u16), (u64, u64)>; 2] = Default::default();
    for record in observed {
        for edge in &record.edges {
            if !before.subnet_ids.contains(&edge.subnet_id) {
                continue;
            }
            let packet = record.packet(edge.direction);
            for (hits, nacl) in hits.iter_mut().zip([before, after]) {
                let verdict = nacl.evaluate(&packet);
                if verdict.action == Action::Deny {
                    continue;
                }
                let sum = hits
                    .entry((edge.direction, verdict.rule_number))
                    .or_default();
                match record.refused {
                    None => sum.0 += record.flows,
                    Some(_) => sum.1 += record.flows,
                }
            }
        }
    }
    let [was, is] = hits;
    changes
        .into_iter()
        .map(|change| {
            let key = (change.direction, change.step.number());
            let old = match change.step {
                Step::Add(_) => None,
                _ => before.rule(change.direction, change.step.number()).cloned(),
            };
            let reason = match &change.step {
                Step::Add(rule) | Step::Replace(rule) => match is.get(&key) {
                    Some((accepted, _)) if *accepted > 0 => {
                        format!("{accepted} accepted flows of the window pass by it")
                    }
                    _ if rule.icmp.is_some() => {
                        "path MTU discovery needs it, and flow logs do not record ICMP types".to_owned()
                    }
                    _ => "what passes by other rules is answered by it".to_owned(),
                },
                Step::Delete(number) => {
                    let words = old
                        .as_ref()
                        .map_or_else(|| format!("rule {number}"), |old| rule_words(old, change.direction));
                    match was.get(&key) {
                        Some((accepted, rejected)) => format!(
                            "{words}: {accepted} accepted flows met it, which the new rules let pass, and {rejected} that security groups refused"
                        ),
                        None => format!("{words}: no flow of the window met it"),
                    }
                }
            };
            Advised {
                change,
                was: old,
                reason,
                numbers,
            }
        })
        .collect()
}
