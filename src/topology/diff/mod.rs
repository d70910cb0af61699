//! What changed from one network to another, in words, the most important first.
//!
//! ```text
//! turned public ─> other classes ─> routes ─> network ACLs ─> security groups ─> interfaces ─> VPCs and subnets
//!                                                   ─> NAT gateways ─> peerings ─> gateways ─> flow logs
//! ```
//!
//! A kind of resource that one side knows nothing of is left out, and said so: absence of knowledge is no change.

mod classes;
mod gateways;
mod interfaces;
mod resources;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::model::Kind;
use super::network::Network;

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// What kind of thing: `subnet_class`, `route`, `nacl_entry`, …
    pub(crate) kind: &'static str,
    /// Of which resource.
    pub(crate) id: String,
    /// `turned_public`, `added`, `removed` or `changed`.
    pub(crate) change: &'static str,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    /// One sentence for a reader.
    pub(crate) words: String,
    pub(crate) account_id: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) vpc_id: Option<String>,
}

/// Where a resource is.
#[derive(Debug, Clone, Copy, Default)]
struct Place<'n> {
    account_id: Option<&'n str>,
    region: Option<&'n str>,
    vpc_id: Option<&'n str>,
}

/// What changed, and what could not be compared.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// The most important first.
    pub(crate) changes: Vec<Change>,
    /// A sentence for each kind that one side knows nothing of.
    pub(crate) notes: Vec<String>,
}

impl Difference {
    /// What changed from `before` to `after`.
    pub(crate) fn between(before: &Network, after: &Network) -> Self {
        let mut compare = Compare {
            before,
            after,
            difference: Self::default(),
        };
        compare.classes();
        compare.routes();
        compare.nacls();
        compare.security_groups();
        compare.interfaces();
        compare.vpcs_and_subnets();
        compare.gateways();
        compare.flow_logs();
        compare.difference
    }
}

struct Compare<'n> {
    before: &'n Network,
    after: &'n Network,
    difference: Difference,
}

/// A thing before and after; at least one of the two.
#[derive(Debug)]
enum Pair<'n, T> {
    Added(&'n T),
    Removed(&'n T),
    Both(&'n T, &'n T),
}

impl<'n> Compare<'n> {
    /// True if both sides know resources of a kind. What only one of them knows is noted, not compared.
    fn knows(&mut self, kind: Kind) -> bool {
        let (before, after) = (self.before.knows_any(kind), self.after.knows_any(kind));
        if before != after {
            let (lacks, has) = if before {
                ("later", "earlier")
            } else {
                ("earlier", "later")
            };
            self.difference.notes.push(format!(
                "`{}` are not compared: only the {has} topology has them, the {lacks} one says nothing of them",
                kind.key()
            ));
        }
        before && after
    }

    /// Records of a kind by id, before and after.
    fn pairs<T>(
        before: &'n [Arc<T>],
        after: &'n [Arc<T>],
        id: impl Fn(&T) -> &str,
    ) -> Vec<(&'n str, Pair<'n, T>)> {
        let mut pairs: BTreeMap<&str, (Option<&T>, Option<&T>)> = BTreeMap::new();
        for record in before {
            pairs.entry(id(record)).or_default().0 = Some(record);
        }
        for record in after {
            pairs.entry(id(record)).or_default().1 = Some(record);
        }
        let pair = |(id, sides)| match sides {
            (Some(before), Some(after)) => Some((id, Pair::Both(before, after))),
            (None, Some(after)) => Some((id, Pair::Added(after))),
            (Some(before), None) => Some((id, Pair::Removed(before))),
            (None, None) => None,
        };
        pairs.into_iter().filter_map(pair).collect()
    }

    fn push(
        &mut self,
        kind: &'static str,
        id: &str,
        (before, after): (Option<String>, Option<String>),
        place: Place<'_>,
        words: String,
    ) {
        let change = match (&before, &after) {
            (None, Some(_)) => "added",
            (Some(_), None) => "removed",
            _ => "changed",
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        self.difference.changes.push(Change {
            kind,
            id: id.to_owned(),
            change,
            before,
            after,
            words,
            account_id: owned(place.account_id),
            region: owned(place.region),
            vpc_id: owned(place.vpc_id),
        });
    }

    /// A value of a resource that is there before and after, if it changed.
    fn value(
        &mut self,
        kind: &'static str,
        id: &str,
        (before, after): (Option<String>, Option<String>),
        place: Place<'_>,
        words: impl FnOnce(&str, &str) -> String,
    ) {
        if before != after {
            let none = "nothing".to_owned();
            let words = words(
                before.as_ref().unwrap_or(&none),
                after.as_ref().unwrap_or(&none),
            );
            self.push(kind, id, (before, after), place, words);
        }
    }
}

/// The place of a record, by the fields that nearly all kinds have.
macro_rules! place {
    ($record:expr) => {
        super::Place {
            account_id: $record.account_id.as_deref(),
            region: $record.region.as_deref(),
            vpc_id: $record.vpc_id.as_deref(),
        }
    };
}
use place;

#[cfg(test)]
mod tests;
