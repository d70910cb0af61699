-- title: Traffic between private subnets
-- group: core
-- severity: medium
-- attack: T1021
-- parameters:
--   baseline_days = 0   days before the window in which the same pair may have talked; 0: no baseline, every pair that the policy does not expect
--   tag = 'Environment'   the tag, of the subnet or else of its VPC, any case, that tells environments apart
-- finding_key: subnet_id dst_subnet_id dst_port protocol
-- description: An accepted connection opened from one private subnet to another (any class but public, in the flow's IP family), also across VPCs,
--   which the policy does not expect. Nothing stops local traffic between subnets by default. What the server's side refused was not accepted.
-- false_positives: Monitoring, backup and deployment hosts that talk to everything: add them to the policy, with their subnets and ports.
WITH connections AS (
    SELECT
        start,
        "end",
        packets,
        bytes,
        initiator,
        client_account_id,
        client_region,
        client_vpc_id,
        client_subnet_id,
        client_interface_id,
        client_addr,
        client_class,
        server_vpc_id,
        server_subnet_id,
        server_addr,
        server_class,
        service_port,
        protocol,
        expected_by(
            'east_west_private', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by
    FROM traffic
    WHERE counted
      AND action = 'ACCEPT'
      AND client_subnet_id <> server_subnet_id
      AND COALESCE(client_class, 'unknown') <> 'public'
      AND COALESCE(server_class, 'unknown') <> 'public'
      AND leg <> 'nat_outside'
      AND start < $to
      AND "end" >= $baseline_from
),
pairs AS (
    SELECT
        client_subnet_id,
        server_subnet_id,
        service_port,
        protocol,
        expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(server_vpc_id) AS server_vpc_id,
        MIN(client_class) AS client_class,
        MIN(server_class) AS server_class,
        MIN(client_interface_id) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS first_interface,
        MAX(client_interface_id) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS last_interface,
        MIN(client_addr) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS first_client,
        MAX(client_addr) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS last_client,
        MIN(server_addr) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS first_server,
        MAX(server_addr) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS last_server,
        COUNT(DISTINCT client_addr) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS clients,
        COUNT(DISTINCT server_addr) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS servers,
        COUNT(*) FILTER (WHERE initiator = 'src' AND "end" < $from) AS opened_before,
        COUNT(*) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS flows,
        MIN(start) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS first_seen,
        MAX("end") FILTER (WHERE initiator = 'src' AND "end" >= $from) AS last_seen,
        SUM(packets) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS packets,
        SUM(bytes) FILTER (WHERE initiator = 'src' AND "end" >= $from) AS bytes,
        SUM(packets) FILTER (WHERE initiator = 'dst' AND "end" >= $from) AS reply_packets,
        SUM(bytes) FILTER (WHERE initiator = 'dst' AND "end" >= $from) AS reply_bytes
    FROM connections
    GROUP BY client_subnet_id, server_subnet_id, service_port, protocol, expected_by
),
-- Where the two subnets are, and what their tags call them.
places AS (
    SELECT
        subnets.subnet_id AS id,
        subnets.account_id,
        subnets.region,
        COALESCE(availability_zone_id, availability_zone) AS zone,
        lower(COALESCE(
            regexp_match(subnets.tags, '"' || $tag || '":"([^"]*)"', 'i')[1],
            regexp_match(vpcs.tags, '"' || $tag || '":"([^"]*)"', 'i')[1]
        )) AS environment
    FROM subnets
    LEFT JOIN vpcs
        ON vpcs.vpc_id = subnets.vpc_id
        AND vpcs.snapshot_at = subnets.snapshot_at
    WHERE subnets.snapshot_at = snapshot_of($to)
),
known AS (
    SELECT
        *,
        SUM(opened_before) OVER (PARTITION BY client_subnet_id, server_subnet_id, service_port, protocol) AS opened_in_baseline
    FROM pairs
)
SELECT
    CASE
        WHEN client_class = 'unknown' OR server_class = 'unknown' THEN 'low'
        WHEN vpc_id <> server_vpc_id OR ours.environment <> theirs.environment THEN 'high'
        WHEN service_port IN (22, 23, 135, 445, 3389, 5985, 5986) THEN 'high'
        ELSE 'medium'
    END AS severity,
    first_seen,
    last_seen,
    known.account_id,
    known.region,
    vpc_id,
    client_subnet_id AS subnet_id,
    CASE WHEN first_interface = last_interface THEN first_interface END AS interface_id,
    CASE WHEN first_client = last_client THEN first_client END AS src_addr,
    CASE WHEN first_server = last_server THEN first_server END AS dst_addr,
    server_subnet_id AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    CASE WHEN clients = 1 THEN first_client ELSE clients || ' clients' END
    || ' in ' || client_subnet_id || ' (' || COALESCE(client_class, 'unknown') || ') opened connections to '
    || CASE WHEN servers = 1 THEN first_server ELSE servers || ' servers' END
    || ' in ' || server_subnet_id || ' (' || COALESCE(server_class, 'unknown') || ')'
    || CASE WHEN vpc_id <> server_vpc_id THEN ' of ' || server_vpc_id ELSE '' END
    || CASE WHEN ours.account_id <> theirs.account_id THEN ' in account ' || theirs.account_id ELSE '' END
    || CASE WHEN ours.environment <> theirs.environment THEN ', from ' || ours.environment || ' to ' || theirs.environment || ',' ELSE '' END
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || CASE WHEN COALESCE(reply_packets, 0) = 0 THEN '; nothing came back' ELSE '' END AS reason,
    named_struct(
        'reply_packets', COALESCE(reply_packets, 0),
        'reply_bytes', COALESCE(reply_bytes, 0),
        'clients', clients,
        'servers', servers,
        'subnet_class', client_class,
        'dst_subnet_class', server_class,
        'dst_vpc_id', server_vpc_id,
        'dst_account_id', theirs.account_id,
        'environment', ours.environment,
        'dst_environment', theirs.environment,
        'zone', ours.zone,
        'dst_zone', theirs.zone,
        -- Bytes between zones of a region are paid for, both ways.
        'crosses_zones', ours.region = theirs.region AND ours.zone <> theirs.zone
    ) AS evidence,
    expected_by
FROM known
LEFT JOIN places AS ours ON ours.id = client_subnet_id
LEFT JOIN places AS theirs ON theirs.id = server_subnet_id
WHERE flows > 0
  AND opened_in_baseline = 0
ORDER BY first_seen, client_subnet_id, server_subnet_id, service_port, protocol
