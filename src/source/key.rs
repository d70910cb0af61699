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

mod folders;

use chrono::{DateTime, NaiveDateTime, Utc};

pub(super) use folders::Folders;

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

fn split_name(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

fn is_account(word: &str) -> bool {
    word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_digit())
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
    use chrono::NaiveDate;

    use super::*;

    const FILE: &str =
        "123456789012_vpcflowlogs_us-east-1_fl-0123456789abcdef0_20260131T2355Z_1a2b3c4d.log.gz";

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
        let day = NaiveDate::from_ymd_opt(2026, 1, 31).unwrap();
        for (folder, layout) in cases {
            let key = format!("{folder}/{FILE}");
            let expected = FlowLogKey {
                account: "123456789012".into(),
                region: "us-east-1".into(),
                flow_log_id: "fl-0123456789abcdef0".into(),
                slot: day.and_hms_opt(23, 55, 0).unwrap().and_utc(),
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
}
