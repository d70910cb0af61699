-- title: First connection to a network
-- group: egress
-- severity: low
-- attack: T1071
-- parameters:
--   baseline_days = 14     days before the window in which the subnet may have called the same network; the shorter of the usual 14 to 30
--   prefix_bits = 24       an IPv4 destination that is not AWS's counts as its block of this length; what is announced to the internet at least
--   prefix_bits6 = 48      the same in IPv6; what one site is given (RFC 6177)
--   max_prevalence = 0.5   share of all calling hosts from which a destination that several call is a roll-out and no finding; RITA's measure of prevalence
-- finding_key: vpc_id subnet_id|src_addr evidence.destination dst_port protocol
-- description: An accepted connection from a subnet to a network that it did not call on that port in the baseline days: an AWS service in a
--   region, else the block that the address is in, so that CDNs that move between addresses of a block do not count each time. Destinations that
--   half of all calling hosts took up at once are left out.
-- false_positives: Every new supplier, once. `egress_unexpected` tells the single addresses, and rates them by the subnet.
WITH remotes AS (
    SELECT
        client_subnet_id AS subnet_id,
        CASE WHEN client_subnet_id IS NULL THEN client_addr END AS only_addr,
        client_interface_id,
        client_addr,
        server_addr,
        server_service,
        service_port,
        protocol,
        expected_by(
            'egress_first_seen_destination', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_class) AS client_class,
        COUNT(*) FILTER (WHERE "end" < $from) AS opened_before,
        COUNT(*) FILTER (WHERE "end" >= $from) AS flows,
        MIN(start) FILTER (WHERE "end" >= $from) AS first_seen,
        MAX("end") FILTER (WHERE "end" >= $from) AS last_seen,
        SUM(packets) FILTER (WHERE "end" >= $from) AS packets,
        SUM(bytes) FILTER (WHERE "end" >= $from) AS bytes
    FROM connections
    WHERE action = 'ACCEPT'
      AND opened
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope IN ('internet', 'aws_service')
      AND start < $to
      AND "end" >= $baseline_from
    GROUP BY client_subnet_id, client_interface_id, client_addr, server_addr, server_service, service_port, protocol, expected_by
),
named AS (
    SELECT
        *,
        COALESCE(
            server_service || ' in ' || aws_region(server_addr),
            ip_prefix(server_addr, $prefix_bits, $prefix_bits6)
        ) AS destination
    FROM remotes
),
destinations AS (
    SELECT
        subnet_id,
        only_addr,
        destination,
        service_port,
        protocol,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(client_class) AS client_class,
        CASE WHEN MIN(client_interface_id) FILTER (WHERE flows > 0) = MAX(client_interface_id) FILTER (WHERE flows > 0)
            THEN MIN(client_interface_id) FILTER (WHERE flows > 0) END AS interface_id,
        CASE WHEN MIN(client_addr) FILTER (WHERE flows > 0) = MAX(client_addr) FILTER (WHERE flows > 0)
            THEN MIN(client_addr) FILTER (WHERE flows > 0) END AS src_addr,
        CASE WHEN MIN(server_addr) FILTER (WHERE flows > 0) = MAX(server_addr) FILTER (WHERE flows > 0)
            THEN MIN(server_addr) FILTER (WHERE flows > 0) END AS dst_addr,
        COUNT(DISTINCT client_addr) FILTER (WHERE flows > 0) AS clients,
        SUM(opened_before) AS opened_before,
        SUM(flows) AS flows,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes
    FROM named
    GROUP BY subnet_id, only_addr, destination, service_port, protocol, expected_by
),
-- What the policy expects was opened before all the same.
known AS (
    SELECT *, SUM(opened_before) OVER (PARTITION BY subnet_id, only_addr, destination, service_port, protocol) AS opened_in_baseline
    FROM destinations
),
prevalence AS (
    SELECT destination AS of_destination, COUNT(DISTINCT client_addr) AS callers
    FROM named
    WHERE flows > 0
    GROUP BY destination
),
hosts AS (
    SELECT COUNT(DISTINCT client_addr) AS hosts FROM named WHERE flows > 0
),
history AS (
    SELECT
        COALESCE(MIN(start) < $from, FALSE) AS has_baseline,
        GREATEST(MIN(start), $baseline_from) AS logged_from
    FROM flows
    WHERE start < $to
      AND "end" >= $baseline_from
)
SELECT
    CASE WHEN has_baseline THEN 'low' ELSE 'info' END AS severity,
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
    CASE WHEN clients = 1 THEN COALESCE(src_addr, interface_id, 'a client behind a NAT gateway') ELSE clients || ' clients' END
    || COALESCE(' in ' || subnet_id || ' (' || client_class || ')', '')
    || ' opened connections to ' || destination
    || CASE WHEN dst_addr IS NULL OR destination = dst_addr THEN '' ELSE ' (' || dst_addr || ')' END
    || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || CASE
        WHEN has_baseline THEN ', where the subnet had opened none since ' || CAST(CAST(logged_from AS DATE) AS VARCHAR)
        ELSE '; the logs hold nothing from before the window, so this may be nothing new'
    END AS reason,
    named_struct(
        'destination', destination,
        'clients', clients,
        'callers', callers,
        'hosts', hosts,
        'has_baseline', has_baseline
    ) AS evidence,
    expected_by
FROM known
JOIN prevalence ON of_destination = destination
CROSS JOIN hosts
CROSS JOIN history
WHERE flows > 0
  AND opened_in_baseline = 0
  AND (callers = 1 OR callers < $max_prevalence * hosts)
ORDER BY first_seen, subnet_id, destination, service_port, protocol
