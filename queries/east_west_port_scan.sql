-- title: Many ports of one host inside
-- group: east_west
-- severity: high
-- attack: T1046
-- parameters:
--   bucket_secs = 3600   length of a bucket in seconds
--   probed_ports = 250   ports of a host that got a probe and no more, from which it is a scan: Elastic's rule of SYN scans
--   probe_packets = 2    packets up to which it is a probe, from the same rule
--   ports = 500          ports of a host, probes or not, from which it is a scan if some are low: Splunk's rule of internal vertical scans
--   low_ports = 20       how many of them must be below 1024, from the same rule
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_subnet_id protocol
-- description: A host of ours that tried very many ports of one other host of ours within an hour, accepted or refused. Who opened a connection is
--   known, so that a busy server's replies to many ports are none. One finding for each pair of hosts, with the worst hour as evidence.
-- false_positives: Vulnerability scanners: add them to the policy. Passive FTP and RPC use many high ports, with more packets than a probe.
WITH ports AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        server_addr,
        server_vpc_id,
        service_port,
        protocol,
        to_unixtime(start) / $bucket_secs AS bucket,
        expected_by(
            'east_west_port_scan', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        MIN(server_subnet_id) AS dst_subnet_id,
        MIN(client_addr) AS first_client,
        MAX(client_addr) AS last_client,
        BOOL_OR(action = 'ACCEPT') AS is_accepted,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen,
        COUNT(*) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes
    FROM connections
    WHERE opened
      AND NOT late
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope IN ('vpc', 'peer', 'transit')
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, server_addr, server_vpc_id, service_port, protocol,
        to_unixtime(start) / $bucket_secs, expected_by
),
buckets AS (
    SELECT
        interface_id, only_addr, server_addr, server_vpc_id, protocol, bucket, expected_by,
        MIN(account_id) AS account_id, MIN(region) AS region, MIN(vpc_id) AS vpc_id, MIN(subnet_id) AS subnet_id,
        MIN(dst_subnet_id) AS dst_subnet_id, MIN(first_client) AS first_client, MAX(last_client) AS last_client,
        COUNT(*) AS ports,
        COUNT(*) FILTER (WHERE packets <= $probe_packets) AS probed,
        COUNT(*) FILTER (WHERE service_port < 1024) AS low_ports,
        COUNT(*) FILTER (WHERE is_accepted) AS accepted_ports,
        MIN(first_seen) AS first_seen, MAX(last_seen) AS last_seen,
        SUM(flows) AS flows, SUM(packets) AS packets, SUM(bytes) AS bytes
    FROM ports
    GROUP BY interface_id, only_addr, server_addr, server_vpc_id, protocol, bucket, expected_by
),
found AS (
    SELECT
        interface_id, server_addr AS dst_addr, protocol, expected_by,
        MIN(account_id) AS account_id, MIN(region) AS region, MIN(vpc_id) AS vpc_id, MIN(subnet_id) AS subnet_id,
        MIN(dst_subnet_id) AS dst_subnet_id,
        CASE WHEN MIN(first_client) = MAX(last_client) THEN MIN(first_client) END AS src_addr,
        MAX(ports) AS ports, MAX(probed) AS probed, MAX(low_ports) AS low_ports, MAX(accepted_ports) AS accepted_ports,
        COUNT(*) AS buckets,
        MIN(first_seen) AS first_seen, MAX(last_seen) AS last_seen,
        SUM(flows) AS flows, SUM(packets) AS packets, SUM(bytes) AS bytes
    FROM buckets
    WHERE probed >= $probed_ports
       OR ports >= $ports AND low_ports >= $low_ports
    GROUP BY interface_id, only_addr, server_addr, server_vpc_id, protocol, expected_by
)
SELECT
    CASE WHEN accepted_ports > 0 THEN 'high' ELSE 'medium' END AS severity,
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
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a host') || COALESCE(' in ' || subnet_id, '')
    || ' tried ' || ports || ' ' || protocol_name(protocol) || ' ports of ' || dst_addr || COALESCE(' in ' || dst_subnet_id, '')
    || ' within ' || $bucket_secs || ' seconds, ' || probed || ' of them with a probe and no more; '
    || CASE WHEN accepted_ports = 0 THEN 'all were refused' ELSE accepted_ports || ' were let in' END AS reason,
    named_struct(
        'ports', ports,
        'probed', probed,
        'low_ports', low_ports,
        'accepted_ports', accepted_ports,
        'buckets', buckets,
        'bucket_secs', $bucket_secs
    ) AS evidence,
    expected_by
FROM found
ORDER BY first_seen, interface_id, src_addr, dst_addr, protocol
