//! Load balancers on the way: what their interfaces record of others' packets is not counted twice.

use crate::harness::{FULL, Flow, V2, World, flow};
use crate::traffic::counted;

const CLIENT: (&str, u16) = ("192.0.2.77", 51_000);
const TARGET: (&str, u16) = ("10.0.2.20", 8443);
const BALANCER: &str = "10.0.0.8";
const FRONT: (&str, u16) = (BALANCER, 443);
/// The load balancer in the place of the client.
const BACK: (&str, u16) = (BALANCER, CLIENT.1);

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
        .subnet("subnet-data", "vpc-1", &["10.0.2.0/24"], &[])
        .interface_of(
            "network_load_balancer",
            "eni-nlb",
            "vpc-1",
            "subnet-public",
            &[BALANCER],
        )
        .interface("eni-db", "vpc-1", "subnet-data", &["10.0.2.20"])
        .interface("eni-web", "vpc-1", "subnet-public", &["10.0.0.30"])
}

fn call(flow: Flow) -> Flow {
    flow.flags(2).bytes(10, 1000)
}

fn answer(flow: Flow) -> Flow {
    flow.flags(18).bytes(20, 5000)
}

/// A call as the load balancer's interface records it, in from the client and out to the target, and the answer.
fn at_the_balancer(client: (&str, u16)) -> Vec<Flow> {
    vec![
        call(flow("eni-nlb", client, FRONT).ingress()),
        call(
            flow("eni-nlb", BACK, TARGET)
                .packet(client.0, TARGET.0)
                .egress(),
        ),
        answer(
            flow("eni-nlb", TARGET, BACK)
                .packet(TARGET.0, client.0)
                .ingress(),
        ),
        answer(flow("eni-nlb", FRONT, client).egress()),
    ]
}

fn at_the_target(client: (&str, u16)) -> Vec<Flow> {
    vec![
        call(flow("eni-db", client, TARGET).ingress()),
        answer(flow("eni-db", TARGET, client).egress()),
    ]
}

const STRAIGHT: [&str; 2] = [
    "10.0.2.20 > 192.0.2.77 ACCEPT 5000",
    "192.0.2.77 > 10.0.2.20 ACCEPT 1000",
];

#[test]
fn what_a_load_balancer_hands_on_from_the_client_counts_once() {
    for format in [FULL, V2] {
        let all = [at_the_balancer(CLIENT), at_the_target(CLIENT)].concat();
        assert_eq!(
            counted(&world(), &[("all", format, all)]),
            STRAIGHT,
            "{format}"
        );
    }
    // Two flow logs in two formats.
    let logs = [
        ("balancer", V2, at_the_balancer(CLIENT)),
        ("target", FULL, at_the_target(CLIENT)),
    ];
    assert_eq!(counted(&world(), &logs), STRAIGHT);
}

#[test]
fn where_only_the_load_balancer_is_logged_its_records_count_once() {
    let alone = at_the_balancer(CLIENT);
    assert_eq!(counted(&world(), &[("nlb", FULL, alone.clone())]), STRAIGHT);
    // Without `pkt-*` fields nothing says whose connection went on to the target.
    assert_eq!(
        counted(&world(), &[("nlb", V2, alone)]),
        [
            "10.0.0.8 > 192.0.2.77 ACCEPT 5000",
            "192.0.2.77 > 10.0.0.8 ACCEPT 1000",
        ]
    );
}

#[test]
fn a_client_inside_is_told_with_its_target() {
    let client = ("10.0.0.30", CLIENT.1);
    let at_the_client = vec![
        call(flow("eni-web", client, FRONT).egress()),
        answer(flow("eni-web", FRONT, client).ingress()),
    ];
    for format in [FULL, V2] {
        let all = [
            at_the_client.clone(),
            at_the_balancer(client),
            at_the_target(client),
        ];
        assert_eq!(
            counted(&world(), &[("all", format, all.concat())]),
            [
                "10.0.0.30 > 10.0.2.20 ACCEPT 1000",
                "10.0.2.20 > 10.0.0.30 ACCEPT 5000",
            ],
            "{format}"
        );
    }
}

