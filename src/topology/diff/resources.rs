//! Other resources that came, went, or changed: VPCs and subnets here, and what all kinds share.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::{Compare, Pair, Place, place};
use crate::topology::model::{self, Kind};
use crate::topology::words::{listed, tagged};

impl<'n> Compare<'n> {
    /// VPCs and subnets, and their CIDRs.
    pub(super) fn vpcs_and_subnets(&mut self) {
        if self.knows(Kind::Vpcs) {
            let pairs = Self::pairs(
                &self.before.resources.vpcs,
                &self.after.resources.vpcs,
                |vpc| &vpc.vpc_id,
            );
            for (id, pair) in pairs {
                self.vpc(id, &pair);
            }
        }
        if self.knows(Kind::Subnets) {
            let pairs = Self::pairs(
                &self.before.resources.subnets,
                &self.after.resources.subnets,
                |subnet| &subnet.subnet_id,
            );
            for (id, pair) in pairs {
                self.subnet(id, &pair);
            }
        }
    }

    fn vpc(&mut self, id: &str, pair: &Pair<'_, model::Vpc>) {
        let (was, is) = (self.before.vpc(id), self.after.vpc(id));
        let record = newest(pair);
        let place = Place {
            account_id: record.account_id.as_deref(),
            region: record.region.as_deref(),
            vpc_id: Some(id),
        };
        let name = tagged(id, &record.tags);
        if let Some(sides) = self.came_or_went("vpc", id, pair, place, &name, |_| {
            is.or(was).map(|vpc| listed(&vpc.cidrs))
        }) {
            let (Some(was), Some(is)) = (was, is) else {
                return;
            };
            self.sets("vpc_cidr", id, place, &name, (&was.cidrs, &is.cidrs));
            let mode = |record: &model::Vpc| block(&record.block_public_access_states);
            self.value(
                "vpc_block_public_access",
                id,
                (mode(sides.0), mode(sides.1)),
                place,
                |was, is| format!("Block Public Access of {name} is now {is}, was {was}"),
            );
        }
    }

    fn subnet(&mut self, id: &str, pair: &Pair<'_, model::Subnet>) {
        let (was, is) = (self.before.subnet(id), self.after.subnet(id));
        let record = newest(pair);
        let place = place!(record);
        let name = tagged(id, &record.tags);
        if let Some(sides) = self.came_or_went("subnet", id, pair, place, &name, |_| {
            let subnet = is.or(was)?;
            let cidrs = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
            let class = subnet
                .class(crate::topology::Family::V4)
                .or(subnet.class(crate::topology::Family::V6))?;
            Some(format!("{}, {}", listed(cidrs), class.as_str()))
        }) {
            let (Some(was), Some(is)) = (was, is) else {
                return;
            };
            let cidrs = |subnet: &crate::topology::Subnet| -> Vec<ipnet::IpNet> {
                let cidrs = subnet.cidr_block.iter().chain(&subnet.ipv6_cidr_blocks);
                cidrs.copied().collect()
            };
            self.sets("subnet_cidr", id, place, &name, (&cidrs(was), &cidrs(is)));
            let mode = |record: &model::Subnet| block(&record.block_public_access_states);
            self.value(
                "subnet_block_public_access",
                id,
                (mode(sides.0), mode(sides.1)),
                place,
                |was, is| format!("Block Public Access of {name} is now {is}, was {was}"),
            );
            let maps = |record: &model::Subnet| {
                let on = if record.map_public_ip_on_launch {
                    "on"
                } else {
                    "off"
                };
                Some(on.to_owned())
            };
            self.value(
                "subnet_public_ip_on_launch",
                id,
                (maps(sides.0), maps(sides.1)),
                place,
                |_, is| format!("{name} gives new instances a public address: {is}"),
            );
        }
    }

    /// Says that a thing came, went, or is described otherwise.
    pub(super) fn compared<T>(
        &mut self,
        kind: &'static str,
        id: &str,
        pair: &Pair<'_, T>,
        place: Place<'_>,
        name: &str,
        words: impl Fn(&T) -> Option<String>,
    ) {
        if let Some((was, is)) = self.came_or_went(kind, id, pair, place, name, &words) {
            self.value(kind, id, (words(was), words(is)), place, |was, is| {
                format!("{name} is now {is}; before: {was}")
            });
        }
    }

    /// Says that a thing came or went; gives both sides of one that did neither.
    pub(super) fn came_or_went<'p, T>(
        &mut self,
        kind: &'static str,
        id: &str,
        pair: &Pair<'p, T>,
        place: Place<'_>,
        name: &str,
        words: impl Fn(&T) -> Option<String>,
    ) -> Option<(&'p T, &'p T)> {
        let about = |words: &Option<String>| match words {
            Some(words) if !words.is_empty() => format!(": {words}"),
            _ => String::new(),
        };
        match *pair {
            Pair::Both(was, is) => return Some((was, is)),
            Pair::Added(is) => {
                let after = words(is).or_else(|| Some(String::new()));
                let words = format!("{name} is new{}", about(&after));
                self.push(kind, id, (None, after), place, words);
            }
            Pair::Removed(was) => {
                let before = words(was).or_else(|| Some(String::new()));
                let words = format!("{name} is gone{}", about(&before));
                self.push(kind, id, (before, None), place, words);
            }
        }
        None
    }

    /// Members of a set that came and went.
    pub(super) fn sets<T: Ord + Display>(
        &mut self,
        kind: &'static str,
        id: &str,
        place: Place<'_>,
        name: &str,
        (was, is): (&[T], &[T]),
    ) {
        let (was, is): (BTreeSet<&T>, BTreeSet<&T>) = (was.iter().collect(), is.iter().collect());
        for gained in is.difference(&was) {
            let words = format!("{name} gained {gained}");
            self.push(kind, id, (None, Some(gained.to_string())), place, words);
        }
        for lost in was.difference(&is) {
            let words = format!("{name} lost {lost}");
            self.push(kind, id, (Some(lost.to_string()), None), place, words);
        }
    }
}

/// The later record of a pair.
pub(super) fn newest<'p, T>(pair: &Pair<'p, T>) -> &'p T {
    match *pair {
        Pair::Added(record) | Pair::Removed(record) | Pair::Both(_, record) => record,
    }
}

fn block(states: &model::BlockPublicAccessStates) -> Option<String> {
    states
        .internet_gateway_block_mode
        .clone()
        .or_else(|| Some("off".to_owned()))
}
