//! AWS's public address ranges: which service and region an address belongs to.
//!
//! A range is listed once for each service that uses it, and ranges nest. They are resolved when they are read, into
//! ranges that neither overlap nor touch their like, so that a lookup is one binary search:
//!
//! ```text
//! AMAZON us-east-1  |-----------------------|
//! EC2    us-east-1  |-----------------------|
//! S3     us-east-1          |------|
//! resolved          |--EC2--|--S3--|--EC2---|
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde_json::Value;

use super::TopologyError;

/// Written by the ignored test `rewrites_the_built_in_ranges` from AWS's ip-ranges.json.
const BUILT_IN: &str = include_str!("ip_ranges.tsv");

/// AWS's address ranges; cheap to clone.
#[derive(Debug, Clone)]
pub struct IpRanges(Kept);

#[derive(Debug, Clone)]
enum Kept {
    /// Resolved when it is first asked: most statements never do.
    BuiltIn,
    Given(Arc<Ranges>),
}

#[derive(Debug)]
struct Ranges {
    date: String,
    owners: Vec<Owner>,
    v4: Vec<Range>,
    v6: Vec<Range>,
}

/// What an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// AWS's word, such as `S3`; `AMAZON` where AWS says no more.
    pub service: String,
    /// A region, or `GLOBAL`.
    pub region: String,
}

/// First and last address as numbers, and the index of their owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    start: u128,
    end: u128,
    owner: usize,
}

impl Default for IpRanges {
    fn default() -> Self {
        Self::built_in()
    }
}

impl IpRanges {
    /// The copy that flowscout carries; [`Self::date`] says how old it is.
    pub fn built_in() -> Self {
        Self(Kept::BuiltIn)
    }

    fn ranges(&self) -> &Ranges {
        static BUILT_IN_RANGES: LazyLock<IpRanges> = LazyLock::new(|| from_text(BUILT_IN));
        match &self.0 {
            Kept::BuiltIn => BUILT_IN_RANGES.ranges(),
            Kept::Given(ranges) => ranges,
        }
    }

    /// Reads AWS's own ip-ranges.json.
    ///
    /// # Errors
    /// The text is no JSON, or not in AWS's format.
    pub fn from_json(text: &str) -> Result<Self, TopologyError> {
        let document: Value =
            serde_json::from_str(text).map_err(|source| TopologyError::RangesJson {
                line: source.line(),
                column: source.column(),
                source,
            })?;
        let mut listed = read_list(&document, "prefixes", "ip_prefix")?;
        listed.extend(read_list(&document, "ipv6_prefixes", "ipv6_prefix")?);
        let date = document
            .get("createDate")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Ok(resolve(date, listed))
    }

    /// The day the list was made, such as `2026-08-22`; empty where the list does not say.
    pub fn date(&self) -> &str {
        let date = &self.ranges().date;
        date.get(..10).unwrap_or(date)
    }

    /// Who owns an address: of all ranges that hold it the most specific, then rather a service than `AMAZON`, then
    /// rather another service than `EC2`.
    pub fn owner(&self, addr: IpAddr) -> Option<&Owner> {
        let ranges = if addr.is_ipv4() {
            &self.ranges().v4
        } else {
            &self.ranges().v6
        };
        let number = number(addr);
        let index = ranges.partition_point(|range| range.end < number);
        let range = ranges.get(index).filter(|range| range.start <= number)?;
        Some(&self.ranges().owners[range.owner])
    }

    /// The ranges that belong to a service in one region and to nobody more specific.
    pub fn nets_of(&self, service: &str, region: &str) -> Vec<IpNet> {
        let is_owner = |range: &&Range| {
            let owner = &self.ranges().owners[range.owner];
            owner.service == service && owner.region == region
        };
        let v4 = self
            .ranges()
            .v4
            .iter()
            .filter(is_owner)
            .flat_map(|range| range.nets(false));
        let v6 = self
            .ranges()
            .v6
            .iter()
            .filter(is_owner)
            .flat_map(|range| range.nets(true));
        v4.chain(v6).collect()
    }

