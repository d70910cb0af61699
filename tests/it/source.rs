//! Folders and buckets as a user has them: what is listed, in which order, what is fetched, and how
//! it fails.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use flate2::{Compression, write::GzEncoder};
use flowscout::source::{
    Listed, Location, Object, S3Settings, Selection, Source, SourceError, gzip,
};
use futures::TryStreamExt;

use crate::s3_server::{Fault, REGION, S3Server, credentials};

const BUCKET: &str = "flow-logs";
const PLAIN: &str = "AWSLogs/123456789012/vpcflowlogs/us-east-1";
const HIVE: &str =
    "AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=us-east-1";
const LINES: &str = "version account-id\n2 123456789012\n";

async fn open(url: &str, settings: &S3Settings) -> Result<Source, SourceError> {
    Source::open(Location::parse(url)?, settings).await
}

async fn list(
    source: &Source,
    selection: Selection,
) -> Result<(Vec<Object>, Vec<(String, String)>), SourceError> {
    let (mut objects, mut skipped) = (Vec::new(), Vec::new());
    for listed in source.list(selection).try_collect::<Vec<_>>().await? {
        match listed {
            Listed::Object(object) => objects.push(object),
            Listed::Skipped { key, reason } => skipped.push((key, reason)),
        }
    }
    Ok((objects, skipped))
}

/// The keys that a location lists, without `s3://bucket/`.
async fn keys(server: &S3Server, url: &str, selection: Selection) -> Vec<String> {
    let source = open(url, &server.settings()).await.unwrap();
    let (objects, _) = list(&source, selection).await.unwrap();
    let base = format!("s3://{BUCKET}/");
    objects
        .into_iter()
        .map(|object| object.key.strip_prefix(&base).unwrap().to_owned())
        .collect()
}

async fn read(source: &Source, object: &Object) -> io::Result<Vec<u8>> {
    let raw = source.fetch(object).await.map_err(io::Error::other)?;
    tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        gzip::inflate(raw, 0)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
    .await
    .unwrap()
}

