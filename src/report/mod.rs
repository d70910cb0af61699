//! Answers as people and programs read them: findings and result rows as table, JSON, NDJSON, CSV or Parquet.

mod findings;
mod rows;
mod table;

use std::io;

use thiserror::Error;

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
