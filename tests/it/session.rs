//! The session over a real lake: pruning before files are opened, the same rows from raw logs, functions, and only reading.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use flowscout::ingest::Ingest;
use flowscout::lake::{Lake, LakeUri};
use flowscout::policy::Policy;
use flowscout::session::{Knowledge, RawLogs, Session};
use flowscout::source::{Listed, Location, S3Settings, Selection, Source};
use flowscout::topology::{History, Settings};
use futures::TryStreamExt;
use std::sync::Arc;

fn knowledge() -> Knowledge {
    let settings = Settings::default();
    Knowledge {
        history: Arc::new(History::new(Vec::new(), settings.clone())),
        settings: Arc::new(settings),
        policy: Arc::new(Policy::default()),
    }
}

/// Five days, a hundred flows a day, each day from an address of its own.
fn write_logs(folder: &Path) {
    for day in 0..5 {
        let mut log = String::from(
            "interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n",
        );
        for flow in 0..100 {
            let start = 1_773_273_600 + day * 86_400 + flow * 60;
            log.push_str(&format!(
                "eni-{day} 10.0.{day}.5 203.0.113.9 {} 443 6 1 {flow} {start} {} ACCEPT OK\n",
                40_000 + flow,
                start + 30
            ));
        }
        std::fs::write(folder.join(format!("day-{day}.log")), log).unwrap();
    }
}

async fn ingest(folder: &Path, lake: &Lake) {
    let source = Source::open(Location::Path(folder.to_owned()), &S3Settings::default())
        .await
        .unwrap();
    let summary = Ingest::new(lake.clone())
        .run(vec![(source, Selection::default())], &())
        .await
        .unwrap();
    assert_eq!(summary.rows, 500);
}

async fn lake_of(folder: &Path) -> Lake {
    let logs = folder.join("logs");
    std::fs::create_dir(&logs).unwrap();
    write_logs(&logs);
    let lake =
        Lake::open_or_create(&LakeUri::parse(&folder.join("lake").display().to_string()).unwrap())
            .await
            .unwrap();
    ingest(&logs, &lake).await;
    lake
}

async fn text(session: &Session, sql: &str) -> String {
    let batches: Vec<RecordBatch> = session
        .query(sql, Vec::new())
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    // One empty batch or none: no rows are no rows.
    match batches.iter().any(|batch| batch.num_rows() > 0) {
        true => pretty_format_batches(&batches).unwrap().to_string(),
        false => String::new(),
    }
}

/// The one value of an answer of one row and column.
async fn value(session: &Session, sql: &str) -> String {
    let text = text(session, sql).await;
    let row = text
        .lines()
        .nth(3)
        .unwrap_or_else(|| panic!("{sql}: {text}"));
    row.trim_matches(|c| c == '|' || c == ' ').to_owned()
}

