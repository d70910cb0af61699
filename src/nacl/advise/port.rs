//! Advice on one port of one ACL: narrow the allow to those who use it, or deny those who knock in vain.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{AdviseSettings, Attempts, Knock, Piece, WIDER_BY};
use crate::nacl::aggregate::{aggregate, block};
use crate::nacl::{
    Began, Block, Change, Direction, IMPLICIT_DENY_V4, Nacl, Observed, Quota, Rule, Step,
    rule_words,
};

/// What advice on one port is made from.
pub(super) struct Advisor<'a> {
    pub(super) nacl: &'a Nacl,
    pub(super) vpc: &'a [IpNet],
    pub(super) observed: &'a [Observed],
    pub(super) settings: &'a AdviseSettings,
    pub(super) knock: Knock,
    pub(super) attempts: &'a Attempts,
}

impl Advisor<'_> {
    /// Accepted packets into the ACL's subnets, of the port's protocol and family.
    fn accepted(&self) -> impl Iterator<Item = &Observed> {
        self.observed.iter().filter(|record| {
            let is_into = record.edges.iter().any(|edge| {
                edge.direction == Direction::Ingress
                    && self.nacl.subnet_ids.contains(&edge.subnet_id)
            });
            record.refused.is_none()
                && record.protocol == self.knock.protocol
                && record.src.is_ipv6() == self.knock.is_v6
                && is_into
        })
    }

    fn change(&self, step: Step) -> Change {
        Change {
            nacl_id: Arc::clone(&self.nacl.id),
            direction: Direction::Ingress,
            step,
        }
    }

    fn rule(&self, number: u16, cidr: IpNet, allows: bool) -> Rule {
        Rule {
            number,
            protocol: Some(self.knock.protocol),
            cidr,
            ports: Some(self.knock.port..=self.knock.port),
            icmp: None,
            allows,
        }
    }

    fn free(&self) -> usize {
        let family = self.knock.family();
        self.settings
            .quota
            .free(self.nacl, Direction::Ingress, family)
    }

    /// What let how many in, from how many.
    fn seen(&self) -> String {
        let days = self.attempts.days.len();
        format!(
            "{} attempts on {} from {} addresses on {days} {} were let in by {} and refused by security groups only",
            self.attempts.count(),
            self.knock.words(),
            self.attempts.sources.len(),
            if days == 1 { "day" } else { "days" },
            self.culprits()
        )
    }

    fn culprits(&self) -> String {
        let rules = self.attempts.rules.iter();
        let words: Vec<String> = rules
            .map(|number| match self.nacl.rule(Direction::Ingress, *number) {
                Some(rule) => rule_words(rule, Direction::Ingress),
                None => format!("rule {number}"),
            })
            .collect();
        words.join(", ")
    }

    /// Allows the port to those who use it, and to nobody else.
    pub(super) fn narrow(&self, tried: &mut Vec<String>) -> Option<Piece> {
        let port = self.knock.port;
        let mut rules = self.attempts.rules.iter();
        let (Some(number), None) = (rules.next(), rules.next()) else {
            return None;
        };
        let rule = self.nacl.rule(Direction::Ingress, *number)?;
        if port >= 1024 && self.accepted().any(|record| record.began == Began::Dst) {
            tried.push(format!(
                "the port cannot be closed to everybody, since {port} is also a port that clients in these subnets are answered on"
            ));
            return None;
        }
        let users: Vec<&Observed> = self
            .accepted()
            .filter(|record| record.began != Began::Dst && record.dst_port == Some(port))
            .collect();
        // What a NAT gateway drops is no use of the port.
        if users.iter().any(|user| user.is_absorbed) {
            return None;
        }
        let (inside, outside): (Vec<&Observed>, Vec<&Observed>) = users
            .iter()
            .partition(|user| self.vpc.iter().any(|net| net.contains(&user.src)));
        let mut keep: Vec<IpNet> = self
            .vpc
            .iter()
            .filter(|net| inside.iter().any(|user| net.contains(&user.src)))
            .copied()
            .collect();
        let outside: BTreeMap<IpAddr, u64> = outside.iter().map(|user| (user.src, 1)).collect();
        let sources: Vec<IpAddr> = self.attempts.sources.keys().copied().collect();
        let (widest4, widest6) = (self.settings.widest4, self.settings.widest6);
        let blocks = aggregate(&outside, &sources, widest4, widest6);
        let held: usize = blocks.iter().map(|block| block.addresses).sum();
        if held < outside.len() {
            // Somebody is let in here and refused there.
            return None;
        }
        keep.extend(blocks.iter().map(|block| block.cidr));
        if keep.len() > self.settings.most_blocks {
            tried.push(format!(
                "{} is used from {} blocks",
                self.knock.words(),
                keep.len()
            ));
            return None;
        }
        let used = match keep.is_empty() {
            true => "nobody was accepted on that port".to_owned(),
            false => {
                let cidrs: Vec<String> = keep.iter().map(ToString::to_string).collect();
                format!(
                    "all that was accepted on that port came from {}",
                    cidrs.join(", ")
                )
            }
        };
        let is_for_port_alone =
            rule.protocol == Some(self.knock.protocol) && rule.ports == Some(port..=port);
        let reason = |what: &str| format!("{what}: {}; {used}", self.seen());
        let mut piece = Vec::new();
        if is_for_port_alone {
            let Some((first, others)) = keep.split_first() else {
                piece.push((
                    self.change(Step::Delete(*number)),
                    reason("the allow is not used"),
                ));
                return Some(piece);
            };
            if others.len() > self.free() {
                tried.push(self.full());
                return None;
            }
            let numbers = self.numbers_after(*number, others.len())?;
            let narrower = Rule {
                cidr: *first,
                ..rule.clone()
            };
            piece.push((
                self.change(Step::Replace(narrower)),
                reason("narrows the allow"),
            ));
            for (number, cidr) in numbers.into_iter().zip(others) {
                let step = Step::Add(self.rule(number, *cidr, true));
                piece.push((self.change(step), reason("narrows the allow")));
            }
            return Some(piece);
        }
        if keep.len() + 1 > self.free() {
            tried.push(self.full());
            return None;
        }
        let Some(numbers) = self.numbers_before(*number, keep.len() + 1) else {
            tried.push(format!(
                "no number is free right before rule {number}: give it a higher one first"
            ));
            return None;
        };
        let last = *numbers.last()?;
        for (number, cidr) in numbers.iter().zip(&keep) {
            let step = Step::Add(self.rule(*number, *cidr, true));
            piece.push((
                self.change(step),
                reason(&format!("stays open before rule {last} closes the port")),
            ));
        }
        let step = Step::Add(self.rule(last, rule.cidr, false));
        piece.push((
            self.change(step),
            reason("closes a port that is open to all"),
        ));
        Some(piece)
    }

    /// Denies the sources, in the fewest blocks that hold no accepted one.
    pub(super) fn deny(&self, tried: &mut Vec<String>) -> Option<Piece> {
        let port = self.knock.port;
        let accepted: Vec<IpAddr> = self
            .accepted()
            .filter(|record| record.dst_port == Some(port))
            .map(|record| record.src)
            .collect();
        let free = self.free();
        if free == 0 {
            tried.push(self.full());
            return None;
        }
        let first = *self.attempts.rules.first()?;
        let mut blocks: Vec<Block> = Vec::new();
        let mut wider = 0;
        while wider <= WIDER_BY {
            let widest4 = self.settings.widest4.saturating_sub(wider);
            let widest6 = self.settings.widest6.saturating_sub(wider);
            blocks = aggregate(&self.attempts.sources, &accepted, widest4, widest6);
            self.retain_worth_a_rule(&mut blocks, widest4, widest6);
            if blocks.len() <= free {
                break;
            }
            wider += 4;
        }
        if blocks.is_empty() {
            tried.push(format!(
                "no block without an accepted source made {} attempts",
                self.settings.rule_attempts
            ));
            return None;
        }
        let covered: u64 = blocks.iter().map(|block| block.weight).sum();
        if covered * 2 < self.attempts.count() {
            tried.push(format!(
                "the sources are scattered, or accepted, too: blocks that are worth a rule made {covered} of the attempts"
            ));
            return None;
        }
        blocks.sort_by_key(|block| std::cmp::Reverse(block.weight));
        let all = blocks.len();
        blocks.truncate(free);
        let Some(numbers) = self.room_before(first, blocks.len()) else {
            tried.push(format!(
                "{} numbers are not free before rule {first}: give it a higher one first",
                blocks.len()
            ));
            return None;
        };
        blocks.sort_by_key(|block| block.cidr);
        let covered: u64 = blocks.iter().map(|block| block.weight).sum();
        let rest = match (self.attempts.count() - covered, all - blocks.len()) {
            (0, _) => String::new(),
            (left, 0) => format!(
                "; {left} further attempts are from sources that were accepted, too, or too few for a rule"
            ),
            (left, dropped) => format!(
                "; {left} further attempts are not covered, {dropped} blocks of them for lack of rules ({})",
                self.full()
            ),
        };
        let widened = match wider {
            0 => String::new(),
            _ => "; blocks are wider than usual, to stay within the quota".to_owned(),
        };
        let piece = numbers.into_iter().zip(&blocks).map(|(number, block)| {
            let reason = format!(
                "{} of {}; no accepted flow to that port came from this block; it holds {} of the sources and adds {} addresses{widened}{rest}",
                block.weight,
                self.seen(),
                block.addresses,
                block.added()
            );
            let step = Step::Add(self.rule(number, block.cidr, false));
            (self.change(step), reason)
        });
        Some(piece.collect())
    }

    /// Drops blocks that too few attempts came from. A splinter, that an accepted source cuts off from a block that stays, stays with it
    /// from a hundredth of all attempts on: the one attack would go on from there.
    fn retain_worth_a_rule(&self, blocks: &mut Vec<Block>, widest4: u8, widest6: u8) {
        let around = |one: &Block| {
            let bits = if self.knock.is_v6 { widest6 } else { widest4 };
            block(one.cidr.addr(), bits.min(one.cidr.prefix_len()))
        };
        let is_worth = |block: &Block| block.weight >= self.settings.rule_attempts;
        let around_worthy: HashSet<IpNet> = blocks
            .iter()
            .filter(|block| is_worth(block))
            .map(around)
            .collect();
        let all = self.attempts.count();
        blocks.retain(|block| {
            let is_splinter = block.weight * 100 >= all && around_worthy.contains(&around(block));
            is_worth(block) || is_splinter
        });
    }

    /// What to do about a list that is full.
    fn full(&self) -> String {
        let family = self.knock.family();
        let used = Quota::used(self.nacl, Direction::Ingress, family);
        let rules = &self.nacl.ingress;
        let hidden: Vec<String> = (1..rules.len())
            .filter(|at| {
                rules[..*at]
                    .iter()
                    .any(|earlier| covers(earlier, &rules[*at]))
            })
            .map(|at| rules[at].number.to_string())
            .collect();
        let hit = self.hit();
        let unused: Vec<String> = rules
            .iter()
            .filter(|rule| rule.allows && !hit.contains(&rule.number))
            .map(|rule| rule.number.to_string())
            .collect();
        let mut words = format!(
            "{used} of {} ingress rules are taken, the implicit deny counted",
            self.settings.quota.0
        );
        if !hidden.is_empty() {
            words.push_str(&format!(
                "; earlier rules cover {}: drop",
                hidden.join(", ")
            ));
        }
        if !unused.is_empty() {
            words.push_str(&format!(
                "; no flow of the window meets {}: check and drop",
                unused.join(", ")
            ));
        }
        if let Some((one, other)) = siblings(rules) {
            words.push_str(&format!("; rules {one} and {other} can be merged into one"));
        }
        words
    }

    /// The rules that some packet into these subnets meets first.
    fn hit(&self) -> HashSet<u16> {
        let packets = self.observed.iter().filter(|record| {
            record.edges.iter().any(|edge| {
                edge.direction == Direction::Ingress
                    && self.nacl.subnet_ids.contains(&edge.subnet_id)
            })
        });
        packets
            .map(|record| {
                self.nacl
                    .evaluate(&record.packet(Direction::Ingress))
                    .rule_number
            })
            .collect()
    }

    /// Numbers right before a rule, with room between them where there is some.
    fn numbers_before(&self, number: u16, count: usize) -> Option<Vec<u16>> {
        let before = self.nacl.ingress.iter().map(|rule| rule.number);
        let previous = before.filter(|other| *other < number).max().unwrap_or(0);
        spread(previous, number, count)
    }

    /// Numbers before a rule, in the widest gap, of several the nearest.
    fn room_before(&self, number: u16, count: usize) -> Option<Vec<u16>> {
        let mut taken: Vec<u16> = vec![0];
        let rules = self.nacl.ingress.iter().map(|rule| rule.number);
        taken.extend(rules.filter(|other| *other <= number));
        let gaps = taken.windows(2).map(|gap| (gap[0], gap[1]));
        let (after, before) = gaps.max_by_key(|(after, before)| before - after)?;
        spread(after, before, count)
    }

    /// Free numbers after a rule and before the next.
    fn numbers_after(&self, number: u16, count: usize) -> Option<Vec<u16>> {
        let after = self.nacl.ingress.iter().map(|rule| rule.number);
        let next = after
            .filter(|other| *other > number)
            .min()
            .unwrap_or(IMPLICIT_DENY_V4);
        let count = u16::try_from(count).ok()?;
        (next - number > count).then(|| (1..=count).map(|step| number + step).collect())
    }
}