#[test]
fn a_load_balancer_that_opens_connections_of_its_own_counts_with_them() {
    // The client's address is not preserved: another port, and the target sees the load balancer.
    let own = (BALANCER, 20_001);
    let out = |interface: &str| call(flow(interface, own, TARGET));
    let back = |interface: &str| answer(flow(interface, TARGET, own));
    let flows = vec![
        call(flow("eni-nlb", CLIENT, FRONT).ingress()),
        answer(flow("eni-nlb", FRONT, CLIENT).egress()),
        out("eni-nlb").egress(),
        out("eni-db").ingress(),
        back("eni-db").egress(),
        back("eni-nlb").ingress(),
    ];
    for format in [FULL, V2] {
        assert_eq!(
            counted(&world(), &[("all", format, flows.clone())]),
            [
                "10.0.0.8 > 10.0.2.20 ACCEPT 1000",
                "10.0.0.8 > 192.0.2.77 ACCEPT 5000",
                "10.0.2.20 > 10.0.0.8 ACCEPT 5000",
                "192.0.2.77 > 10.0.0.8 ACCEPT 1000",
            ],
            "{format}"
        );
    }
}

#[test]
fn what_a_target_refuses_and_a_load_balancer_let_in_is_refused() {
    let flows = vec![
        call(flow("eni-nlb", CLIENT, FRONT).ingress()),
        call(flow("eni-db", CLIENT, TARGET).ingress()).reject(),
    ];
    assert_eq!(
        counted(&world(), &[("all", FULL, flows)]),
        ["192.0.2.77 > 10.0.2.20 REJECT 1000"]
    );
    // What the load balancer's own subnet refused went no further.
    let flows = vec![
        call(flow("eni-nlb", CLIENT, FRONT).ingress()).reject(),
        call(flow("eni-db", CLIENT, TARGET).ingress()),
    ];
    assert_eq!(
        counted(&world(), &[("all", FULL, flows)]),
        [
            "192.0.2.77 > 10.0.0.8 REJECT 1000",
            "192.0.2.77 > 10.0.2.20 ACCEPT 1000",
        ]
    );
}

#[test]
fn what_passes_a_gateway_load_balancer_endpoint_counts_once() {
    let world = World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .internet_gateway("igw-1", "vpc-1")
        .subnet(
            "subnet-firewall",
            "vpc-1",
            &["10.0.0.0/24"],
            &[("0.0.0.0/0", "igw-1")],
        )
        .subnet(
            "subnet-app",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("0.0.0.0/0", "vpce-1")],
        )
        .add(
            "VpcEndpoints",
            serde_json::json!({"VpcEndpointId": "vpce-1", "VpcEndpointType": "GatewayLoadBalancer", "VpcId": "vpc-1", "State": "available",
                "SubnetIds": ["subnet-firewall"], "NetworkInterfaceIds": ["eni-endpoint"]}),
        )
        .interface_of(
            "gateway_load_balancer_endpoint",
            "eni-endpoint",
            "vpc-1",
            "subnet-firewall",
            &["10.0.0.9"],
        )
        .interface("eni-app", "vpc-1", "subnet-app", &["10.0.1.10"]);
    let (app, far, endpoint) = (("10.0.1.10", 51_000), ("192.0.2.9", 443), "10.0.0.9");
    let flows = vec![
        call(flow("eni-app", app, far).egress()),
        // To the appliance and back from it.
        call(
            flow("eni-endpoint", app, (endpoint, 443))
                .packet(app.0, far.0)
                .ingress(),
        ),
        call(
            flow("eni-endpoint", (endpoint, app.1), far)
                .packet(app.0, far.0)
                .egress(),
        ),
        answer(
            flow("eni-endpoint", far, (endpoint, app.1))
                .packet(far.0, app.0)
                .ingress(),
        ),
        answer(
            flow("eni-endpoint", (endpoint, 443), app)
                .packet(far.0, app.0)
                .egress(),
        ),
        answer(flow("eni-app", far, app).ingress()),
    ];
    for format in [FULL, V2] {
        assert_eq!(
            counted(&world, &[("all", format, flows.clone())]),
            [
                "10.0.1.10 > 192.0.2.9 ACCEPT 1000",
                "192.0.2.9 > 10.0.1.10 ACCEPT 5000",
            ],
            "{format}"
        );
    }
}
