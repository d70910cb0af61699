-- Connections that an instance opened to the internet and that its subnet had not opened in the baseline days.
-- Less than flowscout does: a NAT gateway's records are left out, not joined to those of the instances behind it; a connection is
-- counted where the instance's own interface recorded it and nowhere else; no policy, no routes.
WITH recent AS (
    SELECT
        flows.start,
        flows."end",
        flows.packets,
        flows.bytes,
        flows.protocol,
        interfaces.interface_id,
        interfaces.subnet_id,
        interfaces.vpc_id,
        interfaces.address,
        flows.srcaddr = interfaces.address AS is_outbound,
        CASE WHEN is_outbound THEN flows.dstaddr ELSE flows.srcaddr END AS remote,
        CASE WHEN is_outbound THEN flows.dstport ELSE flows.srcport END AS remote_port,
        CASE WHEN is_outbound THEN flows.srcport ELSE flows.dstport END AS own_port
    FROM flows
    JOIN interfaces ON interfaces.interface_id = flows.interface_id
    WHERE flows.action = 'ACCEPT'
      AND interfaces.kind <> 'nat_gateway'
      AND flows.start < getvariable('to')::TIMESTAMPTZ
      AND flows."end" >= getvariable('baseline_from')::TIMESTAMPTZ
      AND flows.date >= getvariable('baseline_from')::TIMESTAMPTZ::DATE - 1
      AND opens(own_port, remote_port)
),
-- Each address once: there are few of them, and many flows.
remotes AS (
    SELECT remote, address_number(remote) AS number FROM (SELECT DISTINCT remote FROM recent)
),
internet AS (
    SELECT remotes.remote
    FROM remotes
    ASOF LEFT JOIN aws_ranges ON remotes.number >= aws_ranges.first
    WHERE NOT EXISTS (FROM vpcs WHERE remotes.number BETWEEN vpcs.first AND vpcs.last)
      -- EC2's ranges are other customers' machines.
      AND (aws_ranges.last IS NULL OR remotes.number > aws_ranges.last OR aws_ranges.service = 'EC2')
),
pairs AS (
    SELECT
        interface_id,
        subnet_id,
        MIN(vpc_id) AS vpc_id,
        MIN(address) AS src_addr,
        remote AS dst_addr,
        remote_port AS dst_port,
        protocol,
        COUNT(*) FILTER (WHERE is_outbound AND "end" < getvariable('from')::TIMESTAMPTZ) AS opened_before,
        COUNT(*) FILTER (WHERE is_outbound AND "end" >= getvariable('from')::TIMESTAMPTZ) AS flows,
        MIN(start) FILTER (WHERE is_outbound AND "end" >= getvariable('from')::TIMESTAMPTZ) AS first_seen,
        MAX("end") FILTER (WHERE is_outbound AND "end" >= getvariable('from')::TIMESTAMPTZ) AS last_seen,
        SUM(packets) FILTER (WHERE is_outbound AND "end" >= getvariable('from')::TIMESTAMPTZ) AS packets,
        SUM(bytes) FILTER (WHERE is_outbound AND "end" >= getvariable('from')::TIMESTAMPTZ) AS bytes,
        SUM(packets) FILTER (WHERE NOT is_outbound AND "end" >= getvariable('from')::TIMESTAMPTZ) AS reply_packets,
        SUM(bytes) FILTER (WHERE NOT is_outbound AND "end" >= getvariable('from')::TIMESTAMPTZ) AS reply_bytes
    FROM recent
    SEMI JOIN internet USING (remote)
    GROUP BY interface_id, subnet_id, remote, remote_port, protocol
)
SELECT *
FROM pairs
QUALIFY flows > 0
    AND SUM(opened_before) OVER (PARTITION BY subnet_id, dst_addr, dst_port, protocol) = 0
ORDER BY first_seen, interface_id, dst_addr, dst_port, protocol;
