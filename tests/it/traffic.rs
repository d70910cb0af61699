//! Small worlds whose truth is known: `SUM(bytes) WHERE counted` is what was sent, whoever recorded it.

use serde_json::{Value, json};

use crate::harness::{FULL, Flow, Place, V2, World, block_on, flow, log, rows};

/// A public, an application and a data subnet; the application's way out is a NAT gateway.
fn world() -> World {
    World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .internet_gateway("igw-1", "vpc-1")
        .subnet(
            "subnet-public",
            "vpc-1",
            &["10.0.0.0/24"],
            &[("0.0.0.0/0", "igw-1")],
        )
        .subnet(
            "subnet-app",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("0.0.0.0/0", "nat-a")],
        )
        .subnet("subnet-data", "vpc-1", &["10.0.2.0/24"], &[])
        .nat("a", "vpc-1", "subnet-public", "10.0.0.5", "203.0.113.5")
        .interface("eni-app", "vpc-1", "subnet-app", &["10.0.1.10"])
        .interface("eni-app2", "vpc-1", "subnet-app", &["10.0.1.11"])
        .interface("eni-db", "vpc-1", "subnet-data", &["10.0.2.20"])
}

const REMOTE: (&str, u16) = ("192.0.2.9", 443);

/// A call through the NAT gateway and its answer, as the client's interface records it.
fn at_the_client(client: &str, addr: (&str, u16), sent: u64, got: u64) -> [Flow; 2] {
    [
        flow(client, addr, REMOTE).egress().flags(2).bytes(10, sent),
        flow(client, REMOTE, addr)
            .ingress()
            .flags(18)
            .bytes(20, got),
    ]
}

/// The same at the gateway: in from the client, out; back, and on to the client.
fn at_the_nat(addr: (&str, u16), outside: u16, sent: u64, got: u64) -> [Flow; 4] {
    let nat = "10.0.0.5";
    [
        flow("eni-a", addr, (nat, REMOTE.1))
            .packet(addr.0, REMOTE.0)
            .ingress()
            .flags(2)
            .bytes(10, sent),
        flow("eni-a", (nat, outside), REMOTE)
            .egress()
            .flags(2)
            .bytes(10, sent),
        flow("eni-a", REMOTE, (nat, outside))
            .ingress()
            .flags(18)
            .bytes(20, got),
        flow("eni-a", (nat, REMOTE.1), addr)
            .packet(REMOTE.0, addr.0)
            .egress()
            .flags(18)
            .bytes(20, got),
    ]
}

/// Logs by file name; what counts in the end, as `src > dst ACTION bytes`, sorted.
pub(crate) fn counted(world: &World, logs: &[(&str, &str, Vec<Flow>)]) -> Vec<String> {
    let place = Place::new();
    world.put(&place);
    for (name, format, flows) in logs {
        place.put(&format!("logs/{name}.log"), log(format, flows));
    }
    let sql = "SELECT src_addr, dst_addr, COALESCE(action, '-') AS action, SUM(bytes) AS bytes FROM traffic WHERE counted GROUP BY 1, 2, 3";
    let mut lines: Vec<String> = ask(place, sql)
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or("?").to_owned();
            format!(
                "{} > {} {} {}",
                text("src_addr"),
                text("dst_addr"),
                text("action"),
                row["bytes"]
            )
        })
        .collect();
    lines.sort();
    lines
}

fn ask(place: Place, sql: &'static str) -> Vec<Value> {
    block_on(async move {
        place.ingest().await;
        rows(&place.session().await, sql).await
    })
}

const CLIENT: (&str, u16) = ("10.0.1.10", 50_000);

const CALL: [&str; 2] = [
    "10.0.1.10 > 192.0.2.9 ACCEPT 1000",
    "192.0.2.9 > 10.0.1.10 ACCEPT 5000",
];

#[test]
fn the_four_legs_of_a_nat_gateway_count_once() {
    for format in [FULL, V2] {
        let all = [
            at_the_client("eni-app", CLIENT, 1000, 5000).to_vec(),
            at_the_nat(CLIENT, 31_000, 1000, 5000).to_vec(),
        ]
        .concat();
        assert_eq!(counted(&world(), &[("all", format, all)]), CALL, "{format}");
        let nat_alone = at_the_nat(CLIENT, 31_000, 1000, 5000).to_vec();
        assert_eq!(
            counted(&world(), &[("nat", format, nat_alone)]),
            CALL,
            "only the NAT: {format}"
        );
        let client_alone = at_the_client("eni-app", CLIENT, 1000, 5000).to_vec();
        assert_eq!(
            counted(&world(), &[("client", format, client_alone)]),
            CALL,
            "only the client: {format}"
        );
    }
}

