//! A finding: the contract that every consumer of flowscout's answers reads.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look when there is time.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth a look now.
    High,
    /// Worth waking somebody.
    Critical,
}

impl Severity {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            Self::Info,
            Self::Low,
            Self::Medium,
            Self::High,
            Self::Critical,
        ]
        .into_iter()
        .find(|severity| severity.as_str() == text)
        .ok_or_else(|| {
            format!("expected `info`, `low`, `medium`, `high` or `critical`, got `{text}`")
        })
    }
}

impl Serialize for Severity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One finding. As NDJSON it has these keys, in this order, null where unknown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(
    missing_docs,
    reason = "the names are AWS's own words and the contract's; the struct's comment says what they hold"
)]
pub struct Finding {
    /// The same on every run over the same facts: a hash of the detection and of what one finding is about.
    pub fingerprint: String,
    pub detection: String,
    pub severity: Severity,
    pub title: String,
    pub first_seen: Option<String>,
    pub last_seen: Option<String>,
    pub account_id: Option<String>,
    pub region: Option<String>,
    pub vpc_id: Option<String>,
    pub subnet_id: Option<String>,
    pub interface_id: Option<String>,
    pub src_addr: Option<String>,
    pub dst_addr: Option<String>,
    pub dst_subnet_id: Option<String>,
    pub dst_port: Option<i64>,
    pub protocol: Option<i64>,
    /// Records of the client towards the server, each counted once.
    pub flows: Option<i64>,
    pub packets: Option<i64>,
    pub bytes: Option<i64>,
    /// One sentence for a reader.
    pub reason: Option<String>,
    /// What the finding rests on, by name.
    pub evidence: Map<String, Value>,
    /// The policy's reason, if the owner expects it.
    pub expected_by: Option<String>,
}

/// The keys of a finding, in order.
const KEYS: [&str; 22] = [
    "fingerprint",
    "detection",
    "severity",
    "title",
    "first_seen",
    "last_seen",
    "account_id",
    "region",
    "vpc_id",
    "subnet_id",
    "interface_id",
    "src_addr",
    "dst_addr",
    "dst_subnet_id",
    "dst_port",
    "protocol",
    "flows",
    "packets",
    "bytes",
    "reason",
    "evidence",
    "expected_by",
];

/// The keys of a finding, in order.
pub fn finding_keys() -> [&'static str; 22] {
    KEYS
}
