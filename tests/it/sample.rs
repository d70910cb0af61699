//! The README's main job on `sample-logs`: every story that its README tells, no decoy, the same on every run.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample-logs");

fn flowscout() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowscout"));
    command.env_remove("FLOWSCOUT_LAKE").current_dir("/");
    command
}

fn analyze(more: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let output = flowscout()
        .args(["analyze", SAMPLE, "--format", "ndjson"])
        .arg(format!("--topology={SAMPLE}/topology"))
        .arg(format!("--policy={SAMPLE}/policy.toml"))
        .args(more)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let findings = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    (
        output.status.code(),
        findings,
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Detection, whom it is about, the other end, port, flows, packets, bytes.
fn summary(finding: &Value) -> String {
    let text = |key: &str| finding[key].as_str().unwrap_or("-").to_owned();
    let number = |key: &str| finding[key].as_i64().unwrap_or(-1);
    let (subject, other) = match text("detection").as_str() {
        "egress_unexpected" => (text("interface_id"), text("dst_addr")),
        "east_west_private" => (text("subnet_id"), text("dst_subnet_id")),
        _ => (
            text("subnet_id"),
            finding["evidence"]["direction"]
                .as_str()
                .unwrap()
                .to_owned(),
        ),
    };
    format!(
        "{} {} {subject} {other} {} {}/{}/{}",
        text("detection"),
        text("severity"),
        number("dst_port"),
        number("flows"),
        number("packets"),
        number("bytes")
    )
}

/// `sample-logs/README.md`, "What must be found".
const STORIES: [&str; 9] = [
    "east_west_private high subnet-04444000040011000 subnet-01111000020012000 22 3/138/141944",
    "east_west_private high subnet-04444000040011000 subnet-01111000020021000 5432 6/84/73272",
    "east_west_private medium subnet-01111000020011000 subnet-01111000020022000 6379 7/42/19684",
    "egress_unexpected high eni-01111000020022011 2001:db8:bad:f00d::53 443 12/3430/3729144",
    "egress_unexpected low eni-01111000020002040 198.51.100.222 22 10/906/959163",
    "egress_unexpected medium eni-01111000020011031 192.0.2.201 4444 16/80/25912",
    "egress_unexpected medium eni-01111000020011031 192.0.2.201 8443 40/87936/96584283",
    "reject_spike high subnet-01111000020021000 ingress 5432 168/339/20340",
    "reject_spike medium subnet-01111000020002000 ingress 3389 642/1258/75480",
];

fn sorted(findings: &[Value]) -> Vec<String> {
    let mut summaries: Vec<String> = findings.iter().map(summary).collect();
    summaries.sort();
    summaries
}

#[test]
fn tells_every_story_and_no_decoy_whether_the_days_before_are_a_baseline_or_not() {
    let (code, whole, stderr) = analyze(&[]);
    assert_eq!(
        (code, sorted(&whole)),
        (Some(0), STORIES.map(str::to_owned).to_vec()),
        "{stderr}"
    );
    assert!(stderr.contains("57,259 rows"), "{stderr}");

    let (code, last_day, stderr) = analyze(&["--from", "2026-03-12", "--fail-on", "high"]);
    assert_eq!(
        (code, sorted(&last_day)),
        (Some(1), STORIES.map(str::to_owned).to_vec()),
        "{stderr}"
    );

    // A fingerprint is the same on every run, and told apart from all others.
    let fingerprints = |findings: &[Value]| {
        let mut all: Vec<String> = findings
            .iter()
            .map(|finding| finding["fingerprint"].to_string())
            .collect();
        all.sort();
        all.dedup();
        all
    };
    assert_eq!(fingerprints(&whole).len(), STORIES.len());
    assert_eq!(fingerprints(&whole), fingerprints(&last_day));

    // The contract: these keys, in this order.
    let keys: Vec<&str> = whole[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys.join(" "),
        "fingerprint detection severity title first_seen last_seen account_id region vpc_id subnet_id interface_id src_addr dst_addr \
         dst_subnet_id dst_port protocol flows packets bytes reason evidence expected_by"
    );
}

/// Every file below a folder, by its path in it.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

#[test]
fn the_generator_writes_the_committed_bytes() {
    // Cargo builds examples beside the tests.
    let examples = Path::new(env!("CARGO_BIN_EXE_flowscout"))
        .parent()
        .unwrap()
        .join("examples");
    let generator = examples.join("generate-sample-logs");
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(&generator)
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(status.success(), "{}", generator.display());
    let (made, committed) = (
        files(&folder.path().join("AWSLogs")),
        files(&Path::new(SAMPLE).join("AWSLogs")),
    );
    let names = |files: &[(String, Vec<u8>)]| {
        files
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&made), names(&committed));
    for ((name, made), (_, committed)) in made.iter().zip(&committed) {
        assert!(made == committed, "{name} differs from what is committed");
    }
}
