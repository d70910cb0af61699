//! What each table holds: AWS's names in snake case, and a few of our own (`class`, `kind`, `target`).

use arrow::record_batch::RecordBatch;

use super::columns::{Columns, Row, list, tags};
use crate::topology::Family;
use crate::topology::model::{self, Tag, tag};

pub(super) fn name(tags: &[Tag]) -> Option<&str> {
    tag(tags, "Name")
}

pub(super) fn vpcs(rows: &[Row<'_, &model::Vpc>]) -> RecordBatch {
    let cidrs = |row: &Row<'_, &model::Vpc>, family| {
        let vpc = row.network.vpc(&row.record.vpc_id)?;
        list(
            vpc.cidrs
                .iter()
                .filter(|net| Family::of_net(net) == family)
                .map(ToString::to_string),
        )
    };
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("vpc_id", |row| Some(&row.record.vpc_id))
        .text("name", |row| name(&row.record.tags))
        .text("cidr_block", |row| row.record.cidr_block.as_deref())
        .text("cidr_blocks", |row| cidrs(row, Family::V4))
        .text("ipv6_cidr_blocks", |row| cidrs(row, Family::V6))
        .flag("is_default", |row| Some(row.record.is_default))
        .text("state", |row| row.record.state.as_deref())
        .text("internet_gateway_block_mode", |row| {
            row.record
                .block_public_access_states
                .internet_gateway_block_mode
                .as_deref()
        })
        .text("tags", |row| tags(&row.record.tags))
        .finish()
}

pub(super) fn subnets(rows: &[Row<'_, &model::Subnet>]) -> RecordBatch {
    fn known<'n>(row: &Row<'n, &model::Subnet>) -> Option<&'n crate::topology::Subnet> {
        row.network.subnet(&row.record.subnet_id)
    }
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("vpc_id", |row| row.record.vpc_id.as_deref())
        .text("subnet_id", |row| Some(&row.record.subnet_id))
        .text("name", |row| name(&row.record.tags))
        .text("cidr_block", |row| row.record.cidr_block.as_deref())
        .text("ipv6_cidr_block", |row| {
            known(row)?
                .ipv6_cidr_blocks
                .first()
                .map(ToString::to_string)
        })
        .text("availability_zone", |row| {
            row.record.availability_zone.as_deref()
        })
        .text("availability_zone_id", |row| {
            row.record.availability_zone_id.as_deref()
        })
        .text("class", |row| Some(known(row)?.class(Family::V4)?.as_str()))
        .text("class_reason", |row| known(row)?.class_reason(Family::V4))
        .text("class6", |row| {
            Some(known(row)?.class(Family::V6)?.as_str())
        })
        .text("class6_reason", |row| known(row)?.class_reason(Family::V6))
        .text("route_table_id", |row| {
            known(row)?.route_table_id.as_deref()
        })
        .text("nacl_id", |row| known(row)?.nacl_id.as_deref())
        .flag("map_public_ip_on_launch", |row| {
            Some(row.record.map_public_ip_on_launch)
        })
        .int("available_ip_address_count", |row| {
            row.record.available_ip_address_count
        })
        .text("state", |row| row.record.state.as_deref())
        .text("internet_gateway_block_mode", |row| {
            row.record
                .block_public_access_states
                .internet_gateway_block_mode
                .as_deref()
        })
        .text("tags", |row| tags(&row.record.tags))
        .finish()
}

