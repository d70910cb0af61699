-- title: Network ACL allow that nothing uses
-- group: rejects
-- severity: low
-- parameters:
--   baseline_days = 90   days before the window that are looked at with it: the look-back that sg-tightener takes for removing a rule
--   min_days = 14        days of logs without which nothing is called unused: a fortnight holds every weekday twice
-- finding_key: evidence.nacl_id evidence.direction evidence.rule_number evidence.family
-- description: An allow entry of a network ACL in force that decided not one accepted packet, requests and replies alike, of any of its subnets in the logs of the look-back.
--   Each packet is judged by the first entry that matches it. Entries for single ICMP types are left out: flow logs don't record the type.
-- false_positives: Ways that are used in a disaster or once a year. Logs that lack flows (SKIPDATA, interfaces without a flow log) prove less: rated info then.
WITH passed AS (
    SELECT
        subnet_id,
        direction,
        nacl_rule(subnet_id, direction, CASE WHEN direction = 'ingress' THEN src_addr ELSE dst_addr END, dst_port, protocol, $to) AS rule_number,
        -- Of IPv6 addresses only: their entries are numbered with the others.
        position(':' IN src_addr) > 0 AS is_ipv6,
        COUNT(*) AS flows,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM traffic
    WHERE action = 'ACCEPT'
      AND direction IS NOT NULL
      AND subnet_id IS NOT NULL
      AND (src_subnet_id IS DISTINCT FROM dst_subnet_id)
      AND start < $to
      AND "end" >= $baseline_from
    GROUP BY subnet_id, direction, rule_number, is_ipv6
),
guarded AS (
    SELECT nacl_id, subnets.subnet_id
    FROM subnets
    WHERE snapshot_at = snapshot_of($to)
      AND nacl_id IS NOT NULL
),
used AS (
    SELECT DISTINCT nacl_id, direction, rule_number
    FROM passed
    JOIN guarded ON guarded.subnet_id = passed.subnet_id
    WHERE rule_number IS NOT NULL
),
heard AS (
    SELECT
        nacl_id,
        COUNT(DISTINCT passed.subnet_id) AS subnets,
        MIN(passed.subnet_id) AS first_subnet,
        SUM(flows) AS flows,
        BOOL_OR(rule_number IS NULL) AS is_undecidable,
        BOOL_OR(is_ipv6) AS hears_ipv6,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM passed
    JOIN guarded ON guarded.subnet_id = passed.subnet_id
    GROUP BY nacl_id
),
gaps AS (
    SELECT nacl_id, COUNT(DISTINCT interface_id) AS interfaces
    FROM interface_coverage
    JOIN guarded ON guarded.subnet_id = interface_coverage.subnet_id
    WHERE status IN ('no_flow_log', 'failed', 'rejects_only', 'skipdata')
      AND hour < $to
      AND hour >= $baseline_from
    GROUP BY nacl_id
),
entries AS (
    SELECT
        *,
        CASE WHEN egress THEN 'egress' ELSE 'ingress' END AS direction,
        COALESCE(cidr_block, ipv6_cidr_block) AS cidr,
        CASE WHEN cidr_block IS NULL THEN 'IPv6' ELSE 'IPv4' END AS family
    FROM nacl_entries
    WHERE snapshot_at = snapshot_of($to)
      AND rule_action = 'allow'
      AND COALESCE(icmp_type, -1) = -1
),
unused AS (
    SELECT entries.*
    FROM entries
    LEFT ANTI JOIN used
        ON used.nacl_id = entries.nacl_id
        AND used.direction = entries.direction
        AND used.rule_number = entries.rule_number
)
SELECT
    CASE
        WHEN COALESCE(gaps.interfaces, 0) > 0 OR is_undecidable THEN 'info'
        WHEN direction = 'ingress' AND cidr IN ('0.0.0.0/0', '::/0') THEN 'medium'
        ELSE 'low'
    END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    CASE WHEN subnets = 1 THEN first_subnet END AS subnet_id,
    CASE WHEN port_from = port_to THEN port_from END AS dst_port,
    CASE WHEN protocol >= 0 THEN protocol END AS protocol,
    'rule ' || rule_number || ' (' || direction || ') of ' || unused.nacl_id || ' allows '
    || CASE WHEN protocol < 0 THEN 'everything' ELSE protocol_name(protocol) END
    || CASE WHEN port_from IS NULL THEN '' WHEN port_from = port_to THEN ' port ' || port_from ELSE ' ports ' || port_from || '-' || port_to END
    || CASE WHEN direction = 'ingress' THEN ' from ' ELSE ' to ' END || cidr || ' and decided none of ' || flows || ' accepted flows in the '
    || CAST((to_unixtime(last_seen) - to_unixtime(first_seen)) / 86400 AS BIGINT) || ' days of logs'
    || CASE
        WHEN COALESCE(gaps.interfaces, 0) > 0 THEN '; the logs lack flows of ' || gaps.interfaces || ' of its interfaces'
        WHEN is_undecidable THEN '; which rule decided some of them can''t be told'
        ELSE ''
    END AS reason,
    named_struct(
        'nacl_id', unused.nacl_id,
        'direction', direction,
        'rule_number', rule_number,
        'family', family,
        'cidr', cidr,
        'port_from', port_from,
        'port_to', port_to,
        'accepted_flows', flows,
        'subnets_heard', subnets,
        'days', CAST((to_unixtime(last_seen) - to_unixtime(first_seen)) / 86400 AS BIGINT),
        'interfaces_with_gaps', COALESCE(gaps.interfaces, 0)
    ) AS evidence,
    expected_by(
        'nacl_allow_unused', CASE WHEN subnets = 1 THEN first_subnet END, NULL, vpc_id, NULL, NULL, NULL,
        CASE WHEN port_from = port_to THEN port_from END, CASE WHEN protocol >= 0 THEN protocol END, last_seen
    ) AS expected_by
FROM unused
JOIN heard ON heard.nacl_id = unused.nacl_id
LEFT JOIN gaps ON gaps.nacl_id = unused.nacl_id
WHERE to_unixtime(last_seen) - to_unixtime(first_seen) >= $min_days * 86400
  -- Of a family that nobody speaks, every entry is unused, and so is the family.
  AND (family = 'IPv4' OR hears_ipv6)
ORDER BY unused.nacl_id, direction, rule_number, family