fn gz(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    io::copy(&mut &text[..], &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress, so that an object is as long as it should be.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

fn file(slot: &str) -> String {
    format!("123456789012_vpcflowlogs_us-east-1_fl-0123456789abcdef0_{slot}_1a2b3c4d.log.gz")
}

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn between(from: &str, to: &str) -> Selection {
    Selection {
        from: Some(time(from)),
        to: Some(time(to)),
        ..Selection::default()
    }
}

fn hinted(error: &SourceError) -> (String, String) {
    (error.to_string(), error.hint().unwrap_or_default())
}

// ---- folders, files, standard input ----

fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_folder_is_listed_in_the_order_of_s3() {
    let server = S3Server::with_bucket(BUCKET);
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "b.log",
        "a/x.log",
        "a.log",
        "a-b/y.log",
        "a/b/c.log",
        "Z.log",
    ] {
        write(folder.path().join(name), LINES);
        server.put(BUCKET, name, LINES);
    }
    let source = open(folder.path().to_str().unwrap(), &S3Settings::default())
        .await
        .unwrap();
    let (objects, skipped) = list(&source, Selection::default()).await.unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    let relative: Vec<_> = objects
        .iter()
        .map(|object| object.key[root.to_str().unwrap().len() + 1..].to_owned())
        .collect();
    assert_eq!(
        relative,
        keys(&server, &format!("s3://{BUCKET}"), Selection::default()).await
    );
    assert_eq!(skipped, []);
    assert_eq!(objects[0].size, LINES.len() as u64);
    assert_eq!(read(&source, &objects[0]).await.unwrap(), LINES.as_bytes());
}

#[tokio::test]
async fn a_folder_that_mirrors_a_bucket_is_pruned_like_it() {
    let server = S3Server::with_bucket(BUCKET);
    let folder = tempfile::tempdir().unwrap();
    let mut names = vec![
        "AWSLogs/123456789012/CloudTrail/us-east-1/2026/01/31/x.json.gz".to_owned(),
        "AWSLogs/own copy.log".to_owned(),
    ];
    for day in ["2026/01/30", "2026/01/31", "2026/02/01"] {
        for hour in ["00", "12"] {
            names.push(format!(
                "{PLAIN}/{day}/{}",
                file(&format!("{}T{hour}00Z", day.replace('/', "")))
            ));
        }
    }
    for name in &names {
        write(folder.path().join(name), LINES);
        server.put(BUCKET, name, LINES);
    }
    let selection = between("2026-01-31T11:00:00Z", "2026-01-31T12:00:00Z");
    let source = open(folder.path().to_str().unwrap(), &S3Settings::default())
        .await
        .unwrap();
    let (objects, skipped) = list(&source, selection.clone()).await.unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    let relative: Vec<_> = objects
        .iter()
        .map(|object| object.key[root.to_str().unwrap().len() + 1..].to_owned())
        .collect();
    assert_eq!(
        relative,
        [
            format!("{PLAIN}/2026/01/31/{}", file("20260131T1200Z")),
            "AWSLogs/own copy.log".to_owned()
        ]
    );
    assert_eq!(
        relative,
        keys(&server, &format!("s3://{BUCKET}"), selection).await
    );
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].1, "folder of `CloudTrail`, not of VPC flow logs");
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_or_should_not_be_read_is_said() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    write(outside.path().join("secret.log"), LINES);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("a.log"), LINES);
    write(folder.path().join(".hidden/b.log"), LINES);
    write(folder.path().join(".DS_Store"), "x");
    symlink(folder.path().join("a.log"), folder.path().join("inside")).unwrap();
    symlink(outside.path(), folder.path().join("outside")).unwrap();
    symlink("nowhere", folder.path().join("dangling")).unwrap();
    symlink(folder.path(), folder.path().join("loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let source = open(folder.path().to_str().unwrap(), &S3Settings::default())
        .await
        .unwrap();
    let (objects, skipped) = list(&source, Selection::default()).await.unwrap();
    assert_eq!(objects.len(), 1);
    let said: Vec<_> = skipped
        .iter()
        .map(|(key, reason)| (key.rsplit('/').next().unwrap(), reason.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            (".DS_Store", "hidden"),
            (".hidden", "hidden"),
            ("dangling", "symbolic link that leads nowhere"),
            (
                "inside",
                "symbolic link: what it leads to is read under its own name"
            ),
            (
                "loop",
                "symbolic link: what it leads to is read under its own name"
            ),
            (
                "outside",
                "symbolic link that leads out of the folder: name its target to read it"
            ),
            ("socket", "not a regular file"),
        ]
    );
}

#[tokio::test]
async fn a_file_that_changes_or_goes_after_it_was_listed_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    write(&path, LINES);
    let source = open(path.to_str().unwrap(), &S3Settings::default())
        .await
        .unwrap();
    let (objects, _) = list(&source, Selection::default()).await.unwrap();
    write(&path, "other and longer\n".repeat(3));
    let changed = source.fetch(&objects[0]).await.err().unwrap();
    assert!(
        matches!(changed, SourceError::Changed { .. }) && changed.is_object_only(),
        "{changed}"
    );
    fs::remove_file(&path).unwrap();
    let gone = source.fetch(&objects[0]).await.err().unwrap();
    assert!(
        matches!(gone, SourceError::Gone { .. }) && gone.is_object_only(),
        "{gone}"
    );
}

#[tokio::test]
async fn a_file_that_was_named_is_read_whatever_the_selection_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file("20200101T0000Z"));
    write(&path, gz(LINES.as_bytes()));
    let source = open(path.to_str().unwrap(), &S3Settings::default())
        .await
        .unwrap();
    let (objects, _) = list(
        &source,
        between("2026-01-31T11:00:00Z", "2026-01-31T12:00:00Z"),
    )
    .await
    .unwrap();
    assert_eq!(objects[0].name.as_ref().unwrap().region, "us-east-1");
    assert_eq!(read(&source, &objects[0]).await.unwrap(), LINES.as_bytes());
}

#[tokio::test]
async fn a_path_that_is_not_there_is_one_clear_line() {
    let error = open("/nonexistent/logs", &S3Settings::default())
        .await
        .unwrap_err();
    let expected = (
        "cannot read `/nonexistent/logs`".to_owned(),
        "check the path; for a bucket write `s3://bucket/prefix`".to_owned(),
    );
    assert_eq!(hinted(&error), expected);
    assert!(!error.is_object_only());
}

