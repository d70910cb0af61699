//! `policy suggest` and `policy check`, on the sample's story of one subnet.

use crate::harness::{FULL, Place, World, flow, log};

/// A subnet behind nothing that calls two ports of one place, five of one block, and another of our subnets.
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
        .subnet(
            "subnet-b",
            "vpc-1",
            &["10.0.2.0/24"],
            &[("10.0.0.0/16", "local")],
        )
        .interface("eni-1", "vpc-1", "subnet-a", &["10.0.1.10"])
        .interface("eni-2", "vpc-1", "subnet-b", &["10.0.2.20"])
        .put(&place);
    let call = |remote: &'static str, port: u16| {
        flow("eni-1", ("10.0.1.10", 50_000), (remote, port))
            .egress()
            .flags(2)
    };
    let blocks = [
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.3",
        "198.51.100.4",
        "198.51.100.5",
    ];
    let mut flows = vec![
        call("192.0.2.1", 80),
        call("192.0.2.1", 443),
        call("10.0.2.20", 5432),
    ];
    flows.extend(blocks.map(|remote| call(remote, 8443)));
    place.put("logs/1.log", log(FULL, &flows));
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    let at = "2026-03-01T00:00:00Z";
    place
        .run(&[
            "topology", "import", "topology", "--lake", "lake", "--at", at,
        ])
        .ok();
    place
}

#[test]
fn a_suggested_policy_expects_what_it_was_learned_from_and_is_not_suggested_again() {
    let place = place();
    let suggested = place.run(&["policy", "suggest", "--lake", "lake"]).ok();
    let entries: Vec<Vec<&str>> = suggested
        .stdout
        .split("\n\n")
        .filter(|entry| !entry.trim().is_empty())
        .map(|entry| {
            entry
                .lines()
                .filter(|line| !line.starts_with('#'))
                .collect()
        })
        .collect();
    let reason = "reason = \"to be reviewed: seen from 2026-03-10 to 2026-03-10\"";
    assert_eq!(
        entries,
        [
            vec![
                "[[expect]]",
                "detection = \"east_west_private\"",
                "subnets = [\"subnet-a\"]",
                "remote = [\"subnet-b\"]",
                "ports = [5432]",
                "protocol = \"tcp\"",
                reason,
            ],
            vec![
                "[[expect]]",
                "detection = \"egress_unexpected\"",
                "subnets = [\"subnet-a\"]",
                "remote = [\"198.51.100.0/24\"]",
                "ports = [8443]",
                "protocol = \"tcp\"",
                reason,
            ],
            vec![
                "[[expect]]",
                "detection = \"egress_unexpected\"",
                "subnets = [\"subnet-a\"]",
                "remote = [\"192.0.2.1/32\"]",
                "ports = [80, 443]",
                "protocol = \"tcp\"",
                reason,
            ],
        ]
    );
    assert!(
        suggested
            .stdout
            .contains("# 5 findings, 5 records, 5.0 KB sent, 2026-03-10 to 2026-03-10"),
        "{}",
        suggested.stdout
    );

    place.put("policy.toml", &suggested.stdout);
    let detect = [
        "detect",
        "egress_unexpected",
        "east_west_private",
        "--lake",
        "lake",
    ];
    let found = place
        .run(&[&detect[..], &["--policy", "policy.toml"]].concat())
        .ok();
    assert_eq!(found.stdout, "");
    let again = place
        .run(&[
            "policy",
            "suggest",
            "--lake",
            "lake",
            "--policy",
            "policy.toml",
        ])
        .ok();
    assert_eq!(again.stdout, "");
}

#[test]
fn a_policy_is_told_which_of_its_entries_ended_and_which_never_matched() {
    let place = place();
    place.put(
        "policy.toml",
        r#"
[[expect]]
detection = "egress_unexpected"
remote = ["192.0.2.0/24"]
reason = "the mirror"

[[expect]]
detection = "egress_unexpected"
remote = ["203.0.113.0/24"]
reason = "a partner who left"

[[expect]]
detection = "egress_unexpected"
remote = ["198.51.100.0/24"]
reason = "a migration"
until = 2026-03-05

[[expect]]
detection = "egres"
reason = "a slip"
"#,
    );
    let checked = place
        .run(&[
            "policy",
            "check",
            "--lake",
            "lake",
            "--policy",
            "policy.toml",
        ])
        .ok();
    let told: Vec<(String, i64)> = checked
        .rows()
        .iter()
        .map(|row| {
            (
                row["status"].as_str().unwrap().to_owned(),
                row["findings"].as_i64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("matched", 2),
        ("never_matched", 0),
        ("expired", 0),
        ("unknown_detection", 0),
    ];
    assert_eq!(
        told,
        expected.map(|(status, findings)| (status.to_owned(), findings))
    );
    assert!(
        checked
            .stderr
            .contains("4 entries: 1 matched, 1 expired, 1 never matched"),
        "{}",
        checked.stderr
    );
}
