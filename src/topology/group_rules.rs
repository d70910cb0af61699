//! Security groups and their rules, whichever call printed them.

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;

use super::build::nets_of_list;
use super::model::{self, Kind, Resources};
use super::network::Network;

/// A security group whose rules are known.
#[derive(Debug, Default)]
pub struct SecurityGroup {
    /// Its VPC.
    pub vpc_id: Option<String>,
    /// Its rules, one for each source or destination.
    pub rules: Vec<model::SecurityGroupRule>,
}

/// Security groups by id.
pub(super) type SecurityGroups = HashMap<String, SecurityGroup>;

impl Network {
    /// A security group by id; `None` where its rules are not known.
    pub fn security_group(&self, id: &str) -> Option<&SecurityGroup> {
        let groups = self.groups.get_or_init(|| by_id(&self.resources));
        groups.get(id)
    }

    /// Whether anybody asked for security groups: one that is not known is then amiss.
    pub(crate) fn knows_security_groups(&self) -> bool {
        self.knows_any(Kind::SecurityGroups) || self.knows_any(Kind::SecurityGroupRules)
    }

    /// The CIDRs of a prefix list; `None` where they are not known.
    pub fn prefix_list(&self, id: &str) -> Option<Vec<IpNet>> {
        let mut lists = self.resources.prefix_lists.iter();
        let record = lists.find(|list| list.prefix_list_id == id)?;
        nets_of_list(record, &self.settings)
    }
}

fn by_id(resources: &Resources) -> SecurityGroups {
    let mut groups = SecurityGroups::new();
    for group in &resources.security_groups {
        let known = groups.entry(group.group_id.clone()).or_default();
        known.vpc_id.clone_from(&group.vpc_id);
    }
    for rule in of(resources) {
        if let Some(id) = &rule.group_id {
            let known = groups.entry(id.clone()).or_default();
            known.rules.push(rule);
        }
    }
    groups
}

/// Every rule as `describe-security-group-rules` prints it; of groups without, as `describe-security-groups` does.
pub(super) fn of(resources: &Resources) -> Vec<model::SecurityGroupRule> {
    let listed: HashSet<_> = resources
        .security_group_rules
        .iter()
        .filter_map(|rule| rule.group_id.as_deref())
        .collect();
    let unlisted = resources
        .security_groups
        .iter()
        .filter(|group| !listed.contains(group.group_id.as_str()));
    resources
        .security_group_rules
        .iter()
        .map(|rule| rule.as_ref().clone())
        .chain(unlisted.flat_map(|group| rules_of(group)))
        .collect()
}

/// A group's rules, one for each source or destination.
fn rules_of(group: &model::SecurityGroup) -> Vec<model::SecurityGroupRule> {
    let mut rules = Vec::new();
    for (permissions, is_egress) in [
        (&group.ip_permissions, false),
        (&group.ip_permissions_egress, true),
    ] {
        for permission in permissions {
            let rule = |description: &Option<String>| model::SecurityGroupRule {
                account_id: group.account_id.clone(),
                region: group.region.clone(),
                group_id: Some(group.group_id.clone()),
                is_egress,
                ip_protocol: permission.ip_protocol.clone(),
                from_port: permission.from_port,
                to_port: permission.to_port,
                description: description.clone(),
                ..model::SecurityGroupRule::default()
            };
            rules.extend(
                permission
                    .ip_ranges
                    .iter()
                    .map(|range| model::SecurityGroupRule {
                        cidr_ipv4: range.cidr_ip.clone(),
                        ..rule(&range.description)
                    }),
            );
            rules.extend(
                permission
                    .ipv6_ranges
                    .iter()
                    .map(|range| model::SecurityGroupRule {
                        cidr_ipv6: range.cidr_ipv6.clone(),
                        ..rule(&range.description)
                    }),
            );
            rules.extend(
                permission
                    .prefix_list_ids
                    .iter()
                    .map(|list| model::SecurityGroupRule {
                        prefix_list_id: list.prefix_list_id.clone(),
                        ..rule(&list.description)
                    }),
            );
            rules.extend(permission.user_id_group_pairs.iter().map(|pair| {
                model::SecurityGroupRule {
                    referenced_group_info: Some(pair.clone()),
                    ..rule(&pair.description)
                }
            }));
        }
    }
    rules
}
