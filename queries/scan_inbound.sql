-- title: Scan from the internet
-- group: reconnaissance
-- severity: info
-- attack: T1595.001 T1046
-- parameters:
--   window_secs = 3600   length of a bucket in seconds, the hour of Splunk's scan searches
--   min_hosts = 25       hosts of ours tried in a bucket, some of them refused
--   min_ports = 50       ports of one host tried in a bucket: Elastic's rule has 50 in a minute
-- finding_key: src_addr
-- description: One address of the internet that tries many hosts or ports of ours within an hour. What nobody let in is noise and rated info; what was let in on the
--   way is what matters, and the finding names it.
-- false_positives: Search engines of the internet such as Shodan and Censys, and scanners that one ordered: add their addresses to the policy. Clients of many public hosts that
--   are refused nowhere are left out.
WITH tries AS (
    SELECT
        client_addr,
        to_unixtime(start) / $window_secs AS bucket,
        server_addr,
        service_port,
        protocol,
        expected_by(
            'scan_inbound', server_subnet_id, server_interface_id, server_vpc_id, client_addr, NULL, NULL, service_port, protocol, start
        ) AS expected_by,
        MIN(server_vpc_id) AS vpc_id,
        MIN(server_subnet_id) AS subnet_id,
        MIN(server_interface_id) AS interface_id,
        COUNT(*) FILTER (WHERE opened) AS flows,
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
    GROUP BY client_addr, bucket, server_addr, service_port, protocol, expected_by
),
-- Counted host by host, not with DISTINCT: the clients of a public service are many.
hosts AS (
    SELECT
        client_addr,
        bucket,
        server_addr,
        expected_by,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        MIN(interface_id) AS interface_id,
        MIN(service_port) AS lowest_port,
        MAX(service_port) AS highest_port,
        MIN(protocol) AS lowest_protocol,
        MAX(protocol) AS highest_protocol,
        COUNT(*) AS ports,
        MIN(CASE WHEN accepted > 0 AND reply_packets > 0 THEN service_port END) AS answered_port,
        SUM(flows) AS flows,
        SUM(accepted) AS accepted,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM tries
    WHERE flows > 0
    GROUP BY client_addr, bucket, server_addr, expected_by
),
buckets AS (
    SELECT
        client_addr,
        bucket,
        expected_by,
        MIN(vpc_id) AS first_vpc,
        MAX(vpc_id) AS last_vpc,
        MIN(subnet_id) AS first_subnet,
        MAX(subnet_id) AS last_subnet,
        MIN(interface_id) AS first_interface,
        MAX(interface_id) AS last_interface,
        MIN(server_addr) AS first_server,
        MAX(server_addr) AS last_server,
        MIN(lowest_port) AS lowest_port,
        MAX(highest_port) AS highest_port,
        MIN(lowest_protocol) AS lowest_protocol,
        MAX(highest_protocol) AS highest_protocol,
        COUNT(*) AS hosts,
        MAX(ports) AS ports,
        MIN(CASE WHEN answered_port IS NOT NULL THEN server_addr || ' port ' || answered_port END) AS answered,
        SUM(flows) AS flows,
        SUM(accepted) AS accepted,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM hosts
    GROUP BY client_addr, bucket, expected_by
),
scanners AS (
    SELECT
        client_addr,
        expected_by,
        CASE WHEN MIN(first_vpc) = MAX(last_vpc) THEN MIN(first_vpc) END AS vpc_id,
        CASE WHEN MIN(first_subnet) = MAX(last_subnet) THEN MIN(first_subnet) END AS subnet_id,
        CASE WHEN MIN(first_interface) = MAX(last_interface) THEN MIN(first_interface) END AS interface_id,
        CASE WHEN MIN(first_server) = MAX(last_server) THEN MIN(first_server) END AS dst_addr,
        CASE WHEN MIN(lowest_port) = MAX(highest_port) THEN MIN(lowest_port) END AS dst_port,
        CASE WHEN MIN(lowest_protocol) = MAX(highest_protocol) THEN MIN(lowest_protocol) END AS protocol,
        COUNT(*) AS periods,
        MAX(hosts) AS hosts,
        MAX(ports) AS ports,
        MIN(answered) AS answered,
        SUM(flows) AS flows,
        SUM(accepted) AS accepted,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM buckets
    WHERE (hosts >= $min_hosts AND accepted < flows)
       OR ports >= $min_ports
    GROUP BY client_addr, expected_by
)
SELECT
    CASE
        WHEN answered IS NOT NULL THEN 'medium'
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
    client_addr || ' tried up to ' || hosts || CASE WHEN hosts = 1 THEN ' host' ELSE ' hosts' END || ' of ours and up to '
    || ports || CASE WHEN ports = 1 THEN ' port' ELSE ' ports' END || ' of one in ' || $window_secs || ' s; '
    || CASE
        WHEN accepted = 0 THEN 'all ' || flows || ' attempts were refused'
        WHEN answered IS NULL THEN accepted || ' of ' || flows || ' attempts were let in, and nobody answered'
        ELSE accepted || ' of ' || flows || ' attempts were let in, and ' || answered || ' answered'
    END AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'hosts', hosts,
        'ports', ports,
        'periods', periods,
        'accepted', accepted,
        'answered', answered
    ) AS evidence,
    expected_by
FROM scanners
ORDER BY first_seen, client_addr
