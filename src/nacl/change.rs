//! A change of one rule: applied to an ACL, taken back, and counted against AWS's quota.

use std::sync::Arc;

use thiserror::Error;

use super::{Direction, Nacl, Rule};
use crate::topology::Family;

/// What happens to a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A new one, under a number that is free.
    Add(Rule),
    /// The one of this number goes.
    Delete(u16),
    /// The one of the same number becomes this.
    Replace(Rule),
}

impl Step {
    /// The word for it in tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Delete(_) => "delete",
            Self::Replace(_) => "replace",
        }
    }

    /// The number of the rule.
    pub fn number(&self) -> u16 {
        match self {
            Self::Add(rule) | Self::Replace(rule) => rule.number,
            Self::Delete(number) => *number,
        }
    }
}

/// A change of a rule of an ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The ACL.
    pub nacl_id: Arc<str>,
    /// Which of its two lists.
    pub direction: Direction,
    /// What happens.
    pub step: Step,
}

/// Why a change does not fit the ACL that it is for.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ChangeError {
    /// A number is taken.
    #[error(
        "`{nacl_id}`: {direction} rule {number} cannot be added: the number is taken by `{there}`"
    )]
    Taken {
        /// The ACL.
        nacl_id: Arc<str>,
        /// Its list.
        direction: &'static str,
        /// The rule.
        number: u16,
        /// The rule that has the number.
        there: String,
    },
    /// There is no such rule.
    #[error("`{nacl_id}`: {direction} rule {number} cannot be {what}: expected one of {there}")]
    NotThere {
        /// The ACL.
        nacl_id: Arc<str>,
        /// Its list.
        direction: &'static str,
        /// The rule.
        number: u16,
        /// `deleted` or `replaced`.
        what: &'static str,
        /// The numbers there are.
        there: String,
    },
}

impl Nacl {
    /// The ACL after a change.
    ///
    /// # Errors
    /// When the number is taken, or not there.
    pub fn with(&self, change: &Change) -> Result<Self, ChangeError> {
        let mut nacl = self.clone();
        nacl.apply(change)?;
        Ok(nacl)
    }

    /// Applies changes in their order.
    ///
    /// # Errors
    /// As [`Nacl::with`].
    pub fn with_all<'c>(
        &self,
        changes: impl IntoIterator<Item = &'c Change>,
    ) -> Result<Self, ChangeError> {
        let mut nacl = self.clone();
        for change in changes {
            nacl.apply(change)?;
        }
        Ok(nacl)
    }

    fn apply(&mut self, change: &Change) -> Result<(), ChangeError> {
        let (id, direction) = (Arc::clone(&self.id), change.direction);
        let rules = match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        };
        let number = change.step.number();
        let at = rules.binary_search_by_key(&number, |rule| rule.number);
        let not_there = |rules: &[Rule], what| {
            let numbers: Vec<String> = rules.iter().map(|rule| rule.number.to_string()).collect();
            ChangeError::NotThere {
                nacl_id: Arc::clone(&id),
                direction: direction.as_str(),
                number,
                what,
                there: numbers.join(", "),
            }
        };
        match (&change.step, at) {
            (Step::Add(rule), Err(at)) => rules.insert(at, rule.clone()),
            (Step::Add(_), Ok(at)) => {
                return Err(ChangeError::Taken {
                    nacl_id: id,
                    direction: direction.as_str(),
                    number,
                    there: super::rule_words(&rules[at], direction),
                });
            }
            (Step::Delete(_), Ok(at)) => {
                rules.remove(at);
            }
            (Step::Replace(rule), Ok(at)) => rules[at] = rule.clone(),
            (Step::Delete(_), Err(_)) => return Err(not_there(rules, "deleted")),
            (Step::Replace(_), Err(_)) => return Err(not_there(rules, "replaced")),
        }
        Ok(())
    }

    /// A rule by its number.
    pub fn rule(&self, direction: Direction, number: u16) -> Option<&Rule> {
        let rules = self.rules(direction);
        let at = rules.binary_search_by_key(&number, |rule| rule.number);
        at.ok().map(|at| &rules[at])
    }

    /// What takes changes of this ACL back, in the order in which it must be done. Changes that do not fit are left out.
    pub fn way_back(&self, changes: &[Change]) -> Vec<Change> {
        let mut nacl = self.clone();
        let mut back = Vec::new();
        for change in changes.iter().filter(|change| change.nacl_id == self.id) {
            let number = change.step.number();
            let was = nacl.rule(change.direction, number).cloned();
            if nacl.apply(change).is_err() {
                continue;
            }
            let step = match (&change.step, was) {
                (Step::Add(_), _) => Step::Delete(number),
                (Step::Delete(_), Some(rule)) => Step::Add(rule),
                (Step::Replace(_), Some(rule)) => Step::Replace(rule),
                (Step::Delete(_) | Step::Replace(_), None) => continue,
            };
            back.push(Change {
                step,
                ..change.clone()
            });
        }
        back.reverse();
        back
    }
}

/// How many rules AWS allows: for each direction and each family, the implicit deny counted
/// (Amazon VPC User Guide, "Amazon VPC quotas": 20, at most 40).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota(pub u16);

impl Quota {
    /// How many rules of a direction and family count.
    pub fn used(nacl: &Nacl, direction: Direction, family: Family) -> usize {
        let rules = nacl.rules(direction).iter();
        let own = rules.filter(|rule| Family::of_net(&rule.cidr) == family);
        own.count() + 1
    }

    /// How many more fit.
    pub fn free(self, nacl: &Nacl, direction: Direction, family: Family) -> usize {
        usize::from(self.0).saturating_sub(Self::used(nacl, direction, family))
    }
}
