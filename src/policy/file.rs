//! `policy.toml` as it is typed, and its check: what each key takes.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use chrono::{DateTime, Days, NaiveDate, Utc};
use ipnet::IpNet;
use serde::Deserialize;
use toml::value::Datetime;

use super::{Entry, PolicyError, Remote, SubnetMatch, protocol_number};

/// The entries of a policy's text; `path` is named in errors.
pub(super) fn entries(text: &str, path: &Path) -> Result<Vec<Entry>, PolicyError> {
    let file: File = toml::from_str(text).map_err(|error| PolicyError::Syntax {
        path: path.to_owned(),
        detail: located(text, &error),
    })?;
    let numbered = (1..).zip(file.expect);
    numbered
        .map(|(entry, typed)| Check { path, entry }.entry(typed))
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    expect: Vec<Typed>,
}

/// An entry as it is typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    detection: String,
    subnets: Option<OneOrMany<String>>,
    interfaces: Option<OneOrMany<String>>,
    vpcs: Option<OneOrMany<String>>,
    remote: Option<OneOrMany<String>>,
    ports: Option<OneOrMany<Number>>,
    protocol: Option<OneOrMany<Number>>,
    reason: String,
    until: Option<Datetime>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// A port or a protocol.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(i64),
    Text(String),
}

/// The line, the column and the plain words of a TOML error.
fn located(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    match error.span() {
        Some(span) => {
            let before = &text[..span.start.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
            format!("line {line}, column {column}: {message}")
        }
        None => message.to_owned(),
    }
}

/// The check of one entry.
#[derive(Clone, Copy)]
struct Check<'p> {
    path: &'p Path,
    /// Counted from 1.
    entry: usize,
}

