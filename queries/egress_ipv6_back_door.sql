-- title: Private in IPv4, open in IPv6
-- group: egress
-- severity: high
-- attack: T1133
-- finding_key: vpc_id interface_id|subnet_id evidence.direction
-- description: Accepted IPv6 connections between the internet and a host in a subnet that is not public in IPv4 and public in IPv6 (`::/0` leads to
--   an internet gateway). What came in is worse than what went out. One finding for each host and direction.
-- false_positives: A subnet whose IPv6 is public on purpose: add it to the policy. An egress-only internet gateway makes no subnet public. AWS's
--   own services are left out.
WITH found AS (
    SELECT
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        vpc_id,
        subnet_id,
        interface_id,
        direction,
        expected_by,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        CASE WHEN MIN(service_port) = MAX(service_port) THEN MIN(service_port) END AS service_port,
        CASE WHEN MIN(protocol) = MAX(protocol) THEN MIN(protocol) END AS protocol,
        COUNT(DISTINCT remote) AS remotes,
        COUNT(DISTINCT service_port) AS ports,
        MIN(start) FILTER (WHERE opened) AS first_seen,
        MAX("end") FILTER (WHERE opened) AS last_seen,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM (
        SELECT
            *,
            expected_by(
                'egress_ipv6_back_door', subnet_id, interface_id, vpc_id, remote, NULL, server_service, service_port, protocol, start
            ) AS expected_by
        FROM (
            SELECT
                start, "end", opened, packets, bytes, reply_packets, reply_bytes,
                client_addr, server_addr, server_service, service_port, protocol, account_id, region,
                CASE WHEN server_scope = 'internet' THEN 'outbound' ELSE 'inbound' END AS direction,
                CASE WHEN server_scope = 'internet' THEN server_addr ELSE client_addr END AS remote,
                CASE WHEN server_scope = 'internet' THEN client_vpc_id ELSE server_vpc_id END AS vpc_id,
                CASE WHEN server_scope = 'internet' THEN client_subnet_id ELSE server_subnet_id END AS subnet_id,
                CASE WHEN server_scope = 'internet' THEN client_interface_id ELSE server_interface_id END AS interface_id
            FROM connections
            WHERE action = 'ACCEPT'
              AND (client_scope = 'internet' OR server_scope = 'internet')
              AND (client_class = 'public' OR server_class = 'public')
              AND server_addr LIKE '%:%'
              AND start < $to
              AND "end" >= $from
        ) AS over_ipv6
    ) AS judged
    GROUP BY vpc_id, subnet_id, interface_id, direction, expected_by
)
SELECT
    CASE WHEN direction = 'inbound' AND reply_packets > 0 THEN 'critical' ELSE 'high' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    dst_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    CASE direction
        WHEN 'inbound' THEN remotes || CASE WHEN remotes = 1 THEN ' address' ELSE ' addresses' END || ' of the internet opened IPv6 connections to '
            || COALESCE(dst_addr, interface_id, 'a host')
        ELSE COALESCE(src_addr, interface_id, 'a host') || ' opened IPv6 connections to '
            || CASE WHEN remotes = 1 THEN dst_addr ELSE remotes || ' addresses of the internet' END
    END
    || CASE WHEN ports = 1 THEN ' port ' || service_port || '/' || protocol_name(protocol) ELSE ' on ' || ports || ' ports' END
    || '; its subnet is ' || ipv4.class || ' in IPv4 and public in IPv6; '
    || CASE WHEN reply_packets = 0 THEN 'nothing came back' ELSE 'they were answered' END AS reason,
    named_struct(
        'direction', direction,
        'subnet_class', ipv4.class,
        'subnet_class6', 'public',
        'remotes', remotes,
        'ports', ports,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
JOIN (
    SELECT subnet_id AS id, LAST_VALUE(class ORDER BY snapshot_at) AS class FROM subnets GROUP BY subnet_id
) AS ipv4 ON ipv4.id = found.subnet_id
WHERE flows > 0
  AND ipv4.class <> 'public'
ORDER BY first_seen, interface_id, direction
