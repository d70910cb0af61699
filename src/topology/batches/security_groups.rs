//! The tables `security_groups` and `security_group_rules`, whichever call printed the rules.

use arrow::record_batch::RecordBatch;

use super::columns::{Columns, Row, tags};
use crate::topology::group_rules;
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

pub(super) fn security_group_rules(snapshots: &[(&Network, &Resources)]) -> RecordBatch {
    let rows: Vec<_> = snapshots
        .iter()
        .flat_map(|&(network, resources)| {
            let rules = group_rules::of(resources);
            rules.into_iter().map(move |rule| Row::new(network, rule))
        })
        .collect();
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
