-- title: Clear-text protocols
-- group: operations
-- severity: low
-- attack: T1040
-- parameters:
--   login_ports = '21 23 110 143 389 5900 5901 5902 5903 5904'   protocols that send passwords as they are; this list and the next are Sigma's rule for clear-text ports
--   data_ports = '1433 1521 3306 11211 15672 27017 50000'        databases and brokers, which may or may not encrypt
--   web_ports = '80 8080'                                        HTTP
-- finding_key: vpc_id subnet_id dst_subnet_id evidence.server_scope dst_port protocol
-- description: Answered connections between subnets, or with other networks, on ports whose protocols don't encrypt: what passes can be read on the way.
-- false_positives: A port is no protocol: databases often speak TLS on the same one. Package mirrors over HTTP sign what they send.
WITH pairs AS (
    SELECT
        client_vpc_id,
        client_subnet_id,
        server_vpc_id,
        server_subnet_id,
        -- Of an address in a peer's VPC the one side says `peer` and the other `vpc`.
        CASE WHEN client_subnet_id IS NULL THEN client_scope ELSE 'vpc' END AS client_scope,
        CASE WHEN server_subnet_id IS NULL THEN server_scope ELSE 'vpc' END AS server_scope,
        service_port,
        protocol,
        expected_by(
            'clear_text_protocols', COALESCE(client_subnet_id, server_subnet_id), COALESCE(client_interface_id, server_interface_id),
            COALESCE(client_vpc_id, server_vpc_id), CASE WHEN client_subnet_id IS NULL THEN client_addr ELSE server_addr END,
            CASE WHEN client_subnet_id IS NULL THEN NULL ELSE server_subnet_id END,
            CASE WHEN client_subnet_id IS NULL THEN NULL ELSE server_service END, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_interface_id) AS first_interface,
        MAX(client_interface_id) AS last_interface,
        MIN(client_addr) AS first_client,
        MAX(client_addr) AS last_client,
        MIN(server_addr) AS first_server,
        MAX(server_addr) AS last_server,
        COUNT(DISTINCT client_addr) AS clients,
        COUNT(DISTINCT server_addr) AS servers,
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
      AND protocol = 6
      AND leg <> 'nat_outside'
      AND number_in($login_ports || ' ' || $data_ports || ' ' || $web_ports, service_port)
      AND (client_subnet_id IS DISTINCT FROM server_subnet_id)
      AND start < $to
      AND "end" >= $from
    GROUP BY
        client_vpc_id, client_subnet_id, server_vpc_id, server_subnet_id,
        CASE WHEN client_subnet_id IS NULL THEN client_scope ELSE 'vpc' END, CASE WHEN server_subnet_id IS NULL THEN server_scope ELSE 'vpc' END,
        service_port, protocol, expected_by
),
rated AS (
    SELECT
        *,
        client_scope = 'internet' OR server_scope = 'internet' AS is_internet,
        CASE
            WHEN number_in($login_ports, service_port) THEN 'login'
            WHEN number_in($data_ports, service_port) THEN 'data'
            ELSE 'web'
        END AS kind
    FROM pairs
    WHERE is_answered
)
SELECT
    CASE
        WHEN kind = 'login' AND is_internet THEN 'high'
        WHEN kind = 'login' OR (kind = 'data' AND is_internet) THEN 'medium'
        WHEN kind = 'data' THEN 'low'
        ELSE 'info'
    END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    COALESCE(client_vpc_id, server_vpc_id) AS vpc_id,
    client_subnet_id AS subnet_id,
    CASE WHEN first_interface = last_interface THEN first_interface END AS interface_id,
    CASE WHEN first_client = last_client THEN first_client END AS src_addr,
    CASE WHEN first_server = last_server THEN first_server END AS dst_addr,
    server_subnet_id AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    CASE WHEN clients = 1 THEN first_client ELSE clients || ' clients' END || ' in ' || COALESCE(client_subnet_id, client_scope, 'an unknown subnet')
    || ' and ' || CASE WHEN servers = 1 THEN first_server ELSE servers || ' servers' END
    || ' in ' || COALESCE(server_subnet_id, server_scope, 'an unknown subnet') || ' exchanged ' || (bytes + reply_bytes) || ' bytes on port '
    || service_port || COALESCE(' (' || port_name(service_port, protocol) || ')', '') || ', '
    || CASE kind
        WHEN 'login' THEN 'which sends passwords in clear text'
        WHEN 'data' THEN 'which is clear text unless it is configured otherwise'
        ELSE 'which is clear text'
    END AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'kind', kind,
        'client_scope', client_scope,
        'server_scope', server_scope,
        'clients', clients,
        'servers', servers
    ) AS evidence,
    expected_by
FROM rated
ORDER BY first_seen, client_subnet_id, server_subnet_id, server_scope, service_port
