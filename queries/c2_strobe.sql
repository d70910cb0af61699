-- title: A connection a second
-- group: exfiltration
-- severity: medium
-- attack: T1071
-- parameters:
--   bucket_secs = 3600   length of a bucket in seconds
--   connections = 3600   connections in a bucket from which it is a strobe: RITA's 86,400 a day, by the hour
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_port protocol
-- description: A host that opened a connection a second to one address of the internet for an hour: an implant that can't reach its master, a
--   broken client, a flood. Where the logs have flags, records without SYN are not new connections.
-- false_positives: Busy proxies and crawlers, load tests. A record can hide several connections from one port, so that the number is the least that
--   there were.
WITH buckets AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        server_addr,
        service_port,
        protocol,
        to_unixtime(start) / $bucket_secs AS bucket,
        expected_by(
            'c2_strobe', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        MIN(client_addr) AS first_client,
        MAX(client_addr) AS last_client,
        COUNT(*) FILTER (WHERE opened AND (tcp_flags IS NULL OR (tcp_flags & 2) = 2)) AS connections,
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
      AND server_scope = 'internet'
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, server_addr, service_port, protocol,
        to_unixtime(start) / $bucket_secs, expected_by
),
found AS (
    SELECT
        interface_id,
        server_addr,
        service_port,
        protocol,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        CASE WHEN MIN(first_client) = MAX(last_client) THEN MIN(first_client) END AS src_addr,
        MAX(connections) AS connections,
        COUNT(*) AS buckets,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM buckets
    WHERE connections >= $connections
    GROUP BY interface_id, only_addr, server_addr, service_port, protocol, expected_by
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
    server_addr AS dst_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a client behind a NAT gateway')
    || COALESCE(' in a subnet of class ' || client_class, '')
    || ' opened ' || connections || ' connections to ' || server_addr || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ' within ' || $bucket_secs || ' seconds'
    || CASE WHEN buckets > 1 THEN ', and as many in ' || (buckets - 1) || ' more such spans' ELSE '' END
    || CASE WHEN reply_packets = 0 THEN '; nothing came back' ELSE '; it was answered' END AS reason,
    named_struct(
        'connections', connections,
        'buckets', buckets,
        'bucket_secs', $bucket_secs,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
ORDER BY first_seen, interface_id, src_addr, server_addr, service_port
