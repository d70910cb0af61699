-- title: NAT gateway in another zone
-- group: operations
-- severity: low
-- parameters:
--   price = 0.01                 USD for a GB in each direction: Amazon EC2 pricing, data transfer between zones of a region
--   min_bytes_a_day = 1000000000   bytes a day, both ways, below which it is not worth a change
-- finding_key: vpc_id subnet_id evidence.nat_gateway_id
-- description: A subnet whose default route leads to a NAT gateway in another Availability Zone: what it sends and gets crosses zones and is paid for, and it loses its
--   way out when the other zone is down. Regional NAT gateways are in every zone.
-- false_positives: Few bytes and a gateway's hourly price saved on purpose.
WITH pairs AS (
    SELECT
        client_subnet_id,
        server_addr,
        expected_by(
            'cost_nat_other_zone', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        BOOL_OR((opened AND route_target = 'nat') OR leg = 'nat_inside') AS is_nat,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE action = 'ACCEPT'
      AND server_scope IN ('internet', 'aws_service')
      AND client_subnet_id IS NOT NULL
      AND start < $to
      AND "end" >= $from
    GROUP BY client_subnet_id, server_addr, expected_by
),
zones AS (
    SELECT *, COALESCE(availability_zone_id, availability_zone) AS zone
    FROM subnets
    WHERE snapshot_at = snapshot_of($to)
),
ways AS (
    SELECT zones.subnet_id, zones.account_id, zones.region, zones.vpc_id, zones.zone, nat_gateways.nat_gateway_id, of_nat.zone AS nat_zone
    FROM zones
    JOIN routes
        ON routes.route_table_id = zones.route_table_id
        AND routes.snapshot_at = zones.snapshot_at
        AND routes.destination_cidr_block = '0.0.0.0/0'
        AND routes.state = 'active'
    JOIN nat_gateways ON nat_gateways.nat_gateway_id = routes.target_id AND nat_gateways.snapshot_at = zones.snapshot_at
    JOIN zones AS of_nat ON of_nat.subnet_id = nat_gateways.subnet_id
    WHERE COALESCE(availability_mode, 'zonal') <> 'regional'
      AND zones.zone <> of_nat.zone
),
summed AS (
    SELECT
        ways.*,
        expected_by,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        (SUM(bytes) + SUM(reply_bytes)) * 86400.0 / GREATEST(to_unixtime($to) - to_unixtime($from), 86400) AS bytes_a_day,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM ways
    JOIN pairs ON client_subnet_id = ways.subnet_id
    WHERE is_nat
    GROUP BY
        ways.subnet_id, ways.account_id, ways.region, ways.vpc_id, ways.zone, ways.nat_gateway_id, ways.nat_zone, expected_by
)
SELECT
    'low' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    flows,
    packets,
    bytes,
    subnet_id || ' (' || zone || ') goes out through ' || nat_gateway_id || ' in another zone (' || nat_zone || '), ' || ROUND(bytes_a_day / 1e9, 1)
    || ' GB a day: about ' || ROUND(bytes_a_day / 1e9 * 30 * 2 * $price, 2) || ' USD a month for crossing, and no way out when that zone is down' AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'nat_gateway_id', nat_gateway_id,
        'zone', zone,
        'nat_zone', nat_zone,
        'bytes_a_day', CAST(bytes_a_day AS BIGINT),
        'monthly_usd', ROUND(bytes_a_day / 1e9 * 30 * 2 * $price, 2)
    ) AS evidence,
    expected_by
FROM summed
WHERE bytes_a_day >= $min_bytes_a_day
ORDER BY bytes_a_day DESC, subnet_id
