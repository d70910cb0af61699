//! Statements over a lake: functions, pruning, counting, what is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use flowscout::session::Session;
use serde_json::{Value, json};

use crate::harness::{FULL, Flow, Place, V2, World, block_on, fixtures, flow, log, rows};

/// Hours in which the lake's flows begin: a batch for each, so that each has a file of its own.
const HOURS: [&str; 6] = [
    "2026-03-09T01",
    "2026-03-09T13",
    "2026-03-10T02",
    "2026-03-10T14",
    "2026-03-11T03",
    "2026-03-11T15",
];

fn at(hour: &str, number: usize) -> Flow {
    flow("eni-a", ("10.0.1.10", 40_000), ("192.0.2.9", 443)).at(&format!("{hour}:{number:02}:00Z"))
}

/// A lake of three days and six files; the file of an hour has an interface and a client of its own.
async fn six_files() -> Place {
    let place = Place::new();
    for (file, hour) in HOURS.iter().enumerate() {
        let flows: Vec<Flow> = (0..60)
            .map(|minute| {
                at(hour, minute)
                    .with("interface-id", format!("eni-{file:02}"))
                    .with("srcaddr", format!("10.0.{file}.{minute}"))
            })
            .collect();
        place.put(&format!("logs/{file}.log"), log(V2, &flows));
        place.ingest().await;
    }
    place
}

