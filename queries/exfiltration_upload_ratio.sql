-- title: Much sent for little received
-- group: exfiltration
-- severity: medium
-- attack: T1048
-- parameters:
--   ratio = 10.0                bytes sent for each byte received, from which a client uploads; browsing is far below 1
--   bytes_per_day = 100000000   bytes sent on a UTC day below which a ratio says nothing
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_port protocol
-- description: A host that sent one address of the internet ten times what it received from it, and at least a hundred megabytes within a day. What
--   answers nothing is no upload that arrived and is left out.
-- false_positives: Log shipping, video, backups: add them to the policy. A download that our server serves is opened by the other side and is none.
WITH days AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        server_addr,
        service_port,
        protocol,
        date_trunc('day', start) AS day,
        expected_by(
            'exfiltration_upload_ratio', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        MIN(client_addr) AS first_client,
        MAX(client_addr) AS last_client,
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
      AND server_scope = 'internet'
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, server_addr, service_port, protocol,
        date_trunc('day', start), expected_by
),
found AS (
    SELECT
        interface_id,
        server_addr,
        service_port,
        protocol,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        CASE WHEN MIN(first_client) = MAX(last_client) THEN MIN(first_client) END AS src_addr,
        COUNT(*) AS days,
        MAX(bytes) AS worst_day_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM days
    WHERE bytes >= $bytes_per_day
      AND reply_bytes > 0
      AND bytes > $ratio * reply_bytes
    GROUP BY interface_id, only_addr, server_addr, service_port, protocol, expected_by
)
SELECT
    'medium' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    server_addr AS dst_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a client behind a NAT gateway')
    || COALESCE(' in a subnet of class ' || client_class, '')
    || ' sent ' || (bytes / 1000000) || ' MB to ' || server_addr || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ' and received ' || (reply_bytes / 1000000) || ' MB: ' || (bytes / reply_bytes) || ' bytes for each'
    || CASE WHEN days > 1 THEN ', on ' || days || ' days' ELSE '' END AS reason,
    named_struct(
        'ratio', ROUND(CAST(bytes AS DOUBLE) / reply_bytes, 1),
        'worst_day_bytes', worst_day_bytes,
        'days', days,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
WHERE flows > 0
ORDER BY first_seen, interface_id, src_addr, server_addr, service_port
