//! The smallest worlds of each story: what passes gateways, further addresses, and intervals that touch.

use serde_json::json;

use crate::harness::{Flow, Place, V2, World, block_on, flow, log, rows};

/// With what a regional NAT gateway needs.
const FULL: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status \
     vpc-id subnet-id tcp-flags type pkt-srcaddr pkt-dstaddr region flow-direction traffic-path resource-id";

/// What counts in the end, as `src > dst ACTION bytes`, sorted.
fn counted(world: &World, format: &str, flows: &[Flow]) -> Vec<String> {
    let place = Place::new();
    world.put(&place);
    place.put("logs/all.log", log(format, flows));
    let sql = "SELECT concat(src_addr, ' > ', dst_addr, ' ', action) AS way, SUM(bytes) AS bytes FROM traffic WHERE counted \
        GROUP BY 1 ORDER BY 1";
    block_on(async move {
        place.ingest().await;
        rows(&place.session().await, sql).await
    })
    .iter()
    .map(|row| format!("{} {}", row["way"].as_str().unwrap(), row["bytes"]))
    .collect()
}

type Socket = (&'static str, u16);

/// A packet's record at an interface whose own address stands for whatever it sends or takes in.
fn sent(interface: &str, own: &str, from: Socket, to: Socket) -> Flow {
    flow(interface, (own, from.1), to)
        .packet(from.0, to.0)
        .egress()
}

fn taken(interface: &str, own: &str, from: Socket, to: Socket) -> Flow {
    flow(interface, from, (own, to.1))
        .packet(from.0, to.0)
        .ingress()
}

fn request(flow: Flow) -> Flow {
    flow.flags(2).bytes(10, 1000)
}

fn reply(flow: Flow) -> Flow {
    flow.flags(18).bytes(20, 5000)
}

const REMOTE: Socket = ("192.0.2.9", 443);
const CLIENT: Socket = ("10.0.1.10", 50_000);

const CALL: [&str; 2] = [
    "10.0.1.10 > 192.0.2.9 ACCEPT 1000",
    "192.0.2.9 > 10.0.1.10 ACCEPT 5000",
];

/// A call through a regional NAT gateway: at the client, then the gateway's four records, which name no interface.
fn regional() -> (World, Vec<Flow>) {
    let world = World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .internet_gateway("igw-1", "vpc-1")
        .subnet("subnet-app", "vpc-1", &["10.0.1.0/24"], &[("0.0.0.0/0", "nat-r")])
        .interface("eni-app", "vpc-1", "subnet-app", &["10.0.1.10"])
        .add(
            "NatGateways",
            json!({"NatGatewayId": "nat-r", "VpcId": "vpc-1", "State": "available", "ConnectivityType": "public",
                "AvailabilityMode": "regional", "NatGatewayAddresses": [{"PublicIp": "203.0.113.5", "Status": "succeeded"}]}),
        );
    let outside: Socket = ("203.0.113.5", 31_000);
    let gateway = |flow: Flow| flow.with("resource-id", "nat-r").with("vpc-id", "vpc-1");
    let flows = vec![
        request(sent("eni-app", CLIENT.0, CLIENT, REMOTE)),
        reply(taken("eni-app", CLIENT.0, REMOTE, CLIENT)),
        gateway(request(taken("-", REMOTE.0, CLIENT, REMOTE))),
        gateway(request(sent("-", outside.0, outside, REMOTE))),
        gateway(reply(taken("-", outside.0, REMOTE, outside))),
        gateway(reply(sent("-", REMOTE.0, REMOTE, CLIENT))),
    ];
    (world, flows)
}

#[test]
fn the_four_records_of_a_regional_nat_gateway_count_once() {
    let (world, flows) = regional();
    assert_eq!(counted(&world, FULL, &flows), CALL);
    assert_eq!(counted(&world, FULL, &flows[2..]), CALL, "only the gateway");
    // Without a resource id the gateway's public address tells.
    assert_eq!(counted(&world, V2, &flows), CALL);
}

fn tgw_interface(world: World, id: &str, vpc: &str, subnet: &str, addr: &str) -> World {
    world.add(
        "NetworkInterfaces",
        json!({"NetworkInterfaceId": id, "VpcId": vpc, "SubnetId": subnet, "OwnerId": "111111111111",
            "InterfaceType": "transit_gateway", "PrivateIpAddress": addr, "PrivateIpAddresses": [{"PrivateIpAddress": addr}]}),
    )
}

/// A VPC whose way out is another one's NAT gateway, over a transit gateway.
fn central_egress() -> (World, Vec<Flow>) {
    let world = World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .vpc("vpc-hub", "10.9.0.0/16")
        .internet_gateway("igw-1", "vpc-hub")
        .subnet(
            "subnet-app",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("0.0.0.0/0", "tgw-1")],
        )
        .subnet(
            "subnet-public",
            "vpc-hub",
            &["10.9.0.0/24"],
            &[("0.0.0.0/0", "igw-1"), ("10.0.0.0/16", "tgw-1")],
        )
        .subnet(
            "subnet-tgw",
            "vpc-hub",
            &["10.9.1.0/24"],
            &[("0.0.0.0/0", "nat-a")],
        )
        .interface("eni-app", "vpc-1", "subnet-app", &["10.0.1.10"])
        .nat("a", "vpc-hub", "subnet-public", "10.9.0.5", "203.0.113.5");
    let world = tgw_interface(world, "eni-t1", "vpc-1", "subnet-app", "10.0.1.6");
    let world = tgw_interface(world, "eni-t2", "vpc-hub", "subnet-tgw", "10.9.1.6");
    let outside: Socket = ("10.9.0.5", 31_000);
    let flows = vec![
        request(sent("eni-app", CLIENT.0, CLIENT, REMOTE)),
        request(taken("eni-t1", "10.0.1.6", CLIENT, REMOTE)),
        request(sent("eni-t2", "10.9.1.6", CLIENT, REMOTE)),
        request(taken("eni-a", "10.9.0.5", CLIENT, REMOTE)),
        request(sent("eni-a", "10.9.0.5", outside, REMOTE)),
        reply(taken("eni-a", "10.9.0.5", REMOTE, outside)),
        reply(sent("eni-a", "10.9.0.5", REMOTE, CLIENT)),
        reply(taken("eni-t2", "10.9.1.6", REMOTE, CLIENT)),
        reply(sent("eni-t1", "10.0.1.6", REMOTE, CLIENT)),
        reply(taken("eni-app", CLIENT.0, REMOTE, CLIENT)),
    ];
    (world, flows)
}