#[tokio::test]
async fn standard_input_is_one_object_that_never_comes_twice() {
    let source = open("-", &S3Settings::default()).await.unwrap();
    let (first, _) = list(&source, Selection::default()).await.unwrap();
    let (second, _) = list(&source, Selection::default()).await.unwrap();
    assert_eq!(
        (first[0].key.as_str(), source.describe().as_str()),
        ("-", "standard input")
    );
    assert_ne!(first[0].etag, second[0].etag);
}

// ---- S3: listing ----

#[tokio::test]
async fn every_layout_is_found_from_wherever_the_user_points() {
    let server = S3Server::with_bucket(BUCKET);
    let name = file("20260131T1200Z");
    let layouts = [
        format!("{PLAIN}/2026/01/31"),
        format!("{PLAIN}/2026/01/31/12"),
        format!("{HIVE}/year=2026/month=01/day=31"),
        format!("{HIVE}/year=2026/month=01/day=31/hour=12"),
        format!(
            "{}/year=2026/month=01/day=31",
            HIVE.replace("aws-service", "service")
        ),
        format!(
            "AWSLogs/o-a1b2c3d4e5/{}/2026/01/31",
            PLAIN.strip_prefix("AWSLogs/").unwrap()
        ),
        format!("team a/more/{PLAIN}/2026/01/31"),
    ];
    for folder in &layouts {
        server.put(BUCKET, &format!("{folder}/{name}"), LINES);
    }
    server.put(
        BUCKET,
        "AWSLogs/123456789012/CloudTrail/us-east-1/2026/01/31/x.json.gz",
        "{}",
    );
    for folder in &layouts {
        let key = format!("{folder}/{name}");
        let mut point = key.as_str();
        loop {
            for url in [
                format!("s3://{BUCKET}/{point}"),
                format!("s3://{BUCKET}/{point}/"),
            ] {
                if point == key && url.ends_with('/') {
                    continue;
                }
                let selection = between("2026-01-31T11:00:00Z", "2026-01-31T13:00:00Z");
                assert!(
                    keys(&server, &url, selection).await.contains(&key),
                    "{key} from {url}"
                );
            }
            let Some((parent, _)) = point.rsplit_once('/') else {
                break;
            };
            point = parent;
        }
    }
    let all = keys(&server, &format!("s3://{BUCKET}"), Selection::default()).await;
    assert_eq!(all.len(), layouts.len());
}

#[tokio::test]
async fn a_prefix_without_slash_is_a_folder_first_and_the_beginning_of_names_last() {
    let server = S3Server::with_bucket(BUCKET);
    for key in ["logs/a.log", "logs2/b.log", "logs-old/c.log"] {
        server.put(BUCKET, key, LINES);
    }
    assert_eq!(
        keys(
            &server,
            &format!("s3://{BUCKET}/logs"),
            Selection::default()
        )
        .await,
        ["logs/a.log"]
    );
    assert_eq!(
        keys(
            &server,
            &format!("s3://{BUCKET}/logs-"),
            Selection::default()
        )
        .await,
        ["logs-old/c.log"]
    );
    assert_eq!(
        keys(
            &server,
            &format!("s3://{BUCKET}/nothing"),
            Selection::default()
        )
        .await,
        [""; 0]
    );
}

#[tokio::test]
async fn more_than_a_page_of_keys_is_listed_once_each() {
    let server = S3Server::with_bucket(BUCKET);
    let expected: Vec<String> = (0..2_500)
        .map(|number| format!("copies/{number:05}.log"))
        .collect();
    for key in &expected {
        server.put(BUCKET, key, "");
    }
    assert_eq!(
        keys(
            &server,
            &format!("s3://{BUCKET}/copies/"),
            Selection::default()
        )
        .await,
        expected
    );
    assert_eq!(server.count("ListObjectsV2"), 3);
}

