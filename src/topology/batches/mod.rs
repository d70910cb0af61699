//! The topology as Arrow tables: one row for each resource in each snapshot, `snapshot_at` first.
//!
//! A snapshot's rows are the network as it was then known, what earlier snapshots say included, so that a query joins
//! on one `snapshot_at`. Lists and tags are JSON text.

mod columns;
mod gateways;
mod security_groups;
mod tables;

use arrow::record_batch::RecordBatch;

use self::columns::Row;
use super::history::History;
use super::model::Resources;

/// Every topology table by name, in a fixed order; those without rows have their schema.
pub fn tables(history: &History) -> Vec<(&'static str, RecordBatch)> {
    let networks: Vec<_> = history.networks().map(AsRef::as_ref).collect();
    /// One row for each record of a kind in each snapshot.
    macro_rules! each {
        ($field:ident) => {{
            let rows = networks.iter().flat_map(|&network| {
                network
                    .resources()
                    .$field
                    .iter()
                    .map(move |record| Row::new(network, record.as_ref()))
            });
            rows.collect::<Vec<_>>()
        }};
    }
    let resources: Vec<(_, &Resources)> = networks
        .iter()
        .map(|&network| (network, network.resources()))
        .collect();
    vec![
        ("vpcs", tables::vpcs(&each!(vpcs))),
        ("subnets", tables::subnets(&each!(subnets))),
        ("route_tables", tables::route_tables(&each!(route_tables))),
        ("routes", tables::routes(&each!(route_tables))),
        ("nacls", tables::nacls(&each!(network_acls))),
        ("nacl_entries", tables::nacl_entries(&each!(network_acls))),
        (
            "security_groups",
            security_groups::security_groups(&each!(security_groups)),
        ),
        (
            "security_group_rules",
            security_groups::security_group_rules(&resources),
        ),
        ("interfaces", tables::interfaces(&each!(network_interfaces))),
        ("nat_gateways", tables::nat_gateways(&each!(nat_gateways))),
        ("gateways", gateways::gateways(&resources)),
        ("endpoints", tables::endpoints(&each!(vpc_endpoints))),
        (
            "peerings",
            tables::peerings(&each!(vpc_peering_connections)),
        ),
        ("prefix_lists", tables::prefix_lists(&each!(prefix_lists))),
        ("flow_logs", tables::flow_logs(&each!(flow_logs))),
    ]
}

#[cfg(test)]
mod tests;
