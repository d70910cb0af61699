-- title: Egress on an unusual port
-- group: egress
-- severity: medium
-- attack: T1571
-- parameters:
--   allowed_ports = '80 123 443'   ports that any host may call: web and time; what allow lists of egress begin with
--   reported_ports = '23 25-26 53 135 137-139 389 445 636 853 3306 3389 5353 5432 5985-5986 6379 27017'   those that `egress_dns_bypass`, `egress_smtp` and `egress_internal_protocols` report
--   alarming_ports = '1389'        ports that are high: with 389 those by which Log4Shell fetched its code, and for which GuardDuty has NetworkPortUnusual
--   baseline_days = 14             days before the window in which the subnet may have called the port
-- finding_key: vpc_id interface_id|src_addr dst_port protocol
-- description: Accepted TCP, UDP or SCTP connections that a host opened to the internet on a port that is not allowed to all and that its subnet
--   did not call in the baseline days. One finding for each host and port, however many addresses it called.
-- false_positives: QUIC is UDP 443 and allowed; passive FTP, games, calls and VPN clients use many ports: add them to the policy. Who began is
--   known by flags or ports; a server that few visitors call, from low ports, may look like a client.
WITH own_services AS (
    -- Where no flag says who began, a port below the ephemeral ones is taken for the server's. Of a visitor with a low port that is wrong where
    -- our service has an ephemeral one, such as WireGuard's: others tell, by whom that port of ours is called.
    SELECT server_addr, service_port, protocol
    FROM connections
    WHERE action = 'ACCEPT'
      AND opened
      AND client_scope = 'internet'
      AND server_scope = 'vpc'
      AND service_port >= 32768
      AND start < $to
      AND "end" >= $from
    GROUP BY server_addr, service_port, protocol
    HAVING COUNT(DISTINCT client_addr) > 1
),
calls AS (
    SELECT connections.*
    FROM connections
    LEFT ANTI JOIN own_services
        ON own_services.server_addr = connections.client_addr
        AND own_services.service_port = connections.client_port
        AND own_services.protocol = connections.protocol
        AND connections.service_port < 32768
    WHERE action = 'ACCEPT'
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope = 'internet'
      AND NOT number_in($allowed_ports, connections.service_port)
      AND NOT number_in($reported_ports, connections.service_port)
      AND start < $to
      AND "end" >= $from
),
found AS (
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
            'egress_unusual_port', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(start) FILTER (WHERE opened) AS first_seen,
        MAX("end") FILTER (WHERE opened) AS last_seen,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM calls
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, service_port, protocol, expected_by
),
called_before AS (
    SELECT DISTINCT
        COALESCE(client_subnet_id, client_interface_id, client_addr, '') AS caller,
        service_port,
        protocol
    FROM connections
    WHERE action = 'ACCEPT'
      AND opened
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope = 'internet'
      AND NOT number_in($allowed_ports, service_port)
      AND "end" < $from
      AND "end" >= $baseline_from
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
    CASE
        WHEN number_in($alarming_ports, service_port) THEN 'high'
        WHEN client_class = 'public' OR reply_packets = 0 OR NOT has_baseline THEN 'low'
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
    || ' opened connections to ' || CASE WHEN remotes = 1 THEN dst_addr ELSE remotes || ' addresses of the internet' END
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || CASE
        WHEN has_baseline THEN ', which its subnet had not called since ' || CAST(CAST(logged_from AS DATE) AS VARCHAR)
        ELSE '; the logs hold nothing from before the window, so it may always have'
    END
    || CASE WHEN reply_packets = 0 THEN '; nothing came back' ELSE '; it was answered' END AS reason,
    named_struct(
        'subnet_class', client_class,
        'remotes', remotes,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'has_baseline', has_baseline
    ) AS evidence,
    expected_by
FROM found
LEFT ANTI JOIN called_before
    ON called_before.caller = COALESCE(found.subnet_id, found.interface_id, found.src_addr, '')
    AND called_before.service_port = found.service_port
    AND called_before.protocol = found.protocol
CROSS JOIN history
WHERE flows > 0
ORDER BY first_seen, interface_id, src_addr, service_port, protocol
