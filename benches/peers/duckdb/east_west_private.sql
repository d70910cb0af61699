-- Accepted connections from one private subnet to another, also across the VPCs.
-- Less than flowscout does: a record counts where the sender's own interface made it and nowhere else, and a refusal at the server's
-- side is looked for by address and port in the whole window; no policy.
WITH recent AS (
    SELECT
        flows.start,
        flows."end",
        flows.packets,
        flows.bytes,
        flows.protocol,
        flows.srcaddr,
        flows.dstaddr,
        flows.srcport,
        flows.dstport,
        interfaces.interface_id,
        interfaces.subnet_id,
        opens(flows.srcport, flows.dstport) AS is_opening
    FROM flows
    JOIN interfaces ON interfaces.interface_id = flows.interface_id AND interfaces.address = flows.srcaddr
    WHERE flows.action = 'ACCEPT'
      AND flows.start < getvariable('to')::TIMESTAMPTZ
      AND flows."end" >= getvariable('from')::TIMESTAMPTZ
      AND flows.date >= getvariable('from')::TIMESTAMPTZ::DATE - 1
      AND (is_opening OR opens(flows.dstport, flows.srcport))
),
refused AS (
    SELECT DISTINCT flows.srcaddr, flows.dstaddr, flows.srcport, flows.dstport, flows.protocol
    FROM flows
    JOIN interfaces ON interfaces.interface_id = flows.interface_id AND interfaces.address = flows.dstaddr
    WHERE flows.action = 'REJECT'
      AND flows.start < getvariable('to')::TIMESTAMPTZ
      AND flows."end" >= getvariable('from')::TIMESTAMPTZ
      AND flows.date >= getvariable('from')::TIMESTAMPTZ::DATE - 1
),
placed AS (
    SELECT addresses.address, subnets.subnet_id, subnets.vpc_id, subnets.class
    FROM (SELECT address, address_number(address) AS number FROM (SELECT DISTINCT dstaddr AS address FROM recent)) AS addresses
    JOIN subnets ON addresses.number BETWEEN subnets.first AND subnets.last
    WHERE subnets.class <> 'public'
),
-- In the order of client and server, whichever way the packets of the record went.
connections AS (
    SELECT
        recent.*,
        CASE WHEN is_opening THEN here.subnet_id ELSE there.subnet_id END AS client_subnet_id,
        CASE WHEN is_opening THEN here.vpc_id ELSE there.vpc_id END AS client_vpc_id,
        CASE WHEN is_opening THEN there.subnet_id ELSE here.subnet_id END AS server_subnet_id,
        CASE WHEN is_opening THEN there.vpc_id ELSE here.vpc_id END AS server_vpc_id,
        CASE WHEN is_opening THEN recent.srcaddr ELSE recent.dstaddr END AS client_addr,
        CASE WHEN is_opening THEN recent.dstaddr ELSE recent.srcaddr END AS server_addr,
        CASE WHEN is_opening THEN recent.dstport ELSE recent.srcport END AS service_port
    FROM recent
    JOIN subnets AS here ON here.subnet_id = recent.subnet_id AND here.class <> 'public'
    JOIN placed AS there ON there.address = recent.dstaddr AND there.subnet_id <> here.subnet_id
    ANTI JOIN refused
        ON refused.srcaddr = recent.srcaddr
        AND refused.dstaddr = recent.dstaddr
        AND refused.srcport = recent.srcport
        AND refused.dstport = recent.dstport
        AND refused.protocol = recent.protocol
)
SELECT
    client_subnet_id AS subnet_id,
    server_subnet_id AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    MIN(client_vpc_id) AS vpc_id,
    MIN(server_vpc_id) AS dst_vpc_id,
    COUNT(DISTINCT client_addr) FILTER (WHERE is_opening) AS clients,
    COUNT(DISTINCT server_addr) FILTER (WHERE is_opening) AS servers,
    MIN(client_addr) FILTER (WHERE is_opening) AS first_client,
    MIN(server_addr) FILTER (WHERE is_opening) AS first_server,
    COUNT(*) FILTER (WHERE is_opening) AS flows,
    MIN(start) FILTER (WHERE is_opening) AS first_seen,
    MAX("end") FILTER (WHERE is_opening) AS last_seen,
    SUM(packets) FILTER (WHERE is_opening) AS packets,
    SUM(bytes) FILTER (WHERE is_opening) AS bytes,
    SUM(packets) FILTER (WHERE NOT is_opening) AS reply_packets,
    SUM(bytes) FILTER (WHERE NOT is_opening) AS reply_bytes
FROM connections
GROUP BY client_subnet_id, server_subnet_id, service_port, protocol
HAVING COUNT(*) FILTER (WHERE is_opening) > 0
ORDER BY first_seen, subnet_id, dst_subnet_id, dst_port, protocol;
