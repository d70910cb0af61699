-- title: Brute force of a login
-- group: reconnaissance
-- severity: medium
-- attack: T1110
-- parameters:
--   ports = '21 22 23 3389 5900 5985 5986'   ports where people log in: GuardDuty's SSH, RDP and WinRM brute force, Splunk's clear-text logins; programs log in to databases all day
--   window_secs = 600        length of a bucket in seconds
--   min_connections = 30     short connections of a client to a server and port in a bucket
--   max_packets = 30         packets of the client up to which a connection is short: a few passwords
--   min_packets = 6          packets below which nobody tried to log in: the handshake and farewell of a health check take 4
-- finding_key: src_addr dst_addr dst_port protocol
-- description: Many short accepted connections of one client to one port that asks for a password. Connections are counted by the client's port, since one record is
--   not one connection. Worse where a long connection of the same client follows: it may have got in.
-- false_positives: Deployment tools and monitoring that log in often: add them to the policy. Health checks that only open and close are left out.
WITH tried AS (
    SELECT
        client_account_id,
        client_region,
        client_vpc_id,
        client_subnet_id,
        client_interface_id,
        client_addr,
        client_port,
        server_vpc_id,
        server_subnet_id,
        server_addr,
        service_port,
        protocol,
        expected_by(
            'login_brute_force', COALESCE(client_subnet_id, server_subnet_id), COALESCE(client_interface_id, server_interface_id),
            COALESCE(client_vpc_id, server_vpc_id), CASE WHEN client_subnet_id IS NULL THEN client_addr ELSE server_addr END,
            CASE WHEN client_subnet_id IS NULL THEN NULL ELSE server_subnet_id END, NULL, service_port, protocol, start
        ) AS expected_by,
        -- Of an address in a peer's VPC the one side says `peer` and the other `vpc`.
        MIN(client_scope) AS client_scope,
        MIN(to_unixtime(start)) / $window_secs AS bucket,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE action = 'ACCEPT'
      AND protocol = 6
      AND leg <> 'nat_outside'
      AND number_in($ports, service_port)
      AND start < $to
      AND "end" >= $from
    GROUP BY
        client_account_id, client_region, client_vpc_id, client_subnet_id, client_interface_id, client_addr, client_port,
        server_vpc_id, server_subnet_id, server_addr, service_port, protocol, expected_by
),
buckets AS (
    SELECT
        client_account_id,
        client_region,
        client_vpc_id,
        client_subnet_id,
        client_interface_id,
        client_addr,
        server_vpc_id,
        server_subnet_id,
        server_addr,
        service_port,
        protocol,
        expected_by,
        bucket,
        MIN(client_scope) AS client_scope,
        COUNT(*) FILTER (WHERE packets BETWEEN $min_packets AND $max_packets) AS short,
        COUNT(*) FILTER (WHERE packets > $max_packets) AS long,
        MAX(packets) AS longest,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM tried
    GROUP BY
        client_account_id, client_region, client_vpc_id, client_subnet_id, client_interface_id, client_addr,
        server_vpc_id, server_subnet_id, server_addr, service_port, protocol, expected_by, bucket
),
pairs AS (
    SELECT
        client_addr,
        server_addr,
        service_port,
        protocol,
        expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(COALESCE(client_vpc_id, server_vpc_id)) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        MIN(client_interface_id) AS interface_id,
        MIN(client_scope) AS client_scope,
        MIN(server_subnet_id) AS dst_subnet_id,
        MAX(short) AS most_at_once,
        SUM(short) AS short,
        -- Long connections of the first burst or later.
        SUM(long) AS long,
        MAX(longest) AS longest,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM (
        SELECT
            *,
            MIN(CASE WHEN short >= $min_connections THEN bucket END)
                OVER (PARTITION BY client_addr, server_addr, service_port, protocol, expected_by) AS first_burst
        FROM buckets
    ) AS all_buckets
    WHERE bucket >= first_burst
    GROUP BY client_addr, server_addr, service_port, protocol, expected_by
)
SELECT
    CASE
        WHEN long > 0 AND client_scope = 'internet' THEN 'critical'
        WHEN long > 0 OR client_scope <> 'internet' THEN 'high'
        ELSE 'medium'
    END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    client_addr AS src_addr,
    server_addr AS dst_addr,
    dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    client_addr || ' (' || COALESCE(client_scope, 'unknown') || ') opened ' || short || ' short connections to ' || server_addr || ' port '
    || service_port || '/' || protocol_name(protocol) || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ', up to ' || most_at_once || ' in ' || $window_secs || ' s'
    || CASE WHEN long > 0 THEN ', and ' || long || ' long with up to ' || longest || ' packets: it may have got in' ELSE '' END AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'client_scope', client_scope,
        'short_connections', short,
        'most_at_once', most_at_once,
        'long_connections', long,
        'longest_packets', longest
    ) AS evidence,
    expected_by
FROM pairs
ORDER BY first_seen, client_addr, server_addr, service_port
