-- title: Connection that stays open for hours
-- group: exfiltration
-- severity: low
-- attack: T1071 T1572
-- parameters:
--   low_secs = 14400      seconds from which one is told; RITA's thresholds
--   medium_secs = 28800   seconds from which it is medium
--   high_secs = 43200     seconds from which it is high
--   max_gap_secs = 660    longest silence within a connection: the longest aggregation interval and a minute of slack
--   min_coverage = 0.9    share of such spans in which it must have been heard: a port that was used again leaves gaps
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_port protocol
-- description: One connection from our side to an address of the internet, told by its client port, that was heard all the time over hours: a
--   tunnel, a remote shell, a proxy. One finding for each host, address and port, with the longest connection as evidence.
-- false_positives: Agents, websockets, databases in other clouds, VPNs: add them to the policy. AWS's own services, and so Session Manager, are
--   left out.
WITH spans AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        client_port,
        server_addr,
        service_port,
        protocol,
        to_unixtime(start) / $max_gap_secs AS span,
        expected_by(
            'c2_long_connection', client_subnet_id, client_interface_id, client_vpc_id,
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
      AND client_port IS NOT NULL
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, client_port, server_addr, service_port, protocol,
        to_unixtime(start) / $max_gap_secs, expected_by
),
held AS (
    SELECT
        interface_id,
        only_addr,
        client_port,
        server_addr,
        service_port,
        protocol,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        MIN(first_client) AS first_client,
        MAX(last_client) AS last_client,
        COUNT(*) FILTER (WHERE flows > 0) AS spans,
        to_unixtime(MAX(last_seen)) - to_unixtime(MIN(first_seen)) AS secs,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM spans
    GROUP BY interface_id, only_addr, client_port, server_addr, service_port, protocol, expected_by
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
        COUNT(*) AS connections,
        MAX(secs) AS longest_secs,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM held
    WHERE secs >= $low_secs
      AND spans >= $min_coverage * secs / $max_gap_secs
    GROUP BY interface_id, only_addr, server_addr, service_port, protocol, expected_by
)
SELECT
    CASE
        WHEN longest_secs >= $high_secs THEN 'high'
        WHEN longest_secs >= $medium_secs THEN 'medium'
        ELSE 'low'
    END AS severity,
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
    || ' held a connection to ' || server_addr || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ' for ' || CAST(ROUND(longest_secs / 360.0) / 10 AS VARCHAR) || ' hours'
    || CASE WHEN connections > 1 THEN ', the longest of ' || connections ELSE '' END AS reason,
    named_struct(
        'longest_secs', longest_secs,
        'connections', connections,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
ORDER BY first_seen, interface_id, src_addr, server_addr, service_port
