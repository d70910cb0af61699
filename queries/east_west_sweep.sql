-- title: One port of many hosts inside
-- group: east_west
-- severity: high
-- attack: T1018 T1046
-- parameters:
--   bucket_secs = 3600   length of a bucket in seconds
--   hosts = 250          hosts in a bucket from which it is a sweep: Splunk's rule of internal horizontal scans
--   admin_hosts = 100    the same on ports of administration: Elastic's rule, which counts within nine minutes
--   admin_ports = '21-23 25 139 445 3389 5985-5986'   those ports: FTP, SSH, telnet, SMTP, SMB, RDP, WinRM
-- finding_key: vpc_id interface_id|src_addr dst_port protocol
-- description: A host of ours that tried very many of our own hosts on one port within an hour, accepted or refused: it looks for the next machine.
--   One finding for each host and port, with the worst hour as evidence.
-- false_positives: Vulnerability scanners, service discovery, monitoring: add them to the policy. Pods behind a node's address count as the node
--   where the logs lack pkt-srcaddr.
WITH tried AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        server_addr,
        service_port,
        protocol,
        to_unixtime(start) / $bucket_secs AS bucket,
        expected_by(
            'east_west_sweep', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
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
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, server_addr, service_port, protocol,
        to_unixtime(start) / $bucket_secs, expected_by
),
buckets AS (
    SELECT
        interface_id,
        only_addr,
        service_port,
        protocol,
        bucket,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        MIN(first_client) AS first_client,
        MAX(last_client) AS last_client,
        COUNT(*) AS hosts,
        COUNT(*) FILTER (WHERE is_accepted) AS accepting,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes
    FROM tried
    GROUP BY interface_id, only_addr, service_port, protocol, bucket, expected_by
),
found AS (
    SELECT
        interface_id,
        service_port,
        protocol,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        CASE WHEN MIN(first_client) = MAX(last_client) THEN MIN(first_client) END AS src_addr,
        MAX(hosts) AS hosts,
        MAX(accepting) AS accepting,
        COUNT(*) AS buckets,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes
    FROM buckets
    WHERE hosts >= CASE WHEN number_in($admin_ports, service_port) THEN $admin_hosts ELSE $hosts END
    GROUP BY interface_id, only_addr, service_port, protocol, expected_by
)
SELECT
    CASE WHEN accepting > 0 THEN 'high' ELSE 'medium' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a host') || COALESCE(' in ' || subnet_id, '')
    || ' tried ' || hosts || ' hosts of ours on port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ' within ' || $bucket_secs || ' seconds; '
    || CASE WHEN accepting = 0 THEN 'all refused it' ELSE accepting || ' let it in' END AS reason,
    named_struct(
        'hosts', hosts,
        'accepting', accepting,
        'buckets', buckets,
        'bucket_secs', $bucket_secs
    ) AS evidence,
    expected_by
FROM found
ORDER BY first_seen, interface_id, src_addr, service_port, protocol
