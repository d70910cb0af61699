-- title: Flow logs that arrive late
-- group: operations
-- severity: low
-- parameters:
--   low_secs = 900      95th percentile of the lag from which it is low: 15 minutes, one and a half times AWS's usual 10
--   medium_secs = 3600  from which it is medium: a scheduled look at the last hour misses them
--   min_objects = 5     objects of a flow log from which a percentile says something
-- finding_key: account_id region evidence.flow_log_id
-- description: How much later than its newest record each object of a flow log was made, by the time in its name (AWS makes one every five minutes). What runs on a schedule
--   must look back that far.
-- false_positives: Objects that somebody split or named anew. Objects whose names are not AWS's are left out.
WITH by_object AS (
    SELECT
        source,
        COUNT(*) AS records,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM flows
    WHERE start < $to
      AND "end" >= $from
    GROUP BY source
),
named AS (
    SELECT
        *,
        -- account, region, flow log, day, hour and minute, as AWS names objects
        regexp_match(source, '([0-9]{12})_vpcflowlogs_([a-z0-9-]+)_(fl-[0-9a-z]+)_([0-9]{8}T[0-9]{4})Z_') AS parts
    FROM by_object
),
timed AS (
    SELECT
        parts[1] AS account_id,
        parts[2] AS region,
        parts[3] AS flow_log_id,
        GREATEST(
            to_unixtime(regexp_replace(parts[4], '(....)(..)(..)T(..)(..)', '\1-\2-\3T\4:\5:00Z')) - to_unixtime(last_seen), 0
        ) AS lag_secs,
        records,
        packets,
        bytes,
        first_seen,
        last_seen
    FROM named
    WHERE parts IS NOT NULL
),
flow_logs_of_window AS (
    SELECT
        account_id,
        region,
        flow_log_id,
        COUNT(*) AS objects,
        SUM(records) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        CAST(MEDIAN(lag_secs) AS BIGINT) AS median_secs,
        CAST(approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY lag_secs) AS BIGINT) AS p95_secs,
        MAX(lag_secs) AS longest_secs,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM timed
    GROUP BY account_id, region, flow_log_id
)
SELECT
    CASE WHEN p95_secs > $medium_secs THEN 'medium' ELSE 'low' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    flows,
    packets,
    bytes,
    'objects of ' || flow_log_id || ' came up to ' || longest_secs || ' s after their newest record (95 % within ' || p95_secs || ' s, half within '
    || median_secs || ' s): look back that far' AS reason,
    named_struct(
        'flow_log_id', flow_log_id,
        'objects', objects,
        'median_secs', median_secs,
        'p95_secs', p95_secs,
        'longest_secs', longest_secs
    ) AS evidence,
    expected_by('logs_delivery_lag', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, first_seen) AS expected_by
FROM flow_logs_of_window
WHERE objects >= $min_objects
  AND p95_secs > $low_secs
ORDER BY p95_secs DESC, flow_log_id
