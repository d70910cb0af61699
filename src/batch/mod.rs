//! The bytes of one object in, Arrow batches out.
//!
//! ```
//! use std::ops::ControlFlow;
//! use flowscout::batch::{ReadOptions, read_object};
//!
//! let log = "version srcaddr dstaddr bytes log-status\n\
//!            2 10.0.0.1 10.0.0.2 4249 OK\n\
//!            2 - - - NODATA\n\
//!            2 10.0.0.1 elsewhere 1 OK\n";
//! let mut batches = Vec::new();
//! let decoded = read_object(log.as_bytes(), &ReadOptions::new("example.log"), &mut |batch| {
//!     batches.push(batch);
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!((decoded.rows, decoded.nodata, decoded.bad_lines), (1, 1, 1));
//! assert_eq!(batches[0].num_rows(), 1);
//! assert_eq!(decoded.samples[0].value.as_deref(), Some("elsewhere"));
//! # Ok::<(), flowscout::batch::ObjectError>(())
//! ```

mod cells;
mod column;
mod coverage;
mod dictionary;
mod flows;
mod interner;
mod read;
mod schema;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::io;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, RecordBatch};
use arrow::datatypes::{DataType, UInt32Type};

use crate::decode::{BadLine, Header};

pub(crate) use column::keyed;
pub(crate) use dictionary::Dictionary;
pub(crate) use interner::Interner;
pub use read::read_object;
pub(crate) use schema::flows_schema_of;
pub use schema::{bad_lines_schema, coverage_schema, flows_schema, objects_schema};

/// How to read an object.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The object's key, for the column `source`.
    pub source: String,
    /// The fields of records that stand before any header; without it the default format.
    pub log_format: Option<Header>,
    /// Which columns of [`flows_schema`] to build, in this order; all when there is none. What is a good line does not depend on it.
    pub columns: Option<Vec<usize>>,
    /// How many rows a batch has at most.
    pub batch_rows: usize,
    /// About how many rows there are in all, for memory that need not grow; 0 if nobody knows.
    pub expected_rows: usize,
    /// How the batches hold their texts.
    pub texts: TextLayout,
}

/// How a batch holds its texts; each is in memory once, however many rows have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextLayout {
    /// As keys into the distinct texts (`Dictionary(UInt32, Utf8)`), which is also what a Parquet file wants.
    Keys,
    /// As views (`Utf8View`), which is what a query wants.
    Views,
}

impl TextLayout {
    /// The type of a text column.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Keys => {
                DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8))
            }
            Self::Views => DataType::Utf8View,
        }
    }

    fn lay_out(self, texts: DictionaryArray<UInt32Type>) -> ArrayRef {
        match self {
            Self::Keys => Arc::new(texts),
            Self::Views => column::views(&texts),
        }
    }
}

impl ReadOptions {
    /// The rows of a batch unless told otherwise: enough that most rows have texts that are known by then.
    pub const BATCH_ROWS: usize = 256 * 1024;

    /// Bytes that a row takes in a gzip object: 25 to 35 in the default format, more in others.
    const RAW_ROW_BYTES: u64 = 24;

    /// For an object of so many bytes as they are stored.
    #[must_use]
    pub fn with_size(mut self, bytes: u64) -> Self {
        self.expected_rows = usize::try_from(bytes / Self::RAW_ROW_BYTES).unwrap_or(usize::MAX);
        self
    }

    /// All columns, the default format where there is no header.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            log_format: None,
            columns: None,
            batch_rows: Self::BATCH_ROWS,
            expected_rows: 0,
            texts: TextLayout::Keys,
        }
    }
}

/// What one object came to, beside its `flows` batches.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Rows handed over.
    pub rows: u64,
    /// NODATA records.
    pub nodata: u64,
    /// SKIPDATA records.
    pub skipdata: u64,
    /// All of these and the bad lines: headers, comments and blank lines do not count.
    pub lines: u64,
    /// Lines that should have been records.
    pub bad_lines: u64,
    /// Inflated bytes read.
    pub bytes: u64,
    /// The NODATA and SKIPDATA records, by [`coverage_schema`].
    pub coverage: RecordBatch,
    /// The first hundred bad lines.
    pub samples: Vec<BadLine>,
}

/// Why an object gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It is something else. The caller skips it, and counts.
    #[error("not a flow log: {why}")]
    NotAFlowLog {
        /// What it is instead, in words.
        why: String,
    },
    /// It may well be a flow log, but cannot be read to its end. The caller sets it aside.
    #[error("{doing}")]
    Unreadable {
        /// What failed, as in `cannot read the object`.
        doing: &'static str,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ObjectError {
    pub(crate) fn unreadable(
        doing: &'static str,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self::Unreadable {
            doing,
            source: Box::new(source),
        }
    }

    pub(crate) fn from_read(source: io::Error) -> Self {
        Self::unreadable("cannot read the object to its end", source)
    }

    /// The reason on one line, causes included, for the table of objects.
    pub fn reason(&self) -> String {
        if let Self::NotAFlowLog { why } = self {
            return why.clone();
        }
        let mut reason = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            reason.push_str(": ");
            reason.push_str(&error.to_string());
            cause = error.source();
        }
        reason
    }
}
