//! Advice as it is printed: a table, an object for each change, or a script.

use serde::Serialize;

use super::replay::Replay;
use super::window::{Past, nacl_words};
use crate::cli::printer::Printer;
use crate::evidence::Confidence;
use crate::nacl::{Advised, Change, Direction, Line, Nacl, Rule, Step, rule_words};
use crate::report::{Format, human_bytes, human_count, plain_table, printable};

/// What of the advice is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Print {
    /// The changes.
    Changes,
    /// What takes them back.
    WayBack,
}

/// What is advised for one ACL.
pub(super) struct ForNacl<'n> {
    pub(super) nacl: &'n Nacl,
    pub(super) advised: Vec<Advised>,
    pub(super) notes: Vec<String>,
    pub(super) confidence: Confidence,
    /// True if the changes are a tightened ACL.
    pub(super) is_tightened: bool,
}

/// One change.
#[derive(Debug, Serialize)]
struct Row {
    nacl_id: String,
    vpc_id: Option<String>,
    subnet_ids: Vec<String>,
    direction: &'static str,
    change: &'static str,
    rule_number: u16,
    /// -1 for all.
    protocol: Option<i16>,
    /// Of ICMP the type, -1 for any.
    port_from: Option<i32>,
    /// Of ICMP the code.
    port_to: Option<i32>,
    cidr: Option<String>,
    action: Option<&'static str>,
    reason: String,
    replay: Option<Replay>,
}

/// What takes the changes for an ACL back.
fn back(of: &ForNacl<'_>) -> Vec<Change> {
    let changes: Vec<Change> = of
        .advised
        .iter()
        .map(|advised| advised.change.clone())
        .collect();
    of.nacl.way_back(&changes)
}

pub(super) fn script(
    of: &ForNacl<'_>,
    print: Print,
    past: &Past,
    write: fn(&[Line<'_>], &[Line<'_>]) -> String,
) -> String {
    if of.advised.is_empty() {
        return String::new();
    }
    let record = past.network.nacl(&of.nacl.id);
    let region = record.and_then(|record| record.region.as_deref());
    let reasons: Vec<String> = of
        .advised
        .iter()
        .map(|advised| reason(advised, &of.confidence))
        .collect();
    let lines: Vec<Line<'_>> = of
        .advised
        .iter()
        .zip(&reasons)
        .map(|(advised, reason)| Line {
            change: &advised.change,
            was: advised.was.as_ref(),
            reason,
            region,
        })
        .collect();
    let back = back(of);
    let back: Vec<Line<'_>> = back
        .iter()
        .map(|change| Line {
            change,
            was: None,
            reason: "takes the advised change back",
            region,
        })
        .collect();
    let body = match print {
        Print::WayBack => write(&back, &[]),
        Print::Changes => write(&lines, &back),
    };
    format!("# {}\n{body}\n", nacl_words(of.nacl, &past.network))
}

/// Why, what it would have done, and how far that can be trusted.
fn reason(advised: &Advised, confidence: &Confidence) -> String {
    format!("{}; {confidence}", advised.reason)
}

