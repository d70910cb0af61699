-- title: Egress by another way than the routes say
-- group: egress
-- severity: high
-- attack: T1562.007 T1599
-- fields:
--   traffic_path = by which way the packets left: next_hop_interface_type of version 11 tells it only for NAT and transit gateways
-- finding_key: vpc_id subnet_id|src_addr evidence.route_target
-- description: Records of a subnet that is not public which show another way out (`traffic-path`, or the kind of the next hop) than the route in
--   force: a default route that was changed and changed back, or a topology that is out of date. Only packets that leave the interface, towards the
--   internet or AWS's public addresses.
-- false_positives: A route that changed within the window, or after the last snapshot. Path 2 is a gateway endpoint on some instance types, and is
--   not counted against one.
WITH found AS (
    SELECT
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        client_subnet_id AS subnet_id,
        CASE WHEN MIN(client_interface_id) = MAX(client_interface_id) THEN MIN(client_interface_id) END AS interface_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        MIN(client_class) AS client_class,
        route_target,
        COUNT(DISTINCT client_addr) AS clients,
        COUNT(DISTINCT server_addr) AS remotes,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        expected_by(
            'egress_path_contradicts', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen,
        COUNT(*) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes
    FROM connections
    WHERE action = 'ACCEPT'
      AND opened
      AND path = 'contradicts'
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope IN ('internet', 'aws_service')
      AND client_class <> 'public'
      AND start < $to
      AND "end" >= $from
    GROUP BY client_subnet_id, route_target, expected_by
)
SELECT
    'high' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    dst_addr,
    flows,
    packets,
    bytes,
    CASE WHEN clients = 1 THEN src_addr ELSE clients || ' clients' END
    || ' in ' || subnet_id || ' (' || client_class || ') sent packets to '
    || CASE WHEN remotes = 1 THEN dst_addr ELSE remotes || ' public addresses' END
    || ' by another way than the route in force, which leads to '
    || CASE route_target WHEN 'none' THEN 'nothing' ELSE 'a target of kind ' || route_target END AS reason,
    named_struct(
        'subnet_class', client_class,
        'route_target', route_target,
        'clients', clients,
        'remotes', remotes
    ) AS evidence,
    expected_by
FROM found
ORDER BY first_seen, subnet_id, route_target
