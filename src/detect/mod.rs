//! Detections: SQL files with a header, run over a session, each row of the answer a finding.
//!
//! A detection is one file: a comment header (`title severity attack parameters description false_positives`) and one `SELECT` with
//! `$named` parameters. `$from`, `$to` and `$baseline_from` (timestamps) are always given. Columns of the answer that carry the name of
//! a finding's key fill it; `evidence` is a struct.

mod catalog;
mod finding;
mod query;
mod run;

pub use catalog::Catalog;
pub use finding::{Finding, Severity, finding_keys};
pub use query::{Detection, Parameter, ParameterValue};
pub use run::{Detected, Window, run};

use std::path::PathBuf;

use thiserror::Error;

/// What went wrong with a detection.
#[derive(Debug, Error)]
pub enum DetectError {
    /// No detection has that id, and none is of such a group.
    #[error("no detection or group `{id}`; the groups are {}", groups.join(", "))]
    UnknownDetection {
        /// What was asked for.
        id: String,
        /// The groups that there are: the ids are too many for a line.
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
