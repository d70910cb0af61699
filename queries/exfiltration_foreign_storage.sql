-- title: Upload to storage in a region that is not ours
-- group: exfiltration
-- severity: medium
-- attack: T1537 T1567.002
-- parameters:
--   bytes_per_day = 100000000   bytes sent to the region on the worst UTC day from which it is told
--   regions = ''                regions without a VPC of ours that hold buckets of ours, separated by spaces
-- finding_key: vpc_id interface_id|src_addr evidence.dst_region
-- description: A host that sent a hundred megabytes or more within a day to S3 in an AWS region where no VPC of the topology is: somebody else's
--   bucket, most likely. One finding for each host and region. Storage of other clouds has no published ranges in the topology and is not told
--   apart from the internet.
-- false_positives: Copies to another region for disaster recovery: name it in `regions`. Flow logs do not tell whose bucket it is.
WITH remotes AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        server_addr,
        date_trunc('day', start) AS day,
        expected_by(
            'exfiltration_foreign_storage', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
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
      AND server_service = 'S3'
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, server_addr, date_trunc('day', start), expected_by
),
days AS (
    SELECT
        interface_id,
        only_addr,
        aws_region(server_addr) AS dst_region,
        day,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        MIN(first_client) AS first_client,
        MAX(last_client) AS last_client,
        MIN(server_addr) AS first_server,
        MAX(server_addr) AS last_server,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM remotes
    GROUP BY interface_id, only_addr, aws_region(server_addr), day, expected_by
),
found AS (
    SELECT
        interface_id,
        dst_region,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        CASE WHEN MIN(first_client) = MAX(last_client) THEN MIN(first_client) END AS src_addr,
        CASE WHEN MIN(first_server) = MAX(last_server) THEN MIN(first_server) END AS dst_addr,
        MAX(bytes) AS worst_day_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM days
    GROUP BY interface_id, only_addr, dst_region, expected_by
),
ours AS (
    SELECT DISTINCT region AS id FROM vpcs WHERE region IS NOT NULL
)
SELECT
    'medium' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    dst_addr,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a client behind a NAT gateway')
    || COALESCE(' in a subnet of class ' || client_class, '')
    || ' sent ' || (worst_day_bytes / 1000000) || ' MB within a day to S3 in ' || dst_region || ', where we have no VPC' AS reason,
    named_struct(
        'dst_region', dst_region,
        'worst_day_bytes', worst_day_bytes,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
LEFT ANTI JOIN ours ON ours.id = found.dst_region
WHERE flows > 0
  AND worst_day_bytes >= $bytes_per_day
  AND dst_region <> COALESCE(region, '')
  AND strpos(' ' || $regions || ' ', ' ' || dst_region || ' ') = 0
ORDER BY first_seen, interface_id, src_addr, dst_region
