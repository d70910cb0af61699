//! Data flows one way: a module imports only from its left.

use std::fs;
use std::path::{Path, PathBuf};

/// What each module may name of the crate, beside itself.
const MAY_USE: [(&str, &[&str]); 17] = [
    ("telemetry", &[]),
    ("source", &[]),
    ("decode", &[]),
    ("batch", &["decode"]),
    ("lake", &["source", "decode", "batch", "telemetry"]),
    (
        "ingest",
        &["source", "decode", "batch", "lake", "telemetry"],
    ),
    ("doctor", &["source", "lake"]),
    ("topology", &[]),
    ("ec2", &["topology"]),
    ("nacl", &["topology"]),
    ("policy", &["topology"]),
    (
        "session",
        &[
            "source", "decode", "batch", "lake", "topology", "nacl", "policy",
        ],
    ),
    ("evidence", &["topology", "nacl", "session"]),
    (
        "detect",
        &["batch", "topology", "nacl", "policy", "session"],
    ),
    ("audit", &["topology", "nacl", "detect"]),
    ("report", &["policy", "session", "detect", "audit"]),
    (
        "cli",
        &[
            "source",
            "decode",
            "batch",
            "lake",
            "ingest",
            "topology",
            "ec2",
            "nacl",
            "policy",
            "session",
            "evidence",
            "detect",
            "audit",
            "report",
            "telemetry",
            "doctor",
        ],
    ),
];

#[test]
fn a_module_imports_only_from_its_left() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let within = file.strip_prefix(&src).unwrap();
        let first = within.components().next().unwrap().as_os_str();
        let module = Path::new(first).file_stem().unwrap().to_str().unwrap();
        if matches!(module, "lib" | "main") {
            continue;
        }
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("`{module}` is not in the table: say what it may use"));
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            for used in crate_modules(line) {
                if used != module && !allowed.contains(&used) {
                    wrong.push(format!(
                        "{}:{}: {}",
                        within.display(),
                        number + 1,
                        line.trim()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn decode_and_batch_know_no_io_and_no_query_engine() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for module in ["decode", "batch"] {
        for file in rust_files(&src.join(module)) {
            let text = fs::read_to_string(&file).unwrap();
            for word in ["datafusion", "tokio", "object_store", "std::fs", "async fn"] {
                let code = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                assert!(
                    !code.clone().any(|line| line.contains(word)),
                    "{} names `{word}`",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn topology_has_no_network_access_of_its_own() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&src.join("topology")) {
        let text = fs::read_to_string(&file).unwrap();
        for word in ["aws_config", "aws_sdk", "async fn", "tokio", "object_store"] {
            let mut code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            assert!(
                !code.any(|line| line.contains(word)),
                "{} names `{word}`",
                file.display()
            );
        }
    }
}

/// The modules that a line of code names as `crate::module`.
fn crate_modules(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with("//") {
        ""
    } else {
        line
    };
    code.split("crate::").skip(1).filter_map(|after| {
        let name = after
            .split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit())
            .next()?;
        (!name.is_empty()).then_some(name)
    })
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
