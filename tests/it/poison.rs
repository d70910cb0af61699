//! Objects that cannot be read: each kind is set aside with its reason, and can be tried again.

use crate::harness::{Place, V2};
use crate::running::{cut, gzip, rows, rows_in};

#[test]
fn retry_reads_again_what_was_set_aside() {
    let place = Place::new();
    place.put("logs/good.log.gz", rows(10));
    let bad = place.put("logs/bad.log.gz", cut(50));
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    for arguments in [
        &["ingest", "logs", "--retry", "--lake", "lake"][..],
        &["ingest", "--retry", "--lake", "lake"],
    ] {
        let ended = place.run(arguments).ok();
        assert!(
            ended.stderr.contains("1 known to be unreadable"),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    let info = place.run(&["lake", "info", "--lake", "lake"]).ok().rows();
    assert_eq!(
        info[0]["set_aside"].as_array().unwrap().len(),
        1,
        "{info:?}"
    );
    std::fs::write(&bad, rows(50)).unwrap();
    let ended = place.run(&["ingest", "--retry", "--lake", "lake"]).ok();
    assert!(
        ended.stderr.contains("read 1 objects: 50 rows"),
        "{}",
        ended.stderr
    );
    let ended = place.run(&["ingest", "--retry", "--lake", "lake"]).ok();
    assert!(ended.stderr.contains("read 0 objects"), "{}", ended.stderr);
    assert_eq!(rows_in(&place), 60);
}

#[test]
fn every_kind_of_poison_is_set_aside_with_its_reason() {
    let place = Place::new();
    let mut corrupt = rows(200);
    let middle = corrupt.len() / 2;
    corrupt[middle] ^= 0xff;
    let endless = [V2.as_bytes(), b"\n", &vec![b'x'; 300_000], b"\n"].concat();
    for (name, bytes) in [
        ("truncated.log.gz", cut(200)),
        ("corrupt.log.gz", corrupt),
        ("tail.log.gz", [rows(2), b"garbage".to_vec()].concat()),
        (
            "bomb.log.gz",
            gzip(&[V2.as_bytes(), &vec![b'\n'; 40 << 20]].concat()),
        ),
        (
            "damaged.log.parquet",
            [b"PAR1", &[7; 2000][..], b"PAR1"].concat(),
        ),
        ("endless.log", endless),
        (
            "picture.log.gz",
            gzip(&[0, 159, 146, 150, 0, 1, 2, 3].repeat(99)),
        ),
        ("good.log.gz", rows(10)),
    ] {
        place.put(&format!("logs/{name}"), bytes);
    }
    place.run(&["ingest", "logs", "--lake", "lake"]).ok();
    assert_eq!(rows_in(&place), 10);
    let objects = place.sql("SELECT regexp_replace(key, '.*/', '') AS name, outcome, reason, bad_lines FROM objects ORDER BY name");
    let told: Vec<String> = objects
        .iter()
        .map(|object| {
            let text = |name: &str| object[name].as_str().unwrap_or("-").to_owned();
            format!(
                "{}: {}: {} ({})",
                text("name"),
                text("outcome"),
                text("reason"),
                object["bad_lines"]
            )
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    bomb.log.gz: set_aside: cannot read the object to its end: gzip data inflates more than 200 times: no flow log does (0)
    corrupt.log.gz: set_aside: cannot read the object to its end: gzip data is damaged: corrupt gzip stream does not have a matching checksum (0)
    damaged.log.parquet: set_aside: cannot read the Parquet file: EOF: Parquet file too small. Size is 2008 but need 117901071 (0)
    endless.log: ingested: - (1)
    good.log.gz: ingested: - (0)
    picture.log.gz: skipped: a binary file (0)
    tail.log.gz: set_aside: cannot read the object to its end: unexpected data after the end of the gzip data: byte `0x67` (0)
    truncated.log.gz: set_aside: cannot read the object to its end: gzip data ends early: the object is truncated (0)
    ");
}
