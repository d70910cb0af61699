-- title: Replies refused by a network ACL
-- group: rejects
-- severity: high
-- parameters:
--   min_records = 10    refused replies from which it is told: fewer may be the end of a connection
--   min_intervals = 2   aggregation intervals that they are spread over: within one, a rule may just have changed
-- finding_key: vpc_id subnet_id evidence.direction evidence.server dst_port protocol
-- description: Requests of a service pass and its replies are refused, all of them, on one side of a subnet. A security group lets the replies of what
--   it accepted pass by itself: only a network ACL, which is stateless, refuses them. Usually its range of ephemeral ports is missing or too small.
--   TCP replies count by their SYN-ACK where the logs have flags, so that packets of closed connections don't.
-- false_positives: Logs without TCP flags, and no network ACLs imported: replies of connections that had been closed look the same.
WITH replies AS (
    SELECT
        account_id,
        region,
        vpc_id,
        subnet_id,
        direction,
        -- Clients of many servers share one rule: the service is told apart by server only where the subnet is the server's.
        CASE WHEN direction = 'egress' THEN server_addr END AS server,
        service_port,
        protocol,
        expected_by(
            'reject_replies', subnet_id, interface_id, vpc_id,
            CASE WHEN direction = 'egress' THEN dst_addr ELSE src_addr END,
            CASE WHEN direction = 'egress' THEN dst_subnet_id ELSE src_subnet_id END,
            CASE WHEN direction = 'egress' THEN dst_service ELSE src_service END,
            service_port, protocol, start
        ) AS expected_by,
        action = 'REJECT' AS is_refused,
        start,
        "end",
        packets,
        bytes,
        interface_id,
        client_addr,
        server_addr,
        dst_port,
        CASE WHEN action = 'REJECT' THEN
            nacl_rule(subnet_id, direction, CASE WHEN direction = 'egress' THEN dst_addr ELSE src_addr END, dst_port, protocol, start)
        END AS rule_number
    FROM traffic
    WHERE initiator = 'dst'
      AND action IN ('ACCEPT', 'REJECT')
      AND direction IS NOT NULL
      AND (src_subnet_id IS DISTINCT FROM dst_subnet_id)
      AND (action = 'ACCEPT' OR tcp_flags IS NULL OR protocol <> 6 OR (tcp_flags & 18) = 18)
      AND start < $to
      AND "end" >= $from
),
services AS (
    SELECT
        subnet_id,
        direction,
        server,
        service_port,
        protocol,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        COUNT(*) FILTER (WHERE NOT is_refused) AS passed,
        COUNT(*) FILTER (WHERE is_refused) AS refused,
        COUNT(DISTINCT start) FILTER (WHERE is_refused) AS intervals,
        SUM(packets) FILTER (WHERE is_refused) AS packets,
        SUM(bytes) FILTER (WHERE is_refused) AS bytes,
        MIN(start) FILTER (WHERE is_refused) AS first_seen,
        MAX("end") FILTER (WHERE is_refused) AS last_seen,
        MIN(interface_id) FILTER (WHERE is_refused) AS first_interface,
        MAX(interface_id) FILTER (WHERE is_refused) AS last_interface,
        MIN(client_addr) FILTER (WHERE is_refused) AS first_client,
        MAX(client_addr) FILTER (WHERE is_refused) AS last_client,
        MIN(server_addr) FILTER (WHERE is_refused) AS first_server,
        MAX(server_addr) FILTER (WHERE is_refused) AS last_server,
        COUNT(DISTINCT client_addr) FILTER (WHERE is_refused) AS clients,
        COUNT(DISTINCT server_addr) FILTER (WHERE is_refused) AS servers,
        MIN(dst_port) FILTER (WHERE is_refused) AS lowest_port,
        MAX(dst_port) FILTER (WHERE is_refused) AS highest_port,
        MIN(rule_number) AS rule_number
    FROM replies
    GROUP BY subnet_id, direction, server, service_port, protocol, expected_by
),
rules AS (
    SELECT subnet_id, CASE WHEN egress THEN 'egress' ELSE 'ingress' END AS direction, rule_number, rule_action
    FROM nacl_entries
    JOIN subnets ON subnets.nacl_id = nacl_entries.nacl_id AND subnets.snapshot_at = nacl_entries.snapshot_at
    WHERE nacl_entries.snapshot_at = snapshot_of($to)
)
SELECT
    'high' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    services.subnet_id,
    CASE WHEN first_interface = last_interface THEN first_interface END AS interface_id,
    CASE WHEN first_client = last_client THEN first_client END AS src_addr,
    CASE WHEN first_server = last_server THEN first_server END AS dst_addr,
    service_port AS dst_port,
    protocol,
    refused AS flows,
    packets,
    bytes,
    'the network ACL of ' || COALESCE(services.subnet_id, 'an unknown subnet') || ' refuses every reply of '
    || CASE WHEN servers = 1 THEN first_server ELSE servers || ' servers' END
    || ' port ' || service_port || '/' || protocol_name(protocol) || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || CASE WHEN services.direction = 'egress' THEN ' on its way out to ' ELSE ' on its way in to ' END
    || CASE WHEN clients = 1 THEN first_client ELSE clients || ' clients' END
    || ': ' || refused || ' records to ports ' || lowest_port || '-' || highest_port || ', and none passed'
    || COALESCE('; rule ' || services.rule_number || ' denies them', '') AS reason,
    named_struct(
        'direction', services.direction,
        'server', server,
        'servers', servers,
        'clients', clients,
        'refused', refused,
        'intervals', intervals,
        'lowest_port', lowest_port,
        'highest_port', highest_port,
        'rule_number', services.rule_number,
        'advice', 'allow the clients'' ephemeral ports (1024-65535) ' || CASE WHEN services.direction = 'egress' THEN 'out of' ELSE 'into' END || ' the subnet'
    ) AS evidence,
    expected_by
FROM services
LEFT JOIN rules
    ON rules.subnet_id = services.subnet_id
    AND rules.direction = services.direction
    AND rules.rule_number = services.rule_number
WHERE refused >= $min_records
  AND intervals >= $min_intervals
  AND passed = 0
  -- What the ACL allows, it did not refuse: those are packets of closed connections.
  AND COALESCE(rule_action, 'deny') = 'deny'
ORDER BY first_seen, services.subnet_id, services.direction, service_port, protocol
