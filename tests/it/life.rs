//! The life of findings: runs that remember one another, and the formats that other tools take findings in.

use serde_json::{Value, json};

use crate::harness::{Ended, FULL, Flow, Place, World, flow, log};

const LAKE: [&str; 2] = ["--lake", "lake"];

/// A lake with the topology of one isolated subnet.
fn place() -> Place {
    let place = Place::new();
    World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .subnet(
            "subnet-a",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("10.0.0.0/16", "local")],
        )
        .interface("eni-1", "vpc-1", "subnet-a", &["10.0.1.10"])
        .put(&place);
    place
}

/// A call of the one interface to a place on the internet.
fn call(remote: &'static str, at: &str) -> Flow {
    flow("eni-1", ("10.0.1.10", 50_000), (remote, 443))
        .egress()
        .flags(2)
        .at(at)
}

fn ingest(place: &Place, name: &str, flows: &[Flow]) {
    place.put(&format!("logs/{name}.log"), log(FULL, flows));
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    if !place.path("imported").exists() {
        let at = "2026-03-01T00:00:00Z";
        let import = ["topology", "import", "topology", "--at", at];
        place.run(&[&import[..], &LAKE].concat()).ok();
        place.put("imported", "");
    }
}

fn since_last(place: &Place, more: &[&str]) -> Ended {
    let detect = ["detect", "egress_unexpected", "--since-last"];
    place.run(&[&detect[..], &LAKE, more].concat())
}

/// Remote address and status of each finding.
fn lives(ended: &Ended) -> Vec<(String, String)> {
    let mut lives: Vec<_> = ended
        .rows()
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            (text("dst_addr"), text("status"))
        })
        .collect();
    lives.sort();
    lives
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(one, other): &(&str, &str)| ((*one).to_owned(), (*other).to_owned());
    expected.iter().map(owned).collect()
}

#[test]
fn a_finding_is_new_then_goes_on_then_is_resolved() {
    let place = place();
    ingest(&place, "1", &[call("192.0.2.1", "2026-03-10T08:00:00Z")]);
    let first = since_last(&place, &[]).ok();
    assert_eq!(lives(&first), pairs(&[("192.0.2.1", "new")]));
    assert!(
        first.stderr.contains("1 new, 0 ongoing, 0 resolved"),
        "{}",
        first.stderr
    );

    // Without the memory of the run before, the baseline would have swallowed the first.
    ingest(
        &place,
        "2",
        &[
            call("192.0.2.1", "2026-03-10T12:00:00Z"),
            call("192.0.2.2", "2026-03-10T12:00:00Z"),
        ],
    );
    let second = since_last(&place, &[]).ok();
    assert_eq!(
        lives(&second),
        pairs(&[("192.0.2.1", "ongoing"), ("192.0.2.2", "new")])
    );
    let fingerprint = |ended: &Ended| {
        let rows = ended.rows();
        let row = rows.iter().find(|row| row["dst_addr"] == "192.0.2.1");
        row.unwrap()["fingerprint"].clone()
    };
    assert_eq!(fingerprint(&second), fingerprint(&first));

    ingest(&place, "3", &[call("192.0.2.2", "2026-03-10T16:00:00Z")]);
    let third = since_last(&place, &[]).ok();
    assert_eq!(
        lives(&third),
        pairs(&[("192.0.2.1", "resolved"), ("192.0.2.2", "ongoing")])
    );
    let rows = third.rows();
    let resolved = rows.iter().find(|row| row["status"] == "resolved").unwrap();
    assert_eq!(
        resolved["resolution"],
        "not seen since 2026-03-10T12:00:59Z"
    );
    assert_eq!(resolved["opened_at"], "2026-03-10T08:00:00Z");

    // Nothing came: no run, and nothing is resolved by it.
    let idle = since_last(&place, &[]).ok();
    assert_eq!(idle.stdout, "");
    assert!(
        idle.stderr.contains("no flow came since the last run"),
        "{}",
        idle.stderr
    );

    let kept = place.sql(
        "SELECT dst_addr, status, COUNT(*) AS runs, MIN(run_at) < MAX(window_to) + INTERVAL '100 years' AS has_times \
         FROM findings GROUP BY ALL ORDER BY dst_addr, status",
    );
    let row = |dst_addr: &str, status: &str| json!({"dst_addr": dst_addr, "status": status, "runs": 1, "has_times": true});
    assert_eq!(
        kept,
        [
            row("192.0.2.1", "new"),
            row("192.0.2.1", "ongoing"),
            row("192.0.2.1", "resolved"),
            row("192.0.2.2", "new"),
            row("192.0.2.2", "ongoing"),
        ]
    );
}

#[test]
fn an_object_that_comes_late_is_looked_at_within_the_lag() {
    let place = place();
    ingest(&place, "1", &[call("192.0.2.1", "2026-03-10T08:00:00Z")]);
    since_last(&place, &[]).ok();
    // Recorded before the end of the last run, and delivered after it.
    ingest(
        &place,
        "2",
        &[
            call("192.0.2.3", "2026-03-10T07:40:00Z"),
            call("192.0.2.4", "2026-03-10T08:10:00Z"),
        ],
    );
    let second = since_last(&place, &["--lag", "30m"]).ok();
    assert_eq!(
        lives(&second),
        pairs(&[
            ("192.0.2.1", "resolved"),
            ("192.0.2.3", "new"),
            ("192.0.2.4", "new"),
        ])
    );
}

#[test]
fn what_is_resolved_fails_no_pipeline() {
    let place = place();
    ingest(&place, "1", &[call("192.0.2.1", "2026-03-10T08:00:00Z")]);
    let fails = |place: &Place| since_last(place, &["--fail-on", "high"]).code;
    assert_eq!(fails(&place), Some(1));
    // An hour of another service later.
    ingest(
        &place,
        "2",
        &[flow("eni-1", ("10.0.1.10", 50_000), ("10.0.1.11", 443))
            .egress()
            .at("2026-03-10T12:00:00Z")],
    );
    assert_eq!(fails(&place), Some(0));
}

