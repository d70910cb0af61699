//! A lake in numbers.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use chrono::{DateTime, NaiveDate, Utc};

use super::progress::Outcome;
use super::{Lake, LakeError};

/// What a lake holds.
#[derive(Debug, Clone)]
pub struct LakeInfo {
    /// Where it is.
    pub uri: String,
    /// The table's version.
    pub version: i64,
    /// Data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows of `flows`.
    pub rows: u64,
    /// The first date that has rows.
    pub first_date: Option<NaiveDate>,
    /// The last.
    pub last_date: Option<NaiveDate>,
    /// Rows without a date: their format has no `start`.
    pub undated_rows: u64,
    /// Objects by what became of them.
    pub objects: BTreeMap<Outcome, u64>,
    /// Lines that are no records, of all objects that are in.
    pub bad_lines: u64,
    /// NODATA records.
    pub nodata: u64,
    /// SKIPDATA records.
    pub skipdata: u64,
    /// The times of the topology snapshots.
    pub topology: Vec<DateTime<Utc>>,
    /// When the table last changed.
    pub committed_at: Option<DateTime<Utc>>,
    /// Objects that could not be read, and why.
    pub set_aside: Vec<(String, String)>,
}

impl Lake {
    /// Counts what is in the lake.
    ///
    /// # Errors
    /// Something cannot be read.
    pub async fn info(&self) -> Result<LakeInfo, LakeError> {
        let snapshot = self.snapshot().await?;
        let files = snapshot.files();
        let mut info = LakeInfo {
            uri: self.inner.place.uri.clone(),
            version: snapshot.version(),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.size).sum(),
            rows: files.iter().map(|file| file.rows).sum(),
            first_date: files.iter().filter_map(|file| file.date).min(),
            last_date: files.iter().filter_map(|file| file.date).max(),
            undated_rows: files
                .iter()
                .filter(|file| file.date.is_none())
                .map(|file| file.rows)
                .sum(),
            objects: BTreeMap::new(),
            bad_lines: 0,
            nodata: 0,
            skipdata: 0,
            topology: self.topology_times().await?,
            committed_at: snapshot.committed_at(),
            set_aside: Vec::new(),
        };
        for objects in snapshot.objects().await? {
            let text = |name: &str| {
                objects
                    .column_by_name(name)
                    .and_then(|column| column.as_string_opt::<i32>())
            };
            let (Some(keys), Some(outcomes), Some(reasons)) =
                (text("key"), text("outcome"), text("reason"))
            else {
                continue;
            };
            for row in 0..objects.num_rows() {
                let Some(outcome) = Outcome::parse(outcomes.value(row)) else {
                    continue;
                };
                *info.objects.entry(outcome).or_default() += 1;
                if outcome == Outcome::SetAside {
                    info.set_aside
                        .push((keys.value(row).to_owned(), reasons.value(row).to_owned()));
                }
            }
            let bad_lines = objects
                .column_by_name("bad_lines")
                .and_then(|column| column.as_primitive_opt::<Int64Type>());
            let bad_lines = bad_lines
                .map(|counts| counts.iter().flatten().sum::<i64>())
                .unwrap_or_default();
            info.bad_lines += u64::try_from(bad_lines).unwrap_or_default();
        }
        for coverage in snapshot.coverage_status().await? {
            let Some(statuses) = coverage.column(0).as_string_opt::<i32>() else {
                continue;
            };
            for status in statuses.iter().flatten() {
                match status {
                    "NODATA" => info.nodata += 1,
                    "SKIPDATA" => info.skipdata += 1,
                    _ => {}
                }
            }
        }
        Ok(info)
    }
}
