//! The only place that writes to stdout and stderr.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::Mutex;

use chrono::Utc;
use datafusion::error::DataFusionError;
use serde_json::json;

use super::args::{FormatArg, GlobalArgs, LogStyleArg};
use crate::detect::DetectError;
use crate::ec2::Ec2Error;
use crate::ingest::IngestError;
use crate::lake::LakeError;
use crate::report::{FindingsFormat, Format, ReportError};
use crate::session::SessionError;
use crate::source::SourceError;
use crate::source::queue::QueueError;
use crate::telemetry::LogStyle;

/// Where output goes, and how much of it.
#[derive(Debug)]
pub(super) struct Printer {
    format: Format,
    quiet: u8,
    verbose: u8,
    findings: FindingsFormat,
    progress: bool,
    style: LogStyle,
    stderr: Mutex<()>,
}

impl Printer {
    pub(super) fn new(global: &GlobalArgs) -> Self {
        let default = if io::stdout().is_terminal() {
            Format::Table
        } else {
            Format::Ndjson
        };
        let progress = io::stderr().is_terminal()
            && !global.no_progress
            && global.verbose == 0
            && global.quiet == 0
            && global.log_style == LogStyleArg::Text;
        let format = global.format.and_then(FormatArg::of_answers);
        let format = format.unwrap_or(default);
        Self {
            format,
            findings: global.findings_format(format),
            quiet: global.quiet,
            verbose: global.verbose,
            progress,
            style: global.log_style.into(),
            stderr: Mutex::new(()),
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// How findings are written.
    pub(super) fn findings_format(&self) -> FindingsFormat {
        self.findings
    }

    /// Whether a bar may be drawn.
    pub(super) fn progress(&self) -> bool {
        self.progress
    }

    pub(super) fn verbosity(&self) -> (u8, u8) {
        (self.verbose, self.quiet)
    }

    /// Standard output, for data.
    pub(super) fn out(&self) -> impl Write + Send {
        BufWriter::with_capacity(64 << 10, io::stdout())
    }

    pub(super) fn data(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = self.out();
        out.write_all(bytes)?;
        out.flush()
    }

    /// How lines on stderr look.
    pub(super) fn log_style(&self) -> LogStyle {
        self.style
    }

    /// A line of a summary, for a reader; silent with `-q`.
    pub(super) fn say(&self, line: &str) {
        if self.quiet == 0 {
            self.line("INFO", "", line);
        }
    }

    /// What a reader must know about the answer; silent with `-qq`.
    pub(super) fn warn(&self, line: &str) {
        if self.quiet < 2 {
            self.line("WARN", "warning: ", line);
        }
    }

    /// Prints an error with its causes and, on a line of its own, what to try.
    pub(super) fn error(&self, error: &anyhow::Error) {
        match self.style {
            LogStyle::Text => print_error(error),
            LogStyle::Json => {
                let (causes, hint) = explain(error);
                self.object(json!({
                    "timestamp": Utc::now(), "level": "ERROR", "message": causes.join(": "), "hint": hint, "target": TARGET,
                }));
            }
        }
    }

    fn line(&self, level: &str, mark: &str, text: &str) {
        match self.style {
            LogStyle::Text => self.write(&format!("{mark}{text}")),
            LogStyle::Json => self.object(
                json!({"timestamp": Utc::now(), "level": level, "message": text, "target": TARGET}),
            ),
        }
    }

    fn object(&self, object: serde_json::Value) {
        self.write(&object.to_string());
    }

    fn write(&self, text: &str) {
        // A poisoned lock only means that another line was cut short.
        let _guard = self.stderr.lock();
        // Nobody is left to tell if stderr is closed.
        writeln!(io::stderr(), "{text}").ok();
    }
}

/// What a line of the log says it comes from.
const TARGET: &str = "flowscout::cli";

/// Prints an error with its causes and, on a line of its own, what to try.
pub(super) fn print_error(error: &anyhow::Error) {
    let (causes, hint) = explain(error);
    let mut text = format!("error: {}", causes.join("\n  caused by: "));
    if let Some(hint) = hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    // Nobody is left to tell if stderr is closed.
    writeln!(io::stderr(), "{text}").ok();
}

/// An error and its causes, a line each, and what to try.
fn explain(error: &anyhow::Error) -> (Vec<String>, Option<String>) {
    let mut causes = vec![plain(error.as_ref())];
    for cause in error.chain().skip(1) {
        let cause = plain(cause);
        // A wrapper that only repeats its cause says nothing new.
        if causes.last().is_none_or(|last| !last.contains(&cause)) {
            causes.push(cause);
        }
    }
    (causes, error.chain().find_map(hint))
}

/// An error's own words on one line; of a query engine's, those that concern the statement.
fn plain(error: &(dyn std::error::Error + 'static)) -> String {
    let text = match error.downcast_ref::<DataFusionError>() {
        Some(error) => error.strip_backtrace(),
        None => error.to_string(),
    };
    text.lines().next().unwrap_or_default().to_owned()
}

fn hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<IngestError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<SourceError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<QueueError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<LakeError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<Ec2Error>() {
        return error.hint();
    }
    match error.downcast_ref::<SessionError>() {
        Some(SessionError::Plan(_)) => {
            return Some("`flowscout sql \"SHOW TABLES\"` lists the tables, `SHOW COLUMNS FROM traffic` a table's columns".to_owned());
        }
        Some(SessionError::MissingParameter { name }) => {
            return Some(format!("give it with `--param {name}=…`"));
        }
        _ => {}
    }
    match error.downcast_ref::<DetectError>() {
        Some(DetectError::UnknownDetection { .. }) => {
            Some("`flowscout queries list` shows them".to_owned())
        }
        Some(DetectError::UnknownParameter { .. }) => {
            Some("`flowscout queries show ID` shows a detection's parameters".to_owned())
        }
        _ => None,
    }
}

/// Whether an error only says that the reader of our output went away.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<ReportError>()
            .is_some_and(ReportError::is_closed_pipe)
            || cause
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
