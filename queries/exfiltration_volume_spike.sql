-- title: Uploads far above the usual
-- group: exfiltration
-- severity: medium
-- attack: T1041
-- parameters:
--   baseline_days = 7         days before the window that say what is usual: Panther's query looks back as long
--   bucket_secs = 3600        length of a bucket in seconds
--   deviations = 3.0          standard deviations above the mean: the form of Splunk's rules
--   min_points = 24           buckets of logs before the window that a baseline needs: a day's rhythm once
--   floor_bytes = 100000000   bytes in a bucket below which nothing is a spike, whatever the baseline
-- finding_key: vpc_id interface_id|src_addr evidence.window_from
-- description: A host that within an hour sent far more to the internet than in the hours before the window, the hours in which it sent nothing
--   included. One finding for each host and hour; the address that got most stands in the evidence.
-- false_positives: Weekly jobs that the seven days do not hold, a deployment, a restore. A host that is new has no usual: everything above the
--   floor is a spike, and the finding says so.
WITH remotes AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        server_addr,
        to_unixtime(start) / $bucket_secs AS bucket,
        expected_by(
            'exfiltration_volume_spike', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        MIN(client_addr) AS first_client,
        MAX(client_addr) AS last_client,
        MIN(service_port) AS first_port,
        MAX(service_port) AS last_port,
        MIN(protocol) AS first_protocol,
        MAX(protocol) AS last_protocol,
        MIN(start) AS any_start,
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
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, server_addr,
        to_unixtime(start) / $bucket_secs, expected_by
),
buckets AS (
    SELECT
        interface_id,
        only_addr,
        bucket,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        CASE WHEN MIN(first_client) = MAX(last_client) THEN MIN(first_client) END AS src_addr,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        CASE WHEN MIN(first_port) = MAX(last_port) THEN MIN(first_port) END AS service_port,
        CASE WHEN MIN(first_protocol) = MAX(last_protocol) THEN MIN(first_protocol) END AS protocol,
        COUNT(*) AS remotes,
        FIRST_VALUE(server_addr ORDER BY bytes DESC, server_addr) AS top_remote,
        MAX(bytes) AS top_bytes,
        MIN(any_start) AS any_start,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM remotes
    GROUP BY interface_id, only_addr, bucket, expected_by
),
-- Hours of the logs before the window: an hour without a byte is a point too.
points AS (
    SELECT
        CASE
            WHEN MIN(start) IS NULL THEN 0
            ELSE to_unixtime($from) / $bucket_secs - to_unixtime(GREATEST(MIN(start), $baseline_from)) / $bucket_secs
        END AS points
    FROM flows
    WHERE start < $from
      AND "end" >= $baseline_from
),
sums AS (
    SELECT
        COALESCE(interface_id, only_addr) AS client,
        SUM(CAST(bytes AS DOUBLE)) AS total,
        SUM(CAST(bytes AS DOUBLE) * bytes) AS squares
    FROM (
        SELECT interface_id, only_addr, bucket, SUM(bytes) AS bytes
        FROM buckets
        WHERE any_start < $from
        GROUP BY interface_id, only_addr, bucket
    ) AS before
    GROUP BY COALESCE(interface_id, only_addr)
),
judged AS (
    SELECT
        buckets.*,
        points,
        COALESCE(total, 0) / points AS mean,
        SQRT(GREATEST(COALESCE(squares, 0) / points - POWER(COALESCE(total, 0) / points, 2), 0)) AS deviation
    FROM buckets
    LEFT JOIN sums ON sums.client = COALESCE(buckets.interface_id, buckets.only_addr)
    CROSS JOIN points
    WHERE points >= $min_points
      AND any_start >= $from
      AND bytes >= $floor_bytes
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
    dst_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a client behind a NAT gateway')
    || COALESCE(' in a subnet of class ' || client_class, '')
    || ' sent ' || (bytes / 1000000) || ' MB to the internet within ' || $bucket_secs || ' seconds, '
    || CASE
        WHEN mean = 0 THEN 'and nothing in the ' || points || ' hours of logs before the window'
        ELSE 'where ' || CAST(ROUND(mean / 1000000) AS BIGINT) || ' MB are usual'
    END
    || CASE WHEN remotes = 1 THEN ', all to ' || top_remote ELSE ', ' || (top_bytes / 1000000) || ' MB of it to ' || top_remote END AS reason,
    named_struct(
        'window_from', to_timestamp_seconds(bucket * $bucket_secs),
        'usual_bytes', CAST(ROUND(mean) AS BIGINT),
        'deviation_bytes', CAST(ROUND(deviation) AS BIGINT),
        'points', points,
        'remotes', remotes,
        'top_remote', top_remote,
        'top_bytes', top_bytes,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM judged
WHERE flows > 0
  AND bytes > mean + $deviations * deviation
ORDER BY first_seen, interface_id, src_addr
