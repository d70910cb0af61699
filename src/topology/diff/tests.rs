//! What is said about two worlds that differ in one thing.

use serde_json::json;

use super::Difference;
use crate::topology::History;
use crate::topology::model::Kind;
use crate::topology::world::World;

fn world(routes: &[(&str, &str)]) -> World {
    World::new()
        .vpc("vpc-1", &["10.0.0.0/16", "2600:1f00::/56"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24", "2600:1f00:0:1::/64"])
        .with(
            Kind::Subnets,
            "Tags",
            json!([{"Key": "Name", "Value": "data"}]),
        )
        .table("rtb-1", "vpc-1", &["subnet-1"], routes)
        .table("rtb-main", "vpc-1", &["main"], &[])
}

fn difference(before: &World, after: &World) -> Difference {
    let snapshots = vec![before.import_at(0).snapshot, after.import_at(60).snapshot];
    let history = History::new(snapshots, before.settings.clone());
    let networks: Vec<_> = history.networks().collect();
    Difference::between(networks[0], networks[1])
}

/// Kind, change and words of each change.
fn changes(before: &World, after: &World) -> Vec<String> {
    difference(before, after)
        .changes
        .iter()
        .map(|change| format!("{} {}: {}", change.kind, change.change, change.words))
        .collect()
}

#[test]
fn nothing_changed_says_nothing() {
    let world = world(&[("0.0.0.0/0", "igw-1")]);
    assert_eq!(changes(&world, &world), Vec::<String>::new());
}

#[test]
fn a_subnet_that_turned_public_comes_first_with_the_route_that_did_it() {
    assert_eq!(
        changes(
            &world(&[("10.9.0.0/16", "tgw-1")]),
            &world(&[("::/0", "igw-1"), ("10.9.0.0/16", "tgw-2")])
        ),
        [
            "subnet_class turned_public: subnet-1 (data) turned public in IPv6 (was isolated): rtb-1 gained ::/0 → igw-1",
            "route changed: rtb-1 sends 10.9.0.0/16 to tgw-2, no longer to tgw-1",
            "route added: rtb-1 gained ::/0 → igw-1",
        ]
    );
    assert_eq!(
        changes(
            &world(&[("0.0.0.0/0", "igw-1!")]),
            &world(&[("0.0.0.0/0", "igw-1")])
        ),
        [
            "subnet_class turned_public: subnet-1 (data) turned public in IPv4 (was isolated): rtb-1 gained 0.0.0.0/0 → igw-1",
            "route changed: rtb-1 sends 0.0.0.0/0 to igw-1, no longer to igw-1 (black hole)",
        ]
    );
}

#[test]
fn another_table_or_block_public_access_may_be_the_cause() {
    let before = world(&[]).table("rtb-2", "vpc-1", &[], &[("0.0.0.0/0", "igw-1")]);
    let after = World::new()
        .vpc("vpc-1", &["10.0.0.0/16", "2600:1f00::/56"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24", "2600:1f00:0:1::/64"])
        .table("rtb-1", "vpc-1", &[], &[])
        .table("rtb-2", "vpc-1", &["subnet-1"], &[("0.0.0.0/0", "igw-1")])
        .table("rtb-main", "vpc-1", &["main"], &[]);
    let changes_ = changes(&before, &after);
    assert_eq!(
        &changes_[..2],
        [
            "subnet_class turned_public: subnet-1 turned public in IPv4 (was isolated): its route table is now rtb-2, was rtb-1: rtb-2 \
             sends 0.0.0.0/0 to igw-1",
            "subnet_route_table changed: subnet-1 now uses rtb-2 instead of rtb-1",
        ]
    );
    let blocked = |mode: &str| {
        world(&[("0.0.0.0/0", "igw-1")]).with(
            Kind::Vpcs,
            "BlockPublicAccessStates",
            json!({"InternetGatewayBlockMode": mode}),
        )
    };
    let opened = changes(&blocked("block-bidirectional"), &blocked("off"));
    assert_eq!(
        opened,
        [
            "subnet_class turned_public: subnet-1 (data) turned public in IPv4 (was isolated): Block Public Access is now off, was \
             block-bidirectional; rtb-1 sends 0.0.0.0/0 to igw-1",
            "vpc_block_public_access changed: Block Public Access of vpc-1 is now off, was block-bidirectional",
        ]
    );
}

#[test]
fn a_class_that_got_better_guarded_is_a_change_too() {
    assert_eq!(
        changes(&world(&[("0.0.0.0/0", "igw-1")]), &world(&[])),
        [
            "subnet_class changed: subnet-1 (data) is now isolated in IPv4 (was public): rtb-1 lost 0.0.0.0/0 → igw-1",
            "route removed: rtb-1 lost 0.0.0.0/0 → igw-1",
        ]
    );
}

#[test]
fn rules_are_said_by_number_and_direction() {
    let nacl = |action: &str| {
        world(&[]).add(
            Kind::NetworkAcls,
            json!({"NetworkAclId": "acl-1", "VpcId": "vpc-1", "Associations": [{"SubnetId": "subnet-1"}], "Entries": [
                {"CidrBlock": "0.0.0.0/0", "Egress": false, "Protocol": "6", "RuleAction": action, "RuleNumber": 100,
                 "PortRange": {"From": 22, "To": 22}}]}),
        )
    };
    assert_eq!(
        changes(&nacl("deny"), &nacl("allow")),
        [
            "nacl_entry changed: acl-1, ingress: rule 100 allows tcp 22 from 0.0.0.0/0; before, rule 100 denies tcp 22 from 0.0.0.0/0"
        ]
    );
    let group = |port: i32| {
        world(&[]).add(
            Kind::SecurityGroups,
            json!({"GroupId": "sg-1", "GroupName": "web", "VpcId": "vpc-1", "IpPermissions":
                [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}),
        )
    };
    assert_eq!(
        changes(&group(443), &group(22)),
        [
            "security_group_rule added: sg-1 (web) gained, ingress: tcp 22 from 0.0.0.0/0",
            "security_group_rule removed: sg-1 (web) lost, ingress: tcp 443 from 0.0.0.0/0",
        ]
    );
}

#[test]
fn an_address_that_moved_is_said_once() {
    let before = world(&[])
        .interface(
            "eni-1",
            "vpc-1",
            "subnet-1",
            &["10.0.1.5", "10.0.1.9"],
            None,
        )
        .interface("eni-2", "vpc-1", "subnet-1", &["10.0.1.6"], None)
        .interface("eni-3", "vpc-1", "subnet-1", &["10.0.1.7"], None);
    let after = world(&[])
        .interface("eni-1", "vpc-1", "subnet-1", &["10.0.1.5"], None)
        .interface(
            "eni-2",
            "vpc-1",
            "subnet-1",
            &["10.0.1.6", "10.0.1.9"],
            Some("203.0.113.5"),
        )
        .interface("eni-4", "vpc-1", "subnet-1", &["10.0.1.8"], None);
    assert_eq!(
        changes(&before, &after),
        [
            "address changed: 10.0.1.9 in vpc-1 moved from eni-1 to eni-2",
            "interface_address added: eni-2 gained 203.0.113.5 (public)",
            "interface removed: eni-3 went in subnet-1: 10.0.1.7",
            "interface added: eni-4 came in subnet-1: 10.0.1.8",
        ]
    );
}

#[test]
fn cidrs_gateways_and_flow_logs_come_last() {
    let base = |cidrs: &[&str], state: &str, delivery: &str| {
        World::new()
            .vpc("vpc-1", cidrs)
            .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"])
            .table("rtb-1", "vpc-1", &["main"], &[])
            .nat("nat-1", "vpc-1", "subnet-1")
            .with(Kind::NatGateways, "State", json!(state))
            .peering("pcx-1", "active", ("vpc-1", "10.0.0.0/16"), ("vpc-2", "10.1.0.0/16"))
            .add(
                Kind::FlowLogs,
                json!({"FlowLogId": "fl-1", "ResourceId": "vpc-1", "TrafficType": "ALL", "FlowLogStatus": "ACTIVE",
                       "DeliverLogsStatus": delivery}),
            )
    };
    assert_eq!(
        changes(
            &base(&["10.0.0.0/16"], "available", "SUCCESS"),
            &base(&["10.0.0.0/16", "10.2.0.0/16"], "deleted", "FAILED")
        ),
        [
            "vpc_cidr added: vpc-1 gained 10.2.0.0/16",
            "nat_gateway changed: nat-1 is now public NAT gateway, deleted, in subnet-1; before: public NAT gateway, available, in subnet-1",
            "flow_log changed: fl-1 is now ALL of vpc-1, active, delivery FAILED; before: ALL of vpc-1, active",
        ]
    );
}

#[test]
fn a_vpc_that_joined_a_transit_gateway_is_said() {
    let attachment = |id: &str, vpc: &str| json!({"TransitGatewayAttachmentId": id, "TransitGatewayId": "tgw-1", "VpcId": vpc, "State": "available"});
    let before = world(&[]).add(
        Kind::TransitGatewayVpcAttachments,
        attachment("tgw-attach-1", "vpc-1"),
    );
    let after = before.clone().add(
        Kind::TransitGatewayVpcAttachments,
        attachment("tgw-attach-2", "vpc-2"),
    );
    assert_eq!(
        changes(&before, &after),
        ["transit_gateway_attachment added: tgw-attach-2 is new: vpc-2 on tgw-1, available"]
    );
}

#[test]
fn gateways_to_other_networks_are_said() {
    let base = |attachments: &[&str], state: &str| {
        let attachments: Vec<_> = attachments
            .iter()
            .map(|vpc| json!({"VpcId": vpc, "State": "attached"}))
            .collect();
        world(&[])
            .add(
                Kind::VpnGateways,
                json!({"VpnGatewayId": "vgw-1", "State": "available", "VpcAttachments": attachments}),
            )
            .add(
                Kind::CarrierGateways,
                json!({"CarrierGatewayId": "cagw-1", "VpcId": "vpc-1", "State": state}),
            )
            .add(
                Kind::TransitGateways,
                json!({"TransitGatewayId": "tgw-1", "State": state}),
            )
            .add(
                Kind::TransitGatewayRouteTables,
                json!({"TransitGatewayRouteTableId": "tgw-rtb-1", "TransitGatewayId": "tgw-1", "State": state}),
            )
    };
    assert_eq!(
        changes(&base(&[], "available"), &base(&["vpc-1"], "deleting")),
        [
            "vpn_gateway changed: vgw-1 is now available, attached to vpc-1; before: available, attached to nothing",
            "carrier_gateway changed: cagw-1 is now deleting, of vpc-1; before: available, of vpc-1",
            "transit_gateway changed: tgw-1 is now deleting; before: available",
            "transit_gateway_route_table changed: tgw-rtb-1 is now deleting, of tgw-1; before: available, of tgw-1",
        ]
    );
}

#[test]
fn what_one_side_says_nothing_of_is_noted_and_no_change() {
    let with_interface = world(&[]).interface("eni-1", "vpc-1", "subnet-1", &["10.0.1.5"], None);
    let difference = difference(&world(&[]), &with_interface);
    assert_eq!(difference.changes, []);
    assert_eq!(
        difference.notes,
        [
            "`NetworkInterfaces` are not compared: only the later topology has them, the earlier one says nothing of them"
        ]
    );
}
