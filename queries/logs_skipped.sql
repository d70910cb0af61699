-- title: Flow logs that AWS skipped
-- group: operations
-- severity: low
-- attack: T1562.008
-- parameters:
--   share = 0.01   share of the window's seconds that an interface's SKIPDATA records span from which it is medium: 1 % of its time
-- finding_key: account_id interface_id
-- description: An interface for which AWS dropped records (SKIPDATA): one such record may stand for many flows, so what was not seen there may still have been.
-- false_positives: An internal error of AWS's, now and then: nothing to do but to know it.
WITH skipped AS (
    SELECT
        account_id,
        region,
        vpc_id,
        subnet_id,
        COALESCE(interface_id, resource_id, tgw_attachment_id) AS interface_id,
        COUNT(*) AS records,
        SUM(to_unixtime("end") - to_unixtime(start)) AS seconds,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM (
        -- Flow logs that overlap say it several times.
        SELECT DISTINCT account_id, region, vpc_id, subnet_id, interface_id, resource_id, tgw_attachment_id, start, "end"
        FROM coverage
        WHERE log_status = 'SKIPDATA'
          AND start < $to
          AND "end" >= $from
    ) AS once
    GROUP BY account_id, region, vpc_id, subnet_id, COALESCE(interface_id, resource_id, tgw_attachment_id)
),
placed AS (
    SELECT
        skipped.account_id,
        COALESCE(skipped.region, interfaces.region) AS region,
        COALESCE(skipped.vpc_id, interfaces.vpc_id) AS vpc_id,
        COALESCE(skipped.subnet_id, interfaces.subnet_id) AS subnet_id,
        skipped.interface_id,
        records,
        seconds,
        first_seen,
        last_seen
    FROM skipped
    LEFT JOIN interfaces ON interfaces.interface_id = skipped.interface_id AND interfaces.snapshot_at = snapshot_of($to)
)
SELECT
    CASE WHEN seconds > $share * (to_unixtime($to) - to_unixtime($from)) THEN 'medium' ELSE 'low' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    'AWS skipped records of ' || COALESCE(interface_id, 'an unknown interface') || COALESCE(' in ' || subnet_id, '') || ' in ' || records
    || CASE WHEN records = 1 THEN ' interval' ELSE ' intervals' END || ' of ' || seconds || ' s in all: what was not seen there may still have been' AS reason,
    named_struct('intervals', records, 'seconds', seconds) AS evidence,
    expected_by('logs_skipped', subnet_id, interface_id, vpc_id, NULL, NULL, NULL, NULL, NULL, first_seen) AS expected_by
FROM placed
ORDER BY seconds DESC, interface_id
