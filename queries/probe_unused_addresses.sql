-- title: Probe of addresses that nobody has
-- group: reconnaissance
-- severity: medium
-- attack: T1018 T1046
-- parameters:
--   window_secs = 3600   length of a bucket in seconds
--   min_addresses = 20   addresses without an interface that one client tries in a bucket
-- finding_key: src_addr evidence.server_vpc_id
-- description: One of ours opens connections to many addresses of a VPC that belong to no interface in the topology and never answer: who knows the network does not
--   try them. Only the client's own records show it. Needs the interfaces of that VPC.
-- false_positives: A snapshot of the topology that is older than the hosts tried, where those are down. Machines of a pool that is scaled down: add their clients to the policy.
WITH known_vpcs AS (
    SELECT DISTINCT vpc_id
    FROM interfaces
    WHERE vpc_id IS NOT NULL
),
tries AS (
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
        expected_by(
            'probe_unused_addresses', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, server_subnet_id, server_service, service_port, protocol, start
        ) AS expected_by,
        to_unixtime(start) / $window_secs AS bucket,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        MIN(start) AS first_seen,
        MAX("end") AS last_seen
    FROM connections
    WHERE server_scope IN ('vpc', 'peer')
      AND server_interface_id IS NULL
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND start < $to
      AND "end" >= $from
    GROUP BY
        client_account_id, client_region, client_vpc_id, client_subnet_id, client_interface_id, client_addr,
        server_vpc_id, server_subnet_id, server_addr, service_port, protocol, expected_by, bucket
),
-- Who answers once is there, whatever the topology says: a pod, or younger than the snapshot.
unanswered AS (
    SELECT tries.*
    FROM tries
    JOIN known_vpcs ON known_vpcs.vpc_id = tries.server_vpc_id
    LEFT ANTI JOIN (SELECT DISTINCT server_vpc_id, server_addr FROM tries WHERE reply_packets > 0) AS there
        ON there.server_vpc_id = tries.server_vpc_id
        AND there.server_addr = tries.server_addr
),
buckets AS (
    SELECT client_vpc_id, client_addr, server_vpc_id, expected_by, bucket, COUNT(DISTINCT server_addr) AS addresses
    FROM unanswered
    GROUP BY client_vpc_id, client_addr, server_vpc_id, expected_by, bucket
),
probes AS (
    SELECT
        unanswered.client_addr,
        unanswered.server_vpc_id,
        unanswered.expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(unanswered.client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        MIN(client_interface_id) AS interface_id,
        CASE WHEN MIN(server_subnet_id) = MAX(server_subnet_id) THEN MIN(server_subnet_id) END AS dst_subnet_id,
        CASE WHEN MIN(service_port) = MAX(service_port) THEN MIN(service_port) END AS dst_port,
        CASE WHEN MIN(protocol) = MAX(protocol) THEN MIN(protocol) END AS protocol,
        MIN(server_addr) AS first_address,
        COUNT(DISTINCT server_addr) AS addresses,
        MAX(buckets.addresses) AS addresses_at_once,
        COUNT(DISTINCT service_port) AS ports,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen
    FROM unanswered
    JOIN buckets
        ON buckets.client_addr = unanswered.client_addr
        AND buckets.client_vpc_id = unanswered.client_vpc_id
        AND buckets.server_vpc_id = unanswered.server_vpc_id
        AND COALESCE(buckets.expected_by, '') = COALESCE(unanswered.expected_by, '')
        AND buckets.bucket = unanswered.bucket
    WHERE buckets.addresses >= $min_addresses
    GROUP BY unanswered.client_addr, unanswered.server_vpc_id, unanswered.expected_by
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
    client_addr AS src_addr,
    dst_subnet_id,
    dst_port,
    protocol,
    flows,
    packets,
    bytes,
    client_addr || COALESCE(' in ' || subnet_id, '') || ' tried ' || addresses || ' addresses of ' || server_vpc_id || ' that no interface has, such as '
    || first_address || ', up to ' || addresses_at_once || ' in ' || $window_secs || ' s'
    || CASE WHEN ports = 1 THEN ', on port ' || dst_port ELSE ', on ' || ports || ' ports' END || '; none answered' AS reason,
    named_struct(
        'server_vpc_id', server_vpc_id,
        'addresses', addresses,
        'addresses_at_once', addresses_at_once,
        'ports', ports
    ) AS evidence,
    expected_by
FROM probes
ORDER BY first_seen, client_addr, server_vpc_id
