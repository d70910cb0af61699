-- title: Ping sweep
-- group: reconnaissance
-- severity: medium
-- attack: T1018
-- parameters:
--   window_secs = 600       length of a bucket in seconds
--   min_hosts = 50          hosts that one address sent ICMP or ICMPv6 to in a bucket
--   answered_share = 0.5    share of the hosts that answer from which it is monitoring, or somebody who is pinged: in a sweep most addresses are not there
-- finding_key: vpc_id src_addr evidence.family
-- description: One address that sends ICMP to many hosts within ten minutes, of which few answer. Flow logs record no ICMP types, so that a question is told from an answer
--   only by what comes back.
-- false_positives: Monitoring of hosts of which most are down; network managers that look for new devices: add them to the policy.
WITH pings AS (
    SELECT
        src_addr,
        dst_addr,
        src_vpc_id,
        src_subnet_id,
        src_interface_id,
        protocol,
        expected_by(
            'sweep_icmp', COALESCE(src_subnet_id, dst_subnet_id), COALESCE(src_interface_id, dst_interface_id), COALESCE(src_vpc_id, dst_vpc_id),
            CASE WHEN src_subnet_id IS NULL THEN src_addr ELSE dst_addr END,
            CASE WHEN src_subnet_id IS NULL THEN NULL ELSE dst_subnet_id END, NULL, NULL, protocol, start
        ) AS expected_by,
        to_unixtime(start) / $window_secs AS bucket,
        MIN(src_scope) AS src_scope,
        COUNT(*) AS flows,
        COUNT(*) FILTER (WHERE action = 'REJECT') AS refused,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM traffic
    WHERE counted
      AND protocol IN (1, 58)
      AND start < $to
      AND "end" >= $from
    GROUP BY src_addr, dst_addr, src_vpc_id, src_subnet_id, src_interface_id, protocol, expected_by, bucket
),
answers AS (
    SELECT DISTINCT src_addr, dst_addr, bucket
    FROM pings
),
buckets AS (
    SELECT
        pings.src_addr,
        src_vpc_id,
        src_subnet_id,
        src_interface_id,
        MIN(src_scope) AS src_scope,
        protocol,
        expected_by,
        pings.bucket,
        COUNT(*) AS hosts,
        COUNT(answers.src_addr) AS answered,
        MIN(pings.dst_addr) AS first_host,
        SUM(flows) AS flows,
        SUM(refused) AS refused,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM pings
    LEFT JOIN answers
        ON answers.src_addr = pings.dst_addr
        AND answers.dst_addr = pings.src_addr
        AND answers.bucket = pings.bucket
    GROUP BY pings.src_addr, src_vpc_id, src_subnet_id, src_interface_id, protocol, expected_by, pings.bucket
),
sweeps AS (
    SELECT
        src_addr,
        src_vpc_id,
        src_subnet_id,
        src_interface_id,
        MIN(src_scope) AS src_scope,
        protocol,
        expected_by,
        MAX(hosts) AS hosts_at_once,
        SUM(answered) / CAST(SUM(hosts) AS DOUBLE) AS answered_share,
        MIN(first_host) AS first_host,
        SUM(flows) AS flows,
        SUM(refused) AS refused,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM buckets
    WHERE hosts >= $min_hosts
      AND answered < $answered_share * hosts
    GROUP BY src_addr, src_vpc_id, src_subnet_id, src_interface_id, protocol, expected_by
)
SELECT
    CASE WHEN src_scope = 'internet' THEN 'low' ELSE 'medium' END AS severity,
    first_seen,
    last_seen,
    src_vpc_id AS vpc_id,
    src_subnet_id AS subnet_id,
    src_interface_id AS interface_id,
    src_addr,
    protocol,
    flows,
    packets,
    bytes,
    src_addr || ' (' || COALESCE(src_scope, 'unknown') || ') sent ' || protocol_name(protocol) || ' to up to ' || hosts_at_once || ' hosts in ' || $window_secs
    || ' s, such as ' || first_host || '; ' || CAST(ROUND(answered_share * 100) AS BIGINT) || ' % answered'
    || CASE WHEN refused = flows THEN ', all was refused' ELSE '' END AS reason,
    named_struct(
        'family', CASE protocol WHEN 1 THEN 'IPv4' ELSE 'IPv6' END,
        'hosts_at_once', hosts_at_once,
        'answered_share', answered_share,
        'refused', refused
    ) AS evidence,
    expected_by
FROM sweeps
ORDER BY first_seen, src_addr
