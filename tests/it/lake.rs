//! The lake from outside: what is in after crashes, races and repetition, and what its log says.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use flowscout::batch::{ReadOptions, read_object};
use flowscout::lake::{
    Append, Commit, Committed, Lake, LakeError, LakeUri, ObjectRecord, Outcome, Put, Standing,
    StatValue,
};

/// A folder with the place of a lake in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("lake")
    }

    fn uri(&self) -> LakeUri {
        LakeUri::parse(self.path().to_str().unwrap()).unwrap()
    }

    async fn lake(&self) -> Lake {
        Lake::open_or_create(&self.uri()).await.unwrap()
    }

    /// Paths inside the lake below one of its folders.
    fn files(&self, folder: &str) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.path().join(folder), &mut |path| {
            found.push(
                path.strip_prefix(self.path())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
            );
        });
        found.sort();
        found
    }

    fn data_files(&self) -> Vec<String> {
        let mut found = self.files("");
        found.retain(|path| path.starts_with("date="));
        found
    }
}

fn walk(folder: &Path, found: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found)
        } else {
            found(&path)
        }
    }
}

const DAY: i64 = 86_400;
/// 2023-11-14.
const START: i64 = 1_700_000_000 / DAY * DAY;

/// A log with rows of one byte on some days, and one NODATA record.
fn log(rows: usize, days: i64) -> String {
    let mut log = String::from(
        "version interface-id srcaddr dstaddr srcport bytes start end action log-status\n",
    );
    for row in 0..rows {
        let start = START + i64::try_from(row).unwrap() % days * DAY;
        log += &format!(
            "2 eni-{row} 10.0.0.{} 192.0.2.1 {row} 1 {start} {} ACCEPT OK\n",
            row % 256,
            start + 59
        );
    }
    log + "2 eni-0 - - - - 1700000000 1700000059 - NODATA\n2 broken\n"
}

async fn write(lake: &Lake, append: &mut Append, key: &str, log: &str, limit: usize) {
    let mut batches = Vec::new();
    let decoded = read_object(log.as_bytes(), &ReadOptions::new(key), &mut |batch| {
        batches.push(batch);
        ControlFlow::Continue(())
    });
    let decoded = decoded.unwrap();
    let mut rows = lake.object_rows(append.batch(), limit);
    for batch in batches {
        rows.push(batch).await.unwrap();
    }
    let object = record(key, Outcome::Ingested, decoded.rows, decoded.bad_lines);
    append
        .write(object, rows, decoded.coverage, decoded.samples)
        .await
        .unwrap();
}

fn record(key: &str, outcome: Outcome, rows: u64, bad_lines: u64) -> ObjectRecord {
    let reason = (outcome != Outcome::Ingested).then(|| "for a reason".to_owned());
    ObjectRecord {
        key: key.to_owned(),
        etag: "1".to_owned(),
        size: 10,
        rows,
        bad_lines,
        outcome,
        reason,
    }
}

/// Ingests one object as a batch of its own.
async fn ingest(lake: &Lake, key: &str, rows: usize) -> Committed {
    let mut append = lake.append().await.unwrap();
    write(lake, &mut append, key, &log(rows, 2), 64 << 20).await;
    done(append.commit().await)
}

