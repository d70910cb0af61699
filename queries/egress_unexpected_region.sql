-- title: AWS region that we do not use
-- group: egress
-- severity: low
-- attack: T1535 T1537
-- parameters:
--   regions = 'GLOBAL us-east-1'   regions that anybody may call, beside those that have a VPC of ours: what serves every region, and where the global services live
--   large_bytes = 100000000        bytes sent from which a finding is medium
-- finding_key: vpc_id subnet_id|src_addr evidence.dst_region evidence.dst_service
-- description: Accepted connections from our side to AWS's public addresses in a region where no VPC of the topology is. EC2's ranges are other
--   customers' machines. One finding for each subnet, region and service.
-- false_positives: Global services answer from several regions, CDNs from the nearest; SaaS suppliers run in regions of their own: add region by
--   address, or the service, to the policy.
WITH remotes AS (
    SELECT
        client_subnet_id AS subnet_id,
        CASE WHEN client_subnet_id IS NULL THEN client_addr END AS only_addr,
        server_service,
        server_addr,
        expected_by(
            'egress_unexpected_region', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_class) AS client_class,
        MIN(client_interface_id) AS first_interface,
        MAX(client_interface_id) AS last_interface,
        MIN(client_addr) AS first_client,
        MAX(client_addr) AS last_client,
        MIN(service_port) AS first_port,
        MAX(service_port) AS last_port,
        MIN(protocol) AS first_protocol,
        MAX(protocol) AS last_protocol,
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
      AND server_scope IN ('internet', 'aws_service')
      AND server_service IS NOT NULL
      AND start < $to
      AND "end" >= $from
    GROUP BY client_subnet_id, CASE WHEN client_subnet_id IS NULL THEN client_addr END, server_service, server_addr, expected_by
),
found AS (
    SELECT
        subnet_id,
        server_service AS dst_service,
        aws_region(server_addr) AS dst_region,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(client_class) AS client_class,
        CASE WHEN MIN(first_interface) = MAX(last_interface) THEN MIN(first_interface) END AS interface_id,
        CASE WHEN MIN(first_client) = MAX(last_client) THEN MIN(first_client) END AS src_addr,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        CASE WHEN MIN(first_port) = MAX(last_port) THEN MIN(first_port) END AS service_port,
        CASE WHEN MIN(first_protocol) = MAX(last_protocol) THEN MIN(first_protocol) END AS protocol,
        COUNT(DISTINCT server_addr) AS remotes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM remotes
    GROUP BY subnet_id, only_addr, server_service, aws_region(server_addr), expected_by
),
ours AS (
    SELECT DISTINCT region AS id FROM vpcs WHERE region IS NOT NULL
)
SELECT
    CASE WHEN bytes >= $large_bytes THEN 'medium' ELSE 'low' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    dst_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, subnet_id, 'a client behind a NAT gateway')
    || COALESCE(' in a subnet of class ' || client_class, '')
    || ' opened connections to ' || dst_service || ' in ' || dst_region || ', where we have no VPC ('
    || CASE WHEN remotes = 1 THEN dst_addr ELSE remotes || ' addresses' END || ', ' || bytes || ' bytes sent)'
    || CASE WHEN reply_packets = 0 THEN '; nothing came back' ELSE '; it was answered' END AS reason,
    named_struct(
        'dst_region', dst_region,
        'dst_service', dst_service,
        'remotes', remotes,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
LEFT ANTI JOIN ours ON ours.id = found.dst_region
WHERE flows > 0
  AND dst_region <> COALESCE(region, '')
  AND strpos(' ' || $regions || ' ', ' ' || dst_region || ' ') = 0
ORDER BY first_seen, subnet_id, dst_region, dst_service