#[tokio::test]
async fn one_day_out_of_years_is_listed_alone() {
    let server = S3Server::with_bucket(BUCKET);
    server.set_page_size(10);
    let mut day = chrono::NaiveDate::from_ymd_opt(2023, 1, 1).unwrap();
    let mut stored = 0;
    while day < chrono::NaiveDate::from_ymd_opt(2026, 7, 1).unwrap() {
        for hour in [0, 6, 12, 18] {
            let slot = file(
                &day.and_hms_opt(hour, 0, 0)
                    .unwrap()
                    .format("%Y%m%dT%H%MZ")
                    .to_string(),
            );
            server.put(
                BUCKET,
                &format!("{PLAIN}/{}/{slot}", day.format("%Y/%m/%d")),
                LINES,
            );
            server.put(
                BUCKET,
                &format!("{HIVE}/{}/{slot}", day.format("year=%Y/month=%m/day=%d")),
                LINES,
            );
            server.put(
                BUCKET,
                &format!(
                    "AWSLogs/123456789012/CloudTrail/us-east-1/{}/{slot}.json",
                    day.format("%Y/%m/%d")
                ),
                "{}",
            );
            stored += 3;
        }
        day = day.succ_opt().unwrap();
    }
    let listed = keys(
        &server,
        &format!("s3://{BUCKET}/"),
        between("2025-03-04T00:00:00Z", "2025-03-05T00:00:00Z"),
    )
    .await;
    let slots = [
        "20250304T0000Z",
        "20250304T0600Z",
        "20250304T1200Z",
        "20250304T1800Z",
        "20250305T0000Z",
    ];
    let expected: Vec<String> = [
        (PLAIN, ["2025/03/04", "2025/03/05"]),
        (
            HIVE,
            ["year=2025/month=03/day=04", "year=2025/month=03/day=05"],
        ),
    ]
    .iter()
    .flat_map(|(region, days)| {
        slots.map(|slot| {
            format!(
                "{region}/{}/{}",
                days[usize::from(slot.starts_with("20250305"))],
                file(slot)
            )
        })
    })
    .collect();
    assert_eq!(listed, expected);
    assert!(
        server.listed_keys() < 200,
        "{} of {stored} keys were listed",
        server.listed_keys()
    );
}

#[tokio::test]
async fn other_accounts_and_regions_are_jumped_over() {
    let server = S3Server::with_bucket(BUCKET);
    server.set_page_size(10);
    let mut wanted = Vec::new();
    for account in ["111111111111", "222222222222", "333333333333"] {
        for region in ["eu-west-1", "us-east-1", "us-west-2"] {
            for minute in 0..60 {
                let name = format!(
                    "{account}_vpcflowlogs_{region}_fl-01_20260131T12{minute:02}Z_1a.log.gz"
                );
                let key = format!("AWSLogs/{account}/vpcflowlogs/{region}/2026/01/31/{name}");
                server.put(BUCKET, &key, LINES);
                if account == "222222222222" && region == "us-east-1" {
                    wanted.push(key);
                }
            }
        }
    }
    let selection = Selection {
        accounts: vec!["222222222222".into()],
        regions: vec!["us-east-1".into()],
        ..Selection::default()
    };
    assert_eq!(
        keys(&server, &format!("s3://{BUCKET}"), selection).await,
        wanted
    );
    assert!(
        server.listed_keys() < 120,
        "{} of 540 keys were listed",
        server.listed_keys()
    );
}

#[tokio::test]
async fn other_services_and_markers_are_told_once_and_never_fetched() {
    let server = S3Server::with_bucket(BUCKET);
    server.set_page_size(5);
    for number in 0..40 {
        server.put(
            BUCKET,
            &format!("AWSLogs/123456789012/CloudTrail/us-east-1/2026/01/31/{number}.json.gz"),
            "{}",
        );
        server.put(
            BUCKET,
            &format!(
                "AWSLogs/123456789012/elasticloadbalancing/us-east-1/2026/01/31/{number}.log.gz"
            ),
            "",
        );
    }
    server.put(BUCKET, "AWSLogs/", "");
    server.put(BUCKET, "AWSLogs/123456789012/ELBAccessLogTestFile", "");
    server.put(
        BUCKET,
        "copies/123456789012_CloudTrail_us-east-1_20260131T2355Z_abc.json.gz",
        "{}",
    );
    server.put(BUCKET, "copies/anything", LINES);
    server.put(
        BUCKET,
        &format!("{PLAIN}/2026/01/31/{}", file("20260131T1200Z")),
        LINES,
    );
    let source = open(&format!("s3://{BUCKET}"), &server.settings())
        .await
        .unwrap();
    let (objects, skipped) = list(&source, Selection::default()).await.unwrap();
    assert_eq!(objects.len(), 2);
    let skipped: Vec<_> = skipped
        .iter()
        .map(|(key, reason)| (key.as_str(), reason.as_str()))
        .collect();
    assert_eq!(
        skipped,
        [
            ("s3://flow-logs/AWSLogs/", "marker of a folder"),
            (
                "s3://flow-logs/AWSLogs/123456789012/CloudTrail/",
                "folder of `CloudTrail`, not of VPC flow logs"
            ),
            (
                "s3://flow-logs/AWSLogs/123456789012/ELBAccessLogTestFile",
                "test file that AWS writes to check its permission"
            ),
            (
                "s3://flow-logs/AWSLogs/123456789012/elasticloadbalancing/",
                "folder of `elasticloadbalancing`, not of VPC flow logs"
            ),
            (
                "s3://flow-logs/copies/123456789012_CloudTrail_us-east-1_20260131T2355Z_abc.json.gz",
                "log of `CloudTrail`, not a VPC flow log"
            ),
        ]
    );
    assert!(server.count("ListObjectsV2") <= 5);
    assert_eq!(server.count("GetObject"), 0);
}