fn done(commit: Result<Commit, LakeError>) -> Committed {
    match commit.unwrap() {
        Commit::Done(committed) => committed,
        other => panic!("{other:?}"),
    }
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

async fn rows(lake: &Lake) -> u64 {
    lake.snapshot()
        .await
        .unwrap()
        .files()
        .iter()
        .map(|file| file.rows)
        .sum()
}

#[tokio::test]
async fn what_is_committed_is_there_for_all_who_open_the_lake() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    let committed = ingest(&lake, "a.log", 10).await;
    assert_eq!(
        (
            committed.batch,
            committed.version,
            committed.objects,
            committed.rows,
            committed.files
        ),
        (1, 1, 1, 10, 2)
    );

    let lake = Lake::open(&folder.uri()).await.unwrap();
    let snapshot = lake.snapshot().await.unwrap();
    assert_eq!(snapshot.version(), 1);
    let mut dates: Vec<_> = snapshot
        .files()
        .iter()
        .map(|file| (file.date.unwrap().to_string(), file.rows))
        .collect();
    dates.sort();
    assert_eq!(
        dates,
        [("2023-11-14".to_owned(), 5), ("2023-11-15".to_owned(), 5)]
    );
    assert_eq!(texts(&snapshot.objects().await.unwrap(), "key"), ["a.log"]);
    assert_eq!(
        texts(&snapshot.coverage().await.unwrap(), "log_status"),
        ["NODATA"]
    );
    assert_eq!(
        texts(&snapshot.bad_lines().await.unwrap(), "text"),
        ["2 broken"]
    );
    let append = lake.append().await.unwrap();
    assert_eq!(
        append.standing("a.log", "1"),
        Standing::Known(Outcome::Ingested)
    );
    assert_eq!(append.standing("a.log", "2"), Standing::Changed);
    assert_eq!(append.standing("b.log", "1"), Standing::New);
}

#[tokio::test]
async fn statistics_in_the_log_equal_the_data() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    let mut append = lake.append().await.unwrap();
    write(&lake, &mut append, "a.log", &log(300, 1), 64 << 20).await;
    done(append.commit().await);

    let snapshot = Lake::open(&folder.uri())
        .await
        .unwrap()
        .snapshot()
        .await
        .unwrap();
    let [file] = snapshot.files() else {
        panic!("one day, one file")
    };
    let bounds = |column: &str| {
        let stats = &file.columns[column];
        assert!(stats.exact);
        (
            stats.min.clone().unwrap(),
            stats.max.clone().unwrap(),
            stats.nulls.unwrap(),
        )
    };
    let text = |text: &str| StatValue::Text(text.to_owned());
    assert_eq!(
        bounds("srcport"),
        (StatValue::Int(0), StatValue::Int(299), 0)
    );
    assert_eq!(bounds("bytes"), (StatValue::Int(1), StatValue::Int(1), 0));
    assert_eq!(
        bounds("start"),
        (
            StatValue::Micros(START * 1_000_000),
            StatValue::Micros(START * 1_000_000),
            0
        )
    );
    assert_eq!(bounds("srcaddr"), (text("10.0.0.0"), text("10.0.0.99"), 0));
    assert_eq!(bounds("interface_id"), (text("eni-0"), text("eni-99"), 0));
    let vpc = &file.columns["vpc_id"];
    assert_eq!((&vpc.min, &vpc.max, vpc.nulls), (&None, &None, Some(300)));
    assert_eq!(file.columns.len(), 74, "all but the partition column");
    assert_eq!(
        file.size,
        fs::metadata(folder.path().join(file.location.as_ref()))
            .unwrap()
            .len()
    );
}

#[tokio::test]
async fn rows_without_a_start_have_a_place_too() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    let mut append = lake.append().await.unwrap();
    write(
        &lake,
        &mut append,
        "a.log",
        "srcaddr dstaddr action log-status\n10.0.0.1 10.0.0.2 ACCEPT OK\n",
        1 << 20,
    )
    .await;
    done(append.commit().await);
    let snapshot = Lake::open(&folder.uri())
        .await
        .unwrap()
        .snapshot()
        .await
        .unwrap();
    assert_eq!(
        (snapshot.files()[0].date, snapshot.files()[0].rows),
        (None, 1)
    );
    assert!(folder.data_files()[0].starts_with("date=__HIVE_DEFAULT_PARTITION__/"));
}

#[tokio::test]
async fn a_large_object_goes_through_files_of_its_own() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    let mut append = lake.append().await.unwrap();
    write(&lake, &mut append, "small.log", &log(10, 1), 64 << 20).await;
    write(&lake, &mut append, "large.log", &log(50_000, 1), 1 << 20).await;
    let committed = done(append.commit().await);
    assert_eq!((committed.rows, committed.files), (50_010, 2));
    assert_eq!(rows(&lake).await, 50_010);
}

