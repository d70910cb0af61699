-- title: Database reached from a subnet that is not declared
-- group: east_west
-- severity: medium
-- attack: T1210 T1213
-- parameters:
--   ports = '1433 1521 3306 5432 5439 6379 9042 9200 27017'   SQL Server, Oracle, MySQL, PostgreSQL, Redshift, Redis, Cassandra, Elasticsearch, MongoDB, as IANA or their makers assign
-- finding_key: vpc_id subnet_id dst_subnet_id dst_port protocol
-- description: Accepted connections from another subnet to a database's port which the policy does not declare: one entry for each application says
--   which subnets may. High from a public subnet and across VPCs, low where nothing answered. One finding for each pair of subnets and port.
-- false_positives: Monitoring, replication, backup, functions in subnets of their own: declare them too.
WITH found AS (
    SELECT
        client_subnet_id AS subnet_id,
        server_subnet_id AS dst_subnet_id,
        service_port,
        protocol,
        expected_by(
            'east_west_database', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(server_vpc_id) AS dst_vpc_id,
        MIN(client_class) AS client_class,
        MIN(server_class) AS server_class,
        CASE WHEN MIN(client_interface_id) = MAX(client_interface_id) THEN MIN(client_interface_id) END AS interface_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        COUNT(DISTINCT client_addr) AS clients,
        COUNT(DISTINCT server_addr) AS servers,
        MIN(start) FILTER (WHERE opened) AS first_seen,
        MAX("end") FILTER (WHERE opened) AS last_seen,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM connections
    WHERE action = 'ACCEPT'
      AND client_subnet_id <> server_subnet_id
      AND number_in($ports, service_port)
      AND start < $to
      AND "end" >= $from
    GROUP BY client_subnet_id, server_subnet_id, service_port, protocol, expected_by
)
SELECT
    CASE
        WHEN reply_packets = 0 THEN 'low'
        WHEN vpc_id <> dst_vpc_id OR client_class = 'public' THEN 'high'
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
    dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    CASE WHEN clients = 1 THEN src_addr ELSE clients || ' clients' END
    || ' in ' || subnet_id || ' (' || COALESCE(client_class, 'unknown') || ')'
    || ' opened connections to the database '
    || CASE WHEN servers = 1 THEN dst_addr ELSE servers || ' servers' END
    || ' in ' || dst_subnet_id || ' (' || COALESCE(server_class, 'unknown') || ')'
    || CASE WHEN vpc_id <> dst_vpc_id THEN ' of ' || dst_vpc_id ELSE '' END
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ', which the policy does not declare'
    || CASE WHEN reply_packets = 0 THEN '; nothing came back' ELSE '; it was answered' END AS reason,
    named_struct(
        'clients', clients,
        'servers', servers,
        'subnet_class', client_class,
        'dst_subnet_class', server_class,
        'dst_vpc_id', dst_vpc_id,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
WHERE flows > 0
ORDER BY first_seen, subnet_id, dst_subnet_id, service_port, protocol
