//! The cases of `tests/detections/<id>/<case>`: a folder added there is a test more.
//!
//! | File | Holds |
//! |---|---|
//! | `logs/` | flow logs in any format |
//! | `topology/` | what `aws ec2 describe-*` prints |
//! | `snapshots/20260310T080000Z/` | the same as of that time; any number of them |
//! | `policy.toml` | what the owner expects; none without it |
//! | `parameters.txt` | `name=value` lines; the defaults without it |
//! | `window.txt` | the window: two times; without it, all that was read |
//! | `expected.ndjson` | a line for each finding, with the keys that are compared; empty where nothing may be found |

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use flowscout::detect::{self, Catalog, Finding, Window};
use flowscout::policy::Policy;
use flowscout::session::Session;
use serde_json::Value;

use crate::harness::{Place, block_on, rows, time};

/// What every expected row names, beside what the case adds.
const KEYS: [&str; 12] = [
    "severity",
    "subnet_id",
    "interface_id",
    "src_addr",
    "dst_addr",
    "dst_subnet_id",
    "dst_port",
    "protocol",
    "flows",
    "packets",
    "bytes",
    "expected_by",
];

/// Records that each finding cites.
const MOST_RECORDS: usize = 3;

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(of)
        .unwrap_or_else(|error| panic!("{}: {error}", of.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

fn cases(id: &str) -> Vec<PathBuf> {
    folders(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/detections")
            .join(id),
    )
}

fn expected(case: &Path) -> Vec<Value> {
    fs::read_to_string(case.join("expected.ndjson"))
        .unwrap_or_else(|error| panic!("{}: {error}", case.display()))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Copies the files of a folder that may not be there.
fn put_folder(place: &Place, from: &Path, name: &str) {
    for file in fs::read_dir(from).into_iter().flatten() {
        let file = file.unwrap();
        place.put(
            &format!("{name}/{}", file.file_name().to_str().unwrap()),
            fs::read(file.path()).unwrap(),
        );
    }
}

/// Logs into a lake of their own, then the detection.
async fn findings(id: &str, case: &Path) -> Vec<Finding> {
    let place = Place::new();
    crate::harness::ingest(&case.join("logs"), place.lake().await).await;
    put_folder(&place, &case.join("topology"), "topology");
    for folder in fs::read_dir(case.join("snapshots")).into_iter().flatten() {
        let folder = folder.unwrap();
        let name = format!("snapshots/{}", folder.file_name().to_str().unwrap());
        put_folder(&place, &folder.path(), &name);
    }
    let policy = case.join("policy.toml");
    let policy = match policy.exists() {
        true => Policy::read(&policy).unwrap(),
        false => Policy::default(),
    };
    let session = Session::over_lake(&place.lake().await, &place.knowledge(policy))
        .await
        .unwrap();
    let window = match fs::read_to_string(case.join("window.txt")) {
        Ok(text) => {
            let times: Vec<&str> = text.split_whitespace().collect();
            Window {
                from: time(times[0]),
                to: time(times[1]),
            }
        }
        Err(_) => {
            let (from, last) = session.span().await.unwrap().unwrap();
            Window {
                from,
                to: last + TimeDelta::seconds(1),
            }
        }
    };
    let catalog = Catalog::load(None).unwrap();
    let detection = catalog.select(&[id.to_owned()]).unwrap()[0];
    let parameters = fs::read_to_string(case.join("parameters.txt")).unwrap_or_default();
    let parameters: BTreeMap<String, String> = parameters
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut found = detect::run(&session, detection, window, &parameters)
        .await
        .unwrap()
        .findings;
    detect::cite_records(&session, &mut found, MOST_RECORDS)
        .await
        .unwrap();
    for finding in &found {
        shows_its_records(&session, finding, case).await;
    }
    found
}

/// The statement that a finding cites shows its records: the client's, and what came back; and those that it cites are the first of them.
async fn shows_its_records(session: &Session, finding: &Finding, case: &Path) {
    let Some(sql) = finding.evidence.get("sql").and_then(Value::as_str) else {
        assert_eq!(finding.evidence.get("records"), None, "{finding:#?}");
        return;
    };
    let shown = rows(session, sql).await;
    // Of records that are there twice it shows each once.
    let flows = match finding.detection.as_str() {
        "logs_duplicate" => 1,
        _ => finding.flows.unwrap_or(1).max(1),
    };
    let count = shown.len();
    assert!(
        i64::try_from(count).unwrap() >= flows,
        "{}: {sql} shows {count} of {finding:#?}",
        case.display()
    );
    let Some(Value::Array(cited)) = finding.evidence.get("records") else {
        panic!("{}: no records in {finding:#?}", case.display())
    };
    let mut alike: Vec<Value> = shown.iter().map(|row| like(row, &cited[0])).collect();
    alike.sort_by_cached_key(|row| (row["start"].to_string(), row.to_string()));
    alike.dedup();
    assert_eq!(cited.len(), alike.len().min(MOST_RECORDS), "{finding:#?}");
    let logs = case.join("logs").display().to_string();
    for (record, first) in cited.iter().zip(&alike) {
        assert_eq!(record["start"], first["start"], "{}: {sql}", case.display());
        assert!(alike.contains(record), "{}: {record}", case.display());
        let source = record["source"].as_str().unwrap();
        assert!(source.starts_with(&logs), "{source}");
    }
}

/// What of `found` is compared with `expected`: the same keys, also within an object.
fn like(found: &Value, expected: &Value) -> Value {
    match expected {
        Value::Object(keys) => keys
            .iter()
            .map(|(key, inner)| (key.clone(), like(&found[key], inner)))
            .collect(),
        _ => found.clone(),
    }
}

/// Says what is wrong with a case, nothing if all is right.
async fn wrong(id: &str, case: &Path) -> Option<String> {
    let found = findings(id, case).await;
    let expected = expected(case);
    let name = case.file_name().unwrap().to_str().unwrap();
    for row in &expected {
        for key in KEYS {
            assert!(
                row.get(key).is_some(),
                "{id}/{name}: an expected row has no `{key}`"
            );
        }
    }
    let as_json: Vec<Value> = found
        .iter()
        .map(|one| serde_json::to_value(one).unwrap())
        .collect();
    let mut left: Vec<&Value> = as_json.iter().collect();
    let mut missing = Vec::new();
    for row in &expected {
        match left.iter().position(|found| like(found, row) == *row) {
            Some(at) => drop(left.swap_remove(at)),
            None => missing.push(row),
        }
    }
    if !left.is_empty() || !missing.is_empty() {
        let lines = |rows: &[&Value]| {
            rows.iter()
                .map(|row| format!("  {row}"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        return Some(format!(
            "{id}/{name}: found and not expected\n{}\nexpected and not found\n{}",
            lines(&left),
            lines(&missing)
        ));
    }
    if found.is_empty() {
        return None;
    }
    // Another lake, another run: the same findings, fingerprints and all.
    let again = findings(id, case).await;
    let mut fingerprints: Vec<&str> = found.iter().map(|one| one.fingerprint.as_str()).collect();
    fingerprints.sort_unstable();
    fingerprints.dedup();
    if again != found {
        Some(format!(
            "{id}/{name}: a second run finds\n{again:#?}\nthe first\n{found:#?}"
        ))
    } else if fingerprints.len() != found.len() {
        Some(format!("{id}/{name}: two findings share a fingerprint"))
    } else {
        None
    }
}

/// Every case of every detection of a group, or of one detection.
fn hold_their_cases(of: &'static str) {
    block_on(async move {
        let catalog = Catalog::load(None).unwrap();
        let mut failed = Vec::new();
        for detection in catalog.select(&[of.to_owned()]).unwrap() {
            for case in cases(&detection.id) {
                failed.extend(wrong(&detection.id, &case).await);
            }
        }
        assert!(
            failed.is_empty(),
            "{} cases:\n{}",
            failed.len(),
            failed.join("\n\n")
        );
    });
}

/// A test for each group, the core detections one by one; and that no detection is left out.
macro_rules! hold_their_cases {
    ($($test:ident: $of:literal)*) => {
        $(
            #[test]
            fn $test() {
                hold_their_cases($of);
            }
        )*

        #[test]
        fn every_detection_is_tested_with_its_group() {
            let tested = [$($of),*];
            for detection in Catalog::load(None).unwrap().all() {
                let names = [Some(detection.id.as_str()), detection.group.as_deref()];
                assert!(
                    names.iter().flatten().any(|name| tested.contains(name)),
                    "{}",
                    detection.id
                );
            }
        }
    };
}

hold_their_cases! {
    egress_unexpected_holds_its_cases: "egress_unexpected"
    east_west_private_holds_its_cases: "east_west_private"
    reject_spike_holds_its_cases: "reject_spike"
    topology_drift_public_holds_its_cases: "topology_drift_public"
    egress_detections_hold_their_cases: "egress"
    east_west_detections_hold_their_cases: "east_west"
    exfiltration_detections_hold_their_cases: "exfiltration"
    rejects_hold_their_cases: "rejects"
    reconnaissance_holds_its_cases: "reconnaissance"
    operations_hold_their_cases: "operations"
    reports_hold_their_cases: "reports"
}

#[test]
fn every_detection_has_a_case_that_fires_and_one_that_is_quiet() {
    let catalog = Catalog::load(None).unwrap();
    for detection in catalog.all() {
        let (quiet, fires): (Vec<_>, Vec<_>) = cases(&detection.id)
            .into_iter()
            .partition(|case| expected(case).is_empty());
        assert!(!quiet.is_empty() && !fires.is_empty(), "{}", detection.id);
    }
    for folder in folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/detections")) {
        let id = folder.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(
            catalog.select(std::slice::from_ref(&id)).is_ok(),
            "`{id}` has cases and no detection"
        );
    }
}
