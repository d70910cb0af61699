//! Who refused a record, and whether the rules of its time agree, in a world where each is known.

use serde_json::{Value, json};

use crate::harness::{FULL, Flow, Place, World, block_on, flow, log, rows};

const WEB: &str = "10.0.1.10";

/// A web server whose group lets everybody in on 443 and 23, and the application on 80; its subnet's network ACL lets in 443, 80, 22 and
/// from 1024 up, but nothing from 198.51.100.0/24, and nothing out to 25.
fn world() -> World {
    let allow_all = |id: &str, subnets: &[&str]| {
        nacl(
            id,
            subnets,
            json!([
                entry(100, "allow", "-1", None, "0.0.0.0/0", false),
                entry(100, "allow", "-1", None, "0.0.0.0/0", true)
            ]),
        )
    };
    let of_web = json!([
        entry(90, "deny", "-1", None, "198.51.100.0/24", false),
        entry(100, "allow", "6", Some((443, 443)), "0.0.0.0/0", false),
        entry(110, "allow", "6", Some((80, 80)), "0.0.0.0/0", false),
        entry(120, "allow", "6", Some((22, 22)), "0.0.0.0/0", false),
        entry(130, "allow", "6", Some((1024, 65535)), "0.0.0.0/0", false),
        entry(100, "deny", "6", Some((25, 25)), "0.0.0.0/0", true),
        entry(110, "allow", "-1", None, "0.0.0.0/0", true),
    ]);
    World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .internet_gateway("igw-1", "vpc-1")
        .subnet(
            "subnet-web",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("0.0.0.0/0", "igw-1")],
        )
        .subnet("subnet-app", "vpc-1", &["10.0.2.0/24"], &[])
        .add("NetworkAcls", nacl("acl-web", &["subnet-web"], of_web))
        .add("NetworkAcls", allow_all("acl-app", &["subnet-app"]))
        .interface("eni-web", "vpc-1", "subnet-web", &[WEB])
        .carrying(&["sg-web"])
        .interface("eni-near", "vpc-1", "subnet-web", &["10.0.1.11"])
        .carrying(&["sg-near"])
        .interface("eni-app", "vpc-1", "subnet-app", &["10.0.2.20"])
        .carrying(&["sg-app"])
        .interface("eni-lost", "vpc-1", "subnet-app", &["10.0.2.21"])
        .carrying(&["sg-lost"])
        .add(
            "SecurityGroups",
            json!({"GroupId": "sg-web", "VpcId": "vpc-1",
                "IpPermissions": [
                    {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
                    {"IpProtocol": "tcp", "FromPort": 23, "ToPort": 23, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
                    {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": "sg-app"}]}],
                "IpPermissionsEgress": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}),
        )
        .add(
            "SecurityGroups",
            json!({"GroupId": "sg-near", "VpcId": "vpc-1", "IpPermissions": [], "IpPermissionsEgress": []}),
        )
        .add(
            "SecurityGroups",
            json!({"GroupId": "sg-app", "VpcId": "vpc-1", "IpPermissions": [],
                "IpPermissionsEgress": [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.1.0/24"}]}]}),
        )
}

fn nacl(id: &str, subnets: &[&str], entries: Value) -> Value {
    let associations: Vec<Value> = subnets
        .iter()
        .map(|subnet| json!({"SubnetId": subnet, "NetworkAclId": id}))
        .collect();
    json!({"NetworkAclId": id, "VpcId": "vpc-1", "Associations": associations, "Entries": entries})
}

fn entry(
    number: u16,
    action: &str,
    protocol: &str,
    ports: Option<(u16, u16)>,
    cidr: &str,
    egress: bool,
) -> Value {
    let ports = ports.map(|(from, to)| json!({"From": from, "To": to}));
    json!({"RuleNumber": number, "RuleAction": action, "Protocol": protocol, "CidrBlock": cidr, "Egress": egress, "PortRange": ports})
}

/// Who refused each record and whether the rules agree; they are told apart by their bytes.
fn judged(world: &World, flows: Vec<Flow>) -> Vec<(Value, Value)> {
    let place = Place::new();
    world.put(&place);
    let flows: Vec<Flow> = (1..)
        .zip(flows)
        .map(|(bytes, flow)| flow.bytes(1, bytes))
        .collect();
    place.put("logs/all.log", log(FULL, &flows));
    let answer = block_on(async move {
        place.ingest().await;
        let sql = "SELECT refused_by, model_agrees FROM traffic ORDER BY bytes";
        rows(&place.session().await, sql).await
    });
    let of = |row: &Value| (row["refused_by"].clone(), row["model_agrees"].clone());
    answer.iter().map(of).collect()
}

fn one(world: &World, flow: Flow) -> (Value, Value) {
    judged(world, vec![flow]).remove(0)
}

/// A knock on the web server's port.
fn knock(remote: &str, port: u16) -> Flow {
    flow("eni-web", (remote, 50_000), (WEB, port))
        .ingress()
        .flags(2)
}

const REMOTE: &str = "192.0.2.9";

#[test]
fn a_refused_knock_names_the_layer_by_the_rules_of_the_time() {
    for (flow, by, agrees) in [
        (knock(REMOTE, 22), "security_group", json!(true)),
        (knock(REMOTE, 23), "nacl rule 32767", json!(true)),
        (knock("198.51.100.7", 443), "nacl rule 90", json!(true)),
        (knock("198.51.100.7", 22), "both", json!(true)),
        (knock(REMOTE, 25), "both", json!(true)),
        // The rules would have let it in: they are not those of that moment.
        (knock(REMOTE, 443), "undecidable", json!(false)),
        (knock("10.0.2.20", 80), "undecidable", json!(false)),
        (knock("10.0.2.21", 80), "security_group", json!(true)),
        // Within a subnet there is no network ACL.
        (knock("10.0.1.11", 23), "security_group", json!(false)),
        (knock("10.0.1.11", 25), "security_group", json!(true)),
        (knock(REMOTE, 22).flags(1), "late packet", Value::Null),
        (
            flow("eni-web", (WEB, 50_000), (REMOTE, 25))
                .egress()
                .flags(2),
            "nacl rule 100",
            json!(true),
        ),
        (
            flow("eni-app", ("10.0.2.20", 50_000), (REMOTE, 443))
                .egress()
                .flags(2),
            "security_group",
            json!(true),
        ),
    ] {
        let found = one(&world(), flow.clone().reject());
        assert_eq!(found, (json!(by), agrees), "{flow:?}");
    }
}

#[test]
fn what_the_topology_lacks_is_undecidable() {
    let unknown = |interface: &str, addr: &str| {
        flow(interface, (REMOTE, 50_000), (addr, 443))
            .ingress()
            .flags(2)
            .reject()
    };
    let undecidable = (json!("undecidable"), Value::Null);
    // The rules of its group; the interface itself; its protocol.
    let lost = unknown("eni-lost", "10.0.2.21");
    assert_eq!(one(&world(), lost), undecidable);
    assert_eq!(one(&world(), unknown("eni-gone", "10.7.0.1")), undecidable);
    let odd = knock(REMOTE, 443).with("protocol", "-").reject();
    assert_eq!(one(&world(), odd), undecidable);
    assert_eq!(
        one(&World::new(), knock(REMOTE, 443).reject()),
        (json!("undecidable"), Value::Null)
    );
}

#[test]
fn without_any_groups_what_the_network_acl_lets_in_a_group_refused() {
    let world = world().without("SecurityGroups");
    for (port, by, agrees) in [
        (443, "security_group", Value::Null),
        (23, "nacl rule 32767", json!(true)),
    ] {
        let found = one(&world, knock(REMOTE, port).reject());
        assert_eq!(found, (json!(by), agrees), "{port}");
    }
}

#[test]
fn accepted_records_agree_with_the_rules_or_contradict_them() {
    let answer = |port: u16, remote: &str| {
        flow("eni-web", (WEB, port), (remote, 50_000))
            .egress()
            .flags(18)
    };
    for (flow, agrees) in [
        (knock(REMOTE, 443), json!(true)),
        (knock(REMOTE, 22), json!(false)),
        (knock("198.51.100.7", 443), json!(false)),
        (knock("10.0.2.20", 80), json!(true)),
        // Answers pass the group, not the network ACL.
        (answer(443, REMOTE), json!(true)),
        (
            flow("eni-app", (WEB, 80), ("10.0.2.20", 50_000))
                .ingress()
                .flags(18),
            json!(true),
        ),
        (
            flow("eni-web", (REMOTE, 443), (WEB, 900))
                .ingress()
                .flags(18),
            json!(false),
        ),
        (
            flow("eni-lost", (REMOTE, 50_000), ("10.0.2.21", 443))
                .ingress()
                .flags(2),
            Value::Null,
        ),
    ] {
        let found = one(&world(), flow.clone());
        assert_eq!(found, (Value::Null, agrees), "{flow:?}");
    }
}

#[test]
fn the_rules_are_those_of_the_records_time() {
    let place = Place::new();
    let closed = world().without("SecurityGroups").add(
        "SecurityGroups",
        json!({"GroupId": "sg-web", "VpcId": "vpc-1", "IpPermissions": [], "IpPermissionsEgress": []}),
    );
    world().put_in(&place, "snapshots/20260310T080000Z");
    closed.put_in(&place, "snapshots/20260310T090000Z");
    let flows = [
        knock(REMOTE, 443).at("2026-03-10T08:30:00Z"),
        knock(REMOTE, 443).at("2026-03-10T09:30:00Z").reject(),
    ];
    place.put("logs/all.log", log(FULL, &flows));
    let answer = block_on(async move {
        place.ingest().await;
        let sql = "SELECT refused_by, model_agrees FROM traffic ORDER BY start";
        rows(&place.session().await, sql).await
    });
    assert_eq!(
        answer,
        [
            json!({"refused_by": null, "model_agrees": true}),
            json!({"refused_by": "security_group", "model_agrees": true})
        ]
    );
}

#[test]
fn the_share_that_is_undecidable_stands_under_the_answer() {
    let place = Place::new();
    world().put(&place);
    let flows = [
        knock(REMOTE, 22).reject(),
        knock(REMOTE, 443).reject(),
        knock(REMOTE, 443),
    ];
    place.put("logs/all.log", log(FULL, &flows));
    let ended = place
        .run(&["analyze", "logs", "--topology", "topology"])
        .ok();
    let line = "note: who refused it is undecidable for 50 % of 2 rejected records; the rules of the time contradict 50 %\n";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
}
