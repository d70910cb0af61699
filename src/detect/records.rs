//! Sample records of findings: one scan of `traffic` for all of them, and of each finding a few are kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::Serialize;

use super::statement::{Statement, Test, Wanted};
use super::{DetectError, Finding, Status};
use crate::session::{Row, Session, SessionError, timestamp_scalar};

/// The columns of `traffic` that a record shows, and those that statements ask for.
const COLUMNS: [&str; 22] = [
    "start",
    "end",
    "interface_id",
    "direction",
    "src_addr",
    "src_port",
    "dst_addr",
    "dst_port",
    "protocol",
    "action",
    "packets",
    "bytes",
    "tcp_flags",
    "source",
    "subnet_id",
    "service_port",
    "src_subnet_id",
    "dst_subnet_id",
    "src_vpc_id",
    "dst_vpc_id",
    "src_interface_id",
    "dst_interface_id",
];

/// Their places.
const START: usize = 0;
const END: usize = 1;

/// A record as a finding cites it: as `traffic` has it, with the packet's own addresses. Sorted by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Record {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    interface_id: Option<String>,
    direction: Option<String>,
    src_addr: Option<String>,
    src_port: Option<i64>,
    dst_addr: Option<String>,
    dst_port: Option<i64>,
    protocol: Option<i64>,
    action: Option<String>,
    packets: Option<i64>,
    bytes: Option<i64>,
    tcp_flags: Option<i64>,
    /// The object that it came from.
    source: Option<String>,
}

/// Adds `records` to the evidence of findings: of the records that the statement of each shows, so many of the first, unless its
/// detection gives them. Those of a finding that is resolved stay as they were found.
///
/// # Errors
/// When the records can't be read.
pub async fn cite_records(
    session: &Session,
    findings: &mut [Finding],
    most: usize,
) -> Result<(), DetectError> {
    let is_resolved = |finding: &Finding| {
        let life = finding.life.as_ref();
        life.is_some_and(|life| life.status == Status::Resolved)
    };
    let numbered = findings.iter().enumerate();
    let mut sought: Vec<Sought> = numbered
        .filter(|(_, finding)| !is_resolved(finding))
        .filter_map(|(number, finding)| Sought::of(number, &Statement::of(finding)?))
        .collect();
    if most > 0 {
        find(session, &mut sought, most)
            .await
            .map_err(|source| DetectError::Records {
                source: Box::new(source),
            })?;
    }
    for sought in sought.into_iter().filter(|sought| !sought.kept.is_empty()) {
        let records = serde_json::to_value(sought.kept).expect("text and numbers are always JSON");
        let evidence = &mut findings[sought.finding].evidence;
        evidence.entry("records").or_insert(records);
    }
    Ok(())
}

/// What one finding looks for, and what it has.
struct Sought {
    /// Its number.
    finding: usize,
    /// Columns, of which one must have the value.
    tests: Vec<(Vec<usize>, Wanted)>,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    kept: BTreeSet<Record>,
}

impl Sought {
    /// `None` for a statement whose times or columns are none.
    fn of(finding: usize, statement: &Statement) -> Option<Self> {
        let places = |test: &Test| -> Option<(Vec<usize>, Wanted)> {
            let columns = test.columns.iter().map(|column| place(column));
            Some((columns.collect::<Option<_>>()?, test.value.clone()))
        };
        Some(Self {
            finding,
            tests: statement.tests.iter().map(places).collect::<Option<_>>()?,
            first: statement.first.parse().ok()?,
            last: statement.last.parse().ok()?,
            kept: BTreeSet::new(),
        })
    }

