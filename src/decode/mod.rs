//! Bytes in, records out: the field table, headers, values, and what transports put around records.
//!
//! Pure and synchronous; knows no files, no Arrow. The pieces, in the order in which bytes meet them:
//!
//! ```text
//! sniff ──> lines ───────────────┐
//!       ──> envelope (JSON) ─────┼──> decoder (header in force) ──> record (split, checked, borrowed) ──> crate::batch
//!       ──> Parquet cells ───────┘
//!       ──> lines ──> marks ──> plain (many records at once, only split) ──> crate::batch
//! ```
//!
//! A line that is not a record is data: it is counted and sampled as a [`BadLine`], and the rest goes on.
//!
//! ```
//! use flowscout::decode::{FIELDS, Header};
//!
//! let header = Header::parse("version srcaddr ${dstaddr} log_status").expect("four names that AWS uses");
//! let status = FIELDS.iter().position(|field| field.name == "log-status").expect("every version has it");
//! assert_eq!(header.position(status), Some(3));
//! assert_eq!(Header::parse("2 10.0.0.1 10.0.0.2 OK"), None);
//! ```

mod bad_line;
mod check;
mod decoder;
mod envelope;
mod field;
mod header;
mod lines;
mod marks;
mod plain;
mod record;
mod sniff;
mod value;

pub use bad_line::BadLine;
pub use field::{FIELDS, Field, FieldKind, VPC_FIELDS};
pub use header::{FormatError, Header};

pub(crate) use decoder::{Decoder, Verdict};
pub(crate) use envelope::{Envelope, Piece, Pieces};
pub(crate) use field::{Rule, index_of};
pub(crate) use lines::{MAX_LINE, Stretch, Stretches, read_some};
pub(crate) use marks::Marks;
pub(crate) use plain::{Plain, Token};
pub(crate) use record::{Problem, Record, Status};
pub(crate) use sniff::{Content, PEEK, first_line, is_binary, sniff};
pub(crate) use value::{canonical_address, date_of, micros, number, tag};