#[test]
fn two_clients_behind_one_nat_gateway_are_told_apart() {
    let other = ("10.0.1.11", 50_000);
    for format in [FULL, V2] {
        let flows = [
            at_the_client("eni-app", CLIENT, 1000, 5000).to_vec(),
            at_the_client("eni-app2", other, 700, 900).to_vec(),
            at_the_nat(CLIENT, 31_000, 1000, 5000).to_vec(),
            at_the_nat(other, 31_001, 700, 900).to_vec(),
        ]
        .concat();
        assert_eq!(
            counted(&world(), &[("all", format, flows)]),
            [
                CALL[0],
                "10.0.1.11 > 192.0.2.9 ACCEPT 700",
                CALL[1],
                "192.0.2.9 > 10.0.1.11 ACCEPT 900"
            ],
            "{format}"
        );
    }
}

#[test]
fn a_client_in_version_2_and_its_nat_gateway_in_a_custom_format_count_once() {
    let logs = [
        (
            "client",
            V2,
            at_the_client("eni-app", CLIENT, 1000, 5000).to_vec(),
        ),
        ("nat", FULL, at_the_nat(CLIENT, 31_000, 1000, 5000).to_vec()),
    ];
    assert_eq!(counted(&world(), &logs), CALL);
}

const SERVER: (&str, u16) = ("10.0.2.20", 5432);

/// A query and its answer at both ends, in this minute.
fn at_both_ends(start: &str) -> Vec<Flow> {
    vec![
        flow("eni-app", CLIENT, SERVER)
            .egress()
            .flags(2)
            .bytes(4, 400)
            .at(start),
        flow("eni-app", SERVER, CLIENT)
            .ingress()
            .flags(18)
            .bytes(6, 9000)
            .at(start),
        flow("eni-db", CLIENT, SERVER)
            .ingress()
            .flags(2)
            .bytes(4, 400)
            .at(start),
        flow("eni-db", SERVER, CLIENT)
            .egress()
            .flags(18)
            .bytes(6, 9000)
            .at(start),
    ]
}

const QUERY: [&str; 2] = [
    "10.0.1.10 > 10.0.2.20 ACCEPT 400",
    "10.0.2.20 > 10.0.1.10 ACCEPT 9000",
];

#[test]
fn what_both_ends_log_counts_once() {
    for format in [FULL, V2] {
        assert_eq!(
            counted(
                &world(),
                &[("all", format, at_both_ends("2026-03-10T08:00:00Z"))]
            ),
            QUERY,
            "{format}"
        );
    }
}

#[test]
fn every_minute_of_a_long_connection_counts() {
    for format in [FULL, V2] {
        let flows = (0..30)
            .flat_map(|minute| at_both_ends(&format!("2026-03-10T08:{minute:02}:00Z")))
            .collect();
        assert_eq!(
            counted(&world(), &[("all", format, flows)]),
            [
                "10.0.1.10 > 10.0.2.20 ACCEPT 12000",
                "10.0.2.20 > 10.0.1.10 ACCEPT 270000"
            ],
            "{format}"
        );
    }
}

#[test]
fn ends_that_aggregate_over_different_intervals_count_once() {
    // The client's flow log has intervals of ten minutes, the server's of one.
    let ten = |flow: Flow| {
        flow.with(
            "end",
            crate::harness::time("2026-03-10T08:09:59Z").timestamp(),
        )
    };
    let mut flows = vec![
        ten(flow("eni-app", CLIENT, SERVER)
            .egress()
            .flags(2)
            .bytes(40, 4000)),
        ten(flow("eni-app", SERVER, CLIENT)
            .ingress()
            .flags(18)
            .bytes(60, 90_000)),
    ];
    for minute in 0..10 {
        let start = format!("2026-03-10T08:0{minute}:00Z");
        flows.extend(at_both_ends(&start).split_off(2));
    }
    assert_eq!(
        counted(&world(), &[("all", FULL, flows)]),
        [
            "10.0.1.10 > 10.0.2.20 ACCEPT 4000",
            "10.0.2.20 > 10.0.1.10 ACCEPT 90000"
        ]
    );
}

