-- title: Refusals that are late packets
-- group: rejects
-- severity: info
-- parameters:
--   min_late = 20       late packets of a subnet below which they are not worth a line
--   min_share = 0.1     their share of the subnet's refusals from which they blur what is really refused
-- finding_key: vpc_id subnet_id
-- description: Refusals of packets that arrived after their connection was closed or its tracking had expired. No rule refused them: they are left out of every other
--   detection of refusals. Many of them point at connections that idle longer than the security group tracks them.
-- false_positives: None: it is a count. Without tcp-flags in the logs it goes by an accepted record of the same connection shortly before.
WITH refused AS (
    SELECT
        vpc_id,
        subnet_id,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        CASE WHEN MIN(interface_id) FILTER (WHERE late) = MAX(interface_id) FILTER (WHERE late) THEN MIN(interface_id) FILTER (WHERE late) END AS interface_id,
        COUNT(*) AS refused,
        COUNT(*) FILTER (WHERE late) AS late,
        COUNT(*) FILTER (WHERE late AND tcp_flags IS NULL AND protocol = 6) AS inferred,
        SUM(packets) FILTER (WHERE late) AS packets,
        SUM(bytes) FILTER (WHERE late) AS bytes,
        MIN(start) FILTER (WHERE late) AS first_seen,
        MAX("end") FILTER (WHERE late) AS last_seen
    FROM traffic
    WHERE counted
      AND action = 'REJECT'
      AND start < $to
      AND "end" >= $from
    GROUP BY vpc_id, subnet_id
)
SELECT
    'info' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    late AS flows,
    packets,
    bytes,
    late || ' of ' || refused || ' refusals in ' || COALESCE(subnet_id, 'an unknown subnet') || ' are late packets of closed connections: no rule refused them'
    || CASE WHEN inferred > 0 THEN ' (' || inferred || ' without flags, by an accepted record just before)' ELSE '' END AS reason,
    named_struct('late', late, 'refused', refused, 'share', late / CAST(refused AS DOUBLE), 'inferred', inferred) AS evidence,
    expected_by('reject_late_packets', subnet_id, interface_id, vpc_id, NULL, NULL, NULL, NULL, NULL, first_seen) AS expected_by
FROM refused
WHERE late >= $min_late
  AND late >= $min_share * refused
ORDER BY late DESC, subnet_id
