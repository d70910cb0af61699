//! Puts records together, whichever way they came: whose they are and where, which of two counts, what they say all about.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::ec2::Listing;
use super::gaps::{self, Advice};
use super::model::{Coverage, Draft, Kind, Pushed};
use super::place::{Place, is_aws_own, place_among, place_of, vpc_of, with_place};
use super::snapshot::Snapshot;

/// A snapshot and what there is to say about it.
#[derive(Debug)]
pub struct Imported {
    /// What was read.
    pub snapshot: Snapshot,
    /// What is incomplete or was left out, one sentence each.
    pub notes: Vec<String>,
}

/// What EC2 answered to one account in one region.
#[derive(Debug)]
pub struct Answer {
    /// Who asked; `None` where the credentials do not tell, for one account at most.
    pub account_id: Option<String>,
    /// Where.
    pub region: String,
    /// The lists that were answered. A kind that is not among them was not read, and what is known of it stays.
    pub listings: Vec<Listing>,
}

/// Puts answers of EC2's API together as the network's state at `at`.
pub fn assemble(answers: Vec<Answer>, at: DateTime<Utc>) -> Imported {
    let nameless = owner_of_nameless(&answers);
    let places: Vec<Place> = answers
        .iter()
        .map(|answer| Place {
            account_id: answer.account_id.clone().or_else(|| nameless.clone()),
            region: Some(answer.region.clone()),
        })
        .collect();
    let mut assembly = Assembly {
        asked: places.iter().cloned().collect(),
        ..Assembly::default()
    };
    for (answer, place) in answers.into_iter().zip(places) {
        let origin = assembly.add_origin(Origin {
            name: place.to_string(),
            group: place.to_string(),
            asked: Some(place),
        });
        for listing in answer.listings {
            assembly.list(origin, listing);
        }
    }
    assembly.finish(at)
}

/// The account that asked without naming itself: what is never shared is its own.
fn owner_of_nameless(answers: &[Answer]) -> Option<String> {
    let owners: BTreeSet<String> = answers
        .iter()
        .filter(|answer| answer.account_id.is_none())
        .flat_map(|answer| &answer.listings)
        .filter(|listing| is_never_shared(listing.kind))
        .flat_map(|listing| &listing.records)
        .filter_map(|record| place_of(record).account_id)
        .collect();
    sole(owners)
}

fn sole<T>(set: BTreeSet<T>) -> Option<T> {
    if set.len() > 1 {
        return None;
    }
    set.into_iter().next()
}

/// Where records come from: a file, or what one account was answered in one region.
#[derive(Debug)]
pub(super) struct Origin {
    /// As notes name it.
    pub(super) name: String,
    /// Origins that lie together, such as files of a folder, lend each other account and region.
    pub(super) group: String,
    /// Who asked, and where; a file does not say.
    pub(super) asked: Option<Place>,
}

/// How much a record counts beside others of the same id, from most to least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Its owner's, or out of a file, which does not say who asked.
    Own,
    /// Shared by another account: the owner's tags are missing.
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html>
    Shared,
    /// From an instance: less than the interface's own record says.
    Instance,
}

/// A record on its way in.
#[derive(Debug)]
struct Found {
    kind: Kind,
    value: Value,
    origin: usize,
    place: Place,
    vpc_id: Option<String>,
    weight: Weight,
}

/// Records and where they came from, until all are there.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    origins: Vec<Origin>,
    found: Vec<Found>,
    /// Which origin lists which kind, and whether in full.
    listings: Vec<(usize, Kind, bool)>,
    notes: Vec<String>,
    /// The accounts and regions that were asked; empty for files.
    asked: BTreeSet<Place>,
}

impl Assembly {
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(super) fn add_origin(&mut self, origin: Origin) -> usize {
        self.origins.push(origin);
        self.origins.len() - 1
    }

    pub(super) fn list(&mut self, origin: usize, listing: Listing) {
        self.listings.push((origin, listing.kind, listing.complete));
        for value in listing.records {
            self.add(origin, listing.kind, value, Weight::Own);
        }
    }

    /// Adds one record, of a kind that its origin does not list.
    pub(super) fn add(&mut self, origin: usize, kind: Kind, value: Value, weight: Weight) {
        let mut place = place_among(&value, &self.asked).unwrap_or_else(|| place_of(&value));
        let mut weight = weight;
        if let Some(asked) = &self.origins[origin].asked {
            let account_id = asked.account_id.clone().filter(|_| !is_aws_own(&value));
            place.or(&Place {
                account_id,
                region: asked.region.clone(),
            });
            if place.account_id.is_some() && place.account_id != asked.account_id {
                weight = weight.max(Weight::Shared);
            }
        }
        let vpc_id = vpc_of(&value);
        self.found.push(Found {
            kind,
            value,
            origin,
            place,
            vpc_id,
            weight,
        });
    }