#[tokio::test]
async fn an_object_can_be_named_by_who_may_not_list() {
    let server = S3Server::with_bucket(BUCKET);
    server.inject(Fault::refuse("ListObjectsV2", "AccessDenied", 403));
    server.put(BUCKET, "one.log.gz", gz(LINES.as_bytes()));
    let source = open(&format!("s3://{BUCKET}/one.log.gz"), &server.settings())
        .await
        .unwrap();
    let (objects, _) = list(&source, Selection::default()).await.unwrap();
    assert_eq!(read(&source, &objects[0]).await.unwrap(), LINES.as_bytes());
}

// ---- S3: fetching ----

async fn one_object(server: &S3Server, body: Vec<u8>) -> (Source, Object) {
    server.put(BUCKET, "a.log.gz", body);
    let source = open(&format!("s3://{BUCKET}/"), &server.settings())
        .await
        .unwrap();
    let (mut objects, _) = list(&source, Selection::default()).await.unwrap();
    (source, objects.remove(0))
}

#[tokio::test]
async fn an_object_is_streamed_with_its_listed_etag() {
    let server = S3Server::with_bucket(BUCKET);
    let text = noise(5 << 20);
    let (source, object) = one_object(&server, gz(&text)).await;
    assert_eq!(object.etag.len(), 32);
    assert_eq!(read(&source, &object).await.unwrap(), text);
    let get = server
        .requests()
        .into_iter()
        .find(|request| request.operation == "GetObject")
        .unwrap();
    assert!(get.if_match);
    assert_eq!(server.gets(BUCKET, "a.log.gz"), 1);
}

#[tokio::test]
async fn a_broken_connection_is_taken_up_where_it_broke() {
    let server = S3Server::with_bucket(BUCKET);
    let text = noise(1 << 20);
    let (source, object) = one_object(&server, gz(&text)).await;
    server.inject(Fault::cut_body(300_000).times(2));
    assert_eq!(read(&source, &object).await.unwrap(), text);
    let gets: Vec<bool> = server
        .requests()
        .into_iter()
        .filter(|request| request.operation == "GetObject")
        .map(|request| request.range)
        .collect();
    assert_eq!(gets, [false, true, true]);
}

#[tokio::test]
async fn an_object_that_changes_while_it_is_read_is_an_error_that_names_it() {
    let server = S3Server::with_bucket(BUCKET);
    let (source, object) = one_object(&server, gz(&noise(1 << 20))).await;
    server.inject(Fault::cut_body(300_000).times(1));
    let mut raw = source.fetch(&object).await.unwrap();
    server.put(BUCKET, "a.log.gz", gz(&noise(2 << 20)));
    let error = tokio::task::spawn_blocking(move || raw.read_to_end(&mut Vec::new()).unwrap_err())
        .await
        .unwrap();
    let text = error.to_string();
    assert!(
        text.starts_with("cannot read `s3://flow-logs/a.log.gz` beyond byte 300000: "),
        "{text}"
    );
    assert!(text.contains("has changed since it was listed"), "{text}");
}

