//! Which objects are wanted, as far as their names can tell before anything is fetched.
//!
//! Names never say too little: whatever cannot be read from a key is not a reason to leave the
//! object out.

use chrono::{DateTime, TimeDelta, Utc};

use super::key::{self, FlowLogKey, Folders};

/// A file is named by the start of the five-minute slot in which it was published and holds records
/// that end in that slot or before (AWS's guide, "Flow log files"): for records from `from` on, the
/// slot that began up to five minutes earlier counts.
const SLOT: TimeDelta = TimeDelta::minutes(5);

/// How much later than its records a file may be published. Aggregation takes up to 10 minutes and
/// delivery about 10 more, but "might be delayed beyond" that, and AWS gives no bound; one hour is
/// what other readers allow for CloudWatch Logs.
const LATENESS: TimeDelta = TimeDelta::hours(2);

/// The date folder is that of the file's *creation*, a little after the slot in its name: a slot
/// before midnight may lie in the next day's folder.
const FOLDER_LAG: TimeDelta = TimeDelta::hours(1);

/// Sorts behind everything that AWS puts into a folder (digits, letters, `=`, `-`), and is plain
/// ASCII for every store's sake.
const BEHIND_ALL: char = '~';

/// What to read of a source. Empty means everything.
///
/// Times are those of the records, accounts those that created the flow logs. A jump over days that
/// are not wanted also passes by what somebody put between the date folders of a region under a
/// name like theirs (`2020x`); everything else that names cannot place is read. Records inside the
/// objects that are read still have to be filtered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Records that end at or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Records that start before this time.
    pub to: Option<DateTime<Utc>>,
    /// Accounts that created the flow log; none means all.
    pub accounts: Vec<String>,
    /// Regions; none means all.
    pub regions: Vec<String>,
}

/// What a key's names say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To be read: a flow log by its name, or a name that says nothing.
    Read(Option<FlowLogKey>),
    /// Not a flow log, and for that reason left out: `what` is the key, or the folder of which this
    /// holds as a whole.
    Skip {
        what: String,
        reason: String,
        resume_after: Option<String>,
    },
    /// Not selected. Nothing up to the key `resume_after` is.
    Unwanted { resume_after: Option<String> },
}

impl Verdict {
    /// The key up to which, in the order of S3's listings, the same verdict holds.
    pub(super) fn resume_after(&self) -> Option<&str> {
        match self {
            Self::Read(_) => None,
            Self::Skip { resume_after, .. } | Self::Unwanted { resume_after } => {
                resume_after.as_deref()
            }
        }
    }
}

impl Selection {
    /// Judges a key, or a path with `/` between its parts.
    pub(super) fn judge(&self, key: &str) -> Verdict {
        if let Some(reason) = key::marker(key) {
            return Verdict::Skip {
                what: key.to_owned(),
                reason: reason.to_owned(),
                resume_after: None,
            };
        }
        let name = FlowLogKey::parse(key);
        let folders = Folders::parse(key);
        if let Some(unwanted) = folders
            .as_ref()
            .and_then(|folders| self.judge_folders(folders))
        {
            return unwanted;
        }
        if let Some(name) = name {
            return if self.wants(&name) {
                Verdict::Read(Some(name))
            } else {
                Verdict::Unwanted { resume_after: None }
            };
        }
        if let Some(folder) = folders.and_then(|folders| folders.other_service()) {
            return Verdict::Skip {
                what: folder.path.to_owned(),
                reason: format!("folder of `{}`, not of VPC flow logs", folder.value),
                resume_after: Some(behind(folder.path)),
            };
        }
        if let Some(service) = key::other_service(key) {
            let reason = format!("log of `{service}`, not a VPC flow log");
            return Verdict::Skip {
                what: key.to_owned(),
                reason,
                resume_after: None,
            };
        }
        Verdict::Read(None)
    }

    /// Whether a file with this name can hold what is selected.
    pub fn wants(&self, name: &FlowLogKey) -> bool {
        admits(&self.accounts, &name.account)
            && admits(&self.regions, &name.region)
            && self.from.is_none_or(|from| name.slot >= minus(from, SLOT))
            && self.to.is_none_or(|to| name.slot <= plus(to, LATENESS))
    }

    fn judge_folders(&self, folders: &Folders<'_>) -> Option<Verdict> {
        let unwanted = |resume_after| Some(Verdict::Unwanted { resume_after });
        if !admits(&self.accounts, folders.account.value) {
            return unwanted(Some(behind(folders.account.path)));
        }
        let region = folders.region?;
        if !admits(&self.regions, region.value) {
            return unwanted(Some(behind(region.path)));
        }
        let date = folders.date?;
        let first_wanted = self.from.map(|from| minus(from, SLOT).date_naive());
        let last_wanted = self
            .to
            .map(|to| plus(to, LATENESS + FOLDER_LAG).date_naive());
        if let Some(day) = first_wanted.filter(|day| date.last_day < *day) {
            return unwanted(Some(format!("{}{}", region.path, date.ahead_to(day))));
        }
        if let Some(day) = last_wanted.filter(|day| date.first_day > *day) {
            return unwanted(Some(format!(
                "{}{}",
                region.path,
                date.behind_all_after(day)
            )));
        }
        None
    }
}

