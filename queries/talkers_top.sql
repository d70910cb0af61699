-- title: Top talkers
-- group: operations
-- severity: info
-- parameters:
--   top = 50   pairs that are shown, as Athena's query for top talkers has it
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_port protocol
-- description: A report: the pairs of client and server that exchanged the most bytes, both ways, each packet counted once however many interfaces, NAT legs and flow
--   logs recorded it.
-- false_positives: None: it is a count.
WITH pairs AS (
    SELECT
        COALESCE(client_vpc_id, server_vpc_id) AS vpc_id,
        client_subnet_id,
        client_interface_id,
        client_addr,
        server_addr,
        server_subnet_id,
        server_service,
        service_port,
        protocol,
        -- Of an address in a peer's VPC the one side says `peer` and the other `vpc`.
        MIN(client_scope) AS client_scope,
        MIN(server_scope) AS server_scope,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE action = 'ACCEPT'
      AND start < $to
      AND "end" >= $from
    GROUP BY
        COALESCE(client_vpc_id, server_vpc_id), client_subnet_id, client_interface_id, client_addr,
        server_addr, server_subnet_id, server_service, service_port, protocol
),
longest AS (
    SELECT *
    FROM pairs
    ORDER BY bytes + reply_bytes DESC, client_addr, server_addr, service_port, protocol, vpc_id
    LIMIT $top
),
ranked AS (
    SELECT
        longest.*,
        account_id,
        region,
        ROW_NUMBER() OVER (ORDER BY bytes + reply_bytes DESC, client_addr, server_addr, service_port, protocol, longest.vpc_id) AS place
    FROM longest
    LEFT JOIN subnets ON subnets.subnet_id = client_subnet_id AND subnets.snapshot_at = snapshot_of($to)
)
SELECT
    'info' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    client_subnet_id AS subnet_id,
    client_interface_id AS interface_id,
    client_addr AS src_addr,
    server_addr AS dst_addr,
    server_subnet_id AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    'place ' || place || ': ' || COALESCE(client_addr, 'somebody behind a NAT gateway') || ' (' || COALESCE(client_subnet_id, client_scope, 'unknown') || ') and '
    || server_addr || ' (' || COALESCE(server_subnet_id, server_service, server_scope, 'unknown') || ') port ' || service_port || '/'
    || protocol_name(protocol) || COALESCE(' (' || port_name(service_port, protocol) || ')', '') || ' exchanged ' || (bytes + reply_bytes) || ' bytes' AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'place', place,
        'client_scope', client_scope,
        'server_scope', server_scope,
        'service', server_service
    ) AS evidence,
    expected_by(
        'talkers_top', client_subnet_id, client_interface_id, vpc_id, server_addr, server_subnet_id, server_service, service_port, protocol, first_seen
    ) AS expected_by
FROM ranked
ORDER BY place
