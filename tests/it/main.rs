//! The integration tests: one binary, a module for each part that is tried from outside.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test that unwraps fails loudly, as it should"
)]

/// The commands as a user meets them: exit codes, messages, formats.
mod commands;
/// Records of every format and envelope, and what other tools read from the same bytes.
mod decode;
/// Ground truth for each detection.
mod detections;
/// Sources to a lake: batches, bad objects, twice the same, races.
mod ingest;
/// The lake: commits, crashes between steps, statistics, S3.
mod lake;
/// An S3 service over HTTP inside the test, with faults on demand.
mod s3_server;
/// The README's main job, and the generator of its logs.
mod sample;
/// The query context: pruning, raw logs, functions.
mod session;
/// Folders, files, and S3: layouts, paging, pruning, errors.
mod source;
/// EC2 answers of real accounts, where they are at hand.
mod topology;
