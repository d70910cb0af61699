//! A header: which fields a record has, in which order.
//!
//! The header decides everything. Neither the version number (it is only the highest version among the chosen fields)
//! nor the number of tokens says what a record holds
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>).

use crate::decode::field::{self, FIELDS, Rule};

/// The names and order of a record's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    columns: Vec<Column>,
}

/// One position of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// As written, without `${…}`.
    pub(crate) name: String,
    /// The place in [`FIELDS`]; none for a name AWS had not documented when this was written.
    pub(crate) field: Option<usize>,
    pub(crate) rule: Rule,
}

/// Why a log format cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// There is no field in it.
    #[error("the log format is empty, expected field names as in `version account-id srcaddr`")]
    Empty,
    /// A name that cannot be a field's.
    #[error(
        "`{name}` in the log format is not a field name, expected lower case letters, digits, `-` or `_`"
    )]
    Name {
        /// The name as given.
        name: String,
    },
    /// A field that is named twice.
    #[error("field `{name}` is twice in the log format")]
    Twice {
        /// The name as given.
        name: String,
    },
    /// Not one of the names is a flow log field.
    #[error("none of the names in the log format is a flow log field, the first is `{name}`")]
    Unknown {
        /// The first name as given.
        name: String,
    },
}

impl Header {
    /// The header that `line` is, or `None` when it is something else.
    ///
    /// A header is a line of field names, each at most once, of which one at least is known and four are, or as many as there are plain
    /// words: AWS keeps adding fields, so names from the future must not hide the others, and prose must not pass. It need not
    /// begin with `version`; the console's "select all" order is alphabetical.
    pub fn parse(line: &str) -> Option<Self> {
        // Called for every line that begins with a letter: give up at the first token that is no name, before allocating.
        let (mut known, mut words) = (0, 0);
        for token in line.split_ascii_whitespace() {
            let name = bare_name(token)?;
            if field::index_of(name).is_some() {
                known += 1;
            } else if !token.contains(['-', '_', '{']) {
                words += 1;
            }
        }
        if known == 0 || (known < words && known < 4) {
            return None;
        }
        let names = line.split_ascii_whitespace().filter_map(bare_name);
        Self::from_names(names).ok()
    }

    /// The header that a log format describes: the API's form (`${version} ${account-id}`), or plain names, separated by blanks or commas.
    ///
    /// # Errors
    ///
    /// When a name cannot be a field's or stands there twice, or when no name is known.
    pub fn from_log_format(format: &str) -> Result<Self, FormatError> {
        let tokens = || {
            format
                .split(|c: char| c == ',' || c.is_whitespace())
                .filter(|token| !token.is_empty())
        };
        if let Some(bad) = tokens().find(|token| bare_name(token).is_none()) {
            return Err(FormatError::Name {
                name: bad.to_owned(),
            });
        }
        let header = Self::from_names(tokens().filter_map(bare_name))?;
        match header.columns.first() {
            None => Err(FormatError::Empty),
            Some(first) if header.columns.iter().all(|column| column.field.is_none()) => {
                Err(FormatError::Unknown {
                    name: first.name.clone(),
                })
            }
            Some(_) => Ok(header),
        }
    }

    /// The default format: the 14 fields of version 2.
    pub fn v2_default() -> Self {
        let fields = FIELDS
            .iter()
            .enumerate()
            .filter(|(_, field)| field.since == 2);
        let columns = fields.map(|(index, field)| Column {
            name: field.name.to_owned(),
            field: Some(index),
            rule: field.rule,
        });
        Self {
            columns: columns.collect(),
        }
    }

    /// A header of any names: for Parquet, where nothing but the names counts.
    pub(crate) fn from_names<'n>(
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Self, FormatError> {
        let mut columns: Vec<Column> = Vec::new();
        for name in names {
            let field = field::index_of(name);
            let twice = columns
                .iter()
                .any(|column| column.name == name || (field.is_some() && column.field == field));
            if twice {
                return Err(FormatError::Twice {
                    name: name.to_owned(),
                });
            }
            let rule = field.map_or(Rule::Unknown, |index| FIELDS[index].rule);
            columns.push(Column {
                name: name.to_owned(),
                field,
                rule,
            });
        }
        Ok(Self { columns })
    }

