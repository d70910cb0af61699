//! Seeded logs for the benches: the same bytes on every machine, made outside the timing.

#![allow(dead_code, reason = "each bench uses some of it")]

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The default format of version 2.
pub(crate) const V2: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";

/// What versions 3 to 5 add to it.
pub(crate) const V5: &str = "vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region az-id sublocation-type sublocation-id \
                      pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path";

/// Seconds since 1970 at which the logs begin: 2026-03-02 00:00 UTC.
pub(crate) const START: u64 = 1_772_409_600;

/// The address that a lookup looks for: of the few that are in few logs.
pub(crate) const RARE: &str = "198.51.100.77";

/// A generator of Steele, Lea and Flood's kind (SplitMix64): small, and the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One object's text: `rows` records that begin within ten minutes from `start`.
pub(crate) fn text(header: &str, rows: usize, start: u64, seed: u64) -> String {
    let mut random = Random(seed);
    let is_v5 = header != V2;
    let mut text = header.to_owned() + "\n";
    for row in 0..rows {
        let interface = random.below(1500);
        let ours = format!("10.20.{}.{}", interface / 250, interface % 250 + 4);
        // Few peers have most of the traffic.
        let peer = random.below(60_000) * random.below(1000) / 1000;
        let theirs = if random.below(100_000) == 0 {
            RARE.to_owned()
        } else {
            format!(
                "{}.{}.{}.{}",
                20 + peer % 150,
                peer / 256,
                peer % 251,
                peer % 253
            )
        };
        let ports = [443, 80, 53, 5432, 8080][usize::try_from(random.below(5)).unwrap_or(0)];
        let ephemeral = 1024 + random.below(64_000);
        let (source, destination, from, to) = if random.below(2) == 0 {
            (&ours, &theirs, ephemeral, ports)
        } else {
            (&theirs, &ours, ports, ephemeral)
        };
        let packets = 1 + random.below(8) * random.below(8);
        let begin = start + (row * 600 / rows) as u64;
        let action = if random.below(20) == 0 {
            "REJECT"
        } else {
            "ACCEPT"
        };
        let protocol = if ports == 53 { 17 } else { 6 };
        write!(
            text,
            "{} 123456789012 eni-0a{interface:015x} {source} {destination} {from} {to} {protocol} {packets} {} {begin} {} {action} OK",
            if is_v5 { 5 } else { 2 },
            packets * (40 + random.below(1400)),
            begin + 10 + random.below(50),
        )
        .expect("writing to a string cannot fail");
        if is_v5 {
            write!(
                text,
                " vpc-0123456789abcdef0 subnet-0{:016x} i-0b{interface:015x} {} IPv4 {source} {destination} eu-west-1 euw1-az{} - - - {} {} {}",
                interface % 12,
                [2, 3, 18, 19][usize::try_from(random.below(4)).unwrap_or(0)],
                1 + interface % 3,
                if random.below(10) == 0 { "S3" } else { "-" },
                if from > to { "egress" } else { "ingress" },
                if from > to { "8" } else { "-" },
            )
            .expect("writing to a string cannot fail");
        }
        text.push('\n');
    }
    text
}

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(text.as_bytes())
        .expect("writing to a vector cannot fail");
    encoder.finish().expect("writing to a vector cannot fail")
}

/// A folder with `objects` objects of `rows` rows each, ten minutes apart.
pub(crate) fn folder(header: &str, objects: u64, rows: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    for object in 0..objects {
        let text = text(header, rows, START + object * 600, object);
        let path = folder.path().join(format!("{object:04}.log.gz"));
        std::fs::write(path, gzip(&text)).expect("the folder takes files");
    }
    folder
}
