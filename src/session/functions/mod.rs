//! The SQL functions of the session: addresses, protocols and ports in the words of the field.

mod address;
mod names;
mod network;
mod numbers;
mod policy;

use std::sync::Arc;

use datafusion::prelude::SessionContext;

use super::Knowledge;

pub(crate) use names::service_of;

/// Registers every function of ours with a context.
pub(super) fn register(context: &SessionContext, knowledge: &Knowledge) {
    let Knowledge {
        history,
        settings,
        policy,
    } = knowledge;
    context.register_udf(address::cidr_contains());
    context.register_udf(address::ip_prefix());
    context.register_udf(address::ip_scope(Arc::clone(history)));
    context.register_udf(address::aws_service(Arc::clone(settings)));
    context.register_udf(address::country(Arc::clone(settings)));
    context.register_udf(address::autonomous_system(Arc::clone(settings)));
    context.register_udf(address::aws_region(Arc::clone(settings)));
    context.register_udf(names::protocol_name());
    context.register_udf(names::port_name());
    context.register_udf(names::tcp_flags_text());
    context.register_udf(numbers::number_in());
    context.register_udf(network::snapshot_of(Arc::clone(history)));
    context.register_udf(network::nacl_rule(Arc::clone(history)));
    context.register_udf(policy::expected_by(Arc::clone(history), Arc::clone(policy)));
}
