//! The one table of fields: AWS's names, our column names, types, and the version that brought each.
//!
//! Everything that depends on a field (header test, checks, Arrow schema, Parquet cast) derives from [`FIELDS`].
//! VPC fields: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>; Transit Gateway fields:
//! <https://docs.aws.amazon.com/vpc/latest/tgw/tgw-flow-logs.html>.

/// How the values of a field are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text as AWS wrote it.
    Text,
    /// The value of a resource tag: UTF-8 percent-encoded in the log, kept decoded.
    Tag,
    /// A number that fits 32 bits (`INT_32` in AWS's Parquet).
    Int32,
    /// A number that needs 64 bits (`INT_64` in AWS's Parquet).
    Int64,
    /// Unix time.
    Timestamp,
}

/// What a value of a field must look like, beyond its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Any text.
    Text,
    /// Any text, percent-encoded.
    Tag,
    /// An account id, `unknown`, or whatever AWS writes there, but not the `TransitGateway` of a misaligned row.
    Account,
    /// An IP address, or the MAC address of an EFA record.
    Address,
    /// `ACCEPT` or `REJECT`.
    Action,
    /// `OK`, `NODATA` or `SKIPDATA`.
    Status,
    /// 0 to 65535.
    Port,
    /// 0 to 255.
    Byte,
    /// A number that fits `i32`, not negative.
    Int32,
    /// A number that fits `i64`, not negative.
    Int64,
    /// Unix seconds, or milliseconds.
    Epoch,
    /// A field that is not in the table.
    Unknown,
}

impl Rule {
    /// Whether a text may be a value, for the rules that allow only some.
    pub(crate) fn admits(self, text: &[u8]) -> bool {
        match self {
            // Transit Gateway records have been seen in files of VPC flow logs; there, `resource-type` comes second
            // (https://github.com/obsrvbl-oss/flowlogs-reader/issues/58).
            Self::Account => text != b"TransitGateway",
            Self::Action => text == b"ACCEPT" || text == b"REJECT",
            _ => true,
        }
    }

    /// The largest number that may be a value.
    pub(crate) fn most(self) -> i64 {
        match self {
            Self::Port => 65_535,
            Self::Byte => 255,
            Self::Int32 => i32::MAX as i64,
            _ => i64::MAX,
        }
    }

    /// What to tell somebody whose value breaks the rule.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Text | Self::Tag | Self::Unknown => "text",
            Self::Account => {
                "an account id (this looks like a Transit Gateway record under a VPC header)"
            }
            Self::Address => "an IP address, a MAC address or `-`",
            Self::Action => "`ACCEPT`, `REJECT` or `-`",
            Self::Status => "`OK`, `NODATA` or `SKIPDATA`",
            Self::Port => "0-65535 or `-`",
            Self::Byte => "0-255 or `-`",
            Self::Int32 => "0-2147483647 or `-`",
            Self::Int64 => "0-9223372036854775807 or `-`",
            Self::Epoch => "Unix seconds or milliseconds up to the year 9999, or `-`",
        }
    }
}

/// One field of a flow log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The name in a text header, as in `log-status`.
    pub name: &'static str,
    /// The name in Parquet and in our tables, as in `log_status`.
    pub column: &'static str,
    /// How its values are kept.
    pub kind: FieldKind,
    /// The flow log version that brought it; 6 is the Transit Gateway's.
    pub since: u8,
    pub(crate) rule: Rule,
}

const fn field(since: u8, name: &'static str, column: &'static str, rule: Rule) -> Field {
    let kind = match rule {
        Rule::Tag => FieldKind::Tag,
        Rule::Port | Rule::Byte | Rule::Int32 => FieldKind::Int32,
        Rule::Int64 => FieldKind::Int64,
        Rule::Epoch => FieldKind::Timestamp,
        Rule::Text
        | Rule::Account
        | Rule::Address
        | Rule::Action
        | Rule::Status
        | Rule::Unknown => FieldKind::Text,
    };
    Field {
        name,
        column,
        kind,
        since,
        rule,
    }
}

/// How many of [`FIELDS`] are VPC fields; the rest are the Transit Gateway's own.
pub const VPC_FIELDS: usize = 54;

