//! From sources to the lake: what is in after bad objects, repetition, overlap, failures of a source or of the lake.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use arrow::array::{AsArray, RecordBatch};
use flate2::Compression;
use flate2::write::GzEncoder;
use flowscout::ingest::{Fate, Ingest, IngestError, IngestSummary, Limits, Progress};
use flowscout::lake::{Commit, Committed, Lake, LakeUri, ObjectRecord, Outcome, Standing};
use flowscout::source::{Location, S3Settings, Selection, Source};

use crate::s3_server::{Fault, S3Server};

const FIELDS: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";

/// A gzip log in the default format, each row of one byte.
fn log(rows: usize) -> Vec<u8> {
    let mut text = format!("{FIELDS}\n");
    for row in 0..rows {
        text += &format!(
            "2 123456789012 eni-0a1b2c3d4e5f60718 10.0.0.{} 192.0.2.7 {} 443 6 1 1 1700000000 1700000059 ACCEPT OK\n",
            row % 250,
            row % 65_536
        );
    }
    gzip(text.as_bytes())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Logs beside the lake that they go into.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.logs()).unwrap();
        folder
    }

    fn logs(&self) -> std::path::PathBuf {
        self.0.path().join("logs")
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.logs().join(name), bytes).unwrap();
    }

    fn uri(&self) -> LakeUri {
        LakeUri::parse(self.0.path().join("lake").to_str().unwrap()).unwrap()
    }

    async fn lake(&self) -> Lake {
        Lake::open_or_create(&self.uri()).await.unwrap()
    }

    async fn source(&self) -> (Source, Selection) {
        source(self.logs().to_str().unwrap(), &S3Settings::default()).await
    }

    async fn ingest(&self) -> IngestSummary {
        Ingest::new(self.lake().await)
            .run(vec![self.source().await], &())
            .await
            .unwrap()
    }

    fn data_files(&self) -> usize {
        let mut count = 0;
        walk(&self.0.path().join("lake"), &mut |path| {
            count += usize::from(path.to_str().unwrap().contains("/date="));
        });
        count
    }
}

fn walk(folder: &Path, found: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found)
        } else {
            found(&path)
        }
    }
}

async fn source(location: &str, settings: &S3Settings) -> (Source, Selection) {
    let source = Source::open(Location::parse(location).unwrap(), settings)
        .await
        .unwrap();
    (source, Selection::default())
}

async fn rows(lake: &Lake) -> u64 {
    lake.snapshot()
        .await
        .unwrap()
        .files()
        .iter()
        .map(|file| file.rows)
        .sum()
}

fn texts(batches: &[RecordBatch], column: &str) -> Vec<String> {
    let text = |batch: &RecordBatch| {
        let column = batch.column_by_name(column).unwrap().as_string::<i32>();
        column
            .iter()
            .map(|text| text.unwrap_or("-").to_owned())
            .collect::<Vec<_>>()
    };
    batches.iter().flat_map(text).collect()
}

#[derive(Default)]
struct Heard {
    fates: Mutex<Vec<String>>,
    numbers: Mutex<(u64, u64, u64, u64)>,
}

impl Progress for Heard {
    fn listed(&self, objects: u64, _: u64) {
        self.numbers.lock().unwrap().0 += objects;
    }

    fn fetched(&self, bytes: u64) {
        self.numbers.lock().unwrap().1 += bytes;
    }

    fn decoded(&self, rows: u64) {
        self.numbers.lock().unwrap().2 += rows;
    }

    fn done(&self, key: &str, fate: Fate<'_>) {
        let name = key.rsplit('/').next().unwrap();
        self.fates.lock().unwrap().push(format!("{name}: {fate:?}"));
    }

    fn committed(&self, batch: &Committed) {
        self.numbers.lock().unwrap().3 += batch.rows;
    }
}

