-- title: Network ACL that does nothing
-- group: rejects
-- severity: info
-- attack: T1562.007
-- parameters:
--   min_attempts = 100   attempts that security groups alone refused; the floor of nacl_tighten
-- finding_key: evidence.nacl_id
-- description: A network ACL whose first rule lets everything in, in front of subnets where security groups alone refuse attempts from the internet or from other VPCs:
--   one wrong security group is all that is between.
-- false_positives: AWS's default, and many work with security groups alone on purpose: it is information.
WITH first_rules AS (
    SELECT
        nacl_id,
        rule_number,
        rule_action,
        protocol,
        COALESCE(cidr_block, ipv6_cidr_block) AS cidr,
        ROW_NUMBER() OVER (PARTITION BY nacl_id, cidr_block IS NULL ORDER BY rule_number) AS nth
    FROM nacl_entries
    WHERE snapshot_at = snapshot_of($to)
      AND NOT egress
),
open_nacls AS (
    SELECT nacls.nacl_id, is_default, MIN(rule_number) AS rule_number
    FROM first_rules
    JOIN nacls ON nacls.nacl_id = first_rules.nacl_id AND nacls.snapshot_at = snapshot_of($to)
    WHERE nth = 1
      AND rule_action = 'allow'
      AND protocol = -1
      AND cidr IN ('0.0.0.0/0', '::/0')
    GROUP BY nacls.nacl_id, is_default
),
attempts AS (
    SELECT
        account_id,
        region,
        server_vpc_id,
        server_subnet_id,
        client_scope = 'internet' AS is_internet,
        client_addr,
        expected_by(
            'nacl_allows_all', server_subnet_id, server_interface_id, server_vpc_id,
            client_addr, client_subnet_id, NULL, service_port, protocol, start
        ) AS expected_by,
        COUNT(*) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE action = 'REJECT'
      AND opened
      AND NOT late
      AND refused_by = 'security_group'
      AND direction = 'ingress'
      AND (client_scope = 'internet' OR client_vpc_id <> server_vpc_id)
      AND start < $to
      AND "end" >= $from
    GROUP BY account_id, region, server_vpc_id, server_subnet_id, is_internet, client_addr, expected_by
),
places AS (
    SELECT
        open_nacls.nacl_id,
        open_nacls.is_default,
        open_nacls.rule_number,
        expected_by,
        MIN(attempts.account_id) AS account_id,
        MIN(attempts.region) AS region,
        MIN(server_vpc_id) AS vpc_id,
        MIN(server_subnet_id) AS first_subnet,
        COUNT(DISTINCT server_subnet_id) AS subnets,
        COUNT(DISTINCT client_addr) AS clients,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        COALESCE(SUM(flows) FILTER (WHERE is_internet), 0) AS from_internet,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM attempts
    JOIN subnets ON subnets.subnet_id = server_subnet_id AND subnets.snapshot_at = snapshot_of($to)
    JOIN open_nacls ON open_nacls.nacl_id = subnets.nacl_id
    GROUP BY open_nacls.nacl_id, open_nacls.is_default, open_nacls.rule_number, expected_by
)
SELECT
    'info' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    CASE WHEN subnets = 1 THEN first_subnet END AS subnet_id,
    src_addr,
    flows,
    packets,
    bytes,
    nacl_id || CASE WHEN is_default THEN ', the default network ACL,' ELSE '' END || ' lets everything in (rule ' || rule_number || '): security groups alone refused '
    || flows || ' attempts on ' || CASE WHEN subnets = 1 THEN first_subnet ELSE subnets || ' subnets' END
    || ', ' || from_internet || ' of them from the internet' AS reason,
    named_struct(
        'nacl_id', nacl_id,
        'is_default', is_default,
        'rule_number', rule_number,
        'subnets', subnets,
        'source_addresses', clients,
        'from_internet', from_internet
    ) AS evidence,
    expected_by
FROM places
WHERE flows >= $min_attempts
ORDER BY flows DESC, nacl_id