#[test]
fn ends_whose_intervals_are_offset_count_once() {
    // The same ten minutes, cut at the full minute by one interface and at the half by the other.
    for format in [FULL, V2] {
        let mut flows = Vec::new();
        for minute in 0..10 {
            flows.push(
                flow("eni-app", CLIENT, SERVER)
                    .egress()
                    .flags(2)
                    .bytes(4, 400)
                    .at(&format!("2026-03-10T08:0{minute}:00Z")),
            );
            flows.push(
                flow("eni-db", CLIENT, SERVER)
                    .ingress()
                    .flags(2)
                    .bytes(4, 400)
                    .at(&format!("2026-03-10T08:0{minute}:30Z")),
            );
        }
        assert_eq!(
            counted(&world(), &[("all", format, flows)]),
            ["10.0.1.10 > 10.0.2.20 ACCEPT 4000"],
            "{format}"
        );
    }
}

#[test]
fn minutes_that_the_sender_did_not_log_count_at_the_receiver() {
    // The client's records of 08:10 to 08:19 were skipped, the server's are there.
    let mut flows = Vec::new();
    for minute in 0..30 {
        let ends = at_both_ends(&format!("2026-03-10T08:{minute:02}:00Z"));
        let [sent, _, received, _] = ends.try_into().unwrap();
        if !(10..20).contains(&minute) {
            flows.push(sent);
        }
        flows.push(received);
    }
    assert_eq!(
        counted(&world(), &[("all", FULL, flows)]),
        ["10.0.1.10 > 10.0.2.20 ACCEPT 12000"]
    );
}

#[test]
fn a_nat_gateway_whose_intervals_are_offset_from_its_clients_counts_once() {
    for format in [FULL, V2] {
        let mut flows = Vec::new();
        for minute in 0..5 {
            let at = |flows: Vec<Flow>, second: &str| {
                flows
                    .into_iter()
                    .map(|flow| flow.at(&format!("2026-03-10T08:0{minute}:{second}Z")))
                    .collect::<Vec<_>>()
            };
            flows.extend(at(
                at_the_client("eni-app", CLIENT, 1000, 5000).to_vec(),
                "00",
            ));
            flows.extend(at(at_the_nat(CLIENT, 31_000, 1000, 5000).to_vec(), "25"));
        }
        assert_eq!(
            counted(&world(), &[("all", format, flows)]),
            [
                "10.0.1.10 > 192.0.2.9 ACCEPT 5000",
                "192.0.2.9 > 10.0.1.10 ACCEPT 25000"
            ],
            "{format}"
        );
    }
}

#[test]
fn two_clients_that_a_nat_gateway_makes_alike_still_sum_to_the_truth() {
    let other = ("10.0.1.11", 50_000);
    let flows = [
        at_the_nat(CLIENT, 31_000, 1000, 5000),
        at_the_nat(other, 31_001, 1000, 5000),
    ]
    .concat();
    for format in [FULL, V2] {
        let place = Place::new();
        world().put(&place);
        place.put("logs/nat.log", log(format, &flows));
        let sql = "SELECT SUM(bytes) AS bytes FROM traffic WHERE counted";
        assert_eq!(ask(place, sql), [json!({"bytes": 12_000})], "{format}");
    }
}

#[test]
fn overlapping_flow_logs_of_one_interface_count_once() {
    let of_vpc = "111111111111_vpcflowlogs_eu-west-1_fl-0aaaaaaaaaaaaaaaa_20260310T0800Z_00000001";
    let of_subnet =
        "111111111111_vpcflowlogs_eu-west-1_fl-0bbbbbbbbbbbbbbbb_20260310T0800Z_00000002";
    let call = || at_the_client("eni-app", CLIENT, 1000, 5000).to_vec();
    for (one, two) in [(FULL, FULL), (V2, V2), (FULL, V2)] {
        let logs = [(of_vpc, one, call()), (of_subnet, two, call())];
        assert_eq!(counted(&world(), &logs), CALL, "{one} and {two}");
    }
    // One every minute, the other every ten: the same packets.
    let ten = |flow: Flow| {
        flow.with(
            "end",
            crate::harness::time("2026-03-10T08:09:59Z").timestamp(),
        )
    };
    let minutes: Vec<Flow> = (0..10)
        .map(|minute| {
            flow("eni-app", CLIENT, REMOTE)
                .egress()
                .flags(2)
                .bytes(1, 100)
                .at(&format!("2026-03-10T08:0{minute}:00Z"))
        })
        .collect();
    let whole = vec![ten(flow("eni-app", CLIENT, REMOTE)
        .egress()
        .flags(2)
        .bytes(10, 1000))];
    let logs = [(of_vpc, FULL, minutes), (of_subnet, FULL, whole)];
    assert_eq!(counted(&world(), &logs), [CALL[0]]);
}

