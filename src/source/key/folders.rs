//! The folders of a key: whose they are, of which service, region and days, and where a listing goes on behind them.

use chrono::{Datelike, NaiveDate};

use super::{Layout, SERVICE, is_account, is_region};

/// The folders from `AWSLogs/` on that a key lies in, as far as they follow AWS's layouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) struct Folders<'k> {
    pub(in crate::source) account: Folder<'k>,
    pub(in crate::source) service: Option<Folder<'k>>,
    pub(in crate::source) region: Option<Folder<'k>>,
    pub(in crate::source) date: Option<DateFolders>,
}

/// One folder: the value it stands for, and the key up to and with its `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) struct Folder<'k> {
    pub(in crate::source) value: &'k str,
    pub(in crate::source) path: &'k str,
}

/// The days that the date folders cover: a year's, a month's, or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) struct DateFolders {
    pub(in crate::source) first_day: NaiveDate,
    pub(in crate::source) last_day: NaiveDate,
    pub(in crate::source) hourly: bool,
    pub(in crate::source) style: Style,
    whole: bool,
}

/// How date folders are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Style {
    Plain,
    Hive,
}

impl DateFolders {
    /// Where to go on from here for a later day: just before its year, or its month, or the day
    /// itself, whichever is new.
    pub(in crate::source) fn ahead_to(&self, day: NaiveDate) -> String {
        let format = match self.common_with(day) {
            Common::Nothing => "%Y",
            Common::Year => "%Y/%m",
            Common::Month => "%Y/%m/%d",
        };
        self.style.folders(day, format)
    }

    /// Where to go on from here when `day` was the last one wanted: behind the days of this month,
    /// behind the months of this year, or behind the years. A `:` sorts behind all digits and
    /// before letters, so that other folders are still seen.
    pub(in crate::source) fn behind_all_after(&self, day: NaiveDate) -> String {
        let format = match self.common_with(day) {
            Common::Nothing => ":",
            Common::Year => "%Y/:",
            Common::Month => "%Y/%m/:",
        };
        self.style.folders(day, format)
    }

    fn common_with(&self, day: NaiveDate) -> Common {
        let (first, last) = (self.first_day, self.last_day);
        if first.year() != day.year() || last.year() != day.year() {
            Common::Nothing
        } else if first.month() != day.month() || last.month() != day.month() {
            Common::Year
        } else {
            Common::Month
        }
    }
}

/// What two days have in common.
enum Common {
    Nothing,
    Year,
    Month,
}

impl Style {
    /// Formats `day` in folders: up to three, for year, month and day.
    fn folders(self, day: NaiveDate, format: &str) -> String {
        let names = match self {
            Self::Plain => [""; 3],
            Self::Hive => ["year=", "month=", "day="],
        };
        let folders: Vec<String> = names
            .iter()
            .zip(format.split('/'))
            .map(|(name, part)| format!("{name}{}", day.format(part)))
            .collect();
        folders.join("/")
    }
}

impl<'k> Folders<'k> {
    /// Reads the folders of `key`; `None` where no account's folder follows `AWSLogs/`.
    pub(in crate::source) fn parse(key: &'k str) -> Option<Self> {
        let mut parts = Parts { key, at: 0 };
        while parts.next()?.value != "AWSLogs" {}
        let mut folder = parts.next()?;
        if is_organization(folder.value) {
            folder = parts.next()?;
        }
        let account = folder.named(&["aws-account-id="]);
        if !is_account(account.value) {
            return None;
        }
        let service = parts
            .next()
            .map(|folder| folder.named(&["aws-service=", "service="]));
        let is_flow_log = service.is_some_and(|service| service.value == SERVICE);
        let region = if is_flow_log {
            parts
                .next()
                .map(|folder| folder.named(&["aws-region=", "region="]))
        } else {
            None
        };
        let region = region.filter(|region| is_region(region.value));
        let date = region.and_then(|_| DateFolders::parse(&mut parts));
        Some(Self {
            account,
            service,
            region,
            date,
        })
    }

    /// The service whose folder this is, where that is not flow logs.
    pub(in crate::source) fn other_service(&self) -> Option<Folder<'k>> {
        self.service.filter(|service| service.value != SERVICE)
    }

    pub(super) fn layout(&self) -> Layout {
        match self.date {
            Some(date) if !date.whole => Layout::Bare,
            Some(DateFolders {
                style: Style::Plain,
                hourly: false,
                ..
            }) => Layout::Daily,
            Some(DateFolders {
                style: Style::Plain,
                hourly: true,
                ..
            }) => Layout::Hourly,
            Some(DateFolders {
                style: Style::Hive,
                hourly: false,
                ..
            }) => Layout::HiveDaily,
            Some(DateFolders {
                style: Style::Hive,
                hourly: true,
                ..
            }) => Layout::HiveHourly,
            None => Layout::Bare,
        }
    }
}

