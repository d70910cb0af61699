-- title: What changed
-- group: reports
-- severity: info
-- parameters:
--   baseline_days = 7      days before the window that it is compared with: a week, so that every weekday is in it
--   min_flows = 5          connections in the one or the other below which a change is not worth a line
-- finding_key: evidence.change evidence.kind vpc_id subnet_id dst_subnet_id evidence.what dst_port protocol
-- description: A report: what was opened in the window and not in the days before, or in the days before and not in the window: pairs of subnets, destinations of the
--   internet (by /24, /64 of IPv6, or AWS service) and ports that are served. Each with the connections it had.
-- false_positives: What happens weekly in a window of a day is gone on most days. Without logs of the days before nothing is said; over gaps in the logs the less.
WITH opened AS (
    SELECT
        client_vpc_id,
        client_subnet_id,
        server_vpc_id,
        server_subnet_id,
        CASE WHEN server_scope IN ('internet', 'aws_service') THEN COALESCE(server_service, ip_prefix(server_addr, 24, 64)) END AS destination,
        service_port,
        protocol,
        COUNT(*) FILTER (WHERE "end" < $from) AS flows_before,
        COUNT(*) FILTER (WHERE "end" >= $from) AS flows_in,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE opened
      AND action = 'ACCEPT'
      AND leg <> 'nat_outside'
      AND start < $to
      AND "end" >= $baseline_from
    GROUP BY
        client_vpc_id, client_subnet_id, server_vpc_id, server_subnet_id,
        CASE WHEN server_scope IN ('internet', 'aws_service') THEN COALESCE(server_service, ip_prefix(server_addr, 24, 64)) END,
        service_port, protocol
),
-- A line of each kind from one reading: what a kind doesn't look at is null.
things AS (
    SELECT
        kind,
        CASE kind WHEN 'served port' THEN server_vpc_id ELSE client_vpc_id END AS vpc_id,
        CASE WHEN kind <> 'served port' THEN client_subnet_id END AS subnet_id,
        CASE WHEN kind <> 'destination' THEN server_subnet_id END AS dst_subnet_id,
        CASE WHEN kind = 'destination' THEN destination END AS what,
        CASE WHEN kind = 'served port' THEN service_port END AS dst_port,
        CASE WHEN kind = 'served port' THEN protocol END AS protocol,
        SUM(flows_before) AS flows_before,
        SUM(flows_in) AS flows_in,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM opened
    CROSS JOIN (VALUES ('subnet pair'), ('destination'), ('served port')) AS kinds (kind)
    WHERE CASE kind
        WHEN 'subnet pair' THEN client_subnet_id <> server_subnet_id
        WHEN 'destination' THEN client_subnet_id IS NOT NULL AND destination IS NOT NULL
        ELSE server_subnet_id IS NOT NULL
    END
    GROUP BY 1, 2, 3, 4, 5, 6, 7
),
known AS (
    SELECT
        *,
        -- Where there is nothing before, everything would be new.
        SUM(flows_before) OVER () AS all_before,
        CAST(CEIL((to_unixtime($from) - MIN(to_unixtime(first_seen)) OVER ()) / 86400.0) AS BIGINT) AS days_before
    FROM things
)
SELECT
    'info' AS severity,
    first_seen,
    last_seen,
    vpc_id,
    subnet_id,
    dst_subnet_id,
    dst_port,
    protocol,
    flows_before + flows_in AS flows,
    packets,
    bytes,
    CASE WHEN flows_in > 0 THEN 'new: ' ELSE 'gone: ' END
    || CASE kind
        WHEN 'subnet pair' THEN subnet_id || ' opens connections to ' || dst_subnet_id
        WHEN 'destination' THEN subnet_id || ' reaches ' || what
        ELSE dst_subnet_id || ' serves port ' || dst_port || '/' || protocol_name(protocol) || COALESCE(' (' || port_name(dst_port, protocol) || ')', '')
    END
    || CASE
        WHEN flows_in > 0 THEN ', ' || flows_in || ' times, and not once in '
        ELSE ', ' || flows_before || ' times in '
    END
    || CASE WHEN days_before = 1 THEN 'the day' ELSE 'the ' || days_before || ' days' END || ' of logs before'
    || CASE WHEN flows_in > 0 THEN '' ELSE ', and no more' END AS reason,
    named_struct(
        'change', CASE WHEN flows_in > 0 THEN 'new' ELSE 'gone' END,
        'kind', kind,
        'what', what,
        'flows_before', flows_before,
        'flows_in_window', flows_in,
        'days_before', days_before
    ) AS evidence,
    expected_by('changes_between_windows', COALESCE(subnet_id, dst_subnet_id), NULL, vpc_id, NULL, dst_subnet_id, NULL, dst_port, protocol, last_seen) AS expected_by
FROM known
WHERE all_before > 0
  AND (flows_before = 0 OR flows_in = 0)
  AND flows_before + flows_in >= $min_flows
ORDER BY kind, first_seen, subnet_id, dst_subnet_id, what, dst_port, protocol
