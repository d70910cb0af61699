-- title: Uploads outside of the usual hours
-- group: exfiltration
-- severity: medium
-- attack: T1029
-- parameters:
--   baseline_days = 14     days before the window in which the host may have sent data outside of the usual hours
--   utc_offset_hours = 0   hours by which local time is ahead of UTC
--   office_from = 7        local hour from which it is a usual one, from Monday to Friday
--   office_to = 19         local hour from which it no longer is
--   share = 0.8            share of the bytes sent to the address outside of the usual hours
--   min_bytes = 10000000   bytes sent outside of the usual hours from which it is told
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_port protocol
-- description: A host that sent data to one address of the internet and nearly all of it at night or at the weekend, where it sent nobody anything
--   at such hours in the baseline days. Where the window has no usual hours at all, nothing is told.
-- false_positives: Night jobs that began within the window, other time zones: set `utc_offset_hours`, or add them to the policy.
WITH hours AS (
    SELECT
        client_interface_id AS interface_id,
        CASE WHEN client_interface_id IS NULL THEN client_addr END AS only_addr,
        server_addr,
        service_port,
        protocol,
        date_trunc('hour', start) AS hour,
        expected_by(
            'exfiltration_off_hours', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        MIN(client_addr) AS first_client,
        MAX(client_addr) AS last_client,
        MIN(start) FILTER (WHERE opened) AS first_seen,
        MAX("end") FILTER (WHERE opened) AS last_seen,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM connections
    WHERE action = 'ACCEPT'
      AND client_scope IN ('vpc', 'peer', 'transit')
      AND server_scope = 'internet'
      AND start < $to
      AND "end" >= $baseline_from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, server_addr, service_port, protocol,
        date_trunc('hour', start), expected_by
),
clocked AS (
    SELECT
        *,
        to_unixtime(hour) / 3600 + $utc_offset_hours AS local_hour
    FROM hours
    WHERE flows > 0
),
local_hours AS (
    SELECT
        *,
        local_hour % 24 < $office_from
            OR local_hour % 24 >= $office_to
            -- The first day of Unix time was a Thursday, which is 4 where Sunday is 0.
            OR (local_hour / 24 + 4) % 7 IN (0, 6) AS is_off
    FROM clocked
),
found AS (
    SELECT
        interface_id,
        only_addr,
        server_addr,
        service_port,
        protocol,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(subnet_id) AS subnet_id,
        MIN(client_class) AS client_class,
        CASE WHEN MIN(first_client) = MAX(last_client) THEN MIN(first_client) END AS src_addr,
        SUM(CASE WHEN is_off THEN bytes ELSE 0 END) AS off_bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        SUM(flows) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM local_hours
    WHERE last_seen >= $from
    GROUP BY interface_id, only_addr, server_addr, service_port, protocol, expected_by
),
off_before AS (
    SELECT DISTINCT COALESCE(interface_id, only_addr) AS client
    FROM local_hours
    WHERE last_seen < $from
      AND is_off
      AND bytes > 0
),
usual AS (
    SELECT COUNT(*) AS usual_hours FROM local_hours WHERE last_seen >= $from AND NOT is_off
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
    CASE WHEN has_baseline THEN 'medium' ELSE 'low' END AS severity,
    first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    interface_id,
    src_addr,
    server_addr AS dst_addr,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    COALESCE(src_addr, interface_id, 'a client behind a NAT gateway')
    || COALESCE(' in a subnet of class ' || client_class, '')
    || ' sent ' || (off_bytes / 1000000) || ' MB to ' || server_addr || ' port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ' at night or at the weekend, ' || CAST(ROUND(100.0 * off_bytes / bytes) AS BIGINT) || ' % of what it sent there'
    || CASE
        WHEN has_baseline THEN '; it had sent nobody anything at such hours since ' || CAST(CAST(logged_from AS DATE) AS VARCHAR)
        ELSE '; the logs hold nothing from before the window, so this may be nothing new'
    END AS reason,
    named_struct(
        'off_bytes', off_bytes,
        'has_baseline', has_baseline,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
LEFT ANTI JOIN off_before ON off_before.client = COALESCE(found.interface_id, found.only_addr)
CROSS JOIN usual
CROSS JOIN history
WHERE usual_hours > 0
  AND off_bytes >= $min_bytes
  AND off_bytes >= $share * bytes
ORDER BY first_seen, interface_id, src_addr, server_addr, service_port
