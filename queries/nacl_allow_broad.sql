-- title: Network ACL allow wider than its use
-- group: rejects
-- severity: low
-- attack: T1133
-- parameters:
--   baseline_days = 30   days before the window that are looked at with it
--   min_days = 3         days of logs without which no use is called all there is
--   max_groups = 16      networks and ports that a narrower rule set may have; ACLs hold 20 entries in each direction
-- finding_key: evidence.nacl_id evidence.direction evidence.rule_number evidence.family
-- description: An allow entry for everybody or for every port, whose accepted connections come to a few networks (/24, or /64 of IPv6) and ports. Replies are counted
--   apart: they need the clients' ephemeral ports, which a narrower rule set must keep. `nacl advise` works the change out.
-- false_positives: Ways that are rarely used. A default network ACL allows everything on purpose where security groups do the work: nacl_allows_all says so.
WITH passed AS (
    SELECT
        subnet_id,
        direction,
        nacl_rule(subnet_id, direction, CASE WHEN direction = 'ingress' THEN src_addr ELSE dst_addr END, dst_port, protocol, $to) AS rule_number,
        initiator = 'src' AS is_request,
        CASE WHEN initiator = 'src' THEN dst_port END AS port,
        CASE WHEN initiator = 'src' THEN CASE WHEN direction = 'ingress' THEN src_addr ELSE dst_addr END END AS remote,
        protocol,
        COUNT(*) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM traffic
    WHERE action = 'ACCEPT'
      AND direction IS NOT NULL
      AND subnet_id IS NOT NULL
      AND (src_subnet_id IS DISTINCT FROM dst_subnet_id)
      AND start < $to
      AND "end" >= $baseline_from
    GROUP BY subnet_id, direction, rule_number, is_request, port, remote, protocol
),
groups AS (
    SELECT
        nacl_id,
        direction,
        rule_number,
        is_request,
        port,
        ip_prefix(remote, 24, 64) AS cidr,
        protocol,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(passed.subnet_id) AS first_subnet,
        MAX(passed.subnet_id) AS last_subnet,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM passed
    JOIN subnets ON subnets.subnet_id = passed.subnet_id AND subnets.snapshot_at = snapshot_of($to)
    WHERE rule_number IS NOT NULL
    GROUP BY nacl_id, direction, rule_number, is_request, port, cidr, protocol
),
-- Rules that many networks use are left out before anything is listed.
narrow AS (
    SELECT *
    FROM (SELECT *, COUNT(*) FILTER (WHERE is_request) OVER (PARTITION BY nacl_id, direction, rule_number) AS groups FROM groups) AS counted_groups
    WHERE groups BETWEEN 1 AND $max_groups
),
rules AS (
    SELECT
        nacl_id,
        direction,
        rule_number,
        MAX(groups) AS groups,
        SUM(flows) FILTER (WHERE is_request) AS flows,
        SUM(packets) FILTER (WHERE is_request) AS packets,
        SUM(bytes) FILTER (WHERE is_request) AS bytes,
        COALESCE(SUM(flows) FILTER (WHERE NOT is_request), 0) AS replies,
        MIN(first_subnet) AS first_subnet,
        MAX(last_subnet) AS last_subnet,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        array_agg(named_struct('cidr', cidr, 'port', port, 'protocol', protocol, 'flows', flows) ORDER BY flows DESC, cidr, port, protocol)
            FILTER (WHERE is_request) AS used_by
    FROM narrow
    GROUP BY nacl_id, direction, rule_number
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
      AND (COALESCE(cidr_block, ipv6_cidr_block) IN ('0.0.0.0/0', '::/0') OR port_from IS NULL OR (port_from <= 1 AND port_to = 65535))
      -- An allow of ephemeral ports alone is there for replies.
      AND NOT COALESCE(port_from >= 1024, FALSE)
      AND protocol NOT IN (1, 58)
)
SELECT
    'low' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    CASE WHEN first_subnet = last_subnet THEN first_subnet END AS subnet_id,
    CASE WHEN port_from = port_to THEN port_from END AS dst_port,
    CASE WHEN entries.protocol >= 0 THEN entries.protocol END AS protocol,
    flows,
    packets,
    bytes,
    'rule ' || entries.rule_number || ' (' || entries.direction || ') of ' || entries.nacl_id || ' allows '
    || CASE WHEN entries.protocol < 0 THEN 'everything' ELSE protocol_name(entries.protocol) END
    || CASE WHEN port_from IS NULL THEN '' WHEN port_from = port_to THEN ' port ' || port_from ELSE ' ports ' || port_from || '-' || port_to END
    || CASE WHEN entries.direction = 'ingress' THEN ' from ' ELSE ' to ' END || cidr || '; all ' || flows || ' connections in '
    || CAST((to_unixtime(last_seen) - to_unixtime(first_seen)) / 86400 AS BIGINT) || ' days of logs fit '
    || groups || CASE WHEN groups = 1 THEN ' network and port' ELSE ' networks and ports' END
    || CASE WHEN replies > 0 THEN ', beside ' || replies || ' flows of replies' ELSE '' END AS reason,
    named_struct(
        'nacl_id', entries.nacl_id,
        'direction', entries.direction,
        'rule_number', entries.rule_number,
        'family', family,
        'cidr', cidr,
        'groups', groups,
        'used_by', used_by,
        'reply_flows', replies,
        'days', CAST((to_unixtime(last_seen) - to_unixtime(first_seen)) / 86400 AS BIGINT)
    ) AS evidence,
    expected_by(
        'nacl_allow_broad', CASE WHEN first_subnet = last_subnet THEN first_subnet END, NULL, vpc_id, NULL, NULL, NULL,
        CASE WHEN port_from = port_to THEN port_from END, CASE WHEN entries.protocol >= 0 THEN entries.protocol END, last_seen
    ) AS expected_by
FROM entries
JOIN rules
    ON rules.nacl_id = entries.nacl_id
    AND rules.direction = entries.direction
    AND rules.rule_number = entries.rule_number
WHERE to_unixtime(last_seen) - to_unixtime(first_seen) >= $min_days * 86400
ORDER BY entries.nacl_id, entries.direction, entries.rule_number, family
