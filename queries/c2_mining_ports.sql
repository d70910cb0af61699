-- title: Thin connections to ports of mining pools
-- group: exfiltration
-- severity: medium
-- attack: T1496
-- parameters:
--   ports = '3333 4444 5555 7777 14444 45700'   ports that mining pools publish for the stratum protocol
--   min_secs = 3600            seconds between first and last record
--   min_records = 6            records in that time: an hour of ten-minute records
--   max_bytes_per_sec = 2000   bytes a second, both ways, above which it is something else: jobs and shares are a few hundred bytes each
-- finding_key: vpc_id interface_id|src_addr dst_addr dst_port protocol
-- description: A host that talks for an hour or more, and little, with one address of the internet on a port of mining pools. 4444 is also what
--   Metasploit's listeners use. One finding for each host, address and port.
-- false_positives: The ports are generic: any service may use them. Pools on port 443 look like the web and are not seen; a list of pools is not
--   built in.
WITH found AS (
    SELECT
        MIN(client_account_id) AS account_id,
        MIN(client_region) AS region,
        MIN(client_vpc_id) AS vpc_id,
        MIN(client_subnet_id) AS subnet_id,
        client_interface_id AS interface_id,
        CASE WHEN MIN(client_addr) = MAX(client_addr) THEN MIN(client_addr) END AS src_addr,
        MIN(client_class) AS client_class,
        server_addr AS dst_addr,
        service_port,
        protocol,
        expected_by(
            'c2_mining_ports', client_subnet_id, client_interface_id, client_vpc_id,
            server_addr, NULL, server_service, service_port, protocol, start
        ) AS expected_by,
        to_unixtime(MAX("end")) - to_unixtime(MIN(start)) AS secs,
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
      AND protocol = 6
      AND number_in($ports, service_port)
      AND start < $to
      AND "end" >= $from
    GROUP BY client_interface_id, CASE WHEN client_interface_id IS NULL THEN client_addr END, server_addr, service_port, protocol, expected_by
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
    COALESCE(src_addr, interface_id, 'a client behind a NAT gateway')
    || COALESCE(' in a subnet of class ' || client_class, '')
    || ' talked for ' || CAST(ROUND(secs / 360.0) / 10 AS VARCHAR) || ' hours with ' || dst_addr || ' port ' || service_port
    || ', which mining pools use, ' || ((bytes + reply_bytes) / secs) || ' bytes a second' AS reason,
    named_struct(
        'secs', secs,
        'bytes_per_sec', (bytes + reply_bytes) / secs,
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes
    ) AS evidence,
    expected_by
FROM found
WHERE flows >= $min_records
  AND reply_packets > 0
  AND secs >= $min_secs
  AND (bytes + reply_bytes) / secs <= $max_bytes_per_sec
ORDER BY first_seen, interface_id, src_addr, dst_addr, service_port
