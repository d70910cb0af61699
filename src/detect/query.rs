//! A detection's file: the comment header and the `SELECT`.

use std::collections::BTreeMap;

use datafusion::common::ScalarValue;

use super::{DetectError, Severity};
use crate::batch::flows_schema;

/// A detection as its file says.
#[derive(Debug, Clone)]
pub struct Detection {
    /// The file's stem, stable.
    pub id: String,
    /// One line for a reader.
    pub title: String,
    /// What it is run with: `core` is run where nothing is named, and so is what has no group.
    pub group: Option<String>,
    /// What a finding is rated where its row doesn't say.
    pub severity: Severity,
    /// MITRE ATT&CK techniques.
    pub attack: Vec<String>,
    /// What the `SELECT` can be told, with defaults.
    pub parameters: Vec<Parameter>,
    /// Columns of `flows` that version 2 lacks and it needs, each with what it can't tell without.
    pub fields: Vec<(String, String)>,
    /// The keys that one finding is about; its fingerprint is made of them.
    pub finding_key: Vec<String>,
    /// What it looks for.
    pub description: String,
    /// What fires it without being bad.
    pub false_positives: String,
    /// The `SELECT`.
    pub sql: String,
    /// The file, whole.
    pub text: String,
}

/// A named parameter of a detection.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The name, without `$`.
    pub name: String,
    /// The value where none is given; its kind is the parameter's.
    pub default: ParameterValue,
    /// What it does, and where its default comes from.
    pub help: String,
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterValue {
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Decimal(f64),
    /// Text, in single quotes in the header.
    Text(String),
}

impl ParameterValue {
    fn of_header(text: &str) -> Option<Self> {
        if let Some(quoted) = text
            .strip_prefix('\'')
            .and_then(|rest| rest.strip_suffix('\''))
        {
            return Some(Self::Text(quoted.to_owned()));
        }
        text.parse()
            .map(Self::Integer)
            .or_else(|_| text.parse().map(Self::Decimal))
            .ok()
    }

    /// A value as typed on the command line, of this default's kind.
    ///
    /// # Errors
    /// When the text is not of that kind.
    pub fn parse_like(&self, name: &str, text: &str) -> Result<Self, DetectError> {
        let (value, expected) = match self {
            Self::Integer(_) => (text.parse().ok().map(Self::Integer), "a whole number"),
            Self::Decimal(_) => (text.parse().ok().map(Self::Decimal), "a number"),
            Self::Text(_) => (Some(Self::Text(text.to_owned())), "text"),
        };
        value.ok_or_else(|| DetectError::ParameterValue {
            name: name.to_owned(),
            value: text.to_owned(),
            expected,
        })
    }

    /// The value as the query engine takes it.
    pub fn to_scalar(&self) -> ScalarValue {
        match self {
            Self::Integer(value) => ScalarValue::Int64(Some(*value)),
            Self::Decimal(value) => ScalarValue::Float64(Some(*value)),
            Self::Text(value) => ScalarValue::Utf8View(Some(value.clone())),
        }
    }
}

const KEYS: [&str; 9] = [
    "title",
    "group",
    "severity",
    "attack",
    "fields",
    "parameters",
    "finding_key",
    "description",
    "false_positives",
];