impl<'k> Folder<'k> {
    /// The folder with a Hive name in front of its value taken off.
    fn named(self, names: &[&str]) -> Self {
        let value = names
            .iter()
            .find_map(|name| self.value.strip_prefix(name))
            .unwrap_or(self.value);
        Self { value, ..self }
    }
}

impl DateFolders {
    fn parse(parts: &mut Parts<'_>) -> Option<Self> {
        let first = parts.next()?.value;
        let style = if first.starts_with("year=") {
            Style::Hive
        } else {
            Style::Plain
        };
        // AWS writes every number in full width, so that folders sort by time; anything else is
        // somebody's own folder.
        let number = |value: &str, name: &str, width: usize| {
            let digits = if style == Style::Hive {
                value.strip_prefix(name)?
            } else {
                value
            };
            let is_number =
                digits.len() == width && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u32>().ok().filter(|_| is_number)
        };
        let year = i32::try_from(number(first, "year=", 4)?).ok()?;
        let mut next = |name| number(parts.next()?.value, name, 2);
        let month = next("month=");
        let day = month.and_then(|_| next("day="));
        let hour = day.and_then(|_| next("hour="));
        let (first_day, last_day) = match (month, day) {
            (Some(month), Some(day)) => {
                let day = NaiveDate::from_ymd_opt(year, month, day)?;
                (day, day)
            }
            (Some(month), None) => {
                let first = NaiveDate::from_ymd_opt(year, month, 1)?;
                (
                    first,
                    first
                        .checked_add_months(chrono::Months::new(1))?
                        .pred_opt()?,
                )
            }
            _ => (
                NaiveDate::from_ymd_opt(year, 1, 1)?,
                NaiveDate::from_ymd_opt(year, 12, 31)?,
            ),
        };
        let hourly = hour.is_some_and(|hour| hour < 24);
        Some(Self {
            first_day,
            last_day,
            hourly,
            style,
            whole: day.is_some(),
        })
    }
}

/// Steps through the folders of a key; the last part, the file's name, is not one.
struct Parts<'k> {
    key: &'k str,
    at: usize,
}

impl<'k> Parts<'k> {
    fn next(&mut self) -> Option<Folder<'k>> {
        let rest = &self.key[self.at..];
        let length = rest.find('/')?;
        self.at += length + 1;
        Some(Folder {
            value: &rest[..length],
            path: &self.key[..self.at],
        })
    }
}

fn is_organization(word: &str) -> bool {
    word.strip_prefix("o-")
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    #[test]
    fn folders_know_where_they_end() {
        let key = "p/AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/02/x.log.gz";
        let folders = Folders::parse(key).unwrap();
        assert_eq!(folders.account.path, "p/AWSLogs/123456789012/");
        assert_eq!(
            folders.region.unwrap().path,
            "p/AWSLogs/123456789012/vpcflowlogs/us-east-1/"
        );
        let date = folders.date.unwrap();
        assert_eq!(
            (date.first_day, date.last_day),
            (day(2026, 2, 1), day(2026, 2, 28))
        );
        assert!(folders.other_service().is_none());
    }

    #[test]
    fn folders_of_other_services_are_told() {
        for folder in [
            "AWSLogs/123456789012/CloudTrail/us-east-1/2026/x.gz",
            "AWSLogs/o-abc123/123456789012/Config/x",
        ] {
            assert!(
                Folders::parse(folder).unwrap().other_service().is_some(),
                "{folder}"
            );
        }
        assert_eq!(
            Folders::parse("AWSLogs/o-abc123/123456789012/Config/x")
                .unwrap()
                .other_service()
                .unwrap()
                .path,
            "AWSLogs/o-abc123/123456789012/Config/"
        );
    }

    #[test]
    fn impossible_dates_are_no_date_folders() {
        for folder in [
            "2026/13/01",
            "2026/02/30",
            "20260/01/01",
            "year=2026x/month=01",
            "latest/01/02",
        ] {
            let key = format!("AWSLogs/123456789012/vpcflowlogs/us-east-1/{folder}/x.log.gz");
            assert_eq!(Folders::parse(&key).unwrap().date, None, "{folder}");
        }
        assert!(Folders::parse("AWSLogs/notes/x.log").is_none());
        assert!(Folders::parse("x.log").is_none());
    }
}