pub(super) fn route_tables(rows: &[Row<'_, &model::RouteTable>]) -> RecordBatch {
    let associations =
        |row: &Row<'_, &model::RouteTable>,
         id: fn(&model::RouteTableAssociation) -> Option<&String>| {
            list(row.record.associations.iter().filter_map(id))
        };
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("vpc_id", |row| row.record.vpc_id.as_deref())
        .text("route_table_id", |row| Some(&row.record.route_table_id))
        .text("name", |row| name(&row.record.tags))
        .flag("main", |row| {
            Some(
                row.record
                    .associations
                    .iter()
                    .any(|association| association.main),
            )
        })
        .text("subnet_ids", |row| {
            associations(row, |association| association.subnet_id.as_ref())
        })
        .text("gateway_ids", |row| {
            associations(row, |association| association.gateway_id.as_ref())
        })
        .text("propagating_vgws", |row| {
            list(
                row.record
                    .propagating_vgws
                    .iter()
                    .map(|vgw| &vgw.gateway_id),
            )
        })
        .text("tags", |row| tags(&row.record.tags))
        .finish()
}

pub(super) fn routes(tables: &[Row<'_, &model::RouteTable>]) -> RecordBatch {
    let rows: Vec<_> = tables
        .iter()
        .flat_map(|row| {
            row.record
                .routes
                .iter()
                .enumerate()
                .map(|route| Row::new(row.network, (row.record, route)))
        })
        .collect();
    type RouteRow<'n> = Row<'n, (&'n model::RouteTable, (usize, &'n model::Route))>;
    fn built<'n>(row: &RouteRow<'n>) -> Option<(&'static str, &'n str)> {
        let (table, (position, _)) = row.record;
        row.network
            .route_table(&table.route_table_id)?
            .target_of(position)
    }
    Columns::of(&rows)
        .text("account_id", |row| row.record.0.account_id.as_deref())
        .text("region", |row| row.record.0.region.as_deref())
        .text("vpc_id", |row| row.record.0.vpc_id.as_deref())
        .text("route_table_id", |row| Some(&row.record.0.route_table_id))
        .text("destination_cidr_block", |row| {
            row.record.1.1.destination_cidr_block.as_deref()
        })
        .text("destination_ipv6_cidr_block", |row| {
            row.record.1.1.destination_ipv6_cidr_block.as_deref()
        })
        .text("destination_prefix_list_id", |row| {
            row.record.1.1.destination_prefix_list_id.as_deref()
        })
        .text("target", |row| built(row).map(|(target, _)| target))
        .text("target_id", |row| built(row).map(|(_, id)| id))
        .text("state", |row| row.record.1.1.state.as_deref())
        .text("origin", |row| row.record.1.1.origin.as_deref())
        .finish()
}

