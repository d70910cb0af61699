-- title: Refused by Block Public Access or encryption controls
-- group: rejects
-- severity: low
-- fields:
--   reject_reason = whether Block Public Access or encryption controls refused a packet
-- finding_key: vpc_id subnet_id evidence.layer evidence.direction
-- description: What neither a network ACL nor a security group refused: VPC Block Public Access turned it back at the internet gateway, or an endpoint that
--   takes encrypted traffic only refused it. AWS records no bytes for the former.
-- false_positives: Internet noise that Block Public Access is meant to turn back: rated info where it comes from outside.
WITH refused AS (
    SELECT
        account_id,
        region,
        vpc_id,
        subnet_id,
        interface_id,
        direction,
        refused_by,
        src_addr,
        dst_addr,
        service_port,
        protocol,
        expected_by(
            'reject_by_account_guard', subnet_id, interface_id, vpc_id,
            CASE WHEN direction = 'egress' THEN dst_addr ELSE src_addr END,
            CASE WHEN direction = 'egress' THEN dst_subnet_id ELSE src_subnet_id END,
            CASE WHEN direction = 'egress' THEN dst_service ELSE src_service END,
            service_port, protocol, start
        ) AS expected_by,
        COUNT(*) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM traffic
    WHERE counted
      AND action = 'REJECT'
      AND refused_by IN ('bpa', 'encryption_controls')
      AND start < $to
      AND "end" >= $from
    GROUP BY
        account_id, region, vpc_id, subnet_id, interface_id, direction, refused_by, src_addr, dst_addr, service_port, protocol, expected_by
),
places AS (
    SELECT
        vpc_id,
        subnet_id,
        direction,
        refused_by,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        CASE WHEN MIN(interface_id) = MAX(interface_id) THEN MIN(interface_id) END AS interface_id,
        CASE WHEN MIN(src_addr) = MAX(src_addr) THEN MIN(src_addr) END AS src_addr,
        CASE WHEN MIN(dst_addr) = MAX(dst_addr) THEN MIN(dst_addr) END AS dst_addr,
        CASE WHEN MIN(service_port) = MAX(service_port) THEN MIN(service_port) END AS dst_port,
        CASE WHEN MIN(protocol) = MAX(protocol) THEN MIN(protocol) END AS protocol,
        COUNT(DISTINCT src_addr) AS sources,
        COUNT(DISTINCT dst_addr) AS destinations,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM refused
    GROUP BY vpc_id, subnet_id, direction, refused_by, expected_by
)
SELECT
    CASE
        WHEN refused_by = 'encryption_controls' THEN 'medium'
        WHEN direction = 'egress' THEN 'low'
        ELSE 'info'
    END AS severity,
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
    CASE WHEN refused_by = 'bpa' THEN 'Block Public Access' ELSE 'encryption controls' END
    || ' refused ' || flows || ' flows ' || CASE WHEN direction = 'egress' THEN 'out of ' ELSE 'into ' END
    || COALESCE(subnet_id, interface_id, vpc_id, 'an unknown subnet')
    || ' from ' || COALESCE(src_addr, sources || ' addresses') || ' to ' || COALESCE(dst_addr, destinations || ' addresses')
    || CASE
        WHEN refused_by = 'encryption_controls' THEN ': the client does not encrypt'
        WHEN direction = 'egress' THEN ': one of ours has no way to the internet that is allowed'
        ELSE ': contained'
    END AS reason,
    named_struct('layer', refused_by, 'direction', direction, 'sources', sources, 'destinations', destinations) AS evidence,
    expected_by
FROM places
ORDER BY first_seen, vpc_id, subnet_id, refused_by, direction
