//! The grammar of flow log object keys: what a name and its folders say before anything is fetched.
//!
//! ```text
//! [prefix/]AWSLogs/[o-org/]{account}/vpcflowlogs/{region}/{YYYY}/{MM}/{DD}/[{HH}/]{file}
//! [prefix/]AWSLogs/[o-org/]aws-account-id={account}/aws-service=vpcflowlogs/aws-region={region}/year={YYYY}/month={MM}/day={DD}/[hour={HH}/]{file}
//! {file} = {account}_vpcflowlogs_{region}_{fl-id}_{YYYYMMDD}T{HHmm}Z_{hash}.log.gz | .log.parquet
//! ```
//!
//! Transit Gateway's guide writes `service=` without `aws-`; some landing zones put an
//! organization's id behind `AWSLogs`.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Utc};

/// The folder of flow logs among those of other services, and the second word of a file's name.
const SERVICE: &str = "vpcflowlogs";

/// What the name of a flow log object says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowLogKey {
    /// The account that created the flow log; in a shared VPC the interface's owner may be another.
    pub account: String,
    /// The region, as `us-east-1`.
    pub region: String,
    /// The flow log's id, as `fl-0123456789abcdef0`.
    pub flow_log_id: String,
    /// Start of the five-minute slot in which the file was published.
    pub slot: DateTime<Utc>,
    /// Text or Parquet, as the name tells.
    pub format: LogFormat,
    /// The folders that the file lies in.
    pub layout: Layout,
}

/// The file formats in which AWS delivers flow logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines of text, with or without gzip around them.
    Text,
    /// Apache Parquet.
    Parquet,
}

/// AWS's folder layouts (the flow log's destination options).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In none of AWS's date folders: a copy that kept its name.
    Bare,
    /// `2026/01/31/`.
    Daily,
    /// `2026/01/31/23/`.
    Hourly,
    /// `year=2026/month=01/day=31/`.
    HiveDaily,
    /// `year=2026/month=01/day=31/hour=23/`.
    HiveHourly,
}

impl FlowLogKey {
    /// Reads a key or path with `/` between its parts; only the file's name has to follow AWS's
    /// naming.
    pub fn parse(key: &str) -> Option<Self> {
        let (_, name) = split_name(key);
        let mut words = name.splitn(6, '_');
        let mut word = || words.next();
        let (account, service, region) = (word()?, word()?, word()?);
        let (flow_log_id, slot, tail) = (word()?, word()?, word()?);
        if service != SERVICE
            || !is_account(account)
            || !is_region(region)
            || !is_flow_log_id(flow_log_id)
        {
            return None;
        }
        let slot = NaiveDateTime::parse_from_str(slot, "%Y%m%dT%H%MZ")
            .ok()
            .filter(|_| slot.len() == 14)?
            .and_utc();
        let (hash, extension) = tail.split_once('.')?;
        if hash.is_empty() || !hash.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let format = match extension {
            // `.log` is what is left after somebody unpacked the file.
            "log.gz" | "log" => LogFormat::Text,
            "log.parquet" => LogFormat::Parquet,
            _ => return None,
        };
        Some(Self {
            account: account.to_owned(),
            region: region.to_owned(),
            flow_log_id: flow_log_id.to_owned(),
            slot,
            format,
            layout: Folders::parse(key).map_or(Layout::Bare, |folders| folders.layout()),
        })
    }
}

/// The AWS service that wrote the file, where its name `{account}_{service}_{region}_…` says so and
/// it is not flow logs.
pub(super) fn other_service(key: &str) -> Option<&str> {
    let (_, name) = split_name(key);
    let mut words = name.split('_');
    let (account, service, region) = (words.next()?, words.next()?, words.next()?);
    (is_account(account)
        && is_region(region)
        && region.contains('-')
        && service != SERVICE
        && !service.is_empty())
    .then_some(service)
}

/// Why a key is a marker that AWS or a tool left behind, if it is one: there are no records in it.
pub(super) fn marker(key: &str) -> Option<&'static str> {
    let (_, name) = split_name(key);
    match name {
        "" => Some("marker of a folder"),
        "ELBAccessLogTestFile" | "ConfigWritabilityCheckFile" => {
            Some("test file that AWS writes to check its permission")
        }
        _ if name.ends_with("_$folder$") => Some("marker of a folder"),
        _ => None,
    }
}

/// The folders from `AWSLogs/` on that a key lies in, as far as they follow AWS's layouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folders<'k> {
    pub(super) account: Folder<'k>,
    pub(super) service: Option<Folder<'k>>,
    pub(super) region: Option<Folder<'k>>,
    pub(super) date: Option<DateFolders>,
}

/// One folder: the value it stands for, and the key up to and with its `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Folder<'k> {
    pub(super) value: &'k str,
    pub(super) path: &'k str,
}

/// The days that the date folders cover: a year's, a month's, or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DateFolders {
    pub(super) first_day: NaiveDate,
    pub(super) last_day: NaiveDate,
    pub(super) hourly: bool,
    pub(super) style: Style,
    whole: bool,
}

/// How date folders are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Hive,
}

