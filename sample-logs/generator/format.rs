//! What a record says in each field of a flow log's format.

use super::network::{FlowLog, Interface, aws_service};
use super::recorder::{Flow, Record};

/// A field's value, before it becomes text or a Parquet column.
pub(crate) enum Value {
    None,
    Number(i64),
    Text(String),
}

impl Value {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn maybe(text: Option<impl Into<String>>) -> Self {
        text.map_or(Self::None, Self::text)
    }

    /// As a line says it.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::None => "-".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl FlowLog {
    /// The newest version among its fields.
    fn version(&self) -> i64 {
        let has = |name: &str| self.fields.iter().any(|field| field == name);
        match () {
            () if has("next-hop-az-id") => 11,
            () if has("traffic-path") => 5,
            () => 2,
        }
    }

    /// What `record` says in `field`.
    pub(crate) fn value(&self, field: &str, record: &Record) -> Value {
        let at = record.at;
        match field {
            "version" => Value::Number(self.version()),
            "account-id" => Value::text(at.account),
            "vpc-id" => Value::text(&at.vpc_id),
            "subnet-id" => Value::text(&at.subnet_id),
            "interface-id" => Value::text(&at.id),
            "interface-type" => Value::maybe(interface_type(at)),
            "instance-id" => Value::maybe(at.instance_id.as_ref()),
            // Tags come percent-encoded: this one reads `runner · ci`.
            "instance-tag" => Value::maybe(
                at.instance_id
                    .as_ref()
                    .map(|_| format!("{}%20%C2%B7%20ci", at.name)),
            ),
            "region" => Value::text("us-east-1"),
            "az-id" => Value::text(&at.zone_id),
            "start" => Value::Number(record.start),
            "end" => Value::Number(record.end),
            "log-status" => Value::text(record.status),
            _ => record
                .flow
                .as_ref()
                .map_or(Value::None, |flow| flow_value(field, at, flow)),
        }
    }
}

fn flow_value(field: &str, at: &Interface, flow: &Flow) -> Value {
    // Another account's interface is not ours to know; its zone is.
    let next = flow.next.filter(|next| next.account == at.account);
    match field {
        "srcaddr" => Value::text(flow.src.to_string()),
        "dstaddr" => Value::text(flow.dst.to_string()),
        "pkt-srcaddr" => Value::text(flow.packet_src.to_string()),
        "pkt-dstaddr" => Value::text(flow.packet_dst.to_string()),
        "pkt-src-aws-service" => Value::maybe(aws_service(flow.packet_src)),
        "pkt-dst-aws-service" => Value::maybe(aws_service(flow.packet_dst)),
        "srcport" => Value::Number(flow.src_port),
        "dstport" => Value::Number(flow.dst_port),
        "protocol" => Value::Number(flow.protocol),
        "packets" => Value::Number(flow.packets),
        "bytes" => Value::Number(flow.bytes),
        "action" => Value::text(if flow.is_accepted { "ACCEPT" } else { "REJECT" }),
        "tcp-flags" => Value::Number(flow.tcp_flags),
        "type" => Value::text(if flow.src.is_ipv4() { "IPv4" } else { "IPv6" }),
        "flow-direction" => Value::text(if flow.is_egress { "egress" } else { "ingress" }),
        "traffic-path" => flow.path.map_or(Value::None, Value::Number),
        "next-hop-interface-id" => Value::maybe(next.map(|next| &next.id)),
        "next-hop-subnet-id" => Value::maybe(next.map(|next| &next.subnet_id)),
        "next-hop-vpc-id" => Value::maybe(next.map(|next| &next.vpc_id)),
        "next-hop-az-id" => Value::maybe(flow.next.map(|next| &next.zone_id)),
        "next-hop-interface-type" => Value::maybe(next.and_then(interface_type)),
        // AWS has no such field yet: it stands for those to come.
        "path-mtu" => Value::Number(if flow.next.is_some() { 8500 } else { 1500 }),
        _ => Value::None,
    }
}

fn interface_type(at: &Interface) -> Option<&'static str> {
    at.is_nat.then_some("nat_gateway")
}
