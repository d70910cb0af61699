-- title: Ports of Tor
-- group: exfiltration
-- severity: low
-- attack: T1090.003
-- parameters:
--   ports = '9001 9030 9050 9150'   ports of relays, directories and clients of Tor, as its manual has them
--   relays = 3                      addresses from which a finding is medium: a client keeps a few relays
-- finding_key: vpc_id interface_id|src_addr dst_port
-- description: Accepted TCP connections from our side to the internet on ports that Tor's relays and directories use. A port alone is weak
--   evidence: one address is low. Relays on port 443 look like the web and are not seen; a list of relays is not built in.
-- false_positives: Anything else on these ports, such as ETL tools and monitoring on 9001: add it to the policy.
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
        COUNT(DISTINCT server_addr) FILTER (WHERE NOT opened) AS answering,
        expected_by(
            'c2_tor', client_subnet_id, client_interface_id, client_vpc_id,
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
      AND number_in($ports, service_port)
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, service_port, protocol, expected_by
)
SELECT
    CASE WHEN answering >= $relays THEN 'medium' ELSE 'low' END AS severity,
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
    || ' port ' || service_port || ', which Tor uses; '
    || CASE WHEN answering = 0 THEN 'nobody answered' ELSE answering || ' answered' END AS reason,
    named_struct(
        'remotes', remotes,
        'answering', answering,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
WHERE flows > 0
ORDER BY first_seen, interface_id, src_addr, service_port
