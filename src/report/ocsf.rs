//! Findings as OCSF Detection Findings (<https://schema.ocsf.io/1.5.0/classes/detection_finding>), for data lakes of security.

use std::io::Write;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{ReportError, Rule};
use crate::detect::{Finding, Severity, Status};
use crate::policy::protocol_text;

const CLASS: u64 = 2004;

/// Writes one object a line.
pub(super) fn write(
    mut out: impl Write,
    findings: &[Finding],
    rules: &[Rule],
) -> Result<(), ReportError> {
    let now = Utc::now().timestamp_millis();
    for finding in findings {
        let rule = rules.iter().find(|rule| rule.id == finding.detection);
        serde_json::to_writer(&mut out, &event(finding, rule, now))?;
        writeln!(out)?;
    }
    out.flush()?;
    Ok(())
}

fn event(finding: &Finding, rule: Option<&Rule>, now: i64) -> Value {
    let status = finding.life.as_ref().map(|life| life.status);
    // Create, Update, Close.
    let (activity_id, activity) = match status {
        None | Some(Status::New) => (1, "Create"),
        Some(Status::Ongoing) => (2, "Update"),
        Some(Status::Resolved) => (3, "Close"),
    };
    let (status_id, status) = match status {
        _ if finding.expected_by.is_some() => (3, "Suppressed"),
        None | Some(Status::New) => (1, "New"),
        Some(Status::Ongoing) => (2, "In Progress"),
        Some(Status::Resolved) => (4, "Resolved"),
    };
    let (severity_id, severity) = match finding.severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    };
    let last_seen = millis(finding.last_seen.as_deref());
    without_nulls(json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "type_uid": CLASS * 100 + activity_id,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_detail": finding.expected_by,
        "time": last_seen.unwrap_or(now),
        "start_time": millis(finding.first_seen.as_deref()),
        "end_time": last_seen,
        "count": finding.flows,
        "message": finding.reason,
        "metadata": {
            "version": "1.5.0",
            "profiles": ["cloud"],
            "logged_time": now,
            "product": {
                "name": "flowscout",
                "vendor_name": "flowscout",
                "version": env!("CARGO_PKG_VERSION"),
            },
        },
        "cloud": {
            "provider": "AWS",
            "region": finding.region,
            "account": finding.account_id.as_ref().map(|uid| json!({"uid": uid})),
        },
        "finding_info": {
            "uid": finding.fingerprint,
            "title": finding.title,
            "desc": rule.map(|rule| &rule.description).filter(|text| !text.is_empty()),
            "first_seen_time": millis(finding.first_seen.as_deref()),
            "last_seen_time": last_seen,
            "analytic": {"uid": finding.detection, "name": finding.title, "type_id": 1, "type": "Rule"},
            "attacks": rule.filter(|rule| !rule.attack.is_empty()).map(|rule| {
                rule.attack.iter().map(|uid| json!({"technique": {"uid": uid}})).collect::<Vec<_>>()
            }),
        },
        "resources": resources(finding),
        "evidences": evidences(finding),
    }))
}

/// What the finding is about as a whole, then each of the records that it cites.
fn evidences(finding: &Finding) -> Vec<Value> {
    let mut evidence = finding.evidence.clone();
    let records = evidence.shift_remove("records");
    let connection = |protocol: i64, direction_id: u8, tcp_flags: &Value| {
        json!({
            "protocol_num": protocol,
            "protocol_name": protocol_text(protocol),
            "direction_id": direction_id,
            "tcp_flags": tcp_flags,
        })
    };
    let whole = json!({
        "src_endpoint": {
            "ip": finding.src_addr,
            "interface_uid": finding.interface_id,
            "subnet_uid": finding.subnet_id,
            "vpc_uid": finding.vpc_id,
        },
        "dst_endpoint": {
            "ip": finding.dst_addr,
            "port": finding.dst_port,
            "subnet_uid": finding.dst_subnet_id,
        },
        "connection_info": finding.protocol.map(|protocol| connection(protocol, 0, &Value::Null)),
        "data": {"packets": finding.packets, "bytes": finding.bytes, "evidence": evidence},
    });
    let of_record = |record: &Value| {
        // Of the interface that recorded it: inbound, outbound, not known.
        let direction_id = match record["direction"].as_str() {
            Some("ingress") => 1,
            Some("egress") => 2,
            _ => 0,
        };
        let protocol = record["protocol"].as_i64();
        json!({
            "src_endpoint": {"ip": record["src_addr"], "port": record["src_port"]},
            "dst_endpoint": {"ip": record["dst_addr"], "port": record["dst_port"]},
            "connection_info": protocol.map(|protocol| connection(protocol, direction_id, &record["tcp_flags"])),
            "data": record,
        })
    };
    let records = records.iter().filter_map(Value::as_array).flatten();
    std::iter::once(whole)
        .chain(records.map(of_record))
        .collect()
}

/// What it is about, as AWS names it.
fn resources(finding: &Finding) -> Option<Vec<Value>> {
    let resources: Vec<Value> = [
        ("AWS::EC2::NetworkInterface", &finding.interface_id),
        ("AWS::EC2::Subnet", &finding.subnet_id),
        ("AWS::EC2::VPC", &finding.vpc_id),
    ]
    .into_iter()
    .filter_map(|(kind, id)| Some(json!({"type": kind, "uid": id.as_ref()?})))
    .collect();
    (!resources.is_empty()).then_some(resources)
}

fn millis(time: Option<&str>) -> Option<i64> {
    let time: DateTime<Utc> = time?.parse().ok()?;
    Some(time.timestamp_millis())
}

/// OCSF leaves out what is not known, and has no empty objects. Evidence of our own is left as it is.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let known = object.into_iter().filter_map(|(key, value)| {
                let value = if key == "evidence" {
                    value
                } else {
                    without_nulls(value)
                };
                let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                (!is_empty).then_some((key, value))
            });
            Value::Object(known.collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
