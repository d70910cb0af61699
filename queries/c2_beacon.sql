-- title: Connections as regular as a clock
-- group: exfiltration
-- severity: medium
-- attack: T1071.001 T1573
-- parameters:
--   min_connections = 12      connections that a rhythm needs: RITA takes 4, too few to tell one from chance; two an hour over its six hours
--   min_hours = 6             hours between the first and the last
--   min_interval_secs = 120   shortest interval that the logs can tell: twice the shortest aggregation interval of 60 s
--   medium_score = 0.7        score from which a finding is told; RITA's score, a quarter each for interval, size, spread and duration, 0 to 1
--   high_score = 0.9          score from which it is high if no other host calls the address
--   max_prevalence = 0.5      share of all calling hosts from which a destination that several call is an agent's and low
--   excluded_ports = '123'    ports that are regular by nature: time
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_port protocol
-- description: A host that opens connections to one address of the internet at regular intervals and with regular amounts of data, over hours: what
--   implants do that ask for orders. A connection is told by its client port, so that a long one is one. The score is explained in the evidence.
-- false_positives: Agents, updates, health checks, telemetry: those that half of all hosts call are low; add the rest to the policy. AWS's own
--   services are left out. With an aggregation interval of ten minutes, intervals below twenty are blurred.
WITH opened AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        client_port,
        server_addr,
        service_port,
        protocol,
        expected_by(
            'c2_beacon', client_subnet_id, client_interface_id, client_vpc_id,
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
      AND NOT number_in($excluded_ports, service_port)
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, client_port,
        server_addr, service_port, protocol, expected_by
),
intervals AS (
    SELECT
        *,
        to_unixtime(first_seen) - to_unixtime(LAG(first_seen) OVER (
            PARTITION BY interface_id, only_addr, server_addr, service_port, protocol, expected_by
            ORDER BY first_seen
        )) AS interval_secs
    FROM opened
    WHERE flows > 0
),
pairs AS (
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
        COUNT(*) AS connections,
        MEDIAN(interval_secs) AS interval_secs,
        MEDIAN(bytes) AS size,
        COUNT(DISTINCT to_unixtime(first_seen) / 3600) AS hours,
        (to_unixtime(MAX(first_seen)) - to_unixtime(MIN(first_seen))) / 3600.0 AS span_hours,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM intervals
    GROUP BY interface_id, only_addr, server_addr, service_port, protocol, expected_by
),
candidates AS (
    SELECT *
    FROM pairs
    WHERE connections >= $min_connections
      AND span_hours >= $min_hours
      AND interval_secs >= $min_interval_secs
),
deviations AS (
    SELECT
        COALESCE(intervals.interface_id, intervals.only_addr) AS client,
        intervals.server_addr,
        intervals.service_port,
        intervals.protocol,
        COALESCE(intervals.expected_by, '') AS expected,
        MEDIAN(ABS(intervals.interval_secs - candidates.interval_secs)) AS interval_deviation,
        MEDIAN(ABS(intervals.bytes - candidates.size)) AS size_deviation
    FROM intervals
    JOIN candidates
        ON COALESCE(candidates.interface_id, candidates.only_addr) = COALESCE(intervals.interface_id, intervals.only_addr)
        AND candidates.server_addr = intervals.server_addr
        AND candidates.service_port = intervals.service_port
        AND candidates.protocol = intervals.protocol
        AND COALESCE(candidates.expected_by, '') = COALESCE(intervals.expected_by, '')
    GROUP BY 1, 2, 3, 4, 5
),
callers AS (
    SELECT server_addr AS of_server, COUNT(DISTINCT COALESCE(interface_id, only_addr)) AS callers
    FROM pairs
    GROUP BY server_addr
),
hosts AS (
    SELECT COUNT(DISTINCT COALESCE(interface_id, only_addr)) AS hosts FROM pairs
),
logged AS (
    SELECT (to_unixtime(LEAST(MAX("end"), $to)) - to_unixtime(GREATEST(MIN(start), $from))) / 3600.0 AS logged_hours
    FROM flows
    WHERE start < $to
      AND "end" >= $from
),
parts AS (
    SELECT
        candidates.*,
        callers,
        hosts,
        interval_deviation,
        GREATEST(0.0, 1.0 - interval_deviation / candidates.interval_secs) AS interval_score,
        CASE WHEN size = 0 THEN 1.0 ELSE GREATEST(0.0, 1.0 - CAST(size_deviation AS DOUBLE) / size) END AS size_score,
        LEAST(1.0, hours / LEAST(span_hours, CAST(connections AS DOUBLE))) AS spread_score,
        LEAST(1.0, span_hours / GREATEST(logged_hours, 1.0)) AS duration_score
    FROM candidates
    JOIN deviations
        ON deviations.client = COALESCE(candidates.interface_id, candidates.only_addr)
        AND deviations.server_addr = candidates.server_addr
        AND deviations.service_port = candidates.service_port
        AND deviations.protocol = candidates.protocol
        AND deviations.expected = COALESCE(candidates.expected_by, '')
    JOIN callers ON of_server = candidates.server_addr
    CROSS JOIN hosts
    CROSS JOIN logged
),
scored AS (
    SELECT *, 0.25 * (interval_score + size_score + spread_score + duration_score) AS score FROM parts
)
SELECT
    CASE
        WHEN callers > 1 AND callers >= $max_prevalence * hosts THEN 'low'
        WHEN score >= $high_score AND callers = 1 THEN 'high'
        ELSE 'medium'
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
    || ' opened ' || connections || ' connections to ' || server_addr || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ', one every ' || CAST(interval_secs AS BIGINT) || ' seconds, give or take ' || CAST(interval_deviation AS BIGINT)
    || ', over ' || CAST(ROUND(span_hours) AS BIGINT) || ' hours'
    || CASE WHEN callers > 1 THEN '; ' || callers || ' of ' || hosts || ' hosts call it' ELSE '; no other host calls it' END AS reason,
    named_struct(
        'score', ROUND(score, 2),
        'interval_score', ROUND(interval_score, 2),
        'size_score', ROUND(size_score, 2),
        'spread_score', ROUND(spread_score, 2),
        'duration_score', ROUND(duration_score, 2),
        'connections', connections,
        'interval_secs', CAST(interval_secs AS BIGINT),
        'median_bytes', CAST(size AS BIGINT),
        'callers', callers,
        'hosts', hosts,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM scored
WHERE score >= $medium_score
ORDER BY score DESC, first_seen, interface_id, src_addr, server_addr, service_port
