//! The smallest rules that would have let every accepted flow of a window pass, with the margins that somebody wants.
//!
//! ```text
//! accepted packets at each edge ──> (direction, family, protocol, ports) with the blocks of the other ends
//!   + what each needs to be answered: requests a reply, replies a request
//!   + what no record shows and nobody can do without: path MTU discovery
//!   ──> blocks joined, ports joined, until they fit the quota ──> allows, after the denies that are kept
//! ```

mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use self::needs::{Kind, Needs, everywhere};
use super::advise::Advised;
use super::aggregate::block;
use super::crossing::{Crossing, accepted, crossings};
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

/// What accepted packets need: by direction, family (whether it is IPv6) and kind, blocks inside and outside of the topology's subnets.
type Asked = BTreeMap<(Direction, bool), BTreeMap<Kind, (BTreeSet<IpNet>, BTreeSet<IpNet>)>>;

/// Tightens one ACL to what `observed` shows accepted.
pub fn tighten(
    network: &Network,
    guarded: &Guarded,
    nacl: &Nacl,
    observed: &[Observed],
    settings: &TightenSettings,
) -> Tightened {
    let accepted = accepted(nacl, observed);
    let mut asked = asked(network, nacl, &accepted, settings);
    keep_path_mtu(&mut asked);
    let mut notes = Vec::new();
    let mut changes: Vec<Change> = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let denies = kept_denies(nacl, direction, &accepted);
        let wanted = wanted(&asked, direction, &denies, settings, &mut notes);
        changes.extend(replacement(
            nacl, direction, &denies, wanted, settings, &mut notes,
        ));
    }
    // New rules come before old ones go, so that nothing is cut off in between.
    changes.sort_by_key(|change| matches!(change.step, Step::Delete(_)));
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

/// The allows of one direction that fit the quota beside the denies that are kept, not numbered yet.
fn wanted(
    asked: &Asked,
    direction: Direction,
    denies: &[&Rule],
    settings: &TightenSettings,
    notes: &mut Vec<String>,
) -> Vec<Rule> {
    let mut wanted = Vec::new();
    for (is_v6, family) in [(false, Family::V4), (true, Family::V6)] {
        let Some(kinds) = asked.get(&(direction, is_v6)) else {
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
    wanted
}

/// What makes the wanted allows of today's rules of one direction: what is there already behind the kept denies stays.
fn replacement(
    nacl: &Nacl,
    direction: Direction,
    denies: &[&Rule],
    mut wanted: Vec<Rule>,
    settings: &TightenSettings,
    notes: &mut Vec<String>,
) -> Vec<Change> {
    let today = nacl.rules(direction);
    let last_deny = denies.iter().map(|rule| rule.number).max().unwrap_or(0);
    let stays = |rule: &&Rule| {
        denies.iter().any(|deny| deny.number == rule.number)
            || rule.allows
                && rule.number > last_deny
                && wanted.iter().any(|wanted| is_same(wanted, rule))
    };
    let (stay, go): (Vec<&Rule>, Vec<&Rule>) = today.iter().partition(stays);
    wanted.retain(|wanted| !stay.iter().any(|rule| is_same(wanted, rule)));
    let at_once = today.len() + wanted.len();
    if at_once >= usize::from(settings.quota.0) {
        notes.push(format!(
            "{}: old and new rules together are {at_once} and may pass the quota: delete unused ones first, or do one direction at a time",
            direction.as_str()
        ));
    }
    let first = (last_deny / 10 + 1).saturating_mul(10).max(100);
    let free = (first..super::IMPLICIT_DENY_V4)
        .step_by(10)
        .filter(|number| !today.iter().any(|rule| rule.number == *number));
    let adds = free
        .zip(wanted)
        .map(|(number, rule)| Step::Add(Rule { number, ..rule }));
    let deletes = go.iter().map(|rule| Step::Delete(rule.number));
    let change = |step| Change {
        nacl_id: Arc::clone(&nacl.id),
        direction,
        step,
    };
    adds.chain(deletes).map(change).collect()
}

/// What accepted packets need at the edges of an ACL's subnets, and what they need to be answered.
fn asked(
    network: &Network,
    nacl: &Nacl,
    accepted: &[Crossing<'_>],
    settings: &TightenSettings,
) -> Asked {
    let vpc = nacl.vpc_id.as_deref();
    let vantage = network.vantage(None, None, vpc, None, None);
    let mut rounded: BTreeMap<IpAddr, (IpNet, bool)> = BTreeMap::new();
    let mut asked = Asked::new();
    let (low, high) = (*settings.ephemeral.start(), *settings.ephemeral.end());
    for Crossing { record, packet } in accepted {
        let remote = packet.remote;
        let (net, is_inside) = *rounded
            .entry(remote)
            .or_insert_with(|| round(network, &vantage, remote, settings.round_to));
        let mut ask = |direction: Direction, ports: Option<(u16, u16)>| {
            let kinds = asked.entry((direction, remote.is_ipv6())).or_default();
            let kind = (Some(record.protocol), ports, None);
            let (inside, outside) = kinds.entry(kind).or_default();
            match is_inside {
                true => inside.insert(net),
                false => outside.insert(net),
            };
        };
        let (this_way, back) = (packet.direction, packet.direction.opposite());
        match (record.began, record.service_port) {
            (Began::Src, Some(port)) => {
                ask(this_way, Some((port, port)));
                ask(back, Some((low, high)));
            }
            (Began::Dst, Some(port)) => {
                ask(back, Some((port, port)));
                ask(this_way, Some((low, high)));
                // A client that uses other ports than most keeps them.
                if let Some(seen) = &record.client_ports
                    && (*seen.start() < low || *seen.end() > high)
                {
                    ask(this_way, Some((*seen.start(), *seen.end())));
                }
            }
            _ => ask(this_way, record.dst_port.map(|port| (port, port))),
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
fn kept_denies<'n>(
    nacl: &'n Nacl,
    direction: Direction,
    accepted: &[Crossing<'_>],
) -> Vec<&'n Rule> {
    let mut denies: Vec<&Rule> = nacl
        .rules(direction)
        .iter()
        .filter(|rule| !rule.allows)
        .collect();
    let packets = accepted.iter().map(|crossing| &crossing.packet);
    for packet in packets.filter(|packet| packet.direction == direction) {
        denies.retain(|rule| rule.matches(packet) == Match::No);
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

/// The changes with their reasons: what a new rule lets pass, what met a rule that goes.
fn advised(
    before: &Nacl,
    after: &Nacl,
    changes: Vec<Change>,
    observed: &[Observed],
    numbers: Numbers,
) -> Vec<Advised> {
    let mut hits: [BTreeMap<(Direction, u16), (u64, u64)>; 2] = Default::default();
    for Crossing { record, packet } in crossings(before, observed.iter()) {
        for (hits, nacl) in hits.iter_mut().zip([before, after]) {
            let verdict = nacl.evaluate(&packet);
            if verdict.action == Action::Deny {
                continue;
            }
            let sum = hits
                .entry((packet.direction, verdict.rule_number))
                .or_default();
            match record.refused {
                None => sum.0 += record.flows,
                Some(_) => sum.1 += record.flows,
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
