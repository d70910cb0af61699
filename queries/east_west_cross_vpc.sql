-- title: Two networks that never talked before
-- group: east_west
-- severity: medium
-- attack: T1199
-- parameters:
--   baseline_days = 14   days before the window in which the two may have talked
--   prefix_bits = 16     a network behind a transit gateway that the topology does not know counts as the IPv4 block of this length
--   prefix_bits6 = 48    the same in IPv6
-- finding_key: evidence.network evidence.dst_network dst_port protocol
-- description: Accepted connections across a peering or a transit gateway between two VPCs that did not talk on that port in the baseline days and
--   that the policy does not expect. A VPC that the topology does not know is told by its block. One finding for each pair and port.
-- false_positives: A service that was shared on purpose. Logs of transit gateways say nothing of accepted or rejected and are not asked.
WITH pairs AS (
    SELECT
        COALESCE(client_vpc_id, ip_prefix(client_addr, $prefix_bits, $prefix_bits6)) AS network,
        COALESCE(server_vpc_id, ip_prefix(server_addr, $prefix_bits, $prefix_bits6)) AS dst_network,
        service_port,
        protocol,
        expected_by(
            'east_west_cross_vpc', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) FILTER (WHERE "end" >= $from) AS first_subnet,
        MAX(client_subnet_id) FILTER (WHERE "end" >= $from) AS last_subnet,
        MIN(client_interface_id) FILTER (WHERE "end" >= $from) AS first_interface,
        MAX(client_interface_id) FILTER (WHERE "end" >= $from) AS last_interface,
        MIN(client_addr) FILTER (WHERE "end" >= $from) AS first_client,
        MAX(client_addr) FILTER (WHERE "end" >= $from) AS last_client,
        MIN(server_addr) FILTER (WHERE "end" >= $from) AS first_server,
        MAX(server_addr) FILTER (WHERE "end" >= $from) AS last_server,
        MIN(server_subnet_id) FILTER (WHERE "end" >= $from) AS first_server_subnet,
        MAX(server_subnet_id) FILTER (WHERE "end" >= $from) AS last_server_subnet,
        COUNT(DISTINCT client_addr) FILTER (WHERE "end" >= $from) AS clients,
        COUNT(DISTINCT server_addr) FILTER (WHERE "end" >= $from) AS servers,
        COUNT(*) FILTER (WHERE "end" < $from) AS opened_before,
        COUNT(*) FILTER (WHERE "end" >= $from) AS flows,
        MIN(start) FILTER (WHERE "end" >= $from) AS first_seen,
        MAX("end") FILTER (WHERE "end" >= $from) AS last_seen,
        SUM(packets) FILTER (WHERE "end" >= $from) AS packets,
        SUM(bytes) FILTER (WHERE "end" >= $from) AS bytes
    FROM connections
    WHERE action = 'ACCEPT'
      AND opened
      AND (client_scope IN ('peer', 'transit') OR server_scope IN ('peer', 'transit'))
      AND start < $to
      AND "end" >= $baseline_from
    GROUP BY
        COALESCE(client_vpc_id, ip_prefix(client_addr, $prefix_bits, $prefix_bits6)),
        COALESCE(server_vpc_id, ip_prefix(server_addr, $prefix_bits, $prefix_bits6)),
        service_port, protocol, expected_by
),
-- What the policy expects was opened before all the same.
known AS (
    SELECT *, SUM(opened_before) OVER (PARTITION BY network, dst_network, service_port, protocol) AS opened_in_baseline
    FROM pairs
),
history AS (
    SELECT
        COALESCE(MIN(start) < $from, FALSE) AS has_baseline,
        GREATEST(MIN(start), $baseline_from) AS logged_from
    FROM flows
    WHERE start < $to
      AND "end" >= $baseline_from
)
SELECT
    CASE WHEN has_baseline THEN 'medium' ELSE 'low' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    CASE WHEN first_subnet = last_subnet THEN first_subnet END AS subnet_id,
    CASE WHEN first_interface = last_interface THEN first_interface END AS interface_id,
    CASE WHEN first_client = last_client THEN first_client END AS src_addr,
    CASE WHEN first_server = last_server THEN first_server END AS dst_addr,
    CASE WHEN first_server_subnet = last_server_subnet THEN first_server_subnet END AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    CASE WHEN clients = 1 THEN first_client ELSE clients || ' clients' END || ' in ' || network
    || ' opened connections to ' || CASE WHEN servers = 1 THEN first_server ELSE servers || ' servers' END || ' in ' || dst_network
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || CASE
        WHEN has_baseline THEN '; the two networks had not talked there since ' || CAST(CAST(logged_from AS DATE) AS VARCHAR)
        ELSE '; the logs hold nothing from before the window, so this may be nothing new'
    END AS reason,
    named_struct(
        'network', network,
        'dst_network', dst_network,
        'clients', clients,
        'servers', servers,
        'has_baseline', has_baseline
    ) AS evidence,
    expected_by
FROM known
CROSS JOIN history
WHERE flows > 0
  AND opened_in_baseline = 0
ORDER BY first_seen, network, dst_network, service_port, protocol