/// The data files that are still there: what a query may open.
fn data_files(lake: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for partition in std::fs::read_dir(lake)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if partition
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("date=")
        {
            files.extend(
                std::fs::read_dir(partition)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_that_can_hold_an_answer_are_opened() {
    let scratch = tempfile::tempdir().unwrap();
    let lake = lake_of(scratch.path()).await;
    let session = Session::over_lake(&lake, &knowledge()).await.unwrap();
    let files = data_files(&scratch.path().join("lake"));
    assert_eq!(files.len(), 5);
    // A file that is gone cannot be opened: every query that still answers has left it alone.
    for (day, file) in files.iter().enumerate().filter(|(day, _)| *day != 2) {
        std::fs::remove_file(file).unwrap_or_else(|error| panic!("{day}: {error}"));
    }
    for pruned in [
        "SELECT SUM(bytes) FROM flows WHERE date = '2026-03-14'",
        "SELECT SUM(bytes) FROM flows WHERE date BETWEEN '2026-03-14' AND '2026-03-14'",
        "SELECT SUM(bytes) FROM flows WHERE start >= '2026-03-14T00:00:00Z' AND start < '2026-03-15T00:00:00Z'",
        "SELECT SUM(bytes) FROM flows WHERE srcaddr = '10.0.2.5'",
        "SELECT SUM(bytes) FROM flows WHERE interface_id = 'eni-2' AND action = 'ACCEPT'",
    ] {
        assert_eq!(value(&session, pruned).await, "4950", "{pruned}");
    }
    // Nothing passes, nothing is opened.
    assert_eq!(
        value(
            &session,
            "SELECT COUNT(*) FROM flows WHERE srcaddr = '192.0.2.1'"
        )
        .await,
        "0"
    );
    // Counting needs no file at all.
    assert_eq!(value(&session, "SELECT COUNT(*) FROM flows").await, "500");
    // The check can fail: a query over all days needs the files that are gone.
    session
        .query("SELECT SUM(bytes) FROM flows", Vec::new())
        .await
        .unwrap_err();
    session
        .query(
            "SELECT SUM(bytes) FROM flows WHERE dstport = 443",
            Vec::new(),
        )
        .await
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_range_of_traffic_opens_only_its_days() {
    let scratch = tempfile::tempdir().unwrap();
    let lake = lake_of(scratch.path()).await;
    let session = Session::over_lake(&lake, &knowledge()).await.unwrap();
    for file in &data_files(&scratch.path().join("lake"))[..4] {
        std::fs::remove_file(file).unwrap();
    }
    let sql = "SELECT SUM(bytes) FROM traffic WHERE start >= '2026-03-16T00:00:00Z' AND \"end\" < '2026-03-17T00:00:00Z' AND counted";
    assert_eq!(value(&session, sql).await, "4950");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_logs_and_the_lake_give_the_same_rows() {
    let scratch = tempfile::tempdir().unwrap();
    let lake = lake_of(scratch.path()).await;
    let over_lake = Session::over_lake(&lake, &knowledge()).await.unwrap();
    let location = Location::Path(scratch.path().join("logs"));
    let source = Arc::new(
        Source::open(location, &S3Settings::default())
            .await
            .unwrap(),
    );
    let listed: Vec<Listed> = source
        .list(Selection::default())
        .try_collect()
        .await
        .unwrap();
    let objects = listed.into_iter().filter_map(|found| match found {
        Listed::Object(object) => Some((Arc::clone(&source), object)),
        Listed::Skipped { .. } => None,
    });
    let over_logs = Session::over_logs(
        &Arc::new(RawLogs::new(objects.collect(), None)),
        &knowledge(),
    )
    .unwrap();
    for sql in [
        "SELECT * FROM flows ORDER BY start, srcport",
        "SELECT * FROM traffic ORDER BY start, src_port",
        "SELECT key, rows, bad_lines, outcome FROM objects ORDER BY key",
        "SELECT * FROM coverage",
        "SELECT * FROM bad_lines",
    ] {
        assert_eq!(
            text(&over_logs, sql).await,
            text(&over_lake, sql).await,
            "{sql}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_say_what_they_are_asked() {
    let session =
        Session::over_logs(&Arc::new(RawLogs::new(Vec::new(), None)), &knowledge()).unwrap();
    for (call, answer) in [
        ("cidr_contains('10.0.0.0/8', '10.1.2.3')", "true"),
        ("cidr_contains('10.0.0.0/8', '11.1.2.3')", "false"),
        ("cidr_contains('2001:db8::/32', '2001:db8::1')", "true"),
        ("cidr_contains('10.0.0.0/8', '2001:db8::1')", "false"),
        (
            "cidr_contains('10.0.0.0/8', 'not an address') IS NULL",
            "true",
        ),
        ("cidr_contains('10.0.0.0/8', NULL) IS NULL", "true"),
        ("ip_scope('169.254.169.254')", "special"),
        ("ip_scope('10.1.2.3')", "unrouted"),
        ("ip_scope('203.0.113.5')", "internet"),
        ("ip_scope('52.218.1.1')", "aws_service"),
        ("aws_service('52.218.1.1')", "S3"),
        ("aws_service('203.0.113.5') IS NULL", "true"),
        ("protocol_name(6)", "tcp"),
        ("protocol_name(250)", "250"),
        ("port_name(443, 6)", "https"),
        ("port_name(443, 1) IS NULL", "true"),
        ("tcp_flags_text(18)", "SYN|ACK"),
        ("tcp_flags_text(0)", "none"),
        ("tcp_flags_text(CAST(NULL AS INT)) IS NULL", "true"),
        ("ip_prefix('203.0.113.77', 24, 64)", "203.0.113.0/24"),
    ] {
        assert_eq!(
            value(&session, &format!("SELECT {call}")).await,
            answer,
            "{call}"
        );
    }
    let error = session
        .query(
            "SELECT cidr_contains('10.0.0.0/99', '10.1.2.3')",
            Vec::new(),
        )
        .await
        .unwrap_err();
    assert!(format!("{error:?}").contains("10.0.0.0/99"));
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_only_read() {
    let session =
        Session::over_logs(&Arc::new(RawLogs::new(Vec::new(), None)), &knowledge()).unwrap();
    for statement in [
        "CREATE TABLE t (a INT)",
        "INSERT INTO flows SELECT * FROM flows",
        "COPY flows TO '/tmp/x.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "SELECT * FROM '/etc/passwd'",
        "DROP TABLE flows",
    ] {
        session
            .query(statement, Vec::new())
            .await
            .expect_err(statement);
    }
}
