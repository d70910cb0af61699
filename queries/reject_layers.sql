-- title: Who refuses what a subnet refuses
-- group: rejects
-- severity: info
-- parameters:
--   undecidable_share = 0.1   share of refusals whose layer can't be told from which the topology needs a look; the row is low then
-- finding_key: vpc_id subnet_id
-- description: A report: for each subnet that refused something in the window, how many attempts the network ACL refused, the security groups, both,
--   Block Public Access or encryption controls, how many were late packets of closed connections, and for how many that can't be told.
-- false_positives: None: it is a count. A snapshot of the topology that is newer than the flows judges them by rules of another day.
WITH refused AS (
    SELECT
        account_id,
        region,
        vpc_id,
        subnet_id,
        interface_id,
        refused_by,
        COUNT(*) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM traffic
    WHERE counted
      AND action = 'REJECT'
      AND start < $to
      AND "end" >= $from
    GROUP BY account_id, region, vpc_id, subnet_id, interface_id, refused_by
),
subnets_of_window AS (
    SELECT
        vpc_id,
        subnet_id,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        CASE WHEN MIN(interface_id) = MAX(interface_id) THEN MIN(interface_id) END AS interface_id,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        COALESCE(SUM(flows) FILTER (WHERE refused_by LIKE 'nacl%'), 0) AS by_nacl,
        COALESCE(SUM(flows) FILTER (WHERE refused_by = 'security_group'), 0) AS by_group,
        COALESCE(SUM(flows) FILTER (WHERE refused_by = 'both'), 0) AS by_both,
        COALESCE(SUM(flows) FILTER (WHERE refused_by = 'bpa'), 0) AS by_bpa,
        COALESCE(SUM(flows) FILTER (WHERE refused_by = 'encryption_controls'), 0) AS by_encryption,
        COALESCE(SUM(flows) FILTER (WHERE refused_by = 'late packet'), 0) AS late,
        COALESCE(SUM(flows) FILTER (WHERE refused_by = 'undecidable' OR refused_by IS NULL), 0) AS undecidable
    FROM refused
    GROUP BY vpc_id, subnet_id
)
SELECT
    CASE WHEN undecidable > $undecidable_share * flows THEN 'low' ELSE 'info' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    flows,
    packets,
    bytes,
    COALESCE(subnet_id, 'an unknown subnet') || ' refused ' || flows || ' flows: '
    || by_nacl || ' its network ACL, ' || by_group || ' security groups alone, ' || by_both || ' both'
    || CASE WHEN by_bpa > 0 THEN ', ' || by_bpa || ' Block Public Access' ELSE '' END
    || CASE WHEN by_encryption > 0 THEN ', ' || by_encryption || ' encryption controls' ELSE '' END
    || CASE WHEN late > 0 THEN ', ' || late || ' late packets' ELSE '' END
    || CASE WHEN undecidable > 0 THEN '; of ' || undecidable || ' that can''t be told' ELSE '' END AS reason,
    named_struct(
        'by_nacl', by_nacl,
        'by_security_group', by_group,
        'by_both', by_both,
        'by_block_public_access', by_bpa,
        'by_encryption_controls', by_encryption,
        'late', late,
        'undecidable', undecidable,
        'undecidable_share', undecidable / CAST(flows AS DOUBLE)
    ) AS evidence,
    expected_by('reject_layers', subnet_id, interface_id, vpc_id, NULL, NULL, NULL, NULL, NULL, first_seen) AS expected_by
FROM subnets_of_window
ORDER BY flows DESC, subnet_id
