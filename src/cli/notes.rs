//! What an answer rests on: gaps in the logs, and what they keep a detection from telling.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use chrono::TimeDelta;

use super::detect::Chosen;
use super::printer::Printer;
use crate::detect::Window;
use crate::report::human_count;
use crate::session::{Gaps, Session, timestamp_scalar};

/// Says what the reader of an answer must know, a line each; nothing where nothing is amiss.
pub(super) async fn print(
    session: &Session,
    chosen: &Chosen,
    window: Window,
    printer: &Printer,
) -> anyhow::Result<()> {
    let within = "start < $to AND \"end\" >= $from";
    let values = || {
        vec![
            ("from".to_owned(), timestamp_scalar(window.from)),
            ("to".to_owned(), timestamp_scalar(window.to)),
        ]
    };
    let sql = format!(
        "SELECT COUNT(*) FILTER (WHERE action = 'ACCEPT'), COUNT(*) FILTER (WHERE action = 'REJECT'), \
         COUNT(*) FILTER (WHERE protocol = 6 AND tcp_flags IS NULL) FROM flows WHERE {within}"
    );
    let [accepted, rejected, without_flags] = counts(session, &sql, values()).await?;
    if accepted == 0 && rejected == 0 {
        printer.warn("no flow lies in the window: nothing was looked at");
    }
    if accepted == 0 && rejected > 0 {
        printer.warn("the window holds no ACCEPT record: egress and traffic between subnets can't be told from rejected flows alone");
    }
    if rejected == 0 && accepted > 0 && chosen.runs("reject_spike") {
        printer.warn(
            "the window holds no REJECT record: spikes can't be told from accepted flows alone",
        );
    }
    if rejected > 0 && chosen.runs("reject_spike") {
        let sql = format!(
            "SELECT COUNT(*), COUNT(*) FILTER (WHERE refused_by = 'undecidable'), COUNT(*) FILTER (WHERE NOT model_agrees) \
             FROM traffic WHERE action = 'REJECT' AND NOT late AND {within}"
        );
        let counted = counts(session, &sql, values()).await?;
        if let Some(note) = of_refusals(counted) {
            printer.say(&note);
        }
    }
    if without_flags > 0 {
        printer.say(&format!(
            "note: {} TCP records have no tcp-flags: who opened a connection is inferred from ports and from who was heard first",
            human_count(without_flags)
        ));
    }
    if accepted + rejected > 0 {
        for (id, field, without) in unheard_of(session, chosen, within, values()).await? {
            printer.say(&format!(
                "note: {id} needs `{field}`, which no record of the window has: {without}"
            ));
        }
    }
    let sql = format!(
        "SELECT COUNT(*), COUNT(DISTINCT interface_id), 0 FROM coverage WHERE log_status = 'SKIPDATA' AND {within}"
    );
    let [skipped, interfaces, _] = counts(session, &sql, values()).await?;
    if skipped > 0 {
        printer.warn(&format!(
            "{} SKIPDATA records of {} interfaces: AWS dropped flows there, so what was not seen may still have been",
            human_count(skipped),
            human_count(interfaces)
        ));
    }
    if let Some(note) = of_gaps(&session.gaps(window.from, window.to).await?) {
        printer.say(&note);
    }
    let sql =
        "SELECT COUNT(*) FILTER (WHERE outcome = 'set_aside'), SUM(bad_lines), 0 FROM objects";
    let [set_aside, bad_lines, _] = counts(session, sql, Vec::new()).await?;
    if set_aside > 0 || bad_lines > 0 {
        printer.warn(&format!(
            "{} objects are set aside and {} lines are bad: the tables `objects` and `bad_lines` say why",
            human_count(set_aside),
            human_count(bad_lines)
        ));
    }
    let Some((first, last)) = session.span().await? else {
        return Ok(());
    };
    if let Some(days) = chosen
        .integer("egress_unexpected", "baseline_days")
        .filter(|_| chosen.runs("egress_unexpected"))
        && let Some(wanted) = window.from.checked_sub_signed(TimeDelta::days(days))
        && first > wanted
    {
        let have = window.from - first;
        printer.say(&if have <= TimeDelta::zero() {
            "note: no logs lie before the window, so egress_unexpected has no baseline: every destination is new".to_owned()
        } else {
            format!("note: the baseline of egress_unexpected is {} h, as far back as the logs go", have.num_hours())
        });
    }
    if let (Some(bucket), Some(points)) = (
        chosen.integer("reject_spike", "bucket_secs"),
        chosen.integer("reject_spike", "min_points"),
    ) && chosen.runs("reject_spike")
        && (last.min(window.to) - first).num_seconds() < bucket.saturating_mul(points + 1)
    {
        printer.warn(&format!(
            "reject_spike needs {points} other buckets of {bucket} s for a baseline and the logs are shorter: it can't tell a spike; \
             try `--param bucket_secs=300`"
        ));
    }
    Ok(())
}

