//! Ingesting: a folder of gzip objects into a new lake, commit and fsync included; and encoding alone, decoded rows into a committed batch.
//!
//! Fixture: 8 objects of 50,000 seeded records. Command: `cargo bench --bench ingest`.

mod logs;

use std::ops::ControlFlow;

use divan::Bencher;
use divan::counter::ItemsCount;
use flowscout::batch::{Decoded, ReadOptions, read_object};
use flowscout::ingest::Ingest;
use flowscout::lake::{Commit, Lake, LakeUri, ObjectRecord, Outcome};
use flowscout::source::{Location, S3Settings, Selection, Source};
use tokio::runtime::Runtime;

const OBJECTS: u64 = 8;
const ROWS: usize = 50_000;

fn main() {
    divan::main();
}

fn runtime() -> Runtime {
    let builder = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    builder.expect("threads can be started")
}

async fn empty_lake(folder: &tempfile::TempDir) -> Lake {
    let uri = LakeUri::parse(&folder.path().join("lake").display().to_string());
    let lake = Lake::open_or_create(&uri.expect("a path is a lake's address")).await;
    lake.expect("the folder takes a lake")
}

#[divan::bench(sample_count = 10, sample_size = 1, args = ["v2", "v5"])]
fn folder(bencher: Bencher<'_, '_>, format: &str) {
    let header = match format {
        "v2" => logs::V2.to_owned(),
        _ => format!("{} {}", logs::V2, logs::V5),
    };
    let logs = logs::folder(&header, OBJECTS, ROWS);
    let runtime = runtime();
    bencher
        .counter(ItemsCount::new(OBJECTS * ROWS as u64))
        .with_inputs(|| tempfile::tempdir().expect("there is a place for temporary files"))
        .bench_values(|folder| {
            let summary = runtime.block_on(async {
                let location = Location::parse(&logs.path().display().to_string())?;
                let source = Source::open(location, &S3Settings::default()).await?;
                let lake = empty_lake(&folder).await;
                let run = Ingest::new(lake)
                    .run(vec![(source, Selection::default())], &())
                    .await;
                Ok::<_, Box<dyn std::error::Error>>(run?)
            });
            let summary = summary.expect("the fixture can be ingested");
            assert_eq!(
                (summary.objects, summary.rows),
                (OBJECTS, OBJECTS * ROWS as u64)
            );
            folder
        });
}

/// Rows that are decoded already, into Parquet, committed.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn append(bencher: Bencher<'_, '_>) {
    let text = logs::text(logs::V2, ROWS, logs::START, 1);
    let mut batches = Vec::new();
    let decoded: Decoded = read_object(text.as_bytes(), &ReadOptions::new("log"), &mut |batch| {
        batches.push(batch);
        ControlFlow::Continue(())
    })
    .expect("the fixture is a flow log");
    let runtime = runtime();
    bencher
        .counter(ItemsCount::new(ROWS))
        .with_inputs(|| tempfile::tempdir().expect("there is a place for temporary files"))
        .bench_values(|folder| {
            let committed = runtime.block_on(async {
                let lake = empty_lake(&folder).await;
                let mut append = lake.append().await?;
                let mut rows = lake.object_rows(append.batch(), 64 << 20);
                for batch in &batches {
                    rows.push(batch.clone()).await?;
                }
                let object = ObjectRecord {
                    key: "log".to_owned(),
                    etag: "1".to_owned(),
                    size: text.len() as u64,
                    rows: decoded.rows,
                    bad_lines: 0,
                    outcome: Outcome::Ingested,
                    reason: None,
                };
                append
                    .write(object, rows, decoded.coverage.clone(), Vec::new())
                    .await?;
                append.commit().await
            });
            let Commit::Done(committed) = committed.expect("the lake can be written") else {
                panic!("nobody else writes");
            };
            assert_eq!(committed.rows, ROWS as u64);
            folder
        });
}
