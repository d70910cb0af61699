-- title: Administration or data port open to the internet
-- group: reconnaissance
-- severity: high
-- attack: T1133 T1190
-- parameters:
--   admin_ports = '22 23 135 445 2375 3389 5900 5985 5986 6443 10250'   ports from which a host is administered: GuardDuty's brute-force and probe findings, Panther's block list
--   data_ports = '1433 1521 3306 5432 5439 6379 9042 9200 9300 11211 27017'   ports of databases and search engines: GuardDuty's PortProbeUnprotectedPort, Tailpipe's database list
-- finding_key: vpc_id interface_id|dst_addr dst_port protocol
-- description: Connections from the internet that were accepted on a port of administration or of a database. Answered, the service is open to everybody; unanswered, only the
--   rules are, and the next process on that port will be.
-- false_positives: Networks of an office or a VPN that reach such ports on purpose, also through a load balancer that keeps the client's address: add them to the policy as `remote`.
WITH accepted AS (
    SELECT
        server_vpc_id,
        server_subnet_id,
        server_interface_id,
        server_addr,
        service_port,
        protocol,
        client_addr,
        expected_by(
            'inbound_admin_port', server_subnet_id, server_interface_id, server_vpc_id, client_addr, NULL, NULL, service_port, protocol, start
        ) AS expected_by,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        -- A reset says that nobody listens.
        BOOL_OR(NOT opened AND COALESCE(tcp_flags, 0) <> 4) AS is_answered,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE action = 'ACCEPT'
      AND client_scope = 'internet'
      -- What a NAT gateway merely absorbs reaches nobody.
      AND leg <> 'nat_outside'
      AND server_scope <> 'internet'
      AND number_in($admin_ports || ' ' || $data_ports, service_port)
      AND start < $to
      AND "end" >= $from
    GROUP BY server_vpc_id, server_subnet_id, server_interface_id, server_addr, service_port, protocol, client_addr, expected_by
),
services AS (
    SELECT
        server_vpc_id,
        server_subnet_id,
        server_interface_id,
        server_addr,
        service_port,
        protocol,
        expected_by,
        number_in($data_ports, service_port) AS is_data,
        COUNT(*) FILTER (WHERE flows > 0) AS clients,
        FIRST_VALUE(client_addr ORDER BY reply_bytes DESC, bytes DESC, client_addr) AS top_client,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        BOOL_OR(is_answered) AS is_answered,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM accepted
    GROUP BY server_vpc_id, server_subnet_id, server_interface_id, server_addr, service_port, protocol, expected_by
)
SELECT
    CASE
        WHEN is_answered AND is_data THEN 'critical'
        WHEN is_answered THEN 'high'
        ELSE 'medium'
    END AS severity,
    first_seen,
    last_seen,
    server_vpc_id AS vpc_id,
    server_subnet_id AS subnet_id,
    server_interface_id AS interface_id,
    CASE WHEN clients = 1 THEN top_client END AS src_addr,
    server_addr AS dst_addr,
    server_subnet_id AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    server_addr || COALESCE(' in ' || server_subnet_id, '') || ' is open to the internet on port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '') || ': let in were '
    || CASE WHEN clients = 1 THEN top_client ELSE clients || ' addresses, most of it ' || top_client END
    || CASE WHEN is_answered THEN ', answered with ' || reply_bytes || ' bytes' ELSE '; nobody answered' END AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'answered', is_answered,
        'kind', CASE WHEN is_data THEN 'data' ELSE 'administration' END,
        'clients', clients,
        'top_client', top_client
    ) AS evidence,
    expected_by
FROM services
WHERE flows > 0
ORDER BY first_seen, server_addr, service_port, protocol
