use serde_json::json;

use super::*;

fn nacl(entries: serde_json::Value) -> Nacl {
    let record: NetworkAcl = serde_json::from_value(json!({
        "NetworkAclId": "acl-1", "VpcId": "vpc-1", "IsDefault": false,
        "Associations": [{"SubnetId": "subnet-1"}], "Entries": entries
    }))
    .unwrap();
    Nacl::from_record(&record)
}

fn rule(
    number: i32,
    action: &str,
    protocol: &str,
    cidr: &str,
    ports: Option<(i32, i32)>,
) -> serde_json::Value {
    let key = if cidr.contains(':') {
        "Ipv6CidrBlock"
    } else {
        "CidrBlock"
    };
    let mut rule = json!({"RuleNumber": number, "RuleAction": action, "Protocol": protocol, "Egress": false, key: cidr});
    if let Some((from, to)) = ports {
        rule["PortRange"] = json!({"From": from, "To": to});
    }
    rule
}

fn into(protocol: u8, remote: &str, dst_port: Option<u16>) -> Packet {
    Packet {
        direction: Direction::Ingress,
        protocol,
        remote: remote.parse().unwrap(),
        dst_port,
    }
}

fn verdict(action: Action, rule_number: u16) -> Verdict {
    Verdict {
        action,
        rule_number,
    }
}

#[test]
fn the_lowest_number_that_matches_decides() {
    let nacl = nacl(json!([
        rule(200, "allow", "6", "0.0.0.0/0", Some((443, 443))),
        rule(100, "deny", "6", "198.51.100.0/24", Some((443, 443))),
        rule(300, "allow", "-1", "10.0.0.0/8", None),
        rule(32767, "deny", "-1", "0.0.0.0/0", None),
    ]));
    assert_eq!(
        nacl.evaluate(&into(6, "198.51.100.7", Some(443))),
        verdict(Action::Deny, 100)
    );
    assert_eq!(
        nacl.evaluate(&into(6, "203.0.113.7", Some(443))),
        verdict(Action::Allow, 200)
    );
    assert_eq!(
        nacl.evaluate(&into(6, "203.0.113.7", Some(22))),
        verdict(Action::Deny, 32767)
    );
    assert_eq!(
        nacl.evaluate(&into(17, "10.1.2.3", Some(53))),
        verdict(Action::Allow, 300)
    );
    assert_eq!(
        nacl.evaluate(&into(17, "203.0.113.7", Some(443))),
        verdict(Action::Deny, 32767)
    );
}

#[test]
fn a_new_acl_denies_everything_in_both_families() {
    let nacl = nacl(json!([
        rule(32767, "deny", "-1", "0.0.0.0/0", None),
        rule(32768, "deny", "-1", "::/0", None)
    ]));
    assert_eq!(nacl.ingress, []);
    assert_eq!(
        nacl.evaluate(&into(6, "10.0.0.1", Some(22))),
        verdict(Action::Deny, 32767)
    );
    assert_eq!(
        nacl.evaluate(&into(6, "2001:db8::1", Some(22))),
        verdict(Action::Deny, 32768)
    );
}

#[test]
fn families_and_directions_never_mix() {
    let nacl = nacl(json!([
        rule(100, "allow", "-1", "0.0.0.0/0", None),
        rule(101, "deny", "-1", "::/0", None)
    ]));
    assert_eq!(
        nacl.evaluate(&into(6, "2001:db8::1", Some(22))),
        verdict(Action::Deny, 101)
    );
    let out = Packet {
        direction: Direction::Egress,
        ..into(6, "10.0.0.1", Some(22))
    };
    assert_eq!(nacl.evaluate(&out), verdict(Action::Deny, 32767));
}

#[test]
fn ports_count_for_tcp_and_udp_only() {
    let nacl = nacl(json!([
        rule(100, "deny", "-1", "192.0.2.0/24", Some((80, 80))),
        rule(110, "allow", "132", "0.0.0.0/0", Some((80, 80))),
        rule(120, "allow", "17", "0.0.0.0/0", Some((0, 65535))),
    ]));
    assert_eq!(
        nacl.evaluate(&into(6, "192.0.2.1", Some(22))),
        verdict(Action::Deny, 100)
    );
    assert_eq!(
        nacl.evaluate(&into(132, "10.0.0.1", Some(22))),
        verdict(Action::Allow, 110)
    );
    assert_eq!(
        nacl.evaluate(&into(17, "10.0.0.1", None)),
        verdict(Action::Allow, 120)
    );
}

#[test]
fn an_icmp_type_is_undecidable_only_where_it_would_decide() {
    let typed = |number, action, protocol| {
        let mut rule = rule(number, action, protocol, "0.0.0.0/0", None);
        rule["IcmpTypeCode"] = json!({"Type": 8, "Code": -1});
        rule
    };
    let echo_only = nacl(json!([typed(100, "allow", "1")]));
    assert_eq!(
        echo_only.evaluate(&into(1, "10.0.0.1", Some(0))),
        verdict(Action::Undecidable, 100)
    );
    assert_eq!(
        echo_only.evaluate(&into(6, "10.0.0.1", Some(22))),
        verdict(Action::Deny, 32767)
    );
    let echo_and_all = nacl(json!([
        typed(100, "allow", "1"),
        rule(200, "allow", "-1", "0.0.0.0/0", None)
    ]));
    assert_eq!(
        echo_and_all.evaluate(&into(1, "10.0.0.1", Some(0))),
        verdict(Action::Allow, 200)
    );
    let any_type = nacl(
        json!([{"RuleNumber": 90, "RuleAction": "allow", "Protocol": "1", "Egress": false,
        "CidrBlock": "0.0.0.0/0", "IcmpTypeCode": {"Type": -1, "Code": -1}}]),
    );
    assert_eq!(
        any_type.evaluate(&into(1, "10.0.0.1", None)),
        verdict(Action::Allow, 90)
    );
}

#[test]
fn a_port_that_is_not_recorded_may_match() {
    let nacl = nacl(json!([rule(
        100,
        "allow",
        "6",
        "0.0.0.0/0",
        Some((443, 443))
    )]));
    assert_eq!(
        nacl.evaluate(&into(6, "10.0.0.1", None)),
        verdict(Action::Undecidable, 100)
    );
}