    /// The test that fewest records pass: that of an address, else of an interface, else of a subnet.
    fn narrowest(&self) -> Option<(&[usize], &str)> {
        let texts = self
            .tests
            .iter()
            .filter_map(|(columns, wanted)| match wanted {
                Wanted::Text(text) => Some((&columns[..], text.as_str())),
                Wanted::Number(_) => None,
            });
        let width = |columns: &[usize]| {
            let name = COLUMNS[columns[0]];
            let of_kind = |kind: &&str| name.ends_with(kind);
            ["addr", "interface_id", "subnet_id"]
                .iter()
                .position(of_kind)
                .unwrap_or(usize::MAX)
        };
        texts.min_by_key(|(columns, _)| width(columns))
    }

    /// Keeps a record that passes, if it is among the first.
    fn offer(&mut self, row: &Row<'_>, most: usize) {
        let passes = |(columns, wanted): &(Vec<usize>, Wanted)| {
            columns.iter().any(|&column| match wanted {
                Wanted::Text(text) => row.text(column) == Some(text.as_str()),
                Wanted::Number(number) => row.integer(column) == Some(*number),
            })
        };
        let (Some(start), Some(end)) = (row.time(START), row.time(END)) else {
            return;
        };
        let is_late = self.kept.len() >= most
            && self
                .kept
                .last()
                .is_some_and(|last| (last.start, last.end) < (start, end));
        if is_late || start > self.last || end < self.first || !self.tests.iter().all(passes) {
            return;
        }
        self.kept.insert(record(row, start, end));
        if self.kept.len() > most {
            self.kept.pop_last();
        }
    }
}

fn place(column: &str) -> Option<usize> {
    COLUMNS.iter().position(|name| *name == column)
}

/// One scan over the time of all that is sought. In memory are a batch and what is kept.
async fn find(session: &Session, sought: &mut [Sought], most: usize) -> Result<(), SessionError> {
    let first = sought.iter().map(|sought| sought.first).min();
    let last = sought.iter().map(|sought| sought.last).max();
    let Some((first, last)) = first.zip(last) else {
        return Ok(());
    };
    // A record is held against those alone that look for one of its values.
    let mut by_value: BTreeMap<usize, HashMap<String, Vec<usize>>> = BTreeMap::new();
    for (number, one) in sought.iter().enumerate() {
        let Some((columns, text)) = one.narrowest() else {
            continue;
        };
        for column in columns {
            let of_column = by_value.entry(*column).or_default();
            of_column.entry(text.to_owned()).or_default().push(number);
        }
    }
    let columns = COLUMNS.map(|name| format!("\"{name}\"")).join(", ");
    let sql = format!(
        "SELECT {columns} FROM traffic WHERE counted AND start <= $last AND \"end\" >= $first"
    );
    let values = vec![
        ("first".to_owned(), timestamp_scalar(first)),
        ("last".to_owned(), timestamp_scalar(last)),
    ];
    let frame = session.plan(&sql, values).await?;
    let mut batches = frame.execute_stream().await.map_err(SessionError::Run)?;
    while let Some(batch) = batches.try_next().await.map_err(SessionError::Run)? {
        for row in 0..batch.num_rows() {
            let row = Row { batch: &batch, row };
            for (column, values) in &by_value {
                let numbers = row.text(*column).and_then(|text| values.get(text));
                for &number in numbers.into_iter().flatten() {
                    sought[number].offer(&row, most);
                }
            }
        }
    }
    Ok(())
}

/// What a finding shows of a row of the scan.
fn record(row: &Row<'_>, start: DateTime<Utc>, end: DateTime<Utc>) -> Record {
    let text = |column: &str| row.text(place(column)?).map(str::to_owned);
    let number = |column: &str| row.integer(place(column)?);
    Record {
        start,
        end,
        interface_id: text("interface_id"),
        direction: text("direction"),
        src_addr: text("src_addr"),
        src_port: number("src_port"),
        dst_addr: text("dst_addr"),
        dst_port: number("dst_port"),
        protocol: number("protocol"),
        action: text("action"),
        packets: number("packets"),
        bytes: number("bytes"),
        tcp_flags: number("tcp_flags"),
        source: text("source"),
    }
}
