-- title: DNS around the resolver
-- group: egress
-- severity: medium
-- attack: T1071.004 T1572
-- parameters:
--   dns_ports = '53 853 5353'   DNS, DNS over TLS and QUIC, multicast DNS
--   doh_resolvers = '1.1.1.1 1.0.0.1 8.8.8.8 8.8.4.4 9.9.9.9 149.112.112.112 208.67.222.222 208.67.220.220 94.140.14.14 94.140.15.15 2606:4700:4700::1111 2606:4700:4700::1001 2001:4860:4860::8888 2001:4860:4860::8844 2620:fe::fe 2620:fe::9'   addresses that answer DNS over HTTPS on port 443, as their operators publish them (Cloudflare, Google, Quad9, OpenDNS, AdGuard)
--   large_bytes = 10000000      bytes sent from which a finding is high: queries are small, a tunnel is not
-- finding_key: vpc_id interface_id|src_addr dst_port protocol
-- description: Accepted connections from our side to DNS servers of the internet: port 53, 853 or 5353 of any address, or port 443 of a well-known
--   resolver. They pass by the VPC's resolver, its query log and its DNS firewall, and can carry a tunnel. One finding for each host, port and
--   protocol.
-- false_positives: A resolver of one's own that asks the roots: add it to the policy. Queries to Amazon's resolver are never logged, so no finding
--   does not mean no tunnel.
WITH found AS (
    SELECT
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        client_interface_id AS interface_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        MIN(client_class) AS client_class,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        service_port,
        protocol,
        COUNT(DISTINCT server_addr) AS remotes,
        expected_by(
            'egress_dns_bypass', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(start) FILTER (WHERE opened) AS first_seen,
        MAX("end") FILTER (WHERE opened) AS last_seen,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM connections
    WHERE action = 'ACCEPT'
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope IN ('internet', 'aws_service')
      AND (
        number_in($dns_ports, service_port)
        OR service_port = 443 AND strpos(' ' || $doh_resolvers || ' ', ' ' || server_addr || ' ') > 0
      )
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, service_port, protocol, expected_by
)
SELECT
    CASE
        WHEN reply_packets = 0 THEN 'low'
        WHEN bytes >= $large_bytes THEN 'high'
        ELSE 'medium'
    END AS severity,
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
    COALESCE(src_addr, interface_id, 'a client behind a NAT gateway')
    || COALESCE(' in a subnet of class ' || client_class, '')
    || CASE service_port WHEN 443 THEN ' used DNS over HTTPS at ' ELSE ' asked ' END
    || CASE WHEN remotes = 1 THEN dst_addr ELSE remotes || ' DNS servers of the internet' END
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || ' past the VPC''s resolver'
    || CASE WHEN bytes >= $large_bytes THEN '; ' || (bytes / 1000000) || ' MB sent are more than queries' ELSE '' END
    || CASE WHEN reply_packets = 0 THEN '; nothing came back' ELSE '; it was answered' END AS reason,
    named_struct(
        'subnet_class', client_class,
        'remotes', remotes,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
WHERE flows > 0
ORDER BY first_seen, interface_id, src_addr, service_port, protocol
