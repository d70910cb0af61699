-- title: Interfaces that the flow logs leave out
-- group: operations
-- severity: medium
-- attack: T1562.008
-- finding_key: vpc_id subnet_id evidence.status
-- description: Interfaces of the topology of which the logs have nothing, or half: no flow log covers them, its delivery fails, it records refusals or acceptances only, or not
--   one record came in the whole window though a flow log covers them. Every other answer is blind there.
-- false_positives: Interfaces that AWS services hold in reserve and that never speak; a flow log that was made minutes ago. Silence is rated info.
WITH by_interface AS (
    SELECT
        account_id,
        region,
        vpc_id,
        subnet_id,
        interface_id,
        CASE
            WHEN BOOL_OR(status = 'failed') THEN 'failed'
            WHEN BOOL_OR(status = 'no_flow_log') THEN 'no_flow_log'
            WHEN BOOL_OR(status = 'rejects_only') THEN 'rejects_only'
            WHEN BOOL_OR(status = 'accepts_only') THEN 'accepts_only'
            WHEN BOOL_AND(status = 'silent') THEN 'silent'
        END AS status,
        COUNT(*) FILTER (WHERE status NOT IN ('logged', 'skipdata')) AS hours,
        MIN(hour) FILTER (WHERE status NOT IN ('logged', 'skipdata')) AS first_hour,
        MAX(hour) FILTER (WHERE status NOT IN ('logged', 'skipdata')) AS last_hour
    FROM interface_coverage
    WHERE hour < $to
      AND hour >= date_trunc('hour', $from)
    GROUP BY account_id, region, vpc_id, subnet_id, interface_id
),
subnets_with_gaps AS (
    SELECT
        vpc_id,
        subnet_id,
        status,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        COUNT(*) AS interfaces,
        CASE WHEN COUNT(*) = 1 THEN MIN(interface_id) END AS interface_id,
        array_slice(array_agg(interface_id ORDER BY interface_id), 1, 20) AS interface_ids,
        MAX(hours) AS hours,
        MIN(first_hour) AS first_seen,
        MAX(last_hour) AS last_seen
    FROM by_interface
    WHERE status IS NOT NULL
    GROUP BY vpc_id, subnet_id, status
)
SELECT
    CASE status
        WHEN 'failed' THEN 'high'
        WHEN 'no_flow_log' THEN 'medium'
        WHEN 'silent' THEN 'info'
        ELSE 'low'
    END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    COALESCE(interface_id, interfaces || ' interfaces') || ' in ' || COALESCE(subnet_id, 'an unknown subnet')
    || CASE status
        WHEN 'failed' THEN ': the delivery of the flow log fails'
        WHEN 'no_flow_log' THEN ': no flow log records what goes in and out'
        WHEN 'rejects_only' THEN ': the flow log records refusals only, so that nothing is known of what was accepted'
        WHEN 'accepts_only' THEN ': the flow log records what was accepted only, so that nothing is known of refusals'
        ELSE ': not one record, not even that there was no traffic'
    END || ' (' || hours || CASE WHEN hours = 1 THEN ' hour)' ELSE ' hours)' END AS reason,
    named_struct('status', status, 'interfaces', interfaces, 'interface_ids', interface_ids, 'hours', hours) AS evidence,
    expected_by('logs_coverage_gap', subnet_id, interface_id, vpc_id, NULL, NULL, NULL, NULL, NULL, first_seen) AS expected_by
FROM subnets_with_gaps
ORDER BY interfaces DESC, subnet_id, status
