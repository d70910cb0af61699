"""Statements: straight over raw logs, and for one address on one day in a large lake."""

import csv
import io
from datetime import datetime, timedelta, timezone

import datasets
from bench import answer_of, must_agree, seconds_inside
from ingest import NUM_OBJECTS
from measure import Failure, Job, in_turn
from report import at_least

TIMES_FASTER_SQL = 4.0
TIMES_FASTER_LOOKUP = 3.0

LAKE_DAYS = 5
LAKE_SLOT_SECS = 3600

# By name: the statement, and whether the answer is fixed; any ten rows are right.
RAW_STATEMENTS = {
    "sum": ("SELECT action, SUM(bytes) AS bytes FROM flows GROUP BY action", True),
    "limit": ("SELECT * FROM flows LIMIT 10", False),
    "count": ("SELECT COUNT(*) AS flows FROM flows WHERE dstport = 22 AND action = 'REJECT'", True),
}
LOOKUP = """
    SELECT start, srcaddr, dstaddr, dstport, bytes, action
    FROM flows
    WHERE (srcaddr = '{address}' OR dstaddr = '{address}') AND date = DATE '{day}'
    ORDER BY start, srcaddr, dstaddr, dstport, bytes
    LIMIT 100
"""
# Addresses of the internet, with the rows that they have on the day.
FOUND_ADDRESSES = """
    SELECT dstaddr AS address, COUNT(*) AS flows
    FROM flows
    WHERE date = DATE '{day}' AND dstaddr NOT LIKE '10.%'
    GROUP BY dstaddr
    ORDER BY flows, dstaddr
"""


def sql(bench):
    logs = bench.logs("v2", bench.rows // NUM_OBJECTS, NUM_OBJECTS, "sql")
    for name, (statement, is_fixed) in RAW_STATEMENTS.items():
        answers = {}
        jobs = [
            Job(
                "flowscout",
                bench.ours("sql", statement, "--logs", logs.folder, "--format", "csv"),
                check=lambda run: answers.__setitem__("flowscout", rows_of_csv(run.output)),
            ),
            Job(
                "duckdb",
                bench.peer("duckdb_logs", folder=str(logs.folder), log_format="v2", statement=statement),
                check=lambda run: answers.__setitem__("duckdb", rows_of_json(answer_of(run))),
            ),
        ]
        results = in_turn(jobs, bench.repeats)
        compare(f"sql {name}", answers, is_fixed)
        bars = [at_least("DuckDB ÷ ours", results["duckdb"].wall() / results["flowscout"].wall(), TIMES_FASTER_SQL)]
        notes = {
            "flowscout": f"`{statement}` over {logs.totals['rows']:,} rows",
            "duckdb": f"{seconds_inside(results['duckdb']):.2f} s once loaded",
        }
        bench.report.add_results(f"sql {name}", results, notes=notes, bars=bars if name == "sum" else ())


def large_lake(bench):
    """Five days in objects of an hour, with the topology."""
    per_day = 86_400 // LAKE_SLOT_SECS * datasets.NUM_VPCS
    num_objects = per_day * LAKE_DAYS
    dataset = datasets.Dataset("v2", -(-bench.lookup_rows // num_objects), LAKE_SLOT_SECS, LAKE_DAYS, bench.seed)
    logs = datasets.lay_out(bench.work, dataset, range(num_objects), "large")
    return bench.build_lake(logs, "large"), logs


def lookup(bench, lake, logs):
    day = f"{datasets.LAST_DAY - timedelta(days=1):%Y-%m-%d}"
    for kind, address in addresses(bench, lake, day).items():
        statement = LOOKUP.format(address=address, day=day)
        answers = {}
        jobs = [
            Job(
                "flowscout",
                bench.ours("sql", statement, "--lake", lake, "--format", "csv"),
                check=lambda run: answers.__setitem__("flowscout", rows_of_csv(run.output)),
            ),
            Job(
                "duckdb",
                bench.peer("duckdb_lake", lake=str(lake), statement=statement),
                check=lambda run: answers.__setitem__("duckdb", rows_of_json(answer_of(run))),
            ),
        ]
        results = in_turn(jobs, bench.repeats)
        compare(f"lookup {kind}", answers, is_fixed=True)
        ours, inside = results["flowscout"].wall(), seconds_inside(results["duckdb"])
        bars = [at_least("DuckDB ÷ ours", results["duckdb"].wall() / ours, TIMES_FASTER_LOOKUP)]
        notes = {
            "flowscout": f"{address} on {day}: {len(answers['flowscout'])} rows of {logs.totals['rows']:,}",
            "duckdb": f"{inside:.3f} s once loaded: {inside / ours:.2f} of ours",
        }
        bench.report.add_results(f"lookup {kind}", results, notes=notes, bars=bars)


def addresses(bench, lake, day):
    """A rare address, a middling one, and one that is not there although its like are: statistics cannot exclude it."""
    found = bench.ask("duckdb_lake", lake=str(lake), statement=FOUND_ADDRESSES.format(day=day))
    if not found:
        raise Failure(f"the lake has no addresses of the internet on {day}")
    rare, middling = found[0], found[len(found) * 9 // 10]
    known = {row["address"] for row in found}
    stem = middling["address"].rsplit(".", 1)[0]
    absent = next(f"{stem}.{host}" for host in range(256) if f"{stem}.{host}" not in known)
    return {"rare": rare["address"], "middling": middling["address"], "absent": absent}


def compare(what, answers, is_fixed):
    ours, theirs = answers["flowscout"], answers["duckdb"]
    if is_fixed:
        must_agree(f"{what}: flowscout's answer", sorted(ours), sorted(theirs))
    else:
        must_agree(f"{what}: the number of flowscout's rows", len(ours), len(theirs))


def rows_of_csv(text):
    return [tuple(same_words(value) for value in row) for row in list(csv.reader(io.StringIO(text)))[1:]]


def rows_of_json(found):
    return [tuple(same_words(str(value)) for value in row.values()) for row in found]


def same_words(value):
    """Times as seconds: every engine prints them in a way of its own. Nothing else here has a colon."""
    if ":" not in value:
        return value
    at = datetime.fromisoformat(value)
    return str(int((at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()))
