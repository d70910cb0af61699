-- title: Unusual protocol across the internet
-- group: exfiltration
-- severity: low
-- attack: T1095
-- parameters:
--   usual = '1 6 17 58'                   protocols that everybody uses: ICMP, TCP, UDP, ICMPv6; the rule of Tailpipe's benchmark
--   tunnels = '4 41 47 50 51 94 97 137'   protocols that carry another packet, for which a finding is medium: IP in IP, IPv6, GRE, ESP, AH, EtherIP, MPLS
-- finding_key: vpc_id interface_id|src_addr dst_addr protocol
-- description: Accepted packets between a host of ours and the internet of a protocol other than TCP, UDP and ICMP, both directions together. Rules
--   that name ports do not see them, and several carry a whole network. One finding for each host, address and protocol.
-- false_positives: VPN gateways with ESP or GRE, SCTP of telephony: add them to the policy, with their peers.
WITH found AS (
    SELECT
        interface_id,
        remote,
        protocol,
        expected_by(
            'exfiltration_unusual_protocol', subnet_id, interface_id, vpc_id, remote, NULL, service, NULL, protocol, start
        ) AS expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        CASE WHEN MIN(local) = MAX(local) THEN MIN(local) END AS src_addr,
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
          AND NOT number_in($usual, protocol)
          AND start < $to
          AND "end" >= $from
    ) AS crossing
    GROUP BY interface_id, CASE WHEN interface_id IS NULL THEN local END, remote, protocol, expected_by
)
SELECT
    CASE WHEN number_in($tunnels, protocol) AND packets > 0 THEN 'medium' ELSE 'low' END AS severity,
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
    || CASE WHEN packets > 0 AND reply_packets > 0 THEN ' exchanged ' WHEN packets > 0 THEN ' sent ' ELSE ' received ' END
    || (bytes + reply_bytes) || ' bytes of protocol ' || protocol
    || CASE WHEN protocol_name(protocol) = CAST(protocol AS VARCHAR) THEN '' ELSE ' (' || protocol_name(protocol) || ')' END
    || CASE WHEN packets > 0 AND reply_packets > 0 THEN ' with ' WHEN packets > 0 THEN ' to ' ELSE ' from ' END || remote
    || CASE WHEN number_in($tunnels, protocol) THEN ', which can carry a whole network' ELSE '' END AS reason,
    named_struct(
        'protocol_name', protocol_name(protocol),
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
ORDER BY first_seen, interface_id, src_addr, remote, protocol
