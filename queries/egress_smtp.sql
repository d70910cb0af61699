-- title: Mail sent directly
-- group: egress
-- severity: medium
-- attack: T1071.003
-- parameters:
--   smtp_ports = '25 26'   ports of mail servers that take mail without a login; 26 is used in place of 25 where that is blocked
--   many_servers = 10      mail servers from which a finding is high: a relay has a few, a spam bot as many as it has victims
-- finding_key: vpc_id interface_id|src_addr dst_port
-- description: Accepted connections from our side to port 25 or 26 of the internet: mail that no relay of ours has seen. One finding for each host
--   and port. Amazon SES's addresses are AWS's and are left out.
-- false_positives: Mail servers of one's own: add them to the policy. AWS limits port 25 by default, so that an ACCEPT without an answer was
--   dropped.
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
            'egress_smtp', client_subnet_id, client_interface_id, client_vpc_id,
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
      AND protocol = 6
      AND number_in($smtp_ports, service_port)
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, service_port, protocol, expected_by
)
SELECT
    CASE
        WHEN remotes >= $many_servers THEN 'high'
        WHEN reply_packets = 0 THEN 'low'
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
    || ' sent mail directly to ' || CASE WHEN remotes = 1 THEN dst_addr ELSE remotes || ' servers of the internet' END
    || ' (port ' || service_port || ')'
    || CASE WHEN remotes >= $many_servers THEN ', as many as a spam bot does' ELSE '' END
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
ORDER BY first_seen, interface_id, src_addr, service_port
