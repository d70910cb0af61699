-- title: Sweep of the internet
-- group: reconnaissance
-- severity: high
-- attack: T1046 T1595
-- parameters:
--   window_secs = 3600      length of a bucket in seconds, the hour of Splunk's scan searches
--   min_hosts = 250         remote hosts on the same port in a bucket: Splunk's horizontal scan, GuardDuty's Impact:EC2/PortSweep
--   answered_share = 0.5    share of the hosts that answer from which it is a crawler and no sweep: of a random address nothing answers most of the time
-- finding_key: vpc_id interface_id|src_addr dst_port protocol
-- description: One of ours tries the same port of very many hosts of the internet within an hour, and most don't answer, refused on the way out or not: what a machine
--   does that somebody else uses to look for others.
-- false_positives: Mail servers, crawlers and peer-to-peer software with many dead peers: add them to the policy.
WITH pairs AS (
    SELECT
        client_account_id,
        client_region,
        client_vpc_id,
        client_subnet_id,
        client_interface_id,
        client_addr,
        server_addr,
        service_port,
        protocol,
        expected_by(
            'sweep_outbound', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        to_unixtime(start) / $window_secs AS bucket,
        COUNT(*) FILTER (WHERE opened) AS flows,
        COUNT(*) FILTER (WHERE opened AND action = 'REJECT') AS refused,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        -- A reset says that nobody listens.
        BOOL_OR(NOT opened AND COALESCE(tcp_flags, 0) <> 4) AS is_answered,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope = 'internet'
      AND start < $to
      AND "end" >= $from
    GROUP BY
        client_account_id, client_region, client_vpc_id, client_subnet_id, client_interface_id, client_addr,
        server_addr, service_port, protocol, expected_by, bucket
),
buckets AS (
    SELECT
        client_account_id,
        client_region,
        client_vpc_id,
        client_subnet_id,
        client_interface_id,
        client_addr,
        service_port,
        protocol,
        expected_by,
        bucket,
        COUNT(*) AS hosts,
        COUNT(*) FILTER (WHERE is_answered) AS answered,
        SUM(flows) AS flows,
        SUM(refused) AS refused,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM pairs
    WHERE flows > 0
    GROUP BY
        client_account_id, client_region, client_vpc_id, client_subnet_id, client_interface_id, client_addr, service_port, protocol,
        expected_by, bucket
),
sweeps AS (
    SELECT
        client_account_id,
        client_region,
        client_vpc_id,
        client_subnet_id,
        client_interface_id,
        client_addr,
        service_port,
        protocol,
        expected_by,
        COUNT(*) AS buckets,
        MAX(hosts) AS hosts_at_once,
        SUM(answered) / CAST(SUM(hosts) AS DOUBLE) AS answered_share,
        SUM(flows) AS flows,
        SUM(refused) AS refused,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM buckets
    WHERE hosts >= $min_hosts
      AND answered < $answered_share * hosts
    GROUP BY
        client_account_id, client_region, client_vpc_id, client_subnet_id, client_interface_id, client_addr, service_port, protocol, expected_by
)
SELECT
    -- What was refused on its way out reached nobody, and still somebody tried.
    CASE WHEN refused = flows THEN 'medium' ELSE 'high' END AS severity,
    first_seen,
    last_seen,
    client_account_id AS account_id,
    client_region AS region,
    client_vpc_id AS vpc_id,
    client_subnet_id AS subnet_id,
    client_interface_id AS interface_id,
    client_addr AS src_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(client_addr, client_interface_id, 'one of ours') || COALESCE(' in ' || client_subnet_id, '') || ' tried up to ' || hosts_at_once
    || ' hosts of the internet on port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '') || ' in ' || $window_secs || ' s; '
    || CAST(ROUND(answered_share * 100) AS BIGINT) || ' % answered'
    || CASE WHEN refused = flows THEN '; all was refused' WHEN refused > 0 THEN '; ' || refused || ' were refused' ELSE '' END AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'hosts_at_once', hosts_at_once,
        'answered_share', answered_share,
        'refused', refused,
        'periods', buckets
    ) AS evidence,
    expected_by
FROM sweeps
ORDER BY first_seen, client_addr, service_port, protocol