#[tokio::test]
async fn a_connection_that_always_breaks_is_given_up() {
    let server = S3Server::with_bucket(BUCKET);
    let (source, object) = one_object(&server, gz(&noise(1 << 20))).await;
    server.inject(Fault::cut_body(0));
    let mut raw = source.fetch(&object).await.unwrap();
    let error = tokio::task::spawn_blocking(move || raw.read_to_end(&mut Vec::new()).unwrap_err())
        .await
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("cannot read `s3://flow-logs/a.log.gz` beyond byte 0: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_reader_that_is_dropped_ends_the_download() {
    let server = S3Server::with_bucket(BUCKET);
    let (source, object) = one_object(&server, noise(8 << 20)).await;
    let mut raw = source.fetch(&object).await.unwrap();
    let first = tokio::task::spawn_blocking(move || raw.read(&mut [0; 10]))
        .await
        .unwrap()
        .unwrap();
    assert!(first > 0);
}

#[tokio::test]
async fn objects_fail_one_by_one() {
    let server = S3Server::with_bucket(BUCKET);
    let (source, object) = one_object(&server, gz(LINES.as_bytes())).await;
    let cases = [
        (
            "AccessDenied",
            403,
            "access to `s3://flow-logs/a.log.gz` is denied: made to fail",
        ),
        (
            "InvalidObjectState",
            403,
            "`s3://flow-logs/a.log.gz` is archived and cannot be read until it is restored",
        ),
    ];
    for (code, status, expected) in cases {
        server.inject(Fault::refuse("GetObject", code, status).times(1));
        let error = source.fetch(&object).await.err().unwrap();
        assert_eq!(error.to_string(), expected);
        assert!(error.is_object_only() && error.hint().is_some());
    }
    server.put(BUCKET, "a.log.gz", "changed");
    assert!(matches!(
        source.fetch(&object).await.err().unwrap(),
        SourceError::Changed { .. }
    ));
    server.remove(BUCKET, "a.log.gz");
    assert!(matches!(
        source.fetch(&object).await.err().unwrap(),
        SourceError::Gone { .. }
    ));
}

#[tokio::test]
async fn a_busy_store_is_asked_again() {
    let server = S3Server::with_bucket(BUCKET);
    let (source, object) = one_object(&server, gz(LINES.as_bytes())).await;
    server.inject(Fault::refuse("GetObject", "SlowDown", 503).times(2));
    assert_eq!(read(&source, &object).await.unwrap(), LINES.as_bytes());
    server.inject(Fault::refuse("GetObject", "InternalError", 500));
    let error = source.fetch(&object).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "S3 failed on `s3://flow-logs/a.log.gz` with status 500: InternalError: made to fail"
    );
    assert!(error.is_object_only());
}

// ---- S3: regions, payers, and what goes wrong before anything is read ----

#[tokio::test]
async fn a_bucket_in_another_region_is_found() {
    let server = S3Server::start();
    server.create_bucket(BUCKET, "eu-central-1");
    server.put(BUCKET, "a.log", LINES);
    for region in [
        None,
        Some("us-east-1"),
        Some("ap-southeast-2"),
        Some("eu-central-1"),
    ] {
        let settings = S3Settings {
            region: region.map(str::to_owned),
            ..server.settings()
        };
        let source = open(&format!("s3://{BUCKET}"), &settings).await.unwrap();
        let (objects, _) = list(&source, Selection::default()).await.unwrap();
        assert_eq!(read(&source, &objects[0]).await.unwrap(), LINES.as_bytes());
    }
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.operation == "HeadBucket" || request.region == "eu-central-1")
    );
}

#[tokio::test]
async fn the_requester_pays_for_every_request_if_told_to() {
    let server = S3Server::with_bucket(BUCKET);
    server.set_requester_pays(BUCKET);
    server.put(BUCKET, "a.log", LINES);
    let url = format!("s3://{BUCKET}/a");
    let refused = list(
        &open(&url, &server.settings()).await.unwrap(),
        Selection::default(),
    )
    .await
    .unwrap_err();
    assert!(refused.hint().unwrap().contains("--requester-pays"));
    server.forget_requests();
    let settings = S3Settings {
        requester_pays: true,
        ..server.settings()
    };
    let source = open(&url, &settings).await.unwrap();
    let (objects, _) = list(&source, Selection::default()).await.unwrap();
    assert_eq!(read(&source, &objects[0]).await.unwrap(), LINES.as_bytes());
    let operations: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|request| request.requester_pays)
        .map(|request| request.operation)
        .collect();
    assert_eq!(
        operations,
        ["HeadObject", "ListObjectsV2", "ListObjectsV2", "GetObject"]
    );
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_one_clear_line() {
    let server = S3Server::start();
    let error = open("s3://no-such-bucket/x", &server.settings())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "bucket `no-such-bucket` does not exist at {}",
            server.endpoint()
        )
    );
    assert_eq!(
        error.hint().unwrap(),
        "check the bucket's name, and `AWS_ENDPOINT_URL` if it is not on AWS"
    );
}