#[tokio::test]
async fn an_aborted_batch_leaves_nothing() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    let mut append = lake.append().await.unwrap();
    write(&lake, &mut append, "a.log", &log(50_000, 1), 1 << 20).await;
    append.abort().await;
    let mut rows = lake.object_rows(1, 1 << 20);
    read_object(
        log(50_000, 1).as_bytes(),
        &ReadOptions::new("b"),
        &mut |batch| {
            futures::executor::block_on(async { rows.push(batch).await.unwrap() });
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    rows.discard().await;
    assert_eq!(folder.data_files(), [""; 0]);
    assert_eq!(folder.files("_flowscout"), [""; 0]);
}

#[tokio::test]
async fn what_was_staged_by_a_killed_writer_is_not_seen() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    ingest(&lake, "a.log", 10).await;
    // All that a writer leaves that dies just before its commit: data, side data, no log entry.
    let (data, side) = (
        folder.data_files()[0].clone(),
        folder.path().join("_flowscout/batches/000000000002-dead"),
    );
    fs::copy(
        folder.path().join(&data),
        folder.path().join(data.replace("part-", "part-dead-")),
    )
    .unwrap();
    fs::create_dir(&side).unwrap();
    fs::write(side.join("objects.parquet"), "half a file").unwrap();

    let lake = folder.lake().await;
    assert_eq!(rows(&lake).await, 10);
    assert_eq!(ingest(&lake, "b.log", 5).await.batch, 2);
    assert_eq!(rows(&lake).await, 15);
    assert_eq!(
        texts(
            &lake.snapshot().await.unwrap().objects().await.unwrap(),
            "key"
        ),
        ["a.log", "b.log"]
    );
}

#[tokio::test]
async fn a_batch_that_was_committed_and_not_published_is_in() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    ingest(&lake, "a.log", 10).await;
    ingest(&lake, "b.log", 10).await;
    let published = folder.files("_flowscout/ledger");
    fs::remove_file(folder.path().join(&published[1])).unwrap();

    // Who only reads finds it in the log, and changes nothing.
    let reader = Lake::open(&folder.uri()).await.unwrap();
    let objects = reader.snapshot().await.unwrap().objects().await.unwrap();
    assert_eq!(texts(&objects, "key"), ["a.log", "b.log"]);
    assert_eq!(folder.files("_flowscout/ledger").len(), 1);

    // Who writes publishes it before anything else.
    let writer = folder.lake().await;
    let append = writer.append().await.unwrap();
    assert_eq!((append.batch(), append.is_in("b.log", "1")), (3, true));
    assert_eq!(folder.files("_flowscout/ledger"), published);
}

