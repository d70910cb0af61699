-- title: Scan from the internet
-- group: reconnaissance
-- severity: info
-- attack: T1595.001 T1046
-- parameters:
--   window_secs = 3600   length of a bucket in seconds, the hour of Splunk's scan searches
--   min_hosts = 25       hosts of ours tried in a bucket, some of them refused
--   min_ports = 50       ports tried in a bucket: Elastic's rule has 50 in a minute
-- finding_key: src_addr
-- description: One address of the internet that tries many hosts or ports of ours within an hour. What nobody let in is noise and rated info; what was let in on the
--   way is what matters, and the finding names it.
-- false_positives: Search engines of the internet such as Shodan and Censys, and scanners that one ordered: add their addresses to the policy. Clients of many public hosts that
--   are refused nowhere are left out.
WITH tries AS (
    SELECT
        client_addr,
        server_vpc_id,
        server_subnet_id,
        server_interface_id,
        server_addr,
        service_port,
        protocol,
        expected_by(
            'scan_inbound', server_subnet_id, server_interface_id, server_vpc_id, client_addr, NULL, NULL, service_port, protocol, start
        ) AS expected_by,
        to_unixtime(start) / $window_secs AS bucket,
        COUNT(*) FILTER (WHERE opened) AS flows,
        COUNT(*) FILTER (WHERE opened AND action = 'REJECT') AS refused,
        COUNT(*) FILTER (WHERE opened AND action = 'ACCEPT') AS accepted,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE client_scope = 'internet'
      -- What a NAT gateway merely absorbs reaches nobody.
      AND leg <> 'nat_outside'
      AND NOT late
      AND start < $to
      AND "end" >= $from
    GROUP BY client_addr, server_vpc_id, server_subnet_id, server_interface_id, server_addr, service_port, protocol, expected_by, bucket
),
buckets AS (
    SELECT client_addr, expected_by, bucket, COUNT(DISTINCT server_addr) AS hosts, COUNT(DISTINCT service_port) AS ports, SUM(refused) AS refused
    FROM tries
    WHERE flows > 0
    GROUP BY client_addr, expected_by, bucket
),
scanners AS (
    SELECT client_addr, COALESCE(expected_by, '') AS expected, MAX(hosts) AS hosts_at_once, MAX(ports) AS ports_at_once
    FROM buckets
    WHERE (hosts >= $min_hosts AND refused > 0) OR ports >= $min_ports
    GROUP BY client_addr, expected
),
summed AS (
    SELECT
        tries.client_addr,
        expected_by,
        hosts_at_once,
        ports_at_once,
        CASE WHEN MIN(server_vpc_id) = MAX(server_vpc_id) THEN MIN(server_vpc_id) END AS vpc_id,
        CASE WHEN MIN(server_subnet_id) = MAX(server_subnet_id) THEN MIN(server_subnet_id) END AS subnet_id,
        CASE WHEN MIN(server_interface_id) = MAX(server_interface_id) THEN MIN(server_interface_id) END AS interface_id,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        CASE WHEN MIN(service_port) = MAX(service_port) THEN MIN(service_port) END AS dst_port,
        CASE WHEN MIN(protocol) = MAX(protocol) THEN MIN(protocol) END AS protocol,
        COUNT(DISTINCT server_addr) AS hosts,
        COUNT(DISTINCT service_port) AS ports,
        SUM(flows) AS flows,
        SUM(accepted) AS accepted,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        array_slice(
            array_sort(array_agg(DISTINCT server_addr || ' ' || service_port) FILTER (WHERE accepted > 0 AND reply_packets > 0)), 1, 10
        ) AS answered
    FROM tries
    JOIN scanners ON scanners.client_addr = tries.client_addr AND scanners.expected = COALESCE(tries.expected_by, '')
    GROUP BY tries.client_addr, expected_by, hosts_at_once, ports_at_once
)
SELECT
    CASE
        WHEN reply_packets > 0 AND accepted > 0 THEN 'medium'
        WHEN accepted > 0 THEN 'low'
        ELSE 'info'
    END AS severity,
    first_seen,
    last_seen,
    vpc_id,
    subnet_id,
    interface_id,
    client_addr AS src_addr,
    dst_addr,
    subnet_id AS dst_subnet_id,
    dst_port,
    protocol,
    flows,
    packets,
    bytes,
    client_addr || ' tried ' || hosts || CASE WHEN hosts = 1 THEN ' host' ELSE ' hosts' END || ' of ours on '
    || ports || CASE WHEN ports = 1 THEN ' port' ELSE ' ports' END
    || ', up to ' || hosts_at_once || ' hosts and ' || ports_at_once || ' ports in ' || $window_secs || ' s; '
    || CASE
        WHEN accepted = 0 THEN 'all ' || flows || ' attempts were refused'
        WHEN reply_packets = 0 THEN accepted || ' of ' || flows || ' attempts were let in, and nobody answered'
        ELSE accepted || ' of ' || flows || ' attempts were let in and answered, such as ' || COALESCE(answered[1], '-')
    END AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'hosts', hosts,
        'ports', ports,
        'hosts_at_once', hosts_at_once,
        'ports_at_once', ports_at_once,
        'accepted', accepted,
        'answered', answered
    ) AS evidence,
    expected_by
FROM summed
ORDER BY first_seen, client_addr