#[test]
fn what_the_servers_side_refuses_counts_as_refused() {
    for format in [FULL, V2] {
        let flows = vec![
            flow("eni-app", CLIENT, SERVER)
                .egress()
                .flags(2)
                .bytes(3, 180),
            flow("eni-db", CLIENT, SERVER)
                .ingress()
                .flags(2)
                .bytes(3, 180)
                .reject(),
        ];
        assert_eq!(
            counted(&world(), &[("all", format, flows)]),
            ["10.0.1.10 > 10.0.2.20 REJECT 180"],
            "{format}"
        );
    }
}

#[test]
fn the_same_addresses_in_two_vpcs_are_two_conversations() {
    let twins = world()
        .vpc("vpc-2", "10.0.0.0/16")
        .subnet("subnet-app-2", "vpc-2", &["10.0.1.0/24"], &[])
        .subnet("subnet-data-2", "vpc-2", &["10.0.2.0/24"], &[])
        .interface("eni-2-app", "vpc-2", "subnet-app-2", &["10.0.1.10"])
        .interface("eni-2-db", "vpc-2", "subnet-data-2", &["10.0.2.20"]);
    let place = Place::new();
    twins.put(&place);
    let start = "2026-03-10T08:00:00Z";
    let mut flows = at_both_ends(start);
    flows.push(
        flow("eni-2-app", CLIENT, SERVER)
            .egress()
            .flags(2)
            .bytes(1, 60),
    );
    flows.push(
        flow("eni-2-db", CLIENT, SERVER)
            .ingress()
            .flags(2)
            .bytes(1, 60),
    );
    place.put("logs/all.log", log(V2, &flows));
    let sql = "SELECT src_vpc_id, dst_subnet_id, SUM(bytes) AS bytes FROM traffic WHERE counted AND initiator = 'src' GROUP BY 1, 2 ORDER BY 1";
    assert_eq!(
        ask(place, sql),
        [
            json!({"src_vpc_id": "vpc-1", "dst_subnet_id": "subnet-data", "bytes": 400}),
            json!({"src_vpc_id": "vpc-2", "dst_subnet_id": "subnet-data-2", "bytes": 60}),
        ]
    );
}

fn peered() -> World {
    World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .vpc("vpc-2", "10.9.0.0/16")
        .peering("pcx-1", ("vpc-1", "10.0.0.0/16"), ("vpc-2", "10.9.0.0/16"))
        .subnet(
            "subnet-a",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("10.9.0.0/16", "pcx-1")],
        )
        .subnet(
            "subnet-b",
            "vpc-2",
            &["10.9.1.0/24"],
            &[("10.0.0.0/16", "pcx-1")],
        )
        .interface("eni-1", "vpc-1", "subnet-a", &["10.0.1.10"])
        .interface("eni-2", "vpc-2", "subnet-b", &["10.9.1.20"])
}

#[test]
fn a_peering_has_two_ends_that_know_each_other() {
    for format in [FULL, V2] {
        let (client, server) = (("10.0.1.10", 41_000), ("10.9.1.20", 5432));
        let place = Place::new();
        peered().put(&place);
        let flows = [
            flow("eni-1", client, server)
                .egress()
                .flags(2)
                .bytes(2, 200),
            flow("eni-2", client, server)
                .ingress()
                .flags(2)
                .bytes(2, 200),
            flow("eni-1", server, client)
                .ingress()
                .flags(18)
                .bytes(3, 300),
            flow("eni-2", server, client)
                .egress()
                .flags(18)
                .bytes(3, 300),
        ];
        place.put("logs/all.log", log(format, &flows));
        let sql = "SELECT src_vpc_id, dst_vpc_id, src_class, route_target, path, client_addr, service_port, SUM(bytes) AS bytes \
            FROM traffic WHERE counted GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1";
        let row = |src: &str, dst: &str, bytes: u64| {
            json!({"src_vpc_id": src, "dst_vpc_id": dst, "src_class": "peered_only", "route_target": "pcx", "path": "expected",
                "client_addr": "10.0.1.10", "service_port": 5432, "bytes": bytes})
        };
        assert_eq!(
            ask(place, sql),
            [row("vpc-1", "vpc-2", 200), row("vpc-2", "vpc-1", 300)],
            "{format}"
        );
    }
}

