-- title: Traffic between Availability Zones
-- group: operations
-- severity: info
-- parameters:
--   price = 0.01             USD for a GB in each direction: Amazon EC2 pricing, data transfer between zones of a region; it is paid out of the one and into the other
--   min_bytes = 1000000000   bytes in the window below which it is not worth a line
--   top = 25                 the most expensive that are shown
--   low_usd = 100            USD a month from which it is low
-- finding_key: vpc_id subnet_id dst_subnet_id dst_port protocol
-- description: Bytes between subnets of different zones of a region, both ways, each counted once, and what they cost in a month if they go on as in the window (or
--   in a day, where it is shorter).
-- false_positives: Standbys and replicas in another zone on purpose. AWS doesn't charge the traffic of some services between zones.
WITH pairs AS (
    SELECT
        client_subnet_id,
        server_subnet_id,
        service_port,
        protocol,
        expected_by(
            'cost_cross_zone', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_vpc_id) AS vpc_id,
        CASE WHEN MIN(client_interface_id) = MAX(client_interface_id) THEN MIN(client_interface_id) END AS interface_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE action = 'ACCEPT'
      AND client_subnet_id <> server_subnet_id
      AND start < $to
      AND "end" >= $from
    GROUP BY client_subnet_id, server_subnet_id, service_port, protocol, expected_by
),
zones AS (
    SELECT subnet_id, account_id, region, availability_zone, availability_zone_id
    FROM subnets
    WHERE snapshot_at = snapshot_of($to)
),
crossing AS (
    SELECT
        pairs.*,
        client.region AS region,
        COALESCE(client.availability_zone_id, client.availability_zone) AS zone,
        COALESCE(server.availability_zone_id, server.availability_zone) AS server_zone,
        (bytes + reply_bytes) / 1e9 * 2 * $price AS usd,
        ROW_NUMBER() OVER (ORDER BY bytes + reply_bytes DESC, pairs.client_subnet_id, pairs.server_subnet_id, service_port) AS place
    FROM pairs
    JOIN zones AS client ON client.subnet_id = client_subnet_id
    JOIN zones AS server ON server.subnet_id = server_subnet_id
    WHERE COALESCE(client.region, '') = COALESCE(server.region, '')
      AND CASE
          -- Names of zones mean something within an account only.
          WHEN client.availability_zone_id IS NOT NULL AND server.availability_zone_id IS NOT NULL
              THEN client.availability_zone_id <> server.availability_zone_id
          ELSE client.account_id = server.account_id AND client.availability_zone <> server.availability_zone
      END
      AND bytes + reply_bytes >= $min_bytes
),
monthly AS (
    SELECT *, usd * 2592000 / GREATEST(to_unixtime($to) - to_unixtime($from), 86400) AS monthly_usd
    FROM crossing
    WHERE place <= $top
)
SELECT
    CASE WHEN monthly_usd >= $low_usd THEN 'low' ELSE 'info' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    client_subnet_id AS subnet_id,
    interface_id,
    src_addr,
    dst_addr,
    server_subnet_id AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    client_subnet_id || ' (' || zone || ') and ' || server_subnet_id || ' (' || server_zone || ') exchanged ' || ROUND((bytes + reply_bytes) / 1e9, 1)
    || ' GB on port ' || service_port || '/' || protocol_name(protocol) || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ' between zones: ' || ROUND(usd, 2) || ' USD, about ' || ROUND(monthly_usd, 2) || ' USD a month' AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'zone', zone,
        'server_zone', server_zone,
        'usd', ROUND(usd, 2),
        'monthly_usd', ROUND(monthly_usd, 2)
    ) AS evidence,
    expected_by
FROM monthly
ORDER BY usd DESC, client_subnet_id, server_subnet_id, service_port