#[tokio::test]
async fn a_damaged_ledger_is_not_taken_for_an_empty_one() {
    let folder = Folder::new();
    ingest(&folder.lake().await, "a.log", 10).await;
    fs::remove_dir_all(folder.path().join("_flowscout/batches")).unwrap();
    let error = folder.lake().await.append().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is damaged: `_flowscout/batches/000000000001-"),
        "{error}"
    );
}

#[tokio::test]
async fn of_two_batches_with_other_objects_both_get_in() {
    let folder = Folder::new();
    let (one, other) = (folder.lake().await, folder.lake().await);
    let (mut first, mut second) = (one.append().await.unwrap(), other.append().await.unwrap());
    assert_eq!((first.batch(), second.batch()), (1, 1));
    write(&one, &mut first, "a.log", &log(10, 2), 64 << 20).await;
    write(&other, &mut second, "b.log", &log(7, 2), 64 << 20).await;
    assert_eq!(done(first.commit().await).batch, 1);
    assert_eq!(done(second.commit().await).batch, 2);
    let lake = Lake::open(&folder.uri()).await.unwrap();
    assert_eq!(rows(&lake).await, 17);
    let objects = lake.snapshot().await.unwrap().objects().await.unwrap();
    assert_eq!(texts(&objects, "key"), ["a.log", "b.log"]);
    assert!(texts(&objects, "batch")[1].starts_with("000000000002-"));
    assert_eq!(
        folder.files("_flowscout/batches").len(),
        6,
        "what was staged under the lost number is gone"
    );
}

#[tokio::test]
async fn of_two_batches_with_the_same_object_one_gets_in() {
    let folder = Folder::new();
    let (one, other) = (folder.lake().await, folder.lake().await);
    let (mut first, mut second) = (one.append().await.unwrap(), other.append().await.unwrap());
    write(&one, &mut first, "a.log", &log(10, 2), 64 << 20).await;
    write(&other, &mut second, "a.log", &log(10, 2), 64 << 20).await;
    write(&other, &mut second, "b.log", &log(5, 2), 64 << 20).await;
    let files = done(first.commit().await).files;
    assert_eq!(second.commit().await.unwrap(), Commit::Overtaken);
    assert_eq!(
        folder.data_files().len() as u64,
        files,
        "nothing of the loser is left"
    );
    let again = other.append().await.unwrap();
    assert_eq!(
        (
            again.batch(),
            again.is_in("a.log", "1"),
            again.is_in("b.log", "1")
        ),
        (2, true, false)
    );
    assert_eq!(rows(&other).await, 10);
}

#[tokio::test]
async fn a_commit_of_somebody_else_in_between_is_no_obstacle() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    let mut append = lake.append().await.unwrap();
    write(&lake, &mut append, "a.log", &log(10, 2), 64 << 20).await;
    // Maintenance, by whatever program.
    let commit = folder.path().join("_delta_log/00000000000000000001.json");
    fs::write(
        commit,
        r#"{"commitInfo":{"timestamp":1700000000000,"operation":"OPTIMIZE"}}"#,
    )
    .unwrap();
    let committed = done(append.commit().await);
    assert_eq!((committed.batch, committed.version), (1, 2));
    assert_eq!(rows(&lake).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_at_once_lose_and_double_nothing() {
    let folder = Folder::new();
    folder.lake().await;
    let writers = (0..4).map(|writer| {
        let uri = folder.uri();
        tokio::spawn(async move {
            let lake = Lake::open_or_create(&uri).await.unwrap();
            for object in 0..5 {
                // Every key is offered by two writers.
                let key = format!("{}-{object}.log", writer / 2);
                loop {
                    let mut append = lake.append().await.unwrap();
                    if append.is_in(&key, "1") {
                        break;
                    }
                    write(&lake, &mut append, &key, &log(10, 1), 64 << 20).await;
                    if let Commit::Done(_) = append.commit().await.unwrap() {
                        break;
                    }
                }
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    let lake = Lake::open(&folder.uri()).await.unwrap();
    assert_eq!(rows(&lake).await, 100);
    let mut keys = texts(
        &lake.snapshot().await.unwrap().objects().await.unwrap(),
        "key",
    );
    keys.sort();
    assert_eq!(keys.len(), 10);
    keys.dedup();
    assert_eq!(keys.len(), 10);
    assert_eq!(
        folder.data_files().len(),
        lake.snapshot().await.unwrap().files().len()
    );
}

#[tokio::test]
async fn objects_show_what_was_last_heard_of_a_key() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    let mut append = lake.append().await.unwrap();
    append.note(record("a.log", Outcome::SetAside, 0, 0));
    append.note(record("b.log", Outcome::SetAside, 0, 0));
    append.note(record("c.txt", Outcome::Skipped, 0, 0));
    assert_eq!(done(append.commit().await).files, 0);
    let mut append = lake.append().await.unwrap();
    assert_eq!(
        append.standing("a.log", "1"),
        Standing::Known(Outcome::SetAside)
    );
    assert_eq!(append.standing("a.log", "2"), Standing::New);
    write(&lake, &mut append, "a.log", &log(10, 2), 64 << 20).await;
    done(append.commit().await);

    let info = lake.info().await.unwrap();
    assert_eq!(
        info.objects,
        BTreeMap::from([
            (Outcome::Ingested, 1),
            (Outcome::SetAside, 1),
            (Outcome::Skipped, 1)
        ])
    );
    assert_eq!(
        info.set_aside,
        [("b.log".to_owned(), "for a reason".to_owned())]
    );
    assert_eq!(
        (
            info.version,
            info.files,
            info.rows,
            info.bad_lines,
            info.nodata,
            info.skipdata
        ),
        (2, 2, 10, 1, 1, 0)
    );
    assert_eq!(info.first_date.unwrap().to_string(), "2023-11-14");
    assert_eq!(info.last_date.unwrap().to_string(), "2023-11-15");
    assert!(info.committed_at.is_some() && info.bytes > 0);
    let objects = lake.snapshot().await.unwrap().objects().await.unwrap();
    let sizes = objects[1]
        .column_by_name("size")
        .unwrap()
        .as_primitive::<Int64Type>();
    assert_eq!((sizes.len(), sizes.value(0)), (1, 10));
}

#[tokio::test]
async fn names_with_odd_characters_are_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b%20ü#1/lake");
    let uri = LakeUri::parse(path.to_str().unwrap()).unwrap();
    let lake = Lake::open_or_create(&uri).await.unwrap();
    ingest(&lake, "a b.log", 10).await;
    assert!(path.join("_delta_log/00000000000000000001.json").is_file());
    let lake = Lake::open(&uri).await.unwrap();
    let snapshot = lake.snapshot().await.unwrap();
    assert_eq!(snapshot.files().len(), 2);
    lake.store()
        .get_opts(&snapshot.files()[0].location, Default::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn topology_is_stored_once_until_it_changes() {
    let folder = Folder::new();
    let lake = folder.lake().await;
    let at = |day: u32| format!("2026-11-{day:02}T00:00:00Z").parse().unwrap();
    assert_eq!(
        lake.put_topology(at(2), "aa", "two".into()).await.unwrap(),
        Put::Stored
    );
    assert_eq!(
        lake.put_topology(at(3), "aa", "two".into()).await.unwrap(),
        Put::Unchanged
    );
    assert_eq!(
        lake.put_topology(at(4), "bb", "four".into()).await.unwrap(),
        Put::Stored
    );
    assert_eq!(
        lake.put_topology(at(1), "aa", "one".into()).await.unwrap(),
        Put::Stored,
        "older than all"
    );
    assert_eq!(
        lake.topology_snapshots().await.unwrap(),
        ["one", "two", "four"]
    );
    assert_eq!(lake.info().await.unwrap().topology, [at(1), at(2), at(4)]);
}

#[tokio::test]
async fn refuses_places_that_are_no_lakes_with_a_line_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |error: LakeError| {
        let text = format!("{error}\n{}", error.hint().unwrap_or_default());
        text.replace(folder.path().to_str().unwrap(), "DIR")
    };
    let uri = |name: &str| LakeUri::parse(folder.path().join(name).to_str().unwrap()).unwrap();
    fs::create_dir_all(folder.path().join("logs")).unwrap();
    fs::write(folder.path().join("logs/a.log"), "").unwrap();
    fs::create_dir_all(folder.path().join("hidden")).unwrap();
    fs::write(folder.path().join("hidden/.DS_Store"), "").unwrap();

    let error = Lake::open(&uri("nothing")).await.unwrap_err();
    insta::assert_snapshot!(shown(error), @r"
    no lake at `DIR/nothing`
    run `flowscout ingest <SOURCE> --lake DIR/nothing` to create it
    ");
    let error = Lake::open(&uri("logs")).await.unwrap_err();
    insta::assert_snapshot!(shown(error), @r"
    no lake at `DIR/logs`
    run `flowscout ingest <SOURCE> --lake DIR/logs` to create it
    ");
    let error = Lake::open_or_create(&uri("logs")).await.unwrap_err();
    insta::assert_snapshot!(shown(error), @r"
    cannot create a lake at `DIR/logs`: it holds `a.log` and is no lake
    name an empty or a new folder
    ");
    let error = Lake::open_or_create(&uri("logs/a.log")).await.unwrap_err();
    insta::assert_snapshot!(shown(error), @r"
    cannot keep a lake at `DIR/logs/a.log`: it is not a folder
    name an empty or a new folder
    ");
    assert!(!folder.path().join("nothing").exists());
    Lake::open_or_create(&uri("hidden")).await.unwrap();
}