#[test]
fn ipv6_counts_once_and_is_internal_by_its_vpc_not_by_its_prefix() {
    let world = World::new()
        .vpc6("vpc-1", "10.0.0.0/16", "2001:db8:1::/56")
        .subnet(
            "subnet-a",
            "vpc-1",
            &["10.0.1.0/24", "2001:db8:1:1::/64"],
            &[("::/0", "eigw-1")],
        )
        .subnet(
            "subnet-b",
            "vpc-1",
            &["10.0.2.0/24", "2001:db8:1:2::/64"],
            &[],
        )
        .interface(
            "eni-1",
            "vpc-1",
            "subnet-a",
            &["10.0.1.10", "2001:db8:1:1::10"],
        )
        .interface(
            "eni-2",
            "vpc-1",
            "subnet-b",
            &["10.0.2.20", "2001:db8:1:2::20"],
        )
        .add(
            "EgressOnlyInternetGateways",
            json!({"EgressOnlyInternetGatewayId": "eigw-1",
            "Attachments": [{"State": "attached", "VpcId": "vpc-1"}]}),
        );
    let (client, server, remote) = (
        ("2001:db8:1:1::10", 41_000),
        ("2001:db8:1:2::20", 5432),
        ("2001:db8:ffff::9", 443),
    );
    for format in [FULL, V2] {
        let place = Place::new();
        world.put(&place);
        let flows = [
            flow("eni-1", client, server)
                .egress()
                .flags(2)
                .bytes(2, 200),
            flow("eni-2", client, server)
                .ingress()
                .flags(2)
                .bytes(2, 200),
            flow("eni-1", client, remote)
                .egress()
                .flags(2)
                .bytes(2, 222),
        ];
        place.put("logs/all.log", log(format, &flows));
        let sql = "SELECT dst_scope, src_class, route_target, SUM(bytes) AS bytes FROM traffic WHERE counted GROUP BY 1, 2, 3 ORDER BY 1";
        assert_eq!(
            ask(place, sql),
            [
                json!({"dst_scope": "internet", "src_class": "private_eigw", "route_target": "eigw", "bytes": 222}),
                json!({"dst_scope": "vpc", "src_class": "private_eigw", "route_target": "local", "bytes": 200}),
            ],
            "{format}"
        );
    }
}

/// Fields of a Transit Gateway's flow log.
const TGW: &str = "version resource-type account-id tgw-id tgw-attachment-id tgw-src-vpc-account-id tgw-dst-vpc-account-id tgw-src-vpc-id \
    tgw-dst-vpc-id tgw-src-subnet-id tgw-dst-subnet-id tgw-src-eni tgw-dst-eni tgw-pair-attachment-id srcaddr dstaddr srcport dstport \
    protocol packets bytes start end log-status type packets-lost-no-route packets-lost-blackhole tcp-flags region flow-direction";

