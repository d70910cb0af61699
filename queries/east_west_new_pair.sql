-- title: Two subnets that never talked before
-- group: east_west
-- severity: medium
-- attack: T1021
-- parameters:
--   baseline_days = 14    days before the window in which the same pair may have talked
--   min_connections = 5   connections from which a pair is one: below it is somebody trying
-- finding_key: vpc_id subnet_id dst_subnet_id dst_port protocol
-- description: Accepted connections from one subnet to another, of any class and also across VPCs, on a port on which the two did not talk in the
--   baseline days. `east_west_private` tells every pair of private subnets that the policy does not expect; this one what is new.
-- false_positives: A service that was deployed; a health check of a new load balancer. Auto scaling moves addresses, not subnets.
WITH pairs AS (
    SELECT
        client_subnet_id AS subnet_id,
        server_subnet_id AS dst_subnet_id,
        service_port,
        protocol,
        expected_by(
            'east_west_new_pair', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(server_vpc_id) AS dst_vpc_id,
        MIN(client_class) AS client_class,
        MIN(server_class) AS server_class,
        MIN(client_interface_id) FILTER (WHERE "end" >= $from) AS first_interface,
        MAX(client_interface_id) FILTER (WHERE "end" >= $from) AS last_interface,
        MIN(client_addr) FILTER (WHERE "end" >= $from) AS first_client,
        MAX(client_addr) FILTER (WHERE "end" >= $from) AS last_client,
        MIN(server_addr) FILTER (WHERE "end" >= $from) AS first_server,
        MAX(server_addr) FILTER (WHERE "end" >= $from) AS last_server,
        COUNT(DISTINCT client_addr) FILTER (WHERE "end" >= $from) AS clients,
        COUNT(DISTINCT server_addr) FILTER (WHERE "end" >= $from) AS servers,
        COUNT(DISTINCT client_port) FILTER (WHERE "end" >= $from) AS connections,
        COUNT(*) FILTER (WHERE "end" < $from) AS opened_before,
        COUNT(*) FILTER (WHERE "end" >= $from) AS flows,
        MIN(start) FILTER (WHERE "end" >= $from) AS first_seen,
        MAX("end") FILTER (WHERE "end" >= $from) AS last_seen,
        SUM(packets) FILTER (WHERE "end" >= $from) AS packets,
        SUM(bytes) FILTER (WHERE "end" >= $from) AS bytes
    FROM connections
    WHERE action = 'ACCEPT'
      AND opened
      AND client_subnet_id <> server_subnet_id
      AND start < $to
      AND "end" >= $baseline_from
    GROUP BY client_subnet_id, server_subnet_id, service_port, protocol, expected_by
),
-- What the policy expects was opened before all the same.
known AS (
    SELECT *, SUM(opened_before) OVER (PARTITION BY subnet_id, dst_subnet_id, service_port, protocol) AS opened_in_baseline
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
    CASE WHEN has_baseline THEN 'medium' ELSE 'info' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    CASE WHEN first_interface = last_interface THEN first_interface END AS interface_id,
    CASE WHEN first_client = last_client THEN first_client END AS src_addr,
    CASE WHEN first_server = last_server THEN first_server END AS dst_addr,
    dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    CASE WHEN clients = 1 THEN first_client ELSE clients || ' clients' END
    || ' in ' || subnet_id || ' (' || COALESCE(client_class, 'unknown') || ')'
    || ' opened ' || connections || ' connections to ' || CASE WHEN servers = 1 THEN first_server ELSE servers || ' servers' END
    || ' in ' || dst_subnet_id || ' (' || COALESCE(server_class, 'unknown') || ')'
    || CASE WHEN vpc_id <> dst_vpc_id THEN ' of ' || dst_vpc_id ELSE '' END
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || CASE
        WHEN has_baseline THEN '; the two subnets had not talked there since ' || CAST(CAST(logged_from AS DATE) AS VARCHAR)
        ELSE '; the logs hold nothing from before the window, so this may be nothing new'
    END AS reason,
    named_struct(
        'connections', connections,
        'clients', clients,
        'servers', servers,
        'subnet_class', client_class,
        'dst_subnet_class', server_class,
        'dst_vpc_id', dst_vpc_id,
        'has_baseline', has_baseline
    ) AS evidence,
    expected_by
FROM known
CROSS JOIN history
WHERE opened_in_baseline = 0
  AND connections >= $min_connections
ORDER BY first_seen, subnet_id, dst_subnet_id, service_port, protocol
