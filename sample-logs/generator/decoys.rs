//! What must not be found, though it looks like it. Everyday decoys are in `background`.

use super::network::OWN_SCANNER;
use super::recorder::{DAY, Exchange, FIN, HOUR, LAST_DAY, MINUTE, RST, Recorder};

pub(crate) fn record(recorder: &mut Recorder) {
    late_packets_with_flags(recorder);
    late_packets_without_flags(recorder);
    refused_at_the_far_side(recorder);
    expected_scan(recorder);
    long_download(recorder);
}

/// Visitors' packets after their connections closed: as many rejects as a flood, and none an attempt.
fn late_packets_with_flags(recorder: &mut Recorder) {
    let begin = LAST_DAY + 16 * HOUR + 5 * MINUTE;
    for packet in 0..300 {
        let client_flags = recorder.random.pick(&[0, FIN, RST, FIN | RST]);
        let visitor = format!("198.51.100.{}", recorder.random.between(1, 120));
        let ports = (recorder.port_of(&visitor), 443);
        let late = Exchange::new(&visitor, "alb-a", ports, begin + packet * 10);
        recorder.exchange(&Exchange {
            client_flags,
            is_accepted: false,
            ..late
        });
    }
}

/// The same in staging, whose log has no flags: only the accepted connection before tells.
fn late_packets_without_flags(recorder: &mut Recorder) {
    for connection in 0..60 {
        let (client, server, ports) = (
            "staging-app",
            "staging-db",
            (40_000 + connection * 37, 5432),
        );
        let opened = LAST_DAY + 11 * HOUR + connection * 8;
        recorder.exchange(&Exchange {
            seconds: 20,
            ..Exchange::tcp(client, server, ports, opened, (1_900, 8_800))
        });
        for retry in 1..=3 {
            let late = Exchange::new(client, server, ports, opened + retry * 10 * MINUTE);
            recorder.exchange(&Exchange {
                is_accepted: false,
                ..late
            });
        }
    }
}

/// Let out on the runner's side, refused on cache-b's: no connection between private subnets.
fn refused_at_the_far_side(recorder: &mut Recorder) {
    for attempt in 0..5 {
        recorder.refused(
            "runner",
            "cache-b",
            6379,
            LAST_DAY + 10 * HOUR + (40 + attempt) * MINUTE,
        );
    }
}

/// A spike that the policy expects: our own scan of public-a, the evening before.
fn expected_scan(recorder: &mut Recorder) {
    for attempt in 0..220 {
        let start = LAST_DAY - DAY + 20 * HOUR + 10 * MINUTE + attempt * 10;
        recorder.refused(OWN_SCANNER, "alb-a", 22, start);
    }
}

/// Half an hour of download by a visitor: after the first minute no flag tells that ours are replies.
fn long_download(recorder: &mut Recorder) {
    recorder.long_tcp(
        "198.51.100.77",
        "alb-b",
        443,
        LAST_DAY + 18 * HOUR,
        30,
        (20_000, 1_500_000),
    );
}
