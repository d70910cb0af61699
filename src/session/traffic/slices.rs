//! Cuts a scan into slices of time that are worked on one after the other, so that memory depends on a day and not on the range.
//!
//! ```text
//! files of    │      Monday      │     Tuesday      │
//!                      kept ├──┬──┤      kept ├──┬──┤
//! settled with         Monday ─┘         Tuesday ─┘      an hour before the last file's day ends
//! ```
//!
//! A slice is read whole before its records are settled. Those of its last hour wait for the next slice, and those of the hour
//! before are kept for their company: a record is always settled together with what happened within an hour of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{Column, Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// Records this much before and after a time may belong to the same conversations.
pub(super) const MARGIN_MICROS: i64 = 3_600_000_000;

const DAY_MICROS: i64 = 86_400_000_000;

/// Days whose files are together not larger than this are one slice: about 3 million records, for which passes over few would not pay.
const SLICE_BYTES: u64 = 64 << 20;

/// A time that a record's `start` or `end` is compared with, an hour wider than a statement asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound {
    pub(super) column: &'static str,
    pub(super) op: Operator,
    pub(super) at: i64,
    zone: Option<Arc<str>>,
}

impl Bound {
    /// The bound of a comparison of `start` or `end` with a time; `None` for every other filter, which only resolved rows can answer.
    pub(super) fn of(filter: &Expr) -> Option<Self> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
            return None;
        };
        let (
            Expr::Column(Column { name, .. }),
            Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at), zone), _),
        ) = (left.as_ref(), right.as_ref())
        else {
            return None;
        };
        let column = ["start", "end"].into_iter().find(|column| column == name)?;
        let at = match op {
            Operator::Lt | Operator::LtEq => at.saturating_add(MARGIN_MICROS),
            Operator::Gt | Operator::GtEq => at.saturating_sub(MARGIN_MICROS),
            _ => return None,
        };
        Some(Self {
            column,
            op: *op,
            at,
            zone: zone.clone(),
        })
    }

    pub(super) fn to_expr(&self) -> Expr {
        let at = ScalarValue::TimestampMicrosecond(Some(self.at), self.zone.clone());
        Expr::BinaryExpr(BinaryExpr::new(
            Box::new(Expr::Column(Column::from_name(self.column))),
            self.op,
            Box::new(Expr::Literal(at, None)),
        ))
    }
}

/// Where the records of a slice are.
#[derive(Debug, Clone)]
pub(super) enum Records {
    /// In files of a lake.
    Files(Box<FileScanConfig>),
    Elsewhere(Arc<dyn ExecutionPlan>),
}

/// Records to be read together.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) records: Records,
    /// What starts before is settled when this slice has been read.
    pub(super) until: i64,
}

/// The slices of a scan in order of time: by the partitions of a lake; one where `flows` is something else.
pub(super) fn slices(flows: Arc<dyn ExecutionPlan>) -> Vec<Slice> {
    let mut slices = Vec::new();
    if let Some(scan) = files(&flows)
        && let Some(days) = by_day(scan)
    {
        let mut days = days.into_iter().peekable();
        while let Some((mut last, mut files)) = days.next() {
            let mut bytes = size(&files);
            while let Some((_, more)) = days.peek()
                && bytes + size(more) <= SLICE_BYTES
            {
                bytes += size(more);
                let (day, more) = days.next().expect("it was just seen");
                last = day;
                files.extend(more);
            }
            let until = match (last, days.peek()) {
                (Some(day), Some(_)) => (i64::from(day) + 1) * DAY_MICROS - MARGIN_MICROS,
                // Records without a time are few: they go with those of the first day.
                (None, Some(_)) => i64::MIN + MARGIN_MICROS,
                (_, None) => i64::MAX,
            };
            let part = FileScanConfigBuilder::from(scan.clone())
                .with_file_groups(vec![FileGroup::new(files)])
                .build();
            slices.push(Slice {
                records: Records::Files(Box::new(part)),
                until,
            });
        }
    }
    if slices.is_empty() {
        slices.push(Slice {
            records: Records::Elsewhere(flows),
            until: i64::MAX,
        });
    }
    slices
}

/// The scan of the files of a lake.
pub(super) fn files(flows: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    let scan = flows.downcast_ref::<DataSourceExec>()?;
    scan.data_source().downcast_ref::<FileScanConfig>()
}

/// The files of each day, `None` for rows without a time; `None` if the files are not partitioned by one date.
fn by_day(scan: &FileScanConfig) -> Option<BTreeMap<Option<i32>, Vec<PartitionedFile>>> {
    let mut days: BTreeMap<Option<i32>, Vec<PartitionedFile>> = BTreeMap::new();
    for file in scan.file_groups.iter().flat_map(FileGroup::iter) {
        let [ScalarValue::Date32(day)] = file.partition_values.as_slice() else {
            return None;
        };
        days.entry(*day).or_default().push(file.clone());
    }
    Some(days)
}

fn size(files: &[PartitionedFile]) -> u64 {
    files.iter().map(|file| file.object_meta.size).sum()
}

/// As many streams as there are threads, if the files can be divided.
pub(super) fn spread(
    flows: Arc<dyn ExecutionPlan>,
    streams: usize,
    config: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    if flows.output_partitioning().partition_count() >= streams {
        return Ok(flows);
    }
    Ok(flows.repartitioned(streams, config)?.unwrap_or(flows))
}
