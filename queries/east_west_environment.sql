-- title: Traffic between environments
-- group: east_west
-- severity: medium
-- attack: T1599
-- parameters:
--   tag = 'Environment'                      the tag that tells environments apart, of the subnet or else of its VPC; any case. `Isolation`, or another, if that is what you tag
--   protected = 'prod production prd live'   its values, any case, into which nothing may come: from outside of them a finding is high
-- finding_key: vpc_id subnet_id dst_subnet_id dst_port protocol
-- description: Accepted connections between two subnets whose tags say that they belong to different environments, also across VPCs. Subnets whose
--   environment is not known say nothing. One finding for each pair of subnets and port.
-- false_positives: Shared services, deployment, monitoring: tag them with one value and add that to the policy, or leave them untagged.
WITH environments AS (
    SELECT
        subnets.subnet_id AS id,
        LAST_VALUE(lower(COALESCE(
            regexp_match(subnets.tags, '"' || $tag || '":"([^"]*)"', 'i')[1],
            regexp_match(vpcs.tags, '"' || $tag || '":"([^"]*)"', 'i')[1]
        )) ORDER BY subnets.snapshot_at) AS environment
    FROM subnets
    LEFT JOIN vpcs
        ON vpcs.vpc_id = subnets.vpc_id
        AND vpcs.snapshot_at = subnets.snapshot_at
    GROUP BY subnets.subnet_id
),
pairs AS (
    SELECT
        client_subnet_id AS subnet_id,
        server_subnet_id AS dst_subnet_id,
        service_port,
        protocol,
        expected_by(
            'east_west_environment', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(server_vpc_id) AS dst_vpc_id,
        MIN(client_class) AS client_class,
        MIN(server_class) AS server_class,
        CASE WHEN MIN(client_interface_id) = MAX(client_interface_id) THEN MIN(client_interface_id) END AS interface_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        COUNT(DISTINCT client_addr) AS clients,
        COUNT(DISTINCT server_addr) AS servers,
        MIN(start) FILTER (WHERE opened) AS first_seen,
        MAX("end") FILTER (WHERE opened) AS last_seen,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM connections
    WHERE action = 'ACCEPT'
      AND client_subnet_id <> server_subnet_id
      AND start < $to
      AND "end" >= $from
    GROUP BY client_subnet_id, server_subnet_id, service_port, protocol, expected_by
)
SELECT
    CASE WHEN strpos(' ' || lower($protected) || ' ', ' ' || theirs.environment || ' ') > 0 THEN 'high' ELSE 'medium' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    dst_addr,
    dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    CASE WHEN clients = 1 THEN src_addr ELSE clients || ' clients' END
    || ' in ' || subnet_id || ' (' || ours.environment || ') opened connections to '
    || CASE WHEN servers = 1 THEN dst_addr ELSE servers || ' servers' END
    || ' in ' || dst_subnet_id || ' (' || theirs.environment || ')'
    || CASE WHEN vpc_id <> dst_vpc_id THEN ' of ' || dst_vpc_id ELSE '' END
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || CASE WHEN reply_packets = 0 THEN '; nothing came back' ELSE '; it was answered' END AS reason,
    named_struct(
        'environment', ours.environment,
        'dst_environment', theirs.environment,
        'clients', clients,
        'servers', servers,
        'dst_vpc_id', dst_vpc_id,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM pairs
JOIN environments AS ours ON ours.id = pairs.subnet_id
JOIN environments AS theirs ON theirs.id = pairs.dst_subnet_id
WHERE flows > 0
  AND ours.environment <> theirs.environment
  AND NOT (
    strpos(' ' || lower($protected) || ' ', ' ' || ours.environment || ' ') > 0
    AND strpos(' ' || lower($protected) || ' ', ' ' || theirs.environment || ' ') > 0
  )
ORDER BY first_seen, subnet_id, dst_subnet_id, service_port, protocol
