//! A world for every class.

use serde_json::json;

use super::*;
use crate::topology::model::Kind;
use crate::topology::world::World;

/// One VPC with a public subnet, a subnet for firewalls and NATs, and `subnet-1` to be judged.
fn world(routes: &[(&str, &str)]) -> World {
    World::new()
        .vpc("vpc-1", &["10.0.0.0/16", "2600:1f00::/56"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24", "2600:1f00:0:1::/64"])
        .subnet("subnet-public", "vpc-1", &["10.0.9.0/24"])
        .subnet("subnet-closed", "vpc-1", &["10.0.8.0/24"])
        .table("rtb-1", "vpc-1", &["subnet-1"], routes)
        .table(
            "rtb-public",
            "vpc-1",
            &["subnet-public"],
            &[("0.0.0.0/0", "igw-1"), ("::/0", "igw-1")],
        )
        .table("rtb-main", "vpc-1", &["main"], &[])
}

fn judged(world: &World, family: Family) -> (Class, String) {
    let network = world.network();
    let subnet = network.subnet("subnet-1").unwrap();
    (
        subnet.class(family).unwrap(),
        subnet.class_reason(family).unwrap().to_owned(),
    )
}

#[track_caller]
fn expect(world: &World, class: Class, reason: &str) {
    assert_eq!(judged(world, Family::V4), (class, reason.to_owned()));
}

#[test]
fn an_internet_gateway_makes_a_subnet_public() {
    expect(
        &world(&[("0.0.0.0/0", "igw-1")]),
        Class::Public,
        "rtb-1 sends 0.0.0.0/0 to igw-1",
    );
    expect(
        &world(&[("0.0.0.0/0", "cagw-1")]),
        Class::Public,
        "rtb-1 sends 0.0.0.0/0 to cagw-1",
    );
}

#[test]
fn so_does_half_a_default_route_or_a_specific_one() {
    expect(
        &world(&[("0.0.0.0/1", "igw-1"), ("128.0.0.0/1", "igw-1")]),
        Class::Public,
        "rtb-1 sends 0.0.0.0/1 and 128.0.0.0/1 to igw-1",
    );
    expect(
        &world(&[("0.0.0.0/0", "nat-1"), ("203.0.113.0/24", "igw-1")]),
        Class::Public,
        "rtb-1 sends 203.0.113.0/24 to igw-1",
    );
}

#[test]
fn so_does_a_prefix_list_with_everything_in_it() {
    let world = world(&[("pl-1234", "igw-1")]).prefix_list("pl-1234", &["0.0.0.0/0"]);
    expect(&world, Class::Public, "rtb-1 sends pl-1234 to igw-1");
}

#[test]
fn the_main_table_counts_where_no_other_is_associated() {
    let world = World::new()
        .vpc("vpc-1", &["10.0.0.0/16"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"])
        .table(
            "rtb-0a1",
            "vpc-1",
            &["main", "igw-0b2"],
            &[("0.0.0.0/0", "igw-0b2")],
        );
    expect(
        &world,
        Class::Public,
        "rtb-0a1 (main, implicit) sends 0.0.0.0/0 to igw-0b2",
    );
    let explicit = World::new()
        .vpc("vpc-1", &["10.0.0.0/16"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"])
        .table("rtb-0a1", "vpc-1", &["main", "subnet-1"], &[]);
    expect(
        &explicit,
        Class::Isolated,
        "rtb-0a1 (main, explicit) has only local routes",
    );
}

#[test]
fn a_firewall_endpoint_before_the_gateway_is_public_via_inspection() {
    let world = world(&[("0.0.0.0/0", "vpce-1"), ("10.8.0.0/16", "tgw-1")]).endpoint(
        "vpce-1",
        "vpc-1",
        "GatewayLoadBalancer",
        "com.amazonaws.vpce.eu-west-1.vpce-svc-1",
        &["subnet-public"],
    );
    expect(
        &world,
        Class::PublicViaInspection,
        "rtb-1 sends 0.0.0.0/0 to vpce-1 (an inspection endpoint in subnet-public, which is public)",
    );
}

#[test]
fn an_appliance_before_the_gateway_is_public_via_inspection() {
    let world = world(&[("0.0.0.0/0", "eni-1")]).interface(
        "eni-1",
        "vpc-1",
        "subnet-public",
        &["10.0.9.9"],
        None,
    );
    expect(
        &world,
        Class::PublicViaInspection,
        "rtb-1 sends 0.0.0.0/0 to eni-1 (an appliance in subnet-public, which is public)",
    );
}

#[test]
fn a_nat_instance_is_a_nat() {
    let world = world(&[("0.0.0.0/0", "eni-1")]).interface(
        "eni-1",
        "vpc-1",
        "subnet-public",
        &["10.0.9.9"],
        Some("203.0.113.9"),
    );
    expect(
        &world,
        Class::PrivateNat,
        "rtb-1 sends 0.0.0.0/0 to eni-1 (a NAT instance in subnet-public, which is public)",
    );
}

#[test]
fn a_nat_gateway_in_a_public_subnet_makes_private_nat() {
    let world = world(&[("0.0.0.0/0", "nat-1")]).nat("nat-1", "vpc-1", "subnet-public");
    expect(
        &world,
        Class::PrivateNat,
        "rtb-1 sends 0.0.0.0/0 to nat-1 (in subnet-public, which is public)",
    );
}

#[test]
fn a_nat_gateway_that_leads_nowhere_does_not() {
    let closed = world(&[("0.0.0.0/0", "nat-1")]).nat("nat-1", "vpc-1", "subnet-closed");
    expect(
        &closed,
        Class::Isolated,
        "rtb-1 has no route that leads out of the VPC; 0.0.0.0/0 to nat-1 leads nowhere: subnet-closed is isolated, not public",
    );
    let deleted = world(&[("0.0.0.0/0", "nat-1"), ("10.8.0.0/16", "pcx-1")])
        .nat("nat-1", "vpc-1", "subnet-public")
        .with(Kind::NatGateways, "State", json!("deleted"));
    expect(
        &deleted,
        Class::PeeredOnly,
        "rtb-1 sends 10.8.0.0/16 to pcx-1; 0.0.0.0/0 to nat-1 is ignored: it is deleted",
    );
}

#[test]
fn a_nat_gateway_that_is_not_in_the_topology_is_taken_as_public() {
    expect(
        &world(&[("0.0.0.0/0", "nat-1")]),
        Class::PrivateNat,
        "rtb-1 sends 0.0.0.0/0 to nat-1 (not in the topology, taken as public)",
    );
}

#[test]
fn a_private_nat_gateway_is_not_the_internet() {
    let world = world(&[("0.0.0.0/0", "nat-1")])
        .nat("nat-1", "vpc-1", "subnet-closed")
        .with(Kind::NatGateways, "ConnectivityType", json!("private"));
    let (class, reason) = judged(&world, Family::V4);
    assert_eq!(class, Class::PrivateNatPrivate);
    assert!(reason.contains("private connectivity"), "{reason}");
}

#[test]
fn a_regional_nat_gateway_has_a_table_of_its_own() {
    let regional = |routes| {
        world(&[("0.0.0.0/0", "nat-1")])
            .table("rtb-nat", "vpc-1", &[], routes)
            .add(Kind::NatGateways, json!({"NatGatewayId": "nat-1", "VpcId": "vpc-1", "State": "available",
                "AvailabilityMode": "regional", "ConnectivityType": "public", "RouteTableId": "rtb-nat"}))
    };
    expect(
        &regional(&[("0.0.0.0/0", "igw-1")]),
        Class::PrivateNat,
        "rtb-1 sends 0.0.0.0/0 to nat-1 (regional, with an internet gateway in rtb-nat)",
    );
    assert_eq!(judged(&regional(&[]), Family::V4).0, Class::Isolated);
}

#[test]
fn ipv6_is_judged_on_its_own() {
    let world =
        world(&[("0.0.0.0/0", "nat-1"), ("::/0", "eigw-1")]).nat("nat-1", "vpc-1", "subnet-public");
    assert_eq!(judged(&world, Family::V4).0, Class::PrivateNat);
    assert_eq!(
        judged(&world, Family::V6),
        (Class::PrivateEigw, "rtb-1 sends ::/0 to eigw-1".to_owned())
    );
    let network = world.network();
    assert_eq!(
        network.subnet("subnet-public").unwrap().class(Family::V6),
        None
    );
    assert_eq!(
        network
            .subnet("subnet-public")
            .unwrap()
            .class_reason(Family::V6),
        None
    );
}

#[test]
fn a_subnet_without_ipv4_has_no_ipv4_class() {
    let network = World::new()
        .vpc("vpc-1", &["10.0.0.0/16", "2600:1f00::/56"])
        .subnet("subnet-6", "vpc-1", &["2600:1f00:0:6::/64"])
        .table("rtb-1", "vpc-1", &["main"], &[("::/0", "igw-1")])
        .network();
    let subnet = network.subnet("subnet-6").unwrap();
    assert_eq!(
        (subnet.class(Family::V4), subnet.class(Family::V6)),
        (None, Some(Class::Public))
    );
}

#[test]
fn the_other_ways_out_have_their_classes() {
    for (routes, class, reason) in [
        (
            vec![("0.0.0.0/0", "tgw-1"), ("10.9.0.0/16", "vgw-1")],
            Class::PrivateTgw,
            "rtb-1 sends 0.0.0.0/0 to tgw-1",
        ),
        (
            vec![(
                "10.0.0.0/8",
                "arn:aws:networkmanager::111111111111:core-network/core-network-1",
            )],
            Class::PrivateTgw,
            "rtb-1 sends 10.0.0.0/8 to arn:aws:networkmanager::111111111111:core-network/core-network-1",
        ),
        (
            vec![("192.168.0.0/16", "vgw-1~"), ("10.9.0.0/16", "pcx-1")],
            Class::VpnOnly,
            "rtb-1 sends 192.168.0.0/16 to vgw-1",
        ),
        (
            vec![("192.168.0.0/16", "lgw-1")],
            Class::VpnOnly,
            "rtb-1 sends 192.168.0.0/16 to lgw-1",
        ),
        (
            vec![("10.9.0.0/16", "pcx-1"), ("pl-63a5400a", "vpce-1")],
            Class::PeeredOnly,
            "rtb-1 sends 10.9.0.0/16 to pcx-1",
        ),
        (
            vec![("pl-63a5400a", "vpce-1")],
            Class::EndpointOnly,
            "rtb-1 sends pl-63a5400a to vpce-1",
        ),
        (vec![], Class::Isolated, "rtb-1 has only local routes"),
    ] {
        expect(&world(&routes), class, reason);
    }
}

#[test]
fn black_holes_are_ignored_and_named() {
    expect(
        &world(&[("0.0.0.0/0", "igw-1!"), ("10.9.0.0/16", "pcx-1!")]),
        Class::Isolated,
        "rtb-1 has no route that leads out of the VPC; 0.0.0.0/0 to igw-1 is a blackhole and ignored; \
         10.9.0.0/16 to pcx-1 is a blackhole and ignored",
    );
}

#[test]
fn a_route_within_the_vpc_says_nothing_of_the_outside() {
    expect(
        &world(&[("10.0.8.0/24", "eni-1"), ("10.0.9.0/24", "vpce-1")]),
        Class::Isolated,
        "rtb-1 has only local routes",
    );
}

#[test]
fn block_public_access_takes_the_gateway_away() {
    let blocked = |mode: &str| {
        World::new()
            .vpc("vpc-1", &["10.0.0.0/16"])
            .with(
                Kind::Vpcs,
                "BlockPublicAccessStates",
                json!({"InternetGatewayBlockMode": mode}),
            )
            .subnet("subnet-public", "vpc-1", &["10.0.9.0/24"])
            .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"])
            .table(
                "rtb-public",
                "vpc-1",
                &["subnet-public"],
                &[("0.0.0.0/0", "igw-1")],
            )
            .table("rtb-1", "vpc-1", &["subnet-1"], &[("0.0.0.0/0", "nat-1")])
            .nat("nat-1", "vpc-1", "subnet-public")
    };
    let classes = |mode| {
        let network = blocked(mode).network();
        ["subnet-public", "subnet-1"]
            .map(|id| network.subnet(id).unwrap().class(Family::V4).unwrap())
    };
    assert_eq!(classes("off"), [Class::Public, Class::PrivateNat]);
    assert_eq!(
        classes("block-ingress"),
        [Class::Isolated, Class::PrivateNat]
    );
    assert_eq!(
        classes("block-bidirectional"),
        [Class::Isolated, Class::Isolated]
    );
    let network = blocked("block-bidirectional").network();
    assert_eq!(
        network
            .subnet("subnet-public")
            .unwrap()
            .class_reason(Family::V4),
        Some(
            "rtb-public has no route that leads out of the VPC; \
             0.0.0.0/0 to igw-1 is blocked by Block Public Access (block-bidirectional)"
        )
    );
}

#[test]
fn missing_routes_are_unknown() {
    let no_table =
        World::new()
            .vpc("vpc-1", &["10.0.0.0/16"])
            .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"]);
    expect(
        &no_table,
        Class::Unknown,
        "no route table that applies is in the topology: neither one of its own nor the main one of vpc-1",
    );
    let no_endpoint = world(&[("0.0.0.0/0", "vpce-9"), ("pl-63a5400a", "vpce-1")]);
    assert_eq!(judged(&no_endpoint, Family::V4).0, Class::Unknown);
}

#[test]
fn appliances_that_point_at_each_other_end_somewhere() {
    let world = world(&[("0.0.0.0/0", "eni-1")])
        .interface("eni-1", "vpc-1", "subnet-loop", &["10.0.7.9"], None)
        .subnet("subnet-loop", "vpc-1", &["10.0.7.0/24"])
        .table(
            "rtb-loop",
            "vpc-1",
            &["subnet-loop"],
            &[("0.0.0.0/0", "eni-1")],
        );
    assert_eq!(judged(&world, Family::V4).0, Class::Unknown);
}