    /// The ranges as text that [`IpRanges::built_in`] reads: a line for each service and region.
    #[cfg(test)]
    fn to_text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!(
            "# AWS's public address ranges, resolved: service, region, ranges. Source: https://ip-ranges.amazonaws.com/ip-ranges.json\ndate\t{}\n",
            self.ranges().date
        );
        let mut by_owner: BTreeMap<&Owner, Vec<IpNet>> = BTreeMap::new();
        for (ranges, is_v6) in [(&self.ranges().v4, false), (&self.ranges().v6, true)] {
            for range in ranges {
                by_owner
                    .entry(&self.ranges().owners[range.owner])
                    .or_default()
                    .extend(range.nets(is_v6));
            }
        }
        for (owner, nets) in by_owner {
            let nets: Vec<_> = nets.iter().map(IpNet::to_string).collect();
            writeln!(
                text,
                "{}\t{}\t{}",
                owner.service,
                owner.region,
                nets.join(" ")
            )
            .expect("writing into a string cannot fail");
        }
        text
    }
}

impl Range {
    fn nets(self, is_v6: bool) -> Vec<IpNet> {
        if is_v6 {
            Ipv6Subnets::new(Ipv6Addr::from(self.start), Ipv6Addr::from(self.end), 0)
                .map(IpNet::V6)
                .collect()
        } else {
            Ipv4Subnets::new(ipv4(self.start), ipv4(self.end), 0)
                .map(IpNet::V4)
                .collect()
        }
    }
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => u128::from(u32::from(addr)),
        IpAddr::V6(addr) => u128::from(addr),
    }
}

fn ipv4(number: u128) -> Ipv4Addr {
    Ipv4Addr::from(u32::try_from(number).expect("an IPv4 range starts and ends at IPv4 addresses"))
}

fn from_text(text: &str) -> IpRanges {
    let mut date = "";
    let mut listed = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t');
        match (columns.next(), columns.next(), columns.next()) {
            (Some("date"), Some(value), None) => date = value,
            (Some(service), Some(region), Some(nets)) => {
                let owner = Owner {
                    service: service.to_owned(),
                    region: region.to_owned(),
                };
                let nets = nets.split(' ').filter_map(|net| net.parse().ok());
                listed.extend(nets.map(|net| (net, owner.clone())));
            }
            _ => {}
        }
    }
    resolve(date, listed)
}

fn read_list(
    document: &Value,
    list: &'static str,
    prefix: &'static str,
) -> Result<Vec<(IpNet, Owner)>, TopologyError> {
    let entry_error = |index, field, value: Option<&Value>, expected| TopologyError::RangesEntry {
        list,
        index,
        field,
        value: value.map_or_else(|| "nothing".to_owned(), Value::to_string),
        expected,
    };
    let Some(entries) = document.get(list).and_then(Value::as_array) else {
        return Err(entry_error(
            0,
            prefix,
            document.get(list),
            "a list of ranges, as AWS's ip-ranges.json has",
        ));
    };
    let read = |(index, entry): (usize, &Value)| {
        let text = |field: &'static str, expected| {
            let value = entry.get(field);
            value
                .and_then(Value::as_str)
                .ok_or_else(|| entry_error(index, field, value, expected))
        };
        let net = text(prefix, "a CIDR")?;
        let net = net
            .parse()
            .map_err(|_| entry_error(index, prefix, entry.get(prefix), "a CIDR"))?;
        let owner = Owner {
            service: text("service", "a service, such as `S3`")?.to_owned(),
            region: text("region", "a region or `GLOBAL`")?.to_owned(),
        };
        Ok((net, owner))
    };
    entries.iter().enumerate().map(read).collect()
}

