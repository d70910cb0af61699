-- title: Flood of small packets
-- group: exfiltration
-- severity: high
-- attack: T1498
-- parameters:
--   packets = 10000              packets of one record; the threshold of Tailpipe's benchmark
--   packets_per_sec = 1000       packets a second within the record
--   max_bytes_per_packet = 200   bytes of a packet on average above which it is an upload
-- finding_key: vpc_id interface_id|src_addr dst_addr protocol
-- description: Accepted packets from a host of ours to one address of the internet, many a second and small: it takes part in an attack, or is
--   abused to amplify one. Replies of a server that was asked count where nobody can tell who began. One finding for each host, address and
--   protocol.
-- false_positives: Load tests, game and voice servers: add them to the policy.
WITH rates AS (
    SELECT
        *,
        packets / GREATEST(to_unixtime("end") - to_unixtime(start), 1) AS packets_per_sec,
        expected_by(
            'flood_outbound', src_subnet_id, src_interface_id, src_vpc_id,
            dst_addr, NULL, dst_service, dst_port, protocol, start
        ) AS expected_by
    FROM (
        SELECT
            start, "end", packets, bytes, protocol, dst_addr, dst_port, dst_service, account_id, region, src_vpc_id,
            CASE WHEN leg = 'nat_outside' THEN NULL ELSE src_interface_id END AS src_interface_id,
            CASE WHEN leg = 'nat_outside' THEN NULL ELSE src_subnet_id END AS src_subnet_id,
            CASE WHEN leg = 'nat_outside' THEN NULL ELSE src_addr END AS src_addr
        FROM traffic
        WHERE counted
          AND action = 'ACCEPT'
          AND initiator IN ('src', 'unknown')
          AND src_scope IN ('vpc', 'peer', 'transit')
          AND dst_scope = 'internet'
          AND packets >= $packets
          AND start < $to
          AND "end" >= $from
    ) AS busy
),
found AS (
    SELECT
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(src_vpc_id) AS vpc_id,
        MIN(src_subnet_id) AS subnet_id,
        src_interface_id AS interface_id,
        CASE WHEN MIN(src_addr) = MAX(src_addr) THEN MIN(src_addr) END AS src_addr,
        dst_addr,
        CASE WHEN MIN(dst_port) = MAX(dst_port) THEN NULLIF(MIN(dst_port), 0) END AS dst_port,
        protocol,
        expected_by,
        MAX(packets_per_sec) AS packets_per_sec,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen,
        COUNT(*) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes
    FROM rates
    WHERE packets_per_sec >= $packets_per_sec
      AND bytes <= $max_bytes_per_packet * packets
    GROUP BY src_interface_id, CASE WHEN src_interface_id IS NULL THEN src_addr END, dst_addr, protocol, expected_by
)
SELECT
    'high' AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    dst_addr,
    dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a client behind a NAT gateway') || COALESCE(' in ' || subnet_id, '')
    || ' sent ' || packets || ' ' || protocol_name(protocol) || ' packets to ' || dst_addr || COALESCE(' port ' || dst_port, '')
    || ', up to ' || packets_per_sec || ' a second and ' || (bytes / packets) || ' bytes each on average' AS reason,
    named_struct(
        'packets_per_sec', packets_per_sec,
        'bytes_per_packet', bytes / packets
    ) AS evidence,
    expected_by
FROM found
ORDER BY first_seen, interface_id, src_addr, dst_addr, protocol