/// Every field AWS documents: 54 VPC fields (v2 to v11), then the 18 that only Transit Gateway records (v6) have.
#[rustfmt::skip]
pub static FIELDS: [Field; 72] = [
    field(2, "version", "version", Rule::Int32),
    field(2, "account-id", "account_id", Rule::Account),
    field(2, "interface-id", "interface_id", Rule::Text),
    field(2, "srcaddr", "srcaddr", Rule::Address),
    field(2, "dstaddr", "dstaddr", Rule::Address),
    field(2, "srcport", "srcport", Rule::Port),
    field(2, "dstport", "dstport", Rule::Port),
    field(2, "protocol", "protocol", Rule::Byte),
    field(2, "packets", "packets", Rule::Int64),
    field(2, "bytes", "bytes", Rule::Int64),
    field(2, "start", "start", Rule::Epoch),
    field(2, "end", "end", Rule::Epoch),
    field(2, "action", "action", Rule::Action),
    field(2, "log-status", "log_status", Rule::Status),
    field(3, "vpc-id", "vpc_id", Rule::Text),
    field(3, "subnet-id", "subnet_id", Rule::Text),
    field(3, "instance-id", "instance_id", Rule::Text),
    field(3, "tcp-flags", "tcp_flags", Rule::Byte),
    field(3, "type", "type", Rule::Text),
    field(3, "pkt-srcaddr", "pkt_srcaddr", Rule::Address),
    field(3, "pkt-dstaddr", "pkt_dstaddr", Rule::Address),
    field(4, "region", "region", Rule::Text),
    field(4, "az-id", "az_id", Rule::Text),
    field(4, "sublocation-type", "sublocation_type", Rule::Text),
    field(4, "sublocation-id", "sublocation_id", Rule::Text),
    field(5, "pkt-src-aws-service", "pkt_src_aws_service", Rule::Text),
    field(5, "pkt-dst-aws-service", "pkt_dst_aws_service", Rule::Text),
    field(5, "flow-direction", "flow_direction", Rule::Text),
    field(5, "traffic-path", "traffic_path", Rule::Int32),
    field(7, "ecs-cluster-arn", "ecs_cluster_arn", Rule::Text),
    field(7, "ecs-cluster-name", "ecs_cluster_name", Rule::Text),
    field(7, "ecs-container-instance-arn", "ecs_container_instance_arn", Rule::Text),
    field(7, "ecs-container-instance-id", "ecs_container_instance_id", Rule::Text),
    field(7, "ecs-container-id", "ecs_container_id", Rule::Text),
    field(7, "ecs-second-container-id", "ecs_second_container_id", Rule::Text),
    field(7, "ecs-service-name", "ecs_service_name", Rule::Text),
    field(7, "ecs-task-definition-arn", "ecs_task_definition_arn", Rule::Text),
    field(7, "ecs-task-arn", "ecs_task_arn", Rule::Text),
    field(7, "ecs-task-id", "ecs_task_id", Rule::Text),
    field(8, "reject-reason", "reject_reason", Rule::Text),
    field(9, "resource-id", "resource_id", Rule::Text),
    field(10, "encryption-status", "encryption_status", Rule::Int32),
    field(11, "instance-tag", "instance_tag", Rule::Tag),
    field(11, "instance-tag-2", "instance_tag_2", Rule::Tag),
    field(11, "interface-tag", "interface_tag", Rule::Tag),
    field(11, "interface-tag-2", "interface_tag_2", Rule::Tag),
    field(11, "asg-tag", "asg_tag", Rule::Tag),
    field(11, "asg-tag-2", "asg_tag_2", Rule::Tag),
    field(11, "interface-type", "interface_type", Rule::Text),
    field(11, "next-hop-interface-id", "next_hop_interface_id", Rule::Text),
    field(11, "next-hop-subnet-id", "next_hop_subnet_id", Rule::Text),
    field(11, "next-hop-vpc-id", "next_hop_vpc_id", Rule::Text),
    field(11, "next-hop-az-id", "next_hop_az_id", Rule::Text),
    field(11, "next-hop-interface-type", "next_hop_interface_type", Rule::Text),
    field(6, "resource-type", "resource_type", Rule::Text),
    field(6, "tgw-id", "tgw_id", Rule::Text),
    field(6, "tgw-attachment-id", "tgw_attachment_id", Rule::Text),
    field(6, "tgw-src-vpc-account-id", "tgw_src_vpc_account_id", Rule::Text),
    field(6, "tgw-dst-vpc-account-id", "tgw_dst_vpc_account_id", Rule::Text),
    field(6, "tgw-src-vpc-id", "tgw_src_vpc_id", Rule::Text),
    field(6, "tgw-dst-vpc-id", "tgw_dst_vpc_id", Rule::Text),
    field(6, "tgw-src-subnet-id", "tgw_src_subnet_id", Rule::Text),
    field(6, "tgw-dst-subnet-id", "tgw_dst_subnet_id", Rule::Text),
    field(6, "tgw-src-eni", "tgw_src_eni", Rule::Text),
    field(6, "tgw-dst-eni", "tgw_dst_eni", Rule::Text),
    field(6, "tgw-src-az-id", "tgw_src_az_id", Rule::Text),
    field(6, "tgw-dst-az-id", "tgw_dst_az_id", Rule::Text),
    field(6, "tgw-pair-attachment-id", "tgw_pair_attachment_id", Rule::Text),
    field(6, "packets-lost-no-route", "packets_lost_no_route", Rule::Int64),
    field(6, "packets-lost-blackhole", "packets_lost_blackhole", Rule::Int64),
    field(6, "packets-lost-mtu-exceeded", "packets_lost_mtu_exceeded", Rule::Int64),
    field(6, "packets-lost-ttl-expired", "packets_lost_ttl_expired", Rule::Int64),
];

/// The place of a field in [`FIELDS`], by its name with `-` or with `_`.
pub(crate) fn index_of(name: &str) -> Option<usize> {
    FIELDS.iter().position(|field| {
        field.name.len() == name.len()
            && field
                .column
                .bytes()
                .zip(name.bytes())
                .all(|(ours, theirs)| ours == theirs || (ours == b'_' && theirs == b'-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_the_names_with_underscores() {
        for field in &FIELDS {
            assert_eq!(field.column, field.name.replace('-', "_"));
        }
    }

    #[test]
    fn every_version_brings_as_many_fields_as_aws_documents() {
        let brought = |version| FIELDS.iter().filter(|field| field.since == version).count();
        let counts: Vec<usize> = (2..=11).map(brought).collect();
        assert_eq!(counts, [14, 7, 4, 4, 18, 10, 1, 1, 1, 12]);
        assert!(FIELDS[..VPC_FIELDS].iter().all(|field| field.since != 6));
        assert!(FIELDS[VPC_FIELDS..].iter().all(|field| field.since == 6));
    }

    #[test]
    fn finds_a_field_by_either_spelling() {
        for (index, field) in FIELDS.iter().enumerate() {
            assert_eq!(index_of(field.name), Some(index));
            assert_eq!(index_of(field.column), Some(index));
        }
        assert_eq!(index_of("log-state"), None);
    }
}
