-- title: Only a security group stopped it
-- group: rejects
-- severity: low
-- attack: T1595.001
-- parameters:
--   baseline_days = 30    days before the window that are looked at with it; a month, so that monthly jobs are seen
--   min_days = 3          days on which it was tried: advice from one day is none
--   min_attempts = 100    attempts, each counted once
-- finding_key: vpc_id subnet_id dst_port protocol
-- description: Attempts into a subnet that its network ACL allows and only a security group refuses, day after day, from networks (/24, or /64 of IPv6) of which nothing was
--   accepted on that port in the same time. The network ACL can be narrowed for that port: `nacl advise` replays the change against what was accepted.
-- false_positives: Scanners that move on: narrow the allow to the networks that use the port instead of denying theirs. A snapshot of the topology from
--   another day.
WITH daily AS (
    SELECT
        account_id,
        region,
        server_vpc_id,
        server_subnet_id,
        server_interface_id,
        client_addr,
        service_port,
        protocol,
        expected_by(
            'nacl_tighten', server_subnet_id, server_interface_id, server_vpc_id,
            client_addr, client_subnet_id, NULL, service_port, protocol, start
        ) AS expected_by,
        client_scope,
        to_unixtime(start) / 86400 AS day,
        COUNT(*) FILTER (WHERE action = 'REJECT' AND direction = 'ingress' AND refused_by = 'security_group') AS attempts,
        COUNT(*) FILTER (WHERE action = 'ACCEPT') AS accepted,
        SUM(packets) FILTER (WHERE action = 'REJECT' AND direction = 'ingress' AND refused_by = 'security_group') AS packets,
        SUM(bytes) FILTER (WHERE action = 'REJECT' AND direction = 'ingress' AND refused_by = 'security_group') AS bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE opened
      AND NOT late
      AND server_subnet_id IS NOT NULL
      AND (client_subnet_id IS DISTINCT FROM server_subnet_id)
      AND start < $to
      AND "end" >= $baseline_from
    GROUP BY
        account_id, region, server_vpc_id, server_subnet_id, server_interface_id, client_addr, service_port, protocol, expected_by,
        client_scope, day
),
blocks AS (
    SELECT
        *,
        SUM(attempts) OVER block AS block_attempts,
        SUM(accepted) OVER block AS block_accepted,
        ROW_NUMBER() OVER (
            PARTITION BY server_vpc_id, server_subnet_id, service_port, protocol, expected_by, cidr
            ORDER BY client_addr, day
        ) AS nth
    FROM (SELECT *, ip_prefix(client_addr, 24, 64) AS cidr FROM daily) AS prefixed
    WINDOW block AS (PARTITION BY server_vpc_id, server_subnet_id, service_port, protocol, expected_by, cidr)
),
-- The first row of each block stands for it; the busiest ten that are never let in are listed.
ranked AS (
    SELECT
        *,
        nth = 1 AND block_attempts > 0 AND block_accepted = 0 AS is_listed,
        ROW_NUMBER() OVER (
            PARTITION BY server_vpc_id, server_subnet_id, service_port, protocol, expected_by
            ORDER BY CASE WHEN nth = 1 AND block_accepted = 0 THEN 0 ELSE 1 END, block_attempts DESC, cidr
        ) AS place
    FROM blocks
),
ports AS (
    SELECT
        server_vpc_id,
        server_subnet_id,
        service_port,
        protocol,
        expected_by,
        MIN(account_id) FILTER (WHERE attempts > 0) AS account_id,
        MIN(region) FILTER (WHERE attempts > 0) AS region,
        MIN(server_interface_id) FILTER (WHERE attempts > 0 AND block_accepted = 0) AS first_interface,
        MAX(server_interface_id) FILTER (WHERE attempts > 0 AND block_accepted = 0) AS last_interface,
        SUM(attempts) FILTER (WHERE block_accepted = 0) AS attempts,
        SUM(packets) FILTER (WHERE block_accepted = 0) AS packets,
        SUM(bytes) FILTER (WHERE block_accepted = 0) AS bytes,
        COUNT(DISTINCT client_addr) FILTER (WHERE attempts > 0 AND block_accepted = 0) AS clients,
        COUNT(DISTINCT day) FILTER (WHERE attempts > 0 AND block_accepted = 0) AS days,
        MIN(client_addr) FILTER (WHERE attempts > 0 AND block_accepted = 0) AS first_client,
        COUNT(*) FILTER (WHERE nth = 1 AND block_accepted > 0) AS used_by,
        BOOL_OR(client_scope = 'internet') FILTER (WHERE attempts > 0 AND block_accepted = 0) AS is_internet,
        MIN(first_seen) FILTER (WHERE attempts > 0 AND block_accepted = 0) AS first_seen,
        MAX(last_seen) FILTER (WHERE attempts > 0 AND block_accepted = 0) AS last_seen,
        array_agg(named_struct('cidr', cidr, 'attempts', block_attempts) ORDER BY block_attempts DESC, cidr)
            FILTER (WHERE is_listed AND place <= 10) AS sources
    FROM ranked
    GROUP BY server_vpc_id, server_subnet_id, service_port, protocol, expected_by
)
SELECT
    CASE WHEN is_internet THEN 'low' ELSE 'info' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    server_vpc_id AS vpc_id,
    server_subnet_id AS subnet_id,
    CASE WHEN first_interface = last_interface THEN first_interface END AS interface_id,
    CASE WHEN clients = 1 THEN first_client END AS src_addr,
    server_subnet_id AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    attempts AS flows,
    packets,
    bytes,
    'rule ' || COALESCE(CAST(nacl_rule(server_subnet_id, 'ingress', first_client, service_port, protocol, $to) AS VARCHAR), '?')
    || ' of the network ACL of ' || server_subnet_id || ' lets ' || attempts || ' attempts on port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '') || ' in, which only security groups refused, on ' || days || ' days from '
    || CASE WHEN clients = 1 THEN first_client ELSE clients || ' addresses' END
    || CASE
        WHEN used_by = 0 THEN '; nobody was accepted on that port'
        ELSE '; ' || used_by || CASE WHEN used_by = 1 THEN ' other network uses' ELSE ' other networks use' END || ' the port'
    END AS reason,
    named_struct(
        'rule_number', nacl_rule(server_subnet_id, 'ingress', first_client, service_port, protocol, $to),
        'days', days,
        'source_addresses', clients,
        'networks_that_use_it', used_by,
        'sources', sources,
        'advice', CASE
            WHEN used_by = 0 THEN 'take the port out of the rule: nobody uses it'
            ELSE 'narrow the rule to the networks that use the port: that lasts longer than denying those that knock'
        END
    ) AS evidence,
    expected_by
FROM ports
WHERE attempts >= $min_attempts
  AND days >= $min_days
ORDER BY attempts DESC, server_subnet_id, service_port, protocol
