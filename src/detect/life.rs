//! The life of findings: what one run of a detection found, against what the run before it found.
//!
//! Fingerprints are the same in every run. A run looks at what came since the run before, and again at what that one left open: its window
//! starts where the oldest open finding was found first, so that the baseline does not swallow what goes on.
//!
//! ```text
//! ├──────── baseline ────────┤├── window of the first run ──┤
//!                            │ found: A                     ├── what came since ──┤
//!                            └──────────────── window of the second run ──────────┘  A goes on, or is resolved; B is new
//! ```

use std::collections::HashMap;
use std::io::{self, Read, Write};

use chrono::{DateTime, Days, TimeDelta, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::{DetectError, Finding, Life, Status, Window};

const FORMAT: u32 = 1;

/// One run of some detections, as a lake keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    format: u32,
    /// When it ran.
    pub run_at: DateTime<Utc>,
    /// What ran.
    pub ran: Vec<Ran>,
    /// What was found, each with its [`Life`]; what is expected, too.
    pub findings: Vec<Finding>,
}

/// A detection that ran, and the time that it looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Its id.
    pub detection: String,
    /// The start of what came since the run before.
    pub from: DateTime<Utc>,
    /// The end, exclusive.
    pub to: DateTime<Utc>,
}

impl Run {
    /// A run as of a time.
    pub fn new(run_at: DateTime<Utc>, ran: Vec<Ran>, findings: Vec<Finding>) -> Self {
        Self {
            format: FORMAT,
            run_at,
            ran,
            findings,
        }
    }

    /// The run as gzip JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = serde_json::to_vec(self).expect("records of text and numbers are always JSON");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&text)
            .expect("writing into memory cannot fail");
        gzip.finish().expect("writing into memory cannot fail")
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// The bytes are damaged, or of a later format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DetectError> {
        let damaged = |source| DetectError::Run { source };
        let mut text = Vec::new();
        GzDecoder::new(bytes)
            .read_to_end(&mut text)
            .map_err(damaged)?;
        let run: Self = serde_json::from_slice(&text).map_err(|error| damaged(error.into()))?;
        if run.format != FORMAT {
            let message = format!(
                "expected format {FORMAT}, got {}: written by a later version",
                run.format
            );
            return Err(damaged(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        Ok(run)
    }
}

/// The next run of a detection: what it looks at, and what it starts from.
#[derive(Debug)]
pub struct Next {
    /// The end of the run before.
    before: Option<DateTime<Utc>>,
    /// Where what came since starts.
    since: DateTime<Utc>,
    /// The window to run the detection over.
    pub window: Window,
    open: HashMap<String, Finding>,
}

impl Next {
    /// Plans the next run of a detection from the last one that had it. Without one all that is there, from `first` on, is new.
    ///
    /// What came later than the end of the run before by less than `lag` is looked at again: objects come late. What was found first
    /// longer than `baseline_days` ago is left to the baseline.
    pub fn after(
        last: Option<&Run>,
        detection: &str,
        (first, to): (DateTime<Utc>, DateTime<Utc>),
        lag: TimeDelta,
        baseline_days: u64,
    ) -> Self {
        let ran = last.and_then(|run| run.ran.iter().find(|ran| ran.detection == detection));
        let since = ran.map_or(first, |ran| (ran.to - lag).max(first).min(to));
        let findings = last.map_or(&[][..], |run| &run.findings);
        let is_open = |finding: &&Finding| {
            let life = finding.life.as_ref();
            finding.detection == detection
                && life.is_some_and(|life| life.status != Status::Resolved)
        };
        let open: HashMap<String, Finding> = findings
            .iter()
            .filter(is_open)
            .map(|finding| (finding.fingerprint.clone(), finding.clone()))
            .collect();
        let opened = open.values().filter_map(|finding| finding.life.as_ref());
        let oldest = opened.map(|life| life.opened_at).min();
        let earliest = since
            .checked_sub_days(Days::new(baseline_days))
            .unwrap_or(DateTime::<Utc>::MIN_UTC);
        let from = oldest.map_or(since, |oldest| oldest.max(earliest).min(since));
        Self {
            before: ran.map(|ran| ran.to),
            since,
            window: Window { from, to },
            open,
        }
    }

    /// What the run is kept as.
    pub fn ran(&self, detection: &str) -> Ran {
        Ran {
            detection: detection.to_owned(),
            from: self.since,
            to: self.window.to,
        }
    }

    /// Whether nothing came since the run before.
    pub fn is_idle(&self) -> bool {
        self.before.is_some_and(|before| self.window.to <= before)
    }

    /// Of what the detection found in its window, what is new and what goes on; and of what was open, what is resolved.
    pub fn judge(mut self, found: Vec<Finding>) -> Vec<Finding> {
        let seen_since = |finding: &Finding| {
            let last_seen = finding.last_seen.as_deref();
            let last_seen = last_seen.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
            // A finding without a time is about how things are.
            last_seen.is_none_or(|at| at >= self.since)
        };
        // What was seen within the lag before the end of the run before, and not since, does not go on.
        let goes_on = |finding: &Finding, known: &Finding| {
            let last_seen = |finding: &Finding| {
                let text = finding.last_seen.as_deref()?;
                DateTime::parse_from_rfc3339(text).ok()
            };
            match (last_seen(finding), last_seen(known)) {
                (Some(now), Some(then)) => {
                    now > then || self.before.is_some_and(|before| now >= before)
                }
                _ => true,
            }
        };
        let mut judged = Vec::new();
        for mut finding in found {
            let known = self.open.remove(&finding.fingerprint);
            let opened_at = known
                .as_ref()
                .and_then(|known| Some(known.life.as_ref()?.opened_at));
            let (status, resolution) = match &known {
                Some(known) if goes_on(&finding, known) => (Status::Ongoing, None),
                Some(_) => (Status::Resolved, Some(not_since(&finding))),
                None if seen_since(&finding) => (Status::New, None),
                // The run before had it as resolved, or its baseline had it.
                None => continue,
            };
            finding.life = Some(Life {
                status,
                opened_at: opened_at.unwrap_or(self.since),
                resolution,
            });
            judged.push(finding);
        }
        let window_from = self.window.from;
        let mut gone: Vec<Finding> = self.open.into_values().collect();
        gone.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        for mut finding in gone {
            let resolution = match &finding.life {
                Some(life) if life.opened_at < window_from => {
                    "it goes on for longer than the baseline, and is part of it now".to_owned()
                }
                _ => not_since(&finding),
            };
            if let Some(life) = &mut finding.life {
                life.status = Status::Resolved;
                life.resolution = Some(resolution);
            }
            judged.push(finding);
        }
        judged
    }
}

fn not_since(finding: &Finding) -> String {
    match &finding.last_seen {
        Some(at) => format!("not seen since {at}"),
        None => "not found any more".to_owned(),
    }
}
