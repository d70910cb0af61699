//! Ground truth for each detection: `tests/detections/ID/fires.log` gives the findings of `expected.txt`, `quiet.log` none. Adding a
//! folder adds a case. `tests/detections/topology` is the network that all of them are in.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/detections");

fn flowscout(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_flowscout"))
        .args(arguments)
        .env_remove("FLOWSCOUT_LAKE")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What a detection finds in a log, one line a finding: severity, interface, subnet, client, server, its subnet, port/protocol,
/// flows/packets/bytes, reply packets/bytes, and the layer that refused.
fn findings(id: &str, log: &Path) -> Vec<String> {
    let scratch = tempfile::tempdir().unwrap();
    let lake = scratch.path().join("lake").display().to_string();
    flowscout(&["ingest", &log.display().to_string(), "--lake", &lake]);
    flowscout(&[
        "topology",
        "import",
        &format!("{FOLDER}/topology"),
        "--lake",
        &lake,
    ]);
    let text = |finding: &Value, key: &str| match &finding[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines: Vec<String> = flowscout(&["detect", id, "--lake", &lake, "--format", "ndjson"])
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|finding| {
            assert_eq!(finding["detection"], id);
            let of = |key: &str| text(&finding, key);
            let evidence = |key: &str| text(&finding["evidence"], key);
            format!(
                "{} {} {} {} {} {} {}/{} {}/{}/{} {}/{} {}",
                of("severity"),
                of("interface_id"),
                of("subnet_id"),
                of("src_addr"),
                of("dst_addr"),
                of("dst_subnet_id"),
                of("dst_port"),
                of("protocol"),
                of("flows"),
                of("packets"),
                of("bytes"),
                evidence("reply_packets"),
                evidence("reply_bytes"),
                evidence("layer")
            )
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn every_detection_fires_where_it_must_and_only_there() {
    let mut cases = 0;
    for entry in std::fs::read_dir(FOLDER).unwrap() {
        let folder = entry.unwrap().path();
        let id = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if id == "topology" {
            continue;
        }
        let expected = std::fs::read_to_string(folder.join("expected.txt")).unwrap();
        let expected: Vec<&str> = expected.lines().collect();
        assert!(!expected.is_empty(), "{id}");
        assert_eq!(findings(&id, &folder.join("fires.log")), expected, "{id}");
        assert_eq!(
            findings(&id, &folder.join("quiet.log")),
            Vec::<String>::new(),
            "{id}"
        );
        cases += 1;
    }
    // Each of ours has a case.
    let shipped = flowscout(&["queries", "list", "--format", "ndjson"])
        .lines()
        .count();
    assert_eq!(cases, shipped);
}
