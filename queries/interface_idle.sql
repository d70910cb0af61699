-- title: Idle interface
-- group: operations
-- severity: info
-- parameters:
--   baseline_days = 14        days before the window that are looked at with it
--   min_days = 14             days without a flow
--   nat_price = 0.045         USD for an hour of a NAT gateway: Amazon VPC pricing, us-east-1
--   endpoint_price = 0.01     USD for an hour of an interface endpoint in a zone: AWS PrivateLink pricing, us-east-1
-- finding_key: vpc_id interface_id
-- description: An interface of which the logs say for a fortnight that there was no traffic (NODATA), not one flow. NAT gateways and interface endpoints cost by the hour.
--   Interfaces of which nothing is said at all are another matter: logs_coverage_gap.
-- false_positives: Standbys. Hours in which AWS skipped records say nothing: the interface is left out then.
WITH heard AS (
    SELECT
        interface_id,
        SUM(flows) AS flows,
        SUM(skipped) AS skipped,
        SUM(nodata) AS nodata,
        MIN(hour) FILTER (WHERE nodata > 0) AS first_hour,
        MAX(hour) FILTER (WHERE nodata > 0) AS last_hour
    FROM interface_coverage
    WHERE hour < $to
      AND hour >= date_trunc('hour', $baseline_from)
    GROUP BY interface_id
),
idle AS (
    SELECT
        interfaces.*,
        nodata,
        first_hour,
        last_hour,
        (to_unixtime(last_hour) - to_unixtime(first_hour)) / 86400 AS days,
        CASE kind WHEN 'nat' THEN $nat_price WHEN 'vpc_endpoint' THEN $endpoint_price END AS price
    FROM heard
    JOIN interfaces ON interfaces.interface_id = heard.interface_id AND interfaces.snapshot_at = snapshot_of($to)
    WHERE flows = 0
      AND skipped = 0
      AND nodata > 0
)
SELECT
    CASE WHEN price IS NULL THEN 'info' ELSE 'low' END AS severity,
    first_hour AS first_seen,
    last_hour AS last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    private_ip_address AS src_addr,
    interface_id || ' (' || kind || COALESCE(', ' || name, '') || ') in ' || subnet_id || ' had no traffic in ' || days || ' days'
    || COALESCE('; it costs about ' || CAST(ROUND(price * 720, 2) AS VARCHAR) || ' USD a month', '') AS reason,
    named_struct('kind', kind, 'days', days, 'nodata', nodata, 'monthly_usd', ROUND(price * 720, 2)) AS evidence,
    expected_by('interface_idle', subnet_id, interface_id, vpc_id, NULL, NULL, NULL, NULL, NULL, last_hour) AS expected_by
FROM idle
WHERE days >= $min_days
ORDER BY interface_id
