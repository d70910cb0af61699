//! Care of a lake from outside: what `verify`, `compact`, `expire` and `vacuum` do to rows, files and readers.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use chrono::NaiveDate;
use flowscout::lake::{
    Commit, Compact, Creation, Expire, Lake, LakeUri, Mode, ObjectRecord, Outcome, Vacuum,
    Verified, Verify,
};
use object_store::ObjectStoreExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::harness::{Place, ingest};
use crate::s3_server::S3Server;

/// Two days, a field that nobody knows, and one row without a time.
pub(crate) fn put_log(place: &Place, name: &str, number: usize) {
    place.put(&format!("logs/{name}"), log(number));
}

/// Six rows and a NODATA record, no two of them the same.
pub(crate) fn log(number: usize) -> String {
    let mut text = String::from(
        "version interface-id srcaddr dstaddr srcport dstport bytes start end action log-status x-colour\n",
    );
    // More logs than a byte counts still have addresses.
    let block = format!("10.{}.{}", number / 256, number % 256);
    for row in 0..6 {
        let start = 1_700_000_000 + row % 2 * 86_400 + number as i64;
        let start = if row == 5 {
            "-".to_owned()
        } else {
            start.to_string()
        };
        text += &format!(
            "2 eni-{number} {block}.{row} 192.0.2.1 {} 443 {row} {start} {start} ACCEPT OK c{row}\n",
            1000 + row
        );
    }
    text + "2 eni-0 - - - - - 1700000000 1700000059 - NODATA -\n"
}

/// Rows of each log.
pub(crate) const ROWS: u64 = 6;

/// All rows of the latest version, sorted, each with all that it has.
pub(crate) async fn rows_of(lake: &Lake) -> Vec<String> {
    let snapshot = lake.snapshot().await.unwrap();
    let mut rows = Vec::new();
    for file in snapshot.files() {
        let bytes = lake.store().get(&file.location).await.unwrap();
        let bytes = bytes.bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        for batch in reader.build().unwrap() {
            rows.extend(lines(&batch.unwrap()).map(|line| format!("{:?} {line}", file.date)));
        }
    }
    rows.sort();
    rows
}

fn lines(batch: &RecordBatch) -> impl Iterator<Item = String> + use<> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    text.lines()
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

/// What a thorough look says; nothing may be wrong.
#[track_caller]
pub(crate) fn clean(verified: Verified) -> Verified {
    assert_eq!(verified.problems, [""; 0]);
    assert_eq!(verified.counted_rows, Some(verified.file_rows));
    verified
}

/// A lake of so many batches, one log each.
async fn lake_of(place: &Place, batches: usize) -> Lake {
    for number in 0..batches {
        put_log(place, &format!("{number}.log"), number);
        place.ingest().await;
    }
    place.lake().await
}

fn compact() -> Compact {
    Compact {
        target_bytes: Compact::TARGET_BYTES,
        mode: Mode::Apply,
    }
}

fn vacuum(days: u64) -> Vacuum {
    Vacuum {
        retain: Duration::from_secs(days * 86_400),
        force: days == 0,
        mode: Mode::Apply,
    }
}

fn data_files(place: &Place) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for date in fs::read_dir(place.path("lake")).unwrap() {
        let date = date.unwrap().path();
        if date
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("date=")
        {
            found.extend(fs::read_dir(date).unwrap().map(|file| file.unwrap().path()));
        }
    }
    found.sort();
    found
}

