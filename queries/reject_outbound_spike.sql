-- title: Spike of refused outbound connections
-- group: rejects
-- severity: medium
-- attack: T1041 T1071 T1046
-- parameters:
--   baseline_days = 14   days of history before the window
--   bucket_secs = 3600   length of a bucket in seconds
--   floor = 100          refused attempts in a bucket below which nothing is a spike; the floor of reject_spike
--   deviations = 3.0     standard deviations above the mean of the other buckets, as Splunk's search for blocked outbound traffic has it
--   min_points = 6       other buckets that a mean needs: Splunk's search wants more than 5
--   many_targets = 50    addresses and ports tried from which it reads as a scan; the ports of a minute that Elastic calls a scan
-- finding_key: vpc_id interface_id|src_addr
-- description: One of our interfaces opens connections that are refused, on its own side or the server's, far more often than in its other hours (empty
--   hours included). It counts over every remote and port, where reject_spike looks at one port of a subnet.
-- false_positives: A client that retries after a rule was changed: one remote and one port, rated low. A scanner of one's own: add it to the policy.
WITH tries AS (
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
            'reject_outbound_spike', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        to_unixtime(start) / $bucket_secs AS bucket,
        COUNT(*) AS attempts,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE action = 'REJECT'
      AND opened
      AND NOT late
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND start < $to
      AND "end" >= $baseline_from
    GROUP BY
        client_account_id, client_region, client_vpc_id, client_subnet_id, client_interface_id, client_addr,
        server_addr, service_port, protocol, expected_by, bucket
),
span AS (
    SELECT
        to_unixtime(LEAST(MAX("end"), $to)) / $bucket_secs - to_unixtime(GREATEST(MIN(start), $baseline_from)) / $bucket_secs + 1 AS buckets
    FROM flows
    WHERE start < $to
      AND "end" >= $baseline_from
),
hourly AS (
    SELECT
        client_account_id,
        client_region,
        client_vpc_id,
        client_subnet_id,
        client_interface_id,
        COALESCE(client_interface_id, client_addr) AS client,
        MIN(client_addr) AS first_client,
        MAX(client_addr) AS last_client,
        expected_by,
        bucket,
        SUM(attempts) AS attempts,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        COUNT(DISTINCT server_addr) AS servers,
        COUNT(DISTINCT service_port) AS ports,
        MIN(server_addr) AS first_server,
        MIN(service_port) AS first_port,
        MIN(protocol) AS first_protocol,
        MAX(protocol) AS last_protocol,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM tries
    GROUP BY client_account_id, client_region, client_vpc_id, client_subnet_id, client_interface_id, client, expected_by, bucket
),
-- The other buckets of the same client by their sums: those without attempts add nothing but count.
others AS (
    SELECT
        hourly.*,
        buckets - 1 AS points,
        (SUM(attempts) OVER client - attempts) / CAST(NULLIF(buckets - 1, 0) AS DOUBLE) AS mean,
        (SUM(attempts * attempts) OVER client - attempts * attempts) / CAST(NULLIF(buckets - 1, 0) AS DOUBLE) AS mean_of_squares
    FROM hourly
    CROSS JOIN span
    WINDOW client AS (PARTITION BY client_vpc_id, client, expected_by)
),
spikes AS (
    SELECT *
    FROM others
    WHERE attempts >= $floor
      AND points >= $min_points
      AND attempts > mean + $deviations * SQRT(GREATEST(mean_of_squares - mean * mean, 0.0))
      AND (bucket + 1) * $bucket_secs > to_unixtime($from)
),
clients AS (
    SELECT
        client_account_id AS account_id,
        client_region AS region,
        client_vpc_id AS vpc_id,
        client_subnet_id AS subnet_id,
        client_interface_id AS interface_id,
        client,
        expected_by,
        CASE WHEN MIN(first_client) = MAX(last_client) THEN MIN(first_client) END AS src_addr,
        CASE WHEN MAX(servers) = 1 AND MIN(first_server) = MAX(first_server) THEN MIN(first_server) END AS dst_addr,
        CASE WHEN MAX(ports) = 1 AND MIN(first_port) = MAX(first_port) THEN MIN(first_port) END AS dst_port,
        CASE WHEN MIN(first_protocol) = MAX(last_protocol) THEN MIN(first_protocol) END AS protocol,
        SUM(attempts) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MAX(servers) AS servers,
        MAX(ports) AS ports,
        COUNT(*) AS buckets,
        MAX(attempts) AS most,
        MIN(mean) AS mean,
        MIN(points) AS points,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM spikes
    GROUP BY client_account_id, client_region, client_vpc_id, client_subnet_id, client_interface_id, client, expected_by
)
SELECT
    CASE
        WHEN servers >= $many_targets OR ports >= $many_targets THEN 'high'
        WHEN dst_addr IS NOT NULL AND dst_port IS NOT NULL THEN 'low'
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
    dst_addr,
    dst_port,
    protocol,
    flows,
    packets,
    bytes,
    client || COALESCE(' in ' || subnet_id, '') || ' was refused ' || flows || ' connections to '
    || COALESCE(dst_addr, 'up to ' || servers || ' addresses') || COALESCE(' port ' || dst_port, ' and up to ' || ports || ' ports')
    || ' in ' || buckets || CASE WHEN buckets = 1 THEN ' period' ELSE ' periods' END || ' of ' || $bucket_secs || ' s; usual are '
    || CAST(ROUND(mean) AS BIGINT)
    || CASE
        WHEN servers >= $many_targets OR ports >= $many_targets THEN '; so many targets read as a scan'
        WHEN dst_addr IS NOT NULL AND dst_port IS NOT NULL THEN '; one target reads as a client that is broken or a rule that was closed'
        ELSE ''
    END AS reason,
    named_struct(
        'bucket_secs', $bucket_secs,
        'periods', buckets,
        'most_in_a_period', most,
        'mean', mean,
        'points', points,
        'servers', servers,
        'ports', ports
    ) AS evidence,
    expected_by
FROM clients
ORDER BY first_seen, vpc_id, client
