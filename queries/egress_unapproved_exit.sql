-- title: Egress by an exit that is not approved
-- group: egress
-- severity: medium
-- attack: T1090
-- parameters:
--   approved = ''   ids of the gateways and interfaces by which traffic may leave, separated by spaces; empty: any gateway, no instance
-- finding_key: vpc_id subnet_id evidence.exit evidence.family
-- description: Accepted connections to the internet from a subnet whose default route leads to an instance (a NAT instance or an appliance of one's
--   own) or, where `approved` lists the exits, to a gateway that is not one of them. One finding for each subnet and exit, by the last snapshot.
-- false_positives: A firewall appliance that is there on purpose: name its interface in `approved`. Where a more specific route is in force the
--   exit may be another.
WITH flows_out AS (
    SELECT
        client_subnet_id AS subnet_id,
        server_addr LIKE '%:%' AS is_ipv6,
        route_target,
        expected_by(
            'egress_unapproved_exit', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        CASE WHEN MIN(client_interface_id) = MAX(client_interface_id) THEN MIN(client_interface_id) END AS interface_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        COUNT(DISTINCT client_addr) AS clients,
        COUNT(DISTINCT server_addr) AS remotes,
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
      AND client_subnet_id IS NOT NULL
      AND start < $to
      AND "end" >= $from
    GROUP BY client_subnet_id, server_addr LIKE '%:%', route_target, expected_by
),
exits AS (
    SELECT
        subnets.subnet_id AS of_subnet,
        routes.destination_ipv6_cidr_block IS NOT NULL AS of_ipv6,
        routes.target AS of_target,
        routes.target_id AS exit
    FROM subnets
    JOIN routes
        ON routes.snapshot_at = subnets.snapshot_at
        AND routes.route_table_id = subnets.route_table_id
    WHERE (routes.destination_cidr_block = '0.0.0.0/0' OR routes.destination_ipv6_cidr_block = '::/0')
      AND subnets.snapshot_at = (SELECT MAX(snapshot_at) FROM subnets)
)
SELECT
    CASE WHEN exit LIKE 'eni-%' THEN 'medium' ELSE 'low' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    flows,
    packets,
    bytes,
    CASE WHEN clients = 1 THEN src_addr ELSE clients || ' clients' END || ' in ' || subnet_id
    || ' opened connections to ' || remotes || CASE WHEN remotes = 1 THEN ' address' ELSE ' addresses' END
    || ' of the internet by way of ' || exit
    || CASE
        WHEN exit LIKE 'eni-%' THEN ', an interface and no gateway of AWS'
        ELSE ', which is not one of the approved exits'
    END
    || CASE WHEN reply_packets = 0 THEN '; nothing came back' ELSE '; it was answered' END AS reason,
    named_struct(
        'exit', exit,
        'family', CASE WHEN is_ipv6 THEN 'IPv6' ELSE 'IPv4' END,
        'clients', clients,
        'remotes', remotes,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM flows_out
JOIN exits
    ON of_subnet = subnet_id
    AND of_ipv6 = is_ipv6
    AND of_target = route_target
WHERE flows > 0
  AND (exit LIKE 'eni-%' OR $approved <> '')
  AND strpos(' ' || $approved || ' ', ' ' || exit || ' ') = 0
ORDER BY first_seen, subnet_id, exit
