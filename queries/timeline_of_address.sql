-- title: Timeline of one address
-- group: reports
-- severity: info
-- parameters:
--   address = ''           an address, or the id of an interface; without it nothing is shown
--   period_secs = 3600     length of a line of the timeline in seconds
-- finding_key: subnet_id src_addr dst_subnet_id dst_addr dst_port protocol evidence.period evidence.action
-- description: A report: all that touches one address or interface in the window, a line for each hour, other end, port and verdict, in order of time: who opened
--   it, where the other end is, what was sent each way and who refused it. Run it with --param address=10.0.1.10 when something was found.
-- false_positives: None: it is a report.
WITH touched AS (
    SELECT
        account_id,
        region,
        vpc_id,
        to_unixtime(start) / $period_secs AS period,
        CASE WHEN initiator = 'dst' THEN dst_addr ELSE src_addr END AS client_addr,
        CASE WHEN initiator = 'dst' THEN src_addr ELSE dst_addr END AS server_addr,
        CASE WHEN initiator = 'dst' THEN dst_scope ELSE src_scope END AS client_scope,
        CASE WHEN initiator = 'dst' THEN src_scope ELSE dst_scope END AS server_scope,
        CASE WHEN initiator = 'dst' THEN dst_subnet_id ELSE src_subnet_id END AS client_subnet_id,
        CASE WHEN initiator = 'dst' THEN src_subnet_id ELSE dst_subnet_id END AS server_subnet_id,
        CASE WHEN initiator = 'dst' THEN dst_interface_id ELSE src_interface_id END AS client_interface_id,
        CASE WHEN initiator = 'dst' THEN src_service ELSE dst_service END AS server_service,
        initiator = 'unknown' AS is_unknown,
        service_port,
        protocol,
        action,
        refused_by,
        initiator = 'dst' AS is_reply,
        packets,
        bytes,
        start,
        "end"
    FROM traffic
    WHERE counted
      AND $address <> ''
      AND (src_addr = $address OR dst_addr = $address OR src_interface_id = $address OR dst_interface_id = $address OR interface_id = $address)
      AND start < $to
      AND "end" >= $from
),
lines AS (
    SELECT
        period,
        client_addr,
        server_addr,
        client_subnet_id,
        server_subnet_id,
        is_unknown,
        service_port,
        protocol,
        action,
        -- Of an address in a peer's VPC the one side says `peer` and the other `vpc`.
        MIN(client_scope) AS client_scope,
        MIN(server_scope) AS server_scope,
        MIN(client_interface_id) AS client_interface_id,
        MIN(server_service) AS server_service,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(refused_by) AS refused_by,
        COUNT(*) FILTER (WHERE NOT is_reply) AS flows,
        COALESCE(SUM(packets) FILTER (WHERE NOT is_reply), 0) AS packets,
        COALESCE(SUM(bytes) FILTER (WHERE NOT is_reply), 0) AS bytes,
        COALESCE(SUM(packets) FILTER (WHERE is_reply), 0) AS reply_packets,
        COALESCE(SUM(bytes) FILTER (WHERE is_reply), 0) AS reply_bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM touched
    GROUP BY period, client_addr, server_addr, client_subnet_id, server_subnet_id, is_unknown, service_port, protocol, action
)
SELECT
    'info' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    client_subnet_id AS subnet_id,
    client_interface_id AS interface_id,
    client_addr AS src_addr,
    server_addr AS dst_addr,
    server_subnet_id AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    client_addr || ' (' || COALESCE(client_subnet_id, client_scope, 'unknown') || ')'
    || CASE WHEN is_unknown THEN ' sent to ' WHEN action = 'REJECT' THEN ' tried ' ELSE ' opened ' END
    || server_addr || ' (' || COALESCE(server_subnet_id, server_service, server_scope, 'unknown') || ')'
    || COALESCE(' port ' || service_port, '') || ' ' || protocol_name(protocol) || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ': ' || bytes || ' bytes out, ' || reply_bytes || ' back'
    || CASE WHEN action = 'REJECT' THEN '; refused' || COALESCE(' (' || refused_by || ')', '') ELSE '' END AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'period', to_timestamp_seconds(period * $period_secs),
        'action', action,
        'refused_by', refused_by,
        'is_client', client_addr = $address OR COALESCE(client_interface_id = $address, FALSE),
        'client_scope', client_scope,
        'server_scope', server_scope,
        'service', server_service
    ) AS evidence,
    expected_by(
        'timeline_of_address', client_subnet_id, client_interface_id, vpc_id, server_addr, server_subnet_id, server_service, service_port, protocol, first_seen
    ) AS expected_by
FROM lines
ORDER BY first_seen, client_addr, server_addr, service_port, protocol, action
