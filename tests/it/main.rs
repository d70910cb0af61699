//! The integration tests: one binary, a module for each part that is tried from outside.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test that unwraps fails loudly, as it should"
)]

/// Load balancers on the way: what their interfaces record of others' packets is not counted twice.
mod balancers;
/// Care of a lake: what verify, compact, expire and vacuum do to rows, files and readers; lakes that are old, damaged, or in unsafe places.
mod care;
/// Nothing is lost and nothing counted twice: commands killed at every request, at random, beside each other, on faulty storage.
mod chaos;
/// The commands, input by input: what every bad one is told, and what every format says.
mod cli;
/// `interface_coverage`, and the note on what an answer leaves out.
mod coverage;
/// Records of every format and envelope, and what other tools read from the same bytes.
mod decode;
/// The cases of `tests/detections/<id>/<case>`, found by glob: logs and topology in, findings out.
mod detect;
/// `doctor`: what works, what is missing, what is left behind.
mod doctor;
/// What an EC2 says about a made-up network.
mod ec2_network;
/// An EC2 and an STS over HTTP inside the test.
mod ec2_server;
/// Precision and recall of the detections over days of a whole company, with incidents and decoys planted.
mod evaluation;
/// `ingest --follow` over a bucket: late objects, changes, trouble, signals.
mod follow;
/// What the modules on the binary stand on: the binary in a clean environment, a small language for logs and topologies, sessions.
mod harness;
/// Sources to a lake: batches, bad objects, twice the same, races.
mod ingest;
/// The lake: commits, crashes between steps, statistics, S3.
mod lake;
/// Which module may import which.
mod layering;
/// Runs of detections that remember one another, and the formats of other tools.
mod life;
/// `nacl explain`, `advise` and `replay`, against an evaluator of the test's own.
mod nacl;
/// Filters on `traffic`: what they leave unread changes nothing.
mod narrow;
/// Objects that cannot be read, kind by kind, and `ingest --retry`.
mod poison;
/// Policies proposed and checked.
mod policy;
/// SQS queues that tell of objects.
mod queue;
/// Who refused a record, and whether the rules of its time agree.
mod refused;
/// The binary while it runs.
mod running;
/// An S3 service over HTTP inside the test, with faults on demand.
mod s3_server;
/// The same logs give the same rows, whichever way they come, and once only.
mod same_rows;
/// The README's main job, and the generator of its logs.
mod sample;
/// Folders, files, and S3: layouts, paging, pruning, errors.
mod source;
/// Statements over a lake: functions, pruning file by file, counting, what is refused.
mod sql;
/// An SQS queue over HTTP inside the test, with faults on demand.
mod sqs_server;
/// `topology sync`: pages, throttling, refusals, regions and roles.
mod sync;
/// The log in both styles, secrets, and numbers for Prometheus.
mod telemetry;
/// EC2 answers of real accounts, where they are at hand.
mod topology;
/// `topology explain`, `diff` and `audit` from outside.
mod topology_words;
/// The `traffic` view against worlds whose truth is known: `SUM(bytes) WHERE counted` is what was sent.
mod traffic;
/// Worlds and conversations out of a seed: what `traffic` says of each, against the truth.
mod truth;
