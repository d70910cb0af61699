-- title: Who fills the NAT gateways
-- group: operations
-- severity: info
-- parameters:
--   price = 0.045            USD for a GB that a NAT gateway processes, either way: Amazon VPC pricing, us-east-1
--   min_bytes = 1000000000   bytes in the window below which it is not worth a line
--   top = 25                 the most expensive that are shown
--   low_usd = 100            USD a month from which it is low
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_port protocol
-- description: Bytes that go through NAT gateways by who opened the connection and to where, both ways, each counted once however many legs were recorded; and what they
--   cost in a month if they go on as in the window (or in a day, where it is shorter).
-- false_positives: None: it is a count. The hours of the gateways themselves come on top.
WITH pairs AS (
    SELECT
        client_account_id,
        client_region,
        client_vpc_id,
        client_subnet_id,
        client_interface_id,
        client_addr,
        server_addr,
        server_service,
        service_port,
        protocol,
        expected_by(
            'cost_nat_talkers', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        -- A reply's own way says nothing of the client's.
        BOOL_OR((opened AND route_target = 'nat') OR leg = 'nat_inside') AS is_nat,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE action = 'ACCEPT'
      AND server_scope IN ('internet', 'aws_service')
      AND client_subnet_id IS NOT NULL
      AND start < $to
      AND "end" >= $from
    GROUP BY
        client_account_id, client_region, client_vpc_id, client_subnet_id, client_interface_id, client_addr,
        server_addr, server_service, service_port, protocol, expected_by
),
ranked AS (
    SELECT
        *,
        (bytes + reply_bytes) / 1e9 * $price AS usd,
        ROW_NUMBER() OVER (ORDER BY bytes + reply_bytes DESC, client_interface_id, client_addr, server_addr, service_port) AS place
    FROM pairs
    WHERE is_nat
      AND bytes + reply_bytes >= $min_bytes
),
monthly AS (
    SELECT *, usd * 2592000 / GREATEST(to_unixtime($to) - to_unixtime($from), 86400) AS monthly_usd
    FROM ranked
    WHERE place <= $top
)
SELECT
    CASE WHEN monthly_usd >= $low_usd THEN 'low' ELSE 'info' END AS severity,
    first_seen,
    last_seen,
    client_account_id AS account_id,
    client_region AS region,
    client_vpc_id AS vpc_id,
    client_subnet_id AS subnet_id,
    client_interface_id AS interface_id,
    client_addr AS src_addr,
    server_addr AS dst_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(client_addr, client_interface_id) || ' in ' || client_subnet_id || ' and ' || server_addr || COALESCE(' (' || server_service || ')', '')
    || ' port ' || service_port || '/' || protocol_name(protocol) || ' exchanged ' || ROUND((bytes + reply_bytes) / 1e9, 1)
    || ' GB through a NAT gateway: ' || ROUND(usd, 2) || ' USD, about ' || ROUND(monthly_usd, 2) || ' USD a month' AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'service', server_service,
        'usd', ROUND(usd, 2),
        'monthly_usd', ROUND(monthly_usd, 2)
    ) AS evidence,
    expected_by
FROM monthly
ORDER BY usd DESC, client_interface_id, client_addr, server_addr
