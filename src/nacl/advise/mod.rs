//! Advice out of refused traffic: what an ACL let in and only security groups stopped is stopped at the subnet's edge instead.
//!
//! ```text
//! attempts by port ──> is a rule for this port alone too wide, or is the port used by few? ──> narrow the allow
//!                      else ──> deny the sources, in the fewest blocks without an accepted one, before the rule that let them in
//! each ──> replay: denies an accepted flow? then it is not advised
//! ```
//!
//! ACLs are stateless: a port that clients inside may be answered on is never closed to everybody. What the ACL denies already is
//! contained, and attempts of our own machines are a matter of the client or of the security group; both are said, not advised.

mod port;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use chrono::NaiveDate;
use ipnet::IpNet;

use self::port::Advisor;
use super::{
    Action, Began, Change, Direction, Guarded, Nacl, Numbers, Observed, Quota, Refusal, Rule, Step,
    protocol_words, replay,
};
use crate::topology::Family;

/// What a piece of advice must have for it.
#[derive(Debug, Clone, Copy)]
pub struct AdviseSettings {
    /// Attempts on a port, below which nothing is advised.
    pub min_attempts: u64,
    /// Days on which there were some.
    pub min_days: u64,
    /// Attempts that a deny must have stopped to be worth a rule.
    pub rule_attempts: u64,
    /// AWS's quota.
    pub quota: Quota,
    /// No block of IPv4 sources is wider than this many bits, unless the quota asks for it.
    pub widest4: u8,
    /// The same for IPv6.
    pub widest6: u8,
    /// An allow is narrowed to so many blocks at most.
    pub most_blocks: usize,
    /// Accepted flows that a piece of advice may deny.
    pub allow_denied: u64,
}

/// Blocks grow to here, and no further, where rules are short.
const WIDER_BY: u8 = 8;

/// A change, why, and what it would have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advised {
    /// The change.
    pub change: Change,
    /// The rule that goes or is replaced.
    pub was: Option<Rule>,
    /// Why, in words.
    pub reason: String,
    /// What it would have done to the window, with the other changes of the same piece of advice.
    pub numbers: Numbers,
}

/// Advice for one ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The ACL.
    pub nacl_id: Arc<str>,
    /// The changes, in the order in which they are made.
    pub advised: Vec<Advised>,
    /// What was seen and not advised, and why.
    pub notes: Vec<String>,
}

/// What attempts are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Knock {
    protocol: u8,
    port: u16,
    is_v6: bool,
}

impl Knock {
    fn words(self) -> String {
        let family = if self.is_v6 { " over IPv6" } else { "" };
        format!(
            "{} {}{family}",
            protocol_words(Some(self.protocol)),
            self.port
        )
    }

    fn family(self) -> Family {
        if self.is_v6 { Family::V6 } else { Family::V4 }
    }
}

/// The attempts on a port.
#[derive(Debug, Default)]
struct Attempts {
    /// From outside, by source.
    sources: BTreeMap<IpAddr, u64>,
    days: BTreeSet<NaiveDate>,
    /// The rules that let them in.
    rules: BTreeSet<u16>,
    /// From our own machines.
    ours: BTreeMap<IpAddr, u64>,
}

impl Attempts {
    fn count(&self) -> u64 {
        self.sources.values().sum()
    }
}

/// A piece of advice: changes that only make sense together, each with its reason.
type Piece = Vec<(Change, String)>;

