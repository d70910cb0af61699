//! Advice out of refused traffic: what an ACL let in and only security groups stopped is stopped at the subnet's edge instead.
//!
//! ```text
//! attempts by port ──> is a rule for this port alone too wide, or is the port used by few? ──> narrow the allow
//!                      else ──> deny the sources, in the fewest blocks without an accepted one, before the rule that let them in
//! each ──> replay: denies an accepted flow? then it is not advised
//! ```
//!
//! Attempts from outside come in; what our own machines try and their security groups refuse goes out, to the internet. ACLs are stateless:
//! a port that clients may be answered on is never closed to everybody. What the ACL denies already is contained, and attempts of our own
//! machines on our own networks are a matter of the client or of the security group; both are said, not advised. So are allows that nothing
//! needed: a window that does not show their use is no proof that they have none.

mod needed;
mod port;
mod seen;

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;

use self::needed::Needed;
use self::port::Advisor;
use self::seen::Seen;
use super::crossing::accepted;
use super::{
    Change, Direction, Guarded, Nacl, NaclReplay, Numbers, Observed, Quota, Rule, Step, replay,
    rule_words,
};

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
    /// The allows that no accepted flow of the window needed, each in words; `None` where no flow was accepted, which is no ground to say so.
    pub unneeded: Option<Vec<String>>,
}

/// A piece of advice: changes that only make sense together, each with its reason.
type Piece = Vec<(Change, String)>;

/// Advises changes of one ACL. `observed` are all records that cross the edges of its subnets or were refused where packets of theirs came in,
/// `within` the subnets whose attempts are looked at; `vpc` are the CIDRs of its VPC.
pub fn advise(
    guarded: &Guarded,
    nacl: &Nacl,
    vpc: &[IpNet],
    observed: &[Observed],
    within: &HashSet<Arc<str>>,
    settings: &AdviseSettings,
) -> Advice {
    let seen = Seen::of(nacl, observed, within);
    let accepted = accepted(nacl, observed);
    let mut notes = seen.notes(settings.min_attempts);
    let mut advised: Vec<Advised> = Vec::new();
    let mut current = nacl.clone();
    for (knock, attempts) in seen.most_first() {
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
            crossings: &accepted,
            settings,
            knock,
            attempts,
        };
        let mut tried = Vec::new();
        let pieces = [advisor.narrow(&mut tried), advisor.deny(&mut tried)];
        let trial = Trial {
            guarded,
            nacl: &current,
            observed,
        };
        let mut pieces = pieces.into_iter().flatten();
        let Some(held) = pieces.find_map(|piece| trial.hold(piece, settings, &mut tried)) else {
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
        advised.extend(trial.advised(held.piece, held.numbers));
        current = held.after;
    }
    let is_changed = |direction: Direction, rule: &Rule| {
        let mut changes = advised.iter().map(|advised| &advised.change);
        changes.any(|change| (change.direction, change.step.number()) == (direction, rule.number))
    };
    let unneeded = (!accepted.is_empty()).then(|| {
        let needed = Needed::of(nacl, &accepted);
        let unneeded = needed.unneeded_allows(nacl);
        let left = unneeded.filter(|(direction, rule)| !is_changed(*direction, rule));
        let words = left.map(|(direction, rule)| {
            format!("{} {}", direction.as_str(), rule_words(rule, direction))
        });
        words.collect()
    });
    Advice {
        nacl_id: Arc::clone(&nacl.id),
        advised,
        notes,
        unneeded,
    }
}

/// An ACL as it is before a piece of advice, and what it is tried on.
struct Trial<'a> {
    guarded: &'a Guarded,
    nacl: &'a Nacl,
    observed: &'a [Observed],
}

/// A piece that stops something and denies no more than it may.
struct Held {
    piece: Piece,
    after: Nacl,
    numbers: Numbers,
}

impl Trial<'_> {
    fn replay(&self, after: &Nacl) -> Option<NaclReplay> {
        let before = self.guarded.clone().with(self.nacl.clone());
        let after = self.guarded.clone().with(after.clone());
        replay(&before, &after, self.observed).into_iter().next()
    }

    /// The piece if it may be advised; else why not is added to what was tried.
    fn hold(
        &self,
        piece: Piece,
        settings: &AdviseSettings,
        tried: &mut Vec<String>,
    ) -> Option<Held> {
        let changes = piece.iter().map(|(change, _)| change);
        let after = self.nacl.with_all(changes).ok()?;
        let replayed = self.replay(&after)?;
        let numbers = replayed.numbers();
        if numbers.accepted_flows_denied > settings.allow_denied
            || replayed.accepted_flows_undecidable > 0
        {
            tried.push(format!(
                "it would have denied {} accepted flows",
                numbers.accepted_flows_denied
            ));
            return None;
        }
        (numbers.rejected_flows_matched > 0).then_some(Held {
            piece,
            after,
            numbers,
        })
    }

    /// The changes of a piece that holds. Denies stand each for itself; an allow and the deny behind it do not.
    fn advised(&self, piece: Piece, of_piece: Numbers) -> Vec<Advised> {
        let is_deny = |(change, _): &(Change, String)| matches!(&change.step, Step::Add(rule) if !rule.allows);
        let are_denies = piece.iter().all(is_deny);
        let numbers = |change: &Change| {
            let after = self.nacl.with(change).ok()?;
            self.replay(&after).map(|replayed| replayed.numbers())
        };
        let changes = piece.into_iter().map(|(change, reason)| Advised {
            was: match change.step {
                Step::Add(_) => None,
                _ => self
                    .nacl
                    .rule(change.direction, change.step.number())
                    .cloned(),
            },
            reason,
            numbers: are_denies
                .then(|| numbers(&change))
                .flatten()
                .unwrap_or(of_piece),
            change,
        });
        changes.collect()
    }
}
