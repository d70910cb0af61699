//! Detections: SQL files with a header, run over a session, each row of the answer a finding.
//!
//! A detection is one file: a comment header (`title severity attack parameters description false_positives`) and one `SELECT` with
//! `$named` parameters. `$from`, `$to` and `$baseline_from` (timestamps) are always given. Columns of the answer that carry the name of
//! a finding's key fill it; `evidence` is a struct.

mod catalog;
mod cite;
mod finding;
mod life;
mod query;
mod records;
mod run;
mod statement;
mod suggest;

pub use catalog::Catalog;
pub use finding::{Finding, Life, Severity, Status, finding_keys, life_keys};
pub use life::{Next, Ran, Run};
pub use query::{Detection, Parameter, ParameterValue};
pub use records::cite_records;
pub use run::{Detected, Window, run};
pub use suggest::{Origin, Seen, Suggestion, suggest};

use std::path::PathBuf;

use thiserror::Error;

/// What went wrong with a detection.
#[derive(Debug, Error)]
pub enum DetectError {
    /// No detection and no group has that name.
    #[error("no detection or group is named `{name}`; the groups are {}", groups.join(", "))]
    UnknownDetection {
        /// What was asked for.
        name: String,
        /// The groups there are.
        groups: Vec<String>,
    },
    /// No detection that was asked for has that parameter.
    #[error("no parameter `{name}`; {}", if known.is_empty() { "there are none".to_owned() } else { format!("there are {}", known.join(", ")) })]
    UnknownParameter {
        /// What was given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A parameter's value is of another kind than its default.
    #[error("parameter `{name}`: expected {expected}, got `{value}`")]
    ParameterValue {
        /// The parameter.
        name: String,
        /// What was given.
        value: String,
        /// The kind it takes.
        expected: &'static str,
    },
    /// A detection's file can't be read.
    #[error("cannot read the detection `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A detection's header is not one.
    #[error("detection `{id}`: line {line}: {detail}")]
    Header {
        /// The detection.
        id: String,
        /// The line, from 1.
        line: usize,
        /// What was found and what was expected.
        detail: String,
    },
    /// The query failed.
    #[error("detection `{id}` failed")]
    Query {
        /// The detection.
        id: String,
        /// Why.
        source: Box<crate::session::SessionError>,
    },
    /// The records that findings cite can't be read.
    #[error("cannot read the records that findings cite")]
    Records {
        /// Why.
        source: Box<crate::session::SessionError>,
    },
    /// What was kept of a run of detections is not readable.
    #[error("a run of detections that the lake keeps can't be read")]
    Run {
        /// Why.
        source: std::io::Error,
    },
    /// The answer has a column that a finding can't be made of.
    #[error("detection `{id}`: column `{column}`: {detail}")]
    Column {
        /// The detection.
        id: String,
        /// The column.
        column: String,
        /// What was found and what was expected.
        detail: String,
    },
}