#[test]
fn a_finding_cites_its_route_and_a_statement_that_shows_its_records() {
    let place = Place::new();
    World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .internet_gateway("igw-1", "vpc-1")
        .subnet(
            "subnet-a",
            "vpc-1",
            &["10.0.1.0/24"],
            &[("10.0.0.0/16", "local"), ("0.0.0.0/0", "igw-1")],
        )
        .interface("eni-1", "vpc-1", "subnet-a", &["10.0.1.10"])
        .add(
            "NetworkAcls",
            json!({"NetworkAclId": "acl-1", "VpcId": "vpc-1", "IsDefault": false, "Associations": [{"SubnetId": "subnet-a"}], "Entries": [
                {"RuleNumber": 100, "RuleAction": "allow", "Protocol": "-1", "Egress": true, "CidrBlock": "0.0.0.0/0"}]}),
        )
        .put(&place);
    ingest(
        &place,
        "1",
        &[
            call("192.0.2.1", "2026-03-10T08:00:00Z"),
            call("192.0.2.1", "2026-03-10T08:01:00Z"),
            call("192.0.2.9", "2026-03-10T08:01:00Z"),
        ],
    );
    let found = place
        .run(&[
            "detect",
            "egress_unexpected",
            "--lake",
            "lake",
            "--records",
            "3",
        ])
        .ok()
        .rows();
    let finding = found
        .iter()
        .find(|row| row["dst_addr"] == "192.0.2.1")
        .unwrap();
    let evidence = &finding["evidence"];
    assert_eq!(
        evidence["route"],
        json!({"route_table_id": "rtb-of-subnet-a", "destination": "0.0.0.0/0", "target_id": "igw-1"})
    );
    assert_eq!(
        evidence["network_acl_rules"],
        json!([{"nacl_id": "acl-1", "direction": "egress", "rule_number": 100, "action": "allow"}])
    );
    let records = place.sql(evidence["sql"].as_str().unwrap());
    assert_eq!(records.len(), 2, "{evidence}");
    assert_eq!(finding["flows"], 2);
    let cited = evidence["records"].as_array().unwrap();
    assert_eq!(cited.len(), 2, "{evidence}");
    assert_eq!(
        cited[0],
        json!({"start": "2026-03-10T08:00:00Z", "end": "2026-03-10T08:00:59Z", "interface_id": "eni-1", "direction": "egress",
            "src_addr": "10.0.1.10", "src_port": cited[0]["src_port"], "dst_addr": "192.0.2.1", "dst_port": 443, "protocol": 6,
            "action": "ACCEPT", "packets": 10, "bytes": 1000, "tcp_flags": 2, "source": cited[0]["source"]})
    );
    assert!(
        cited[0]["source"].as_str().unwrap().ends_with("1.log"),
        "{evidence}"
    );
}

#[test]
fn findings_are_given_as_ocsf_detection_findings() {
    let place = place();
    ingest(&place, "1", &[call("192.0.2.1", "2026-03-10T08:00:00Z")]);
    let rows = since_last(&place, &["--format", "ocsf", "--records", "3"])
        .ok()
        .rows();
    let [event] = &rows[..] else {
        panic!("{rows:?}")
    };
    // Create: class 2004 times 100, and the activity.
    assert_eq!(event["class_uid"], 2004);
    assert_eq!(event["type_uid"], 200_401);
    assert_eq!(
        (&event["severity_id"], &event["severity"]),
        (&json!(4), &json!("High"))
    );
    assert_eq!(event["time"], 1_773_129_659_000_i64);
    assert_eq!(event["cloud"]["provider"], "AWS");
    assert_eq!(
        event["finding_info"]["analytic"]["uid"],
        "egress_unexpected"
    );
    assert_eq!(
        event["finding_info"]["attacks"][0],
        json!({"technique": {"uid": "T1041"}})
    );
    let evidence = &event["evidences"][0];
    assert_eq!(evidence["src_endpoint"]["ip"], "10.0.1.10");
    assert_eq!(
        evidence["dst_endpoint"],
        json!({"ip": "192.0.2.1", "port": 443})
    );
    assert_eq!(evidence["connection_info"]["protocol_num"], 6);
    // Behind the whole stand the records, each with its own ends.
    assert!(evidence["data"]["evidence"].get("records").is_none());
    let record = &event["evidences"][1];
    assert_eq!(record["dst_endpoint"], evidence["dst_endpoint"]);
    assert_eq!(record["connection_info"]["direction_id"], 2);
    assert_eq!(record["data"]["bytes"], 1000);
    assert!(
        event.get("status_detail").is_none(),
        "what is not known is left out"
    );
}

#[test]
fn findings_are_given_as_a_sarif_log() {
    let place = place();
    ingest(&place, "1", &[call("192.0.2.1", "2026-03-10T08:00:00Z")]);
    let ended = since_last(&place, &["--format", "sarif"]).ok();
    let log: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "egress_unexpected");
    let result = &run["results"][0];
    assert_eq!(result["ruleIndex"], 0);
    assert_eq!(result["level"], "error");
    assert_eq!(result["baselineState"], "new");
    let place_of = &result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"];
    assert!(
        place_of.as_str().unwrap().ends_with("vpc-1/subnet-a/eni-1"),
        "{place_of}"
    );

    let refused = place.run(&["lake", "info", "--lake", "lake", "--format", "sarif"]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("`--format sarif` is for findings"),
        "{}",
        refused.stderr
    );
}
