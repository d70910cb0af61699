-- title: AWS services reached through a NAT gateway
-- group: operations
-- severity: low
-- parameters:
--   price = 0.045               USD for a GB that a NAT gateway processes, either way: Amazon VPC pricing, us-east-1
--   min_bytes_a_month = 10000000000   bytes in 30 days, at the window's rate, below which an endpoint is not worth the work
--   endpoint_price = 0.01       USD for an hour of an interface endpoint in a zone: AWS PrivateLink pricing, us-east-1
--   endpoint_gb_price = 0.01    USD for a GB through an interface endpoint: AWS PrivateLink pricing, first PB
-- finding_key: vpc_id evidence.service
-- description: Traffic of a VPC to AWS's own services that pays for a NAT gateway. A gateway endpoint for S3 and DynamoDB is free; other services have interface
--   endpoints, which cost by the hour and the GB: they are shown where one, in a zone, would be cheaper at the window's rate.
-- false_positives: Buckets and tables of another region: a gateway endpoint leads to its own region only. Public ranges of AWS that have no endpoint.
WITH pairs AS (
    SELECT
        client_vpc_id,
        client_subnet_id,
        server_addr,
        server_service,
        expected_by(
            'cost_endpoint_savings', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
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
      AND server_service IS NOT NULL
      AND server_service NOT IN ('AMAZON', 'EC2')
      AND client_subnet_id IS NOT NULL
      AND start < $to
      AND "end" >= $from
    GROUP BY client_vpc_id, client_subnet_id, server_addr, server_service, expected_by
),
services AS (
    SELECT
        client_vpc_id AS vpc_id,
        server_service AS service,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        CASE WHEN MIN(client_subnet_id) = MAX(client_subnet_id) THEN MIN(client_subnet_id) END AS subnet_id,
        COUNT(DISTINCT client_subnet_id) AS subnets,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        (SUM(bytes) + SUM(reply_bytes)) * 2592000.0 / GREATEST(to_unixtime($to) - to_unixtime($from), 86400) AS bytes_a_month,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM pairs
    WHERE is_nat
    GROUP BY client_vpc_id, server_service, expected_by
),
priced AS (
    SELECT
        services.*,
        service IN ('S3', 'DYNAMODB') AS is_gateway,
        bytes_a_month / 1e9 * $price AS nat_usd,
        CASE WHEN service IN ('S3', 'DYNAMODB') THEN 0.0 ELSE 720 * $endpoint_price + bytes_a_month / 1e9 * $endpoint_gb_price END AS endpoint_usd,
        endpoints.vpc_endpoint_id
    FROM services
    LEFT JOIN (
        SELECT vpc_id, UPPER(split_part(service_name, '.', -1)) AS of_service, MIN(vpc_endpoint_id) AS vpc_endpoint_id
        FROM endpoints
        WHERE snapshot_at = snapshot_of($to)
          AND vpc_endpoint_type = 'Gateway'
        GROUP BY vpc_id, UPPER(split_part(service_name, '.', -1))
    ) AS endpoints ON endpoints.vpc_id = services.vpc_id AND endpoints.of_service = service
)
SELECT
    CASE WHEN is_gateway THEN 'low' ELSE 'info' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    flows,
    packets,
    bytes,
    COALESCE(subnet_id, subnets || ' subnets of ' || vpc_id) || ' reached ' || service || ' through a NAT gateway, ' || ROUND(bytes_a_month / 1e9, 1)
    || ' GB a month at this rate for ' || ROUND(nat_usd, 2) || ' USD; '
    || CASE
        WHEN is_gateway AND vpc_endpoint_id IS NOT NULL THEN vpc_endpoint_id || ' would carry it for nothing: add their route tables to it'
        WHEN is_gateway THEN 'a gateway endpoint carries it for nothing'
        ELSE 'an interface endpoint carries it for ' || ROUND(endpoint_usd, 2) || ' USD'
    END AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'service', service,
        'subnets', subnets,
        'bytes_a_month', CAST(bytes_a_month AS BIGINT),
        'nat_usd', ROUND(nat_usd, 2),
        'endpoint_usd', ROUND(endpoint_usd, 2),
        'vpc_endpoint_id', vpc_endpoint_id
    ) AS evidence,
    expected_by
FROM priced
WHERE bytes_a_month >= $min_bytes_a_month
  AND endpoint_usd < nat_usd
ORDER BY nat_usd DESC, vpc_id, service
