//! `topology explain`, `diff` and `audit` from outside: what they say, and what they refuse.

use serde_json::Value;

use crate::harness::{Ended, Place, V2, World, flow, log};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample-logs/topology");

/// A command of `topology` over a folder.
fn over(folder: &str, arguments: &[&str]) -> Ended {
    let place = Place::new();
    let folder = format!("--topology={folder}");
    place.run(&[&["topology"], arguments, &[folder.as_str()]].concat())
}

#[track_caller]
fn refused(ended: Ended) -> String {
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(2), ""),
        "{ended:?}"
    );
    ended.stderr
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "`{line}` is not in\n{text}");
    }
}

#[test]
fn explain_says_why_a_subnet_is_isolated_in_ipv4_and_public_in_ipv6() {
    let table = over(
        SAMPLE,
        &["explain", "subnet-01111000020022000", "--format", "table"],
    )
    .ok()
    .stdout;
    has(
        &table,
        &[
            "subnet       subnet-01111000020022000 (production-data-b)\n",
            "it is associated with the subnet (rtbassoc-01111000020022000)\n",
            "IPv4: isolated\n  since rtb-01111000020000004 has only local routes\n",
            "  not public: no IPv4 route leads to an internet gateway (::/0 → igw-01111000020000000 is of the other family",
            "IPv6: public\n  since rtb-01111000020000004 sends ::/0 to igw-01111000020000000\n",
        ],
    );
    // A program gets the same facts, as one object.
    let rows = over(SAMPLE, &["explain", "subnet-01111000020022000"])
        .ok()
        .rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["kind"], "subnet");
    assert_eq!(rows[0]["families"][1]["class"], "public");
    let whole = over(
        SAMPLE,
        &["explain", "subnet-01111000020022000", "--format", "json"],
    )
    .ok()
    .stdout;
    assert_eq!(
        serde_json::from_str::<Value>(&whole).unwrap()["families"],
        rows[0]["families"]
    );
}

#[test]
fn explain_gives_the_twin_networks_an_answer_each() {
    let table = over(SAMPLE, &["explain", "10.20.11.31", "--format", "table"])
        .ok()
        .stdout;
    has(
        &table,
        &[
            "Who has it; it means something else in each of these:",
            "vpc-01111000020000000 (production)",
            "vpc-04444000020000000 (staging)",
        ],
    );
    let one = over(
        SAMPLE,
        &["explain", "10.20.11.31", "--vpc", "vpc-04444000020000000"],
    )
    .ok()
    .rows();
    assert_eq!(
        one[0]["held_by"][0]["interface_id"],
        "eni-04444000020011031"
    );
    assert_eq!(one[0]["held_by"].as_array().unwrap().len(), 1);
}

#[test]
fn explain_refuses_what_is_not_there_and_names_what_is() {
    has(
        &refused(over(SAMPLE, &["explain", "subnet-0"])),
        &[
            "error: no subnet `subnet-0` in the topology as of ",
            "; there are 13 subnets: subnet-01111000020001000, ",
        ],
    );
    has(
        &refused(over(SAMPLE, &["explain", "production"])),
        &["expected a subnet (`subnet-…`), an interface (`eni-…`) or an address, got `production`"],
    );
    has(
        &refused(over(SAMPLE, &["explain", "10.0.0.1", "--format", "csv"])),
        &["expected `--format` table, json or ndjson"],
    );
    let place = Place::new();
    has(
        &refused(place.run(&["topology", "explain", "10.0.0.1", "--lake", "lake"])),
        &["lake"],
    );
}

#[test]
fn explain_reads_a_lake_as_of_a_time() {
    let place = Place::new();
    let world = |target: &str| {
        World::new().vpc("vpc-1", "10.0.0.0/16").subnet(
            "subnet-a",
            "vpc-1",
            &["10.0.0.0/24"],
            &[("0.0.0.0/0", target)],
        )
    };
    for (at, target) in [("2026-03-01", "tgw-1"), ("2026-03-05", "igw-1")] {
        world(target).put(&place);
        place
            .run(&[
                "topology", "import", "topology", "--lake", "lake", "--at", at,
            ])
            .ok();
    }
    let class = |at: &[&str]| {
        let arguments = [&["topology", "explain", "subnet-a", "--lake", "lake"], at].concat();
        place.run(&arguments).ok().rows()[0]["families"][0]["class"].clone()
    };
    assert_eq!(class(&[]), "public");
    assert_eq!(class(&["--at", "2026-03-04"]), "private_tgw");
}

/// A lake with a network that changes twice.
fn changing_lake() -> Place {
    let place = Place::new();
    let world = |target: &str, addrs: &[&str]| {
        World::new()
            .vpc("vpc-1", "10.0.0.0/16")
            .subnet(
                "subnet-a",
                "vpc-1",
                &["10.0.0.0/24"],
                &[("0.0.0.0/0", target)],
            )
            .interface("eni-a", "vpc-1", "subnet-a", addrs)
    };
    for (at, target, addrs) in [
        ("2026-03-01", "tgw-1", &["10.0.0.5"][..]),
        ("2026-03-05", "igw-1", &["10.0.0.5", "10.0.0.6"][..]),
        ("2026-03-09", "tgw-1", &["10.0.0.5", "10.0.0.6"][..]),
    ] {
        world(target, addrs).put(&place);
        place
            .run(&[
                "topology", "import", "topology", "--lake", "lake", "--at", at,
            ])
            .ok();
    }
    place
}

