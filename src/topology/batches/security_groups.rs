//! The tables `security_groups` and `security_group_rules`, whichever call printed the rules.

use std::collections::HashSet;

use arrow::record_batch::RecordBatch;

use super::columns::{Columns, Row, tags};
use crate::topology::model::{self, Resources};
use crate::topology::network::Network;

pub(super) fn security_groups(rows: &[Row<'_, &model::SecurityGroup>]) -> RecordBatch {
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("vpc_id", |row| row.record.vpc_id.as_deref())
        .text("group_id", |row| Some(&row.record.group_id))
        .text("group_name", |row| row.record.group_name.as_deref())
        .text("description", |row| row.record.description.as_deref())
        .text("tags", |row| tags(&row.record.tags))
        .finish()
}

/// The rules as `describe-security-group-rules` prints them; for groups without, as `describe-security-groups` does.
pub(super) fn security_group_rules(snapshots: &[(&Network, &Resources)]) -> RecordBatch {
    let mut rows = Vec::new();
    for &(network, resources) in snapshots {
        let listed: HashSet<_> = resources
            .security_group_rules
            .iter()
            .filter_map(|rule| rule.group_id.as_deref())
            .collect();
        rows.extend(
            resources
                .security_group_rules
                .iter()
                .map(|rule| Row::new(network, rule.as_ref().clone())),
        );
        let unlisted = resources
            .security_groups
            .iter()
            .filter(|group| !listed.contains(group.group_id.as_str()));
        rows.extend(
            unlisted
                .flat_map(|group| rules_of(group))
                .map(|rule| Row::new(network, rule)),
        );
    }
    Columns::of(&rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("group_id", |row| row.record.group_id.as_deref())
        .text("security_group_rule_id", |row| {
            Some(&row.record.security_group_rule_id).filter(|id| !id.is_empty())
        })
        .flag("is_egress", |row| Some(row.record.is_egress))
        .text("ip_protocol", |row| row.record.ip_protocol.as_deref())
        .int("from_port", |row| row.record.from_port)
        .int("to_port", |row| row.record.to_port)
        .text("cidr_ipv4", |row| row.record.cidr_ipv4.as_deref())
        .text("cidr_ipv6", |row| row.record.cidr_ipv6.as_deref())
        .text("prefix_list_id", |row| row.record.prefix_list_id.as_deref())
        .text("referenced_group_id", |row| {
            row.record
                .referenced_group_info
                .as_ref()?
                .group_id
                .as_deref()
        })
        .text("description", |row| row.record.description.as_deref())
        .finish()
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
