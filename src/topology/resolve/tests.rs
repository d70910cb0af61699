//! A world for every scope.

use serde_json::json;

use super::*;
use crate::topology::model::Kind;
use crate::topology::world::World;

/// `vpc-1` and its twin `vpc-2` have the same CIDR; `vpc-3` and `vpc-4` are elsewhere.
fn world(routes: &[(&str, &str)]) -> World {
    World::new()
        .vpc(
            "vpc-1",
            &["10.0.0.0/16", "100.64.0.0/24", "2600:1f00:1::/56"],
        )
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24", "2600:1f00:1:1::/64"])
        .interface(
            "eni-1",
            "vpc-1",
            "subnet-1",
            &["10.0.1.5", "10.0.1.6", "2600:1f00:1:1::5"],
            Some("203.0.113.5"),
        )
        .with(
            Kind::NetworkInterfaces,
            "Ipv4Prefixes",
            json!([{"Ipv4Prefix": "10.0.1.16/28"}]),
        )
        .table("rtb-1", "vpc-1", &["main"], routes)
        .vpc("vpc-2", &["10.0.0.0/16"])
        .subnet("subnet-2", "vpc-2", &["10.0.1.0/24"])
        .interface("eni-2", "vpc-2", "subnet-2", &["10.0.1.5"], None)
        .vpc("vpc-3", &["10.3.0.0/16", "2600:1f00:3::/56"])
        .subnet("subnet-3", "vpc-3", &["10.3.1.0/24", "2600:1f00:3:1::/64"])
        .interface(
            "eni-3",
            "vpc-3",
            "subnet-3",
            &["10.3.1.5", "2600:1f00:3:1::5"],
            Some("203.0.113.3"),
        )
}

/// Scope, interface, subnet, VPC and service of an address as `eni-1` sees it.
fn seen(world: &World, addr: &str) -> (&'static str, String, String) {
    let network = world.network();
    let vantage = network.vantage(Some("eni-1"), None, None, None, None);
    let endpoint = network.resolve(&vantage, addr.parse().unwrap());
    let interface = endpoint.interface.map(|interface| interface.id.as_ref());
    let subnet = endpoint.subnet.map(|subnet| subnet.id.as_ref());
    let vpc = endpoint.vpc.map(|vpc| vpc.id.as_ref());
    let place = interface.or(subnet).or(vpc).unwrap_or("-").to_owned();
    (
        endpoint.scope.as_str(),
        place,
        endpoint.service.unwrap_or("-").to_owned(),
    )
}

#[track_caller]
fn expect(world: &World, addr: &str, scope: &str, place: &str) {
    let (found_scope, found_place, _) = seen(world, addr);
    assert_eq!(
        (found_scope, found_place.as_str()),
        (scope, place),
        "{addr}"
    );
}

#[test]
fn addresses_of_the_vpc_are_its_own_and_never_its_twins() {
    let world = world(&[("0.0.0.0/0", "igw-1")]);
    expect(&world, "10.0.1.5", "vpc", "eni-1");
    expect(&world, "10.0.1.6", "vpc", "eni-1");
    expect(&world, "10.0.1.17", "vpc", "eni-1");
    expect(&world, "10.0.1.99", "vpc", "subnet-1");
    expect(&world, "10.0.200.1", "vpc", "vpc-1");
    expect(&world, "100.64.0.9", "vpc", "vpc-1");
    expect(&world, "2600:1f00:1:1::5", "vpc", "eni-1");
    expect(&world, "2600:1f00:1:1::9", "vpc", "subnet-1");
    let network = world.network();
    let twin = network.vantage(Some("eni-2"), None, None, None, None);
    let endpoint = network.resolve(&twin, "10.0.1.5".parse().unwrap());
    assert_eq!(endpoint.interface.unwrap().id.as_ref(), "eni-2");
}

#[test]
fn special_addresses_are_nobodys() {
    let world = world(&[("0.0.0.0/0", "igw-1")]);
    for addr in [
        "169.254.169.254",
        "224.0.0.251",
        "127.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "fe80::1",
        "ff02::1",
        "::",
        "::1",
        "fd00:ec2::254",
    ] {
        expect(&world, addr, "special", "-");
    }
}

#[test]
fn documentation_ranges_are_the_internet() {
    let world = world(&[("0.0.0.0/0", "igw-1")]);
    for addr in ["192.0.2.1", "198.51.100.1", "203.0.113.77", "2001:db8::1"] {
        expect(&world, addr, "internet", "-");
    }
}

