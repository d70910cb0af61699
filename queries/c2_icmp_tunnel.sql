-- title: ICMP that is no ping
-- group: exfiltration
-- severity: medium
-- attack: T1095
-- parameters:
--   bucket_secs = 3600           length of a bucket in seconds
--   bytes_per_packet = 1000      bytes of a packet on average above which it is no ping: Splunk's rule of large ICMP packets
--   min_packets = 50             packets in a bucket that an average needs: tests of path MTU send a few large ones
--   bytes_per_bucket = 1000000   bytes both ways in a bucket above which it is a tunnel whatever the size of its packets; a ping a second is some 600 kB an hour
-- finding_key: vpc_id interface_id|src_addr dst_addr protocol
-- description: ICMP or ICMPv6 between a host of ours and one address of the internet, in large packets or in quantity: a tunnel in echo requests.
--   Both directions together; flow logs know neither type nor code, so nobody can tell who began. One finding for each host and address, with the
--   worst hour as evidence.
-- false_positives: Monitoring that pings several times a second, tests with jumbo frames: add them to the policy.
WITH buckets AS (
    SELECT
        interface_id,
        remote,
        protocol,
        to_unixtime(start) / $bucket_secs AS bucket,
        expected_by(
            'c2_icmp_tunnel', subnet_id, interface_id, vpc_id, remote, NULL, service, NULL, protocol, start
        ) AS expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        MIN(local) AS first_local,
        MAX(local) AS last_local,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen,
        COUNT(*) FILTER (WHERE sent) AS flows,
        SUM(CASE WHEN sent THEN packets ELSE 0 END) AS packets,
        SUM(CASE WHEN sent THEN bytes ELSE 0 END) AS bytes,
        SUM(CASE WHEN sent THEN 0 ELSE packets END) AS reply_packets,
        SUM(CASE WHEN sent THEN 0 ELSE bytes END) AS reply_bytes
    FROM (
        SELECT
            start, "end", packets, bytes, protocol, account_id, region,
            dst_scope = 'internet' AS sent,
            CASE WHEN dst_scope = 'internet' THEN dst_addr ELSE src_addr END AS remote,
            CASE WHEN dst_scope = 'internet' THEN dst_service ELSE src_service END AS service,
            CASE WHEN dst_scope = 'internet' THEN src_addr ELSE dst_addr END AS local,
            CASE WHEN dst_scope = 'internet' THEN src_interface_id ELSE dst_interface_id END AS interface_id,
            CASE WHEN dst_scope = 'internet' THEN src_subnet_id ELSE dst_subnet_id END AS subnet_id,
            CASE WHEN dst_scope = 'internet' THEN src_vpc_id ELSE dst_vpc_id END AS vpc_id
        FROM traffic
        WHERE counted
          AND action = 'ACCEPT'
          AND (src_scope = 'internet' OR dst_scope = 'internet')
          AND protocol IN (1, 58)
          AND start < $to
          AND "end" >= $from
    ) AS crossing
    GROUP BY interface_id, CASE WHEN interface_id IS NULL THEN local END, remote, protocol,
        to_unixtime(start) / $bucket_secs, expected_by
),
found AS (
    SELECT
        interface_id,
        remote,
        protocol,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        CASE WHEN MIN(first_local) = MAX(last_local) THEN MIN(first_local) END AS src_addr,
        COUNT(*) AS buckets,
        MAX(bytes + reply_bytes) AS worst_bytes,
        MAX((bytes + reply_bytes) / (packets + reply_packets)) AS bytes_per_packet,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM buckets
    WHERE packets + reply_packets > 0
      AND (
        bytes + reply_bytes > $bytes_per_bucket
        OR packets + reply_packets >= $min_packets AND bytes + reply_bytes > $bytes_per_packet * (packets + reply_packets)
      )
    GROUP BY interface_id, CASE WHEN interface_id IS NULL THEN first_local END, remote, protocol, expected_by
)
SELECT
    CASE WHEN reply_packets = 0 OR packets = 0 THEN 'low' ELSE 'medium' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    remote AS dst_addr,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a host') || COALESCE(' in ' || subnet_id, '')
    || ' exchanged ' || worst_bytes || ' bytes of ' || protocol_name(protocol) || ' with ' || remote
    || ' within ' || $bucket_secs || ' seconds, ' || bytes_per_packet || ' bytes a packet'
    || CASE
        WHEN reply_packets = 0 THEN '; nothing came back'
        WHEN packets = 0 THEN '; nothing was sent back'
        ELSE ', both ways'
    END AS reason,
    named_struct(
        'worst_bytes', worst_bytes,
        'bytes_per_packet', bytes_per_packet,
        'buckets', buckets,
        'bucket_secs', $bucket_secs,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
ORDER BY first_seen, interface_id, src_addr, remote, protocol
