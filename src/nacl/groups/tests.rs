use std::net::IpAddr;

use serde_json::{Value, json};

use super::*;
use crate::topology::model::Kind;
use crate::topology::world::World;

/// `vpc-1` with the guarded `eni-1` of `sg-1`, a neighbour of `sg-2` and one whose groups are not known; a peer with `sg-9`.
fn world(groups: &[(&str, Value, Value)]) -> World {
    let mut world = World::new()
        .vpc("vpc-1", &["10.0.0.0/16", "2001:db8:1::/56"])
        .vpc("vpc-2", &["10.9.0.0/16"])
        .peering(
            "pcx-1",
            "active",
            ("vpc-1", "10.0.0.0/16"),
            ("vpc-2", "10.9.0.0/16"),
        )
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"])
        .subnet("subnet-2", "vpc-2", &["10.9.1.0/24"]);
    for (id, vpc, subnet, addr, group) in [
        ("eni-1", "vpc-1", "subnet-1", "10.0.1.10", "sg-1"),
        ("eni-2", "vpc-1", "subnet-1", "10.0.1.11", "sg-2"),
        ("eni-3", "vpc-1", "subnet-1", "10.0.1.12", ""),
        ("eni-9", "vpc-2", "subnet-2", "10.9.1.20", "sg-9"),
    ] {
        world = world.interface(id, vpc, subnet, &[addr], None);
        if !group.is_empty() {
            let groups = json!([{"GroupId": group}]);
            world = world.with(Kind::NetworkInterfaces, "Groups", groups);
        }
    }
    for (id, ingress, egress) in groups {
        let vpc = if *id == "sg-9" { "vpc-2" } else { "vpc-1" };
        world = world.add(
            Kind::SecurityGroups,
            json!({"GroupId": id, "VpcId": vpc, "IpPermissions": ingress, "IpPermissionsEgress": egress}),
        );
    }
    world
}

fn guard<'n>(network: &'n Network, interface: &str) -> Option<Guard<'n>> {
    Guard::of(network.interface(interface).unwrap(), |id| {
        Group::of(network, id).map(Arc::new)
    })
}

/// What `eni-1` does with a packet from (or to) an address.
fn verdict(
    network: &Network,
    direction: Direction,
    protocol: u8,
    remote: &str,
    dst_port: Option<u16>,
) -> Option<Action> {
    let remote: IpAddr = remote.parse().unwrap();
    let vantage = network.vantage(Some("eni-1"), None, None, None, None);
    let endpoint = network.resolve(&vantage, remote);
    let far = Far {
        scope: endpoint.scope,
        interface: endpoint.interface,
        vpc_id: endpoint.vpc.map(|vpc| &*vpc.id),
    };
    let packet = Packet {
        direction,
        protocol,
        remote,
        dst_port,
    };
    guard(network, "eni-1")?.evaluate(&packet, &far)
}

fn ingress(network: &Network, protocol: u8, remote: &str, dst_port: u16) -> Option<Action> {
    verdict(
        network,
        Direction::Ingress,
        protocol,
        remote,
        Some(dst_port),
    )
}

fn tcp(port: u16, peers: Value) -> Value {
    let mut permission = json!({"IpProtocol": "tcp", "FromPort": port, "ToPort": port});
    let peers = peers.as_object().unwrap().clone();
    permission.as_object_mut().unwrap().extend(peers);
    permission
}

const ALLOW: Option<Action> = Some(Action::Allow);
const DENY: Option<Action> = Some(Action::Deny);
const MAYBE: Option<Action> = Some(Action::Undecidable);