impl Detection {
    /// Reads a detection's text.
    ///
    /// # Errors
    /// When the header has an unknown key, lacks `title` or `severity`, or a value is not what its key takes.
    pub fn parse(id: &str, text: &str) -> Result<Self, DetectError> {
        let wrong = |line: usize, detail: String| DetectError::Header {
            id: id.to_owned(),
            line,
            detail,
        };
        let mut values: BTreeMap<&'static str, (usize, Vec<&str>)> = BTreeMap::new();
        let mut current = None;
        let mut header_lines = 0;
        for (at, line) in text.lines().enumerate() {
            let Some(comment) = line.strip_prefix("--") else {
                break;
            };
            header_lines = at + 1;
            let indented = comment.starts_with("  ");
            let content = comment.trim();
            if content.is_empty() {
                continue;
            }
            if !indented && let Some((key, value)) = content.split_once(':') {
                let Some(key) = KEYS.into_iter().find(|known| *known == key.trim()) else {
                    return Err(wrong(
                        at + 1,
                        format!(
                            "unknown key `{}`; expected one of {}",
                            key.trim(),
                            KEYS.join(" ")
                        ),
                    ));
                };
                if values.insert(key, (at + 1, vec![value.trim()])).is_some() {
                    return Err(wrong(at + 1, format!("key `{key}` is given twice")));
                }
                current = Some(key);
            } else if let Some((_, lines)) = current.and_then(|key| values.get_mut(key)) {
                lines.push(content);
            } else {
                return Err(wrong(
                    at + 1,
                    format!("expected `-- key: value`, got `{line}`"),
                ));
            }
        }

        let prose = |key: &str| {
            values
                .get(key)
                .map(|(_, lines)| lines.join(" ").trim().to_owned())
                .unwrap_or_default()
        };
        let required = |key: &str| match prose(key) {
            empty if empty.is_empty() => Err(wrong(1, format!("the header lacks `{key}`"))),
            value => Ok(value),
        };
        let severity = required("severity")?
            .parse()
            .map_err(|detail| wrong(values["severity"].0, detail))?;
        let mut parameters = Vec::new();
        if let Some((line, lines)) = values.get("parameters") {
            for (offset, content) in lines
                .iter()
                .enumerate()
                .filter(|(_, content)| !content.is_empty())
            {
                match parameter(content) {
                    Some(parameter) => parameters.push(parameter),
                    None => {
                        return Err(wrong(
                            line + offset,
                            format!("expected `name = default  what it does`, got `{content}`"),
                        ));
                    }
                }
            }
        }
        let mut fields = Vec::new();
        if let Some((line, lines)) = values.get("fields") {
            for (offset, content) in lines
                .iter()
                .enumerate()
                .filter(|(_, content)| !content.is_empty())
            {
                let field = content
                    .split_once('=')
                    .map(|(name, without)| (name.trim().to_owned(), without.trim().to_owned()));
                match field {
                    Some((name, _)) if flows_schema().index_of(&name).is_err() => {
                        return Err(wrong(
                            line + offset,
                            format!("`{name}` is no column of `flows`"),
                        ));
                    }
                    Some(field) => fields.push(field),
                    None => {
                        return Err(wrong(
                            line + offset,
                            format!(
                                "expected `column = what can't be told without it`, got `{content}`"
                            ),
                        ));
                    }
                }
            }
        }
        Ok(Self {
            id: id.to_owned(),
            title: required("title")?,
            group: Some(prose("group")).filter(|group| !group.is_empty()),
            fields,
            severity,
            attack: prose("attack")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            parameters,
            finding_key: prose("finding_key")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            description: prose("description"),
            false_positives: prose("false_positives"),
            sql: text
                .lines()
                .skip(header_lines)
                .collect::<Vec<_>>()
                .join("\n")
                .trim()
                .trim_end_matches(';')
                .to_owned(),
            text: text.to_owned(),
        })
    }
}

fn parameter(content: &str) -> Option<Parameter> {
    let (name, rest) = content.split_once('=')?;
    let rest = rest.trim_start();
    let end = match rest.strip_prefix('\'') {
        Some(quoted) => quoted.find('\'')? + 2,
        None => rest.find(char::is_whitespace).unwrap_or(rest.len()),
    };
    let (default, help) = rest.split_at(end);
    let name = name.trim();
    (!name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
    .then_some(())?;
    Some(Parameter {
        name: name.to_owned(),
        default: ParameterValue::of_header(default)?,
        help: help.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
-- title: Something odd
-- severity: high
-- attack: T1041 T1048
-- parameters:
--   floor = 100        attempts
--   ratio = 2.5        times the median
--   word = 'a b'       any text
-- description: First line
--   and its second line.
-- false_positives: none
SELECT 1
";

    #[test]
    fn reads_every_key_of_a_header() {
        let detection = Detection::parse("odd", TEXT).unwrap();
        assert_eq!(detection.title, "Something odd");
        assert_eq!(detection.severity, Severity::High);
        assert_eq!(detection.attack, ["T1041", "T1048"]);
        assert_eq!(
            detection.parameters[1].default,
            ParameterValue::Decimal(2.5)
        );
        assert_eq!(
            detection.parameters[2].default,
            ParameterValue::Text("a b".to_owned())
        );
        assert_eq!(detection.description, "First line and its second line.");
        assert_eq!(detection.sql, "SELECT 1");
    }

    #[test]
    fn refuses_an_unknown_key_with_its_line() {
        let error = Detection::parse("odd", "-- title: x\n-- colour: red\nSELECT 1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "detection `odd`: line 2: unknown key `colour`; expected one of title group severity attack fields parameters finding_key description \
             false_positives"
        );
    }

    #[test]
    fn refuses_a_header_without_severity() {
        let error = Detection::parse("odd", "-- title: x\nSELECT 1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "detection `odd`: line 1: the header lacks `severity`"
        );
    }
}
