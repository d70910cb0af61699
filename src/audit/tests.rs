//! Worlds that a careful team would not build, and the same as it would.

use serde_json::{Value, json};

use super::{audit, checks};
use crate::topology::model::Kind;
use crate::topology::world::World;

/// Two zones, each with a public and a private subnet, a NAT gateway of its own, a guarded network ACL and a flow log for all.
fn careful() -> World {
    World::new()
        .vpc("vpc-1", &["10.0.0.0/16"])
        .zoned("subnet-pub-a", "10.0.0.0/24", "eu-west-1a")
        .zoned("subnet-pub-b", "10.0.1.0/24", "eu-west-1b")
        .zoned("subnet-app-a", "10.0.2.0/24", "eu-west-1a")
        .zoned("subnet-app-b", "10.0.3.0/24", "eu-west-1b")
        .table(
            "rtb-pub",
            "vpc-1",
            &["subnet-pub-a", "subnet-pub-b"],
            &[("0.0.0.0/0", "igw-1")],
        )
        .table(
            "rtb-a",
            "vpc-1",
            &["subnet-app-a"],
            &[("0.0.0.0/0", "nat-a")],
        )
        .table(
            "rtb-b",
            "vpc-1",
            &["subnet-app-b"],
            &[("0.0.0.0/0", "nat-b")],
        )
        .nat("nat-a", "vpc-1", "subnet-pub-a")
        .nat("nat-b", "vpc-1", "subnet-pub-b")
        .interface("eni-a", "vpc-1", "subnet-app-a", &["10.0.2.5"], None)
        .interface("eni-b", "vpc-1", "subnet-app-b", &["10.0.3.5"], None)
        .nacl(
            "acl-1",
            &[
                "subnet-pub-a",
                "subnet-pub-b",
                "subnet-app-a",
                "subnet-app-b",
            ],
            "10.0.0.0/8",
        )
        .flow_log("fl-1", "vpc-1", "ALL", "SUCCESS")
}

impl World {
    fn zoned(self, id: &str, cidr: &str, zone: &str) -> Self {
        self.subnet(id, "vpc-1", &[cidr])
            .with(Kind::Subnets, "AvailabilityZone", json!(zone))
            .with(Kind::Subnets, "AvailableIpAddressCount", json!(200))
    }

    fn nacl(self, id: &str, subnets: &[&str], cidr: &str) -> Self {
        let associations: Vec<Value> = subnets.iter().map(|id| json!({"SubnetId": id})).collect();
        let entry = |egress: bool| json!({"CidrBlock": cidr, "Egress": egress, "Protocol": "-1", "RuleAction": "allow", "RuleNumber": 100});
        self.add(
            Kind::NetworkAcls,
            json!({"NetworkAclId": id, "VpcId": "vpc-1", "IsDefault": true, "Associations": associations,
                   "Entries": [entry(false), entry(true)]}),
        )
    }

    fn flow_log(self, id: &str, on: &str, traffic: &str, delivery: &str) -> Self {
        self.add(
            Kind::FlowLogs,
            json!({"FlowLogId": id, "ResourceId": on, "TrafficType": traffic, "FlowLogStatus": "ACTIVE",
                   "DeliverLogsStatus": delivery}),
        )
    }

    /// Changes a record by its id.
    fn change(self, kind: Kind, id: &str, field: &str, value: Value) -> Self {
        self.change_records(kind, |record| {
            if record.to_string().contains(&format!("\"{id}\"")) {
                record[field] = value.clone();
            }
        })
    }
}

/// Check, severity, and the sentence, of each finding.
fn found(world: &World) -> Vec<(String, String, String)> {
    audit(world.history().latest())
        .findings
        .into_iter()
        .map(|finding| {
            (
                finding.detection.trim_start_matches("audit_").to_owned(),
                finding.severity.to_string(),
                finding.reason.unwrap(),
            )
        })
        .collect()
}

