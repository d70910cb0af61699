//! What goes on every day, so that there is a normal to compare with.

use super::network::{CODE_HOST, DYNAMODB, MIRROR, MIRROR_V6, PAYMENTS, S3, SESSION_MANAGER, TIME};
use super::recorder::{DAY, Exchange, FIRST_DAY, HOUR, ICMP, LAST_DAY, Recorder, SYN, UDP, load};

const SLOT: i64 = 600;

pub(crate) fn record(recorder: &mut Recorder) {
    for at in (FIRST_DAY..LAST_DAY + DAY).step_by(600) {
        let turn = (at - FIRST_DAY) / SLOT;
        website(recorder, at, turn);
        data(recorder, at, turn);
        staging(recorder, at, turn);
        internet_noise(recorder, at);
        if turn % 3 == 0 {
            every_half_hour(recorder, at);
        }
        if turn % 6 == 0 {
            every_hour(recorder, at);
        }
        if at % DAY == 3 * HOUR {
            nightly_updates(recorder, at);
        }
    }
}

/// A moment within the slot that begins at `at`, early enough for a minute's traffic to stay in it.
fn within(recorder: &mut Recorder, at: i64) -> i64 {
    at + recorder.random.between(0, SLOT - 70)
}

/// A connection within the slot that begins at `at`, with about so many bytes each way.
fn tcp(recorder: &mut Recorder, client: &str, server: &str, port: i64, at: i64, bytes: (i64, i64)) {
    let start = within(recorder, at);
    let bytes = (recorder.vary(bytes.0), recorder.vary(bytes.1));
    recorder.tcp(client, server, port, start, bytes);
}

/// Visitors, load balancers, web tier, app tier.
fn website(recorder: &mut Recorder, at: i64, turn: i64) {
    let is_busy = (13..=22).contains(&(at % DAY / HOUR));
    for balancer in ["alb-a", "alb-b"] {
        for _ in 0..if is_busy { 3 } else { 1 } {
            let visitor = visitor(recorder);
            tcp(recorder, &visitor, balancer, 443, at, (2_400, 38_000));
        }
    }
    if turn % 2 == 0 {
        let visitor = visitor(recorder);
        tcp(recorder, &visitor, "edge", 443, at, (1_800, 12_000));
    }
    // All balancers use both zones, turn by turn.
    let (web, other) = if turn % 2 == 0 {
        ("web-a", "web-b")
    } else {
        ("web-b", "web-a")
    };
    tcp(recorder, "alb-a", web, 8080, at, (3_000, 42_000));
    tcp(recorder, "alb-b", other, 8080, at, (3_000, 42_000));
    let balancer = if turn % 4 < 2 { "ilb-a" } else { "ilb-b" };
    let app = if turn % 8 < 4 { "app-a" } else { "app-b" };
    tcp(recorder, web, balancer, 8443, at, (4_000, 21_000));
    tcp(recorder, balancer, app, 8080, at, (4_100, 20_500));
}

fn visitor(recorder: &mut Recorder) -> String {
    let host = recorder.random.between(1, 120);
    match recorder.random.between(1, 4) {
        1 => format!("2001:db8:a:{host:x}::{:x}", host * 7),
        2 => format!("203.0.113.{}", 64 + host % 64),
        _ => format!("198.51.100.{host}"),
    }
}

/// Databases, cache, replication, object storage.
fn data(recorder: &mut Recorder, at: i64, turn: i64) {
    for app in ["app-a", "app-b"] {
        tcp(recorder, app, "db-a", 5432, at, (9_000, 64_000));
        let bucket = recorder.random.pick(&S3);
        tcp(recorder, app, bucket, 443, at, (24_000, 6_000));
    }
    tcp(recorder, "app-b", "cache-b", 6379, at, (1_500, 5_000));
    // One connection for all four days: no record shows how it began.
    recorder.exchange(&Exchange {
        seconds: 55,
        sent: (40 + turn % 5, 2_900 + turn % 70),
        received: Some((160 + turn % 11, 196_000 + turn % 900)),
        ..Exchange::new("db-b", "db-a", (41_872, 5432), at + 120)
    });
}

/// Staging has production's addresses: whose a record is, only its interface tells.
fn staging(recorder: &mut Recorder, at: i64, turn: i64) {
    tcp(
        recorder,
        "staging-app",
        "staging-db",
        5432,
        at,
        (2_000, 9_000),
    );
    if turn % 2 == 0 {
        tcp(
            recorder,
            "staging-app",
            "staging-cache",
            6379,
            at,
            (700, 900),
        );
    }
}

