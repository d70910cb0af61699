-- title: Subnet turned public
-- group: core
-- severity: high
-- attack: T1562.007
-- finding_key: vpc_id subnet_id evidence.public_at
-- description: A subnet that was there and not public in an earlier snapshot of the topology, and is public (a route in force leads to an internet
--   gateway), over IPv4 or IPv6, in a later one. The change lies somewhere between the two snapshots: it is found if that span overlaps the window.
--   Snapshots that lack the routes say nothing; a subnet that is new has turned from nothing.
-- false_positives: A subnet that was made public on purpose: add it to the policy, with its subnet and the date.
WITH families AS (
    SELECT
        snapshot_at,
        account_id,
        region,
        vpc_id,
        subnet_id,
        name,
        'IPv4' AS family,
        COALESCE(class, 'without IPv4') AS class,
        class_reason AS reason
    FROM subnets
    UNION ALL
    SELECT
        snapshot_at,
        account_id,
        region,
        vpc_id,
        subnet_id,
        name,
        'IPv6' AS family,
        COALESCE(class6, 'without IPv6') AS class,
        class6_reason AS reason
    FROM subnets
),
steps AS (
    SELECT
        *,
        LAG(snapshot_at) OVER (PARTITION BY subnet_id, family ORDER BY snapshot_at) AS before_at,
        LAG(class) OVER (PARTITION BY subnet_id, family ORDER BY snapshot_at) AS before_class,
        LAST_VALUE(snapshot_at) OVER whole AS last_at,
        LAST_VALUE(class) OVER whole AS last_class
    FROM families
    -- Where routes are missing nothing is known, and learning them is no change.
    WHERE class <> 'unknown'
    WINDOW whole AS (
        PARTITION BY subnet_id, family
        ORDER BY snapshot_at
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
),
turned AS (
    SELECT
        *,
        family || ' (it was ' || before_class || ', now ' || reason
        || CASE WHEN last_class <> 'public' THEN '; by ' || CAST(last_at AS VARCHAR) || ' it no longer was' ELSE '' END
        || ')' AS words
    FROM steps
    WHERE class = 'public'
      AND before_class <> 'public'
      AND before_at < $to
      AND snapshot_at >= $from
),
drift AS (
    SELECT
        subnet_id,
        snapshot_at,
        MAX(account_id) AS account_id,
        MAX(region) AS region,
        MAX(vpc_id) AS vpc_id,
        MAX(name) AS name,
        MAX(before_at) AS before_at,
        MAX(CASE WHEN last_class = 'public' THEN last_at ELSE snapshot_at END) AS last_seen,
        BOOL_OR(last_class = 'public') AS still_public,
        MAX(before_class) FILTER (WHERE family = 'IPv4') AS class_before,
        MAX(before_class) FILTER (WHERE family = 'IPv6') AS class6_before,
        MAX(reason) FILTER (WHERE family = 'IPv4') AS class_reason,
        MAX(reason) FILTER (WHERE family = 'IPv6') AS class6_reason,
        STRING_AGG(family, ' and ' ORDER BY family) AS families,
        STRING_AGG(words, ' and in ' ORDER BY family) AS words
    FROM turned
    GROUP BY subnet_id, snapshot_at
)
SELECT
    'high' AS severity,
    snapshot_at AS first_seen,
    last_seen,
    account_id,
    region,
    vpc_id,
    subnet_id,
    subnet_id || COALESCE(' (' || name || ')', '') || ' turned public in ' || words AS reason,
    named_struct(
        'families', families,
        'not_public_at', before_at,
        'public_at', snapshot_at,
        'still_public', still_public,
        'class_before', class_before,
        'class_reason', class_reason,
        'class6_before', class6_before,
        'class6_reason', class6_reason
    ) AS evidence,
    expected_by('topology_drift_public', subnet_id, NULL, vpc_id, NULL, NULL, NULL, NULL, NULL, snapshot_at) AS expected_by
FROM drift
ORDER BY first_seen, subnet_id
