//! `snapshot_of` and `nacl_rule`: which snapshot of the topology is in force at a time, and which rule of a network ACL decides then.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Builder, PrimitiveArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

use crate::nacl::{Action, Direction, Nacl, Packet};
use crate::topology::History;

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn time_of(times: &PrimitiveArray<TimestampMicrosecondType>, row: usize) -> Option<DateTime<Utc>> {
    times
        .is_valid(row)
        .then(|| DateTime::from_timestamp_micros(times.value(row)))
        .flatten()
}

/// `snapshot_of(time)`: the `snapshot_at` of the topology as of that time: the latest at or before it, else the earliest; NULL without any.
pub(super) fn snapshot_of(history: Arc<History>) -> ScalarUDF {
    let implementation = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let times = arrays[0].as_primitive::<TimestampMicrosecondType>();
        let snapshots: TimestampMicrosecondArray = (0..times.len())
            .map(|row| {
                let time = time_of(times, row).filter(|_| !history.is_empty())?;
                Some(history.at(time).at().timestamp_micros())
            })
            .collect();
        let snapshots: ArrayRef = Arc::new(snapshots.with_timezone("UTC"));
        Ok(ColumnarValue::Array(snapshots))
    };
    create_udf(
        "snapshot_of",
        vec![time()],
        time(),
        Volatility::Immutable,
        Arc::new(implementation),
    )
}

/// `nacl_rule(subnet_id, direction, remote_addr, dst_port, protocol, time)`: the number of the rule of the subnet's network ACL, as of that
/// time, that decides a packet into (`ingress`) or out of (`egress`) the subnet: 32767 and 32768 are the implicit deny. NULL where the ACL is
/// not known, or where it depends on what flow logs do not record. A packet that stays in its subnet meets no ACL.
pub(super) fn nacl_rule(history: Arc<History>) -> ScalarUDF {
    let implementation = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let texts = [0, 1, 2].map(|column| arrays[column].as_string_view());
        let (ports, protocols) = (
            arrays[3].as_primitive::<Int64Type>(),
            arrays[4].as_primitive::<Int64Type>(),
        );
        let times = arrays[5].as_primitive::<TimestampMicrosecondType>();
        let mut nacls: HashMap<(DateTime<Utc>, &str), Option<Nacl>> = HashMap::new();
        let mut builder = Int32Builder::with_capacity(times.len());
        for row in 0..times.len() {
            let text = |column: usize| {
                texts[column]
                    .is_valid(row)
                    .then(|| texts[column].value(row))
            };
            let number = |numbers: &PrimitiveArray<Int64Type>| {
                numbers.is_valid(row).then(|| numbers.value(row))
            };
            let rule = (|| {
                let (subnet_id, network) = (text(0)?, history.at(time_of(times, row)?));
                let nacl = nacls
                    .entry((network.at(), subnet_id))
                    .or_insert_with(|| {
                        let nacl_id = network.subnet(subnet_id)?.nacl_id.as_deref()?;
                        Some(Nacl::from_record(network.nacl(nacl_id)?))
                    })
                    .as_ref()?;
                let verdict = nacl.evaluate(&Packet {
                    direction: match text(1)? {
                        "ingress" => Direction::Ingress,
                        "egress" => Direction::Egress,
                        _ => return None,
                    },
                    protocol: u8::try_from(number(protocols)?).ok()?,
                    remote: text(2)?.parse::<IpAddr>().ok()?,
                    dst_port: number(ports).and_then(|port| u16::try_from(port).ok()),
                });
                (verdict.action != Action::Undecidable).then_some(verdict.rule_number)
            })();
            builder.append_option(rule.map(i32::from));
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    };
    create_udf(
        "nacl_rule",
        vec![
            DataType::Utf8View,
            DataType::Utf8View,
            DataType::Utf8View,
            DataType::Int64,
            DataType::Int64,
            time(),
        ],
        DataType::Int32,
        Volatility::Immutable,
        Arc::new(implementation),
    )
}