pub(super) fn written(
    found: &[ForNacl<'_>],
    print: Print,
    past: &Past,
    printer: &Printer,
) -> anyhow::Result<String> {
    if printer.format() == Format::Table {
        let texts = found.iter().map(|of| table(of, print, past));
        return Ok(printable(&texts.collect::<Vec<_>>().join("\n")));
    }
    let rows: Vec<Row> = found.iter().flat_map(|of| rows(of, print, past)).collect();
    if printer.format() == Format::Json {
        return Ok(format!("{}\n", serde_json::to_string_pretty(&rows)?));
    }
    let mut text = String::new();
    for row in &rows {
        text.push_str(&serde_json::to_string(row)?);
        text.push('\n');
    }
    Ok(text)
}

fn rows(of: &ForNacl<'_>, print: Print, past: &Past) -> Vec<Row> {
    if print == Print::WayBack {
        return back(of)
            .iter()
            .map(|change| {
                row(
                    of.nacl,
                    change,
                    None,
                    "takes the advised change back".to_owned(),
                    None,
                )
            })
            .collect();
    }
    of.advised
        .iter()
        .map(|advised| {
            let replay = Replay::of(past, &advised.numbers);
            let reason = reason(advised, &of.confidence);
            row(
                of.nacl,
                &advised.change,
                advised.was.as_ref(),
                reason,
                Some(replay),
            )
        })
        .collect()
}

fn row(
    nacl: &Nacl,
    change: &Change,
    was: Option<&Rule>,
    reason: String,
    replay: Option<Replay>,
) -> Row {
    let rule = match &change.step {
        Step::Add(rule) | Step::Replace(rule) => Some(rule),
        Step::Delete(_) => was,
    };
    let (from, to) = match rule.map(|rule| (rule.icmp, &rule.ports)) {
        Some((Some((kind, code)), _)) => (Some(kind), Some(code)),
        Some((None, Some(ports))) => (
            Some(i32::from(*ports.start())),
            Some(i32::from(*ports.end())),
        ),
        _ => (None, None),
    };
    Row {
        nacl_id: nacl.id.to_string(),
        vpc_id: nacl.vpc_id.as_deref().map(str::to_owned),
        subnet_ids: nacl.subnet_ids.iter().map(ToString::to_string).collect(),
        direction: change.direction.as_str(),
        change: change.step.as_str(),
        rule_number: change.step.number(),
        protocol: rule.map(|rule| rule.protocol.map_or(-1, i16::from)),
        port_from: from,
        port_to: to,
        cidr: rule.map(|rule| rule.cidr.to_string()),
        action: rule.map(|rule| if rule.allows { "allow" } else { "deny" }),
        reason,
        replay,
    }
}

fn table(of: &ForNacl<'_>, print: Print, past: &Past) -> String {
    let mut text = format!(
        "{}\n  {}\n",
        nacl_words(of.nacl, &past.network),
        of.confidence
    );
    if of.is_tightened {
        text.push_str(&side_by_side(of));
    }
    for note in &of.notes {
        text.push_str(&format!("  {note}\n"));
    }
    if of.advised.is_empty() {
        text.push_str("  no change\n");
        return text;
    }
    if print == Print::WayBack {
        for change in back(of) {
            text.push_str(&format!("  {}\n", step_words(&change)));
        }
        return text;
    }
    let rows = of.advised.iter().map(|advised| {
        vec![
            step_words(&advised.change),
            human_count(advised.numbers.rejected_flows_matched),
            format!(
                "{} ({})",
                human_count(advised.numbers.accepted_flows_denied),
                human_bytes(advised.numbers.accepted_bytes_denied)
            ),
            advised.reason.clone(),
        ]
    });
    text.push_str(&plain_table(
        &["change", "stops", "denies accepted", "why"],
        &["stops"],
        rows,
    ));
    text.push('\n');
    text
}

fn step_words(change: &Change) -> String {
    let direction = change.direction.as_str();
    match &change.step {
        Step::Add(rule) => format!("{direction}: add {}", rule_words(rule, change.direction)),
        Step::Replace(rule) => format!(
            "{direction}: replace by {}",
            rule_words(rule, change.direction)
        ),
        Step::Delete(number) => format!("{direction}: delete rule {number}"),
    }
}

/// Today's rules, and those that there would be.
fn side_by_side(of: &ForNacl<'_>) -> String {
    let changes: Vec<Change> = of
        .advised
        .iter()
        .map(|advised| advised.change.clone())
        .collect();
    let Ok(after) = of.nacl.with_all(&changes) else {
        return String::new();
    };
    let mut text = String::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let (today, then) = (of.nacl.rules(direction), after.rules(direction));
        let rows = (0..today.len().max(then.len())).map(|at| {
            let words = |rules: &[Rule]| {
                rules
                    .get(at)
                    .map_or(String::new(), |rule| rule_words(rule, direction))
            };
            vec![words(today), words(then)]
        });
        let header = [
            format!("{} today", direction.as_str()),
            "tightened".to_owned(),
        ];
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        text.push_str(&plain_table(&header, &[], rows));
        text.push('\n');
    }
    text
}