#[test]
fn a_group_lets_in_what_a_rule_names_and_nothing_else() {
    let rules = json!([
        tcp(443, json!({"IpRanges": [{"CidrIp": "0.0.0.0/0"}]})),
        {"IpProtocol": "tcp", "FromPort": 8000, "ToPort": 8099, "IpRanges": [{"CidrIp": "10.0.0.0/8"}, {"CidrIp": "192.0.2.0/24"}]},
        {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "IpRanges": [{"CidrIp": "10.0.1.11/32"}]},
        {"IpProtocol": "50", "IpRanges": [{"CidrIp": "192.0.2.7/32"}]},
    ]);
    let network = world(&[("sg-1", rules, json!([]))]).network();
    for (protocol, remote, port, expected) in [
        (6, "198.51.100.7", 443, ALLOW),
        (17, "198.51.100.7", 443, DENY),
        (6, "2001:db8:ffff::7", 443, DENY),
        (6, "192.0.2.7", 8099, ALLOW),
        (6, "192.0.2.7", 8100, DENY),
        (6, "198.51.100.7", 8050, DENY),
        (17, "10.0.1.11", 53, ALLOW),
        (17, "10.0.1.12", 53, DENY),
        (50, "192.0.2.7", 0, ALLOW),
        (51, "192.0.2.7", 0, DENY),
    ] {
        let found = ingress(&network, protocol, remote, port);
        assert_eq!(found, expected, "{protocol} {remote} {port}");
    }
    // Without the port it may be one or the other.
    let found = verdict(&network, Direction::Ingress, 6, "198.51.100.7", None);
    assert_eq!(found, MAYBE);
}

#[test]
fn ipv6_and_every_protocol() {
    let rules = json!([
        tcp(22, json!({"Ipv6Ranges": [{"CidrIpv6": "2001:db8:ffff::/48"}]})),
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "192.0.2.0/24"}]},
    ]);
    let network = world(&[("sg-1", rules, json!([]))]).network();
    assert_eq!(ingress(&network, 6, "2001:db8:ffff::7", 22), ALLOW);
    assert_eq!(ingress(&network, 6, "2001:db8:fffe::7", 22), DENY);
    assert_eq!(ingress(&network, 6, "198.51.100.7", 22), DENY);
    for protocol in [1, 6, 17, 47] {
        assert_eq!(ingress(&network, protocol, "192.0.2.7", 9), ALLOW);
    }
}

#[test]
fn groups_refer_to_themselves_to_neighbours_and_to_a_peers() {
    let to = |id: &str| json!({"UserIdGroupPairs": [{"GroupId": id}]});
    let rules = json!([
        tcp(1, to("sg-1")),
        tcp(2, to("sg-2")),
        tcp(9, to("sg-9")),
        tcp(5, to("sg-5"))
    ]);
    let nothing = || json!([]);
    let network = world(&[
        ("sg-1", rules, nothing()),
        ("sg-2", nothing(), nothing()),
        ("sg-9", nothing(), nothing()),
    ])
    .network();
    for (port, remote, expected) in [
        (1, "10.0.1.10", ALLOW),
        (1, "10.0.1.11", DENY),
        (2, "10.0.1.11", ALLOW),
        (2, "10.9.1.20", DENY),
        (9, "10.9.1.20", ALLOW),
        (9, "10.0.1.11", DENY),
        // A group that nobody is known to carry; a neighbour whose groups are not known; an address that nobody is known to have.
        (5, "10.0.1.11", DENY),
        (2, "10.0.1.12", MAYBE),
        (2, "10.0.1.99", MAYBE),
        (9, "10.0.1.99", DENY),
        (2, "192.0.2.7", DENY),
    ] {
        let found = ingress(&network, 6, remote, port);
        assert_eq!(found, expected, "{port} {remote}");
    }
}

#[test]
fn prefix_lists_hold_what_their_entries_say() {
    let list = |id: &str| json!({"PrefixListIds": [{"PrefixListId": id}]});
    let rules = json!([tcp(443, list("pl-1")), tcp(80, list("pl-2"))]);
    let network = world(&[("sg-1", rules, json!([]))])
        .prefix_list("pl-1", &["192.0.2.0/24", "2001:db8:ffff::/48"])
        .network();
    assert_eq!(ingress(&network, 6, "192.0.2.7", 443), ALLOW);
    assert_eq!(ingress(&network, 6, "2001:db8:ffff::7", 443), ALLOW);
    assert_eq!(ingress(&network, 6, "198.51.100.7", 443), DENY);
    assert_eq!(ingress(&network, 6, "192.0.2.7", 80), MAYBE, "not known");
    assert_eq!(ingress(&network, 6, "192.0.2.7", 81), DENY);
}

