-- title: Spike of rejected flows
-- group: core
-- severity: medium
-- attack: T1046 T1595.001
-- parameters:
--   baseline_days = 14   days of history before the window
--   bucket_secs = 3600   length of a bucket in seconds
--   floor = 100          attempts in a bucket below which nothing is a spike, whatever the baseline
--   ratio = 3.0          times the baseline's median
--   deviations = 3.0     robust standard deviations (1.4826 times the median absolute deviation) above the median
--   min_points = 3       other complete buckets that a baseline needs
--   hour_days = 7        other days from which the baseline is of the same hour of day alone: a week
--   many_targets = 10    hosts or ports that the busiest network tries from which it is a scan: Panther's ports in an hour
--   many_sources = 25    addresses from which it is a flood
-- finding_key: subnet_id|interface_id evidence.direction dst_port protocol evidence.window_from
-- description: Rejected attempts of a subnet, direction, service port and protocol far above that key's own baseline: the median and the median
--   absolute deviation over every other bucket, empty ones included, or, where there are enough days, over the busiest of each around the same
--   hour. What is as high at the same hour of other weeks is usual as well. Late packets of closed connections are not attempts and are left out.
--   The finding says who tried, whether it reads as a scan, a flood or a client of ours that is misconfigured, which layer refused, and what to
--   do about it.
-- false_positives: A deployment that briefly points at a closed port; a vulnerability scanner of one's own: add both to the policy.
WITH attempts AS (
    SELECT
        *,
        to_unixtime(start) / $bucket_secs AS bucket,
        -- What a series of attempts is about, beside direction, port and protocol.
        COALESCE(subnet_id, interface_id, '-') AS place,
        COALESCE(expected_by, '') AS expected
    FROM (
        SELECT
            start, "end", account_id, region, vpc_id, subnet_id, interface_id, direction, service_port, protocol, packets, bytes,
            src_addr, dst_addr, src_scope, dst_subnet_id, refused_by,
            expected_by(
                'reject_spike', subnet_id, interface_id, vpc_id,
                CASE WHEN direction = 'egress' THEN dst_addr ELSE src_addr END,
                CASE WHEN direction = 'egress' THEN dst_subnet_id ELSE src_subnet_id END,
                CASE WHEN direction = 'egress' THEN dst_service ELSE src_service END,
                service_port, protocol, start
            ) AS expected_by
        FROM traffic
        WHERE counted
          AND action = 'REJECT'
          AND initiator = 'src'
          AND NOT late
          AND direction IS NOT NULL
          AND start < $to
          AND "end" >= $baseline_from
    ) AS rejected
),
span AS (
    SELECT
        to_unixtime(GREATEST(MIN(start), $baseline_from)) AS first_second,
        to_unixtime(LEAST(MAX("end"), $to)) AS last_second
    FROM flows
    WHERE start < $to
      AND "end" >= $baseline_from
),
-- A bucket that the logs cover by less than half says little about the usual rate.
buckets AS (
    SELECT
        bucket,
        (bucket + 1) * $bucket_secs - first_second >= $bucket_secs / 2
            AND last_second - bucket * $bucket_secs >= $bucket_secs / 2 AS complete
    FROM (
        SELECT UNNEST(generate_series(first_second / $bucket_secs, last_second / $bucket_secs)) AS bucket, first_second, last_second
        FROM span
    ) AS numbered
),
counts AS (
    SELECT place, direction, service_port, protocol, expected, bucket, COUNT(*) AS attempts
    FROM attempts
    GROUP BY place, direction, service_port, protocol, expected, bucket
),
high AS (
    SELECT *
    FROM counts
    WHERE attempts >= $floor
      AND (bucket + 1) * $bucket_secs > to_unixtime($from)
),
history AS (
    SELECT
        high.*,
        CAST(COALESCE(counts.attempts, 0) AS DOUBLE) AS other,
        -- Days from the other bucket, where it is at the same time of day or next to it: a job does not begin to the minute. The thousands
        -- of days keep the numbers positive.
        CASE
            WHEN 86400 % $bucket_secs = 0
                AND 86400 / $bucket_secs > 3
                AND (buckets.bucket - high.bucket + 1 + 9999 * (86400 / $bucket_secs)) % (86400 / $bucket_secs) <= 2
                THEN (buckets.bucket - high.bucket + 1 + 9999 * (86400 / $bucket_secs)) / (86400 / $bucket_secs) - 9999
        END AS days_apart
    FROM high
    JOIN buckets ON buckets.bucket <> high.bucket AND buckets.complete
    LEFT JOIN counts
        ON counts.place = high.place
        AND counts.direction = high.direction
        AND counts.service_port = high.service_port
        AND counts.protocol = high.protocol
        AND counts.expected = high.expected
        AND counts.bucket = buckets.bucket
),
-- One point for each other day: the busiest of its buckets around that time.
daily AS (
    SELECT
        *,
        CASE WHEN days_apart <> 0 AND number_of_day = 1 THEN most_of_day END AS of_day
    FROM (
        SELECT
            *,
            MAX(other) OVER (PARTITION BY place, direction, service_port, protocol, expected, bucket, days_apart) AS most_of_day,
            ROW_NUMBER() OVER (PARTITION BY place, direction, service_port, protocol, expected, bucket, days_apart ORDER BY other) AS number_of_day
        FROM history
    ) AS days
),
medians AS (
    SELECT
        *,
        MEDIAN(other) OVER (PARTITION BY place, direction, service_port, protocol, expected, bucket) AS middle_of_all,
        MEDIAN(of_day) OVER (PARTITION BY place, direction, service_port, protocol, expected, bucket) AS middle_of_days
    FROM daily
),
measured AS (
    SELECT
        place,
        direction,
        service_port,
        protocol,
        expected,
        bucket,
        attempts,
        middle_of_all,
        middle_of_days,
        COUNT(*) AS buckets,
        COUNT(of_day) AS days,
        MEDIAN(ABS(other - middle_of_all)) AS deviation_of_all,
        MEDIAN(ABS(of_day - middle_of_days)) AS deviation_of_days,
        array_agg(of_day ORDER BY of_day) FILTER (WHERE of_day IS NOT NULL AND days_apart % 7 = 0) AS of_weeks
    FROM medians
    GROUP BY place, direction, service_port, protocol, expected, bucket, attempts, middle_of_all, middle_of_days
),
baselines AS (
    SELECT
        *,
        GREATEST(middle_of_time, middle_of_weeks) AS middle,
        CASE WHEN days >= $hour_days THEN days ELSE buckets END AS points,
        CASE
            WHEN middle_of_weeks > middle_of_time THEN 'hour of week'
            WHEN days >= $hour_days THEN 'hour of day'
            ELSE 'all hours'
        END AS baseline_of
    FROM (
        SELECT
            *,
            CASE WHEN days >= $hour_days THEN middle_of_days ELSE middle_of_all END AS middle_of_time,
            CASE WHEN days >= $hour_days THEN deviation_of_days ELSE deviation_of_all END AS deviation,
            -- The lower median: once is not a habit.
            CASE
                WHEN array_length(of_weeks) >= 2 THEN of_weeks[(CAST(array_length(of_weeks) AS BIGINT) + 1) / 2]
                ELSE 0
            END AS middle_of_weeks
        FROM measured
    ) AS usual
),
spikes AS (
    SELECT
        *,
        -- Buckets that follow one another are one spike.
        bucket - ROW_NUMBER() OVER (PARTITION BY place, direction, service_port, protocol, expected ORDER BY bucket) AS run
    FROM baselines
    WHERE points >= $min_points
      AND attempts > middle * $ratio
      AND attempts > middle + $deviations * 1.4826 * deviation
),
windows AS (
    SELECT
        place, direction, service_port, protocol, expected,
        run,
        MIN(bucket) AS first_bucket,
        MAX(bucket) AS last_bucket,
        MIN(middle) AS middle,
        MIN(deviation) AS deviation,
        MIN(points) AS points,
        MIN(baseline_of) AS baseline_of
    FROM spikes
    GROUP BY place, direction, service_port, protocol, expected, run
),
-- With what was tried on other ports meanwhile, which tells a scan.
spiking AS (
    SELECT
        windows.run,
        windows.first_bucket,
        windows.last_bucket,
        windows.middle,
        windows.deviation,
        windows.points,
        windows.baseline_of,
        windows.service_port AS spiking_port,
        attempts.service_port = windows.service_port AS is_spiking,
        attempts.*
    FROM windows
    JOIN attempts
        ON attempts.place = windows.place
        AND attempts.direction = windows.direction
        AND attempts.protocol = windows.protocol
        AND attempts.expected = windows.expected
        AND attempts.bucket BETWEEN windows.first_bucket AND windows.last_bucket
),
-- By block of sources first: an address is in one block only, so that addresses add up.
blocks AS (
    SELECT
        place,
        run,
        first_bucket,
        last_bucket,
        middle,
        deviation,
        points,
        baseline_of,
        direction,
        subnet_id,
        spiking_port AS service_port,
        protocol,
        expected_by,
        CASE WHEN MIN(src_addr) = MAX(src_addr) THEN ip_prefix(MIN(src_addr), 32, 128) ELSE block END AS cidr,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        MIN(interface_id) FILTER (WHERE is_spiking) AS first_interface,
        MAX(interface_id) FILTER (WHERE is_spiking) AS last_interface,
        MIN(src_addr) FILTER (WHERE is_spiking) AS first_src,
        MAX(src_addr) FILTER (WHERE is_spiking) AS last_src,
        MIN(dst_addr) FILTER (WHERE is_spiking) AS first_dst,
        MAX(dst_addr) FILTER (WHERE is_spiking) AS last_dst,
        MIN(dst_subnet_id) FILTER (WHERE is_spiking) AS first_dst_subnet,
        MAX(dst_subnet_id) FILTER (WHERE is_spiking) AS last_dst_subnet,
        COUNT(*) FILTER (WHERE is_spiking) AS flows,
        COUNT(DISTINCT src_addr) FILTER (WHERE is_spiking) AS addresses,
        COUNT(DISTINCT dst_addr) FILTER (WHERE is_spiking) AS hosts,
        COUNT(DISTINCT service_port) AS ports,
        COUNT(*) FILTER (WHERE is_spiking AND src_scope IN ('vpc', 'peer', 'transit')) AS from_ours,
        -- Where both would refuse it, the network ACL contains it already.
        COUNT(*) FILTER (WHERE is_spiking AND (refused_by LIKE 'nacl%' OR refused_by = 'both')) AS by_nacl,
        COUNT(*) FILTER (WHERE is_spiking AND refused_by = 'security_group') AS by_group,
        COUNT(*) FILTER (WHERE is_spiking AND refused_by = 'bpa') AS by_bpa,
        COUNT(*) FILTER (WHERE is_spiking AND refused_by = 'encryption_controls') AS by_encryption,
        SUM(packets) FILTER (WHERE is_spiking) AS packets,
        SUM(bytes) FILTER (WHERE is_spiking) AS bytes,
        MIN(start) FILTER (WHERE is_spiking) AS first_seen,
        MAX("end") FILTER (WHERE is_spiking) AS last_seen
    FROM (SELECT *, ip_prefix(src_addr, 24, 64) AS block FROM spiking) AS placed
    GROUP BY
        place, run, first_bucket, last_bucket, middle, deviation, points, baseline_of, direction, subnet_id, spiking_port, protocol, expected_by,
        block
    HAVING COUNT(*) FILTER (WHERE is_spiking) > 0
),
-- A flood has very many blocks: of these the busiest are listed.
ranked AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY place, run, first_bucket, direction, subnet_id, service_port, protocol, expected_by
            ORDER BY flows DESC, cidr
        ) AS nth
    FROM blocks
),
summed AS (
    SELECT
        first_bucket,
        last_bucket,
        middle,
        deviation,
        points,
        baseline_of,
        direction,
        subnet_id,
        service_port,
        protocol,
        expected_by,
        MIN(account_id) AS account_id,
        MIN(region) AS region,
        MIN(vpc_id) AS vpc_id,
        CASE WHEN MIN(first_interface) = MAX(last_interface) THEN MIN(first_interface) END AS interface_id,
        CASE WHEN MIN(first_src) = MAX(last_src) THEN MIN(first_src) END AS src_addr,
        CASE WHEN MIN(first_dst) = MAX(last_dst) THEN MIN(first_dst) END AS dst_addr,
        CASE WHEN MIN(first_dst_subnet) = MAX(last_dst_subnet) THEN MIN(first_dst_subnet) END AS dst_subnet_id,
        SUM(flows) AS flows,
        SUM(addresses) AS source_addresses,
        SUM(from_ours) AS from_ours,
        SUM(packets) AS packets,
        SUM(bytes) AS bytes,
        MIN(first_seen) AS first_seen,
        MAX(last_seen) AS last_seen,
        CASE
            WHEN SUM(by_nacl) * 2 > SUM(flows) THEN 'nacl'
            WHEN SUM(by_group) * 2 > SUM(flows) THEN 'security_group'
            WHEN SUM(by_bpa) * 2 > SUM(flows) THEN 'bpa'
            WHEN SUM(by_encryption) * 2 > SUM(flows) THEN 'encryption_controls'
            ELSE 'undecidable'
        END AS layer,
        MIN(cidr) FILTER (WHERE nth = 1) AS top_source,
        MIN(hosts) FILTER (WHERE nth = 1) AS top_hosts,
        MIN(ports) FILTER (WHERE nth = 1) AS top_ports,
        CASE
            WHEN MAX(flows) * 2 > SUM(flows)
                AND MIN(GREATEST(hosts, ports)) FILTER (WHERE nth = 1) >= $many_targets THEN 'scan'
            WHEN SUM(from_ours) * 2 > SUM(flows) THEN 'misconfiguration'
            WHEN SUM(addresses) >= $many_sources THEN 'flood'
            ELSE 'attempts'
        END AS kind,
        array_agg(named_struct('cidr', cidr, 'attempts', flows, 'addresses', addresses) ORDER BY flows DESC, cidr)
            FILTER (WHERE nth <= 10) AS sources
    FROM ranked
    GROUP BY
        place, run, first_bucket, last_bucket, middle, deviation, points, baseline_of, direction, subnet_id, service_port, protocol, expected_by
)
SELECT
    CASE
        WHEN from_ours * 2 > flows THEN 'high'
        WHEN direction = 'egress' THEN 'high'
        WHEN layer = 'nacl' OR layer = 'bpa' THEN 'low'
        ELSE 'medium'
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
    dst_subnet_id,
    service_port AS dst_port,
    protocol,
    flows,
    packets,
    bytes,
    flows || ' rejected attempts (' || direction || ') on port ' || service_port || '/' || protocol_name(protocol)
    || COALESCE(' (' || port_name(service_port, protocol) || ')', '')
    || ' of ' || COALESCE(subnet_id, interface_id, 'an unknown subnet')
    || ' from ' || CASE WHEN source_addresses = 1 THEN src_addr ELSE source_addresses || ' addresses, most of ' || top_source END
    || '; usual are ' || CAST(middle AS BIGINT) || ' per ' || $bucket_secs || ' s' || CASE WHEN baseline_of = 'all hours' THEN '' ELSE ' at this ' || baseline_of END
    || CASE kind
        WHEN 'scan' THEN '; it reads as a scan: ' || top_source || ' tried ' || top_hosts || CASE WHEN top_hosts = 1 THEN ' host' ELSE ' hosts' END || ' there and '
            || top_ports || CASE WHEN top_ports = 1 THEN ' port' ELSE ' ports' END
        WHEN 'misconfiguration' THEN CASE
            WHEN direction = 'ingress' THEN '; one of ours is refused by another of ours'
            ELSE '; one of ours is refused on its way out'
        END
        WHEN 'flood' THEN '; it reads as a flood: many addresses and few targets'
        ELSE ''
    END
    || CASE layer
        WHEN 'security_group' THEN '; the NACL let them in and only a security group refused them'
        WHEN 'nacl' THEN '; the NACL refused them'
        WHEN 'bpa' THEN '; Block Public Access refused them'
        WHEN 'encryption_controls' THEN '; encryption controls refused them'
        ELSE '; NACL or security group: what is known does not tell'
    END AS reason,
    named_struct(
        'reply_packets', 0,
        'reply_bytes', 0,
        'direction', direction,
        'window_from', to_timestamp_seconds(first_bucket * $bucket_secs),
        'window_to', to_timestamp_seconds((last_bucket + 1) * $bucket_secs),
        'bucket_secs', $bucket_secs,
        'baseline', named_struct(
            'median', middle,
            'deviation', deviation,
            'buckets', points,
            'of', baseline_of
        ),
        'kind', kind,
        'sources', sources,
        'source_addresses', source_addresses,
        'layer', layer,
        'advice', CASE
            WHEN from_ours * 2 > flows AND kind = 'scan' THEN 'one of ours scans the network: isolate it and find out what runs there'
            WHEN from_ours * 2 > flows AND direction = 'ingress' THEN
                'the sources are ours: open the security group of the server for them, or stop the client that is misconfigured'
            WHEN direction = 'egress' THEN
                'one of ours is refused on its way out: find what it tries to reach, then allow it on purpose or stop it'
            WHEN layer = 'security_group' THEN
                'tighten the network ACL: narrow the rule that allows this port to the networks that use it, or deny the sources above, numbered before that rule'
            WHEN layer = 'nacl' THEN 'contained: the network ACL denies it already'
            WHEN layer = 'bpa' THEN 'contained: Block Public Access denies it already'
            WHEN layer = 'encryption_controls' THEN 'the endpoint refuses unencrypted traffic: encrypt it at the client'
            ELSE 'import the topology with its network ACLs and security groups (topology import), so that the layer can be told'
        END
    ) AS evidence,
    expected_by
FROM summed
ORDER BY first_seen, subnet_id, direction, service_port, protocol
