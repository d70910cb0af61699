//! Advice on one port of one ACL, in one direction: narrow the allow to those who use it, or deny those who knock in vain, or are knocked at.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::needed::Needed;
use super::seen::{Attempts, Knock};
use super::{AdviseSettings, Piece, WIDER_BY};
use crate::nacl::aggregate::{aggregate, block};
use crate::nacl::crossing::Crossing;
use crate::nacl::{
    Began, Block, Change, Direction, IMPLICIT_DENY_V4, Nacl, Quota, Rule, Step, rule_words,
};

/// What advice on one port is made from.
pub(super) struct Advisor<'a> {
    pub(super) nacl: &'a Nacl,
    pub(super) vpc: &'a [IpNet],
    /// Accepted packets at the edges of the ACL's subnets.
    pub(super) crossings: &'a [Crossing<'a>],
    pub(super) settings: &'a AdviseSettings,
    pub(super) knock: Knock,
    pub(super) attempts: &'a Attempts,
}

/// What the other end of packets is called.
struct Ends {
    one: &'static str,
    many: &'static str,
    /// Where accepted packets came from or went to.
    accepted: &'static str,
    /// How rules let them pass.
    let_pass: &'static str,
}

impl<'a> Advisor<'a> {
    fn ends(&self) -> Ends {
        match self.knock.direction {
            Direction::Ingress => Ends {
                one: "source",
                many: "sources",
                accepted: "came from",
                let_pass: "let in",
            },
            Direction::Egress => Ends {
                one: "destination",
                many: "destinations",
                accepted: "went to",
                let_pass: "let out",
            },
        }
    }

    /// The rules of the direction, by number.
    fn rules(&self) -> &[Rule] {
        self.nacl.rules(self.knock.direction)
    }

