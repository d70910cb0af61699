//! Rules that changed: of network ACLs and of security groups.

use std::collections::{BTreeMap, BTreeSet};

use super::{Compare, Pair, place};
use crate::topology::group_rules;
use crate::topology::model::{Kind, NetworkAcl, Resources};
use crate::topology::words::{counted, group_rule, nacl_rule, named, tagged};

impl Compare<'_> {
    /// Network ACLs: which subnets they guard, and their entries.
    pub(super) fn nacls(&mut self) {
        if !self.knows(Kind::NetworkAcls) {
            return;
        }
        self.guards();
        let pairs = Self::pairs(
            &self.before.resources.network_acls,
            &self.after.resources.network_acls,
            |nacl| &nacl.network_acl_id,
        );
        for (id, pair) in pairs {
            let (before, after, nacl) = match pair {
                Pair::Added(nacl) => (None, Some(nacl), nacl),
                Pair::Removed(nacl) => (Some(nacl), None, nacl),
                Pair::Both(before, after) => (Some(before), Some(after), after),
            };
            let name = tagged(id, &nacl.tags);
            let sides = (before.map(rules_words), after.map(rules_words));
            match sides {
                (None, Some(_)) => {
                    let words = format!("{name} is new");
                    self.push("nacl", id, sides, place!(nacl), words);
                }
                (Some(_), None) => {
                    let words = format!("{name} is gone");
                    self.push("nacl", id, sides, place!(nacl), words);
                }
                _ => {}
            }
            // What a network ACL held that is gone says nothing more; what a new one holds does.
            let Some(after) = after else { continue };
            let (was, is) = (before.map(by_number).unwrap_or_default(), by_number(after));
            let keys: BTreeSet<_> = was.keys().chain(is.keys()).copied().collect();
            for key in keys {
                let (before, after) = (was.get(&key).cloned(), is.get(&key).cloned());
                let way = direction(key.0);
                let words = match (&before, &after) {
                    (before, after) if before == after => continue,
                    (None, Some(after)) => format!("{name} gained, {way}: {after}"),
                    (Some(before), None) => format!("{name} lost, {way}: {before}"),
                    (Some(before), Some(after)) => {
                        format!("{name}, {way}: {after}; before, {before}")
                    }
                    (None, None) => continue,
                };
                let with_way = |rule: Option<String>| rule.map(|rule| format!("{way} {rule}"));
                self.push(
                    "nacl_entry",
                    id,
                    (with_way(before), with_way(after)),
                    place!(nacl),
                    words,
                );
            }
        }
    }

    fn guards(&mut self) {
        for after in self.after.subnets() {
            let Some(before) = self.before.subnet(&after.id) else {
                continue;
            };
            let (was, is) = (before.nacl_id.as_deref(), after.nacl_id.as_deref());
            if was.is_none() || is.is_none() {
                continue;
            }
            let subnet = named(&after.id, after.name.as_deref());
            self.value(
                "subnet_nacl",
                &after.id,
                (was.map(str::to_owned), is.map(str::to_owned)),
                place!(after),
                |was, is| format!("{subnet} is now guarded by {is} instead of {was}"),
            );
        }
    }

    /// Security groups: rules that came and went, whichever call printed them.
    pub(super) fn security_groups(&mut self) {
        if !self.knows(Kind::SecurityGroups) {
            return;
        }
        let (was, is) = (
            rules_by_group(&self.before.resources),
            rules_by_group(&self.after.resources),
        );
        let none = BTreeSet::new();
        let pairs = Self::pairs(
            &self.before.resources.security_groups,
            &self.after.resources.security_groups,
            |group| &group.group_id,
        );
        for (id, pair) in pairs {
            let (was, is) = (was.get(id).unwrap_or(&none), is.get(id).unwrap_or(&none));
            let (group, news) = match pair {
                Pair::Added(group) => (group, Some("new")),
                Pair::Removed(group) => (group, Some("gone")),
                Pair::Both(_, group) => (group, None),
            };
            let name = named(id, group.group_name.as_deref());
            if let Some(news) = news {
                let rules = |rules: &BTreeSet<_>| Some(counted(rules.len(), "rule"));
                let sides = match news {
                    "new" => (None, rules(is)),
                    _ => (rules(was), None),
                };
                let words = format!("{name} is {news}");
                self.push("security_group", id, sides, place!(group), words);
            }
            for (is_egress, rule) in is.difference(was) {
                let way = direction(*is_egress);
                self.push(
                    "security_group_rule",
                    id,
                    (None, Some(format!("{way} {rule}"))),
                    place!(group),
                    format!("{name} gained, {way}: {rule}"),
                );
            }
            for (is_egress, rule) in was.difference(is).filter(|_| news.is_none()) {
                let way = direction(*is_egress);
                self.push(
                    "security_group_rule",
                    id,
                    (Some(format!("{way} {rule}")), None),
                    place!(group),
                    format!("{name} lost, {way}: {rule}"),
                );
            }
        }
    }
}

fn direction(is_egress: bool) -> &'static str {
    if is_egress { "egress" } else { "ingress" }
}

fn rules_words(nacl: &NetworkAcl) -> String {
    counted(nacl.entries.len(), "rule")
}

/// Entries in words, by direction and number.
fn by_number(nacl: &NetworkAcl) -> BTreeMap<(bool, i32), String> {
    nacl.entries
        .iter()
        .map(|entry| ((entry.egress, entry.rule_number), nacl_rule(entry)))
        .collect()
}

fn rules_by_group(resources: &Resources) -> BTreeMap<String, BTreeSet<(bool, String)>> {
    let mut rules: BTreeMap<String, BTreeSet<(bool, String)>> = BTreeMap::new();
    for rule in group_rules::of(resources) {
        let words = group_rule(&rule);
        if let Some(id) = rule.group_id {
            rules.entry(id).or_default().insert((rule.is_egress, words));
        }
    }
    rules
}
