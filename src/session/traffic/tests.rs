use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use chrono::DateTime;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::ExecutionPlan;

use super::columns::{Chunk, SCHEMA, batch};
use super::input::INPUT;
use super::possible::Asked;
use super::refusal::Judging;
use super::run::{Job, Taker};
use super::slices::{MARGIN_MICROS, Records, Slice};
use crate::batch::{ReadOptions, TextLayout, flows_schema, read_object};
use crate::session::context;
use crate::session::flows_table::viewed;
use crate::topology::{History, Settings};

const HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status \
    tcp-flags flow-direction";

/// Intervals of three minutes around a midnight, from more than two hours before it on.
const INTERVALS: std::ops::Range<i64> = -50..50;
const INTERVAL_SECS: i64 = 180;

fn midnight() -> i64 {
    "2026-03-11T00:00:00Z"
        .parse::<DateTime<chrono::Utc>>()
        .unwrap()
        .timestamp()
}

/// Long connections, recorded at both ends and with flags only at their start, and packets that are refused after midnight.
fn lines(interval: i64) -> Vec<String> {
    let start = midnight() + interval * INTERVAL_SECS;
    let line = |interface: &str,
                src: (u8, u16),
                dst: (u8, u16),
                action: &str,
                flags: i32,
                way: &str| {
        format!(
            "2 111111111111 {interface} 10.0.0.{} 10.0.0.{} {} {} 6 {} {} {start} {} {action} OK {flags} {way}",
            src.0,
            dst.0,
            src.1,
            dst.1,
            3 + interval.rem_euclid(5),
            300 + interval.rem_euclid(7),
            start + INTERVAL_SECS - 1
        )
    };
    let is_first = interval == INTERVALS.start;
    let (syn, syn_ack) = if is_first { (2, 18) } else { (0, 0) };
    let mut lines = Vec::new();
    for client in 1..=3 {
        // Ports of which none is a service's: only the flags tell.
        let (client, server) = ((client, 20_000 + u16::from(client)), (9, 21_000));
        let own = format!("eni-{}", client.0);
        lines.push(line(&own, client, server, "ACCEPT", syn, "egress"));
        lines.push(line("eni-9", client, server, "ACCEPT", syn, "ingress"));
        lines.push(line("eni-9", server, client, "ACCEPT", syn_ack, "egress"));
        lines.push(line(&own, server, client, "ACCEPT", syn_ack, "ingress"));
    }
    if interval % 5 == 3 {
        lines.push(line("eni-9", (4, 40_000), (9, 22), "REJECT", 2, "ingress"));
        lines.push(line(
            "eni-9",
            (1, 20_001),
            (9, 21_000),
            "REJECT",
            1,
            "ingress",
        ));
    }
    lines
}

fn flows(intervals: impl Iterator<Item = i64>) -> Arc<MemTable> {
    let mut text = format!("{HEADER}\n");
    for line in intervals.flat_map(lines) {
        text.push_str(&line);
        text.push('\n');
    }
    let schema = viewed(&flows_schema());
    let options = ReadOptions {
        batch_rows: 1000,
        texts: TextLayout::Views,
        ..ReadOptions::new("logs/a.log")
    };
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut take = |batch: RecordBatch| {
        batches.push(batch);
        ControlFlow::Continue(())
    };
    read_object(text.as_bytes(), &options, &mut take).unwrap();
    Arc::new(MemTable::try_new(schema, vec![batches]).unwrap())
}

async fn scan(flows: Arc<MemTable>) -> Arc<dyn ExecutionPlan> {
    let schema = flows.schema();
    let input: Vec<usize> = INPUT
        .iter()
        .map(|name| schema.index_of(name).unwrap())
        .collect();
    let state = context().state();
    flows.scan(&state, Some(&input), &[], None).await.unwrap()
}

#[derive(Default)]
struct All(Mutex<Vec<Chunk>>);

impl Taker for All {
    fn take(&self, chunk: Chunk) -> bool {
        self.0.lock().unwrap().push(chunk);
        true
    }

    fn is_there(&self) -> bool {
        true
    }
}

/// Every row of the answer as text, sorted.
async fn rows(slices: Vec<Slice>) -> Vec<String> {
    let job = Job {
        slices,
        history: Arc::new(History::new(Vec::new(), Settings::default())),
        bounds: Vec::new(),
        tests: Vec::new(),
        asked: Asked::default(),
        with_flags: true,
        threads: 2,
        chunk_rows: 100,
    };
    let chunks = tokio::task::spawn_blocking(move || {
        let all = All::default();
        job.run(&context().task_ctx(), Judging::All, &all).unwrap();
        all.0.into_inner().unwrap()
    });
    let columns: Vec<usize> = (0..SCHEMA.fields().len()).collect();
    let mut rows: Vec<String> = Vec::new();
    for chunk in chunks.await.unwrap() {
        let batch = batch(&chunk, 0..chunk.rows.len(), &columns, &SCHEMA).unwrap();
        let text = pretty_format_batches(&[batch]).unwrap().to_string();
        let lines = text.lines().filter(|line| line.contains("2026-03"));
        rows.extend(lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_of_time_give_what_the_whole_gives() {
    let whole = Slice {
        records: Records::Elsewhere(scan(flows(INTERVALS)).await),
        until: i64::MAX,
    };
    let mut days = Vec::new();
    for (intervals, until) in [
        (INTERVALS.start..0, midnight() * 1_000_000 - MARGIN_MICROS),
        (0..INTERVALS.end, i64::MAX),
    ] {
        days.push(Slice {
            records: Records::Elsewhere(scan(flows(intervals)).await),
            until,
        });
    }
    let expected = rows(vec![whole]).await;
    assert_eq!(expected.len(), INTERVALS.flat_map(lines).count());
    assert!(expected.iter().any(|row| row.contains("late packet")));
    assert_eq!(rows(days).await, expected);
}
