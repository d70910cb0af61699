//! The same two changes, written in each way.

use serde_json::{Value, json};

use super::*;
use crate::nacl::{Direction, Step};
use crate::topology::model::Kind;
use crate::topology::world::World;

fn guarded() -> Guarded {
    let world = World::new().vpc("vpc-1", &["10.0.0.0/16"]).add(
        Kind::NetworkAcls,
        json!({"NetworkAclId": "acl-1", "VpcId": "vpc-1", "Associations": [], "Entries": [
            {"RuleNumber": 100, "RuleAction": "allow", "Protocol": "-1", "CidrBlock": "0.0.0.0/0", "Egress": false},
            {"RuleNumber": 110, "RuleAction": "allow", "Protocol": "6", "CidrBlock": "10.0.0.0/8", "Egress": true, "PortRange": {"From": 1, "To": 2}}]}),
    );
    Guarded::of(&world.network())
}

const OURS: &str = r#"{"nacl_id": "acl-1", "direction": "ingress", "change": "add", "rule_number": 90, "protocol": 6, "port_from": 3389, "port_to": 3389, "cidr": "192.0.2.0/24", "action": "deny"}
{"nacl_id": "acl-1", "direction": "egress", "change": "delete", "rule_number": 110}"#;

const CLI: &str = "#!/bin/sh
aws ec2 create-network-acl-entry --network-acl-id acl-1 --ingress --rule-number 90 \\
    --protocol tcp --port-range From=3389,To=3389 --cidr-block '192.0.2.0/24' --rule-action deny
aws ec2 delete-network-acl-entry --network-acl-id=acl-1 --egress --rule-number 110  # of old
echo done
";

fn plan() -> String {
    json!({"resource_changes": [
        {"address": "aws_instance.a", "type": "aws_instance", "change": {"actions": ["create"], "before": null, "after": {}}},
        {"address": "aws_network_acl_rule.deny", "type": "aws_network_acl_rule", "change": {"actions": ["create"], "before": null,
            "after": {"network_acl_id": "acl-1", "egress": false, "rule_number": 90, "protocol": "tcp", "rule_action": "deny",
                "cidr_block": "192.0.2.0/24", "ipv6_cidr_block": null, "from_port": 3389, "to_port": 3389}}},
        {"address": "aws_network_acl.a", "type": "aws_network_acl", "change": {"actions": ["update"],
            "before": {"id": "acl-1", "ingress": [], "egress": [{"action": "allow", "cidr_block": "10.0.0.0/8", "from_port": 1, "to_port": 2,
                "icmp_code": 0, "icmp_type": 0, "ipv6_cidr_block": "", "protocol": "6", "rule_no": 110}]},
            "after": {"id": "acl-1", "ingress": [], "egress": []}}}
    ]})
    .to_string()
}

#[test]
fn advice_terraform_and_commands_say_the_same() {
    let guarded = guarded();
    let ours = read_changes(OURS, &guarded).unwrap().changes;
    assert_eq!(ours.len(), 2);
    let Step::Add(rule) = &ours[0].step else {
        panic!("{ours:?}")
    };
    assert_eq!(
        crate::nacl::rule_words(rule, Direction::Ingress),
        "rule 90 denies tcp 3389 from 192.0.2.0/24"
    );
    assert_eq!(ours[1].step, Step::Delete(110));
    assert_eq!(read_changes(CLI, &guarded).unwrap().changes, ours);
    let mut planned = read_changes(&plan(), &guarded).unwrap().changes;
    planned.reverse();
    assert_eq!(planned, ours);
}

#[test]
fn input_json_replaces_what_is_there() {
    let text = json!({"NetworkAclId": "acl-1", "Egress": false, "RuleNumber": 100, "Protocol": "-1", "RuleAction": "deny", "CidrBlock": "0.0.0.0/0"});
    let changes = read_changes(&text.to_string(), &guarded()).unwrap().changes;
    assert!(
        matches!(&changes[0].step, Step::Replace(rule) if !rule.allows),
        "{changes:?}"
    );
}

#[test]
fn what_is_wrong_is_named() {
    let said = |text: &str| read_changes(text, &guarded()).unwrap_err().to_string();
    assert!(said("hello").starts_with("expected the output of `nacl advise`"));
    assert!(said("{}").starts_with("expected the output of `nacl advise`"));
    assert_eq!(
        said(&OURS.replace("90", "40000")),
        "change 1: `rule number`: expected 1 to 32766, got `40000`"
    );
    assert_eq!(
        said(&CLI.replace("acl-1", "acl-2")),
        "line 2: the topology has no network ACL `acl-2` (it has acl-1)"
    );
    assert_eq!(
        said(&CLI.replace("--rule-action deny", "--rule-action drop")),
        "line 2: `action`: expected `allow` or `deny`, got `drop`"
    );
    assert_eq!(
        said(r#"{"resource_changes": []}"#),
        "the Terraform plan changes no rule of a network ACL"
    );
}

/// A VPC with a default ACL and two others, each with a subnet.
fn associated() -> Guarded {
    let acl = |id: &str, is_default: bool, subnet: &str| json!({"NetworkAclId": id, "VpcId": "vpc-1", "IsDefault": is_default, "Entries": [], "Associations": [{"SubnetId": subnet}]});
    let world = World::new()
        .vpc("vpc-1", &["10.0.0.0/16"])
        .subnet("subnet-0", "vpc-1", &["10.0.0.0/24"])
        .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"])
        .subnet("subnet-2", "vpc-1", &["10.0.2.0/24"])
        .add(Kind::NetworkAcls, acl("acl-0", true, "subnet-0"))
        .add(Kind::NetworkAcls, acl("acl-1", false, "subnet-1"))
        .add(Kind::NetworkAcls, acl("acl-2", false, "subnet-2"));
    Guarded::of(&world.network())
}

/// The ACL of each subnet after one change of a plan.
fn guards(kind: &str, change: &Value) -> Vec<String> {
    let guarded = associated();
    let plan = json!({"resource_changes": [{"address": format!("{kind}.a"), "type": kind, "change": change}]});
    let planned = read_changes(&plan.to_string(), &guarded).unwrap();
    let after = planned.applied(&guarded).unwrap();
    let subnets = ["subnet-0", "subnet-1", "subnet-2"];
    let of = |subnet| after.of_subnet(subnet).unwrap().id.to_string();
    subnets.map(of).to_vec()
}

#[test]
fn subnets_that_a_plan_puts_under_another_acl_are_there_afterwards() {
    let moved =
        json!({"before": null, "after": {"network_acl_id": "acl-2", "subnet_id": "subnet-1"}});
    let kind = "aws_network_acl_association";
    assert_eq!(guards(kind, &moved), ["acl-0", "acl-2", "acl-2"]);
    let given_up =
        json!({"before": {"network_acl_id": "acl-2", "subnet_id": "subnet-2"}, "after": null});
    assert_eq!(guards(kind, &given_up), ["acl-0", "acl-1", "acl-0"]);
    let lists = json!({"before": {"id": "acl-1", "subnet_ids": ["subnet-1"]}, "after": {"id": "acl-1", "subnet_ids": ["subnet-2"]}});
    let kind = "aws_network_acl";
    assert_eq!(guards(kind, &lists), ["acl-0", "acl-0", "acl-1"]);
    let destroyed = json!({"before": {"id": "acl-1", "subnet_ids": ["subnet-1"]}, "after": null});
    assert_eq!(guards(kind, &destroyed), ["acl-0", "acl-0", "acl-2"]);
}