#[test]
fn types_of_icmp_are_not_recorded() {
    let icmp = |protocol: &str, from: i32, to: i32| {
        json!({"IpProtocol": protocol, "FromPort": from, "ToPort": to,
            "IpRanges": [{"CidrIp": "192.0.2.0/24"}], "Ipv6Ranges": [{"CidrIpv6": "2001:db8:ffff::/48"}]})
    };
    for (rule, v4, v6) in [
        (icmp("icmp", -1, -1), ALLOW, DENY),
        (icmp("icmp", 8, -1), MAYBE, DENY),
        (icmp("icmp", 3, 4), MAYBE, DENY),
        (icmp("icmpv6", -1, -1), DENY, ALLOW),
        (icmp("58", 128, 0), DENY, MAYBE),
    ] {
        let network = world(&[("sg-1", json!([rule.clone()]), json!([]))]).network();
        let of = |protocol, remote| verdict(&network, Direction::Ingress, protocol, remote, None);
        assert_eq!(of(1, "192.0.2.7"), v4, "{rule}");
        assert_eq!(of(58, "2001:db8:ffff::7"), v6, "{rule}");
        assert_eq!(of(1, "198.51.100.7"), DENY, "{rule}");
    }
}

#[test]
fn a_new_group_lets_everything_out_and_one_without_rules_nothing() {
    let everywhere = json!([{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]);
    for (egress, expected) in [(everywhere, ALLOW), (json!([]), DENY)] {
        let network = world(&[("sg-1", json!([]), egress)]).network();
        let out = verdict(&network, Direction::Egress, 6, "192.0.2.7", Some(443));
        assert_eq!(out, expected);
        assert_eq!(ingress(&network, 6, "192.0.2.7", 443), DENY);
    }
}

#[test]
fn a_packet_passes_that_any_group_of_the_interface_allows() {
    let one = json!([tcp(80, json!({"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}))]);
    let two = json!([tcp(443, json!({"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}))]);
    let both = json!([{"GroupId": "sg-1"}, {"GroupId": "sg-2"}]);
    let carried = |world: World| {
        world.change_records(Kind::NetworkInterfaces, |eni| eni["Groups"] = both.clone())
    };
    let whole = carried(world(&[
        ("sg-1", one.clone(), json!([])),
        ("sg-2", two, json!([])),
    ]))
    .network();
    assert_eq!(ingress(&whole, 6, "192.0.2.7", 80), ALLOW);
    assert_eq!(ingress(&whole, 6, "192.0.2.7", 443), ALLOW);
    assert_eq!(ingress(&whole, 6, "192.0.2.7", 22), DENY);
    // The other may allow what this one does not.
    let part = carried(world(&[("sg-1", one, json!([]))])).network();
    assert_eq!(ingress(&part, 6, "192.0.2.7", 80), ALLOW);
    assert_eq!(ingress(&part, 6, "192.0.2.7", 443), None);
}

#[test]
fn interfaces_without_groups_are_open_or_not_known() {
    let network = world(&[])
        .interface("eni-nat", "vpc-1", "subnet-1", &["10.0.1.5"], None)
        .with(
            Kind::NetworkInterfaces,
            "InterfaceType",
            json!("nat_gateway"),
        )
        .network();
    assert!(guard(&network, "eni-3").is_none());
    let packet = Packet {
        direction: Direction::Ingress,
        protocol: 6,
        remote: "192.0.2.7".parse().unwrap(),
        dst_port: Some(443),
    };
    let far = Far {
        scope: Scope::Internet,
        interface: None,
        vpc_id: None,
    };
    let nat = guard(&network, "eni-nat").unwrap();
    assert_eq!(nat.evaluate(&packet, &far), ALLOW);
    // Nobody imported the rules of sg-1.
    assert_eq!(
        guard(&network, "eni-1").unwrap().evaluate(&packet, &far),
        None
    );
}