#[track_caller]
fn expect(world: &World, wanted: &[(&str, &str, &str)]) {
    let found = found(world);
    let found: Vec<(&str, &str, &str)> = found
        .iter()
        .map(|(check, severity, reason)| (check.as_str(), severity.as_str(), reason.as_str()))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn a_careful_network_has_no_findings_and_no_notes() {
    let audited = audit(careful().history().latest());
    assert_eq!(audited.findings, []);
    assert_eq!(audited.notes, Vec::<String>::new());
}

#[test]
fn the_default_vpc_is_found_where_it_is_in_use() {
    let default = |world: World| world.change(Kind::Vpcs, "vpc-1", "IsDefault", json!(true));
    expect(
        &default(careful()),
        &[(
            "default_vpc_in_use",
            "low",
            "vpc-1 is the default VPC of eu-west-1 and has 2 interfaces, 0 of them with a public address",
        )],
    );
    let unused = World::new()
        .vpc("vpc-1", &["172.31.0.0/16"])
        .with(Kind::Vpcs, "IsDefault", json!(true))
        .add(
            Kind::NetworkInterfaces,
            json!({"NetworkInterfaceId": "eni-9", "VpcId": "vpc-9"}),
        );
    assert!(
        found(&unused)
            .iter()
            .all(|(check, ..)| check != "default_vpc_in_use")
    );
}

#[test]
fn masks_and_what_is_left_in_them() {
    let with =
        |id: &str, field: &str, value: Value| careful().change(Kind::Subnets, id, field, value);
    expect(
        &with("subnet-app-a", "AvailableIpAddressCount", json!(25)),
        &[(
            "subnet_nearly_full",
            "medium",
            "subnet-app-a has 25 of 251 addresses left in 10.0.2.0/24",
        )],
    );
    expect(
        &with("subnet-app-a", "AvailableIpAddressCount", json!(0)),
        &[(
            "subnet_nearly_full",
            "high",
            "subnet-app-a has 0 of 251 addresses left in 10.0.2.0/24",
        )],
    );
    expect(
        &with("subnet-app-a", "AvailableIpAddressCount", json!(26)),
        &[],
    );
    expect(
        &with("subnet-app-a", "CidrBlock", json!("10.0.2.0/29")),
        &[(
            "mask_size",
            "low",
            "subnet-app-a has 10.0.2.0/29, outside of /16 to /28 (IPv6: /44 to /64)",
        )],
    );
}

/// `vpc-2` and `vpc-3` use the same CIDR; nothing else is amiss there.
fn twins() -> World {
    careful()
        .vpc("vpc-2", &["10.2.0.0/16"])
        .flow_log("fl-2", "vpc-2", "ALL", "SUCCESS")
        .vpc("vpc-3", &["10.2.128.0/17"])
        .flow_log("fl-3", "vpc-3", "ALL", "SUCCESS")
}

#[test]
fn overlaps_are_found_where_vpcs_are_joined() {
    expect(&twins(), &[]);
    let peered = twins()
        .peering(
            "pcx-2",
            "active",
            ("vpc-1", "10.0.0.0/16"),
            ("vpc-2", "10.2.0.0/16"),
        )
        .peering(
            "pcx-3",
            "active",
            ("vpc-1", "10.0.0.0/16"),
            ("vpc-3", "10.2.128.0/17"),
        );
    expect(
        &peered,
        &[(
            "cidr_overlap",
            "medium",
            "vpc-2 and vpc-3 both use 10.2.128.0/17, and are joined by peerings of both with vpc-1: a route can lead to one of them only",
        )],
    );
    let attachment = |id: &str, vpc: &str| json!({"TransitGatewayAttachmentId": id, "TransitGatewayId": "tgw-1", "VpcId": vpc, "State": "available"});
    let on_transit = twins()
        .add(
            Kind::TransitGatewayVpcAttachments,
            attachment("tgw-attach-2", "vpc-2"),
        )
        .add(
            Kind::TransitGatewayVpcAttachments,
            attachment("tgw-attach-3", "vpc-3"),
        );
    expect(
        &on_transit,
        &[(
            "cidr_overlap",
            "medium",
            "vpc-2 and vpc-3 both use 10.2.128.0/17, and are joined by the transit gateway tgw-1: a route can lead to one of them only",
        )],
    );
    expect(
        &careful().on_premises("10.0.0.0/12"),
        &[(
            "cidr_overlap_on_premises",
            "low",
            "vpc-1 uses 10.0.0.0/16, which is on premises too (10.0.0.0/12); no route of it leads to a VPN or transit gateway so far",
        )],
    );
}

#[test]
fn zones_and_partners() {
    let moved = careful()
        .change(
            Kind::Subnets,
            "subnet-pub-b",
            "AvailabilityZone",
            json!("eu-west-1c"),
        )
        .change(Kind::RouteTables, "rtb-b", "Routes", json!([]));
    expect(
        &moved.change(
            Kind::RouteTables,
            "rtb-b",
            "Routes",
            json!([{"DestinationCidrBlock": "0.0.0.0/0", "TransitGatewayId": "tgw-1", "State": "active"}]),
        ),
        &[
            (
                "zone_without_partner",
                "info",
                "vpc-1 has in eu-west-1b only private subnets and no public partner for them: subnet-app-b",
            ),
            (
                "zone_without_partner",
                "info",
                "vpc-1 has in eu-west-1c only public subnets and no private partner for them: subnet-pub-b",
            ),
        ],
    );
    let one_zone = ["subnet-pub-b", "subnet-app-b"]
        .into_iter()
        .fold(careful(), |world, id| {
            world.change(Kind::Subnets, id, "AvailabilityZone", json!("eu-west-1a"))
        });
    expect(
        &one_zone,
        &[(
            "single_zone",
            "medium",
            "vpc-1 has all of its subnets in eu-west-1a: subnet-app-a, subnet-app-b, subnet-pub-a, subnet-pub-b",
        )],
    );
    // An interface in a subnet that is not there: the topology is not whole.
    expect(
        &one_zone.interface("eni-c", "vpc-1", "subnet-c", &["10.0.7.5"], None),
        &[],
    );
}

#[test]
fn a_subnet_that_is_said_to_be_private_is_not_to_be_public() {
    let named = |id: &str, name: &str| {
        careful().change(
            Kind::Subnets,
            id,
            "Tags",
            json!([{"Key": "Name", "Value": name}]),
        )
    };
    expect(&named("subnet-app-a", "private-a"), &[]);
    expect(&named("subnet-pub-a", "public-a"), &[]);
    expect(
        &named("subnet-pub-a", "private-a"),
        &[(
            "private_subnet_public",
            "high",
            "subnet-pub-a (private-a) is public in IPv4, since rtb-pub sends 0.0.0.0/0 to igw-1; its tag Name says `private-a`",
        )],
    );
}

#[test]
fn nor_is_one_that_is_private_in_the_other_family() {
    let dual = |routes: &[(&str, &str)]| {
        careful()
            .subnet("subnet-6", "vpc-1", &["10.0.9.0/24", "2600:1f00::/64"])
            .with(Kind::Subnets, "AvailableIpAddressCount", json!(200))
            .table("rtb-6", "vpc-1", &["subnet-6"], routes)
    };
    let of_six = |world: &World| -> Vec<(String, String)> {
        found(world)
            .into_iter()
            .filter(|(check, ..)| check == "private_subnet_public")
            .map(|(_, severity, reason)| (severity, reason))
            .collect()
    };
    assert_eq!(
        of_six(&dual(&[("0.0.0.0/0", "nat-a"), ("::/0", "igw-1")])),
        [(
            "high".to_owned(),
            "subnet-6 is public in IPv6, since rtb-6 sends ::/0 to igw-1; in IPv4 it is private_nat".to_owned()
        )]
    );
    assert_eq!(
        of_six(&dual(&[("0.0.0.0/0", "igw-1"), ("::/0", "eigw-1")])),
        [(
            "low".to_owned(),
            "subnet-6 is public in IPv4, since rtb-6 sends 0.0.0.0/0 to igw-1; in IPv6 it is private_eigw".to_owned()
        )]
    );
    assert_eq!(
        of_six(&dual(&[("0.0.0.0/0", "igw-1"), ("::/0", "igw-1")])),
        []
    );
    assert_eq!(
        of_six(&dual(&[("0.0.0.0/0", "nat-a"), ("::/0", "eigw-1")])),
        []
    );
}

#[test]
fn a_nat_gateway_of_another_zone_is_worse_where_there_is_one_in_the_own() {
    let to = |nat: &str| {
        careful().change(
            Kind::RouteTables,
            "rtb-b",
            "Routes",
            json!([{"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": nat, "State": "active"}]),
        )
    };
    expect(
        &to("nat-a"),
        &[(
            "nat_across_zones",
            "medium",
            "subnet-app-b in eu-west-1b goes out over nat-a in eu-west-1a (subnet-pub-a), though nat-b is in eu-west-1b",
        )],
    );
    let only = to("nat-a").change(Kind::NatGateways, "nat-b", "State", json!("deleted"));
    expect(
        &only,
        &[(
            "nat_across_zones",
            "low",
            "subnet-app-b in eu-west-1b goes out over nat-a in eu-west-1a (subnet-pub-a); eu-west-1b has none",
        )],
    );
    let regional = to("nat-a").change(
        Kind::NatGateways,
        "nat-a",
        "AvailabilityMode",
        json!("regional"),
    );
    assert!(
        found(&regional)
            .iter()
            .all(|(check, ..)| check != "nat_across_zones")
    );
}

#[test]
fn one_finding_for_each_network_acl_that_allows_everything() {
    let open = careful().change(
        Kind::NetworkAcls,
        "acl-1",
        "Entries",
        json!([
            {"CidrBlock": "0.0.0.0/0", "Egress": false, "Protocol": "-1", "RuleAction": "allow", "RuleNumber": 100},
            {"CidrBlock": "0.0.0.0/0", "Egress": false, "Protocol": "-1", "RuleAction": "deny", "RuleNumber": 32767},
            {"CidrBlock": "0.0.0.0/0", "Egress": true, "Protocol": "-1", "RuleAction": "allow", "RuleNumber": 100},
        ]),
    );
    expect(
        &open,
        &[(
            "nacl_allows_all",
            "low",
            "acl-1, the default of its VPC, allows all IPv4 traffic, both ways, to 4 subnets: subnet-app-a, subnet-app-b, subnet-pub-a, \
             subnet-pub-b",
        )],
    );
    // A rule that denies first is a guard.
    let guarded = careful().change(
        Kind::NetworkAcls,
        "acl-1",
        "Entries",
        json!([
            {"CidrBlock": "192.0.2.0/24", "Egress": false, "Protocol": "-1", "RuleAction": "deny", "RuleNumber": 90},
            {"CidrBlock": "0.0.0.0/0", "Egress": false, "Protocol": "-1", "RuleAction": "allow", "RuleNumber": 100},
            {"CidrBlock": "0.0.0.0/0", "Egress": true, "Protocol": "-1", "RuleAction": "allow", "RuleNumber": 100},
        ]),
    );
    expect(&guarded, &[]);
}

#[test]
fn a_flow_log_records_all_traffic_and_delivers_it() {
    let log = |traffic: &str, delivery: &str| {
        careful()
            .change(Kind::FlowLogs, "fl-1", "TrafficType", json!(traffic))
            .change(Kind::FlowLogs, "fl-1", "DeliverLogsStatus", json!(delivery))
    };
    expect(
        &log("REJECT", "SUCCESS"),
        &[(
            "flow_log_incomplete",
            "medium",
            "vpc-1 with 2 interfaces: fl-1 records REJECT only: what was let in or out is not known",
        )],
    );
    expect(
        &log("ACCEPT", "SUCCESS"),
        &[(
            "flow_log_incomplete",
            "low",
            "vpc-1 with 2 interfaces: fl-1 records ACCEPT only: what was tried and refused is not known",
        )],
    );
    expect(
        &log("ALL", "FAILED").change(
            Kind::FlowLogs,
            "fl-1",
            "DeliverLogsErrorMessage",
            json!("Access error"),
        ),
        &[(
            "flow_log_incomplete",
            "high",
            "vpc-1 with 2 interfaces: fl-1 is active and cannot deliver (Access error): nothing is recorded",
        )],
    );
    // One for what is accepted and one for what is rejected are all traffic.
    expect(
        &log("ACCEPT", "SUCCESS").flow_log("fl-2", "vpc-1", "REJECT", "SUCCESS"),
        &[],
    );
}

#[test]
fn a_flow_log_of_a_subnet_or_an_interface_records_its_part() {
    let on =
        |resource: &str| careful().change(Kind::FlowLogs, "fl-1", "ResourceId", json!(resource));
    let of_subnets = on("subnet-app-a").flow_log("fl-2", "subnet-app-b", "ALL", "SUCCESS");
    expect(
        &of_subnets,
        &[
            (
                "flow_log_incomplete",
                "info",
                "subnet-pub-a, which has no interfaces: no flow log",
            ),
            (
                "flow_log_incomplete",
                "info",
                "subnet-pub-b, which has no interfaces: no flow log",
            ),
        ],
    );
    let of_one = on("eni-a")
        .interface("eni-a2", "vpc-1", "subnet-app-a", &["10.0.2.6"], None)
        .flow_log("fl-2", "subnet-app-b", "ALL", "SUCCESS")
        .flow_log("fl-3", "subnet-pub-a", "ALL", "SUCCESS")
        .flow_log("fl-4", "subnet-pub-b", "ALL", "SUCCESS");
    expect(
        &of_one,
        &[(
            "flow_log_incomplete",
            "medium",
            "subnet-app-a for 1 of 2 interfaces, eni-a2: no flow log",
        )],
    );
    let stray = of_one
        .flow_log("fl-5", "subnet-app-a", "ALL", "SUCCESS")
        .interface("eni-x", "vpc-1", "subnet-x", &["10.0.7.5"], None);
    expect(
        &stray,
        &[(
            "flow_log_incomplete",
            "medium",
            "vpc-1 for 1 interface in subnets that the topology lacks, eni-x: no flow log",
        )],
    );
}

#[test]
fn what_nobody_asked_for_is_a_note_and_no_finding() {
    let world = World::new()
        .vpc("vpc-1", &["10.0.0.0/16"])
        .subnet("subnet-1", "vpc-1", &["10.0.0.0/24"])
        .subnet("subnet-2", "vpc-1", &["10.0.1.0/24"])
        .with(Kind::Subnets, "AvailabilityZone", json!("eu-west-1b"));
    let audited = audit(world.history().latest());
    assert_eq!(audited.findings, []);
    assert_eq!(audited.notes.len(), 5, "{:#?}", audited.notes);
    assert_eq!(
        audited.notes[3],
        "flow logs are not known of 1 VPC (add `aws ec2 describe-flow-logs` of their accounts and regions): vpc-1"
    );
}

#[test]
fn fingerprints_know_the_object_and_neither_time_nor_severity() {
    let prints = |world: &World, at: i64| -> Vec<(String, String)> {
        let snapshot = world.import_at(at).snapshot;
        let history = crate::topology::History::new(vec![snapshot], world.settings.clone());
        let findings = audit(history.latest()).findings;
        let print = |finding: crate::detect::Finding| (finding.detection, finding.fingerprint);
        findings.into_iter().map(print).collect()
    };
    let log =
        |traffic: &str| careful().change(Kind::FlowLogs, "fl-1", "TrafficType", json!(traffic));
    assert_eq!(prints(&log("REJECT"), 0), prints(&log("ACCEPT"), 60));
    let bad = log("REJECT").on_premises("10.0.0.0/12");
    let all = prints(&bad, 0);
    assert_eq!(all.len(), 2);
    assert_ne!(all[0].1, all[1].1);
    let mut ids: Vec<&str> = checks().map(|check| check.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), checks().count());
}
