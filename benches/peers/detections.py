"""Detections: the three that flowscout ships, against SQL that an analyst would write for the same job in DuckDB."""

import json
from datetime import timedelta

import datasets
from bench import HERE, answer_of, must_agree, seconds_inside
from ingest import NOISE
from measure import Job, in_turn
from queries import same_words
from report import MIB, Row, at_most

PEAK_MIB = 1024
BASELINE_DAYS = 14
# By detection: what makes a finding one of a kind, by the names in flowscout's findings; `window_from` and `direction` are evidence.
KEYS = {
    "egress_unexpected": ("interface_id", "dst_addr", "dst_port", "protocol"),
    "east_west_private": ("subnet_id", "dst_subnet_id", "dst_port", "protocol"),
    "reject_spike": ("subnet_id", "direction", "dst_port", "protocol", "window_from"),
}

GROWTH_DAYS = (1, 7, 30)
GROWTH_SLOT_SECS = 7200
# A day of the growing lake has this part of the rows of an ingest.
GROWTH_SHARE = 8


def window():
    """The last day, and the baseline before it."""
    days = {"from": datasets.LAST_DAY, "to": datasets.LAST_DAY + timedelta(days=1)}
    days["baseline_from"] = days["from"] - timedelta(days=BASELINE_DAYS)
    return {name: f"{day:%Y-%m-%dT%H:%M:%SZ}" for name, day in days.items()}


def detect_command(bench, lake, detections, *more):
    last_day = window()
    times = ("--from", last_day["from"], "--to", last_day["to"])
    return bench.ours("detect", *detections, "--lake", lake, *times, "--format", "ndjson", *more)


def detect(bench, lake):
    for detection, key in KEYS.items():
        found = {}
        statements = [str(HERE / "duckdb" / f"{name}.sql") for name in ("setup", detection)]
        arguments = {"lake": str(lake), "topology": str(bench.topology()), "statements": statements, "window": window()}
        jobs = [
            Job(
                "flowscout",
                detect_command(bench, lake, [detection]),
                check=lambda run: found.__setitem__("flowscout", flows_by_key(our_findings(run.output), key)),
            ),
            Job(
                "duckdb",
                bench.peer("duckdb_detect", **arguments),
                check=lambda run: found.__setitem__("duckdb", flows_by_key(answer_of(run), key)),
            ),
        ]
        results = in_turn(jobs, bench.repeats)
        compare(detection, found)
        bars = [
            at_most("ours ÷ DuckDB", results["flowscout"].wall() / results["duckdb"].wall(), 1.0),
            at_most("peak MiB", results["flowscout"].peak_bytes() / MIB, PEAK_MIB),
        ]
        notes = {
            "flowscout": f"{len(found['flowscout']):,} findings, with their flows the same as DuckDB's",
            "duckdb": f"{seconds_inside(results['duckdb']):.2f} s once loaded; does less",
        }
        bench.report.add_results(f"detect {detection}", results, notes=notes, bars=bars)


def our_findings(output):
    findings = [json.loads(line) for line in output.splitlines()]
    return [finding | (finding["evidence"] or {}) for finding in findings]


def flows_by_key(findings, key):
    """Each finding's number of flows."""
    return {tuple(same_words(str(finding[name])) for name in key): int(finding["flows"]) for finding in findings}


def compare(detection, found):
    """Both must find the same, or one of them is not doing the job."""
    ours, theirs = found["flowscout"], found["duckdb"]
    missing = sorted(theirs.keys() - ours.keys())
    more = sorted(ours.keys() - theirs.keys())
    other = sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key])
    summary = {
        "only DuckDB's": (len(missing), missing[:3]),
        "only ours": (len(more), more[:3]),
        "with other numbers of flows": (len(other), [(key, ours[key], theirs[key]) for key in other[:3]]),
    }
    nothing = {what: (0, []) for what in summary}
    must_agree(f"what `{detection}` found ({len(ours)} findings, DuckDB {len(theirs)})", summary, nothing)


def growth(bench):
    """The same day looked at in ever larger lakes: without a baseline it must not matter what else is there."""
    lakes = {days: lake_of_days(bench, days) for days in GROWTH_DAYS}
    for what, more in (("no baseline", ("--param", "baseline_days=0")), (f"{BASELINE_DAYS} days of baseline", ())):
        jobs = [Job(f"{days} days", detect_command(bench, lake, KEYS, *more)) for days, lake in lakes.items()]
        results = in_turn(jobs, bench.repeats)
        shortest = next(iter(results.values()))
        for days, result in zip(lakes, results.values()):
            # With a baseline it reads up to two weeks more: that is shown, and has no bar.
            has_bar = more and result is not shortest
            bars = [at_most("÷ the smallest lake", result.wall() / shortest.wall(), NOISE)] if has_bar else []
            note = f"three detections over the last day, {what}"
            bench.report.add(Row(f"growth: detect, {days}-day lake", "flowscout", result, None, note, bars))


def lake_of_days(bench, days):
    per_day = 86_400 // GROWTH_SLOT_SECS * datasets.NUM_VPCS
    longest = max(GROWTH_DAYS)
    rows_per_object = max(bench.rows // GROWTH_SHARE // per_day, 1)
    dataset = datasets.Dataset("v2", rows_per_object, GROWTH_SLOT_SECS, longest, bench.seed)
    numbers = range((longest - days) * per_day, longest * per_day)
    logs = datasets.lay_out(bench.work, dataset, numbers, f"growth-{days}-days")
    return bench.build_lake(logs, f"growth-{days}-days")
