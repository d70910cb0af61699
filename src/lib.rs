//! flowscout turns AWS VPC flow logs into answers.
//!
//! Data flows one way; a module imports only from its left:
//!
//! ```text
//! source ──> decode ──> batch ──┐
//!                               ├──> lake ──> session ──> detect ──> report
//! topology (EC2's JSON) ────────┘                │
//!     └──> ec2 (API)              cli (sits on top, calls down)
//! ```
//!
//! | Module | Owns |
//! |---|---|
//! | [`source`] | where objects come from: a folder, a file, standard input, S3, and queues that tell of them; key grammar; gzip |
//! | [`decode`] | bytes in, records out: the field table, headers, values, envelopes |
//! | [`batch`] | records into Arrow batches: the `flows`, `coverage`, `objects` and `bad_lines` schemas |
//! | [`lake`] | the Delta table: our Parquet writer, the commit, which objects are in |
//! | [`ingest`] | the pipeline that drives source → decode → batch → lake, once or for as long as it is left running |
//! | [`doctor`] | what an ingest needs, tried one by one |
//! | [`topology`] | EC2 facts: model, subnet classes, history, what an address means |
//! | [`ec2`] | EC2's API: what accounts and regions answer, handed to `topology` |
//! | [`nacl`] | network ACLs as AWS evaluates them, advice, and replay of changes |
//! | [`policy`] | what the network's owner expects |
//! | [`session`] | the only place that builds a DataFusion context |
//! | [`evidence`] | what was recorded at the edges of subnets, for `nacl`'s replay and advice |
//! | [`detect`] | detections as SQL files, and the findings they give |
//! | [`audit`] | checks of the network's design, which give findings too |
//! | [`report`] | findings and result rows as table, JSON, NDJSON, CSV, Parquet |
//! | [`telemetry`] | what a long run tells of itself: the log, and numbers for Prometheus; any module may use it |
//! | [`cli`] | the commands |

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        reason = "a test that unwraps fails loudly, as it should"
    )
)]

pub mod audit;
pub mod batch;
pub mod cli;
pub mod decode;
pub mod detect;
pub mod doctor;
pub mod ec2;
pub mod evidence;
pub mod ingest;
pub mod lake;
pub mod nacl;
pub mod policy;
pub mod report;
pub mod session;
pub mod source;
pub mod telemetry;
pub mod topology;
