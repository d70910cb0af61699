//! Rows of a small world.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, TimeUnit};
use serde_json::json;

use super::*;
use crate::topology::model::Kind;
use crate::topology::world::World;
use crate::topology::{History, Settings};

const NAMES: [&str; 15] = [
    "vpcs",
    "subnets",
    "route_tables",
    "routes",
    "nacls",
    "nacl_entries",
    "security_groups",
    "security_group_rules",
    "interfaces",
    "nat_gateways",
    "gateways",
    "endpoints",
    "peerings",
    "prefix_lists",
    "flow_logs",
];

fn world() -> World {
    World::new()
        .vpc("vpc-1", &["10.0.0.0/16", "2600:1f00::/56"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24", "2600:1f00:0:1::/64"])
        .with(Kind::Subnets, "Tags", json!([{"Key": "Name", "Value": "web \"a\""}]))
        .table("rtb-1", "vpc-1", &["main"], &[("0.0.0.0/0", "igw-1"), ("10.9.0.0/16", "pcx-1!")])
        .interface("eni-1", "vpc-1", "subnet-1", &["10.0.1.5", "2600:1f00:0:1::5"], Some("203.0.113.5"))
        .add(Kind::NetworkAcls, json!({"NetworkAclId": "acl-1", "VpcId": "vpc-1", "Associations": [{"SubnetId": "subnet-1"}],
            "Entries": [{"RuleNumber": 100, "Protocol": "6", "Egress": false, "RuleAction": "allow", "CidrBlock": "0.0.0.0/0",
                         "PortRange": {"From": 443, "To": 443}}]}))
        .add(Kind::SecurityGroups, json!({"GroupId": "sg-1", "VpcId": "vpc-1", "IpPermissions": [
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
             "UserIdGroupPairs": [{"GroupId": "sg-2"}]}]}))
        .add(Kind::InternetGateways, json!({"InternetGatewayId": "igw-1", "Attachments": [{"VpcId": "vpc-1", "State": "available"}]}))
}

fn table(history: &History, name: &str) -> RecordBatch {
    tables(history)
        .into_iter()
        .find(|(found, _)| *found == name)
        .unwrap()
        .1
}

fn text(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let array = batch
        .column_by_name(column)
        .unwrap_or_else(|| panic!("no column `{column}`"))
        .as_string::<i32>();
    array.is_valid(row).then(|| array.value(row).to_owned())
}

#[test]
fn every_table_is_there_and_starts_with_its_time_even_when_empty() {
    let empty = tables(&History::new(Vec::new(), Settings::default()));
    let full = tables(&world().history());
    assert_eq!(
        empty.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        NAMES
    );
    for ((name, empty), (_, full)) in empty.iter().zip(&full) {
        assert_eq!(empty.num_rows(), 0, "{name}");
        assert_eq!(empty.schema(), full.schema(), "{name}");
        let schema = empty.schema();
        assert_eq!(schema.field(0).name(), "snapshot_at", "{name}");
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(schema.field(0).data_type(), &timestamp, "{name}");
        assert!(
            schema.field_with_name("account_id").is_ok()
                && schema.field_with_name("region").is_ok(),
            "{name}"
        );
    }
}

#[test]
fn a_subnet_says_its_class_and_why() {
    let subnets = table(&world().history(), "subnets");
    let value = |column| text(&subnets, column, 0);
    assert_eq!(subnets.num_rows(), 1);
    for (column, expected) in [
        ("account_id", "111111111111"),
        ("region", "eu-west-1"),
        ("subnet_id", "subnet-1"),
        ("name", "web \"a\""),
        ("cidr_block", "10.0.1.0/24"),
        ("ipv6_cidr_block", "2600:1f00:0:1::/64"),
        ("class", "public"),
        (
            "class_reason",
            "rtb-1 (main, implicit) sends 0.0.0.0/0 to igw-1; 10.9.0.0/16 to pcx-1 is a blackhole and ignored",
        ),
        ("class6", "isolated"),
        ("route_table_id", "rtb-1"),
        ("nacl_id", "acl-1"),
        ("tags", r#"{"Name":"web \"a\""}"#),
    ] {
        assert_eq!(value(column).as_deref(), Some(expected), "{column}");
    }
}

#[test]
fn rows_of_every_snapshot_are_there() {
    let snapshots = vec![
        world().import_at(100).snapshot,
        World::new()
            .vpc("vpc-2", &["10.2.0.0/16"])
            .import_at(200)
            .snapshot,
    ];
    let history = History::new(snapshots, Settings::default());
    // The second import covers the account's VPCs nowhere else, so that the first one's stay.
    let vpcs = table(&history, "vpcs");
    let times = vpcs
        .column(0)
        .as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    let rows: Vec<_> = (0..vpcs.num_rows())
        .map(|row| (times.value(row), text(&vpcs, "vpc_id", row).unwrap()))
        .collect();
    let expected = [
        (100_000_000, "vpc-1"),
        (200_000_000, "vpc-1"),
        (200_000_000, "vpc-2"),
    ];
    assert_eq!(rows, expected.map(|(time, id)| (time, id.to_owned())));
    assert_eq!(table(&history, "subnets").num_rows(), 2);
}

#[test]
fn details_have_a_row_each() {
    let history = world().history();
    let routes = table(&history, "routes");
    assert_eq!(routes.num_rows(), 3);
    let targets: Vec<_> = (0..3)
        .map(|row| {
            (
                text(&routes, "target", row),
                text(&routes, "target_id", row),
            )
        })
        .collect();
    let targets: Vec<_> = targets
        .iter()
        .map(|(target, id)| (target.as_deref().unwrap(), id.as_deref().unwrap()))
        .collect();
    assert_eq!(
        targets,
        [("local", "local"), ("igw", "igw-1"), ("none", "pcx-1")]
    );
    let entries = table(&history, "nacl_entries");
    let protocol = entries
        .column_by_name("protocol")
        .unwrap()
        .as_primitive::<arrow::datatypes::Int32Type>();
    assert_eq!(protocol.value(0), 6);
    let rules = table(&history, "security_group_rules");
    assert_eq!(rules.num_rows(), 2);
    assert_eq!(text(&rules, "cidr_ipv4", 0).as_deref(), Some("10.0.0.0/8"));
    assert_eq!(
        text(&rules, "referenced_group_id", 1).as_deref(),
        Some("sg-2")
    );
    assert_eq!(
        text(&table(&history, "gateways"), "vpc_id", 0).as_deref(),
        Some("vpc-1")
    );
    let interfaces = table(&history, "interfaces");
    assert_eq!(
        text(&interfaces, "public_ips", 0).as_deref(),
        Some(r#"["203.0.113.5"]"#)
    );
    assert_eq!(text(&interfaces, "kind", 0).as_deref(), Some("interface"));
}