/// Lower is better, for one and the same range.
fn preference(owner: &Owner) -> (u8, bool, &Owner) {
    let service = match owner.service.as_str() {
        "AMAZON" => 2,
        "EC2" => 1,
        _ => 0,
    };
    (service, owner.region == "GLOBAL", owner)
}

fn resolve(date: &str, listed: Vec<(IpNet, Owner)>) -> IpRanges {
    let mut owners: Vec<Owner> = listed.iter().map(|(_, owner)| owner.clone()).collect();
    owners.sort();
    owners.dedup();
    let mut v4: BTreeMap<(u128, std::cmp::Reverse<u128>), usize> = BTreeMap::new();
    let mut v6 = v4.clone();
    for (net, owner) in listed {
        let index = owners
            .binary_search(&owner)
            .expect("every listed owner is in the list of owners");
        let nets = if matches!(net, IpNet::V4(_)) {
            &mut v4
        } else {
            &mut v6
        };
        let best = nets
            .entry((
                number(net.network()),
                std::cmp::Reverse(number(net.broadcast())),
            ))
            .or_insert(index);
        if preference(&owner) < preference(&owners[*best]) {
            *best = index;
        }
    }
    let [v4, v6] = [v4, v6].map(|nets| {
        flatten(
            nets.into_iter()
                .map(|((start, std::cmp::Reverse(end)), owner)| Range { start, end, owner }),
        )
    });
    IpRanges(Kept::Given(Arc::new(Ranges {
        date: date.to_owned(),
        owners,
        v4,
        v6,
    })))
}

