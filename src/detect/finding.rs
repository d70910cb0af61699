//! A finding: the contract that every consumer of flowscout's answers reads.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

impl<'de> Deserialize<'de> for Severity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(D::Error::custom)
    }
}

/// Where a finding stands between one run and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The run before did not have it.
    New,
    /// The run before had it, and it goes on.
    Ongoing,
    /// The run before had it, and it does not go on.
    Resolved,
}

impl Status {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Ongoing => "ongoing",
            Self::Resolved => "resolved",
        }
    }
}

/// What runs that remember one another know of a finding. These keys stand after those of the finding itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Life {
    /// Where it stands.
    pub status: Status,
    /// The start of the window in which it was found first.
    pub opened_at: DateTime<Utc>,
    /// Why it is resolved.
    pub resolution: Option<String>,
}

/// One finding. As NDJSON it has these keys, in this order, null where unknown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Only in runs that remember one another.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub life: Option<Life>,
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

/// The keys that a finding's [`Life`] adds, in order.
pub fn life_keys() -> [&'static str; 3] {
    ["status", "opened_at", "resolution"]
}