#[tokio::test]
async fn the_same_logs_twice_add_nothing() {
    let folder = Folder::new();
    folder.put("a.log.gz", &log(1000));
    folder.put("b.log.gz", &log(500));
    let first = folder.ingest().await;
    assert_eq!(
        (first.listed, first.objects, first.rows, first.already_in),
        (2, 2, 1500, 0)
    );
    assert_eq!(first.batches.len(), 1);
    let second = folder.ingest().await;
    assert_eq!(
        (
            second.listed,
            second.objects,
            second.rows,
            second.already_in
        ),
        (2, 0, 0, 2)
    );
    assert!(second.batches.is_empty() && second.bytes_fetched == 0);
    // Later ones are found wherever they sort.
    folder.put("0.log.gz", &log(7));
    let third = folder.ingest().await;
    assert_eq!((third.objects, third.rows, third.already_in), (1, 7, 2));
    let lake = folder.lake().await;
    assert_eq!(
        (rows(&lake).await, lake.snapshot().await.unwrap().version()),
        (1507, 2)
    );
}

#[tokio::test]
async fn a_bad_object_does_not_stop_the_good_ones() {
    let folder = Folder::new();
    let whole = log(1000);
    folder.put("a.log.gz", &whole);
    folder.put("cut.log.gz", &whole[..whole.len() / 2]);
    folder.put(
        "picture.log.gz",
        &gzip(&[0x89, b'P', b'N', b'G', 0, 1, 2, 3]),
    );
    folder.put("z.log.gz", &log(10));
    let heard = Heard::default();
    let run = Ingest::new(folder.lake().await)
        .run(vec![folder.source().await], &heard)
        .await;
    let summary = run.unwrap();
    assert_eq!(
        (summary.listed, summary.objects, summary.rows),
        (4, 2, 1010)
    );
    assert_eq!(summary.set_aside.count(), 1);
    let (key, reason) = &summary.set_aside.named()[0];
    assert!(key.ends_with("cut.log.gz"), "{key}");
    assert!(
        reason.contains("truncated") || reason.contains("cut off") || reason.contains("ends"),
        "{reason}"
    );
    assert_eq!(
        summary.skipped.values().sum::<u64>(),
        1,
        "{:?}",
        summary.skipped
    );
    assert_eq!(
        heard.fates.lock().unwrap().len(),
        4,
        "{heard:?}",
        heard = heard.fates.lock().unwrap()
    );
    let (listed, fetched, decoded, committed) = *heard.numbers.lock().unwrap();
    assert_eq!(
        (listed, fetched, committed),
        (4, summary.bytes_fetched, 1010)
    );
    assert!(decoded >= 1010);

    let lake = folder.lake().await;
    assert_eq!(rows(&lake).await, 1010);
    let info = lake.info().await.unwrap();
    assert_eq!(
        info.objects.into_iter().collect::<Vec<_>>(),
        [
            (Outcome::Ingested, 2),
            (Outcome::SetAside, 1),
            (Outcome::Skipped, 1)
        ]
    );
    assert!(info.set_aside[0].0.ends_with("cut.log.gz"));

    // Not read again until it changes.
    let again = folder.ingest().await;
    assert_eq!(
        (again.already_in, again.known_bad, again.bytes_fetched),
        (2, 2, 0)
    );
    folder.put("cut.log.gz", &whole);
    let mended = folder.ingest().await;
    assert_eq!(
        (mended.objects, mended.rows, mended.known_bad),
        (1, 1000, 1)
    );
    let info = folder.lake().await.info().await.unwrap();
    assert_eq!((info.rows, info.set_aside.len()), (2010, 0));
}

#[tokio::test]
async fn an_object_that_changed_after_it_was_ingested_is_reported_and_left() {
    let folder = Folder::new();
    folder.put("a.log.gz", &log(10));
    folder.ingest().await;
    folder.put("a.log.gz", &log(11));
    let summary = folder.ingest().await;
    assert_eq!((summary.objects, summary.changed.count()), (0, 1));
    assert!(summary.changed.named()[0].0.ends_with("a.log.gz"));
    assert_eq!(rows(&folder.lake().await).await, 10);
}

