-- title: S3 or DynamoDB past the gateway endpoint
-- group: egress
-- severity: low
-- parameters:
--   bytes_per_day = 1000000000   bytes both ways on the worst UTC day from which it is worth a finding: a gigabyte a day is some 1.35 dollars a month of NAT processing alone
-- finding_key: vpc_id subnet_id|src_addr evidence.service
-- description: Traffic to S3 or DynamoDB of the client's own region that leaves by a NAT gateway or an internet gateway although a gateway endpoint
--   is free: it is paid for by the gigabyte, and no endpoint policy sees it. One finding for each subnet and service.
-- false_positives: Buckets of other regions can't use the endpoint and are left out. S3's ranges also serve lists of packages of EC2.
WITH days AS (
    SELECT
        client_subnet_id AS subnet_id,
        CASE WHEN client_subnet_id IS NULL THEN client_addr END AS only_addr,
        server_service AS service,
        server_addr,
        route_target,
        date_trunc('day', start) AS day,
        expected_by(
            'egress_endpoint_bypass', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_interface_id) AS first_interface,
        MAX(client_interface_id) AS last_interface,
        MIN(client_addr) AS first_client,
        MAX(client_addr) AS last_client,
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
      AND server_scope = 'aws_service'
      AND server_service IN ('S3', 'DYNAMODB')
      AND route_target IN ('nat', 'igw')
      AND start < $to
      AND "end" >= $from
    GROUP BY client_subnet_id, CASE WHEN client_subnet_id IS NULL THEN client_addr END, server_service, server_addr, route_target,
        date_trunc('day', start), expected_by
),
by_day AS (
    SELECT
        subnet_id, only_addr, service, route_target, day, expected_by,
        MIN(account_id) AS account_id, MIN(region) AS region, MIN(vpc_id) AS vpc_id,
        MIN(first_interface) AS first_interface, MAX(last_interface) AS last_interface,
        MIN(first_client) AS first_client, MAX(last_client) AS last_client,
        MIN(first_seen) AS first_seen, MAX(last_seen) AS last_seen,
        SUM(flows) AS flows, SUM(packets) AS packets, SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets, SUM(reply_bytes) AS reply_bytes,
        SUM(bytes) + SUM(reply_bytes) AS day_bytes
    FROM days
    WHERE aws_region(server_addr) = region
    GROUP BY subnet_id, only_addr, service, route_target, day, expected_by
),
found AS (
    SELECT
        subnet_id, service, expected_by,
        MIN(route_target) AS route_target,
        MIN(account_id) AS account_id, MIN(region) AS region, MIN(vpc_id) AS vpc_id,
        CASE WHEN MIN(first_interface) = MAX(last_interface) THEN MIN(first_interface) END AS interface_id,
        CASE WHEN MIN(first_client) = MAX(last_client) THEN MIN(first_client) END AS src_addr,
        MIN(first_seen) AS first_seen, MAX(last_seen) AS last_seen,
        SUM(flows) AS flows, SUM(packets) AS packets, SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets, SUM(reply_bytes) AS reply_bytes,
        MAX(day_bytes) AS worst_day_bytes
    FROM by_day
    GROUP BY subnet_id, only_addr, service, expected_by
)
SELECT
    'low' AS severity,
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
    COALESCE(subnet_id, src_addr, 'a subnet behind a NAT gateway') || ' reached ' || service || ' of its own region by way of '
    || CASE route_target WHEN 'nat' THEN 'a NAT gateway' ELSE 'an internet gateway' END
    || ', ' || (worst_day_bytes / 1000000) || ' MB on the worst day; a gateway endpoint is free and sees it' AS reason,
    named_struct(
        'service', service,
        'route_target', route_target,
        'worst_day_bytes', worst_day_bytes,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
WHERE worst_day_bytes >= $bytes_per_day
ORDER BY first_seen, subnet_id, service