pub(super) fn nacls(rows: &[Row<'_, &model::NetworkAcl>]) -> RecordBatch {
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("vpc_id", |row| row.record.vpc_id.as_deref())
        .text("nacl_id", |row| Some(&row.record.network_acl_id))
        .text("name", |row| name(&row.record.tags))
        .flag("is_default", |row| Some(row.record.is_default))
        .text("subnet_ids", |row| {
            list(
                row.record
                    .associations
                    .iter()
                    .filter_map(|association| association.subnet_id.as_ref()),
            )
        })
        .text("tags", |row| tags(&row.record.tags))
        .finish()
}

pub(super) fn nacl_entries(acls: &[Row<'_, &model::NetworkAcl>]) -> RecordBatch {
    let rows: Vec<_> = acls
        .iter()
        .flat_map(|row| {
            row.record
                .entries
                .iter()
                .map(|entry| Row::new(row.network, (row.record, entry)))
        })
        .collect();
    Columns::of(&rows)
        .text("account_id", |row| row.record.0.account_id.as_deref())
        .text("region", |row| row.record.0.region.as_deref())
        .text("vpc_id", |row| row.record.0.vpc_id.as_deref())
        .text("nacl_id", |row| Some(&row.record.0.network_acl_id))
        .flag("egress", |row| Some(row.record.1.egress))
        .int("rule_number", |row| Some(row.record.1.rule_number))
        .text("rule_action", |row| row.record.1.rule_action.as_deref())
        .int("protocol", |row| {
            row.record.1.protocol.as_ref()?.parse().ok()
        })
        .int("port_from", |row| row.record.1.port_range.as_ref()?.from)
        .int("port_to", |row| row.record.1.port_range.as_ref()?.to)
        .int("icmp_type", |row| {
            row.record.1.icmp_type_code.as_ref()?.r#type
        })
        .int("icmp_code", |row| {
            row.record.1.icmp_type_code.as_ref()?.code
        })
        .text("cidr_block", |row| row.record.1.cidr_block.as_deref())
        .text("ipv6_cidr_block", |row| {
            row.record.1.ipv6_cidr_block.as_deref()
        })
        .finish()
}

pub(super) fn interfaces(rows: &[Row<'_, &model::NetworkInterface>]) -> RecordBatch {
    fn known<'n>(
        row: &Row<'n, &model::NetworkInterface>,
    ) -> Option<&'n crate::topology::Interface> {
        row.network.interface(&row.record.network_interface_id)
    }
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("vpc_id", |row| row.record.vpc_id.as_deref())
        .text("subnet_id", |row| row.record.subnet_id.as_deref())
        .text("interface_id", |row| Some(&row.record.network_interface_id))
        .text("name", |row| name(&row.record.tag_set))
        .text("interface_type", |row| row.record.interface_type.as_deref())
        .text("kind", |row| Some(known(row)?.kind().as_str()))
        .text("description", |row| row.record.description.as_deref())
        .text("status", |row| row.record.status.as_deref())
        .text("availability_zone", |row| {
            row.record.availability_zone.as_deref()
        })
        .text("instance_id", |row| known(row)?.instance_id.as_deref())
        .text("private_ip_address", |row| {
            row.record.private_ip_address.as_deref()
        })
        .text("private_ip_addresses", |row| {
            list(known(row)?.addresses.iter().filter(|addr| addr.is_ipv4()))
        })
        .text("public_ips", |row| list(&known(row)?.public_addresses))
        .text("ipv6_addresses", |row| {
            list(known(row)?.addresses.iter().filter(|addr| addr.is_ipv6()))
        })
        .text("prefixes", |row| list(&known(row)?.prefixes))
        .text("group_ids", |row| {
            list(
                row.record
                    .groups
                    .iter()
                    .filter_map(|group| group.group_id.as_ref()),
            )
        })
        .text("requester_id", |row| row.record.requester_id.as_deref())
        .flag("requester_managed", |row| {
            Some(row.record.requester_managed)
        })
        .flag("source_dest_check", |row| row.record.source_dest_check)
        .text("tags", |row| tags(&row.record.tag_set))
        .finish()
}

pub(super) fn nat_gateways(rows: &[Row<'_, &model::NatGateway>]) -> RecordBatch {
    let addresses = |row: &Row<'_, &model::NatGateway>,
                     part: fn(&model::NatGatewayAddress) -> Option<&String>| {
        list(row.record.nat_gateway_addresses.iter().filter_map(part))
    };
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("vpc_id", |row| row.record.vpc_id.as_deref())
        .text("subnet_id", |row| row.record.subnet_id.as_deref())
        .text("nat_gateway_id", |row| Some(&row.record.nat_gateway_id))
        .text("name", |row| name(&row.record.tags))
        .text("state", |row| row.record.state.as_deref())
        .text("connectivity_type", |row| {
            row.record.connectivity_type.as_deref()
        })
        .text("availability_mode", |row| {
            row.record.availability_mode.as_deref()
        })
        .text("route_table_id", |row| row.record.route_table_id.as_deref())
        .text("private_ips", |row| {
            addresses(row, |address| address.private_ip.as_ref())
        })
        .text("public_ips", |row| {
            addresses(row, |address| address.public_ip.as_ref())
        })
        .text("interface_ids", |row| {
            addresses(row, |address| address.network_interface_id.as_ref())
        })
        .text("tags", |row| tags(&row.record.tags))
        .finish()
}

pub(super) fn endpoints(rows: &[Row<'_, &model::VpcEndpoint>]) -> RecordBatch {
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("vpc_id", |row| row.record.vpc_id.as_deref())
        .text("vpc_endpoint_id", |row| Some(&row.record.vpc_endpoint_id))
        .text("name", |row| name(&row.record.tags))
        .text("vpc_endpoint_type", |row| {
            row.record.vpc_endpoint_type.as_deref()
        })
        .text("service_name", |row| row.record.service_name.as_deref())
        .text("state", |row| row.record.state.as_deref())
        .text("route_table_ids", |row| list(&row.record.route_table_ids))
        .text("subnet_ids", |row| list(&row.record.subnet_ids))
        .text("interface_ids", |row| {
            list(&row.record.network_interface_ids)
        })
        .text("tags", |row| tags(&row.record.tags))
        .finish()
}

pub(super) fn peerings(rows: &[Row<'_, &model::VpcPeeringConnection>]) -> RecordBatch {
    fn cidrs(side: &model::PeeringVpcInfo) -> Option<String> {
        let v4 = side
            .cidr_block_set
            .iter()
            .filter_map(|association| association.cidr_block.as_ref());
        let v6 = side
            .ipv6_cidr_block_set
            .iter()
            .filter_map(|association| association.ipv6_cidr_block.as_ref());
        let first = side
            .cidr_block
            .as_ref()
            .filter(|_| side.cidr_block_set.is_empty());
        list(first.into_iter().chain(v4).chain(v6))
    }
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("vpc_peering_connection_id", |row| {
            Some(&row.record.vpc_peering_connection_id)
        })
        .text("name", |row| name(&row.record.tags))
        .text("status", |row| row.record.status.code.as_deref())
        .text("requester_account_id", |row| {
            row.record.requester_vpc_info.owner_id.as_deref()
        })
        .text("requester_region", |row| {
            row.record.requester_vpc_info.region.as_deref()
        })
        .text("requester_vpc_id", |row| {
            row.record.requester_vpc_info.vpc_id.as_deref()
        })
        .text("requester_cidr_blocks", |row| {
            cidrs(&row.record.requester_vpc_info)
        })
        .text("accepter_account_id", |row| {
            row.record.accepter_vpc_info.owner_id.as_deref()
        })
        .text("accepter_region", |row| {
            row.record.accepter_vpc_info.region.as_deref()
        })
        .text("accepter_vpc_id", |row| {
            row.record.accepter_vpc_info.vpc_id.as_deref()
        })
        .text("accepter_cidr_blocks", |row| {
            cidrs(&row.record.accepter_vpc_info)
        })
        .text("tags", |row| tags(&row.record.tags))
        .finish()
}

pub(super) fn prefix_lists(rows: &[Row<'_, &model::PrefixList>]) -> RecordBatch {
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("prefix_list_id", |row| Some(&row.record.prefix_list_id))
        .text("prefix_list_name", |row| {
            row.record.prefix_list_name.as_deref()
        })
        .text("owner_id", |row| row.record.owner_id.as_deref())
        .text("address_family", |row| row.record.address_family.as_deref())
        .text("cidrs", |row| list(row.record.known_cidrs()?))
        .text("tags", |row| tags(&row.record.tags))
        .finish()
}

pub(super) fn flow_logs(rows: &[Row<'_, &model::FlowLog>]) -> RecordBatch {
    Columns::of(rows)
        .text("account_id", |row| row.record.account_id.as_deref())
        .text("region", |row| row.record.region.as_deref())
        .text("flow_log_id", |row| Some(&row.record.flow_log_id))
        .text("resource_id", |row| row.record.resource_id.as_deref())
        .text("traffic_type", |row| row.record.traffic_type.as_deref())
        .text("flow_log_status", |row| {
            row.record.flow_log_status.as_deref()
        })
        .text("deliver_logs_status", |row| {
            row.record.deliver_logs_status.as_deref()
        })
        .text("deliver_logs_error_message", |row| {
            row.record.deliver_logs_error_message.as_deref()
        })
        .text("log_destination_type", |row| {
            row.record.log_destination_type.as_deref()
        })
        .text("log_destination", |row| {
            row.record.log_destination.as_deref()
        })
        .text("log_group_name", |row| row.record.log_group_name.as_deref())
        .text("log_format", |row| row.record.log_format.as_deref())
        .int("max_aggregation_interval", |row| {
            row.record.max_aggregation_interval
        })
        .text("creation_time", |row| row.record.creation_time.as_deref())
        .text("tags", |row| tags(&row.record.tags))
        .finish()
}
