//! The commands as a user meets them: exit code, stdout and stderr, above all for bad input.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flate2::write::GzEncoder;

use crate::s3_server::S3Server;

/// Two flows, one NODATA record and one line that is short of a field, in the default format.
const LOG: &str = "\
version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status
2 123456789012 eni-0a1 10.0.0.5 203.0.113.9 40000 443 6 10 4000 1773300000 1773300060 ACCEPT OK
2 123456789012 eni-0a1 203.0.113.9 10.0.0.5 443 40000 6 8 9000 1773300000 1773300060 ACCEPT OK
2 123456789012 eni-0a2 - - - - - - - 1773300000 1773300060 - NODATA
2 123456789012 eni-0a1 10.0.0.5 203.0.113.9 40000 99999 6 10 4000 1773300000 1773300060 ACCEPT OK
";

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowscout"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("AWS_") || name.starts_with("FLOWSCOUT_") {
                command.env_remove(name);
            }
        }
        command
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(self.path())
            .args(arguments.split_whitespace());
        command
    }

    fn run(&self, arguments: &str) -> Answer {
        self.command(arguments).output().unwrap().into()
    }

    /// Fails with exit code 2 and nothing on stdout; the message.
    fn refuse(&self, arguments: &str) -> String {
        self.run(arguments).refused(arguments)
    }
}

#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Answer {
    fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    fn refused(self, what: &str) -> String {
        assert_eq!(self.code, Some(2), "{what}: {self:?}");
        assert_eq!(self.stdout, "", "{what}");
        assert!(!self.stderr.contains("panicked"), "{what}: {}", self.stderr);
        self.stderr
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// The message names each of these.
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in:\n{message}");
    }
}

#[test]
fn bad_objects_alone_end_with_2_and_say_what_they_are() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path().join("empty")).unwrap();
    let whole = gzip(&LOG.repeat(50));
    scratch
        .write("cut/a.log.gz", &whole[..whole.len() / 2])
        .write("binary/a.log", [0_u8, 159, 146, 150, 7, 0, 1])
        .write("named/a.log.gz", "not a gzip, and no flow log either\n");
    says(&scratch.refuse("ingest missing --lake lake"), &["missing"]);
    says(
        &scratch.refuse("ingest empty --lake lake"),
        &["`empty`", "no objects"],
    );
    says(
        &scratch.refuse("ingest cut --lake lake"),
        &["cut/a.log.gz", "gzip"],
    );
    says(&scratch.refuse("ingest binary --lake lake"), &["binary"]);
    says(
        &scratch.refuse("ingest named --lake lake"),
        &["named", "no flow logs"],
    );
    says(&scratch.refuse("analyze named"), &["named", "no flow logs"]);
    says(
        &scratch.refuse("ingest named --lake named/a.log.gz/lake"),
        &["named/a.log.gz"],
    );
}