impl DateFolders {
    /// Where to go on from here for a later day: just before its year, or its month, or the day
    /// itself, whichever is new.
    pub(super) fn ahead_to(&self, day: NaiveDate) -> String {
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
    pub(super) fn behind_all_after(&self, day: NaiveDate) -> String {
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
    pub(super) fn parse(key: &'k str) -> Option<Self> {
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
    pub(super) fn other_service(&self) -> Option<Folder<'k>> {
        self.service.filter(|service| service.value != SERVICE)
    }

    fn layout(&self) -> Layout {
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

fn split_name(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

fn is_account(word: &str) -> bool {
    word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_organization(word: &str) -> bool {
    word.strip_prefix("o-")
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn is_region(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_flow_log_id(word: &str) -> bool {
    word.strip_prefix("fl-")
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "123456789012_vpcflowlogs_us-east-1_fl-0123456789abcdef0_20260131T2355Z_1a2b3c4d.log.gz";

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    #[test]
    fn reads_every_layout() {
        let plain = "AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/01/31";
        let hive = "AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=us-east-1/year=2026/month=01/day=31";
        let transit = "AWSLogs/aws-account-id=123456789012/service=vpcflowlogs/aws-region=us-east-1/year=2026/month=01/day=31";
        let organization = "AWSLogs/o-a1b2c3d4e5/123456789012/vpcflowlogs/us-east-1/2026/01/31";
        let cases = [
            (plain.to_owned(), Layout::Daily),
            (format!("{plain}/23"), Layout::Hourly),
            (hive.to_owned(), Layout::HiveDaily),
            (format!("{hive}/hour=23"), Layout::HiveHourly),
            (transit.to_owned(), Layout::HiveDaily),
            (format!("{transit}/hour=23"), Layout::HiveHourly),
            (organization.to_owned(), Layout::Daily),
            (format!("some/prefix/{organization}/23"), Layout::Hourly),
            (format!("some/prefix/{hive}"), Layout::HiveDaily),
            ("copies".to_owned(), Layout::Bare),
            (
                "AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/01".to_owned(),
                Layout::Bare,
            ),
        ];
        for (folder, layout) in cases {
            let key = format!("{folder}/{FILE}");
            let expected = FlowLogKey {
                account: "123456789012".into(),
                region: "us-east-1".into(),
                flow_log_id: "fl-0123456789abcdef0".into(),
                slot: day(2026, 1, 31).and_hms_opt(23, 55, 0).unwrap().and_utc(),
                format: LogFormat::Text,
                layout,
            };
            assert_eq!(FlowLogKey::parse(&key), Some(expected), "{key}");
        }
    }

    #[test]
    fn reads_formats_from_the_name() {
        let named = |extension: &str| {
            FlowLogKey::parse(&FILE.replace("log.gz", extension)).map(|key| key.format)
        };
        assert_eq!(named("log.gz"), Some(LogFormat::Text));
        assert_eq!(named("log"), Some(LogFormat::Text));
        assert_eq!(named("log.parquet"), Some(LogFormat::Parquet));
        assert_eq!(named("json.gz"), None);
        assert_eq!(named("gz"), None);
    }

    #[test]
    fn reads_other_partitions_and_local_zones() {
        for region in [
            "cn-north-1",
            "us-gov-west-1",
            "eusc-de-east-1",
            "ap-southeast-7",
        ] {
            let key = FILE.replace("us-east-1", region);
            assert_eq!(FlowLogKey::parse(&key).unwrap().region, region);
        }
    }

    #[test]
    fn leaves_other_names_alone() {
        let names = [
            "",
            "flow.log.gz",
            "123456789012_vpcflowlogs_us-east-1_fl-0123.log.gz",
            "12345_vpcflowlogs_us-east-1_fl-01_20260131T2355Z_1a.log.gz",
            "123456789012_vpcflowlogs_us-east-1_fl-01_20261331T2355Z_1a.log.gz",
            "123456789012_vpcflowlogs_us-east-1_eni-01_20260131T2355Z_1a.log.gz",
            "123456789012_vpcflowlogs_US_fl-01_20260131T2355Z_1a.log.gz",
            "123456789012_vpcflowlogs_us-east-1_fl-01_20260131T2355Z_.log.gz",
            "123456789012_vpcflowlogs_us-east-1_fl-01_20260131T2355Z_1a.log.gz.tmp",
            "123456789012_CloudTrail_us-east-1_20260131T2355Z_abc.json.gz",
        ];
        for name in names {
            assert_eq!(FlowLogKey::parse(name), None, "{name}");
        }
    }

    #[test]
    fn tells_other_services_by_the_file_name() {
        assert_eq!(
            other_service("x/123456789012_CloudTrail_us-east-1_20260131T2355Z_abc.json.gz"),
            Some("CloudTrail")
        );
        assert_eq!(
            other_service(
                "123456789012_elasticloadbalancing_us-east-1_app.lb.50dc6c495c0c9188_20260131T2340Z_1.2.3.4_x.log.gz"
            ),
            Some("elasticloadbalancing")
        );
        assert_eq!(other_service(FILE), None);
        assert_eq!(other_service("123456789012_my_notes.log"), None);
        assert_eq!(other_service("flow.log"), None);
    }

    #[test]
    fn tells_markers() {
        assert!(marker("AWSLogs/").is_some());
        assert!(marker("a/b_$folder$").is_some());
        assert!(marker("AWSLogs/123456789012/ELBAccessLogTestFile").is_some());
        assert!(marker(FILE).is_none());
    }

    #[test]
    fn folders_know_where_they_end() {
        let key = format!("p/AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/02/{FILE}");
        let folders = Folders::parse(&key).unwrap();
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
