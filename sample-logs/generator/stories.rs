//! What must be found: all of it happens on the last day. `README.md` tells each story.

use super::network::{COLLECTOR_V6, CONTROL, FORMER_VISITOR};
use super::recorder::{DAY, HOUR, LAST_DAY, MINUTE, Recorder};

pub(crate) fn record(recorder: &mut Recorder) {
    stolen_data(recorder);
    database_on_ipv6(recorder);
    server_turned_client(recorder);
    runner_in_production(recorder);
    cache_from_the_other_zone(recorder);
    flood_on_remote_desktop(recorder);
    web_server_at_the_database(recorder);
}

/// `egress_unexpected`: app-a calls a stranger every ten minutes, and uploads for forty.
fn stolen_data(recorder: &mut Recorder) {
    let begin = LAST_DAY + 2 * HOUR + 10 * MINUTE;
    for call in 0..16 {
        recorder.tcp(
            "app-a",
            CONTROL,
            4444,
            begin + call * 10 * MINUTE,
            (1_400 + call, 900),
        );
    }
    recorder.long_tcp(
        "app-a",
        CONTROL,
        8443,
        begin + 21 * MINUTE,
        40,
        (2_400_000, 31_000),
    );
}

/// `egress_unexpected`: db-b is isolated in IPv4, but its route table sends `::/0` to the internet gateway.
fn database_on_ipv6(recorder: &mut Recorder) {
    for call in 0..12 {
        let start = LAST_DAY + 5 * HOUR + call * 10 * MINUTE;
        recorder.tcp(
            "db-b",
            COLLECTOR_V6,
            443,
            start,
            (310_000 + call * 100, 8_000),
        );
    }
}

/// `egress_unexpected`: edge, a public server, opens SSH to where a visitor came from two days before.
fn server_turned_client(recorder: &mut Recorder) {
    for visit in 0..4 {
        recorder.tcp(
            FORMER_VISITOR,
            "edge",
            443,
            LAST_DAY - 2 * DAY + (9 + visit) * HOUR,
            (2_100, 14_000),
        );
    }
    let begin = LAST_DAY + 6 * HOUR;
    for call in 0..2 {
        recorder.tcp(
            "edge",
            FORMER_VISITOR,
            22,
            begin + call * 5 * MINUTE,
            (4_800, 5_200),
        );
    }
    recorder.long_tcp(
        "edge",
        FORMER_VISITOR,
        22,
        begin + 15 * MINUTE,
        8,
        (120_000, 16_000),
    );
}

/// `east_west_private`: the build runner reads production's database, and goes on with SSH after it should have stopped.
fn runner_in_production(recorder: &mut Recorder) {
    for call in 0..6 {
        let start = LAST_DAY + 10 * HOUR + (20 + call * 8) * MINUTE;
        recorder.tcp(
            "runner",
            "db-a",
            5432,
            start,
            (12_000, 7_800_000 + call * 1_000),
        );
    }
    for days_before in 0..4 {
        let start = LAST_DAY - days_before * DAY + 13 * HOUR + 10 * MINUTE;
        recorder.long_tcp("runner", "app-b", 22, start, 3, (45_000, 21_000));
    }
}

/// `east_west_private`: the host that steals data reads the cache, which is for the other zone's hosts.
fn cache_from_the_other_zone(recorder: &mut Recorder) {
    for call in 0..7 {
        let start = LAST_DAY + 4 * HOUR + call * 9 * MINUTE;
        recorder.tcp(
            "app-a",
            "cache-b",
            6379,
            start,
            (2_600, 940_000 + call * 1_000),
        );
    }
}

/// `reject_spike`: three networks try port 3389 on public-b, past the NACL and up to the security groups.
fn flood_on_remote_desktop(recorder: &mut Recorder) {
    for attempt in 0..640 {
        let (network, first) =
            recorder
                .random
                .pick(&[("192.0.2", 128), ("198.51.100", 160), ("203.0.113", 160)]);
        let source = format!("{network}.{}", recorder.random.between(first, first + 31));
        let target = recorder.random.pick(&["alb-b", "edge"]);
        recorder.refused(
            &source,
            target,
            3389,
            LAST_DAY + 14 * HOUR + 3 * MINUTE + attempt * 5,
        );
    }
}

/// `reject_spike`: web-b was given the database's address instead of the app's, and goes on trying.
fn web_server_at_the_database(recorder: &mut Recorder) {
    for attempt in 0..168 {
        recorder.refused(
            "web-b",
            "db-a",
            5432,
            LAST_DAY + 9 * HOUR + 2 * MINUTE + attempt * 20,
        );
    }
}