    /// Those of the port's direction, protocol and family.
    fn accepted(&self) -> impl Iterator<Item = &Crossing<'a>> {
        self.crossings.iter().filter(|Crossing { packet, .. }| {
            packet.direction == self.knock.direction
                && packet.protocol == self.knock.protocol
                && packet.remote.is_ipv6() == self.knock.is_v6
        })
    }

    fn change(&self, step: Step) -> Change {
        Change {
            nacl_id: Arc::clone(&self.nacl.id),
            direction: self.knock.direction,
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
            .free(self.nacl, self.knock.direction, family)
    }

    /// What let how many pass, from or to how many.
    fn seen(&self) -> String {
        let (count, strangers) = (self.attempts.count(), self.attempts.strangers.len());
        let of_whom = match self.knock.direction {
            Direction::Ingress => format!("from {strangers} addresses"),
            Direction::Egress => {
                let most = self.attempts.clients.most();
                format!("of {strangers} addresses by our own machines ({most} most)")
            }
        };
        let days = match self.attempts.days.len() {
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        format!(
            "{count} attempts on {} {of_whom} on {days} were {} by {} and refused by security groups only",
            self.knock.words(),
            self.ends().let_pass,
            self.culprits()
        )
    }

    fn culprits(&self) -> String {
        let direction = self.knock.direction;
        let rules = self.attempts.rules.iter();
        let words: Vec<String> = rules
            .map(|number| match self.nacl.rule(direction, *number) {
                Some(rule) => rule_words(rule, direction),
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
        let rule = self.nacl.rule(self.knock.direction, *number)?;
        if port >= 1024
            && self
                .accepted()
                .any(|crossing| crossing.record.began == Began::Dst)
        {
            let clients = match self.knock.direction {
                Direction::Ingress => "clients in these subnets",
                Direction::Egress => "clients of these subnets",
            };
            tried.push(format!(
                "the port cannot be closed to everybody, since {port} is also a port that {clients} are answered on"
            ));
            return None;
        }
        let users: Vec<&Crossing<'_>> = self
            .accepted()
            .filter(|crossing| {
                crossing.record.began != Began::Dst && crossing.packet.dst_port == Some(port)
            })
            .collect();
        // What a NAT gateway drops is no use of the port.
        if users.iter().any(|user| user.record.is_absorbed) {
            return None;
        }
        let remotes: BTreeSet<IpAddr> = users.iter().map(|user| user.packet.remote).collect();
        let (inside, outside): (Vec<IpAddr>, Vec<IpAddr>) = remotes
            .iter()
            .partition(|remote| self.vpc.iter().any(|net| net.contains(*remote)));
        let mut keep: Vec<IpNet> = self
            .vpc
            .iter()
            .filter(|net| inside.iter().any(|remote| net.contains(remote)))
            .copied()
            .collect();
        let outside: BTreeMap<IpAddr, u64> =
            outside.into_iter().map(|remote| (remote, 1)).collect();
        let strangers: Vec<IpAddr> = self.attempts.strangers.keys().copied().collect();
        let (widest4, widest6) = (self.settings.widest4, self.settings.widest6);
        let blocks = aggregate(&outside, &strangers, widest4, widest6);
        let held: usize = blocks.iter().map(|block| block.addresses).sum();
        if held < outside.len() {
            // Somebody is let in here and refused there.
            return None;
        }
        keep.extend(blocks.iter().map(|block| block.cidr));
        if keep.len() > self.settings.most_blocks {
            tried.push(format!(
                "what was accepted on {} {} {} blocks",
                self.knock.words(),
                self.ends().accepted,
                keep.len()
            ));
            return None;
        }
        let used = match keep.is_empty() {
            true => "nobody was accepted on that port".to_owned(),
            false => {
                let cidrs: Vec<String> = keep.iter().map(ToString::to_string).collect();
                format!(
                    "all that was accepted on that port {} {}",
                    self.ends().accepted,
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
        let (port, ends) = (self.knock.port, self.ends());
        let accepted: Vec<IpAddr> = self
            .accepted()
            .filter(|crossing| crossing.packet.dst_port == Some(port))
            .map(|crossing| crossing.packet.remote)
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
            blocks = aggregate(&self.attempts.strangers, &accepted, widest4, widest6);
            self.retain_worth_a_rule(&mut blocks, widest4, widest6);
            if blocks.len() <= free {
                break;
            }
            wider += 4;
        }
        if blocks.is_empty() {
            tried.push(format!(
                "no block without an accepted {} has {} of the attempts",
                ends.one, self.settings.rule_attempts
            ));
            return None;
        }
        let covered: u64 = blocks.iter().map(|block| block.weight).sum();
        if covered * 2 < self.attempts.count() {
            tried.push(format!(
                "the {} are scattered, or accepted, too: blocks that are worth a rule have {covered} of the attempts",
                ends.many
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
                "; {left} further attempts are of {} that were accepted, too, or too few for a rule",
                ends.many
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
                "{} of {}; no accepted flow to that port {} this block; it holds {} of the {} and adds {} addresses{widened}{rest}",
                block.weight,
                self.seen(),
                ends.accepted,
                block.addresses,
                ends.many,
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
        let direction = self.knock.direction;
        let used = Quota::used(self.nacl, direction, family);
        let rules = self.rules();
        let hidden: Vec<String> = (1..rules.len())
            .filter(|at| {
                rules[..*at]
                    .iter()
                    .any(|earlier| covers(earlier, &rules[*at]))
            })
            .map(|at| rules[at].number.to_string())
            .collect();
        let needed = Needed::of(self.nacl, self.crossings);
        let unneeded: Vec<String> = needed
            .unneeded_allows(self.nacl)
            .filter(|(of, _)| *of == direction)
            .map(|(_, rule)| rule.number.to_string())
            .collect();
        let mut words = format!(
            "{used} of {} {} rules are taken, the implicit deny counted",
            self.settings.quota.0,
            direction.as_str()
        );
        if !hidden.is_empty() {
            words.push_str(&format!(
                "; earlier rules cover {}: drop",
                hidden.join(", ")
            ));
        }
        if !unneeded.is_empty() {
            words.push_str(&format!(
                "; no accepted flow of the window needed {}: check and drop",
                unneeded.join(", ")
            ));
        }
        if let Some((one, other)) = siblings(rules) {
            words.push_str(&format!("; rules {one} and {other} can be merged into one"));
        }
        words
    }

    /// Numbers right before a rule, with room between them where there is some.
    fn numbers_before(&self, number: u16, count: usize) -> Option<Vec<u16>> {
        let before = self.rules().iter().map(|rule| rule.number);
        let previous = before.filter(|other| *other < number).max().unwrap_or(0);
        spread(previous, number, count)
    }

    /// Numbers before a rule, in the widest gap, of several the nearest.
    fn room_before(&self, number: u16, count: usize) -> Option<Vec<u16>> {
        let mut taken: Vec<u16> = vec![0];
        let rules = self.rules().iter().map(|rule| rule.number);
        taken.extend(rules.filter(|other| *other <= number));
        let gaps = taken.windows(2).map(|gap| (gap[0], gap[1]));
        let (after, before) = gaps.max_by_key(|(after, before)| before - after)?;
        spread(after, before, count)
    }

    /// Free numbers after a rule and before the next.
    fn numbers_after(&self, number: u16, count: usize) -> Option<Vec<u16>> {
        let after = self.rules().iter().map(|rule| rule.number);
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