/// So many numbers between two, at most ten apart.
fn spread(after: u16, before: u16, count: usize) -> Option<Vec<u16>> {
    let count = u16::try_from(count).ok()?;
    let step = (before.checked_sub(after)? / (count + 1)).min(10);
    (step > 0).then(|| (1..=count).map(|index| after + step * index).collect())
}

/// Whether a rule leaves nothing for a later one.
fn covers(earlier: &Rule, later: &Rule) -> bool {
    let protocol = earlier.protocol.is_none() || earlier.protocol == later.protocol;
    let ports = match (&earlier.ports, &later.ports) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => {
            earlier.contains(later.start()) && earlier.contains(later.end())
        }
    };
    let icmp = earlier.icmp.is_none() || earlier.icmp == later.icmp;
    protocol && ports && icmp && earlier.cidr.contains(&later.cidr)
}

/// Two rules that follow one another, do the same and are halves of one block.
fn siblings(rules: &[Rule]) -> Option<(u16, u16)> {
    rules.windows(2).find_map(|pair| {
        let (one, other) = (&pair[0], &pair[1]);
        let bits = one.cidr.prefix_len();
        let parent = |rule: &Rule| block(rule.cidr.addr(), bits.saturating_sub(1));
        let is_same = one.allows == other.allows
            && (one.protocol, &one.ports, one.icmp) == (other.protocol, &other.ports, other.icmp);
        let are_halves =
            bits == other.cidr.prefix_len() && bits > 0 && parent(one) == parent(other);
        (is_same && are_halves).then_some((one.number, other.number))
    })
}
