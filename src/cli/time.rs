//! Times as they are typed: RFC 3339, a date, or a duration back from now.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// A time as typed, a moment once the present is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeArg {
    At(DateTime<Utc>),
    Ago(TimeDelta),
}

impl TimeArg {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(at.with_timezone(&Utc)));
        }
        if let Ok(date) = text.parse::<NaiveDate>() {
            return date
                .and_hms_opt(0, 0, 0)
                .map(|midnight| Self::At(midnight.and_utc()))
                .ok_or_else(|| wrong(text));
        }
        for pattern in [
            "%Y-%m-%dT%H:%M:%S",
            "%Y-%m-%d %H:%M:%S",
            "%Y-%m-%dT%H:%M",
            "%Y-%m-%d %H:%M",
        ] {
            if let Ok(at) = NaiveDateTime::parse_from_str(text, pattern) {
                return Ok(Self::At(at.and_utc()));
            }
        }
        match humantime::parse_duration(text)
            .ok()
            .and_then(|ago| TimeDelta::from_std(ago).ok())
        {
            Some(ago) => Ok(Self::Ago(ago)),
            None => Err(wrong(text)),
        }
    }

    pub(super) fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now
                .checked_sub_signed(ago)
                .unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

fn wrong(text: &str) -> String {
    format!(
        "expected a time such as `2026-03-12T08:00:00Z`, `2026-03-12` or `24h` (back from now), got `{text}`"
    )
}

/// A time for a reader, to the second.
pub(super) fn to_second(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_moments_dates_and_durations() {
        let now = DateTime::parse_from_rfc3339("2026-03-12T12:00:00Z")
            .unwrap()
            .with_timezone(&Utc);
        let at = |text: &str| TimeArg::parse(text).unwrap().at(now).to_rfc3339();
        assert_eq!(at("2026-03-12T08:00:00+02:00"), "2026-03-12T06:00:00+00:00");
        assert_eq!(at("2026-03-01"), "2026-03-01T00:00:00+00:00");
        assert_eq!(at("2026-03-01 07:30"), "2026-03-01T07:30:00+00:00");
        assert_eq!(at("24h"), "2026-03-11T12:00:00+00:00");
        assert_eq!(at("7d"), "2026-03-05T12:00:00+00:00");
        assert!(
            TimeArg::parse("yesterday")
                .unwrap_err()
                .contains("`yesterday`")
        );
    }
}
