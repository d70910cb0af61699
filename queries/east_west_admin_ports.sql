-- title: Remote administration between subnets
-- group: east_west
-- severity: medium
-- attack: T1021.001 T1021.002 T1021.004 T1021.006
-- parameters:
--   ports = '22 135 445 3389 5985-5986'   SSH, RPC, SMB, RDP, WinRM: what ATT&CK lists under T1021
-- finding_key: vpc_id interface_id|src_addr dst_subnet_id dst_port protocol
-- description: Accepted connections that a host opened to another subnet on a port by which machines are administered. High across VPCs and from a
--   public subnet, low where nothing answered. One finding for each host, target subnet and port. EC2 Instance Connect endpoints are left out.
-- false_positives: Bastions, configuration management, backup: add them to the policy, as interfaces.
WITH found AS (
    SELECT
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        client_interface_id AS interface_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        server_subnet_id AS dst_subnet_id,
        MIN(server_vpc_id) AS dst_vpc_id,
        MIN(client_class) AS client_class,
        MIN(server_class) AS server_class,
        service_port,
        protocol,
        COUNT(DISTINCT server_addr) AS servers,
        expected_by(
            'east_west_admin_ports', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
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
      AND client_subnet_id <> server_subnet_id
      AND number_in($ports, service_port)
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, server_subnet_id, service_port, protocol, expected_by
),
connect_endpoints AS (
    SELECT DISTINCT interface_id AS id FROM interfaces WHERE interface_type = 'ec2_instance_connect_endpoint'
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
    COALESCE(src_addr, interface_id)
    || ' in ' || subnet_id || ' (' || COALESCE(client_class, 'unknown') || ')'
    || ' opened connections to ' || CASE WHEN servers = 1 THEN dst_addr ELSE servers || ' servers' END
    || ' in ' || dst_subnet_id || ' (' || COALESCE(server_class, 'unknown') || ')'
    || CASE WHEN vpc_id <> dst_vpc_id THEN ' of ' || dst_vpc_id ELSE '' END
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || CASE WHEN reply_packets = 0 THEN '; nothing came back' ELSE '; it was answered' END AS reason,
    named_struct(
        'servers', servers,
        'subnet_class', client_class,
        'dst_subnet_class', server_class,
        'dst_vpc_id', dst_vpc_id,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
LEFT ANTI JOIN connect_endpoints ON connect_endpoints.id = found.interface_id
WHERE flows > 0
ORDER BY first_seen, interface_id, src_addr, dst_subnet_id, service_port, protocol
