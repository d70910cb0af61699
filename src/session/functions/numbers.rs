//! `number_in`: whether a port or a protocol is one of a list that a parameter names.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

/// `number_in(numbers, n)`: whether `n` is one of the numbers, `from-to` for a range, separated by spaces; NULL if either is NULL.
///
/// # Errors
/// Execution fails on a word that is neither: a typing mistake must not read as "no rows".
pub(super) fn number_in() -> ScalarUDF {
    let implementation = |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let (lists, numbers) = (
            arrays[0].as_string_view(),
            arrays[1].as_primitive::<Int64Type>(),
        );
        let mut parsed: Option<(String, Vec<RangeInclusive<i64>>)> = None;
        let mut builder = BooleanBuilder::with_capacity(numbers.len());
        for (list, number) in lists.iter().zip(numbers) {
            let (Some(list), Some(number)) = (list, number) else {
                builder.append_null();
                continue;
            };
            if parsed.as_ref().is_none_or(|(text, _)| text != list) {
                parsed = Some((list.to_owned(), parse(list)?));
            }
            let ranges = parsed.as_ref().map(|(_, ranges)| ranges);
            builder.append_option(
                ranges.map(|ranges| ranges.iter().any(|range| range.contains(&number))),
            );
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    };
    create_udf(
        "number_in",
        vec![DataType::Utf8View, DataType::Int64],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(implementation),
    )
}

fn parse(list: &str) -> Result<Vec<RangeInclusive<i64>>> {
    let mut ranges = Vec::new();
    for word in list.split_whitespace() {
        let (from, to) = word.split_once('-').unwrap_or((word, word));
        match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) if from <= to => ranges.push(from..=to),
            _ => {
                return exec_err!(
                    "number_in: expected numbers or ranges such as `22 5985-5986`, got `{word}`"
                );
            }
        }
    }
    Ok(ranges)
}
