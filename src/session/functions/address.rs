//! `cidr_contains`, `ip_prefix`, `ip_scope`, `aws_service` and `aws_region`: what an address is by itself.
//!
//! An address means something only inside a VPC; these functions answer for an address alone, as a filter in an
//! analyst's SQL needs it. The columns of `traffic` answer for an address *in a flow*.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Int64Type};
use chrono::{DateTime, Utc};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use ipnet::IpNet;

use crate::topology::{History, Scope, Settings, Vantage};

/// `cidr_contains(cidr, addr)`: whether the block holds the address; NULL if either is NULL or `addr` is no IP address.
///
/// # Errors
/// Execution fails on a text that is not a CIDR block: a typing mistake must not read as "no rows".
pub(super) fn cidr_contains() -> ScalarUDF {
    let implementation = |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let (cidrs, addresses) = (arrays[0].as_string_view(), arrays[1].as_string_view());
        let mut parsed: Option<(String, IpNet)> = None;
        let mut builder = BooleanBuilder::with_capacity(addresses.len());
        for (cidr, address) in cidrs.iter().zip(addresses) {
            let (Some(cidr), Some(address)) = (cidr, address) else {
                builder.append_null();
                continue;
            };
            if parsed.as_ref().is_none_or(|(text, _)| text != cidr) {
                parsed = Some((cidr.to_owned(), parse_cidr(cidr)?));
            }
            let block = parsed.as_ref().map(|(_, block)| block);
            builder.append_option(
                block
                    .zip(address.parse::<IpAddr>().ok())
                    .map(|(block, address)| block.contains(&address)),
            );
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    };
    create_udf(
        "cidr_contains",
        vec![DataType::Utf8View; 2],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(implementation),
    )
}

fn parse_cidr(text: &str) -> Result<IpNet> {
    if let Ok(block) = text.parse::<IpNet>() {
        return Ok(block);
    }
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => {
            exec_err!("cidr_contains: expected a CIDR block such as `10.0.0.0/16`, got `{text}`")
        }
    }
}

/// `ip_prefix(addr, bits, bits6)`: the CIDR block of that length which holds the address, NULL if it is no IP address.
pub(super) fn ip_prefix() -> ScalarUDF {
    let implementation = |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let addresses = arrays[0].as_string_view();
        let (bits, bits6) = (
            arrays[1].as_primitive::<Int64Type>(),
            arrays[2].as_primitive::<Int64Type>(),
        );
        let mut builder = StringViewBuilder::with_capacity(addresses.len());
        for (row, address) in addresses.iter().enumerate() {
            let block = address
                .and_then(|text| text.parse::<IpAddr>().ok())
                .and_then(|address| {
                    let length = if address.is_ipv4() {
                        bits.value(row)
                    } else {
                        bits6.value(row)
                    };
                    IpNet::new(address, u8::try_from(length).ok()?).ok()
                });
            builder.append_option(block.map(|block| block.trunc().to_string()));
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    };
    create_udf(
        "ip_prefix",
        vec![DataType::Utf8View, DataType::Int64, DataType::Int64],
        DataType::Utf8View,
        Volatility::Immutable,
        Arc::new(implementation),
    )
}

/// `ip_scope(addr)`: the scope of an address with no VPC to see it from: `vpc` if any VPC of the topology holds it,
/// `special`, `on_prem` where named so, `aws_service`, `unrouted` for other private addresses, else `internet`.
pub(super) fn ip_scope(history: Arc<History>) -> ScalarUDF {
    of_address("ip_scope", move |address| {
        let network = history.at(DateTime::<Utc>::MAX_UTC);
        let scope = match network.vpcs().iter().any(|vpc| vpc.contains(address)) {
            true => Scope::Vpc,
            false => network.resolve(&Vantage::default(), address).scope,
        };
        Some(scope.as_str().to_owned())
    })
}

/// `aws_service(addr)`: the service that AWS publishes for the address in ip-ranges.json, NULL where it is not AWS's.
pub(super) fn aws_service(settings: Arc<Settings>) -> ScalarUDF {
    of_address("aws_service", move |address| {
        settings
            .ip_ranges
            .owner(address)
            .map(|owner| owner.service.clone())
    })
}

/// `country(addr)`: the ISO 3166-1 code of an address's country by the user's MaxMind DB files, NULL without.
pub(super) fn country(settings: Arc<Settings>) -> ScalarUDF {
    of_address("country", move |address| settings.geo.country(address))
}

/// `autonomous_system(addr)`: who announces an address, such as `AS64500 Example`, by the user's MaxMind DB files, NULL without.
pub(super) fn autonomous_system(settings: Arc<Settings>) -> ScalarUDF {
    of_address("autonomous_system", move |address| {
        settings.geo.autonomous_system(address)
    })
}

/// `aws_region(addr)`: the region that AWS publishes for the address in ip-ranges.json, `GLOBAL` where it is of none, NULL where the
/// address is not AWS's.
pub(super) fn aws_region(settings: Arc<Settings>) -> ScalarUDF {
    of_address("aws_region", move |address| {
        settings
            .ip_ranges
            .owner(address)
            .map(|owner| owner.region.clone())
    })
}

fn of_address(
    name: &'static str,
    function: impl Fn(IpAddr) -> Option<String> + Send + Sync + 'static,
) -> ScalarUDF {
    let implementation = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays: Vec<ArrayRef> = ColumnarValue::values_to_arrays(args)?;
        let addresses = arrays[0].as_string_view();
        let mut builder =
            StringViewBuilder::with_capacity(addresses.len()).with_deduplicate_strings();
        for address in addresses {
            builder.append_option(
                address
                    .and_then(|text| text.parse().ok())
                    .and_then(&function),
            );
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    };
    create_udf(
        name,
        vec![DataType::Utf8View],
        DataType::Utf8View,
        Volatility::Immutable,
        Arc::new(implementation),
    )
}