fn data_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().unwrap() != "_delta_log" {
            found.extend(data_files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "parquet")
            && path.to_str().unwrap().contains("/date=")
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The files that a plan reads.
async fn planned(session: &Session, sql: &str) -> BTreeSet<String> {
    let plan = rows(session, &format!("EXPLAIN {sql}")).await;
    let physical = plan.last().unwrap()["plan"].as_str().unwrap().to_owned();
    physical
        .split(|c: char| c.is_whitespace() || "[],{}".contains(c))
        .filter(|word| word.ends_with(".parquet"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_statement_opens_only_the_files_it_needs() {
    block_on(async {
        let place = six_files().await;
        assert_eq!(data_files(&place.path("lake")).len(), HOURS.len());
        let session = place.session().await;
        let count = |condition: &str| format!("SELECT COUNT(*) AS n FROM flows WHERE {condition}");
        for (condition, files, counted) in [
            // The log knows how many rows whole dates have.
            ("date = '2026-03-10'", 0, 120),
            ("date >= '2026-03-10'", 0, 240),
            // Nor need a file be opened whose rows all pass by the log's statistics.
            ("date = '2026-03-10' AND bytes > 0", 0, 120),
            ("date = '2026-03-10' AND bytes % 7 >= 0", 2, 120),
            ("date >= '2026-03-10' AND bytes % 7 >= 0", 4, 240),
            (
                "start >= '2026-03-10T02:10:00Z' AND start < '2026-03-10T02:20:00Z'",
                1,
                10,
            ),
            // Overlap, as in every time filter on flows.
            (
                "start < '2026-03-09T13:05:00Z' AND \"end\" >= '2026-03-09T12:00:00Z'",
                1,
                5,
            ),
            ("interface_id = 'eni-04'", 1, 60),
            ("srcaddr = '10.0.5.17'", 1, 1),
            ("interface_id IN ('eni-00', 'eni-05')", 2, 120),
            ("interface_id = 'eni-99'", 0, 0),
            ("bytes > 1000", 0, 0),
            ("vpc_id IS NOT NULL", 0, 0),
            ("srcport = 40000", 6, 360),
        ] {
            let sql = count(condition);
            let read = planned(&session, &sql).await;
            assert_eq!(read.len(), files, "{condition}: {read:?}");
            assert_eq!(
                rows(&session, &sql).await,
                [json!({"n": counted})],
                "{condition}"
            );
        }
        // The proof: with the other files gone, the answer is still there.
        let needed = planned(&session, &count("interface_id = 'eni-03'")).await;
        for file in data_files(&place.path("lake")) {
            let name = file.file_name().unwrap().to_str().unwrap();
            if !needed.iter().any(|path| path.ends_with(name)) {
                fs::remove_file(&file).unwrap();
            }
        }
        assert_eq!(data_files(&place.path("lake")).len(), 1);
        let fresh = place.session().await;
        for condition in [
            "interface_id = 'eni-03'",
            "start >= '2026-03-10T14:00:00Z' AND start < '2026-03-10T15:00:00Z'",
        ] {
            assert_eq!(
                rows(&fresh, &count(condition)).await,
                [json!({"n": 60})],
                "{condition}"
            );
        }
        assert!(
            fresh
                .query(&count("bytes = 1000"), Vec::new())
                .await
                .is_err(),
            "the others are needed here"
        );
    });
}

#[test]
fn traffic_of_an_hour_reads_only_its_neighbourhood() {
    block_on(async {
        let place = six_files().await;
        for file in data_files(&place.path("lake")) {
            if !file.to_str().unwrap().contains("date=2026-03-10") {
                fs::remove_file(&file).unwrap();
            }
        }
        let sql = "SELECT COUNT(*) AS n FROM traffic WHERE start >= '2026-03-10T14:00:00Z' AND start < '2026-03-10T14:30:00Z'";
        assert_eq!(rows(&place.session().await, sql).await, [json!({"n": 30})]);
    });
}

#[test]
fn counting_is_right_with_and_without_filters() {
    block_on(async {
        let place = six_files().await;
        let session = place.session().await;
        for (sql, expected) in [
            ("SELECT COUNT(*) AS n FROM flows", json!({"n": 360})),
            ("SELECT COUNT(tcp_flags) AS n FROM flows", json!({"n": 0})),
            (
                "SELECT COUNT(*) AS n FROM flows WHERE date = '2026-03-09' OR interface_id = 'eni-05'",
                json!({"n": 180}),
            ),
            (
                "SELECT COUNT(*) AS n FROM (SELECT * FROM flows LIMIT 7) AS few",
                json!({"n": 7}),
            ),
            ("SELECT SUM(bytes) AS n FROM flows", json!({"n": 360_000})),
            (
                "SELECT COUNT(DISTINCT date) AS n FROM flows",
                json!({"n": 3}),
            ),
            ("SELECT SUM(rows) AS n FROM objects", json!({"n": 360})),
            ("SELECT COUNT(*) AS n FROM traffic", json!({"n": 360})),
        ] {
            assert_eq!(rows(&session, sql).await, [expected], "{sql}");
        }
        let minimum =
            "SELECT MIN(start) AS first, MAX(\"end\") AS last, MIN(srcaddr) AS a FROM flows";
        assert_eq!(
            rows(&session, minimum).await,
            [
                json!({"first": "2026-03-09T01:00:00Z", "last": "2026-03-11T15:59:59Z", "a": "10.0.0.0"})
            ]
        );
    });
}

#[test]
fn functions_answer_as_documented() {
    block_on(async {
        let place = Place::new();
        place.put("logs/one.log", log(V2, &[at("2026-03-10T08", 0)]));
        place.ingest().await;
        World::new().vpc("vpc-1", "10.0.0.0/16").put(&place);
        let session = place.session().await;
        for (expression, expected) in [
            ("cidr_contains('10.0.0.0/8', '10.200.0.1')", json!(true)),
            ("cidr_contains('10.0.0.0/8', '11.0.0.1')", json!(false)),
            (
                "cidr_contains('2001:db8::/32', '2001:db8:1::9')",
                json!(true),
            ),
            ("cidr_contains('0.0.0.0/0', '2001:db8::1')", json!(false)),
            ("cidr_contains('10.0.0.0/8', NULL)", Value::Null),
            ("cidr_contains('10.0.0.0/8', 'not an address')", Value::Null),
            ("ip_scope('10.0.9.9')", json!("vpc")),
            ("ip_scope('10.99.0.1')", json!("unrouted")),
            ("ip_scope('192.0.2.9')", json!("internet")),
            ("ip_scope('169.254.169.254')", json!("special")),
            ("ip_scope('52.216.1.1')", json!("aws_service")),
            ("aws_service('52.216.1.1')", json!("S3")),
            ("aws_service('192.0.2.9')", Value::Null),
            ("aws_region('52.216.1.1')", json!("us-east-1")),
            ("aws_region('192.0.2.9')", Value::Null),
            ("number_in('22 5985-5986', 5986)", json!(true)),
            ("number_in('22 5985-5986', 5987)", json!(false)),
            ("number_in('22', NULL)", Value::Null),
            ("number_in('', 22)", json!(false)),
            ("protocol_name(6)", json!("tcp")),
            ("protocol_name(17)", json!("udp")),
            ("protocol_name(NULL)", Value::Null),
            ("port_name(443, 6)", json!("https")),
            ("port_name(443, 1)", Value::Null),
            ("port_name(64999, 6)", Value::Null),
            ("tcp_flags_text(18)", json!("SYN|ACK")),
            ("tcp_flags_text(0)", json!("none")),
            ("tcp_flags_text(NULL)", Value::Null),
        ] {
            let answer = rows(&session, &format!("SELECT {expression} AS a")).await;
            assert_eq!(answer, [json!({"a": expected})], "{expression}");
        }
        let wrong = session
            .query("SELECT cidr_contains('10.0.0/8', '10.0.0.1')", Vec::new())
            .await;
        assert!(format!("{:?}", wrong.unwrap_err()).contains("10.0.0/8"));
        let wrong = session
            .query("SELECT number_in('22 ssh', 22)", Vec::new())
            .await;
        assert!(format!("{:?}", wrong.unwrap_err()).contains("`ssh`"));
    });
}

#[test]
fn the_rule_of_a_network_acl_is_that_of_its_time_and_direction() {
    let entry = |number: i32, action: &str, egress: bool, cidr: &str, ports: (i32, i32)| {
        json!({"RuleNumber": number, "Protocol": "6", "RuleAction": action, "Egress": egress, "CidrBlock": cidr,
            "PortRange": {"From": ports.0, "To": ports.1}})
    };
    let world = |entries: Value| {
        World::new()
            .vpc("vpc-1", "10.0.0.0/16")
            .subnet("subnet-1", "vpc-1", &["10.0.1.0/24"], &[])
            .without("NetworkAcls")
            .add(
                "NetworkAcls",
                json!({"NetworkAclId": "acl-1", "VpcId": "vpc-1", "IsDefault": false, "Entries": entries,
                    "Associations": [{"NetworkAclAssociationId": "a", "NetworkAclId": "acl-1", "SubnetId": "subnet-1"}]}),
            )
    };
    block_on(async move {
        let place = Place::new();
        place.put("logs/one.log", log(V2, &[at("2026-03-10T08", 0)]));
        place.ingest().await;
        world(json!([
            entry(100, "allow", false, "0.0.0.0/0", (443, 443)),
            entry(100, "allow", true, "0.0.0.0/0", (1024, 65535))
        ]))
        .put(&place);
        world(json!([entry(
            90,
            "deny",
            false,
            "192.0.2.0/24",
            (443, 443)
        )]))
        .put_in(&place, "snapshots/20260310T080000Z");
        let session = place.session().await;
        for (expression, expected) in [
            (
                "nacl_rule('subnet-1', 'ingress', '192.0.2.9', 443, 6, t.before)",
                json!(100),
            ),
            (
                "nacl_rule('subnet-1', 'ingress', '192.0.2.9', 443, 6, t.after)",
                json!(90),
            ),
            (
                "nacl_rule('subnet-1', 'egress', '192.0.2.9', 50000, 6, t.before)",
                json!(100),
            ),
            (
                "nacl_rule('subnet-1', 'ingress', '192.0.2.9', 22, 6, t.before)",
                json!(32767),
            ),
            (
                "nacl_rule('subnet-1', 'ingress', '2001:db8::9', 443, 6, t.before)",
                json!(32768),
            ),
            (
                "nacl_rule('subnet-1', 'ingress', '192.0.2.9', NULL, 6, t.before)",
                Value::Null,
            ),
            (
                "nacl_rule('subnet-2', 'ingress', '192.0.2.9', 443, 6, t.before)",
                Value::Null,
            ),
            (
                "to_unixtime(snapshot_of(t.after)) - to_unixtime(TIMESTAMP '2026-03-10T08:00:00Z')",
                json!(0),
            ),
            ("to_unixtime(snapshot_of(t.before))", json!(0)),
        ] {
            let times = "(SELECT TIMESTAMP '2026-03-10T07:00:00Z' AS before, TIMESTAMP '2026-03-10T09:00:00Z' AS after) AS t";
            let answer = rows(&session, &format!("SELECT {expression} AS a FROM {times}")).await;
            assert_eq!(answer, [json!({"a": expected})], "{expression}");
        }
    });
}

#[test]
fn a_statement_that_writes_is_refused_and_nothing_is_written() {
    let place = Place::new();
    place.put("logs/one.log", log(V2, &[at("2026-03-10T08", 0)]));
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    let before = data_files(&place.path("lake"));
    place.put("secret.csv", "a\n1\n");
    for statement in [
        "DROP TABLE flows",
        "DELETE FROM flows",
        "INSERT INTO flows SELECT * FROM flows",
        "UPDATE flows SET bytes = 0",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'secret.csv'",
        "COPY (SELECT 1) TO 'out.csv'",
        "SET datafusion.execution.batch_size = 1",
        "EXPLAIN ANALYZE INSERT INTO flows SELECT * FROM flows",
    ] {
        let ended = place.run(&["sql", "--lake", "lake", statement]);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(2), ""),
            "{statement}: {}",
            ended.stderr
        );
    }
    let file = place.run(&["sql", "--lake", "lake", "SELECT * FROM 'secret.csv'"]);
    assert_eq!(file.code, Some(2), "a statement reads tables, not files");
    assert!(!place.path("out.csv").exists());
    assert_eq!(data_files(&place.path("lake")), before);
    assert_eq!(
        place.sql("SELECT COUNT(*) AS n FROM flows"),
        [json!({"n": 1})]
    );
}

#[test]
fn tables_have_the_columns_of_the_contract() {
    block_on(async {
        let place = Place::new();
        let skipped = at("2026-03-10T08", 1).with("log-status", "SKIPDATA");
        place.put(
            "logs/one.log",
            log(FULL, &[at("2026-03-10T08", 0), skipped]),
        );
        place.ingest().await;
        let session = place.session().await;
        let columns = |table: &'static str| {
            let session = &session;
            async move {
                let sql = format!(
                    "SELECT column_name AS c FROM information_schema.columns WHERE table_name = '{table}'"
                );
                rows(session, &sql)
                    .await
                    .iter()
                    .map(|row| row["c"].as_str().unwrap().to_owned())
                    .collect::<BTreeSet<_>>()
            }
        };
        for (table, names) in [
            (
                "flows",
                "version account_id interface_id srcaddr dstaddr srcport dstport protocol packets bytes start end action log_status vpc_id \
                tcp_flags pkt_srcaddr flow_direction traffic_path reject_reason next_hop_interface_id tgw_id packets_lost_no_route extra source date",
            ),
            (
                "traffic",
                "start end account_id region vpc_id subnet_id interface_id action protocol packets bytes tcp_flags src_addr dst_addr src_port \
                dst_port src_subnet_id dst_subnet_id src_vpc_id dst_vpc_id src_class dst_class src_scope dst_scope src_service dst_service direction \
                initiator client_addr server_addr service_port route_target path leg counted late refused_by model_agrees source",
            ),
            (
                "objects",
                "key etag size rows bad_lines outcome reason batch ingested_at",
            ),
            (
                "interface_coverage",
                "hour interface_id vpc_id subnet_id account_id region flow_log_ids traffic_type status flows skipped nodata",
            ),
            ("bad_lines", "key line field value expected text"),
            (
                "subnets",
                "snapshot_at class class_reason class6 class6_reason subnet_id vpc_id",
            ),
        ] {
            let found = columns(table).await;
            for name in names.split_whitespace() {
                assert!(found.contains(name), "`{table}` has no `{name}`");
            }
        }
        for table in "vpcs subnets route_tables routes nacls nacl_entries security_groups security_group_rules interfaces nat_gateways gateways endpoints peerings prefix_lists flow_logs".split(' ') {
            assert!(columns(table).await.contains("snapshot_at"), "{table}");
        }
        assert_eq!(
            rows(&session, "SELECT log_status AS s FROM coverage").await,
            [json!({"s": "SKIPDATA"})]
        );
        assert_eq!(
            rows(&session, "SELECT COUNT(*) AS n FROM flows").await,
            [json!({"n": 1})]
        );
    });
}

/// Country and autonomous system by MaxMind's own test files, where they are at hand.
#[test]
fn countries_and_autonomous_systems_come_from_the_files_that_the_user_names() {
    let place = Place::new();
    place.put(
        "logs/1.log",
        log(
            V2,
            &[flow("eni-1", ("10.0.1.10", 50_000), ("81.2.69.142", 443))],
        ),
    );
    let sql = "SELECT country(dstaddr) AS country, country(srcaddr) AS own, autonomous_system('1.128.0.1') AS announces FROM flows";
    let ask = |mmdb: &[&str]| {
        let arguments = [&["sql", sql, "--logs", "logs"][..], mmdb].concat();
        place.run(&arguments)
    };
    let without = ask(&[]).ok().rows();
    assert_eq!(
        without,
        [json!({"country": null, "own": null, "announces": null})]
    );
    let not_one = place.put("no.mmdb", "nothing");
    let refused = ask(&["--mmdb", not_one.to_str().unwrap()]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("no.mmdb` as a MaxMind DB file"),
        "{}",
        refused.stderr
    );
    let Some(files) = fixtures().map(|path| path.join("addresses/MaxMind-DB")) else {
        return;
    };
    let [countries, systems] = ["GeoLite2-Country-Test.mmdb", "GeoLite2-ASN-Test.mmdb"]
        .map(|name| files.join(name).display().to_string());
    let with = ask(&["--mmdb", &countries, "--mmdb", &systems]).ok().rows();
    assert_eq!(
        with,
        [json!({"country": "GB", "own": null, "announces": "AS1221 Telstra Pty Ltd"})]
    );
    let damaged = files.join("libmaxminddb-corrupt-search-tree.mmdb");
    assert_eq!(ask(&["--mmdb", damaged.to_str().unwrap()]).code, Some(2));
}