fn make_old(path: &Path, days: u64) {
    let time = SystemTime::now() - Duration::from_secs(days * 86_400);
    File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[tokio::test]
async fn compaction_keeps_every_row_and_the_readers_of_older_versions() {
    let place = Place::new();
    let lake = lake_of(&place, 4).await;
    let before = rows_of(&lake).await;
    assert_eq!(before.len() as u64, 4 * ROWS);
    assert!(before[0].contains("x-colour"), "{}", before[0]);
    let old = lake.snapshot().await.unwrap();

    let planned = Compact {
        mode: Mode::DryRun,
        ..compact()
    };
    let plan = lake.compact(&planned).await.unwrap();
    assert_eq!((plan.groups.len(), plan.files), (3, 0));
    assert_eq!(old.version(), lake.snapshot().await.unwrap().version());

    let done = lake.compact(&compact()).await.unwrap();
    let dates: Vec<_> = done.groups.iter().map(|group| group.date).collect();
    let date = |text: &str| Some(text.parse::<NaiveDate>().unwrap());
    assert_eq!(dates, [None, date("2023-11-14"), date("2023-11-15")]);
    assert_eq!((done.groups, done.files), (plan.groups, 3));
    let new = lake.snapshot().await.unwrap();
    assert_eq!((old.files().len(), new.files().len()), (12, 3));
    assert_eq!(rows_of(&lake).await, before);
    for file in old.files() {
        lake.store().head(&file.location).await.unwrap();
    }
    let day = new
        .files()
        .iter()
        .find(|file| file.date == date("2023-11-14"));
    let day = day.unwrap();
    assert_eq!(
        day.columns["vpc_id"].nulls,
        Some(day.rows),
        "statistics are there"
    );
    let verified = clean(lake.verify(Verify::Deep).await.unwrap());
    assert_eq!(
        (verified.files, verified.replaced, verified.orphans),
        (3, 12, 0)
    );

    let again = lake.compact(&compact()).await.unwrap();
    assert_eq!(again.groups, [], "there is nothing left to do");
    // What came in between is no obstacle, and what is in is not read again.
    put_log(&place, "new.log", 9);
    assert_eq!(place.ingest().await.rows, ROWS);
    assert_eq!(lake.snapshot().await.unwrap().files().len(), 6);
    clean(lake.verify(Verify::Deep).await.unwrap());
}

#[tokio::test]
async fn files_become_about_as_large_as_they_should() {
    let place = Place::new();
    let lake = lake_of(&place, 6).await;
    let before = rows_of(&lake).await;
    let size = lake.snapshot().await.unwrap().files()[0].size;
    let small = Compact {
        target_bytes: size * 5 / 2,
        mode: Mode::Apply,
    };
    let done = lake.compact(&small).await.unwrap();
    assert_eq!(done.groups.len(), 6, "three files each: {:?}", done.groups);
    assert_eq!(rows_of(&lake).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compactors_and_ingest_at_once_lose_and_double_nothing() {
    let place = Place::new();
    lake_of(&place, 8).await;
    for number in 8..12 {
        put_log(&place, &format!("{number}.log"), number);
    }
    let (one, other) = (place.lake().await, place.lake().await);
    let compact = compact();
    let (first, second, ingested) = tokio::join!(
        one.compact(&compact),
        other.compact(&compact),
        place.ingest()
    );
    assert_eq!(ingested.rows, 4 * ROWS);
    first.unwrap();
    second.unwrap();
    let lake = place.lake().await;
    let mut rows = rows_of(&lake).await;
    assert_eq!(rows.len() as u64, 12 * ROWS);
    rows.dedup();
    assert_eq!(rows.len() as u64, 12 * ROWS);
    let verified = clean(lake.verify(Verify::Deep).await.unwrap());
    assert_eq!(verified.orphans, 0, "who was overtaken left nothing");
}

#[tokio::test]
async fn what_has_expired_is_not_ingested_again_and_still_adds_up() {
    let place = Place::new();
    let lake = lake_of(&place, 3).await;
    let mut expire = Expire {
        before: "2023-11-15".parse().unwrap(),
        undated: false,
        mode: Mode::DryRun,
    };
    let plan = lake.expire(&expire).await.unwrap();
    assert_eq!((plan.dates.len(), plan.files, plan.rows), (1, 3, 9));
    assert_eq!(lake.snapshot().await.unwrap().files().len(), 9);
    expire.mode = Mode::Apply;
    assert_eq!(lake.expire(&expire).await.unwrap(), plan);
    assert_eq!(place.ingest().await.rows, 0);
    let verified = clean(lake.verify(Verify::Deep).await.unwrap());
    assert_eq!(
        (
            verified.object_rows,
            verified.file_rows,
            verified.expired_rows
        ),
        (18, 9, 9)
    );
    assert_eq!(lake.expire(&expire).await.unwrap().rows, 0, "once");

    // Rows without a date only if asked for, and by when they were written.
    expire.undated = true;
    assert_eq!(lake.expire(&expire).await.unwrap().rows, 0);
    expire.before = "9999-01-01".parse().unwrap();
    lake.compact(&compact()).await.unwrap();
    let rest = lake.expire(&expire).await.unwrap();
    assert_eq!((rest.dates.len(), rest.rows), (2, 9));
    let verified = clean(lake.verify(Verify::Deep).await.unwrap());
    assert_eq!((verified.file_rows, verified.expired_rows), (0, 18));
}

#[tokio::test]
async fn vacuum_deletes_what_nobody_needs_and_nothing_else() {
    let place = Place::new();
    let lake = lake_of(&place, 3).await;
    lake.compact(&compact()).await.unwrap();
    let before = rows_of(&lake).await;
    let all = data_files(&place);
    assert_eq!(all.len(), 12);
    // What killed writers leave: half a file, a file of no commit, side data, a probe. Of each an old one and a young one.
    let left = [
        "date=2023-11-14/part-000000000007-{}.zstd.parquet",
        "_flowscout/batches/000000000007-{}/objects.parquet",
        "_flowscout/probe-{}",
        "date=2023-11-15/part-000000000007-x.zstd.parquet#{}",
    ];
    for name in left {
        let old = place.put(&format!("lake/{}", name.replace("{}", "1")), "half");
        make_old(&old, 8);
        place.put(&format!("lake/{}", name.replace("{}", "2")), "half");
    }
    // Old files of commits: some in, some replaced a moment ago.
    all.iter().for_each(|path| make_old(path, 100));
    let topology = place.put(
        "lake/_flowscout/topology/20200101T000000.000000Z-aa.json.gz",
        "x",
    );
    make_old(&topology, 100);

    let verified = lake.verify(Verify::Deep).await.unwrap();
    assert_eq!((verified.replaced, verified.orphans), (9, 4));
    let planned = Vacuum {
        mode: Mode::DryRun,
        ..vacuum(7)
    };
    let plan = lake.vacuum(&planned).await.unwrap();
    assert_eq!(data_files(&place).len(), 12 + 4);
    let done = lake.vacuum(&vacuum(7)).await.unwrap();
    for deletions in [&plan, &done] {
        assert_eq!(deletions.replaced.paths, [""; 0], "replaced a moment ago");
        assert_eq!(
            deletions.orphans.paths,
            ["date=2023-11-14/part-000000000007-1.zstd.parquet"]
        );
        assert_eq!(deletions.side.paths.len(), 2);
        assert_eq!(deletions.staging.paths.len(), 1);
        assert_eq!(deletions.orphans.bytes, 4);
    }
    assert!(topology.is_file());
    for name in left {
        let path = |number: &str| place.path(&format!("lake/{}", name.replace("{}", number)));
        assert!(!path("1").exists() && path("2").exists(), "{name}");
    }
    let error = lake
        .vacuum(&Vacuum {
            force: false,
            ..vacuum(0)
        })
        .await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("expected at least 24 hours")
    );
    let error = lake.vacuum(&vacuum(31)).await.unwrap_err();
    assert!(
        error.to_string().contains("expected at most 30 days"),
        "{error}"
    );

    let done = lake.vacuum(&vacuum(0)).await.unwrap();
    assert_eq!(
        (done.replaced.paths.len(), done.orphans.paths.len()),
        (9, 1)
    );
    assert_eq!(data_files(&place).len(), 3);
    assert_eq!(rows_of(&lake).await, before);
    let verified = clean(lake.verify(Verify::Deep).await.unwrap());
    assert_eq!((verified.replaced, verified.orphans), (0, 0));
}

#[tokio::test]
async fn verify_names_what_is_wrong() {
    let place = Place::new();
    let lake = lake_of(&place, 2).await;
    let files = data_files(&place);
    let name = |path: &PathBuf| {
        let inside = path.strip_prefix(place.path("lake")).unwrap();
        inside.to_str().unwrap().to_owned()
    };
    // One missing, one cut off, and one whose first pages are no pages.
    let kept: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    fs::remove_file(&files[0]).unwrap();
    fs::write(&files[1], &kept[1][..kept[1].len() - 1]).unwrap();
    let mut changed = kept[2].clone();
    changed[4..200].fill(0xff);
    fs::write(&files[2], changed).unwrap();
    let counts = lake.verify(Verify::Counts).await.unwrap();
    let mut problems = counts.problems;
    problems.sort();
    assert_eq!(
        problems,
        [
            format!("`{}` is not there: 3 rows", name(&files[0])),
            format!(
                "`{}` has {} bytes, and the log says {}",
                name(&files[1]),
                kept[1].len() - 1,
                kept[1].len()
            ),
        ]
    );
    let deep = lake.verify(Verify::Deep).await.unwrap();
    for file in &files[..3] {
        let unreadable = deep.problems.iter().any(|problem| {
            problem.starts_with("cannot decode Parquet file") && problem.contains(&name(file))
        });
        assert!(unreadable, "{} in {:#?}", name(file), deep.problems);
    }
    assert!(
        deep.problems
            .iter()
            .any(|problem| problem.contains("gave 6 rows, and has"))
    );

    // The command says so, and fails.
    let ended = place.run(&["lake", "verify", "--lake", "lake", "--format", "table"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stdout.contains("wrong:\n  `date="),
        "{}",
        ended.stdout
    );
    assert!(
        ended
            .stderr
            .contains("2 things are wrong with the lake at `lake`")
    );

    // Mended, it is clean; a commit of somebody else that adds rows again is not.
    for (file, bytes) in files.iter().zip(&kept) {
        fs::write(file, bytes).unwrap();
    }
    clean(lake.verify(Verify::Deep).await.unwrap());
    let copy = files[0].with_file_name("part-copy.parquet");
    fs::copy(&files[0], &copy).unwrap();
    let log = place.path("lake/_delta_log/00000000000000000001.json");
    let add = fs::read_to_string(log).unwrap();
    let add = add.lines().find(|line| line.contains("\"add\"")).unwrap();
    let mut add: Value = serde_json::from_str(add).unwrap();
    let rows: Value = serde_json::from_str(add["add"]["stats"].as_str().unwrap()).unwrap();
    add["add"]["path"] = json!(name(&copy));
    add["add"]["size"] = json!(kept[0].len());
    place.put(
        "lake/_delta_log/00000000000000000003.json",
        format!("{add}\n"),
    );
    let verified = lake.verify(Verify::Counts).await.unwrap();
    assert_eq!(verified.problem_count, 1);
    let extra = format!("{} too many", rows["numRecords"]);
    assert!(
        verified.problems[0].contains(&extra),
        "{:?}",
        verified.problems
    );
}

#[tokio::test]
async fn a_lake_that_lost_its_log_or_its_side_data_is_refused_and_not_ingested_again() {
    let place = Place::new();
    lake_of(&place, 3).await;
    let whole = place.path("whole");
    let lake = place.path("lake");
    copy(&lake, &whole);
    let told = |place: &Place| {
        let ended = place.run(&["ingest", "logs", "--lake", "lake"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.stderr
    };
    // The end of the log.
    fs::remove_file(lake.join("_delta_log/00000000000000000003.json")).unwrap();
    let error = told(&place);
    assert!(
        error.contains("batch 3 was committed, and its log ends with batch 2"),
        "{error}"
    );
    let ended = place.run(&["lake", "verify", "--lake", "lake"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stdout.contains("batch 3 was committed"),
        "{}",
        ended.stdout
    );

    for (gone, expected) in [
        (&["_delta_log"][..], "its log `_delta_log` is gone"),
        (&["_flowscout"], "`_flowscout/batches/000000000001-"),
        (&["_flowscout/batches"], "`_flowscout/batches/000000000001-"),
        (
            &["_flowscout/ledger", "_delta_log/00000000000000000002.json"],
            "table",
        ),
        (
            &[
                "_delta_log",
                "date=2023-11-14",
                "date=2023-11-15",
                "date=__HIVE_DEFAULT_PARTITION__",
            ],
            "its log `_delta_log` is gone",
        ),
    ] {
        fs::remove_dir_all(&lake).unwrap();
        copy(&whole, &lake);
        for name in gone {
            let path = lake.join(name);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
        let error = told(&place);
        assert!(error.contains(expected), "{gone:?}: {error}");
    }
    // With the ledger alone gone the log tells all.
    fs::remove_dir_all(&lake).unwrap();
    copy(&whole, &lake);
    fs::remove_dir_all(lake.join("_flowscout/ledger")).unwrap();
    assert_eq!(place.ingest().await.rows, 0);
    clean(place.lake().await.verify(Verify::Deep).await.unwrap());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Makes of a lake what an older flowscout would have written: no column `action`, neither in the table nor in its files.
fn narrow(place: &Place) {
    let log = place.path("lake/_delta_log");
    let created = fs::read_to_string(log.join("00000000000000000000.json")).unwrap();
    let narrowed: Vec<String> = created.lines().map(without_action).collect();
    fs::write(log.join("00000000000000000000.json"), narrowed.join("\n")).unwrap();
    let path = log.join("00000000000000000001.json");
    let mut commit = Vec::new();
    for line in fs::read_to_string(&path).unwrap().lines() {
        let mut action: Value = serde_json::from_str(line).unwrap();
        if let Some(add) = action.get_mut("add") {
            let file = place.path("lake").join(add["path"].as_str().unwrap());
            let bytes = fs::read(&file).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes));
            let mut batch = reader.unwrap().build().unwrap().next().unwrap().unwrap();
            batch.remove_column(batch.schema().index_of("action").unwrap());
            let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            let bytes = writer.into_inner().unwrap();
            add["size"] = json!(bytes.len());
            let mut stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
            for part in ["minValues", "maxValues", "nullCount"] {
                stats[part].as_object_mut().unwrap().remove("action");
            }
            add["stats"] = json!(stats.to_string());
            fs::write(file, bytes).unwrap();
        }
        commit.push(action.to_string());
    }
    fs::write(path, commit.join("\n")).unwrap();
}

fn without_action(line: &str) -> String {
    let mut action: Value = serde_json::from_str(line).unwrap();
    if let Some(metadata) = action.get_mut("metaData") {
        let mut schema: Value =
            serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        let fields = schema["fields"].as_array_mut().unwrap();
        fields.retain(|field| field["name"] != "action");
        metadata["schemaString"] = json!(schema.to_string());
        metadata["configuration"]["delta.deletedFileRetentionDuration"] = json!("interval 2 days");
    }
    action.to_string()
}

#[tokio::test]
async fn an_older_lake_gets_its_columns_with_the_next_write() {
    let place = Place::new();
    lake_of(&place, 1).await;
    narrow(&place);
    let actions = "SELECT action, COUNT(*) AS flows FROM flows GROUP BY action ORDER BY action";
    assert_eq!(place.sql(actions), [json!({"action": null, "flows": 6})]);
    let table = || fs::read_to_string(place.path("lake/_delta_log/00000000000000000002.json"));
    assert!(table().is_err(), "who only reads changes nothing");

    put_log(&place, "new.log", 7);
    place.ingest().await;
    assert!(table().unwrap().contains(r#"\"name\":\"action\""#));
    let expected = [
        json!({"action": "ACCEPT", "flows": 6}),
        json!({"action": null, "flows": 6}),
    ];
    assert_eq!(place.sql(actions), expected);
    let properties = fs::read_to_string(place.path("lake/_delta_log/00000000000000000003.json"));
    assert!(properties.unwrap().contains("interval 30 days"));

    let lake = place.lake().await;
    assert_eq!(lake.compact(&compact()).await.unwrap().groups.len(), 3);
    assert_eq!(place.sql(actions), expected);
    clean(lake.verify(Verify::Deep).await.unwrap());
}

#[tokio::test]
async fn files_of_a_newer_flowscout_are_not_written_anew() {
    let place = Place::new();
    lake_of(&place, 2).await;
    let created = place.path("lake/_delta_log/00000000000000000000.json");
    let mut lines = Vec::new();
    for line in fs::read_to_string(&created).unwrap().lines() {
        let mut action: Value = serde_json::from_str(line).unwrap();
        if let Some(metadata) = action.get_mut("metaData") {
            let mut schema: Value =
                serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
            let new =
                json!({"name": "weather", "type": "string", "nullable": true, "metadata": {}});
            schema["fields"].as_array_mut().unwrap().push(new);
            metadata["schemaString"] = json!(schema.to_string());
        }
        lines.push(action.to_string());
    }
    fs::write(created, lines.join("\n")).unwrap();
    let error = place.lake().await.compact(&compact()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("its column `weather` is not known to this version"),
        "{error}"
    );
}

#[tokio::test]
async fn a_store_in_which_two_creators_win_is_refused() {
    let server = S3Server::with_bucket("lake");
    let uri = LakeUri::parse("s3://lake/flows").unwrap();
    let probe = Lake::probe(&uri, &server.settings(), 3).await.unwrap();
    assert_eq!(probe.creation, Creation::Exclusive);
    Lake::open_or_create_with(&uri, &server.settings())
        .await
        .unwrap();
    server.ignore_conditions();
    let probe = Lake::probe(&uri, &server.settings(), 3).await.unwrap();
    assert_eq!(
        probe.creation,
        Creation::Shared {
            creators: 5,
            winners: 5
        }
    );
    let error = Lake::open_or_create_with(&uri, &server.settings())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the store of `s3://lake/flows` ignores `If-None-Match: *`"),
        "{error}"
    );
    let probes = server
        .keys("lake")
        .into_iter()
        .filter(|key| key.contains("probe"));
    assert_eq!(probes.count(), 0);
}

#[tokio::test]
async fn a_checkpoint_comes_without_maintenance_too_and_changes_nothing() {
    let place = Place::new();
    let lake = place.lake().await;
    note_objects(&lake, 0..101).await;
    assert!(place.path("lake/_delta_log/_last_checkpoint").is_file());
    put_log(&place, "a.log", 1);
    let summary = ingest(&place.path("logs"), place.lake().await).await;
    assert_eq!(summary.rows, ROWS);
    let lake = place.lake().await;
    let verified = clean(lake.verify(Verify::Deep).await.unwrap());
    assert_eq!((verified.batches, verified.file_rows), (102, ROWS));
    // The numbers of batches, and of what has expired, are in the checkpoint.
    let expire = Expire {
        before: "9999-01-01".parse().unwrap(),
        undated: true,
        mode: Mode::Apply,
    };
    lake.expire(&expire).await.unwrap();
    for number in 0..10 {
        put_log(&place, &format!("{number}.log"), number);
        place.ingest().await;
    }
    let done = lake.compact(&compact()).await.unwrap();
    assert!(done.checkpoint.is_some());
    fs::remove_file(place.path("lake/_delta_log/00000000000000000050.json")).unwrap();
    let verified = clean(place.lake().await.verify(Verify::Deep).await.unwrap());
    assert_eq!((verified.batches, verified.expired_rows), (112, ROWS));
}

/// Commits batches of one object that is no flow log: the shortest there are.
async fn note_objects(lake: &Lake, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let mut append = lake.append().await.unwrap();
        append.note(ObjectRecord {
            key: format!("{number}.txt"),
            etag: "1".to_owned(),
            size: 1,
            rows: 0,
            bad_lines: 0,
            outcome: Outcome::Skipped,
            reason: Some("no flow log".to_owned()),
        });
        let Commit::Done(_) = append.commit().await.unwrap() else {
            panic!("nobody else writes");
        };
    }
}

/// Everything below a folder, folders too.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(all_below(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = all_below(folder);
    files.retain(|path| path.is_file());
    files
}

#[tokio::test]
async fn a_lake_does_not_grow_with_its_commits() {
    let place = Place::new();
    let mut left = Vec::new();
    for round in 0..3 {
        for number in 0..3 {
            let number = 3 * round + number;
            put_log(&place, &format!("{number}.log"), number);
            place.ingest().await;
        }
        let lake = place.lake().await;
        note_objects(&lake, 100 * round..100 * (round + 1)).await;
        let before = all_below(&place.path("lake")).len();
        assert!(before > 400, "{before}");

        let done = lake.compact(&compact()).await.unwrap();
        assert!(done.bundled >= 103, "{done:?}");
        // A month later.
        for entry in files_below(&place.path("lake/_delta_log")) {
            make_old(&entry, 31);
        }
        lake.vacuum(&vacuum(0)).await.unwrap();
        let after = all_below(&place.path("lake"));
        left.push(after.len());

        // Nothing of it is lost.
        let lake = place.lake().await;
        let verified = clean(lake.verify(Verify::Deep).await.unwrap());
        let logs = 3 * (round as u64 + 1);
        assert_eq!(verified.batches, logs + 100 * (round as u64 + 1));
        assert_eq!((verified.replaced, verified.orphans), (0, 0), "{after:?}");
        assert_eq!(verified.file_rows, logs * ROWS);
        let outcomes = place.sql(
            "SELECT outcome, COUNT(*) AS objects FROM objects GROUP BY outcome ORDER BY outcome",
        );
        assert_eq!(
            outcomes,
            [
                json!({"outcome": "ingested", "objects": logs}),
                json!({"outcome": "skipped", "objects": 100 * (round + 1)}),
            ]
        );
        assert_eq!(
            place.sql("SELECT COUNT(*) AS records FROM coverage"),
            [json!({"records": logs})]
        );
        // And nothing is read again.
        let summary = place.ingest().await;
        assert_eq!((summary.rows, summary.already_in), (0, logs));
    }
    assert_eq!(left[1], left[2], "as many after 309 commits as after 206");
    assert!(left[2] < 30, "{left:?}");
}

#[tokio::test]
async fn side_data_that_was_put_together_stays_for_readers_until_it_may_go() {
    let place = Place::new();
    let lake = lake_of(&place, 2).await;
    note_objects(&lake, 0..10).await;
    let side = || files_below(&place.path("lake/_flowscout"));
    let (before, old) = (side(), lake.snapshot().await.unwrap());
    let dry = Compact {
        mode: Mode::DryRun,
        ..compact()
    };
    assert_eq!(lake.compact(&dry).await.unwrap().bundled, 12);
    assert_eq!(side(), before);
    assert_eq!(lake.compact(&compact()).await.unwrap().bundled, 12);
    assert_eq!(lake.compact(&compact()).await.unwrap().bundled, 0);
    let bundled = side();
    assert_eq!(bundled.len(), before.len() + 3, "objects, coverage, a list");

    // Somebody may have read the ledger before there was a bundle.
    let done = lake.vacuum(&vacuum(1)).await.unwrap();
    assert_eq!(done.bundled.paths.len(), 0);
    assert_eq!(side(), bundled);
    let rows = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!(rows(old.objects().await.unwrap()), 12);

    // The bundle is of two days ago, and another of now.
    for file in side() {
        make_old(&file, 2);
    }
    note_objects(&lake, 10..20).await;
    assert_eq!(lake.compact(&compact()).await.unwrap().bundled, 22);
    let done = lake.vacuum(&vacuum(1)).await.unwrap();
    // Objects of twelve batches and coverage of two, and their entries in the ledger; what was put together now stays.
    assert_eq!(done.bundled.paths.len(), 12 + 2 + 12, "{:?}", done.bundled);
    let lake = place.lake().await;
    clean(lake.verify(Verify::Deep).await.unwrap());
    let snapshot = lake.snapshot().await.unwrap();
    assert_eq!(rows(snapshot.objects().await.unwrap()), 22);
    assert_eq!(rows(snapshot.coverage().await.unwrap()), 2);
}

#[tokio::test]
async fn of_two_who_put_the_same_side_data_together_one_counts() {
    let place = Place::new();
    let lake = lake_of(&place, 2).await;
    note_objects(&lake, 0..30).await;
    let other = place.lake().await;
    let (compact, also) = (compact(), compact());
    let (first, second) = tokio::join!(lake.compact(&compact), other.compact(&also));
    assert_eq!(first.unwrap().bundled.max(second.unwrap().bundled), 32);
    let lists = fs::read_dir(place.path("lake/_flowscout/bundled")).unwrap();
    let lists = lists.count();
    assert!((1..=2).contains(&lists), "{lists}");
    let lake = place.lake().await;
    let verified = clean(lake.verify(Verify::Deep).await.unwrap());
    assert_eq!((verified.batches, verified.file_rows), (32, 2 * ROWS));
}

#[tokio::test]
async fn a_bundle_that_is_gone_is_told() {
    let place = Place::new();
    let lake = lake_of(&place, 1).await;
    note_objects(&lake, 0..9).await;
    lake.compact(&compact()).await.unwrap();
    lake.vacuum(&vacuum(0)).await.unwrap();
    let bundles = place.path("lake/_flowscout/bundles");
    fs::remove_dir_all(bundles).unwrap();
    let problems = place
        .lake()
        .await
        .verify(Verify::Counts)
        .await
        .unwrap()
        .problems;
    assert!(
        problems[0].contains("_flowscout/bundles/000000000001-000000000010-"),
        "{problems:?}"
    );
    let error = place.lake().await.append().await.unwrap_err().to_string();
    assert!(error.contains("_flowscout/bundles/"), "{error}");
}