#[tokio::test]
async fn sources_that_overlap_count_once() {
    let folder = Folder::new();
    folder.put("a.log.gz", &log(10));
    folder.put("b.log.gz", &log(10));
    let one = folder.logs().join("b.log.gz");
    let sources = vec![
        folder.source().await,
        source(one.to_str().unwrap(), &S3Settings::default()).await,
        folder.source().await,
    ];
    let summary = Ingest::new(folder.lake().await)
        .run(sources, &())
        .await
        .unwrap();
    assert_eq!((summary.listed, summary.objects, summary.rows), (2, 2, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_batches_and_large_objects_give_the_same_rows() {
    let folder = Folder::new();
    for number in 0..20 {
        folder.put(
            &format!("{number:02}.log.gz"),
            &log(2000 * (number % 3 + 1)),
        );
    }
    let limits = Limits {
        batch_objects: 3,
        kept_bytes: 400_000,
        objects_at_a_time: Some(4),
        ..Limits::default()
    };
    let ingest = Ingest::new(folder.lake().await).with_limits(limits);
    let summary = ingest.run(vec![folder.source().await], &()).await.unwrap();
    assert_eq!((summary.objects, summary.rows), (20, 78_000));
    assert_eq!(summary.batches.len(), 7);
    let snapshot = folder.lake().await.snapshot().await.unwrap();
    assert_eq!(
        snapshot.files().iter().map(|file| file.rows).sum::<u64>(),
        78_000
    );
    assert_eq!(folder.data_files(), snapshot.files().len(), "no orphans");
    assert_eq!(
        texts(&snapshot.objects().await.unwrap(), "outcome"),
        vec!["ingested"; 20]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_runs_at_once_ingest_each_object_once() {
    let folder = Folder::new();
    for number in 0..24 {
        folder.put(&format!("{number:02}.log.gz"), &log(100));
    }
    folder.lake().await;
    let limits = Limits {
        batch_objects: 2,
        ..Limits::default()
    };
    let run = |limits: Limits| async {
        let ingest = Ingest::new(folder.lake().await).with_limits(limits);
        ingest.run(vec![folder.source().await], &()).await.unwrap()
    };
    let (one, other) = tokio::join!(run(limits.clone()), run(limits));
    assert_eq!(one.objects + other.objects, 24);
    assert_eq!(one.objects + one.already_in, 24);
    assert_eq!(other.objects + other.already_in, 24);
    let lake = folder.lake().await;
    assert_eq!(rows(&lake).await, 2400);
    let mut keys = texts(
        &lake.snapshot().await.unwrap().objects().await.unwrap(),
        "key",
    );
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 24);
    assert_eq!(
        folder.data_files(),
        lake.snapshot().await.unwrap().files().len(),
        "no orphans"
    );
}

#[tokio::test]
async fn what_another_writer_ingested_while_it_was_read_is_not_taken_again() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    let record = || ObjectRecord {
        key: "a.log".to_owned(),
        etag: "1".to_owned(),
        size: 1,
        rows: 0,
        bad_lines: 0,
        outcome: Outcome::Ingested,
        reason: None,
    };
    // Judged before, written after the other's commit: the new batch is on top of that.
    assert_eq!(lake.standing("a.log", "1"), Standing::New);
    let mut other = folder.lake().await.append().await.unwrap();
    assert_eq!(other.note(record()), None);
    assert!(matches!(other.commit().await.unwrap(), Commit::Done(_)));
    let mut append = lake.append().await.unwrap();
    assert_eq!(
        append.note(record()),
        Some(Standing::Known(Outcome::Ingested))
    );
    assert_eq!(append.objects(), 0);
}

#[tokio::test]
async fn a_lake_among_its_logs_does_not_ingest_itself() {
    let folder = Folder::new();
    folder.put("a.log.gz", &log(10));
    folder.ingest().await;
    let everything =
        || async { vec![source(folder.0.path().to_str().unwrap(), &S3Settings::default()).await] };
    let summary = Ingest::new(folder.lake().await)
        .run(everything().await, &())
        .await
        .unwrap();
    assert_eq!(
        (summary.listed, summary.objects, summary.already_in),
        (1, 0, 1),
        "{summary:?}"
    );
    assert_eq!(rows(&folder.lake().await).await, 10);
}

#[tokio::test]
async fn an_empty_folder_is_no_error_and_no_commit() {
    let folder = Folder::new();
    let summary = folder.ingest().await;
    assert_eq!(
        (summary.listed, summary.read(), summary.batches.len()),
        (0, 0, 0)
    );
    assert_eq!(folder.lake().await.snapshot().await.unwrap().version(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_fails_stops_the_run_and_leaves_nothing_half_written() {
    let server = S3Server::with_bucket("logs");
    for number in 0..6 {
        server.put("logs", &format!("{number}.log.gz"), log(50));
    }
    server.set_page_size(2);
    let folder = Folder::new();
    let sources = vec![source("s3://logs", &server.settings()).await];
    server.inject(Fault::refuse("ListObjectsV2", "AccessDenied", 403));
    let error = Ingest::new(folder.lake().await)
        .run(sources, &())
        .await
        .unwrap_err();
    assert!(matches!(error, IngestError::Source(_)), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(
        (folder.data_files(), rows(&folder.lake().await).await),
        (0, 0)
    );
    server.clear_faults();
    let sources = vec![source("s3://logs", &server.settings()).await];
    let summary = Ingest::new(folder.lake().await)
        .run(sources, &())
        .await
        .unwrap();
    assert_eq!((summary.objects, summary.rows), (6, 300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_a_source_failed_is_deleted() {
    let server = S3Server::with_bucket("logs");
    server.inject(Fault::refuse("ListObjectsV2", "AccessDenied", 403));
    let folder = Folder::new();
    for number in 0..8 {
        folder.put(&format!("{number}.log.gz"), &log(3000));
    }
    let limits = Limits {
        kept_bytes: 100_000,
        batch_objects: 3,
        ..Limits::default()
    };
    let ingest = Ingest::new(folder.lake().await).with_limits(limits);
    let sources = vec![
        folder.source().await,
        source("s3://logs", &server.settings()).await,
    ];
    ingest.run(sources, &()).await.unwrap_err();
    let lake = folder.lake().await;
    let snapshot = lake.snapshot().await.unwrap();
    assert_eq!(
        folder.data_files(),
        snapshot.files().len(),
        "only what was committed is there"
    );
    let objects = texts(&snapshot.objects().await.unwrap(), "key");
    assert_eq!(rows(&lake).await, 3000 * objects.len() as u64);
    let summary = folder.ingest().await;
    assert_eq!(summary.objects + summary.already_in, 8);
    assert_eq!(rows(&lake).await, 24_000);
}

#[tokio::test]
async fn with_a_format_given_what_could_not_be_read_is_tried_again() {
    let folder = Folder::new();
    folder.put("a.log", b"10.0.0.1 10.0.0.2 7 OK\n");
    let summary = folder.ingest().await;
    assert_eq!((summary.objects, summary.read()), (0, 1));
    let header =
        flowscout::decode::Header::from_log_format("srcaddr dstaddr bytes log-status").unwrap();
    let ingest = Ingest::new(folder.lake().await).with_log_format(header);
    let summary = ingest.run(vec![folder.source().await], &()).await.unwrap();
    assert_eq!((summary.objects, summary.rows), (1, 1));
    let summary = ingest.run(vec![folder.source().await], &()).await.unwrap();
    assert_eq!((summary.objects, summary.already_in), (0, 1));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_lake_that_cannot_be_written_to_is_an_error_before_anything_is_read() {
    let error = Lake::open_or_create(&LakeUri::parse("/proc/lake").unwrap())
        .await
        .unwrap_err();
    insta::assert_snapshot!(error, @"cannot write to the lake at `/proc/lake`: cannot create `/proc/lake`: No such file or directory (os error 2)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_cannot_be_fetched_is_left_for_the_next_run() {
    let server = S3Server::with_bucket("logs");
    server.put("logs", "a.log.gz", log(50));
    server.put("logs", "b.log.gz", log(50));
    server.inject(Fault::refuse("GetObject", "AccessDenied", 403).on("b.log.gz"));
    let folder = Folder::new();
    let run = || async {
        let sources = vec![source("s3://logs", &server.settings()).await];
        Ingest::new(folder.lake().await)
            .run(sources, &())
            .await
            .unwrap()
    };
    let summary = run().await;
    assert_eq!(
        (
            summary.objects,
            summary.deferred.count(),
            summary.set_aside.count()
        ),
        (1, 1, 0)
    );
    assert_eq!(summary.deferred.named()[0].0, "s3://logs/b.log.gz");
    server.clear_faults();
    let summary = run().await;
    assert_eq!(
        (summary.objects, summary.already_in, summary.rows),
        (1, 1, 50)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_in_a_bucket_is_a_lake() {
    let server = S3Server::with_bucket("logs");
    server.create_bucket("lakes", crate::s3_server::REGION);
    for number in 0..5 {
        server.put("logs", &format!("{number}.log.gz"), log(100));
    }
    let uri = LakeUri::parse("s3://lakes/team one/lake").unwrap();
    let error = Lake::open_with(&uri, &server.settings()).await.unwrap_err();
    assert_eq!(error.to_string(), "no lake at `s3://lakes/team one/lake`");
    let lake = Lake::open_or_create_with(&uri, &server.settings())
        .await
        .unwrap();
    let sources = || async { vec![source("s3://logs", &server.settings()).await] };
    let summary = Ingest::new(lake).run(sources().await, &()).await.unwrap();
    assert_eq!((summary.objects, summary.rows), (5, 500));

    let lake = Lake::open_or_create_with(&uri, &server.settings())
        .await
        .unwrap();
    let again = Ingest::new(lake.clone())
        .run(sources().await, &())
        .await
        .unwrap();
    assert_eq!((again.objects, again.already_in), (0, 5));
    let snapshot = lake.snapshot().await.unwrap();
    assert_eq!((snapshot.version(), rows(&lake).await), (1, 500));
    assert_eq!(lake.store_url().as_str(), "s3://lakes");
    let location = &snapshot.files()[0].location;
    assert!(
        server.object("lakes", location.as_ref()).is_some(),
        "{location}"
    );
    assert_eq!(lake.info().await.unwrap().objects[&Outcome::Ingested], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_lands_with_an_error_is_not_done_twice() {
    let server = S3Server::with_bucket("logs");
    server.put("logs", "AWSLogs/a.log.gz", log(100));
    let uri = LakeUri::parse("s3://logs/lake").unwrap();
    let lake = Lake::open_or_create_with(&uri, &server.settings())
        .await
        .unwrap();
    let commit = "lake/_delta_log/00000000000000000001.json";
    server.inject(
        Fault::store_then_refuse("PutObject", "InternalError", 500)
            .on(commit)
            .times(1),
    );
    let sources = vec![source("s3://logs/AWSLogs", &server.settings()).await];
    let summary = Ingest::new(lake.clone()).run(sources, &()).await.unwrap();
    assert_eq!((summary.objects, summary.batches.len()), (1, 1));
    assert_eq!(
        (lake.snapshot().await.unwrap().version(), rows(&lake).await),
        (1, 100)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_is_said_in_one_line() {
    let server = S3Server::start();
    let uri = LakeUri::parse("s3://nowhere/lake").unwrap();
    let error = Lake::open_or_create_with(&uri, &server.settings())
        .await
        .unwrap_err();
    insta::assert_snapshot!(error, @"cannot reach the lake at `s3://nowhere/lake`: NoSuchBucket: The specified bucket does not exist");
    assert!(error.hint().unwrap().contains("bucket's name"), "{error:?}");
    let settings = S3Settings {
        endpoint_url: Some("http://127.0.0.1:9".to_owned()),
        ..server.settings()
    };
    let started = std::time::Instant::now();
    let error = Lake::open_with(&uri, &settings).await.unwrap_err();
    insta::assert_snapshot!(error, @"cannot reach the lake at `s3://nowhere/lake`: Connection refused (os error 111)");
    assert!(
        started.elapsed().as_secs() < 10,
        "a typing error shows soon"
    );
}
