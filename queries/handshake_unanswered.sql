-- title: Handshakes that nobody answers
-- group: operations
-- severity: low
-- parameters:
--   min_records = 10   records with repeated SYNs of a client subnet to one server and port
--   min_syns = 3       SYNs in a record from which they are repeats: the first, and two after one and three seconds (RFC 6298)
-- fields:
--   tcp_flags = which records are SYNs and nothing else
-- finding_key: vpc_id subnet_id dst_addr dst_port
-- description: SYNs that were let out again and again and that nothing answered, not once: dropped where flow logs don't look (a route, an appliance, a peer's rules),
--   or there is no such host.
-- false_positives: A server that is down, or logs of the client's side of a connection that comes back another way.
WITH pairs AS (
    SELECT
        client_vpc_id,
        client_subnet_id,
        server_addr,
        server_subnet_id,
        service_port,
        protocol,
        expected_by(
            'handshake_unanswered', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(server_scope) AS server_scope,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        CASE WHEN MIN(client_interface_id) = MAX(client_interface_id) THEN MIN(client_interface_id) END AS interface_id,
        MIN(client_addr) AS first_client,
        COUNT(DISTINCT client_addr) AS clients,
        COUNT(*) FILTER (WHERE opened AND (tcp_flags & 23) = 2 AND packets >= $min_syns) AS repeated,
        COUNT(*) FILTER (WHERE NOT opened OR action = 'REJECT' OR (tcp_flags & 23) <> 2) AS others,
        COUNT(*) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(route_target) FILTER (WHERE opened) AS route_target,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE protocol = 6
      AND tcp_flags IS NOT NULL
      AND client_subnet_id IS NOT NULL
      AND start < $to
      AND "end" >= $from
    GROUP BY client_vpc_id, client_subnet_id, server_addr, server_subnet_id, service_port, protocol, expected_by
)
SELECT
    'low' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    client_vpc_id AS vpc_id,
    client_subnet_id AS subnet_id,
    interface_id,
    CASE WHEN clients = 1 THEN first_client END AS src_addr,
    server_addr AS dst_addr,
    server_subnet_id AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    CASE WHEN clients = 1 THEN first_client ELSE clients || ' clients' END || ' in ' || client_subnet_id || ' sent ' || packets || ' SYNs to ' || server_addr
    || COALESCE(' (' || server_scope || ')', '') || ' port ' || service_port || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ' and nothing came back'
    || CASE
        WHEN route_target = 'none' THEN ': no route leads there'
        WHEN route_target IS NOT NULL THEN '; the route in force leads to ' || route_target
        ELSE ''
    END AS reason,
    named_struct('repeated', repeated, 'clients', clients, 'route_target', route_target, 'server_scope', server_scope) AS evidence,
    expected_by
FROM pairs
WHERE repeated >= $min_records
  AND others = 0
ORDER BY first_seen, client_subnet_id, server_addr, service_port
