//! The program's log: lines for people, or JSON for what collects logs.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogStyle {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// These log requests with their signatures, and sometimes credentials, at their lower levels: they may warn, whatever is asked for.
const NOT_BELOW_WARN: &[&str] = &["aws_", "hyper", "h2", "rustls", "reqwest"];

/// Starts the log on stderr. `default` is its filter, unless `FLOWSCOUT_LOG` has another.
pub fn start_logging(default: &str, style: LogStyle) {
    let filter = EnvFilter::try_from_env("FLOWSCOUT_LOG").unwrap_or_else(|_| default.into());
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match style {
        LogStyle::Text => lines
            .with_ansi(io::stderr().is_terminal() && !plain)
            .without_time()
            .boxed(),
        LogStyle::Json => lines.json().flatten_event(true).boxed(),
    };
    let discreet = filter_fn(|metadata| is_discreet(metadata.target(), *metadata.level()));
    // A second start in one process (tests) keeps the first.
    tracing_subscriber::registry()
        .with(lines.with_filter(discreet))
        .with(filter)
        .try_init()
        .ok();
}

fn is_discreet(target: &str, level: Level) -> bool {
    level <= Level::WARN
        || !NOT_BELOW_WARN
            .iter()
            .any(|talkative| target.starts_with(talkative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sdk_crates_may_warn_and_no_more() {
        for target in [
            "aws_smithy_runtime::client",
            "aws_sigv4::http_request",
            "hyper_util::client",
            "h2::proto",
        ] {
            assert!(is_discreet(target, Level::WARN), "{target}");
            assert!(!is_discreet(target, Level::INFO), "{target}");
            assert!(!is_discreet(target, Level::TRACE), "{target}");
        }
        assert!(is_discreet("flowscout::ingest", Level::TRACE));
    }
}
