//! Rule by rule: what an ACL does with packets to any of some ports, and why.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::Outcome;
use crate::nacl::{Match, Nacl, Packet, Rule, Verdict, ports_words, protocol_words, rule_words};
use crate::topology::Family;

/// What happens to packets to any of some ports: parts of them for which the same rule decides.
pub(super) fn outcomes(
    nacl: &Nacl,
    packet: &Packet,
    ports: Option<&RangeInclusive<u16>>,
) -> Vec<Outcome> {
    let Some(ports) = ports else {
        let verdict = nacl.evaluate(packet);
        return vec![Outcome {
            ports: None,
            action: verdict.action.as_str(),
            rule_number: verdict.rule_number,
        }];
    };
    let mut starts = BTreeSet::from([*ports.start()]);
    for rule in nacl.rules(packet.direction) {
        if let Some(own) = &rule.ports {
            starts.insert(*own.start());
            starts.extend(own.end().checked_add(1));
        }
    }
    let starts: Vec<u16> = starts
        .into_iter()
        .filter(|start| ports.contains(start))
        .collect();
    let mut parts: Vec<(RangeInclusive<u16>, Verdict)> = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(*ports.end(), |next| next - 1);
        let verdict = nacl.evaluate(&Packet {
            dst_port: Some(*start),
            ..*packet
        });
        match parts.last_mut().filter(|(_, last)| *last == verdict) {
            Some((part, _)) => *part = *part.start()..=end,
            None => parts.push((*start..=end, verdict)),
        }
    }
    parts
        .into_iter()
        .map(|(ports, verdict)| Outcome {
            ports: Some(ports_words(&ports)),
            action: verdict.action.as_str(),
            rule_number: verdict.rule_number,
        })
        .collect()
}

/// Rule by rule, until nothing is left to decide.
pub(super) fn trace(
    nacl: &Nacl,
    packet: &Packet,
    ports: Option<&RangeInclusive<u16>>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let family = Family::of(packet.remote);
    for rule in nacl.rules(packet.direction) {
        if Family::of_net(&rule.cidr) != family {
            continue;
        }
        let (says, decides) = against(rule, packet, ports);
        lines.push(format!("{}: {says}", rule_words(rule, packet.direction)));
        if decides {
            return lines;
        }
    }
    lines.push("rule * denies whatever no rule matches: decides the rest".to_owned());
    lines
}

/// What a rule says to a packet, and whether that settles it.
fn against(rule: &Rule, packet: &Packet, ports: Option<&RangeInclusive<u16>>) -> (String, bool) {
    if rule
        .protocol
        .is_some_and(|protocol| protocol != packet.protocol)
    {
        let protocol = protocol_words(Some(packet.protocol));
        return (format!("no match, the packet is {protocol}"), false);
    }
    if !rule.cidr.contains(&packet.remote) {
        return (format!("no match, {} is not in it", packet.remote), false);
    }
    let (Some(own), Some(ports)) = (&rule.ports, ports) else {
        return match rule.matches(packet) {
            Match::Maybe => (
                "may match: flow logs do not record the ICMP type".to_owned(),
                false,
            ),
            _ => ("matches and decides".to_owned(), true),
        };
    };
    let common = *own.start().max(ports.start())..=*own.end().min(ports.end());
    if common.is_empty() {
        return (
            format!("no match, the port is {}", ports_words(ports)),
            false,
        );
    }
    match common == *ports {
        true => ("matches and decides".to_owned(), true),
        false => (
            format!("matches and decides ports {} only", ports_words(&common)),
            false,
        ),
    }
}