    pub(super) fn finish(mut self, at: DateTime<Utc>) -> Imported {
        self.infer_places();
        let advice = if self.asked.is_empty() {
            Advice::Commands
        } else {
            Advice::Nothing
        };
        let coverage = if self.asked.is_empty() {
            self.coverage_of_files()
        } else {
            self.coverage_of_answers()
        };
        let mut draft = Draft::default();
        let mut replaced: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
        // What others say comes last, and counts only where the owner said nothing.
        self.found.sort_by_key(|found| found.weight);
        let mut from_instances = 0;
        for found in self.found {
            let name = &self.origins[found.origin].name;
            let value = with_place(found.value, found.place);
            let pushed = match (found.kind, found.weight) {
                (Kind::PrefixLists, _) => draft.push_prefix_list(value),
                (kind, Weight::Own) => draft.push(kind, value),
                (kind, Weight::Shared | Weight::Instance) => draft.push_if_new(kind, value),
            };
            match pushed {
                Ok((id, _)) if id.is_empty() => {
                    self.notes.push(format!(
                        "{name}: a record of `{}` has no id",
                        found.kind.key()
                    ));
                }
                Ok((id, Pushed::Replaced)) => replaced
                    .entry(found.kind)
                    .or_default()
                    .push(format!("`{id}` ({name})")),
                Ok((_, Pushed::New)) if found.weight == Weight::Instance => from_instances += 1,
                Ok(_) => {}
                Err(error) => {
                    self.notes.push(format!(
                        "{name}: a record of `{}` is left out: {error}",
                        found.kind.key()
                    ));
                }
            }
        }
        for (kind, ids) in replaced {
            let (first, more) = (&ids[0], ids.len() - 1);
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            self.notes.push(format!(
                "`{}`: {first}{more} came more than once and not the same: the later counts",
                kind.key()
            ));
        }
        if from_instances > 0 {
            self.notes.push(format!(
                "{from_instances} interfaces are known from instances only: add `aws ec2 describe-network-interfaces`"
            ));
        }
        let resources = draft.into_resources();
        self.notes.extend(gaps::of(&resources, advice));
        Imported {
            snapshot: Snapshot::new(at, resources, coverage),
            notes: self.notes,
        }
    }

    /// Gives records without an account or region those of their VPC, else those of everything else in their group.
    fn infer_places(&mut self) {
        let mut vpcs: HashMap<String, Place> = HashMap::new();
        // An interface may belong to another account than its VPC, so the VPC's own record speaks first.
        let by_weight = [true, false];
        for of_vpc in by_weight {
            for found in self
                .found
                .iter()
                .filter(|found| (found.kind == Kind::Vpcs) == of_vpc)
            {
                if let Some(vpc_id) = &found.vpc_id {
                    vpcs.entry(vpc_id.clone()).or_default().or(&found.place);
                }
            }
        }
        for found in &mut self.found {
            if let Some(place) = found.vpc_id.as_ref().and_then(|id| vpcs.get(id)) {
                found.place.or(place);
            }
        }
        let sole = self.sole_places();
        for found in &mut self.found {
            let group = &self.origins[found.origin].group;
            if let Some(place) = sole.get(group) {
                let account_id = place
                    .account_id
                    .clone()
                    .filter(|_| !is_aws_own(&found.value));
                found.place.or(&Place {
                    account_id,
                    region: place.region.clone(),
                });
            }
        }
    }

    /// Account and region of each group, where all that is known in it agrees.
    fn sole_places(&self) -> HashMap<String, Place> {
        let mut seen: HashMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = HashMap::new();
        for found in &self.found {
            let (accounts, regions) = seen.entry(&self.origins[found.origin].group).or_default();
            accounts.extend(found.place.account_id.as_deref());
            regions.extend(found.place.region.as_deref());
        }
        seen.into_iter()
            .map(|(group, (accounts, regions))| {
                let place = Place {
                    account_id: sole(accounts).map(str::to_owned),
                    region: sole(regions).map(str::to_owned),
                };
                (group.to_owned(), place)
            })
            .collect()
    }

    /// What answers of the API say all about: every list that is whole, of who asked. AWS's own prefix lists belong to nobody.
    fn coverage_of_answers(&self) -> BTreeSet<Coverage> {
        let mut coverage = BTreeSet::new();
        for &(origin, kind, _) in self.listings.iter().filter(|(_, _, complete)| *complete) {
            let asked = self.origins[origin].asked.clone().unwrap_or_default();
            if kind == Kind::PrefixLists {
                coverage.insert(Coverage {
                    kind,
                    account_id: None,
                    region: asked.region.clone(),
                });
            }
            coverage.insert(Coverage {
                kind,
                account_id: asked.account_id,
                region: asked.region,
            });
        }
        coverage
    }