impl Check<'_> {
    fn wrong(self, key: &'static str, value: &str, expected: &'static str) -> PolicyError {
        PolicyError::Value {
            path: self.path.to_owned(),
            entry: self.entry,
            key,
            value: value.to_owned(),
            expected,
        }
    }

    fn entry(self, typed: Typed) -> Result<Entry, PolicyError> {
        if typed.reason.trim().is_empty() {
            let expected = "why the traffic is expected, in words";
            return Err(self.wrong("reason", &typed.reason, expected));
        }
        let id = |key, prefix: &'static str, expected| {
            move |id: String| match id.starts_with(prefix) {
                true => Ok(id),
                false => Err(self.wrong(key, &id, expected)),
            }
        };
        let interface = id("interfaces", "eni-", "an interface id `eni-…`");
        let vpc = id("vpcs", "vpc-", "a VPC id `vpc-…`");
        Ok(Entry {
            detection: typed.detection,
            subnets: self.each("subnets", typed.subnets, |text| self.subnet(text))?,
            interfaces: HashSet::from_iter(self.each("interfaces", typed.interfaces, interface)?),
            vpcs: HashSet::from_iter(self.each("vpcs", typed.vpcs, vpc)?),
            remote: self.each("remote", typed.remote, |text| self.remote(text))?,
            ports: self.each("ports", typed.ports, |port| self.ports(port))?,
            protocols: self.each("protocol", typed.protocol, |number| self.protocol(number))?,
            reason: typed.reason,
            ends: typed.until.map(|until| self.end_of(until)).transpose()?,
        })
    }

    /// The values of a key; none where it is left out.
    fn each<T, U>(
        self,
        key: &'static str,
        values: Option<OneOrMany<T>>,
        check: impl FnMut(T) -> Result<U, PolicyError>,
    ) -> Result<Vec<U>, PolicyError> {
        let values = match values {
            None => Vec::new(),
            Some(OneOrMany::One(value)) => vec![value],
            // Any of no values is none: such an entry would expect nothing, and was meant to expect something.
            Some(OneOrMany::Many(values)) if values.is_empty() => {
                let expected = "at least one value; leave the key out to expect any";
                return Err(self.wrong(key, "[]", expected));
            }
            Some(OneOrMany::Many(values)) => values,
        };
        values.into_iter().map(check).collect()
    }

    fn subnet(self, text: String) -> Result<SubnetMatch, PolicyError> {
        let wrong = |expected| Err(self.wrong("subnets", &text, expected));
        match text.strip_prefix("tag:").map(|tag| tag.split_once('=')) {
            Some(Some((key, value))) if !key.is_empty() => Ok(SubnetMatch::Tag {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            Some(_) => wrong("`tag:Key=Value`"),
            None if text.starts_with("subnet-") => Ok(SubnetMatch::Id(text)),
            None => wrong("a subnet id `subnet-…` or `tag:Key=Value`"),
        }
    }

    fn remote(self, text: String) -> Result<Remote, PolicyError> {
        if let Some(service) = text.strip_prefix("aws:") {
            return Ok(Remote::Service(service.to_owned()));
        }
        if text.starts_with("subnet-") {
            return Ok(Remote::Subnet(text));
        }
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let block = text.parse::<IpNet>().ok().or_else(address);
        block.map(Remote::Block).ok_or_else(|| {
            let expected = "a CIDR block, an address, `aws:SERVICE` or a subnet id";
            self.wrong("remote", &text, expected)
        })
    }

    fn ports(self, port: Number) -> Result<(i64, i64), PolicyError> {
        let (text, range) = match port {
            Number::Number(number) => (number.to_string(), Some((number, number))),
            Number::Text(text) => {
                let (from, to) = text.split_once('-').unwrap_or((&text, &text));
                let range = from.trim().parse().ok().zip(to.trim().parse().ok());
                (text, range)
            }
        };
        range
            .filter(|(from, to)| (0..=65535).contains(from) && (*from..=65535).contains(to))
            .ok_or_else(|| self.wrong("ports", &text, "a port 0-65535 or a range \"from-to\""))
    }

    fn protocol(self, protocol: Number) -> Result<i64, PolicyError> {
        let (text, number) = match protocol {
            Number::Number(number) => (number.to_string(), Some(number)),
            Number::Text(text) => {
                let number = protocol_number(&text);
                (text, number)
            }
        };
        number
            .filter(|number| (0..=255).contains(number))
            .ok_or_else(|| {
                let expected = "\"tcp\", \"udp\", \"icmp\" or a number 0-255";
                self.wrong("protocol", &text, expected)
            })
    }

    /// The first instant after the last day.
    fn end_of(self, until: Datetime) -> Result<DateTime<Utc>, PolicyError> {
        let date = until.date.filter(|_| until.time.is_none());
        let day = date.and_then(|date| {
            NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())
        });
        let next = day.and_then(|day| day.checked_add_days(Days::new(1)));
        let end = next.and_then(|next| next.and_hms_opt(0, 0, 0));
        let wrong = || self.wrong("until", &until.to_string(), "a date such as 2026-12-31");
        Ok(end.ok_or_else(wrong)?.and_utc())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::policy::Policy;

    fn refused(entry: &str) -> String {
        let text =
            format!("[[expect]]\ndetection = \"egress_unexpected\"\nreason = \"r\"\n{entry}\n");
        Policy::parse(&text, Path::new("policy.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_key_with_no_values_is_refused_rather_than_expect_everything() {
        for key in [
            "subnets",
            "interfaces",
            "vpcs",
            "remote",
            "ports",
            "protocol",
        ] {
            let message = refused(&format!("{key} = []"));
            assert!(
                message.contains(&format!("`{key}`: expected at least one value")),
                "{message}"
            );
        }
    }

    #[test]
    fn a_typing_mistake_is_named_with_its_place() {
        assert_eq!(
            refused("port = [443]"),
            "policy `policy.toml`: line 4, column 1: unknown field `port`, expected one of `detection`, `subnets`, `interfaces`, `vpcs`, \
             `remote`, `ports`, `protocol`, `reason`, `until`"
        );
        assert_eq!(
            refused("ports = [\"90-80\"]"),
            "policy `policy.toml`: entry 1: `ports`: expected a port 0-65535 or a range \"from-to\", got `90-80`"
        );
        assert!(refused("until = 2026-12-31T00:00:00Z").contains("a date such as 2026-12-31"));
    }
}