#[test]
fn a_call_over_a_transit_gateway_and_the_hubs_nat_gateway_counts_once() {
    let (world, flows) = central_egress();
    assert_eq!(counted(&world, FULL, &flows), CALL);
    assert_eq!(counted(&world, FULL, &flows[2..8]), CALL, "only the hub");
}

/// Two VPCs on a transit gateway, each with the interfaces of its attachment in both zones.
fn over_transit() -> (World, Vec<Flow>) {
    let world = World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .vpc("vpc-2", "10.9.0.0/16")
        .subnet(
            "subnet-a",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("10.9.0.0/16", "tgw-1")],
        )
        .subnet(
            "subnet-b",
            "vpc-2",
            &["10.9.1.0/24"],
            &[("10.0.0.0/16", "tgw-1")],
        )
        .interface("eni-1", "vpc-1", "subnet-a", &["10.0.1.10"])
        .interface("eni-2", "vpc-2", "subnet-b", &["10.9.1.20"]);
    let world = tgw_interface(world, "eni-t1", "vpc-1", "subnet-a", "10.0.1.6");
    let world = tgw_interface(world, "eni-t2", "vpc-2", "subnet-b", "10.9.1.6");
    let server: Socket = ("10.9.1.20", 5432);
    let flows = vec![
        request(sent("eni-1", CLIENT.0, CLIENT, server)),
        request(taken("eni-t1", "10.0.1.6", CLIENT, server)),
        request(sent("eni-t2", "10.9.1.6", CLIENT, server)),
        request(taken("eni-2", server.0, CLIENT, server)),
    ];
    (world, flows)
}