    /// What files say all about: a later import replaces exactly this.
    ///
    /// An account that shows up only through what it shares (a shared subnet, the far side of a peering) was not asked,
    /// so that its other resources stay.
    fn coverage_of_files(&mut self) -> BTreeSet<Coverage> {
        let sole = self.sole_places();
        let accounts: BTreeSet<_> = self
            .found
            .iter()
            .filter_map(|found| found.place.account_id.as_deref())
            .collect();
        let asked: BTreeSet<_> = self
            .found
            .iter()
            .filter(|found| is_never_shared(found.kind))
            .filter_map(|found| found.place.account_id.as_deref())
            .collect();
        let was_asked = |place: &Place| {
            accounts.len() <= 1
                || place
                    .account_id
                    .as_deref()
                    .is_none_or(|account| asked.contains(account))
        };
        let partial: BTreeSet<_> = self
            .listings
            .iter()
            .filter(|(_, _, complete)| !complete)
            .map(|&(origin, kind, _)| (origin, kind))
            .collect();
        let mut places: BTreeMap<(usize, Kind), BTreeSet<Place>> = BTreeMap::new();
        let listed = |found: &&Found| found.weight != Weight::Instance;
        for found in self.found.iter().filter(listed) {
            places
                .entry((found.origin, found.kind))
                .or_default()
                .insert(found.place.clone());
        }
        let mut coverage = BTreeSet::new();
        let mut notes = Vec::new();
        for &(origin, kind, _) in &self.listings {
            if partial.contains(&(origin, kind)) {
                continue;
            }
            let Origin { name, group, .. } = &self.origins[origin];
            let empty_list_of = || {
                sole.get(group)
                    .cloned()
                    .filter(|place| *place != Place::default())
                    .into_iter()
                    .collect()
            };
            let places = places.get(&(origin, kind)).cloned();
            let places: BTreeSet<Place> = places.unwrap_or_else(empty_list_of);
            if places.is_empty() {
                notes.push(format!(
                    "{name}: `{}` is an empty list, and nothing beside it says of which account and region",
                    kind.key()
                ));
            }
            for place in places.into_iter().filter(was_asked) {
                coverage.insert(Coverage {
                    kind,
                    account_id: place.account_id,
                    region: place.region,
                });
            }
        }
        self.notes.extend(notes);
        coverage
    }
}

/// Kinds that AWS shows to their owner only.
fn is_never_shared(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::RouteTables
            | Kind::NetworkAcls
            | Kind::SecurityGroupRules
            | Kind::InternetGateways
            | Kind::NatGateways
            | Kind::FlowLogs
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::topology::{History, Settings};

    fn answer(account_id: Option<&str>, kind: Kind, records: &[Value]) -> Answer {
        Answer {
            account_id: account_id.map(str::to_owned),
            region: "eu-west-1".to_owned(),
            listings: vec![Listing {
                kind,
                records: records.to_vec(),
                complete: true,
            }],
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_peering_that_another_account_asked_for_goes_when_its_accepter_no_longer_lists_it() {
        let side =
            |account: &str| json!({"OwnerId": account, "Region": "eu-west-1", "VpcId": "vpc-1"});
        let peering = json!({"VpcPeeringConnectionId": "pcx-1", "Status": {"Code": "active"},
            "RequesterVpcInfo": side("222222222222"), "AccepterVpcInfo": side("111111111111")});
        let asked = |records: &[Value]| {
            vec![answer(
                Some("111111111111"),
                Kind::VpcPeeringConnections,
                records,
            )]
        };
        let before = assemble(asked(&[peering]), at(100)).snapshot;
        let after = assemble(asked(&[]), at(200)).snapshot;
        let history = History::new(vec![before, after], Settings::default());
        let peerings = |seconds| {
            history
                .at(at(seconds))
                .resources()
                .vpc_peering_connections
                .len()
        };
        assert_eq!((peerings(100), peerings(200)), (1, 0));
    }

    #[test]
    fn whoever_asked_without_a_name_owns_what_is_never_shared() {
        let shared = json!({"SubnetId": "subnet-1", "VpcId": "vpc-1", "OwnerId": "222222222222"});
        let own = json!({"NetworkAclId": "acl-1", "VpcId": "vpc-9", "OwnerId": "111111111111"});
        let answers = vec![
            answer(None, Kind::Subnets, &[shared]),
            answer(None, Kind::NetworkAcls, &[own]),
        ];
        let assembled = assemble(answers, at(100));
        let accounts: BTreeSet<_> = assembled
            .snapshot
            .coverage
            .into_iter()
            .map(|covered| covered.account_id)
            .collect();
        assert_eq!(accounts, BTreeSet::from([Some("111111111111".to_owned())]));
        let subnet = &assembled.snapshot.resources.subnets[0];
        assert_eq!(subnet.account_id.as_deref(), Some("222222222222"));
    }
}