/// Turns nested ranges, outer before inner, into ranges side by side: the innermost wins.
fn flatten(nested: impl Iterator<Item = Range>) -> Vec<Range> {
    let mut flat: Vec<Range> = Vec::new();
    let mut emit = |start: u128, end: u128, owner: usize| {
        if start > end {
            return;
        }
        match flat.last_mut() {
            Some(last) if last.owner == owner && last.end.checked_add(1) == Some(start) => {
                last.end = end
            }
            _ => flat.push(Range { start, end, owner }),
        }
    };
    let mut open: Vec<Range> = Vec::new();
    let mut next = 0;
    for range in nested {
        while let Some(outer) = open.pop_if(|outer| outer.end < range.start) {
            emit(next, outer.end, outer.owner);
            next = outer.end + 1;
        }
        if let Some(outer) = open.last()
            && range.start > next
        {
            emit(next, range.start - 1, outer.owner);
        }
        next = range.start;
        open.push(range);
    }
    while let Some(outer) = open.pop() {
        emit(next, outer.end, outer.owner);
        next = next.max(outer.end.saturating_add(1));
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(prefixes: &[(&str, &str, &str)]) -> IpRanges {
        resolve(
            "2026-01-02-03-04-05",
            prefixes
                .iter()
                .map(|(net, service, region)| {
                    (
                        net.parse().unwrap(),
                        Owner {
                            service: (*service).to_owned(),
                            region: (*region).to_owned(),
                        },
                    )
                })
                .collect(),
        )
    }

    fn service(ranges: &IpRanges, addr: &str) -> Option<(String, String)> {
        ranges
            .owner(addr.parse().unwrap())
            .map(|owner| (owner.service.clone(), owner.region.clone()))
    }

    #[test]
    fn chooses_the_most_specific_then_a_service_then_not_ec2() {
        let ranges = ranges(&[
            ("3.0.0.0/8", "AMAZON", "us-east-1"),
            ("3.0.0.0/8", "EC2", "us-east-1"),
            ("3.5.0.0/16", "AMAZON", "eu-west-1"),
            ("3.5.0.0/16", "EC2", "eu-west-1"),
            ("3.5.0.0/16", "S3", "eu-west-1"),
            ("3.5.9.0/24", "AMAZON", "us-east-2"),
            ("2600:1f00::/24", "EC2", "us-east-1"),
            ("2600:1f00::/24", "AMAZON", "us-east-1"),
        ]);
        let is = |addr: &str, expected: Option<(&str, &str)>| {
            let expected =
                expected.map(|(service, region)| (service.to_owned(), region.to_owned()));
            assert_eq!(service(&ranges, addr), expected, "{addr}");
        };
        is("2.255.255.255", None);
        is("3.0.0.0", Some(("EC2", "us-east-1")));
        is("3.4.255.255", Some(("EC2", "us-east-1")));
        is("3.5.0.0", Some(("S3", "eu-west-1")));
        is("3.5.9.0", Some(("AMAZON", "us-east-2")));
        is("3.5.9.255", Some(("AMAZON", "us-east-2")));
        is("3.5.10.0", Some(("S3", "eu-west-1")));
        is("3.255.255.255", Some(("EC2", "us-east-1")));
        is("4.0.0.0", None);
        is("2600:1f00::1", Some(("EC2", "us-east-1")));
        is("2600:2000::1", None);
    }

    #[test]
    fn merges_what_is_adjacent_and_equal() {
        let ranges = ranges(&[
            ("10.0.0.0/9", "S3", "a"),
            ("10.128.0.0/9", "S3", "a"),
            ("11.0.0.0/8", "EC2", "a"),
        ]);
        assert_eq!(ranges.ranges().v4.len(), 2);
        assert_eq!(
            ranges.nets_of("S3", "a"),
            ["10.0.0.0/8".parse::<IpNet>().unwrap()]
        );
    }

    #[test]
    fn its_text_reads_back_the_same() {
        let ranges = ranges(&[
            ("3.0.0.0/8", "EC2", "r"),
            ("3.5.0.0/16", "S3", "r"),
            ("2600::/16", "AMAZON", "GLOBAL"),
        ]);
        let again = from_text(&ranges.to_text());
        assert_eq!(again.ranges().v4, ranges.ranges().v4);
        assert_eq!(again.ranges().v6, ranges.ranges().v6);
        assert_eq!(again.ranges().owners, ranges.ranges().owners);
        assert_eq!(again.date(), "2026-01-02");
    }

    #[test]
    fn the_built_in_copy_has_a_date_and_knows_the_big_services() {
        let ranges = IpRanges::built_in();
        assert_eq!(ranges.date().len(), 10);
        assert!(ranges.date() >= "2026-08-22");
        assert!(!ranges.nets_of("S3", "us-east-1").is_empty());
        assert!(!ranges.nets_of("DYNAMODB", "eu-west-1").is_empty());
        assert_eq!(ranges.owner("192.0.2.1".parse().unwrap()), None);
    }

    #[test]
    fn says_what_is_wrong_with_a_list() {
        let error = |text: &str| IpRanges::from_json(text).unwrap_err().to_string();
        assert_eq!(
            error("{"),
            "line 1, column 1: not valid JSON, expected AWS's ip-ranges.json"
        );
        assert_eq!(
            error("{}"),
            "prefixes[0]: field `ip_prefix`: expected a list of ranges, as AWS's ip-ranges.json has, got `nothing`"
        );
        assert_eq!(
            error(r#"{"prefixes": [{"ip_prefix": "3.0.0/8", "service": "EC2", "region": "r"}]}"#),
            "prefixes[0]: field `ip_prefix`: expected a CIDR, got `\"3.0.0/8\"`"
        );
    }

    #[test]
    #[ignore = "rewrites src/topology/ip_ranges.tsv from the file that FLOWSCOUT_IP_RANGES names"]
    fn rewrites_the_built_in_ranges() {
        let json = std::fs::read_to_string(std::env::var("FLOWSCOUT_IP_RANGES").unwrap()).unwrap();
        let text = IpRanges::from_json(&json).unwrap().to_text();
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/src/topology/ip_ranges.tsv"),
            text,
        )
        .unwrap();
    }
}
