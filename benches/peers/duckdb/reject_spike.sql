-- Hours in which a subnet refused far more attempts on a port than in its other hours: the same floor, ratio and deviations as ours.
-- Less than flowscout does: late packets are not told from attempts, network ACLs are not replayed to say which layer refused, and
-- a record counts wherever it was made; no policy.
WITH attempts AS (
    SELECT
        flows.start,
        flows."end",
        flows.packets,
        flows.bytes,
        flows.srcaddr,
        flows.dstaddr,
        flows.dstport AS dst_port,
        flows.protocol,
        interfaces.subnet_id,
        CASE WHEN flows.srcaddr = interfaces.address THEN 'egress' ELSE 'ingress' END AS direction,
        epoch(flows.start)::BIGINT // 3600 AS bucket
    FROM flows
    JOIN interfaces ON interfaces.interface_id = flows.interface_id
    WHERE flows.action = 'REJECT'
      AND flows.start < getvariable('to')::TIMESTAMPTZ
      AND flows."end" >= getvariable('baseline_from')::TIMESTAMPTZ
      AND flows.date >= getvariable('baseline_from')::TIMESTAMPTZ::DATE - 1
      AND opens(flows.srcport, flows.dstport)
),
span AS (
    SELECT
        epoch(GREATEST(MIN(start), getvariable('baseline_from')::TIMESTAMPTZ)) AS first_second,
        epoch(LEAST(MAX("end"), getvariable('to')::TIMESTAMPTZ)) AS last_second
    FROM flows
    WHERE start < getvariable('to')::TIMESTAMPTZ
      AND "end" >= getvariable('baseline_from')::TIMESTAMPTZ
),
buckets AS (
    SELECT UNNEST(generate_series(first_second::BIGINT // 3600, last_second::BIGINT // 3600)) AS bucket, first_second, last_second
    FROM span
),
complete AS (
    SELECT bucket
    FROM buckets
    WHERE (bucket + 1) * 3600 - first_second >= 1800
      AND last_second - bucket * 3600 >= 1800
),
counts AS (
    SELECT subnet_id, direction, dst_port, protocol, bucket, COUNT(*) AS attempts
    FROM attempts
    GROUP BY ALL
),
high AS (
    SELECT *
    FROM counts
    WHERE attempts >= 100
      AND (bucket + 1) * 3600 > epoch(getvariable('from')::TIMESTAMPTZ)
),
history AS (
    SELECT high.*, COALESCE(counts.attempts, 0) AS other
    FROM high
    JOIN complete ON complete.bucket <> high.bucket
    LEFT JOIN counts
        ON counts.subnet_id = high.subnet_id
        AND counts.direction = high.direction
        AND counts.dst_port = high.dst_port
        AND counts.protocol = high.protocol
        AND counts.bucket = complete.bucket
),
baselines AS (
    SELECT subnet_id, direction, dst_port, protocol, bucket, attempts, MEDIAN(other) AS middle, MAD(other) AS deviation, COUNT(*) AS points
    FROM history
    GROUP BY ALL
),
spikes AS (
    SELECT
        *,
        -- Hours that follow one another are one spike.
        bucket - ROW_NUMBER() OVER (PARTITION BY subnet_id, direction, dst_port, protocol ORDER BY bucket) AS run
    FROM baselines
    WHERE points >= 3
      AND attempts > middle * 3
      AND attempts > middle + 3 * 1.4826 * deviation
),
windows AS (
    SELECT
        subnet_id, direction, dst_port, protocol, run,
        MIN(bucket) AS first_bucket,
        MAX(bucket) AS last_bucket,
        MIN(middle) AS middle,
        MIN(deviation) AS deviation
    FROM spikes
    GROUP BY ALL
),
blocks AS (
    SELECT
        windows.*,
        regexp_replace(attempts.srcaddr, '\.\d+$', '.0/24') AS cidr,
        COUNT(*) AS flows,
        COUNT(DISTINCT attempts.srcaddr) AS addresses,
        SUM(attempts.packets) AS packets,
        SUM(attempts.bytes) AS bytes,
        MIN(attempts.start) AS first_seen,
        MAX(attempts."end") AS last_seen
    FROM windows
    JOIN attempts
        ON attempts.subnet_id = windows.subnet_id
        AND attempts.direction = windows.direction
        AND attempts.dst_port = windows.dst_port
        AND attempts.protocol = windows.protocol
        AND attempts.bucket BETWEEN windows.first_bucket AND windows.last_bucket
    GROUP BY ALL
)
SELECT
    subnet_id,
    direction,
    dst_port,
    protocol,
    make_timestamp(first_bucket * 3600 * 1000000) AS window_from,
    middle,
    deviation,
    SUM(flows) AS flows,
    SUM(packets) AS packets,
    SUM(bytes) AS bytes,
    MIN(first_seen) AS first_seen,
    MAX(last_seen) AS last_seen,
    SUM(addresses) AS source_addresses,
    LIST({'cidr': cidr, 'attempts': flows, 'addresses': addresses} ORDER BY flows DESC, cidr)[1:10] AS sources
FROM blocks
GROUP BY subnet_id, direction, dst_port, protocol, first_bucket, last_bucket, middle, deviation
ORDER BY first_seen, subnet_id, direction, dst_port, protocol;
