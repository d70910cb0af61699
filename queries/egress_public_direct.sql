-- title: Host that began to call the internet with its own address
-- group: egress
-- severity: low
-- attack: T1041
-- parameters:
--   baseline_days = 14   days before the window in which the host may have opened connections to the internet
-- finding_key: vpc_id interface_id|src_addr
-- description: A host in a public subnet that opened accepted connections to the internet directly, by its own public address and past every NAT
--   gateway and proxy, and opened none in the baseline days. Load balancers, NAT gateways and endpoints are left out. One finding for each
--   interface.
-- false_positives: ECS tasks with public addresses that pull images, bastions that install updates: add them to the policy.
WITH found AS (
    SELECT
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        client_interface_id AS interface_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        CASE WHEN MIN(server_addr) = MAX(server_addr) THEN MIN(server_addr) END AS dst_addr,
        CASE WHEN MIN(service_port) = MAX(service_port) THEN MIN(service_port) END AS service_port,
        CASE WHEN MIN(protocol) = MAX(protocol) THEN MIN(protocol) END AS protocol,
        COUNT(DISTINCT server_addr) AS remotes,
        COUNT(DISTINCT service_port) AS ports,
        expected_by(
            'egress_public_direct', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(start) FILTER (WHERE opened) AS first_seen,
        MAX("end") FILTER (WHERE opened) AS last_seen,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM connections
    WHERE action = 'ACCEPT'
      AND client_scope = 'vpc'
      AND server_scope = 'internet'
      AND client_class = 'public'
      AND leg = 'direct'
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, expected_by
),
opened_before AS (
    SELECT DISTINCT COALESCE(client_interface_id, client_addr) AS opener
    FROM connections
    WHERE action = 'ACCEPT'
      AND opened
      AND client_scope = 'vpc'
      AND server_scope = 'internet'
      AND client_class = 'public'
      AND leg = 'direct'
      AND "end" < $from
      AND "end" >= $baseline_from
),
kinds AS (
    SELECT interface_id AS id, LAST_VALUE(kind ORDER BY snapshot_at) AS kind FROM interfaces GROUP BY interface_id
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
    COALESCE(src_addr, interface_id) || ' in ' || COALESCE(subnet_id, 'a public subnet')
    || ' opened connections to ' || CASE WHEN remotes = 1 THEN dst_addr ELSE remotes || ' addresses of the internet' END
    || CASE WHEN ports = 1 THEN ' port ' || service_port || '/' || protocol_name(protocol) ELSE ' on ' || ports || ' ports' END
    || ' with its own public address'
    || CASE
        WHEN has_baseline THEN ', and had opened none since ' || CAST(CAST(logged_from AS DATE) AS VARCHAR)
        ELSE '; the logs hold nothing from before the window, so it may always have'
    END
    || CASE WHEN reply_packets = 0 THEN '; nothing came back' ELSE '; it was answered' END AS reason,
    named_struct(
        'remotes', remotes,
        'ports', ports,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'has_baseline', has_baseline
    ) AS evidence,
    expected_by
FROM found
LEFT ANTI JOIN opened_before ON opened_before.opener = COALESCE(found.interface_id, found.src_addr)
LEFT JOIN kinds ON kinds.id = found.interface_id
CROSS JOIN history
WHERE flows > 0
  AND COALESCE(kind, 'interface') IN ('interface', 'lambda', 'other')
ORDER BY first_seen, interface_id, src_addr
