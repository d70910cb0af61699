-- title: Not encrypted in transit
-- group: operations
-- severity: medium
-- attack: T1040
-- fields:
--   encryption_status = whether a packet was encrypted on its way, by Nitro or by the application
-- finding_key: vpc_id subnet_id|interface_id dst_port protocol
-- description: Accepted traffic that AWS itself records as not encrypted (encryption-status 0), by neither the Nitro hardware nor the application. It is filled where VPC Encryption
--   Controls monitor the VPC.
-- false_positives: What is encrypted by the application on another port than 443: AWS can't see that. Traffic to the internet, which Nitro does not encrypt.
WITH sent AS (
    SELECT
        account_id,
        region,
        vpc_id,
        subnet_id,
        interface_id,
        COALESCE(pkt_srcaddr, srcaddr) AS src_addr,
        COALESCE(pkt_dstaddr, dstaddr) AS dst_addr,
        -- The lower port is the service's, most of the time.
        LEAST(srcport, dstport) AS service_port,
        protocol,
        pkt_dst_aws_service,
        COUNT(*) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM flows
    WHERE encryption_status = 0
      AND action = 'ACCEPT'
      -- The sender's record: the receiver has the same packets.
      AND COALESCE(flow_direction, 'egress') = 'egress'
      AND start < $to
      AND "end" >= $from
    GROUP BY
        account_id, region, vpc_id, subnet_id, interface_id, COALESCE(pkt_srcaddr, srcaddr), COALESCE(pkt_dstaddr, dstaddr),
        LEAST(srcport, dstport), protocol, pkt_dst_aws_service
),
placed AS (
    SELECT
        sent.account_id,
        COALESCE(sent.region, interfaces.region) AS region,
        COALESCE(sent.vpc_id, interfaces.vpc_id) AS vpc_id,
        COALESCE(sent.subnet_id, interfaces.subnet_id) AS subnet_id,
        sent.interface_id,
        src_addr,
        dst_addr,
        service_port,
        protocol,
        flows,
        packets,
        bytes,
        first_seen,
        last_seen,
        expected_by(
            'unencrypted_in_transit', COALESCE(sent.subnet_id, interfaces.subnet_id), sent.interface_id, COALESCE(sent.vpc_id, interfaces.vpc_id),
            dst_addr, NULL, pkt_dst_aws_service, service_port, protocol, first_seen
        ) AS expected_by
    FROM sent
    LEFT JOIN interfaces ON interfaces.interface_id = sent.interface_id AND interfaces.snapshot_at = snapshot_of($to)
),
services AS (
    SELECT
        vpc_id,
        COALESCE(subnet_id, interface_id) AS place,
        service_port,
        protocol,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(subnet_id) AS subnet_id,
        CASE WHEN MIN(interface_id) = MAX(interface_id) THEN MIN(interface_id) END AS interface_id,
        CASE WHEN MIN(src_addr) = MAX(src_addr) THEN MIN(src_addr) END AS src_addr,
        CASE WHEN MIN(dst_addr) = MAX(dst_addr) THEN MIN(dst_addr) END AS dst_addr,
        COUNT(DISTINCT src_addr) AS senders,
        COUNT(DISTINCT dst_addr) AS receivers,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM placed
    GROUP BY vpc_id, COALESCE(subnet_id, interface_id), service_port, protocol, expected_by
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
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, senders || ' senders') || ' in ' || COALESCE(place, 'an unknown subnet') || ' sent ' || bytes || ' bytes to '
    || COALESCE(dst_addr, receivers || ' receivers') || CASE WHEN protocol IN (6, 17) THEN ', service port ' || service_port ELSE '' END
    || '/' || protocol_name(protocol) || ', that nothing encrypted' AS reason,
    named_struct('senders', senders, 'receivers', receivers) AS evidence,
    expected_by
FROM services
ORDER BY bytes DESC, vpc_id, place, service_port