#[test]
fn a_bad_object_among_good_ones_is_set_aside_and_the_rest_is_in_once() {
    let scratch = Scratch::new();
    let whole = gzip(&LOG.repeat(50));
    scratch
        .write("logs/good.log.gz", gzip(LOG))
        .write("logs/plain-text.log.gz", LOG)
        .write("logs/cut.log.gz", &whole[..whole.len() / 2])
        .write("logs/README.md", "# Not a flow log\n");
    let first = scratch.run("ingest logs --lake lake").done();
    says(
        &first.stderr,
        &[
            "read 2 objects: 4 rows, 2 NODATA",
            "2 bad lines",
            "1 skipped",
            "1 set aside",
            "cut.log.gz",
        ],
    );
    assert_eq!(first.stdout, "");
    let again = scratch.run("ingest ./logs/../logs --lake lake").done();
    says(&again.stderr, &["read 0 objects", "2 already in"]);

    let count = |table: &str| {
        scratch
            .command("sql --lake lake --format csv")
            .arg(format!("SELECT COUNT(*) FROM {table}"))
            .output()
            .unwrap()
    };
    for (table, rows) in [
        ("flows", "4"),
        ("coverage", "2"),
        ("bad_lines", "2"),
        ("objects WHERE outcome = 'set_aside'", "1"),
    ] {
        let answer = Answer::from(count(table)).done();
        assert_eq!(answer.stdout.lines().nth(1), Some(rows), "{table}");
    }
    let bad = Answer::from(
        scratch
            .command("sql --lake lake --format ndjson")
            .arg("SELECT line, field, value, expected FROM bad_lines LIMIT 1")
            .output()
            .unwrap(),
    );
    says(
        &bad.done().stdout,
        &[
            r#""line":5"#,
            r#""field":"dstport""#,
            r#""value":"99999""#,
            "65535",
        ],
    );
    let info = scratch.run("lake info --lake lake --format ndjson").done();
    says(
        &info.stdout,
        &[r#""rows":4"#, r#""set_aside":1"#, "cut.log.gz"],
    );
}

#[test]
fn what_is_typed_is_checked_and_named() {
    let scratch = Scratch::new();
    scratch
        .write("logs/a.log", LOG)
        .write("not-ec2.json", r#"{"hello": 1}"#)
        .write("broken.json", "{\n  \"Vpcs\": [,]\n}")
        .write("policy.toml", "[[expect]]\ndetection = \"egress_unexpected\"\nport = [443]\nreason = \"a typing mistake\"\n")
        .write("ports.toml", "[[expect]]\ndetection = \"egress_unexpected\"\nports = [70000]\nreason = \"out of range\"\n")
        .write("plain/file.txt", "somebody's folder");
    scratch.run("ingest logs --lake lake").done();
    says(
        &scratch.refuse("topology import not-ec2.json --lake lake"),
        &["not-ec2.json", "Vpcs"],
    );
    says(
        &scratch.refuse("topology import broken.json --lake lake"),
        &["broken.json", "line 2"],
    );
    says(
        &scratch.refuse("analyze logs --policy policy.toml"),
        &["policy.toml", "line 3", "`port`"],
    );
    says(
        &scratch.refuse("analyze logs --policy ports.toml"),
        &["ports.toml", "entry 1", "`ports`", "`70000`", "0-65535"],
    );
    says(
        &scratch.refuse("detect nothing_such --lake lake"),
        &["`nothing_such`", "egress_unexpected", "hint:"],
    );
    says(
        &scratch.refuse("detect --param florr=1 --lake lake"),
        &["`florr`", "floor", "hint:"],
    );
    says(
        &scratch.refuse("detect --param floor=many --lake lake"),
        &["`floor`", "a whole number", "`many`"],
    );
    says(
        &scratch.refuse("sql SELEC --lake lake"),
        &["error:", "SELEC"],
    );
    says(
        &scratch.refuse("detect --lake nowhere"),
        &["no lake at", "nowhere", "hint:"],
    );
    says(&scratch.refuse("ingest logs --lake plain"), &["plain"]);
    says(
        &scratch.refuse("ingest logs --lake lake --from yesterday"),
        &["`yesterday`", "24h"],
    );
    for statement in [
        "SELECT nope FROM flows",
        "CREATE TABLE t (a INT)",
        "COPY flows TO 'x.csv'",
        "SELECT * FROM '/etc/passwd'",
    ] {
        let answer = Answer::from(
            scratch
                .command("sql --lake lake")
                .arg(statement)
                .output()
                .unwrap(),
        );
        says(
            &answer.refused(statement),
            &["error: the statement cannot be run"],
        );
    }
    assert!(!scratch.path().join("x.csv").exists());
}

#[test]
fn s3_faults_are_one_plain_sentence() {
    let scratch = Scratch::new();
    let server = S3Server::with_bucket("logs");
    let run = |arguments: &str, more: &[(&str, &str)]| {
        let mut command = scratch.command(arguments);
        server.apply(&mut command);
        command.envs(more.iter().copied());
        Answer::from(command.output().unwrap()).refused(arguments)
    };
    says(&run("ingest s3://nowhere/x --lake lake", &[]), &["nowhere"]);
    says(
        &run("ingest s3://logs/nothing/ --lake lake", &[]),
        &["s3://logs/nothing/", "no objects"],
    );
    says(
        &run(
            "ingest s3://logs/ --lake lake",
            &[("AWS_SECRET_ACCESS_KEY", "wrong")],
        ),
        &["logs", "hint:"],
    );
}

#[test]
fn a_finding_can_fail_a_pipeline_and_every_format_says_the_same() {
    let scratch = Scratch::new();
    scratch.write("logs/a.log", LOG);
    scratch.run("ingest logs --lake lake").done();
    let run = |more: &str| scratch.run(&format!("detect egress_unexpected --lake lake {more}"));
    assert_eq!(run("--fail-on critical").code, Some(0));
    assert_eq!(run("--fail-on low").code, Some(1));
    let line: serde_json::Value =
        serde_json::from_str(run("--format ndjson").done().stdout.trim()).unwrap();
    assert_eq!(
        (&line["src_addr"], &line["dst_addr"], &line["dst_port"]),
        (&"10.0.0.5".into(), &"203.0.113.9".into(), &443.into())
    );
    assert_eq!(
        (
            &line["flows"],
            &line["bytes"],
            &line["evidence"]["reply_bytes"]
        ),
        (&1.into(), &4000.into(), &9000.into())
    );
    let array: serde_json::Value =
        serde_json::from_str(&run("--format json").done().stdout).unwrap();
    assert_eq!(array[0]["fingerprint"], line["fingerprint"]);
    let csv = run("--format csv").done().stdout;
    assert!(
        csv.starts_with("fingerprint,detection,severity,title,first_seen,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 2);
    says(
        &run("--format table").done().stdout,
        &["10.0.0.5", "203.0.113.9", "443/tcp", "4.0 KB"],
    );
    assert!(run("--format parquet").done().stdout.starts_with("PAR1"));
    // Nothing but data on stdout; quiet is quiet.
    assert_eq!(run("-qq").done().stderr, "");
}

#[test]
fn a_closed_pipe_and_standard_input_are_ordinary() {
    let scratch = Scratch::new();
    scratch.write("logs/a.log", LOG.repeat(2000));
    let mut child = scratch
        .command("sql --logs logs --format ndjson")
        .arg("SELECT a.* FROM flows a")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    // The reading end is closed here.
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap()
        ),
        (Some(0), String::new())
    );

    let mut child = scratch
        .command("analyze - --format ndjson")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&gzip(LOG)).unwrap();
    let answer = Answer::from(child.wait_with_output().unwrap()).done();
    says(&answer.stdout, &["egress_unexpected", "203.0.113.9"]);
}
