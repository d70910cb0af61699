//! `protocol_name`, `port_name` and `tcp_flags_text`: numbers in the words of IANA and of RFC 9293.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

/// `protocol_name(n)`: the IANA keyword of a protocol number in lower case, the number as text where it has none.
pub(super) fn protocol_name() -> ScalarUDF {
    text_of_numbers("protocol_name", 1, |numbers| {
        numbers[0].map(crate::policy::protocol_text)
    })
}

/// `port_name(port, protocol)`: the service that IANA registers for a port, NULL where it names none.
pub(super) fn port_name() -> ScalarUDF {
    text_of_numbers("port_name", 2, |numbers| {
        let (port, protocol) = (numbers[0]?, numbers[1]?);
        if !matches!(protocol, 6 | 17 | 132) {
            return None;
        }
        service_of(port).map(str::to_owned)
    })
}

/// `tcp_flags_text(n)`: the flags of a record, such as `SYN|ACK`, in the order of the bits (RFC 9293 §3.1); `none` for 0.
pub(super) fn tcp_flags_text() -> ScalarUDF {
    const NAMES: [(i64, &str); 8] = [
        (1, "FIN"),
        (2, "SYN"),
        (4, "RST"),
        (8, "PSH"),
        (16, "ACK"),
        (32, "URG"),
        (64, "ECE"),
        (128, "CWR"),
    ];
    text_of_numbers("tcp_flags_text", 1, |numbers| {
        let flags = numbers[0]?;
        let set: Vec<&str> = NAMES
            .iter()
            .filter(|(bit, _)| flags & bit != 0)
            .map(|(_, name)| *name)
            .collect();
        Some(if set.is_empty() {
            "none".to_owned()
        } else {
            set.join("|")
        })
    })
}

/// The service name of a well-known or commonly used port (IANA Service Name and Transport Protocol Port Number Registry).
pub(crate) fn service_of(port: i64) -> Option<&'static str> {
    SERVICES
        .binary_search_by_key(&port, |(number, _)| *number)
        .ok()
        .map(|index| SERVICES[index].1)
}

/// Sorted by port.
const SERVICES: &[(i64, &str)] = &[
    (20, "ftp-data"),
    (21, "ftp"),
    (22, "ssh"),
    (23, "telnet"),
    (25, "smtp"),
    (43, "whois"),
    (49, "tacacs"),
    (53, "domain"),
    (67, "bootps"),
    (68, "bootpc"),
    (69, "tftp"),
    (80, "http"),
    (88, "kerberos"),
    (110, "pop3"),
    (111, "sunrpc"),
    (119, "nntp"),
    (123, "ntp"),
    (135, "epmap"),
    (137, "netbios-ns"),
    (138, "netbios-dgm"),
    (139, "netbios-ssn"),
    (143, "imap"),
    (161, "snmp"),
    (162, "snmptrap"),
    (179, "bgp"),
    (194, "irc"),
    (389, "ldap"),
    (443, "https"),
    (445, "microsoft-ds"),
    (465, "submissions"),
    (500, "isakmp"),
    (514, "syslog"),
    (515, "printer"),
    (546, "dhcpv6-client"),
    (547, "dhcpv6-server"),
    (554, "rtsp"),
    (587, "submission"),
    (631, "ipp"),
    (636, "ldaps"),
    (853, "domain-s"),
    (873, "rsync"),
    (989, "ftps-data"),
    (990, "ftps"),
    (993, "imaps"),
    (995, "pop3s"),
    (1080, "socks"),
    (1194, "openvpn"),
    (1433, "ms-sql-s"),
    (1434, "ms-sql-m"),
    (1521, "oracle"),
    (1723, "pptp"),
    (1812, "radius"),
    (1813, "radius-acct"),
    (1883, "mqtt"),
    (2049, "nfs"),
    (2181, "zookeeper"),
    (2375, "docker"),
    (2376, "docker-s"),
    (2379, "etcd-client"),
    (2380, "etcd-server"),
    (3000, "grafana"),
    (3128, "squid"),
    (3268, "msft-gc"),
    (3269, "msft-gc-ssl"),
    (3306, "mysql"),
    (3389, "ms-wbt-server"),
    (4317, "otlp-grpc"),
    (4318, "otlp-http"),
    (4500, "ipsec-nat-t"),
    (4789, "vxlan"),
    (5060, "sip"),
    (5061, "sips"),
    (5353, "mdns"),
    (5432, "postgresql"),
    (5439, "redshift"),
    (5601, "kibana"),
    (5671, "amqps"),
    (5672, "amqp"),
    (5900, "rfb"),
    (5984, "couchdb"),
    (5985, "wsman"),
    (5986, "wsmans"),
    (6081, "geneve"),
    (6379, "redis"),
    (6443, "kube-apiserver"),
    (6514, "syslog-tls"),
    (7000, "cassandra"),
    (8080, "http-alt"),
    (8081, "http-alt"),
    (8086, "influxdb"),
    (8088, "radan-http"),
    (8125, "statsd"),
    (8200, "vault"),
    (8300, "consul"),
    (8301, "consul"),
    (8443, "https-alt"),
    (8500, "consul"),
    (8883, "secure-mqtt"),
    (8888, "http-alt"),
    (9000, "cslistener"),
    (9042, "cassandra-cql"),
    (9090, "prometheus"),
    (9092, "kafka"),
    (9093, "kafka-tls"),
    (9094, "kafka-tls"),
    (9100, "node-exporter"),
    (9160, "cassandra-thrift"),
    (9200, "elasticsearch"),
    (9300, "elasticsearch"),
    (9418, "git"),
    (10250, "kubelet"),
    (11211, "memcached"),
    (11434, "ollama"),
    (15672, "rabbitmq"),
    (25565, "minecraft"),
    (27017, "mongodb"),
    (27018, "mongodb"),
    (50051, "grpc"),
    (51820, "wireguard"),
    (61616, "activemq"),
];

fn text_of_numbers(
    name: &'static str,
    arguments: usize,
    function: impl Fn(&[Option<i64>]) -> Option<String> + Send + Sync + 'static,
) -> ScalarUDF {
    let implementation = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let columns: Vec<_> = arrays
            .iter()
            .map(|array| array.as_primitive::<Int64Type>())
            .collect();
        let rows = arrays.first().map_or(0, |array| array.len());
        let mut builder = StringViewBuilder::with_capacity(rows).with_deduplicate_strings();
        let mut numbers = vec![None; columns.len()];
        for row in 0..rows {
            for (slot, column) in numbers.iter_mut().zip(&columns) {
                *slot = column.is_valid(row).then(|| column.value(row));
            }
            builder.append_option(function(&numbers));
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    };
    create_udf(
        name,
        vec![DataType::Int64; arguments],
        DataType::Utf8View,
        Volatility::Immutable,
        Arc::new(implementation),
    )
}

#[cfg(test)]
mod tests {
    use super::SERVICES;

    #[test]
    fn ports_are_sorted_for_the_binary_search() {
        assert!(SERVICES.is_sorted_by(|a, b| a.0 < b.0));
    }
}