/// Strangers who try doors. Security groups refuse; a NAT gateway lets packets in and drops them.
fn internet_noise(recorder: &mut Recorder, at: i64) {
    // Telnet, all day long, at a rate that would be a spike if it were new.
    for _ in 0..recorder.random.between(17, 20) {
        let scanner = format!("192.0.2.{}", recorder.random.between(64, 95));
        let start = within(recorder, at);
        recorder.refused(&scanner, "alb-a", 23, start);
    }
    for target in ["alb-a", "alb-b", "edge"] {
        let scanner = format!("192.0.2.{}", recorder.random.between(96, 127));
        let port = recorder
            .random
            .pick(&[22, 445, 1433, 3389, 5900, 6379, 8080, 8443, 9200]);
        let start = within(recorder, at);
        recorder.refused(&scanner, target, port, start);
    }
    let nat = recorder
        .random
        .pick(&["nat-a", "nat-b", "staging-nat", "tools-nat"]);
    let scanner = format!("192.0.2.{}", recorder.random.between(96, 127));
    let ports = (
        recorder.port_of(&scanner),
        recorder.random.pick(&[22, 443, 3389, 8443]),
    );
    let start = within(recorder, at);
    let unanswered = Exchange::new(&scanner, nat, ports, start);
    recorder.exchange(&Exchange {
        client_flags: SYN,
        ..unanswered
    });
}

/// Metrics over the peering, our own resolver, the code host.
fn every_half_hour(recorder: &mut Recorder, at: i64) {
    for host in ["web-a", "web-b", "app-a", "app-b"] {
        tcp(recorder, "monitor", host, 9100, at, (600, 48_000));
    }
    tcp(recorder, "monitor", "db-a", 9187, at, (600, 31_000));
    for client in ["web-b", "app-b"] {
        let port = recorder.port_of(client);
        datagrams(recorder, client, "resolver", UDP, (port, 53), at);
    }
    tcp(recorder, "runner", CODE_HOST, 443, at, (5_000, 180_000));
}

fn every_hour(recorder: &mut Recorder, at: i64) {
    for app in ["app-a", "app-b"] {
        tcp(recorder, app, PAYMENTS, 443, at, (3_500, 4_200));
    }
    let table = recorder.random.pick(&DYNAMODB);
    tcp(recorder, "app-a", table, 443, at, (2_000, 3_000));
    let bucket = recorder.random.pick(&S3);
    tcp(recorder, "runner", bucket, 443, at, (90_000, 4_000));
    tcp(
        recorder,
        "bastion",
        SESSION_MANAGER,
        443,
        at,
        (8_000, 9_000),
    );
    for client in ["app-a", "edge", "runner"] {
        datagrams(recorder, client, TIME, UDP, (123, 123), at);
    }
    for target in ["web-a", "db-a"] {
        datagrams(recorder, "monitor", target, ICMP, (0, 0), at);
    }
    let is_office_hour = (8..18).contains(&(at % DAY / HOUR));
    if is_office_hour && recorder.random.between(1, 2) == 1 {
        let target = recorder.random.pick(&["app-b", "db-a", "db-b"]);
        tcp(recorder, "bastion", target, 22, at, (14_000, 52_000));
    }
    for idle in ["spare", "runner-idle"] {
        recorder.gap(idle, at, "NODATA");
    }
    // Twice AWS dropped what it should have recorded; nobody knows how much.
    match (at - FIRST_DAY) / HOUR {
        29 => recorder.gap("app-b", at, "SKIPDATA"),
        44 => recorder.gap("staging-nat", at, "SKIPDATA"),
        _ => {}
    }
}

fn nightly_updates(recorder: &mut Recorder, at: i64) {
    for host in [
        "web-a",
        "web-b",
        "app-a",
        "app-b",
        "bastion",
        "resolver",
        "staging-app",
        "runner",
        "monitor",
    ] {
        tcp(recorder, host, MIRROR, 443, at, (6_000, 2_400_000));
    }
    tcp(recorder, "app-b", MIRROR_V6, 443, at, (6_000, 1_900_000));
}

/// A question and its answer. Of ICMP, AWS records neither type nor code, and has no ports.
fn datagrams(
    recorder: &mut Recorder,
    client: &str,
    server: &str,
    protocol: i64,
    ports: (i64, i64),
    at: i64,
) {
    let start = within(recorder, at);
    let sent = load(recorder.random.between(300, 900));
    recorder.exchange(&Exchange {
        protocol,
        seconds: 4,
        sent,
        received: Some(sent),
        ..Exchange::new(client, server, ports, start)
    });
}
