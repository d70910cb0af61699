-- title: Unexpected internet egress
-- group: core
-- severity: medium
-- attack: T1041 T1048
-- parameters:
--   baseline_days = 14   days before the window in which the same subnet may have opened the same connection; the shorter of the usual 14 to 30
--   large_bytes = 500000000   bytes sent from which a finding from a private subnet is high
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_port protocol
-- description: An accepted connection that our side opened to the internet, answered or not, which the policy does not expect, which goes to
--   no known AWS service (EC2's ranges are other customers' machines and count as internet), and which the same subnet did not open
--   in the baseline days. It is attributed to the interface that opened it: behind a NAT gateway that is the instance, never the NAT.
-- false_positives: Package mirrors, SaaS APIs and CDNs that move between addresses: add them to the policy. An ACCEPT is not delivery: where no
--   route leads to the internet the packets were dropped after they were logged, and the reason says so.
WITH connections AS (
    SELECT
        start,
        "end",
        packets,
        bytes,
        initiator,
        -- A NAT gateway opens nothing by itself: where its own leg is all there is, the originator is not known.
        CASE WHEN leg = 'nat_outside' THEN NULL ELSE client_interface_id END AS interface_id,
        CASE WHEN leg = 'nat_outside' THEN NULL ELSE client_subnet_id END AS subnet_id,
        CASE WHEN leg = 'nat_outside' THEN NULL ELSE client_addr END AS client_addr,
        CASE WHEN leg = 'nat_outside' THEN NULL ELSE client_class END AS client_class,
        leg,
        client_vpc_id,
        client_account_id,
        client_region,
        server_addr,
        server_service,
        service_port,
        CASE initiator WHEN 'src' THEN src_port ELSE dst_port END AS client_port,
        protocol,
        route_target,
        path,
        expected_by(
            'egress_unexpected', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by
    FROM traffic
    WHERE counted
      AND action = 'ACCEPT'
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope = 'internet'
      AND start < $to
      AND "end" >= $from
),
-- Where no flag says who began, a port below the ephemeral ones is taken for the server's. Of a visitor behind a gateway that is wrong
-- where our service has an ephemeral one: others tell, by whom that port of ours is called.
own_services AS (
    SELECT server_addr, service_port, protocol
    FROM traffic
    WHERE counted
      AND action = 'ACCEPT'
      AND initiator = 'src'
      AND client_scope = 'internet'
      AND server_scope = 'vpc'
      AND service_port >= 32768
      AND start < $to
      AND "end" >= $from
    GROUP BY server_addr, service_port, protocol
    HAVING COUNT(DISTINCT client_addr) > 1
),
pairs AS (
    SELECT
        interface_id,
        subnet_id,
        client_addr,
        server_addr,
        service_port,
        protocol,
        expected_by,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_class) AS client_class,
        MIN(server_service) AS server_service,
        MIN(route_target) FILTER (WHERE initiator = 'src') AS route_target,
        MIN(path) FILTER (WHERE initiator = 'src') AS path,
        BOOL_AND(leg = 'nat_outside') AS behind_nat_unknown,
        COUNT(*) FILTER (WHERE initiator = 'src') AS flows,
        MIN(start) FILTER (WHERE initiator = 'src') AS first_seen,
        MAX("end") FILTER (WHERE initiator = 'src') AS last_seen,
        SUM(packets) FILTER (WHERE initiator = 'src') AS packets,
        SUM(bytes) FILTER (WHERE initiator = 'src') AS bytes,
        SUM(packets) FILTER (WHERE initiator = 'dst') AS reply_packets,
        SUM(bytes) FILTER (WHERE initiator = 'dst') AS reply_bytes
    FROM connections
    LEFT ANTI JOIN own_services
        ON own_services.server_addr = connections.client_addr
        AND own_services.service_port = connections.client_port
        AND own_services.protocol = connections.protocol
        AND connections.service_port < 32768
    GROUP BY interface_id, subnet_id, client_addr, server_addr, service_port, protocol, expected_by
),
-- Of the baseline days only who opened what is of interest, and no time, no bytes.
opened AS (
    SELECT DISTINCT
        CASE WHEN leg = 'nat_outside' THEN '' ELSE COALESCE(client_subnet_id, client_interface_id, client_addr, '') END AS opener,
        client_account_id,
        server_addr,
        service_port,
        protocol
    FROM traffic
    WHERE counted
      AND action = 'ACCEPT'
      AND initiator = 'src'
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope = 'internet'
      AND "end" < $from
      AND "end" >= $baseline_from
),
-- An interface that came after the topology was asked for has no subnet where the logs do not tell it: what others of its account opened
-- is as good as known.
opened_before AS (
    SELECT UNNEST(make_array(opener, 'account ' || client_account_id)) AS opener, server_addr, service_port, protocol
    FROM opened
),
news AS (
    SELECT pairs.*
    FROM pairs
    LEFT ANTI JOIN opened_before
        ON opened_before.opener = CASE
            WHEN pairs.behind_nat_unknown THEN ''
            ELSE COALESCE(pairs.subnet_id, 'account ' || pairs.account_id, pairs.interface_id, pairs.client_addr, '')
        END
        AND opened_before.server_addr = pairs.server_addr
        AND opened_before.service_port = pairs.service_port
        AND opened_before.protocol = pairs.protocol
    WHERE pairs.flows > 0
),
found AS (
    -- One finding for each interface; without one, for each address. An interface may have several addresses.
    SELECT
        interface_id,
        MIN(subnet_id) AS subnet_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        server_addr,
        service_port,
        protocol,
        expected_by,
        MIN(vpc_id) AS vpc_id,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(client_class) AS client_class,
        MIN(server_service) AS server_service,
        MIN(route_target) AS route_target,
        MIN(path) AS path,
        BOOL_AND(behind_nat_unknown) AS behind_nat_unknown,
        SUM(flows) AS flows,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        COALESCE(SUM(reply_packets), 0) AS reply_packets,
        COALESCE(SUM(reply_bytes), 0) AS reply_bytes
    FROM news
    GROUP BY interface_id, CASE WHEN interface_id IS NULL THEN client_addr END, server_addr, service_port, protocol, expected_by
)
SELECT
    CASE
        -- A subnet that is private in IPv4 and public in IPv6 has a back door.
        WHEN client_class = 'public' AND server_addr LIKE '%:%' AND COALESCE(ipv4.class, 'public') <> 'public' THEN 'high'
        WHEN client_class IN ('isolated', 'endpoint_only', 'peered_only', 'vpn_only') AND reply_packets > 0 THEN 'critical'
        WHEN client_class IN ('isolated', 'endpoint_only', 'peered_only', 'vpn_only') THEN 'high'
        WHEN client_class = 'public' THEN 'low'
        WHEN bytes >= $large_bytes THEN 'high'
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
    server_addr AS dst_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    CASE
        WHEN behind_nat_unknown THEN 'an instance behind a NAT gateway (its log does not tell which)'
        ELSE COALESCE(src_addr, interface_id, 'an interface') || COALESCE(' in a subnet of class ' || client_class, '')
    END
    || CASE
        WHEN client_class = 'public' AND server_addr LIKE '%:%' AND COALESCE(ipv4.class, 'public') <> 'public'
            THEN ' (over IPv6; it is ' || ipv4.class || ' in IPv4)'
        ELSE ''
    END
    || ' opened connections to ' || server_addr
    || COALESCE(' (' || server_service || ' range)', '')
    || COALESCE(' (' || autonomous_system(server_addr) || ')', '')
    || COALESCE(' in ' || country(server_addr), '')
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || CASE
        WHEN path = 'impossible' AND reply_packets = 0 THEN '; no route leads there, so the packets were dropped after they were logged'
        WHEN path = 'impossible' THEN '; no known route leads there and yet it answered: the topology is out of date'
        WHEN path = 'contradicts' THEN '; the record shows another way out than the routes do'
        WHEN route_target IS NULL OR route_target IN ('none', 'local') THEN ''
        ELSE ' by way of ' || route_target
    END
    || CASE WHEN reply_packets = 0 THEN '; nothing came back' ELSE '; it was answered' END AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'subnet_class', client_class,
        'route_target', route_target,
        'path', path,
        'dst_service', server_service,
        'dst_autonomous_system', autonomous_system(server_addr),
        'dst_country', country(server_addr),
        'baseline_from', $baseline_from
    ) AS evidence,
    expected_by
FROM found
LEFT JOIN (
    SELECT subnet_id AS id, LAST_VALUE(class ORDER BY snapshot_at) AS class FROM subnets GROUP BY subnet_id
) AS ipv4 ON ipv4.id = found.subnet_id
ORDER BY first_seen, interface_id, server_addr, service_port, protocol
