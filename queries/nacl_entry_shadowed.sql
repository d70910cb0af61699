-- title: Network ACL entry that is never reached
-- group: rejects
-- severity: low
-- attack: T1562.007
-- finding_key: evidence.nacl_id evidence.direction evidence.rule_number evidence.family
-- description: An entry whose packets are all decided by one entry with a lower number: same direction and family, a CIDR, protocol, ports and ICMP type that hold its own. A
--   deny behind an allow protects nothing. Needs the topology alone; entries that only several others cover together are not found.
-- false_positives: An entry kept for the day on which the other is removed.
WITH entries AS (
    SELECT
        *,
        COALESCE(cidr_block, ipv6_cidr_block) AS cidr,
        split_part(COALESCE(cidr_block, ipv6_cidr_block), '/', 1) AS network,
        CAST(split_part(COALESCE(cidr_block, ipv6_cidr_block), '/', 2) AS INT) AS bits,
        CASE WHEN cidr_block IS NULL THEN 'IPv6' ELSE 'IPv4' END AS family,
        -- Ports and types count for the protocols that have them alone.
        CASE WHEN protocol IN (6, 17) THEN COALESCE(port_from, 0) ELSE 0 END AS lowest,
        CASE WHEN protocol IN (6, 17) THEN COALESCE(port_to, 65535) ELSE 65535 END AS highest,
        CASE WHEN protocol IN (1, 58) THEN COALESCE(icmp_type, -1) ELSE -1 END AS of_type,
        CASE WHEN protocol IN (1, 58) THEN COALESCE(icmp_code, -1) ELSE -1 END AS of_code,
        CASE WHEN protocol < 0 THEN 'everything' ELSE protocol_name(protocol) END
        || CASE WHEN port_from IS NULL THEN '' WHEN port_from = port_to THEN ' port ' || port_from ELSE ' ports ' || port_from || '-' || port_to END
        || CASE WHEN egress THEN ' to ' ELSE ' from ' END || COALESCE(cidr_block, ipv6_cidr_block) AS words
    FROM nacl_entries
    WHERE snapshot_at = snapshot_of($to)
),
covered AS (
    SELECT
        later.*,
        earlier.rule_number AS by_number,
        earlier.rule_action AS by_action,
        earlier.words AS by_words,
        ROW_NUMBER() OVER (PARTITION BY later.nacl_id, later.egress, later.family, later.rule_number ORDER BY earlier.rule_number) AS nth
    FROM entries AS later
    JOIN entries AS earlier
        ON earlier.nacl_id = later.nacl_id
        AND earlier.egress = later.egress
        AND earlier.family = later.family
    WHERE earlier.rule_number < later.rule_number
      -- The implicit deny is covered wherever everything is allowed.
      AND later.rule_number < 32767
      AND earlier.bits <= later.bits
      AND cidr_contains(earlier.cidr, later.network)
      AND (earlier.protocol = -1 OR earlier.protocol = later.protocol)
      AND earlier.lowest <= later.lowest
      AND earlier.highest >= later.highest
      AND (earlier.of_type = -1 OR earlier.of_type = later.of_type)
      AND (earlier.of_code = -1 OR earlier.of_code = later.of_code)
),
named AS (
    SELECT covered.*, subnet_ids
    FROM covered
    JOIN nacls ON nacls.nacl_id = covered.nacl_id AND nacls.snapshot_at = covered.snapshot_at
    WHERE nth = 1
)
SELECT
    CASE
        WHEN rule_action = by_action THEN 'info'
        WHEN rule_action = 'deny' THEN 'medium'
        ELSE 'low'
    END AS severity,
    snapshot_at AS first_seen,
    snapshot_at AS last_seen,
    account_id,
    region,
    vpc_id,
    CASE WHEN port_from = port_to THEN port_from END AS dst_port,
    CASE WHEN protocol >= 0 THEN protocol END AS protocol,
    'rule ' || rule_number || ' (' || CASE WHEN egress THEN 'egress' ELSE 'ingress' END || ') of ' || nacl_id || ', ' || rule_action || ' ' || words
    || ', is never reached: rule ' || by_number || ' before it is ' || by_action || ' ' || by_words
    || CASE
        WHEN rule_action = by_action THEN '; it takes one of 20 places'
        WHEN rule_action = 'deny' THEN '; what it should deny is allowed'
        ELSE '; what it should allow is denied'
    END AS reason,
    named_struct(
        'nacl_id', nacl_id,
        'direction', CASE WHEN egress THEN 'egress' ELSE 'ingress' END,
        'rule_number', rule_number,
        'action', rule_action,
        'family', family,
        'cidr', cidr,
        'by_rule_number', by_number,
        'by_action', by_action,
        'subnet_ids', subnet_ids
    ) AS evidence,
    expected_by('nacl_entry_shadowed', NULL, NULL, vpc_id, NULL, NULL, NULL, NULL, NULL, snapshot_at) AS expected_by
FROM named
ORDER BY nacl_id, egress, rule_number, family