#[test]
fn the_interfaces_of_a_transit_gateway_add_nothing_where_packet_addresses_are_logged() {
    let (world, flows) = over_transit();
    let once = ["10.0.1.10 > 10.9.1.20 ACCEPT 1000"];
    assert_eq!(counted(&world, FULL, &flows), once);
    // In version 2 each shows its own address in the place of the far end.
    assert_eq!(counted(&world, V2, &flows), once);
}

#[test]
fn a_container_with_an_address_of_a_delegated_prefix_counts_once() {
    let world = World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .subnet("subnet-a", "vpc-1", &["10.0.1.0/24"], &[])
        .subnet("subnet-b", "vpc-1", &["10.0.2.0/24"], &[])
        .interface("eni-db", "vpc-1", "subnet-b", &["10.0.2.20"])
        .add(
            "NetworkInterfaces",
            json!({"NetworkInterfaceId": "eni-node", "VpcId": "vpc-1", "SubnetId": "subnet-a", "OwnerId": "111111111111",
                "InterfaceType": "interface", "PrivateIpAddress": "10.0.1.10",
                "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.1.10"}], "Ipv4Prefixes": [{"Ipv4Prefix": "10.0.1.224/28"}]}),
        );
    let (pod, server): (Socket, Socket) = (("10.0.1.230", 50_000), ("10.0.2.20", 5432));
    let flows = [
        request(sent("eni-node", "10.0.1.10", pod, server)),
        request(taken("eni-db", server.0, pod, server)),
    ];
    assert_eq!(
        counted(&world, FULL, &flows),
        ["10.0.1.230 > 10.0.2.20 ACCEPT 1000"]
    );
    // In version 2 the node's record has the node's address; the server's has the pod's, which the node's takes over.
    assert_eq!(
        counted(&world, V2, &flows),
        ["10.0.1.230 > 10.0.2.20 ACCEPT 1000"]
    );
}

fn pair() -> World {
    World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .subnet("subnet-a", "vpc-1", &["10.0.1.0/24"], &[])
        .interface("eni-1", "vpc-1", "subnet-a", &["10.0.1.10"])
        .interface("eni-2", "vpc-1", "subnet-a", &["10.0.1.20"])
}

/// Seconds after 08:00.
fn over(flow: Flow, from: i64, to: i64) -> Flow {
    let start = crate::harness::time("2026-03-10T08:00:00Z").timestamp();
    flow.with("start", start + from).with("end", start + to)
}

#[test]
fn what_both_ends_log_of_a_second_in_which_intervals_touch_counts_once() {
    let server: Socket = ("10.0.1.20", 5432);
    // Two packets, at 27 and at 30; the receiver's first interval ends at 30, where its second begins.
    let flows = [
        over(sent("eni-1", CLIENT.0, CLIENT, server), 27, 30).bytes(2, 200),
        over(taken("eni-2", server.0, CLIENT, server), 0, 30).bytes(1, 100),
        over(taken("eni-2", server.0, CLIENT, server), 30, 60).bytes(1, 100),
    ];
    for format in [FULL, V2] {
        // The receiver's second record only touches the sender's, which has a packet more than its first: it is that one.
        assert_eq!(
            counted(&pair(), format, &flows),
            ["10.0.1.10 > 10.0.1.20 ACCEPT 200"],
            "{format}"
        );
    }
    // Four packets, at 0, 30, 75 and 120: the receiver's one interval fills the gap between the sender's two.
    let flows = [
        over(sent("eni-1", CLIENT.0, CLIENT, server), 0, 30).bytes(2, 200),
        over(sent("eni-1", CLIENT.0, CLIENT, server), 75, 120).bytes(2, 200),
        over(taken("eni-2", server.0, CLIENT, server), 0, 0).bytes(1, 100),
        over(taken("eni-2", server.0, CLIENT, server), 30, 75).bytes(2, 200),
        over(taken("eni-2", server.0, CLIENT, server), 120, 120).bytes(1, 100),
    ];
    for format in [FULL, V2] {
        assert_eq!(
            counted(&pair(), format, &flows),
            ["10.0.1.10 > 10.0.1.20 ACCEPT 400"],
            "{format}"
        );
    }
}

