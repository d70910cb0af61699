-- title: Egress from a subnet without a way out
-- group: egress
-- severity: high
-- attack: T1041 T1562.007
-- finding_key: vpc_id interface_id|src_addr
-- description: Accepted connections that a host opened to the internet or to an AWS service's public address from a subnet whose routes lead to
--   neither (class isolated, endpoint_only or peered_only, in the flow's IP family). What goes to S3 or DynamoDB through a gateway endpoint is left
--   out. One finding for each host, whatever it called.
-- false_positives: An ACCEPT is not delivery: with no route the packets were dropped after they were logged, and then nothing comes back. A
--   snapshot older than the route that was since added: run `topology sync` again.
WITH found AS (
    SELECT
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        client_interface_id AS interface_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        MIN(client_class) AS client_class,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        CASE WHEN MIN(service_port) = MAX(service_port) THEN MIN(service_port) END AS service_port,
        CASE WHEN MIN(protocol) = MAX(protocol) THEN MIN(protocol) END AS protocol,
        COUNT(DISTINCT server_addr) AS remotes,
        COUNT(DISTINCT server_addr) FILTER (WHERE NOT opened) AS answering,
        expected_by(
            'egress_isolated', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(start) FILTER (WHERE opened) AS first_seen,
        MAX("end") FILTER (WHERE opened) AS last_seen,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM connections
    WHERE action = 'ACCEPT'
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope IN ('internet', 'aws_service')
      AND client_class IN ('isolated', 'endpoint_only', 'peered_only')
      AND COALESCE(route_target, 'none') <> 'vpce'
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, expected_by
)
SELECT
    CASE WHEN reply_packets > 0 THEN 'critical' ELSE 'high' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    dst_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a client behind a NAT gateway') || ' in a subnet of class ' || client_class || ' opened connections to '
    || CASE WHEN remotes = 1 THEN dst_addr ELSE remotes || ' public addresses' END
    || COALESCE(' port ' || service_port, '')
    || CASE
        WHEN reply_packets = 0 THEN '; nothing came back, so the packets were most likely dropped for want of a route'
        ELSE '; ' || answering || ' answered: the subnet has a way out that the topology does not know'
    END AS reason,
    named_struct(
        'subnet_class', client_class,
        'remotes', remotes,
        'answering', answering,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
WHERE flows > 0
ORDER BY first_seen, interface_id, src_addr