    /// How many fields a record has.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a header has at least one field"
    )]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// The names in their order, as written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The position of a field, given by its place in [`FIELDS`].
    pub fn position(&self, field: usize) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.field == Some(field))
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(crate) fn position_of(&self, column: &str) -> Option<usize> {
        self.position(field::index_of(column)?)
    }
}

/// A token without `${…}`, when it looks like a field's name. More than two digits make it an id, as in `eni-0123456789abcdef0`.
fn bare_name(token: &str) -> Option<&str> {
    let name = match token.strip_prefix("${") {
        Some(rest) => rest.strip_suffix('}')?,
        None => token,
    };
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return None;
    }
    let mut digits = 0;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'-' | b'_' => {}
            b'0'..=b'9' if digits < 2 => digits += 1,
            _ => return None,
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_spelling_of_a_header() {
        let plain = Header::parse("srcaddr dst-port log-status bytes").unwrap();
        assert_eq!(
            plain.names().collect::<Vec<_>>(),
            ["srcaddr", "dst-port", "log-status", "bytes"]
        );
        for spelling in [
            "account-id log-status",
            "account_id  log_status",
            "${account-id}\t${log-status}",
        ] {
            let header = Header::parse(spelling).unwrap();
            assert_eq!(
                (header.position(1), header.position(13)),
                (Some(0), Some(1)),
                "{spelling}"
            );
        }
    }

    #[test]
    fn a_header_of_one_field_is_one() {
        assert_eq!(Header::parse("srcaddr").unwrap().len(), 1);
    }

    #[test]
    fn unknown_names_are_kept_when_enough_others_are_known() {
        let header = Header::parse("version new-field srcaddr newer_field").unwrap();
        assert_eq!(header.columns()[1].name, "new-field");
        assert_eq!(header.columns()[3].field, None);
        assert!(Header::parse("version new-field other_field ${third}").is_some());
        assert!(Header::parse("the quick type of fox").is_none());
        assert!(Header::parse("eni-0123456789abcdef0 type").is_none());
    }

    #[test]
    fn records_and_prose_are_not_headers() {
        let v2 =
            "2 123456789010 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 40 1418530010 1418530070 ACCEPT OK";
        for line in [
            v2,
            "eni-1 10.0.0.1",
            "",
            "- -",
            "version = 1",
            "eni-1 vpc-2",
            "version: type",
            "version version",
            "Version Type",
        ] {
            assert!(Header::parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn the_default_is_the_fourteen_fields_of_version_two() {
        let default = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
        assert_eq!(Header::parse(default), Some(Header::v2_default()));
    }

    #[test]
    fn a_log_format_is_read_as_the_api_prints_it() {
        let expected = Header::parse("version vpc-id srcaddr").unwrap();
        assert_eq!(
            Header::from_log_format("${version} ${vpc-id} ${srcaddr}"),
            Ok(expected.clone())
        );
        assert_eq!(
            Header::from_log_format(" version, vpc-id,srcaddr\n"),
            Ok(expected)
        );
        let underscores = Header::from_log_format("version vpc_id").unwrap();
        assert_eq!(underscores.position_of("vpc_id"), Some(1));
    }

    #[test]
    fn a_log_format_that_cannot_be_is_refused() {
        let message = |format| Header::from_log_format(format).unwrap_err().to_string();
        insta::assert_snapshot!(message(" , "), @"the log format is empty, expected field names as in `version account-id srcaddr`");
        insta::assert_snapshot!(message("version Src"), @"`Src` in the log format is not a field name, expected lower case letters, digits, `-` or `_`");
        insta::assert_snapshot!(message("vpc-id vpc_id"), @"field `vpc_id` is twice in the log format");
        insta::assert_snapshot!(message("foo bar"), @"none of the names in the log format is a flow log field, the first is `foo`");
    }
}