fn behind(folder: &str) -> String {
    format!("{folder}{BEHIND_ALL}")
}

fn admits(list: &[String], value: &str) -> bool {
    list.is_empty() || list.iter().any(|entry| entry == value)
}

fn minus(time: DateTime<Utc>, delta: TimeDelta) -> DateTime<Utc> {
    time.checked_sub_signed(delta)
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

fn plus(time: DateTime<Utc>, delta: TimeDelta) -> DateTime<Utc> {
    time.checked_add_signed(delta)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn between(from: &str, to: &str) -> Selection {
        Selection {
            from: Some(time(from)),
            to: Some(time(to)),
            ..Selection::default()
        }
    }

    fn at(slot: &str) -> String {
        format!("123456789012_vpcflowlogs_us-east-1_fl-01_{slot}_1a.log.gz")
    }

    fn is_read(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Read(_))
    }

    #[test]
    fn keeps_slots_from_five_minutes_before_to_two_hours_after() {
        let selection = between("2026-01-31T10:00:00Z", "2026-01-31T11:00:00Z");
        for (slot, wanted) in [
            ("20260131T0950Z", false),
            ("20260131T0955Z", true),
            ("20260131T1000Z", true),
            ("20260131T1300Z", true),
            ("20260131T1305Z", false),
        ] {
            assert_eq!(is_read(&selection.judge(&at(slot))), wanted, "{slot}");
        }
    }

    #[test]
    fn reads_everything_when_nothing_is_selected() {
        for key in [
            &at("20260131T0950Z"),
            "AWSLogs/123456789012/vpcflowlogs/us-east-1/2019/01/01/x.log",
            "notes.txt",
            "a/b/c",
        ] {
            assert!(is_read(&Selection::default().judge(key)), "{key}");
        }
    }

    #[test]
    fn never_prunes_what_cannot_be_read_from_the_name() {
        let selection = Selection {
            accounts: vec!["999999999999".into()],
            regions: vec!["eu-west-1".into()],
            ..between("2026-01-31T10:00:00Z", "2026-01-31T11:00:00Z")
        };
        for key in [
            "flow.log.gz",
            "2019/01/01/flow.log.gz",
            "AWSLogs/copy/flow.log.gz",
            "day=1/x.parquet",
        ] {
            assert_eq!(selection.judge(key), Verdict::Read(None), "{key}");
        }
    }

    #[test]
    fn prunes_by_account_and_region_with_the_whole_folder() {
        let selection = Selection {
            accounts: vec!["111111111111".into()],
            regions: vec!["us-east-1".into()],
            ..Selection::default()
        };
        let unwanted = |key: &str| match selection.judge(key) {
            Verdict::Unwanted { resume_after } => resume_after,
            other => panic!("{key}: {other:?}"),
        };
        assert_eq!(
            unwanted("p/AWSLogs/222222222222/vpcflowlogs/us-east-1/2026/01/31/x.log.gz").unwrap(),
            "p/AWSLogs/222222222222/~"
        );
        assert_eq!(
            unwanted("AWSLogs/aws-account-id=111111111111/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2026/month=01/day=31/x.gz").unwrap(),
            "AWSLogs/aws-account-id=111111111111/aws-service=vpcflowlogs/aws-region=eu-west-1/~"
        );
        assert_eq!(unwanted(&format!("copies/{}", at("20260131T0950Z"))), None);
        assert!(is_read(&selection.judge(
            "AWSLogs/111111111111/vpcflowlogs/us-east-1/2026/01/31/x.log.gz"
        )));
    }

    #[test]
    fn jumps_to_the_first_day_and_behind_the_last() {
        let selection = between("2026-03-01T00:02:00Z", "2026-03-02T21:30:00Z");
        let cases = [
            ("2019/12/31", "2026"),
            ("2026/01/05/07", "2026/02"),
            ("2026/02/27", "2026/02/28"),
            ("2026/03/04", "2026/03/:"),
            ("2026/05/04", "2026/:"),
            ("2027/01/01/00", ":"),
            ("year=2025/month=01/day=01", "year=2026"),
            ("year=2026/month=02/day=01", "year=2026/month=02/day=28"),
            ("year=2026/month=04/day=01/hour=00", "year=2026/month=:"),
        ];
        for (folder, target) in cases {
            let region = "AWSLogs/111111111111/vpcflowlogs/us-east-1/";
            let resume_after = Some(format!("{region}{target}"));
            assert_eq!(
                selection.judge(&format!("{region}{folder}/x.log.gz")),
                Verdict::Unwanted { resume_after },
                "{folder}"
            );
        }
        // 21:30 and two hours of lateness and one for the folder's date: the third of March counts.
        for folder in [
            "2026/02/28",
            "2026/03/01",
            "2026/03/02/23",
            "2026/03/03",
            "2026/1/5",
        ] {
            let key = format!("AWSLogs/111111111111/vpcflowlogs/us-east-1/{folder}/x.log.gz");
            assert!(is_read(&selection.judge(&key)), "{folder}");
        }
    }

    #[test]
    fn a_jump_never_goes_back() {
        let selection = between("2026-03-01T00:02:00Z", "2026-03-02T21:30:00Z");
        for key in [
            "AWSLogs/111111111111/vpcflowlogs/us-east-1/2019/12/31/x.gz",
            "AWSLogs/111111111111/vpcflowlogs/us-east-1/2026/02/27/23/x.gz",
            "AWSLogs/111111111111/vpcflowlogs/us-east-1/2026/12/01/x.gz",
            "AWSLogs/111111111111/CloudTrail/us-east-1/2026/12/01/x.gz",
        ] {
            let verdict = selection.judge(key);
            assert!(verdict.resume_after().unwrap() > key, "{verdict:?}");
        }
    }

    #[test]
    fn skips_other_services_by_folder_and_by_name() {
        let everything = Selection::default();
        let skip = |what: &str, reason: &str, resume_after: Option<&str>| Verdict::Skip {
            what: what.into(),
            reason: reason.into(),
            resume_after: resume_after.map(Into::into),
        };
        assert_eq!(
            everything
                .judge("AWSLogs/o-abcd/123456789012/CloudTrail/us-east-1/2026/01/31/x.json.gz"),
            skip(
                "AWSLogs/o-abcd/123456789012/CloudTrail/",
                "folder of `CloudTrail`, not of VPC flow logs",
                Some("AWSLogs/o-abcd/123456789012/CloudTrail/~")
            )
        );
        let copy = "copies/123456789012_CloudTrail_us-east-1_20260131T2355Z_abc.json.gz";
        assert_eq!(
            everything.judge(copy),
            skip(copy, "log of `CloudTrail`, not a VPC flow log", None)
        );
        assert_eq!(
            everything.judge("AWSLogs/"),
            skip("AWSLogs/", "marker of a folder", None)
        );
        // A flow log's own name says more than the folder that somebody put it into.
        assert!(is_read(&everything.judge(&format!(
            "AWSLogs/123456789012/backup/{}",
            at("20260131T0950Z")
        ))));
    }

    /// Goes through sorted keys page by page, as the listing of a bucket does, and jumps where a
    /// verdict says so.
    fn scan(keys: &[String], selection: &Selection, page: usize) -> Vec<String> {
        let (mut read, mut at) = (Vec::new(), 0);
        while at < keys.len() {
            let end = keys.len().min(at + page);
            let is_read = |key: &&String| is_read(&selection.judge(key));
            read.extend(keys[at..end].iter().filter(is_read).cloned());
            let verdict = selection.judge(&keys[end - 1]);
            at = match verdict.resume_after() {
                Some(target) => end.max(keys.partition_point(|key| key.as_str() <= target)),
                None => end,
            };
        }
        read
    }

    proptest::proptest! {
        #[test]
        fn jumping_reads_exactly_what_reading_every_key_would(
            picks in proptest::collection::vec((0..3_usize, 0..5_usize, 0..2_usize, 0..8_usize, 0..900_i64), 1..200),
            from in 0..900_i64,
            length in 0..60_i64,
            (has_from, has_to, by_account, by_region) in proptest::prelude::any::<(bool, bool, bool, bool)>(),
            page in 1..7_usize,
        ) {
            let start = time("2023-11-20T07:00:00Z");
            let accounts = ["111111111111", "222222222222", "333333333333"];
            let regions = ["eu-west-1", "us-east-1"];
            let mut keys: Vec<String> = picks
                .into_iter()
                .map(|(account, service, region, shape, days)| {
                    let slot = start + TimeDelta::hours(days * 25);
                    let (account, region) = (accounts[account], regions[region]);
                    let service = ["vpcflowlogs", "vpcflowlogs", "vpcflowlogs", "CloudTrail", "Config"][service];
                    let name = format!("{account}_{service}_{region}_fl-01_{}_1a.log.gz", slot.format("%Y%m%dT%H%MZ"));
                    let folder = match shape {
                        0 | 1 => slot.format("%Y/%m/%d").to_string(),
                        2 => slot.format("%Y/%m/%d/%H").to_string(),
                        3 => slot.format("year=%Y/month=%m/day=%d").to_string(),
                        4 => slot.format("year=%Y/month=%m/day=%d/hour=%H").to_string(),
                        5 => "archive".to_owned(),
                        6 => "year=latest".to_owned(),
                        _ => slot.format("year=%Y/notes").to_string(),
                    };
                    format!("AWSLogs/{account}/{service}/{region}/{folder}/{name}")
                })
                .collect();
            keys.sort();
            keys.dedup();
            let from = start + TimeDelta::days(from);
            let selection = Selection {
                from: has_from.then_some(from),
                to: has_to.then_some(from + TimeDelta::days(length)),
                accounts: if by_account { vec![accounts[1].to_owned()] } else { Vec::new() },
                regions: if by_region { vec![regions[1].to_owned()] } else { Vec::new() },
            };
            let expected: Vec<String> = keys.iter().filter(|key| is_read(&selection.judge(key))).cloned().collect();
            proptest::prop_assert_eq!(scan(&keys, &selection, page), expected);
        }
    }
}