#[test]
fn diff_says_what_turned_public_first() {
    let place = changing_lake();
    let table = place
        .run(&[
            "topology",
            "diff",
            "2026-03-02",
            "2026-03-06",
            "--lake",
            "lake",
            "--format",
            "table",
        ])
        .ok();
    assert_eq!(
        table.stdout,
        "Turned public\n  subnet-a turned public in IPv4 (was private_tgw): rtb-of-subnet-a gained 0.0.0.0/0 → igw-1\n\n\
         Routes\n  rtb-of-subnet-a sends 0.0.0.0/0 to igw-1, no longer to tgw-1\n\n\
         Interfaces\n  eni-a gained 10.0.0.6\n"
    );
    has(
        &table.stderr,
        &["3 changes between the snapshots of 2026-03-01T00:00:00Z and 2026-03-05T00:00:00Z"],
    );
    let rows = place
        .run(&[
            "topology",
            "diff",
            "2026-03-02",
            "2026-03-06",
            "--lake",
            "lake",
        ])
        .ok()
        .rows();
    let keys: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "kind",
            "id",
            "change",
            "before",
            "after",
            "words",
            "account_id",
            "region",
            "vpc_id"
        ]
    );
    assert_eq!(rows[0]["change"], "turned_public");
    assert_eq!(
        (&rows[0]["before"], &rows[0]["after"]),
        (&"private_tgw".into(), &"public".into())
    );
    // Since then it was mended: from the first snapshot to the last only the address is new.
    let since = place
        .run(&["topology", "diff", "2026-03-01", "--lake", "lake"])
        .ok();
    assert_eq!(since.rows().len(), 1);
    assert_eq!(since.rows()[0]["kind"], "interface_address");
}

#[test]
fn detect_finds_what_diff_says_first() {
    let place = changing_lake();
    let minute = flow("eni-a", ("10.0.0.5", 40_000), ("10.0.0.6", 443)).at("2026-03-05T08:00:00Z");
    place.put("logs/a.log", log(V2, &[minute]));
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    let detect = |from: &str, to: &str, format: &str| {
        place
            .run(&[
                "detect",
                "topology_drift_public",
                "--lake",
                "lake",
                "--from",
                from,
                "--to",
                to,
                "--format",
                format,
            ])
            .ok()
    };
    let rows = detect("2026-03-05", "2026-03-06", "ndjson").rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["severity"], &rows[0]["subnet_id"]),
        (&"high".into(), &"subnet-a".into())
    );
    assert_eq!(
        rows[0]["reason"],
        "subnet-a turned public in IPv4 (it was private_tgw, now rtb-of-subnet-a sends 0.0.0.0/0 to igw-1; by 2026-03-09T00:00:00Z it no longer was)"
    );
    has(
        &detect("2026-03-05", "2026-03-06", "table").stdout,
        &[
            "Subnet turned public (topology_drift_public): 1\n",
            " where ",
        ],
    );
    assert_eq!(detect("2026-03-06", "2026-03-10", "ndjson").stdout, "");
}

#[test]
fn diff_says_when_there_is_nothing_to_compare() {
    let place = changing_lake();
    let same = place
        .run(&[
            "topology",
            "diff",
            "2026-03-02",
            "2026-03-03",
            "--lake",
            "lake",
        ])
        .ok();
    assert_eq!(same.stdout, "");
    has(
        &same.stderr,
        &[
            "warning: both times see the same snapshot, of 2026-03-01T00:00:00Z",
            "nothing changed",
        ],
    );
    let before_all = place
        .run(&[
            "topology",
            "diff",
            "2026-01-01",
            "2026-03-06",
            "--lake",
            "lake",
        ])
        .ok();
    has(
        &before_all.stderr,
        &[
            "warning: no snapshot is as old as 2026-01-01T00:00:00Z: the earliest, of 2026-03-01T00:00:00Z, stands for it",
        ],
    );
    has(
        &refused(place.run(&[
            "topology",
            "diff",
            "2026-03-06",
            "2026-03-02",
            "--lake",
            "lake",
        ])),
        &["error: the first time is after the second", "swap them"],
    );
    has(
        &refused(place.run(&["topology", "diff", "--lake", "lake"])),
        &["expected two times"],
    );
}