#[test]
fn what_is_refused_in_a_second_in_which_intervals_touch_does_not_count_as_accepted_beside() {
    let server: Socket = ("10.0.1.20", 5432);
    // Two attempts, at 29 and at 30; both are refused.
    let flows = [
        over(sent("eni-1", CLIENT.0, CLIENT, server), 0, 30).bytes(1, 60),
        over(sent("eni-1", CLIENT.0, CLIENT, server), 30, 60).bytes(1, 60),
        over(taken("eni-2", server.0, CLIENT, server), 29, 30)
            .bytes(2, 120)
            .reject(),
    ];
    for format in [FULL, V2] {
        let flows: Vec<Flow> = flows.iter().map(|flow| flow.clone().flags(2)).collect();
        // The client's second record only touches the server's, which has a packet more than the client's first.
        assert_eq!(
            counted(&pair(), format, &flows),
            ["10.0.1.10 > 10.0.1.20 REJECT 120"],
            "{format}"
        );
    }
}

#[test]
fn a_log_that_stops_leaves_the_next_interval_to_the_other_end() {
    let server: Socket = ("10.0.1.20", 5432);
    // The sender's log ends in the second in which the receiver's next interval begins, with nothing left over.
    let flows = [
        over(sent("eni-1", CLIENT.0, CLIENT, server), 0, 60).bytes(5, 500),
        over(taken("eni-2", server.0, CLIENT, server), 0, 60).bytes(5, 500),
        over(taken("eni-2", server.0, CLIENT, server), 60, 120).bytes(3, 300),
    ];
    for format in [FULL, V2] {
        assert_eq!(
            counted(&pair(), format, &flows),
            ["10.0.1.10 > 10.0.1.20 ACCEPT 800"],
            "{format}"
        );
    }
}

#[test]
fn two_containers_of_a_node_that_use_the_same_port_are_told_apart_where_packet_addresses_are_logged()
 {
    let world = World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .subnet("subnet-a", "vpc-1", &["10.0.1.0/24"], &[])
        .subnet("subnet-b", "vpc-1", &["10.0.2.0/24"], &[])
        .interface("eni-db", "vpc-1", "subnet-b", &["10.0.2.20"])
        .interface(
            "eni-node",
            "vpc-1",
            "subnet-a",
            &["10.0.1.10", "10.0.1.11", "10.0.1.12"],
        );
    let server: Socket = ("10.0.2.20", 5432);
    let flows: Vec<Flow> = [("10.0.1.11", 100), ("10.0.1.12", 700)]
        .into_iter()
        .flat_map(|(pod, bytes)| {
            [
                sent("eni-node", "10.0.1.10", (pod, 50_000), server).bytes(1, bytes),
                taken("eni-db", server.0, (pod, 50_000), server).bytes(1, bytes),
            ]
        })
        .collect();
    assert_eq!(
        counted(&world, FULL, &flows),
        [
            "10.0.1.11 > 10.0.2.20 ACCEPT 100",
            "10.0.1.12 > 10.0.2.20 ACCEPT 700",
        ]
    );
}
