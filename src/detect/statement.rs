//! The statement that shows a finding's records: as SQL for a reader, and as tests of a record where many findings look for theirs at once.

use std::fmt;

use serde_json::Value;

use super::Finding;

/// Which records of `traffic` show a finding: both ways, each counted once, in its time; of a spike, what was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Of a record, all of these are true.
    pub(super) tests: Vec<Test>,
    /// When the finding was seen first, as the finding says it.
    pub(super) first: String,
    /// And last.
    pub(super) last: String,
}

/// That a record has a value in one of some columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) columns: Vec<String>,
    pub(super) value: Wanted,
}

/// What a column must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// An id, an address or a word. It has no quotes.
    Text(String),
    Number(i64),
}

impl Statement {
    /// `None` where a finding has no records, or does not name enough to find them by.
    pub(super) fn of(finding: &Finding) -> Option<Self> {
        if finding.flows.unwrap_or(0) == 0 {
            return None;
        }
        let evidence = |key: &str| finding.evidence.get(key).and_then(Value::as_str);
        let mut tests = match (evidence("window_from"), evidence("direction")) {
            (Some(_), Some(direction)) => {
                let place = Test::text("subnet_id", finding.subnet_id.as_deref())
                    .or_else(|| Test::text("interface_id", finding.interface_id.as_deref()))?;
                let direction = Test::text("direction", Some(direction))?;
                vec![Test::text("action", Some("REJECT"))?, direction, place]
            }
            _ => {
                let mut tests = between(finding)?;
                // The same addresses may be in several VPCs.
                let vpc_id = finding.vpc_id.as_deref();
                tests.extend(vpc_id.and_then(|id| Test::of_an_end("vpc_id", id)));
                tests
            }
        };
        tests.extend(Test::number("service_port", finding.dst_port));
        tests.extend(Test::number("protocol", finding.protocol));
        Some(Self {
            tests,
            first: finding.first_seen.clone()?,
            last: finding.last_seen.clone()?,
        })
    }
}

/// That a record is between what a finding is about, whichever of the two sent it: by addresses, where one is missing by interface, where
/// both are by subnets.
fn between(finding: &Finding) -> Option<Vec<Test>> {
    let both = |what: &str, one: &str, other: &str| {
        Some(vec![
            Test::of_an_end(what, one)?,
            Test::of_an_end(what, other)?,
        ])
    };
    let addresses = (finding.src_addr.as_deref(), finding.dst_addr.as_deref());
    let subnets = (
        finding.subnet_id.as_deref(),
        finding.dst_subnet_id.as_deref(),
    );
    let interface = finding.interface_id.as_deref();
    match (addresses, subnets) {
        ((Some(src), Some(dst)), _) => both("addr", src, dst),
        ((Some(addr), None) | (None, Some(addr)), _) => {
            let mut tests = vec![Test::of_an_end("addr", addr)?];
            tests.extend(interface.and_then(|id| Test::of_an_end("interface_id", id)));
            Some(tests)
        }
        (_, (Some(subnet), Some(other))) => both("subnet_id", subnet, other),
        (_, (Some(subnet), None)) => Some(vec![Test::of_an_end("subnet_id", subnet)?]),
        (_, (None, _)) => Some(vec![Test::of_an_end("interface_id", interface?)?]),
    }
}

impl Test {
    /// Ids and addresses have no quotes; what has is no id.
    fn text(column: &str, value: Option<&str>) -> Option<Self> {
        let value = value.filter(|value| !value.contains('\''))?;
        Some(Self {
            columns: vec![column.to_owned()],
            value: Wanted::Text(value.to_owned()),
        })
    }

    /// That one of a record's ends has a value.
    fn of_an_end(what: &str, value: &str) -> Option<Self> {
        let columns = vec![format!("src_{what}"), format!("dst_{what}")];
        Self::text("", Some(value)).map(|test| Self { columns, ..test })
    }

    fn number(column: &str, value: Option<i64>) -> Option<Self> {
        Some(Self {
            columns: vec![column.to_owned()],
            value: Wanted::Number(value?),
        })
    }
}

/// For `flowscout sql`.
impl fmt::Display for Statement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SELECT * FROM traffic WHERE counted")?;
        for test in &self.tests {
            write!(formatter, " AND {test}")?;
        }
        let Self { first, last, .. } = self;
        write!(
            formatter,
            " AND start <= '{last}' AND \"end\" >= '{first}' ORDER BY start"
        )
    }
}

impl fmt::Display for Test {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equal = |column: &String| match &self.value {
            Wanted::Text(value) => format!("{column} = '{value}'"),
            Wanted::Number(value) => format!("{column} = {value}"),
        };
        let any: Vec<String> = self.columns.iter().map(equal).collect();
        match &any[..] {
            [one] => formatter.write_str(one),
            _ => write!(formatter, "({})", any.join(" OR ")),
        }
    }
}