/// Of the fields that detections need, those that no record has: the format lacks them.
async fn unheard_of<'c>(
    session: &Session,
    chosen: &'c Chosen,
    within: &str,
    values: Vec<(String, datafusion::common::ScalarValue)>,
) -> anyhow::Result<Vec<(&'c str, &'c str, &'c str)>> {
    let fields: BTreeSet<&str> = chosen.fields().map(|(_, field, _)| field).collect();
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let heard: Vec<String> = fields
        .iter()
        .map(|field| format!("COUNT({field}) > 0"))
        .collect();
    let sql = format!("SELECT {} FROM flows WHERE {within}", heard.join(", "));
    let batches = session.query(&sql, values).await?;
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else {
        return Ok(Vec::new());
    };
    let lacking: Vec<&str> = fields
        .iter()
        .zip(batch.columns())
        .filter(|(_, heard)| !heard.as_boolean().value(0))
        .map(|(field, _)| *field)
        .collect();
    let of_lacking = |(_, field, _): &(&str, &str, &str)| lacking.contains(field);
    Ok(chosen.fields().filter(of_lacking).collect())
}

/// Which interfaces are not in the logs in full, and why; nothing where all are.
fn of_gaps(gaps: &Gaps) -> Option<String> {
    let whys = [
        ("no_flow_log", "has no flow log", "have no flow log"),
        (
            "failed",
            "has a flow log that can't deliver",
            "have a flow log that can't deliver",
        ),
        ("rejects_only", "logs rejects only", "log rejects only"),
        ("accepts_only", "logs accepts only", "log accepts only"),
        ("silent", "has no record at all", "have no record at all"),
    ];
    let mut parts = Vec::new();
    for (status, one, several) in whys {
        let ids = gaps.lacking.get(status).map_or(&[][..], Vec::as_slice);
        let count = match (ids.len(), parts.is_empty()) {
            (0, _) => continue,
            (count, true) => format!("{} of {}", human_count(count as u64), interfaces(gaps)),
            (count, false) => human_count(count as u64),
        };
        let verb = if ids.len() == 1 { one } else { several };
        parts.push(format!("{count} {verb} ({})", first_of(ids)));
    }
    (!parts.is_empty()).then(|| {
        format!(
            "note: {}: what they did is not in this answer",
            parts.join(", ")
        )
    })
}

fn interfaces(gaps: &Gaps) -> String {
    match gaps.interfaces {
        1 => "1 interface".to_owned(),
        count => format!("{} interfaces", human_count(count as u64)),
    }
}

/// The first few ids.
fn first_of(ids: &[String]) -> String {
    const SHOWN: usize = 3;
    match ids.get(..SHOWN) {
        Some(first) if ids.len() > SHOWN => format!("{}, …", first.join(", ")),
        _ => ids.join(", "),
    }
}

/// How far the rules of the time explain what was rejected: records that are no late packets, those of them of which nobody can tell who
/// refused them, and those that the rules would have let through.
fn of_refusals([rejected, undecidable, contradicted]: [u64; 3]) -> Option<String> {
    if undecidable == 0 && contradicted == 0 {
        return None;
    }
    Some(format!(
        "note: who refused it is undecidable for {} of {} rejected records; the rules of the time contradict {}",
        percent(undecidable, rejected),
        human_count(rejected),
        percent(contradicted, rejected)
    ))
}

/// A share in percent, in two digits: less than a thousandth is not nothing.
fn percent(part: u64, whole: u64) -> String {
    // In thousandths, rounded; exact in 128 bits.
    let (part, whole) = (u128::from(part), u128::from(whole.max(1)));
    match (part * 1000 + whole / 2) / whole {
        0 if part > 0 => "less than 0.1 %".to_owned(),
        share if share % 10 == 0 || share >= 100 => format!("{} %", (share + 5) / 10),
        share => format!("{}.{} %", share / 10, share % 10),
    }
}

/// Three counts of one row.
async fn counts(
    session: &Session,
    sql: &str,
    values: Vec<(String, datafusion::common::ScalarValue)>,
) -> anyhow::Result<[u64; 3]> {
    let batches = session.query(sql, values).await?;
    let mut counts = [0; 3];
    if let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) {
        for (slot, column) in counts.iter_mut().zip(batch.columns()) {
            let numbers = column.as_primitive::<Int64Type>();
            *slot = if numbers.is_valid(0) {
                u64::try_from(numbers.value(0)).unwrap_or(0)
            } else {
                0
            };
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_that_the_logs_lack_are_named() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let gaps = |lacking: &[(&'static str, &[&str])]| Gaps {
            interfaces: 40,
            lacking: lacking.iter().map(|(why, of)| (*why, ids(of))).collect(),
        };
        assert_eq!(of_gaps(&gaps(&[])), None);
        let some = gaps(&[
            ("no_flow_log", &["eni-1", "eni-2", "eni-3", "eni-4"]),
            ("rejects_only", &["eni-5"]),
            ("silent", &["eni-6", "eni-7"]),
        ]);
        assert_eq!(
            of_gaps(&some).as_deref(),
            Some(
                "note: 4 of 40 interfaces have no flow log (eni-1, eni-2, eni-3, …), 1 logs rejects only (eni-5), \
                 2 have no record at all (eni-6, eni-7): what they did is not in this answer"
            )
        );
    }

    #[test]
    fn who_refused_is_told_in_shares() {
        assert_eq!(of_refusals([12_345, 0, 0]), None);
        assert_eq!(
            of_refusals([12_345, 370, 25]).as_deref(),
            Some(
                "note: who refused it is undecidable for 3 % of 12,345 rejected records; the rules of the time contradict 0.2 %"
            )
        );
        for (part, whole, expected) in [
            (0, 7, "0 %"),
            (1, 100_000, "less than 0.1 %"),
            (1, 3, "33 %"),
            (19, 1000, "1.9 %"),
            (7, 7, "100 %"),
        ] {
            assert_eq!(percent(part, whole), expected);
        }
    }
}
