//! Rules in words, for a reader.

use std::ops::RangeInclusive;

use super::{Direction, ICMP, ICMPV6, Rule, TCP, UDP};

/// `rule 100 allows tcp 443 from 0.0.0.0/0`; the implicit deny is rule `*`.
pub fn rule_words(rule: &Rule, direction: Direction) -> String {
    let toward = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    let does = if rule.allows { "allows" } else { "denies" };
    format!(
        "rule {} {does} {}{} {toward} {}",
        number_words(rule.number),
        protocol_words(rule.protocol),
        detail(rule),
        rule.cidr
    )
}

/// The number, `*` for the implicit deny.
pub fn number_words(number: u16) -> String {
    match number {
        super::IMPLICIT_DENY_V4 | super::IMPLICIT_DENY_V6 => "*".to_owned(),
        number => number.to_string(),
    }
}

fn detail(rule: &Rule) -> String {
    match (rule.icmp, &rule.ports) {
        (Some((kind, -1)), _) => format!(" type {kind}"),
        (Some((kind, code)), _) => format!(" type {kind} code {code}"),
        (None, Some(ports)) => format!(" {}", ports_words(ports)),
        (None, None) => String::new(),
    }
}

/// `443`, or `1024-65535`.
pub fn ports_words(ports: &RangeInclusive<u16>) -> String {
    match (ports.start(), ports.end()) {
        (from, to) if from == to => from.to_string(),
        (from, to) => format!("{from}-{to}"),
    }
}

/// `tcp`, `all traffic`, `protocol 47`.
pub fn protocol_words(protocol: Option<u8>) -> String {
    match protocol {
        None => "all traffic".to_owned(),
        Some(TCP) => "tcp".to_owned(),
        Some(UDP) => "udp".to_owned(),
        Some(ICMP) => "icmp".to_owned(),
        Some(ICMPV6) => "icmpv6".to_owned(),
        Some(number) => format!("protocol {number}"),
    }
}
