//! Answers as people and programs read them: findings and result rows as table, JSON, NDJSON, CSV or Parquet.

mod findings;
mod ocsf;
mod rows;
mod sarif;
mod table;

use std::io;

use thiserror::Error;

use crate::audit::Check;
use crate::detect::Detection;

pub use findings::write_findings;
pub use rows::{RowWriter, write_rows};
pub use table::{human_bytes, human_count, key_values, plain_table, printable};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a reader.
    Table,
    /// One JSON array.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180, with a header.
    Csv,
    /// One Parquet file.
    Parquet,
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingsFormat {
    /// As any other answer.
    Answer(Format),
    /// OCSF 1.5.0, Detection Finding (class 2004), one object a line.
    Ocsf,
    /// One SARIF 2.1.0 log.
    Sarif,
}

/// What gives findings, as their readers want to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The detection's id.
    pub id: String,
    /// One line for a reader.
    pub title: String,
    /// What it looks for.
    pub description: String,
    /// What fires it without being bad.
    pub false_positives: String,
    /// MITRE ATT&CK techniques.
    pub attack: Vec<String>,
}

impl From<&Detection> for Rule {
    fn from(detection: &Detection) -> Self {
        Self {
            id: detection.id.clone(),
            title: detection.title.clone(),
            description: detection.description.clone(),
            false_positives: detection.false_positives.clone(),
            attack: detection.attack.clone(),
        }
    }
}

impl From<&Check> for Rule {
    fn from(check: &Check) -> Self {
        Self {
            id: check.id.to_owned(),
            title: check.title.to_owned(),
            description: String::new(),
            false_positives: String::new(),
            attack: Vec::new(),
        }
    }
}

/// Why an answer could not be written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The output failed; a closed pipe is among these.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    /// Arrow could not render a value.
    #[error("cannot render the answer")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Parquet could not hold it.
    #[error("cannot write the answer as Parquet")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// JSON could not hold it.
    #[error("cannot write the answer as JSON")]
    Json(#[from] serde_json::Error),
}

impl ReportError {
    /// Whether the reader went away, as `head` does.
    pub fn is_closed_pipe(&self) -> bool {
        let kind = match self {
            Self::Output(error) => Some(error.kind()),
            Self::Json(error) => error.io_error_kind(),
            Self::Arrow(arrow::error::ArrowError::IoError(_, error)) => Some(error.kind()),
            Self::Arrow(_) | Self::Parquet(_) => None,
        };
        kind == Some(io::ErrorKind::BrokenPipe)
    }
}