/// Advises changes of one ACL. `observed` are all records that cross the edges of its subnets, `within` the subnets whose attempts
/// are looked at; `vpc` are the CIDRs of its VPC.
pub fn advise(
    guarded: &Guarded,
    nacl: &Nacl,
    vpc: &[IpNet],
    observed: &[Observed],
    within: &HashSet<Arc<str>>,
    settings: &AdviseSettings,
) -> Advice {
    let mut notes = Vec::new();
    let mut advised = Vec::new();
    let mut current = nacl.clone();
    for (knock, attempts) in attempts(nacl, observed, within, &mut notes) {
        if let Some((most, _)) = attempts.ours.iter().max_by_key(|(_, count)| **count) {
            let count: u64 = attempts.ours.values().sum();
            if count >= settings.min_attempts {
                notes.push(format!(
                    "{count} attempts on {} come from our own machines ({most} most): stop the client, or open the security group on purpose",
                    knock.words()
                ));
            }
        }
        let count = attempts.count();
        if count < settings.min_attempts {
            continue;
        }
        let days = attempts.days.len() as u64;
        if days < settings.min_days {
            notes.push(format!(
                "{count} attempts on {} were all on {days} days: fewer than are asked for",
                knock.words()
            ));
            continue;
        }
        let advisor = Advisor {
            nacl: &current,
            vpc,
            observed,
            settings,
            knock,
            attempts: &attempts,
        };
        let mut tried = Vec::new();
        let mut found = None;
        for piece in [advisor.narrow(&mut tried), advisor.deny(&mut tried)] {
            let Some(piece) = piece else { continue };
            let before = guarded.clone().with(current.clone());
            let changes = piece.iter().map(|(change, _)| change);
            let Ok(after) = current.with_all(changes) else {
                continue;
            };
            let replays = replay(&before, &guarded.clone().with(after.clone()), observed);
            let Some(replayed) = replays.first() else {
                continue;
            };
            let numbers = replayed.numbers();
            if numbers.accepted_flows_denied > settings.allow_denied
                || replayed.accepted_flows_undecidable > 0
            {
                tried.push(format!(
                    "it would have denied {} accepted flows",
                    numbers.accepted_flows_denied
                ));
                continue;
            }
            if numbers.rejected_flows_matched == 0 {
                continue;
            }
            found = Some((piece, after, numbers));
            break;
        }
        let Some((piece, after, numbers)) = found else {
            let why = match tried.is_empty() {
                true => "no rule would have stopped them".to_owned(),
                false => tried.join("; "),
            };
            notes.push(format!(
                "{count} attempts on {} and no advice: {why}",
                knock.words()
            ));
            continue;
        };
        let is_single = |change: &Change| matches!(&change.step, Step::Add(rule) if !rule.allows);
        let are_denies = piece.iter().all(|(change, _)| is_single(change));
        for (change, reason) in piece {
            // Denies stand each for itself; an allow and the deny behind it do not.
            let own = are_denies.then(|| {
                let before = guarded.clone().with(current.clone());
                let after = current.with(&change).ok()?;
                let replays = replay(&before, &guarded.clone().with(after), observed);
                replays.first().map(super::NaclReplay::numbers)
            });
            let was = match change.step {
                Step::Add(_) => None,
                _ => current
                    .rule(change.direction, change.step.number())
                    .cloned(),
            };
            advised.push(Advised {
                was,
                reason,
                numbers: own.flatten().unwrap_or(numbers),
                change,
            });
        }
        current = after;
    }
    Advice {
        nacl_id: Arc::clone(&nacl.id),
        advised,
        notes,
    }
}

/// The attempts that the ACL let in and only security groups stopped, the most first; what is not to be advised is noted.
fn attempts(
    nacl: &Nacl,
    observed: &[Observed],
    within: &HashSet<Arc<str>>,
    notes: &mut Vec<String>,
) -> Vec<(Knock, Attempts)> {
    let mut found: BTreeMap<Knock, Attempts> = BTreeMap::new();
    let (mut contained, mut outward) = (0, 0);
    for record in observed.iter().filter(|record| record.refused.is_some()) {
        let Some(edge) = record
            .edges
            .iter()
            .find(|edge| within.contains(&edge.subnet_id))
        else {
            continue;
        };
        match record.refused {
            Some(Refusal::Nacl) => {
                contained += record.flows;
                continue;
            }
            Some(Refusal::SecurityGroup) => {}
            _ => continue,
        }
        if edge.direction == Direction::Egress {
            outward += record.flows;
            continue;
        }
        let (Began::Src, Some(port)) = (record.began, record.service_port) else {
            continue;
        };
        let verdict = nacl.evaluate(&record.packet(Direction::Ingress));
        if verdict.action == Action::Deny {
            contained += record.flows;
            continue;
        }
        let knock = Knock {
            protocol: record.protocol,
            port,
            is_v6: record.src.is_ipv6(),
        };
        let attempts = found.entry(knock).or_default();
        if record.from_ours {
            *attempts.ours.entry(record.src).or_default() += record.flows;
            continue;
        }
        attempts.rules.insert(verdict.rule_number);
        attempts.days.insert(record.first.date_naive());
        *attempts.sources.entry(record.src).or_default() += record.flows;
    }
    if contained > 0 {
        notes.push(format!(
            "{contained} rejected flows are contained: this ACL denies them already"
        ));
    }
    if outward > 0 {
        notes.push(format!(
            "{outward} flows of our own machines were refused by security groups on their way out: find what they try to reach"
        ));
    }
    let mut found: Vec<(Knock, Attempts)> = found.into_iter().collect();
    found.sort_by_key(|(_, attempts)| std::cmp::Reverse(attempts.count()));
    found
}