async fn listing_error(settings: &S3Settings) -> SourceError {
    match open(&format!("s3://{BUCKET}/logs/"), settings).await {
        Err(error) => error,
        Ok(source) => list(&source, Selection::default()).await.unwrap_err(),
    }
}

#[tokio::test]
async fn credentials_that_are_not_accepted_are_told_apart() {
    let server = S3Server::with_bucket(BUCKET);
    let unknown = S3Settings {
        credentials: Some(credentials("AKIDNOBODY", "x")),
        ..server.settings()
    };
    let error = listing_error(&unknown).await;
    assert_eq!(
        error.to_string(),
        "S3 does not accept the credentials for `s3://flow-logs/logs/`: InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records."
    );
    let wrong = S3Settings {
        credentials: Some(credentials(crate::s3_server::ACCESS_KEY, "x")),
        ..server.settings()
    };
    let error = listing_error(&wrong).await;
    assert!(
        error.to_string().contains("SignatureDoesNotMatch"),
        "{error}"
    );
    assert!(!error.is_object_only());
    server.inject(Fault::refuse("ListObjectsV2", "ExpiredToken", 400).times(1));
    let error = listing_error(&server.settings()).await;
    assert_eq!(
        error.hint().unwrap(),
        "the session has expired: sign in again, for example with `aws sso login`"
    );
}

#[tokio::test]
async fn a_listing_that_is_denied_and_a_wrong_clock_are_told() {
    let server = S3Server::with_bucket(BUCKET);
    server.inject(Fault::refuse("ListObjectsV2", "AccessDenied", 403).times(1));
    let denied = listing_error(&server.settings()).await;
    assert_eq!(
        denied.to_string(),
        "listing `s3://flow-logs/logs/` is denied: made to fail"
    );
    assert!(!denied.is_object_only() && denied.hint().unwrap().contains("s3:ListBucket"));
    server.inject(Fault::refuse("ListObjectsV2", "RequestTimeTooSkewed", 403));
    let skewed = listing_error(&server.settings()).await;
    assert!(matches!(skewed, SourceError::ClockSkew { .. }), "{skewed}");
}

#[tokio::test]
async fn a_region_that_stays_wrong_is_told() {
    let server = S3Server::with_bucket(BUCKET);
    server.inject(Fault::refuse(
        "ListObjectsV2",
        "AuthorizationHeaderMalformed",
        400,
    ));
    let error = listing_error(&server.settings()).await;
    assert_eq!(
        error.to_string(),
        format!("bucket `flow-logs` is not in region `{REGION}`: made to fail")
    );
    assert_eq!(
        error.hint().unwrap(),
        "set `AWS_REGION` to the bucket's region"
    );
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_told_within_seconds() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let settings = S3Settings {
        endpoint_url: Some(format!("http://{free}")),
        region: Some(REGION.into()),
        credentials: Some(credentials("x", "x")),
        ..S3Settings::default()
    };
    let started = Instant::now();
    let error = open("s3://flow-logs", &settings).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("cannot reach http://{free}: ")) && text.contains("refused"),
        "{text}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn no_credentials_is_told_within_seconds() {
    let server = S3Server::with_bucket(BUCKET);
    let nobody = aws_config::profile::ProfileFileCredentialsProvider::builder()
        .profile_name("flowscout-no-such-profile")
        .build();
    let provider = aws_sdk_s3::config::SharedCredentialsProvider::new(nobody);
    let started = Instant::now();
    let error = listing_error(&S3Settings {
        credentials: Some(provider),
        ..server.settings()
    })
    .await;
    assert!(
        matches!(error, SourceError::NoCredentials { .. }),
        "{error}"
    );
    assert!(
        error.to_string().starts_with("found no AWS credentials: "),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("AWS_PROFILE"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_empty_prefix_is_an_empty_listing() {
    let server = S3Server::with_bucket(BUCKET);
    let source = open(&format!("s3://{BUCKET}/nothing/here"), &server.settings())
        .await
        .unwrap();
    assert_eq!(
        list(&source, Selection::default()).await.unwrap(),
        (vec![], vec![])
    );
    assert_eq!(source.describe(), "s3://flow-logs/nothing/here");
}
