//! Findings as a SARIF 2.1.0 log (OASIS), for code scanning and whatever else gates a pipeline.

use std::io::Write;

use serde_json::{Value, json};

use super::{ReportError, Rule};
use crate::detect::{Finding, Severity, Status};

/// Writes one log.
pub(super) fn write(
    mut out: impl Write,
    findings: &[Finding],
    rules: &[Rule],
) -> Result<(), ReportError> {
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| result(finding, rules))
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "flowscout",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(rule).collect::<Vec<_>>(),
            }},
            "results": results,
        }],
    });
    serde_json::to_writer_pretty(&mut out, &log)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

fn rule(rule: &Rule) -> Value {
    let mut described = json!({
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "properties": {"tags": rule.attack},
    });
    for (key, text) in [
        ("fullDescription", &rule.description),
        ("help", &rule.false_positives),
    ] {
        if !text.is_empty() {
            described[key] = json!({"text": text});
        }
    }
    described
}

fn result(finding: &Finding, rules: &[Rule]) -> Value {
    // SARIF knows three levels; the severity itself stands among the properties.
    let level = match finding.severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    };
    let mut result = json!({
        "ruleId": finding.detection,
        "level": level,
        "message": {"text": finding.reason.as_deref().unwrap_or(&finding.title)},
        "partialFingerprints": {"flowscout/v1": finding.fingerprint},
        "locations": [{"logicalLocations": [{"fullyQualifiedName": place(finding), "kind": "resource"}]}],
        "properties": finding,
    });
    if let Some(index) = rules.iter().position(|rule| rule.id == finding.detection) {
        result["ruleIndex"] = json!(index);
    }
    if let Some(life) = &finding.life {
        result["baselineState"] = json!(match life.status {
            Status::New => "new",
            Status::Ongoing => "unchanged",
            Status::Resolved => "absent",
        });
    }
    if let Some(reason) = &finding.expected_by {
        result["suppressions"] = json!([{"kind": "external", "justification": reason}]);
    }
    result
}

/// From the account down to what is known of the place.
fn place(finding: &Finding) -> String {
    let parts = [
        &finding.account_id,
        &finding.region,
        &finding.vpc_id,
        &finding.subnet_id,
        &finding.interface_id,
    ];
    let known: Vec<&str> = parts.iter().filter_map(|part| part.as_deref()).collect();
    if known.is_empty() {
        "network".to_owned()
    } else {
        known.join("/")
    }
}
