//! `expected_by`: the reason for which the owner's policy expects a flow, applied flow by flow and at the flow's time.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use chrono::DateTime;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

use crate::policy::{Policy, Subject};
use crate::topology::History;

/// `expected_by(detection, subnet_id, interface_id, vpc_id, remote_addr, remote_subnet_id, remote_service, port, protocol, time)`:
/// the `reason` of the first policy entry that expects the flow, NULL where none does. The first three ids are the client's side
/// (for a spike the refusing side's), the remote ones the other end's.
pub(super) fn expected_by(history: Arc<History>, policy: Arc<Policy>) -> ScalarUDF {
    let text = DataType::Utf8View;
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let implementation = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let texts: Vec<_> = arrays[..7]
            .iter()
            .map(|array| array.as_string_view())
            .collect();
        let (port, protocol) = (
            arrays[7].as_primitive::<Int64Type>(),
            arrays[8].as_primitive::<Int64Type>(),
        );
        let time = arrays[9].as_primitive::<TimestampMicrosecondType>();
        let rows = time.len();
        let mut builder = StringViewBuilder::with_capacity(rows).with_deduplicate_strings();
        for row in 0..rows {
            if policy.is_empty() {
                builder.append_null();
                continue;
            }
            let text = |column: usize| {
                texts[column]
                    .is_valid(row)
                    .then(|| texts[column].value(row))
            };
            let when = time
                .is_valid(row)
                .then(|| DateTime::from_timestamp_micros(time.value(row)))
                .flatten();
            let subject = Subject {
                subnet_id: text(1),
                interface_id: text(2),
                vpc_id: text(3),
                remote: text(4).and_then(|address| address.parse::<IpAddr>().ok()),
                remote_subnet_id: text(5),
                remote_service: text(6),
                port: port.is_valid(row).then(|| port.value(row)),
                protocol: protocol.is_valid(row).then(|| protocol.value(row)),
                at: when,
            };
            builder.append_option(
                text(0).and_then(|detection| policy.expects(detection, &subject, &history)),
            );
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    };
    create_udf(
        "expected_by",
        [
            vec![text.clone(); 7],
            vec![DataType::Int64, DataType::Int64, time],
        ]
        .concat(),
        text,
        Volatility::Immutable,
        Arc::new(implementation),
    )
}
