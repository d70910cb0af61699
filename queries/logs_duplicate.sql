-- title: Interfaces recorded by several flow logs
-- group: operations
-- severity: low
-- parameters:
--   min_hours = 2   hours in which the same interface has records of several flow logs: in one, an old flow log may have made way for a new one
-- finding_key: evidence.flow_log_ids
-- description: The same interfaces in the objects of several flow logs: of the VPC, the subnet and the interface, say. flowscout counts each packet once; delivery and
--   storage are paid for several times.
-- false_positives: Two formats or destinations on purpose, that were read into one lake.
WITH by_flow_log AS (
    SELECT
        interface_id,
        date_trunc('hour', start) AS hour,
        -- AWS names objects account_vpcflowlogs_region_flow-log_time_hash; of an id, 20 characters are all or more than all.
        substr(source, strpos(source, '_fl-') + 1, 20) AS prefix,
        COUNT(*) AS flows,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM flows
    WHERE interface_id IS NOT NULL
      AND strpos(source, '_fl-') > 0
      AND start < $to
      AND "end" >= $from
    GROUP BY interface_id, hour, prefix
),
by_hour AS (
    SELECT
        interface_id,
        hour,
        STRING_AGG(DISTINCT split_part(prefix, '_', 1), ' ' ORDER BY split_part(prefix, '_', 1)) AS flow_log_ids,
        SUM(flows) AS flows,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM by_flow_log
    GROUP BY interface_id, hour
    HAVING MIN(split_part(prefix, '_', 1)) < MAX(split_part(prefix, '_', 1))
),
by_interface AS (
    SELECT
        interface_id,
        flow_log_ids,
        COUNT(*) AS hours,
        SUM(flows) AS flows,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM by_hour
    GROUP BY interface_id, flow_log_ids
    HAVING COUNT(*) >= $min_hours
),
sets AS (
    SELECT
        flow_log_ids,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS first_vpc,
        MAX(vpc_id) AS last_vpc,
        MIN(subnet_id) AS first_subnet,
        MAX(subnet_id) AS last_subnet,
        COUNT(DISTINCT by_interface.interface_id) AS interfaces,
        MIN(by_interface.interface_id) AS first_interface,
        MAX(hours) AS hours,
        SUM(flows) AS flows,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM by_interface
    LEFT JOIN interfaces ON interfaces.interface_id = by_interface.interface_id AND interfaces.snapshot_at = snapshot_of($to)
    GROUP BY flow_log_ids
)
SELECT
    'low' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    CASE WHEN first_vpc = last_vpc THEN first_vpc END AS vpc_id,
    CASE WHEN first_subnet = last_subnet THEN first_subnet END AS subnet_id,
    CASE WHEN interfaces = 1 THEN first_interface END AS interface_id,
    flows,
    CASE WHEN interfaces = 1 THEN first_interface || ' is' ELSE interfaces || ' interfaces are' END || ' recorded by ' || replace(flow_log_ids, ' ', ' and ')
    || ', in ' || hours || ' hours: what they record is delivered and stored several times' AS reason,
    named_struct('flow_log_ids', flow_log_ids, 'interfaces', interfaces, 'hours', hours) AS evidence,
    expected_by(
        'logs_duplicate', CASE WHEN first_subnet = last_subnet THEN first_subnet END, CASE WHEN interfaces = 1 THEN first_interface END,
        CASE WHEN first_vpc = last_vpc THEN first_vpc END, NULL, NULL, NULL, NULL, NULL, first_seen
    ) AS expected_by
FROM sets
ORDER BY flows DESC, flow_log_ids