#[test]
fn a_transit_gateway_between_two_logged_ends_adds_nothing() {
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
    let (client, server) = (("10.0.1.10", 41_000), ("10.9.1.20", 5432));
    let ends = vec![
        flow("eni-1", client, server)
            .egress()
            .flags(2)
            .bytes(2, 200),
        flow("eni-2", client, server)
            .ingress()
            .flags(2)
            .bytes(2, 200),
    ];
    let crossing = |direction: &str, attachment: &str| {
        flow("-", client, server)
            .with("version", 6)
            .with("resource-type", "TransitGateway")
            .with("tgw-id", "tgw-1")
            .with("tgw-attachment-id", attachment)
            .with("tgw-src-vpc-account-id", "111111111111")
            .with("tgw-dst-vpc-account-id", "111111111111")
            .with("tgw-src-vpc-id", "vpc-1")
            .with("tgw-dst-vpc-id", "vpc-2")
            .with("tgw-src-subnet-id", "subnet-a")
            .with("tgw-dst-subnet-id", "subnet-b")
            .with("type", "IPv4")
            .with("flow-direction", direction)
            .flags(2)
            .bytes(2, 200)
    };
    let tgw = vec![
        crossing("ingress", "tgw-attach-1"),
        crossing("egress", "tgw-attach-2"),
    ];
    for format in [FULL, V2] {
        let logs = [("ends", format, ends.clone()), ("tgw", TGW, tgw.clone())];
        assert_eq!(
            counted(&world, &logs),
            ["10.0.1.10 > 10.9.1.20 ACCEPT 200"],
            "{format}"
        );
    }
    // Alone it is all there is: no action, once for both attachments.
    assert_eq!(
        counted(&world, &[("tgw", TGW, tgw)]),
        ["10.0.1.10 > 10.9.1.20 - 200"]
    );
}

#[test]
fn a_filter_for_refused_packets_reads_the_others_of_their_conversations() {
    // Refused by the server's side; late; from ports that tell nothing; and of conversations that are nobody's business.
    let busy = ("10.0.2.20", 21_000);
    for format in [FULL, V2] {
        let without_flags = |flow: Flow| if format == V2 { flow } else { flow.flags(0) };
        let mut flows = vec![
            flow("eni-app", CLIENT, SERVER)
                .egress()
                .flags(2)
                .bytes(3, 180),
            flow("eni-db", CLIENT, SERVER)
                .ingress()
                .flags(2)
                .bytes(3, 180)
                .reject(),
            flow("eni-app2", ("10.0.1.11", 40_000), SERVER)
                .egress()
                .bytes(9, 900),
            flow("eni-db", ("10.0.1.11", 40_000), SERVER)
                .ingress()
                .bytes(9, 900)
                .at("2026-03-10T08:00:00Z"),
            without_flags(flow("eni-db", ("10.0.1.11", 40_000), SERVER).ingress())
                .bytes(1, 60)
                .at("2026-03-10T08:05:00Z")
                .reject(),
            without_flags(flow("eni-db", ("10.0.1.10", 20_000), busy).ingress())
                .bytes(1, 77)
                .reject(),
        ];
        for port in 20_001..20_005 {
            flows.push(
                without_flags(flow("eni-db", ("10.0.1.11", port), busy).ingress()).bytes(2, 88),
            );
        }
        let columns = "src_addr, dst_addr, action, counted, late, initiator, bytes";
        let ask_for = |condition: &str| {
            let place = Place::new();
            world().put(&place);
            place.put("logs/all.log", log(format, &flows));
            let sql = format!("SELECT {columns} FROM traffic WHERE {condition} ORDER BY bytes");
            ask(place, sql.leak())
        };
        let refused = ask_for("action = 'REJECT'");
        assert_eq!(refused.len(), 3, "{refused:?}");
        // This one is not seen through, so that all is read.
        assert_eq!(
            refused,
            ask_for("COALESCE(action, '-') = 'REJECT'"),
            "{format}"
        );
        assert!(
            refused.iter().all(|row| row["initiator"] == "src"),
            "{refused:?}"
        );
    }
}

#[test]
fn what_a_client_sent_from_a_port_that_tells_nothing_is_not_counted_again_at_its_nat_gateway() {
    // The gateway gives NTP's client a port of its own, by which it looks like a client; the client's record does not.
    let (client, far, size) = (("10.0.1.10", 123), ("198.51.100.123", 123), (4, 304));
    let udp = |flow: Flow| flow.with("protocol", 17).bytes(size.0, size.1);
    let flows = [
        udp(flow("eni-app", client, far).egress()),
        udp(flow("eni-a", ("10.0.0.5", 31_000), far).egress()),
    ];
    let sql = "SELECT src_addr, leg FROM traffic WHERE counted AND client_scope = 'vpc' AND server_scope = 'internet'";
    for format in [FULL, V2] {
        let place = Place::new();
        world().put(&place);
        place.put("logs/a.log", log(format, &flows));
        assert_eq!(ask(place, sql), Vec::<Value>::new(), "{format}");
    }
}
