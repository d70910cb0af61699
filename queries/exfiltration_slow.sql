-- title: Small uploads over weeks
-- group: exfiltration
-- severity: medium
-- attack: T1030 T1029
-- parameters:
--   baseline_days = 30        days before the window that are looked at with it
--   min_days = 14             days on which it must have sent something
--   total_bytes = 100000000   bytes sent in all
--   max_bytes = 1000000       bytes of one record from which an upload is not small
--   max_prevalence = 0.02     share of all calling hosts that may call the address, beside one host; RITA's measure of prevalence
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_port protocol
-- description: A host that sent one address of the internet a little on each of fourteen days or more, never much at a time, a hundred megabytes in
--   all, where hardly any other host calls that address. What every threshold by the hour or day misses. Counted over the baseline days and the
--   window.
-- false_positives: Telemetry of a product that one host runs; a mail relay: add it to the policy. Logs that reach back less than fourteen days find
--   nothing.
WITH days AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        server_addr,
        service_port,
        protocol,
        date_trunc('day', start) AS day,
        expected_by(
            'exfiltration_slow', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        MIN(client_addr) AS first_client,
        MAX(client_addr) AS last_client,
        MAX(bytes) AS largest,
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
      AND "end" >= $baseline_from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, server_addr, service_port, protocol,
        date_trunc('day', start), expected_by
),
found AS (
    SELECT
        interface_id,
        only_addr,
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
        COUNT(*) FILTER (WHERE bytes > 0) AS days,
        MAX(largest) AS largest,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM days
    GROUP BY interface_id, only_addr, server_addr, service_port, protocol, expected_by
),
callers AS (
    SELECT server_addr AS of_server, COUNT(DISTINCT COALESCE(interface_id, only_addr)) AS callers
    FROM found
    GROUP BY server_addr
),
hosts AS (
    SELECT COUNT(DISTINCT COALESCE(interface_id, only_addr)) AS hosts FROM found
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
    || ' on ' || days || ' days, never more than ' || (largest / 1000) || ' kB at a time; '
    || callers || ' of ' || hosts || CASE WHEN hosts = 1 THEN ' host calls it' ELSE ' hosts call it' END AS reason,
    named_struct(
        'days', days,
        'largest_bytes', largest,
        'callers', callers,
        'hosts', hosts,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
JOIN callers ON of_server = server_addr
CROSS JOIN hosts
WHERE last_seen >= $from
  AND days >= $min_days
  AND bytes >= $total_bytes
  AND largest < $max_bytes
  AND callers <= GREATEST(1.0, $max_prevalence * hosts)
ORDER BY first_seen, interface_id, src_addr, server_addr, service_port
