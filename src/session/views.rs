//! Views over `traffic` that detections and analysts share.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::datasource::{TableProvider, ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;

/// `connections`: every counted record of which is known who opened the connection, from the client's side. Records of the client have
/// `opened` true and fill `packets` and `bytes`; those of the server fill `reply_packets` and `reply_bytes`. A NAT gateway opens nothing
/// by itself: where its own leg is all there is, the client's interface, subnet, address and class are NULL.
const CONNECTIONS: [(&str, &str); 39] = [
    ("start", "start"),
    ("end", "\"end\""),
    ("action", "action"),
    ("protocol", "protocol"),
    ("service_port", "service_port"),
    ("opened", "initiator = 'src'"),
    (
        "packets",
        "CASE WHEN initiator = 'src' THEN packets ELSE 0 END",
    ),
    ("bytes", "CASE WHEN initiator = 'src' THEN bytes ELSE 0 END"),
    (
        "reply_packets",
        "CASE WHEN initiator = 'dst' THEN packets ELSE 0 END",
    ),
    (
        "reply_bytes",
        "CASE WHEN initiator = 'dst' THEN bytes ELSE 0 END",
    ),
    ("tcp_flags", "tcp_flags"),
    ("leg", "leg"),
    // The way of the record itself: of a reply it is the server's way back.
    ("route_target", "route_target"),
    ("path", "path"),
    ("late", "late"),
    ("refused_by", "refused_by"),
    ("account_id", "account_id"),
    ("region", "region"),
    ("vpc_id", "vpc_id"),
    ("subnet_id", "subnet_id"),
    ("interface_id", "interface_id"),
    ("direction", "direction"),
    ("client_account_id", "client_account_id"),
    ("client_region", "client_region"),
    ("client_vpc_id", "client_vpc_id"),
    (
        "client_subnet_id",
        "CASE WHEN leg = 'nat_outside' THEN NULL ELSE client_subnet_id END",
    ),
    (
        "client_interface_id",
        "CASE WHEN leg = 'nat_outside' THEN NULL ELSE client_interface_id END",
    ),
    (
        "client_addr",
        "CASE WHEN leg = 'nat_outside' THEN NULL ELSE client_addr END",
    ),
    (
        "client_port",
        "CASE initiator WHEN 'src' THEN src_port ELSE dst_port END",
    ),
    (
        "client_class",
        "CASE WHEN leg = 'nat_outside' THEN NULL ELSE client_class END",
    ),
    ("client_scope", "client_scope"),
    ("server_vpc_id", "server_vpc_id"),
    ("server_subnet_id", "server_subnet_id"),
    ("server_interface_id", "server_interface_id"),
    ("server_addr", "server_addr"),
    ("server_class", "server_class"),
    ("server_scope", "server_scope"),
    ("server_service", "server_service"),
    ("model_agrees", "model_agrees"),
];

/// The views, by name.
pub(super) fn all(
    context: &SessionContext,
    traffic: &Arc<dyn TableProvider>,
) -> Result<Vec<(&'static str, Arc<dyn TableProvider>)>> {
    let scan = LogicalPlanBuilder::scan("traffic", provider_as_source(Arc::clone(traffic)), None)?;
    let schema = Arc::clone(scan.schema());
    let expression = |sql: &str| context.parse_sql_expr(sql, &schema);
    let columns = CONNECTIONS
        .iter()
        .map(|(name, sql)| Ok(expression(sql)?.alias(*name)))
        .collect::<Result<Vec<Expr>>>()?;
    let plan = scan
        .filter(expression("counted AND initiator IN ('src', 'dst')")?)?
        .project(columns)?
        .build()?;
    Ok(vec![("connections", Arc::new(ViewTable::new(plan, None)))])
}