#[test]
fn diff_compares_two_folders() {
    let place = Place::new();
    for (name, target) in [("one", "tgw-1"), ("two", "igw-1")] {
        World::new()
            .vpc("vpc-1", "10.0.0.0/16")
            .subnet(
                "subnet-a",
                "vpc-1",
                &["10.0.0.0/24"],
                &[("0.0.0.0/0", target)],
            )
            .put(&place);
        std::fs::rename(place.path("topology"), place.path(name)).unwrap();
    }
    let arguments = ["topology", "diff", "--topology", "one", "--topology", "two"];
    let rows = place.run(&arguments).ok().rows();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["change"], "turned_public");
    has(
        &refused(place.run(&arguments[..4])),
        &["expected two times and a lake, or `--topology A --topology B` without times"],
    );
}

#[test]
fn audit_of_the_sample_finds_the_back_door_first() {
    let ended = over(SAMPLE, &["audit"]).ok();
    let found: Vec<String> = ended
        .rows()
        .iter()
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap_or("-");
            let object = finding["subnet_id"].as_str().unwrap_or(text("vpc_id"));
            format!("{} {} {object}", text("severity"), text("detection"))
        })
        .collect();
    assert_eq!(
        found,
        [
            "high audit_private_subnet_public subnet-01111000020022000",
            "low audit_nacl_allows_all vpc-01111000020000000",
            "low audit_nacl_allows_all vpc-04444000020000000",
            "low audit_nacl_allows_all vpc-04444000040000000",
            "low audit_nat_across_zones subnet-04444000040012000",
            "low audit_zone_without_partner vpc-04444000040000000",
            "info audit_zone_without_partner vpc-04444000020000000",
        ]
    );
    has(
        &ended.stderr,
        &["7 findings; 3 VPCs, 13 subnets, 25 interfaces as of "],
    );
    // The keys of every finding, in their order.
    let keys: Vec<String> = ended.rows()[0]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        keys.join(" "),
        "fingerprint detection severity title first_seen last_seen account_id region vpc_id subnet_id interface_id src_addr dst_addr \
         dst_subnet_id dst_port protocol flows packets bytes reason evidence expected_by"
    );
    let table = over(SAMPLE, &["audit", "--format", "table"]).ok().stdout;
    has(
        &table,
        &[
            "Private subnet routed to an internet gateway (audit_private_subnet_public): 1\n",
            "NAT gateway in another zone (audit_nat_across_zones): 1\n",
        ],
    );
}

#[test]
fn audit_fails_a_pipeline_and_heeds_the_policy() {
    let code = |arguments: &[&str]| over(SAMPLE, &[&["audit"], arguments].concat()).code;
    assert_eq!(code(&["--fail-on", "high"]), Some(1));
    assert_eq!(code(&["--fail-on", "critical"]), Some(0));
    let place = Place::new();
    place.put(
        "policy.toml",
        "[[expect]]\ndetection = \"audit_private_subnet_public\"\nsubnets = [\"tag:Name=production-data-b\"]\nreason = \"known\"\n",
    );
    let folder = format!("--topology={SAMPLE}");
    let audit = |more: &[&str]| {
        let arguments = [
            &[
                "topology",
                "audit",
                &folder,
                "--policy",
                "policy.toml",
                "--fail-on",
                "high",
            ],
            more,
        ]
        .concat();
        place.run(&arguments).ok()
    };
    let hidden = audit(&[]);
    assert_eq!(hidden.rows().len(), 6);
    has(
        &hidden.stderr,
        &["6 findings, 1 expected by the policy (--all shows them); "],
    );
    assert_eq!(audit(&["--all"]).rows()[0]["expected_by"], "known");
}

#[test]
fn audit_compares_with_the_blocks_on_premises() {
    let rows = over(
        SAMPLE,
        &[
            "audit",
            "--on-premises",
            "10.40.0.0/20",
            "--on-premises",
            "192.168.0.0/16",
        ],
    )
    .ok()
    .rows();
    let found: Vec<&Value> = rows
        .iter()
        .filter(|finding| finding["detection"] == "audit_cidr_overlap_on_premises")
        .collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["vpc_id"], "vpc-04444000040000000");
    assert_eq!(
        found[0]["evidence"]["cidrs"],
        serde_json::json!(["10.40.0.0/20"])
    );
}

#[test]
fn audit_runs_over_real_exports() {
    for folder in fixtures() {
        over(&folder, &["audit"]).ok();
    }
}

/// Folders of real exports, where they are at hand.
fn fixtures() -> Vec<String> {
    let root = crate::harness::fixtures().unwrap_or_default();
    [
        "cloudmapper",
        "cartography",
        "aws-cli",
        "cloud-custodian/ec2_igw_subnet",
    ]
    .iter()
    .map(|name| root.join("topology").join(name))
    .filter(|folder| folder.is_dir())
    .map(|folder| folder.display().to_string())
    .collect()
}

#[test]
fn explain_has_something_to_say_about_every_subnet_of_real_exports() {
    for folder in fixtures() {
        for subnet in over(&folder, &["show"]).ok().rows() {
            let id = subnet["subnet_id"].as_str().unwrap();
            let explained = over(&folder, &["explain", id, "--format", "table"]).ok();
            has(&explained.stdout, &[id, "route table"]);
        }
        over(&folder, &["explain", "10.0.0.5", "--format", "table"]).ok();
    }
}
