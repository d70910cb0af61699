//! Findings against what was planted: precision and recall, and every miss and false positive by name.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::CORE;
use super::plan::Planted;

/// How a detection came out.
#[derive(Debug, Default, Clone)]
pub(super) struct Score {
    pub(super) planted: usize,
    pub(super) found: usize,
    pub(super) findings: usize,
    pub(super) wrong: usize,
}

impl Score {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred findings")]
    fn share(part: usize, of: usize) -> f64 {
        if of == 0 {
            1.0
        } else {
            part as f64 / of as f64
        }
    }

    pub(super) fn recall(&self) -> f64 {
        Self::share(self.found, self.planted)
    }

    pub(super) fn precision(&self) -> f64 {
        Self::share(self.findings - self.wrong, self.findings)
    }
}

#[derive(Debug, Default)]
pub(super) struct Scores {
    pub(super) of: BTreeMap<String, Score>,
    /// A line for each miss and each false positive.
    pub(super) wrong: Vec<String>,
}

impl Scores {
    /// Holds findings against the table. What the policy expects is no finding.
    pub(super) fn add(
        &mut self,
        seed: u64,
        incidents: &[Planted],
        acceptable: &[Planted],
        findings: &[Value],
    ) {
        for incident in incidents {
            let score = self.of.entry(incident.detection.to_owned()).or_default();
            score.planted += 1;
            if findings.iter().any(|finding| incident.fits(finding)) {
                score.found += 1;
            } else {
                self.wrong.push(format!(
                    "seed {seed}: missed by {}: {} {:?}",
                    incident.detection, incident.story, incident.wanted
                ));
            }
        }
        for finding in findings {
            let detection = finding["detection"].as_str().unwrap();
            let score = self.of.entry(detection.to_owned()).or_default();
            let mut known = incidents.iter().chain(acceptable);
            score.findings += 1;
            // Of the core detections the table has every finding; of others those that some are planted for.
            let is_right = if CORE.contains(&detection) {
                known.any(|planted| planted.fits(finding))
            } else {
                known.any(|planted| planted.explains(finding) || planted.fits(finding))
            };
            if !is_right {
                score.wrong += 1;
                self.wrong
                    .push(format!("seed {seed}: false positive: {finding}"));
            }
        }
    }

    /// All detections but the core ones, together: each has few incidents of its own.
    pub(super) fn of_others(&self) -> Score {
        let others = self
            .of
            .iter()
            .filter(|(id, _)| !CORE.contains(&id.as_str()));
        others.fold(Score::default(), |sum, (_, score)| Score {
            planted: sum.planted + score.planted,
            found: sum.found + score.found,
            findings: sum.findings + score.findings,
            wrong: sum.wrong + score.wrong,
        })
    }

    /// The README's table.
    pub(super) fn table(&self) -> String {
        let mut text = String::from(
            "| Detection | planted | found | recall | findings | false | precision |\n|---|--:|--:|--:|--:|--:|--:|\n",
        );
        let others = format!("the other {}, together", self.of.len() - CORE.len());
        let named = self
            .of
            .iter()
            .map(|(id, score)| (format!("`{id}`"), score.clone()));
        for (detection, score) in named.chain([(others, self.of_others())]) {
            let (recall, precision) = (score.recall(), score.precision());
            let Score {
                planted,
                found,
                findings,
                wrong,
            } = score;
            writeln!(
                text,
                "| {detection} | {planted} | {found} | {recall:.3} | {findings} | {wrong} | {precision:.3} |"
            )
            .unwrap();
        }
        text
    }
}
