//! `lake info`: what a lake holds.

use serde_json::json;

use crate::cli::Outcome;
use crate::cli::args::LakeArgs;
use crate::cli::printer::Printer;
use crate::lake::{Lake, LakeInfo, LakeUri};
use crate::report::{human_bytes, human_count, key_values, plain_table};

pub(super) async fn run(lake: &LakeArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let info = Lake::open(&LakeUri::parse(&lake.lake)?)
        .await?
        .info()
        .await?;
    super::print(printer, || table(&info), &as_json(&info))?;
    Ok(Outcome::Done)
}

fn table(info: &LakeInfo) -> String {
    let objects = |outcome| human_count(info.objects.get(&outcome).copied().unwrap_or(0));
    let dates = match (info.first_date, info.last_date) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "-".to_owned(),
    };
    let topology = match (info.topology.first(), info.topology.last()) {
        (Some(first), Some(last)) if first != last => {
            format!(
                "{} snapshots, {} to {}",
                info.topology.len(),
                first.format("%F %TZ"),
                last.format("%F %TZ")
            )
        }
        (Some(only), _) => format!("one snapshot, as of {}", only.format("%F %TZ")),
        _ => "none".to_owned(),
    };
    let mut text = key_values(&[
        ("lake", info.uri.clone()),
        ("version", info.version.to_string()),
        (
            "last commit",
            info.committed_at
                .map_or_else(|| "-".to_owned(), |at| at.format("%F %TZ").to_string()),
        ),
        ("rows", human_count(info.rows)),
        ("dates", dates),
        ("rows without a date", human_count(info.undated_rows)),
        (
            "files",
            format!("{} ({})", human_count(info.files), human_bytes(info.bytes)),
        ),
        ("objects ingested", objects(crate::lake::Outcome::Ingested)),
        ("objects skipped", objects(crate::lake::Outcome::Skipped)),
        ("objects set aside", objects(crate::lake::Outcome::SetAside)),
        ("bad lines", human_count(info.bad_lines)),
        ("NODATA records", human_count(info.nodata)),
        ("SKIPDATA records", human_count(info.skipdata)),
        ("topology", topology),
    ]);
    if !info.set_aside.is_empty() {
        text.push_str("\nset aside:\n");
        let rows = info
            .set_aside
            .iter()
            .map(|(key, reason)| vec![key.clone(), reason.clone()]);
        text.push_str(&plain_table(&["object", "reason"], &[], rows));
        text.push('\n');
    }
    text
}

fn as_json(info: &LakeInfo) -> serde_json::Value {
    let objects: serde_json::Map<String, serde_json::Value> = info
        .objects
        .iter()
        .map(|(outcome, count)| (outcome.as_str().to_owned(), json!(count)))
        .collect();
    let set_aside: Vec<_> = info
        .set_aside
        .iter()
        .map(|(key, reason)| json!({ "key": key, "reason": reason }))
        .collect();
    json!({
        "uri": info.uri,
        "version": info.version,
        "committed_at": info.committed_at,
        "rows": info.rows,
        "first_date": info.first_date,
        "last_date": info.last_date,
        "undated_rows": info.undated_rows,
        "files": info.files,
        "bytes": info.bytes,
        "objects": objects,
        "bad_lines": info.bad_lines,
        "nodata": info.nodata,
        "skipdata": info.skipdata,
        "topology": info.topology,
        "set_aside": set_aside,
    })
}
