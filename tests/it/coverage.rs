//! `interface_coverage`, and the note on what an answer leaves out: a world where each interface is logged in another way.

use serde_json::json;

use crate::harness::{FULL, Flow, Place, World, block_on, flow, log, rows};

fn flow_log(id: &str, resource: &str, traffic: &str, delivery: &str) -> serde_json::Value {
    json!({"FlowLogId": id, "ResourceId": resource, "TrafficType": traffic, "FlowLogStatus": "ACTIVE", "DeliverLogsStatus": delivery})
}

/// One VPC whose subnet `subnet-logged` has a flow log, and interfaces elsewhere with their own, a broken one or none.
fn world() -> World {
    World::new()
        .vpc("vpc-1", "10.0.0.0/16")
        .subnet("subnet-logged", "vpc-1", &["10.0.1.0/24"], &[])
        .subnet("subnet-other", "vpc-1", &["10.0.2.0/24"], &[])
        .interface("eni-busy", "vpc-1", "subnet-logged", &["10.0.1.10"])
        .interface("eni-idle", "vpc-1", "subnet-logged", &["10.0.1.11"])
        .interface("eni-mute", "vpc-1", "subnet-logged", &["10.0.1.12"])
        .interface("eni-lossy", "vpc-1", "subnet-logged", &["10.0.1.13"])
        .interface("eni-rejects", "vpc-1", "subnet-other", &["10.0.2.10"])
        .interface("eni-accepts", "vpc-1", "subnet-other", &["10.0.2.11"])
        .interface("eni-broken", "vpc-1", "subnet-other", &["10.0.2.12"])
        .interface("eni-none", "vpc-1", "subnet-other", &["10.0.2.13"])
        .add(
            "FlowLogs",
            flow_log("fl-1", "subnet-logged", "ALL", "SUCCESS"),
        )
        .add(
            "FlowLogs",
            flow_log("fl-2", "eni-rejects", "REJECT", "SUCCESS"),
        )
        .add(
            "FlowLogs",
            flow_log("fl-3", "eni-accepts", "ACCEPT", "SUCCESS"),
        )
        .add("FlowLogs", flow_log("fl-4", "eni-broken", "ALL", "FAILED"))
}

fn place() -> Place {
    let remote = ("192.0.2.9", 443);
    let heard = |interface: &str, addr: &str| flow(interface, (addr, 50_000), remote).egress();
    let without = |flow: Flow, status: &str| flow.with("log-status", status);
    let place = Place::new();
    world().put(&place);
    let flows = [
        heard("eni-busy", "10.0.1.10"),
        heard("eni-busy", "10.0.1.10").at("2026-03-10T08:20:00Z"),
        heard("eni-busy", "10.0.1.10").at("2026-03-10T09:10:00Z"),
        without(heard("eni-idle", "10.0.1.11"), "NODATA"),
        heard("eni-lossy", "10.0.1.13"),
        without(heard("eni-lossy", "10.0.1.13"), "SKIPDATA"),
        heard("eni-accepts", "10.0.2.11"),
    ];
    place.put("logs/all.log", log(FULL, &flows));
    place
}

#[test]
fn every_interface_of_an_hour_says_whether_it_is_logged() {
    let place = place();
    block_on(async move {
        place.ingest().await;
        let session = place.session().await;
        let sql = "SELECT interface_id AS i, status AS s, flow_log_ids AS l, traffic_type AS t, flows AS f, skipped AS k, nodata AS n \
            FROM interface_coverage WHERE hour = '2026-03-10T08:00:00Z' ORDER BY i";
        let row = |i: &str, s: &str, l: &str, t: Option<&str>, [f, k, n]: [u8; 3]| json!({"i": i, "s": s, "l": l, "t": t, "f": f, "k": k, "n": n});
        let all = Some("ALL");
        assert_eq!(
            rows(&session, sql).await,
            [
                row(
                    "eni-accepts",
                    "accepts_only",
                    r#"["fl-3"]"#,
                    Some("ACCEPT"),
                    [1, 0, 0]
                ),
                row("eni-broken", "failed", r#"["fl-4"]"#, None, [0, 0, 0]),
                row("eni-busy", "logged", r#"["fl-1"]"#, all, [2, 0, 0]),
                row("eni-idle", "logged", r#"["fl-1"]"#, all, [0, 0, 1]),
                row("eni-lossy", "skipdata", r#"["fl-1"]"#, all, [1, 1, 0]),
                row("eni-mute", "silent", r#"["fl-1"]"#, all, [0, 0, 0]),
                row("eni-none", "no_flow_log", "[]", None, [0, 0, 0]),
                row(
                    "eni-rejects",
                    "rejects_only",
                    r#"["fl-2"]"#,
                    Some("REJECT"),
                    [0, 0, 0]
                ),
            ]
        );
        for (condition, counted) in [
            ("true", 16),
            ("hour > '2026-03-10T08:00:00Z'", 8),
            ("hour < '2026-03-10T09:00:00Z' AND vpc_id = 'vpc-1'", 8),
            ("hour >= '2026-03-10T10:00:00Z'", 0),
            ("status = 'silent'", 4),
        ] {
            let sql = format!("SELECT COUNT(*) AS n FROM interface_coverage WHERE {condition}");
            let found = rows(&session, &sql).await;
            assert_eq!(found, [json!({"n": counted})], "{condition}");
        }
    });
}

#[test]
fn an_answer_names_the_interfaces_that_it_knows_nothing_of() {
    let place = place();
    let ended = place
        .run(&["analyze", "logs", "--topology", "topology"])
        .ok();
    let line = "note: 1 of 8 interfaces has no flow log (eni-none), 1 has a flow log that can't deliver (eni-broken), \
        1 logs rejects only (eni-rejects), 1 logs accepts only (eni-accepts), 1 has no record at all (eni-mute): \
        what they did is not in this answer\n";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
}
