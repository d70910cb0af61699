-- title: File shares read or written far above the usual
-- group: east_west
-- severity: medium
-- attack: T1021.002 T1039
-- parameters:
--   baseline_days = 14        days before the window that say what is usual
--   ports = '139 445'         SMB, and SMB over NetBIOS
--   bucket_secs = 3600        length of a bucket in seconds
--   deviations = 2.0          standard deviations above the mean: Splunk's rule of SMB traffic spikes
--   min_points = 50           buckets of the baseline in which the host used file shares, from the same rule
--   floor_bytes = 100000000   bytes in a bucket below which nothing is a spike, whatever the baseline
-- finding_key: vpc_id interface_id|src_addr evidence.window_from
-- description: A host that within an hour moved far more over file shares of ours, both ways together, than in the hours of the baseline in which
--   it used them: data is being collected, or encrypted. One finding for each host and hour.
-- false_positives: Backups and migrations. A host without fifty hours of baseline is left out: nobody knows what it usually does.
WITH buckets AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        to_unixtime(start) / $bucket_secs AS bucket,
        expected_by(
            'east_west_smb_spike', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        CASE WHEN MIN(service_port) = MAX(service_port) THEN MIN(service_port) END AS service_port,
        COUNT(DISTINCT server_addr) AS servers,
        SUM(bytes) + SUM(reply_bytes) AS moved,
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
      AND protocol = 6
      AND number_in($ports, service_port)
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope IN ('vpc', 'peer', 'transit')
      AND start < $to
      AND "end" >= $baseline_from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, to_unixtime(start) / $bucket_secs, expected_by
),
usual AS (
    SELECT
        COALESCE(interface_id, only_addr) AS client,
        COUNT(*) AS points,
        AVG(moved) AS mean,
        STDDEV_POP(moved) AS deviation
    FROM (
        SELECT interface_id, only_addr, bucket, SUM(moved) AS moved
        FROM buckets
        WHERE any_start < $from
        GROUP BY interface_id, only_addr, bucket
    ) AS before
    GROUP BY COALESCE(interface_id, only_addr)
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
    6 AS protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a host') || COALESCE(' in ' || subnet_id, '')
    || ' moved ' || (moved / 1000000) || ' MB over file shares of '
    || CASE WHEN servers = 1 THEN dst_addr ELSE servers || ' servers' END
    || ' within ' || $bucket_secs || ' seconds, where ' || CAST(ROUND(mean / 1000000.0) AS BIGINT) || ' MB are usual ('
    || points || ' hours of baseline)' AS reason,
    named_struct(
        'window_from', to_timestamp_seconds(bucket * $bucket_secs),
        'moved_bytes', moved,
        'usual_bytes', CAST(ROUND(mean) AS BIGINT),
        'deviation_bytes', CAST(ROUND(deviation) AS BIGINT),
        'points', points,
        'servers', servers,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM buckets
JOIN usual ON usual.client = COALESCE(buckets.interface_id, buckets.only_addr)
WHERE any_start >= $from
  AND flows > 0
  AND moved >= $floor_bytes
  AND points >= $min_points
  AND moved > mean + $deviations * deviation
ORDER BY first_seen, interface_id, src_addr
