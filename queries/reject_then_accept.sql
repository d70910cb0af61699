-- title: Refused many times, then let in
-- group: rejects
-- severity: medium
-- attack: T1110 T1562.007
-- parameters:
--   min_rejects = 20   refusals of the same client, server and port before it counts; below are retries
--   within_secs = 86400   how long after the last refusal the accepted connection may come: a day
-- finding_key: src_addr dst_addr dst_port protocol
-- description: A client that a server's side kept refusing on a port gets through on the same port: somebody opened a rule, or found another way.
-- false_positives: A rule that was opened on purpose for this client: topology diff shows the change and its day; add the client to the policy.
WITH often AS (
    SELECT client_addr, server_addr, service_port, protocol
    FROM connections
    WHERE action = 'REJECT'
      AND opened
      AND NOT late
      AND start < $to
      AND "end" >= $from
    GROUP BY client_addr, server_addr, service_port, protocol
    HAVING COUNT(*) >= $min_rejects
),
refused AS (
    SELECT
        often.client_addr,
        often.server_addr,
        often.service_port,
        often.protocol,
        COUNT(*) AS refusals,
        MIN(start) AS first_refused,
        MAX(start) AS last_refused,
        -- From when on it has been refused often enough.
        array_element(array_agg(start ORDER BY start), $min_rejects) AS often_at
    FROM often
    JOIN connections
        ON connections.client_addr = often.client_addr
        AND connections.server_addr = often.server_addr
        AND connections.service_port = often.service_port
        AND connections.protocol = often.protocol
    WHERE action = 'REJECT'
      AND opened
      AND NOT late
      AND start < $to
      AND "end" >= $from
    GROUP BY often.client_addr, often.server_addr, often.service_port, often.protocol
),
let_in AS (
    SELECT
        connections.*,
        refusals,
        first_refused,
        last_refused,
        expected_by(
            'reject_then_accept', server_subnet_id, server_interface_id, server_vpc_id,
            connections.client_addr, client_subnet_id, NULL, connections.service_port, connections.protocol, start
        ) AS expected_by
    FROM refused
    JOIN connections
        ON connections.client_addr = refused.client_addr
        AND connections.server_addr = refused.server_addr
        AND connections.service_port = refused.service_port
        AND connections.protocol = refused.protocol
    WHERE action = 'ACCEPT'
      AND start < $to
      AND "end" >= $from
      AND start > often_at
      AND to_unixtime(start) <= to_unixtime(last_refused) + $within_secs
),
pairs AS (
    SELECT
        client_addr,
        server_addr,
        service_port,
        protocol,
        expected_by,
        MIN(server_vpc_id) AS vpc_id,
        MIN(server_subnet_id) AS server_subnet_id,
        MIN(server_interface_id) AS interface_id,
        MIN(client_scope) AS client_scope,
        MIN(refusals) AS refusals,
        MIN(first_refused) AS first_refused,
        MIN(start) FILTER (WHERE opened) AS first_seen,
        MAX("end") AS last_seen,
        COUNT(*) FILTER (WHERE opened) AS flows,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        SUM(reply_packets) AS reply_packets,
        SUM(reply_bytes) AS reply_bytes
    FROM let_in
    GROUP BY client_addr, server_addr, service_port, protocol, expected_by
)
SELECT
    CASE
        WHEN client_scope = 'internet' AND reply_packets > 0 THEN 'high'
        WHEN client_scope = 'internet' OR reply_packets > 0 THEN 'medium'
        ELSE 'low'
    END AS severity,
    first_seen,
    last_seen,
    vpc_id,
    server_subnet_id AS subnet_id,
    interface_id,
    client_addr AS src_addr,
    server_addr AS dst_addr,
    server_subnet_id AS dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    client_addr || ' (' || COALESCE(client_scope, 'unknown') || ') was refused ' || refusals || ' times on ' || server_addr || ' port '
    || service_port || '/' || protocol_name(protocol) || COALESCE(' (' || port_name(service_port, protocol) || ')', '') || ', then let in '
    || CASE WHEN reply_packets > 0 THEN 'and answered with ' || reply_bytes || ' bytes' ELSE 'and not answered' END AS reason,
    named_struct(
        'reply_packets', reply_packets,
        'reply_bytes', reply_bytes,
        'refusals', refusals,
        'first_refused', first_refused,
        'first_accepted', first_seen,
        'client_scope', client_scope
    ) AS evidence,
    expected_by
FROM pairs
WHERE flows > 0
ORDER BY first_seen, client_addr, server_addr, service_port, protocol
