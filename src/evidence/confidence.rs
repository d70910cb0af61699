//! How far the records of a window carry: its length, and what the logs of an ACL's interfaces leave out.

use std::collections::HashMap;
use std::fmt;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use chrono::{DateTime, Utc};

use crate::nacl::Nacl;
use crate::session::{Gaps, Session, SessionError, timestamp_scalar};
use crate::topology::Network;

/// A word, and why it is no better one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confidence {
    /// `high`, `medium` or `low`.
    pub word: &'static str,
    /// What lowers it.
    pub because: Vec<String>,
}

impl fmt::Display for Confidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "confidence {}: {}",
            self.word,
            self.because.join(", ")
        )
    }
}

/// What the logs of a window have and lack.
#[derive(Debug, Clone, Default)]
pub struct Grounds {
    gaps: Gaps,
    /// SKIPDATA records, by interface.
    skipped: HashMap<String, i64>,
    days: i64,
}

/// From so many days on a weekly rhythm is in the window, and a monthly one.
const MEDIUM_DAYS: i64 = 7;
const HIGH_DAYS: i64 = 30;

impl Grounds {
    /// Of a window.
    ///
    /// # Errors
    /// When the records can't be read.
    pub async fn of(
        session: &Session,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Self, SessionError> {
        let sql = "SELECT interface_id, COUNT(*) FROM coverage WHERE log_status = 'SKIPDATA' AND start < $to AND \"end\" >= $from \
             AND interface_id IS NOT NULL GROUP BY interface_id";
        let values = vec![
            ("from".to_owned(), timestamp_scalar(from)),
            ("to".to_owned(), timestamp_scalar(to)),
        ];
        let batches = session.query(sql, values).await?;
        let skipped = batches.iter().flat_map(|batch| {
            let counts = batch.column(1).as_primitive::<Int64Type>();
            let ids = batch.column(0).as_string_view().iter();
            ids.zip(counts.values())
                .filter_map(|(id, count)| Some((id?.to_owned(), *count)))
        });
        Ok(Self {
            skipped: skipped.collect(),
            gaps: session.gaps(from, to).await?,
            days: (to - from).num_hours().saturating_add(12) / 24,
        })
    }

    /// What can be said of an ACL's subnets.
    pub fn confidence(&self, nacl: &Nacl, network: &Network) -> Confidence {
        let is_own = |id: &str| {
            let interface = network.interface(id);
            let subnet = interface.and_then(|interface| interface.subnet_id.as_ref());
            subnet.is_some_and(|subnet| nacl.subnet_ids.contains(subnet))
        };
        let mut level = match self.days {
            HIGH_DAYS.. => 2,
            MEDIUM_DAYS.. => 1,
            _ => 0,
        };
        let mut because = vec![match self.days {
            0 => "less than a day of flows".to_owned(),
            1 => "1 day of flows".to_owned(),
            days => format!("{days} days of flows"),
        }];
        for (status, ids) in &self.gaps.lacking {
            let own: Vec<&str> = ids
                .iter()
                .map(String::as_str)
                .filter(|id| is_own(id))
                .collect();
            let Some(first) = own.first() else { continue };
            let (most, words) = match *status {
                "no_flow_log" => (0, "no flow log records"),
                "failed" => (0, "the flow log's delivery fails for"),
                "rejects_only" => (0, "only rejects are logged of"),
                "accepts_only" => (1, "only accepts are logged of"),
                _ => (1, "nothing was heard of"),
            };
            level = level.min(most);
            because.push(match own.len() {
                1 => format!("{words} {first}"),
                count => format!("{words} {count} interfaces such as {first}"),
            });
        }
        let mut skipped: Vec<(&String, &i64)> =
            self.skipped.iter().filter(|(id, _)| is_own(id)).collect();
        skipped.sort();
        if let Some((first, _)) = skipped.first() {
            level = level.min(1);
            let records: i64 = skipped.iter().map(|(_, count)| **count).sum();
            because.push(format!("AWS skipped data {records} times (of {first})"));
        }
        Confidence {
            word: ["low", "medium", "high"][level],
            because,
        }
    }
}
