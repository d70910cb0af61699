-- title: Packets lost at a transit gateway
-- group: operations
-- severity: low
-- parameters:
--   medium_a_minute = 10   packets lost in a minute, at the worst, from which it is medium
-- fields:
--   packets_lost_blackhole = what transit gateways dropped: it stands in their own flow logs only
-- finding_key: evidence.tgw_id evidence.tgw_attachment_id evidence.kind
-- description: Packets that a transit gateway dropped for want of a route, into a blackhole route, because they were too long, or after too many hops, by attachment. No other
--   log shows drops by route.
-- false_positives: Blackhole routes on purpose: add the VPC to the policy.
WITH losses AS (
    SELECT
        account_id,
        region,
        tgw_id,
        tgw_attachment_id,
        tgw_src_vpc_id,
        srcaddr,
        dstaddr,
        start,
        "end",
        kind,
        CASE kind
            WHEN 'no_route' THEN packets_lost_no_route
            WHEN 'blackhole' THEN packets_lost_blackhole
            WHEN 'mtu_exceeded' THEN packets_lost_mtu_exceeded
            ELSE packets_lost_ttl_expired
        END AS lost
    FROM flows
    CROSS JOIN (VALUES ('no_route'), ('blackhole'), ('mtu_exceeded'), ('ttl_expired')) AS kinds (kind)
    WHERE start < $to
      AND "end" >= $from
      AND (packets_lost_no_route > 0 OR packets_lost_blackhole > 0 OR packets_lost_mtu_exceeded > 0 OR packets_lost_ttl_expired > 0)
),
minutes AS (
    SELECT
        account_id,
        region,
        tgw_id,
        tgw_attachment_id,
        kind,
        date_trunc('minute', start) AS minute,
        MIN(tgw_src_vpc_id) AS first_vpc,
        MAX(tgw_src_vpc_id) AS last_vpc,
        MIN(srcaddr) AS first_src,
        MAX(srcaddr) AS last_src,
        MIN(dstaddr) AS first_dst,
        MAX(dstaddr) AS last_dst,
        COUNT(*) AS flows,
        SUM(lost) AS lost,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM losses
    WHERE lost > 0
    GROUP BY account_id, region, tgw_id, tgw_attachment_id, kind, date_trunc('minute', start)
),
attachments AS (
    SELECT
        account_id,
        region,
        tgw_id,
        tgw_attachment_id,
        kind,
        CASE WHEN MIN(first_vpc) = MAX(last_vpc) THEN MIN(first_vpc) END AS vpc_id,
        CASE WHEN MIN(first_src) = MAX(last_src) THEN MIN(first_src) END AS src_addr,
        CASE WHEN MIN(first_dst) = MAX(last_dst) THEN MIN(first_dst) END AS dst_addr,
        MIN(first_src) AS first_src,
        MIN(first_dst) AS first_dst,
        SUM(flows) AS flows,
        SUM(lost) AS lost,
        MAX(lost) AS most_a_minute,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM minutes
    GROUP BY account_id, region, tgw_id, tgw_attachment_id, kind
)
SELECT
    CASE WHEN most_a_minute >= $medium_a_minute THEN 'medium' ELSE 'low' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    src_addr,
    dst_addr,
    flows,
    lost AS packets,
    tgw_id || ' lost ' || lost || ' packets from ' || tgw_attachment_id
    || CASE kind
        WHEN 'no_route' THEN ' for want of a route'
        WHEN 'blackhole' THEN ' into a blackhole route'
        WHEN 'mtu_exceeded' THEN ' that were too long for it (its MTU is 8500 bytes)'
        ELSE ' that had made too many hops: look for a loop'
    END || ', up to ' || most_a_minute || ' a minute, such as ' || first_src || ' to ' || first_dst AS reason,
    named_struct(
        'tgw_id', tgw_id,
        'tgw_attachment_id', tgw_attachment_id,
        'kind', kind,
        'lost', lost,
        'most_a_minute', most_a_minute
    ) AS evidence,
    expected_by('transit_gateway_losses', NULL, NULL, vpc_id, dst_addr, NULL, NULL, NULL, NULL, first_seen) AS expected_by
FROM attachments
ORDER BY lost DESC, tgw_attachment_id, kind
