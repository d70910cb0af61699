//! What a later import replaces and what it leaves.

use serde_json::json;

use super::*;
use crate::topology::model::Kind;
use crate::topology::world::World;
use crate::topology::{Class, Family};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn history(imports: &[(i64, &World)]) -> History {
    let snapshots = imports
        .iter()
        .map(|(seconds, world)| world.import_at(*seconds).snapshot)
        .collect();
    History::new(snapshots, Settings::default())
}

fn subnets(network: &Network) -> Vec<&str> {
    network
        .subnets()
        .iter()
        .map(|subnet| subnet.id.as_ref())
        .collect()
}

fn base() -> World {
    World::new()
        .vpc("vpc-1", &["10.0.0.0/16"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"])
        .subnet("subnet-2", "vpc-1", &["10.0.2.0/24"])
        .table("rtb-1", "vpc-1", &["main"], &[("0.0.0.0/0", "igw-1")])
}

#[test]
fn a_flow_sees_the_latest_snapshot_before_it_else_the_earliest() {
    let later =
        World::new()
            .vpc("vpc-1", &["10.0.0.0/16"])
            .subnet("subnet-3", "vpc-1", &["10.0.3.0/24"]);
    let history = history(&[(200, &later), (100, &base())]);
    assert_eq!(history.times().collect::<Vec<_>>(), [at(100), at(200)]);
    for (time, expected) in [(0, 100), (100, 100), (199, 100), (200, 200), (999, 200)] {
        assert_eq!(history.at(at(time)).at(), at(expected), "{time}");
    }
    assert_eq!(history.latest().at(), at(200));
}

#[test]
fn an_import_of_subnets_only_keeps_the_routes() {
    let later = World::new()
        .subnet("subnet-2", "vpc-1", &["10.0.2.0/24"])
        .subnet("subnet-3", "vpc-1", &["10.0.3.0/24"]);
    let history = history(&[(100, &base()), (200, &later)]);
    let network = history.at(at(200));
    assert_eq!(subnets(network), ["subnet-2", "subnet-3"]);
    assert_eq!(
        network.subnet("subnet-3").unwrap().class(Family::V4),
        Some(Class::Public)
    );
    assert_eq!(subnets(history.at(at(150))), ["subnet-1", "subnet-2"]);
}

#[test]
fn an_import_of_another_account_or_region_erases_nothing() {
    let elsewhere = |account: &str, zone: &str| {
        World::new().add(
            Kind::Subnets,
            json!({"SubnetId": format!("subnet-{account}"), "VpcId": "vpc-9", "OwnerId": account,
                   "AvailabilityZone": zone, "CidrBlock": "10.9.0.0/24"}),
        )
    };
    let history = history(&[
        (100, &base()),
        (200, &elsewhere("222222222222", "eu-west-1b")),
        (300, &elsewhere("111111111111", "us-east-1a")),
    ]);
    assert_eq!(
        subnets(history.at(at(300))),
        [
            "subnet-1",
            "subnet-111111111111",
            "subnet-2",
            "subnet-222222222222"
        ]
    );
}

#[test]
fn what_an_account_shares_with_another_erases_nothing_of_its_own() {
    // Account 2 sees one of account 1's subnets and has a route table itself.
    let participant = World::new()
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"])
        .add(Kind::RouteTables, json!({"RouteTableId": "rtb-9", "VpcId": "vpc-9", "OwnerId": "222222222222", "Routes": []}));
    let history = history(&[(100, &base()), (200, &participant)]);
    assert_eq!(subnets(history.at(at(200))), ["subnet-1", "subnet-2"]);
}

#[test]
fn an_empty_list_says_that_nothing_is_left() {
    let with_nat = base().nat("nat-1", "vpc-1", "subnet-1");
    let document = json!({"Vpcs": [{"VpcId": "vpc-1", "OwnerId": "111111111111", "CidrBlock": "10.0.0.0/16"}],
        "Subnets": [{"SubnetId": "subnet-1", "VpcId": "vpc-1", "OwnerId": "111111111111", "AvailabilityZone": "eu-west-1a",
                     "CidrBlock": "10.0.1.0/24"}],
        "NatGateways": []});
    let emptied = crate::topology::import::import_document(document, at(200)).snapshot;
    let history = History::new(
        vec![with_nat.import_at(100).snapshot, emptied],
        Settings::default(),
    );
    assert!(history.at(at(150)).nat_gateway("nat-1").is_some());
    assert!(history.at(at(200)).nat_gateway("nat-1").is_none());
}

#[test]
fn entries_of_a_prefix_list_outlive_its_description() {
    let described = json!({"PrefixListId": "pl-0abc", "PrefixListName": "office", "OwnerId": "111111111111",
        "PrefixListArn": "arn:aws:ec2:eu-west-1:111111111111:prefix-list/pl-0abc"});
    let mut whole = described.clone();
    whole["Entries"] = json!([{"Cidr": "198.51.100.0/24"}]);
    let (whole, described) = (
        World::new().add(Kind::PrefixLists, whole),
        World::new().add(Kind::PrefixLists, described),
    );
    let history = history(&[(100, &whole), (200, &described)]);
    let list = &history.at(at(200)).resources().prefix_lists[0];
    assert_eq!(list.known_cidrs(), Some(vec!["198.51.100.0/24"]));
}

#[test]
fn an_empty_history_knows_nothing_and_still_answers() {
    let history = history(&[]);
    assert!(history.is_empty());
    let network = history.at(at(0));
    let vantage = network.vantage(None, None, None, None, None);
    assert_eq!(
        network
            .resolve(&vantage, "8.8.8.8".parse().unwrap())
            .scope
            .as_str(),
        "internet"
    );
}

#[test]
fn a_snapshot_survives_its_bytes_and_its_hash_ignores_the_time() {
    let (one, two) = (
        base().import_at(100).snapshot,
        base().import_at(200).snapshot,
    );
    assert_eq!(Snapshot::from_bytes(&one.to_bytes()).unwrap(), one);
    assert_eq!(one.content_hash(), two.content_hash());
    assert_ne!(
        one.content_hash(),
        base()
            .vpc("vpc-9", &[])
            .import_at(100)
            .snapshot
            .content_hash()
    );
    let error = Snapshot::from_bytes(b"not gzip").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the stored topology snapshot"
    );
}