#[test]
fn an_active_peering_leads_where_the_routes_do() {
    let peered = |status, routes| {
        world(routes).peering(
            "pcx-1",
            status,
            ("vpc-3", "10.3.0.0/16"),
            ("vpc-1", "10.0.0.0/16"),
        )
    };
    let narrow: &[(&str, &str)] = &[("10.3.1.0/24", "pcx-1"), ("0.0.0.0/0", "igw-1")];
    expect(&peered("active", narrow), "10.3.1.5", "peer", "eni-3");
    expect(&peered("active", narrow), "10.3.1.77", "peer", "subnet-3");
    // In the peer's CIDR, but the table does not lead there.
    expect(&peered("active", narrow), "10.3.2.1", "unrouted", "-");
    expect(&peered("deleted", narrow), "10.3.1.5", "unrouted", "-");
    // The table leads wider than the peer is: beyond it there is nothing.
    let wide: &[(&str, &str)] = &[("10.0.0.0/8", "pcx-1")];
    expect(&peered("active", wide), "10.3.2.1", "peer", "vpc-3");
    expect(&peered("active", wide), "10.4.0.1", "unrouted", "-");
}

#[test]
fn without_routes_a_peer_is_its_cidrs() {
    let world = World::new()
        .vpc("vpc-1", &["10.0.0.0/16"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"])
        .interface("eni-1", "vpc-1", "subnet-1", &["10.0.1.5"], None)
        .peering(
            "pcx-1",
            "active",
            ("vpc-1", "10.0.0.0/16"),
            ("vpc-far", "10.9.0.0/16"),
        );
    expect(&world, "10.9.0.1", "peer", "-");
    expect(&world, "10.8.0.1", "unrouted", "-");
}

#[test]
fn a_transit_gateway_leads_to_the_vpcs_on_it() {
    let attachment = |vpc: &str| {
        json!({"TransitGatewayAttachmentId": format!("tgw-attach-{vpc}"), "TransitGatewayId": "tgw-1",
        "VpcId": vpc, "State": "available", "SubnetIds": []})
    };
    let world = world(&[("10.0.0.0/8", "tgw-1"), ("0.0.0.0/0", "igw-1")])
        .add(Kind::TransitGatewayVpcAttachments, attachment("vpc-1"))
        .add(Kind::TransitGatewayVpcAttachments, attachment("vpc-3"));
    expect(&world, "10.3.1.5", "transit", "eni-3");
    expect(&world, "10.3.9.9", "transit", "vpc-3");
    expect(&world, "10.77.0.1", "transit", "-");
    expect(&world, "8.8.8.8", "internet", "-");
    let ambiguous = world.vpc("vpc-4", &["10.3.0.0/16"]).table(
        "rtb-4",
        "vpc-4",
        &["main"],
        &[("0.0.0.0/0", "tgw-1")],
    );
    expect(&ambiguous, "10.3.1.5", "transit", "-");
}

#[test]
fn a_default_route_to_a_transit_gateway_leaves_the_internet_the_internet() {
    let world = world(&[("0.0.0.0/0", "tgw-1"), ("::/0", "tgw-1")]).table(
        "rtb-3",
        "vpc-3",
        &["main"],
        &[("10.0.0.0/8", "tgw-1")],
    );
    expect(&world, "8.8.8.8", "internet", "-");
    expect(&world, "172.16.0.1", "transit", "-");
    expect(&world, "10.3.1.5", "transit", "eni-3");
    // IPv6 is global, so only the VPCs on the gateway tell.
    expect(&world, "2600:1f00:3:1::5", "transit", "eni-3");
    expect(&world, "2606:4700::1111", "internet", "-");
}

#[test]
fn a_virtual_private_gateway_leads_on_premises() {
    let world = world(&[
        ("192.168.0.0/16", "vgw-1~"),
        ("198.51.100.0/24", "vgw-1"),
        ("0.0.0.0/0", "igw-1"),
    ]);
    expect(&world, "192.168.7.7", "on_prem", "-");
    expect(&world, "198.51.100.7", "on_prem", "-");
    expect(&world, "172.16.0.1", "unrouted", "-");
}

#[test]
fn what_is_named_on_premises_is() {
    let world = world(&[("10.0.0.0/8", "tgw-1"), ("0.0.0.0/0", "igw-1")])
        .table("rtb-3", "vpc-3", &["main"], &[("10.0.0.0/8", "tgw-1")])
        .on_premises("10.0.0.0/8")
        .on_premises("198.51.100.0/24");
    expect(&world, "10.50.0.1", "on_prem", "-");
    expect(&world, "198.51.100.9", "on_prem", "-");
    // A VPC that the gateway really leads to, and the VPC itself, are more than a name.
    expect(&world, "10.3.1.5", "transit", "eni-3");
    expect(&world, "10.0.1.99", "vpc", "subnet-1");
}

#[test]
fn private_addresses_without_a_route_are_unrouted() {
    let world = world(&[("0.0.0.0/0", "igw-1"), ("10.66.0.0/16", "pcx-9!")]);
    for addr in [
        "10.66.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.100.0.1",
        "fd12::1",
    ] {
        expect(&world, addr, "unrouted", "-");
    }
}

#[test]
fn a_nat_gateway_and_an_appliance_are_followed() {
    let world = world(&[("10.3.0.0/16", "nat-1"), ("192.168.0.0/16", "eni-fw")])
        .nat("nat-1", "vpc-1", "subnet-nat")
        .subnet("subnet-nat", "vpc-1", &["100.64.0.0/28"])
        .interface("eni-fw", "vpc-1", "subnet-nat", &["100.64.0.4"], None)
        .table(
            "rtb-nat",
            "vpc-1",
            &["subnet-nat"],
            &[("10.0.0.0/8", "tgw-1"), ("192.168.0.0/16", "vgw-1")],
        )
        .table("rtb-3", "vpc-3", &["main"], &[("100.64.0.0/24", "tgw-1")]);
    expect(&world, "10.3.1.5", "transit", "eni-3");
    expect(&world, "192.168.1.1", "on_prem", "-");
}

#[test]
fn services_are_told_from_the_internet() {
    let world = world(&[("0.0.0.0/0", "nat-1"), ("pl-s3s3", "vpce-1")])
        .prefix_list("pl-s3s3", &["198.51.100.0/24"])
        .endpoint(
            "vpce-1",
            "vpc-1",
            "Gateway",
            "com.amazonaws.eu-west-1.s3",
            &[],
        );
    let ranges = &world.settings.ip_ranges;
    let s3 = ranges.nets_of("S3", "us-east-1")[0].network().to_string();
    let ec2 = ranges.nets_of("EC2", "us-east-1")[0].network().to_string();
    assert_eq!(
        seen(&world, &s3),
        ("aws_service", "-".to_owned(), "S3".to_owned())
    );
    assert_eq!(
        seen(&world, &ec2),
        ("internet", "-".to_owned(), "EC2".to_owned())
    );
    assert_eq!(
        seen(&world, "198.51.100.1"),
        ("aws_service", "-".to_owned(), "S3".to_owned())
    );
    assert_eq!(
        seen(&world, &format!("64:ff9b::{s3}")),
        ("aws_service", "-".to_owned(), "S3".to_owned())
    );
}

#[test]
fn a_public_address_stays_internet_but_its_owner_is_known() {
    let world = world(&[("0.0.0.0/0", "igw-1"), ("::/0", "igw-1")]);
    expect(&world, "203.0.113.3", "internet", "-");
    expect(&world, "2600:1f00:3:1::5", "internet", "-");
    // Its own public address is its own.
    expect(&world, "203.0.113.5", "vpc", "eni-1");
    let network = world.network();
    let owner = |addr: &str| {
        network
            .owner_of_public(addr.parse().unwrap())
            .map(|interface| interface.id.as_ref())
    };
    assert_eq!(owner("203.0.113.3"), Some("eni-3"));
    assert_eq!(owner("2600:1f00:3:1::5"), Some("eni-3"));
    assert_eq!(owner("203.0.113.99"), None);
}

#[test]
fn the_vantage_is_the_interface_else_the_subnet_else_the_vpc() {
    let network = world(&[("0.0.0.0/0", "igw-1")]).network();
    let ids = |vantage: Vantage<'_>| {
        [
            vantage.interface.map(|interface| interface.id.to_string()),
            vantage.subnet.map(|subnet| subnet.id.to_string()),
            vantage.vpc.map(|vpc| vpc.id.to_string()),
        ]
        .map(|id| id.unwrap_or_default())
    };
    let addr = |addr: &str| Some(addr.parse().unwrap());
    assert_eq!(
        ids(network.vantage(Some("eni-1"), None, None, None, None)),
        ["eni-1", "subnet-1", "vpc-1"]
    );
    assert_eq!(
        ids(network.vantage(
            Some("eni-gone"),
            Some("subnet-1"),
            None,
            None,
            addr("10.0.1.5")
        )),
        ["", "subnet-1", "vpc-1"]
    );
    assert_eq!(
        ids(network.vantage(None, Some("subnet-1"), None, None, addr("10.0.1.5"))),
        ["eni-1", "subnet-1", "vpc-1"]
    );
    assert_eq!(
        ids(network.vantage(
            Some("eni-gone"),
            None,
            Some("vpc-1"),
            None,
            addr("10.0.1.77")
        )),
        ["", "subnet-1", "vpc-1"]
    );
    assert_eq!(
        ids(network.vantage(None, None, Some("vpc-1"), None, None)),
        ["", "", "vpc-1"]
    );
    assert_eq!(
        ids(network.vantage(Some("eni-gone"), None, None, None, None)),
        ["", "", ""]
    );
}

#[test]
fn a_subnet_or_vpc_is_vantage_enough() {
    let network = world(&[("192.168.0.0/16", "vgw-1")]).network();
    for vantage in [
        network.vantage(None, Some("subnet-1"), None, None, None),
        network.vantage(None, None, Some("vpc-1"), None, None),
    ] {
        assert_eq!(
            network
                .resolve(&vantage, "192.168.0.1".parse().unwrap())
                .scope,
            Scope::OnPrem
        );
        assert_eq!(
            network.resolve(&vantage, "10.0.1.5".parse().unwrap()).scope,
            Scope::Vpc
        );
    }
}

#[test]
fn a_regional_nat_gateway_sees_from_its_own_table() {
    let network = world(&[("0.0.0.0/0", "nat-1")])
        .table("rtb-nat", "vpc-1", &[], &[("0.0.0.0/0", "igw-1"), ("192.168.0.0/16", "vgw-1")])
        .add(Kind::NatGateways, json!({"NatGatewayId": "nat-1", "VpcId": "vpc-1", "State": "available",
            "AvailabilityMode": "regional", "RouteTableId": "rtb-nat", "NatGatewayAddresses": [{"PublicIp": "203.0.113.200"}]}))
        .network();
    let vantage = network.vantage(None, None, None, Some("nat-1"), None);
    assert_eq!(vantage.vpc.unwrap().id.as_ref(), "vpc-1");
    let scope = |addr: &str| network.resolve(&vantage, addr.parse().unwrap()).scope;
    assert_eq!(scope("203.0.113.200"), Scope::Vpc);
    assert_eq!(scope("192.168.0.1"), Scope::OnPrem);
    assert_eq!(scope("8.8.4.4"), Scope::Internet);
    let route = network
        .route_from(&vantage, "8.8.4.4".parse().unwrap())
        .unwrap();
    assert_eq!(
        (route.target.as_str(), route.route_table_id),
        ("igw", "rtb-nat")
    );
}

#[test]
fn addresses_alone_tell_who_recorded_only_if_nobody_else_could_have() {
    let network = world(&[("0.0.0.0/0", "igw-1")]).network();
    let by = |account, src: &str, dst: &str| {
        network.vantage_by_address(account, src.parse().unwrap(), dst.parse().unwrap())
    };
    // The twins share this address.
    assert!(by(None, "10.0.1.5", "8.8.8.8").is_none());
    assert_eq!(
        by(None, "8.8.8.8", "10.3.1.5")
            .unwrap()
            .interface
            .unwrap()
            .id
            .as_ref(),
        "eni-3"
    );
    assert_eq!(
        by(Some("111111111111"), "8.8.8.8", "10.3.1.5")
            .unwrap()
            .interface
            .unwrap()
            .id
            .as_ref(),
        "eni-3"
    );
    assert!(by(Some("222222222222"), "8.8.8.8", "10.3.1.5").is_none());
    let subnet_only = by(None, "10.3.1.200", "8.8.8.8").unwrap();
    assert!(subnet_only.interface.is_none());
    assert_eq!(subnet_only.subnet.unwrap().id.as_ref(), "subnet-3");
    assert!(by(None, "10.9.9.9", "8.8.8.8").is_none());
}

#[test]
fn without_a_topology_only_the_local_address_is_in_a_vpc() {
    let network = World::new().network();
    let local = "10.0.0.5".parse().unwrap();
    let vantage = network.vantage(Some("eni-1"), None, None, None, Some(local));
    let scope = |addr: &str| network.resolve(&vantage, addr.parse().unwrap()).scope;
    assert_eq!(scope("10.0.0.5"), Scope::Vpc);
    assert_eq!(scope("10.0.0.6"), Scope::Unrouted);
    assert_eq!(scope("203.0.113.5"), Scope::Internet);
}

#[test]
fn a_vpc_that_only_its_parts_mention_is_made_of_them() {
    let world = World::new()
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"])
        .interface("eni-1", "vpc-1", "subnet-1", &["10.0.1.5"], None);
    expect(&world, "10.0.1.9", "vpc", "subnet-1");
    expect(&world, "10.0.2.9", "unrouted", "-");
}
