-- title: Internal protocol to the internet
-- group: egress
-- severity: medium
-- attack: T1048 T1021
-- parameters:
--   ports = '23 135 137-139 389 445 636 3306 3389 5432 5985-5986 6379 27017'   telnet, RPC, NetBIOS, LDAP, SMB, MySQL, RDP, PostgreSQL, WinRM, Redis, MongoDB: protocols of inside a network
-- finding_key: vpc_id interface_id|src_addr dst_port protocol
-- description: Accepted connections from our side to the internet on a port of a protocol that belongs inside a network: file shares, directories,
--   remote desktops, databases. Answered, it is high: credentials or data left. One finding for each host, port and protocol. What was rejected is
--   contained and left out.
-- false_positives: A managed database in another cloud, a partner's directory: add it to the policy, with its addresses.
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
            'egress_internal_protocols', client_subnet_id, client_interface_id, client_vpc_id,
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
      AND server_scope = 'internet'
      AND number_in($ports, service_port)
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, service_port, protocol, expected_by
)
SELECT
    CASE WHEN reply_packets > 0 THEN 'high' ELSE 'medium' END AS severity,
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
    || ' opened connections to ' || CASE WHEN remotes = 1 THEN dst_addr ELSE remotes || ' addresses of the internet' END
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ', a protocol of inside a network'
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
