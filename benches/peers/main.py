"""Runs the chosen measures and prints the table; `run` in this folder sets up what is needed and calls it.

Exit code: 0 measured, whether or not the bars hold; 1 an engine failed or a result was wrong; 2 there is nothing to measure.
"""

import argparse
import os
import sys
from pathlib import Path

import detections
import ingest
import queries
from bench import Bench
from measure import Failure, run
from report import Report

REPOSITORY = Path(__file__).resolve().parents[2]
SECTIONS = ("ingest-v2", "ingest-v5", "memory", "sql", "size", "lookup", "detect", "growth")


def parse():
    target = Path(os.environ.get("CARGO_TARGET_DIR") or "target")
    parser = argparse.ArgumentParser(
        prog="benches/peers/run", description="Measures flowscout against Polars, DuckDB and ClickHouse."
    )
    add = parser.add_argument
    add("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)} [default: all]")
    add("--work", type=Path, required=True, help=argparse.SUPPRESS)
    add("--rows", type=int, default=4_000_000, metavar="N", help="of ingest-v2; other measures follow [default: 4000000]")
    add("--lookup-rows", type=int, default=20_000_000, metavar="N", help="of the lake for lookup and detect [default: 20000000]")
    add("--repeats", type=int, default=3, metavar="N", help="after a run that is not counted [default: 3]")
    add("--seed", type=int, default=1, metavar="N", help="of all that is made up [default: 1]")
    add("--full", action="store_true", help="growth: also ingest 12.5 times the rows of ingest-v2")
    add("--flowscout", type=Path, metavar="PATH", help="[default: release/flowscout in CARGO_TARGET_DIR or target]")
    add("--inflate", type=Path, metavar="PATH", help="inflates files and does nothing else [default: examples/inflate beside it]")
    arguments = parser.parse_args()
    arguments.flowscout = arguments.flowscout or REPOSITORY / target / "release/flowscout"
    unknown = sorted(set(arguments.sections) - set(SECTIONS))
    if unknown:
        parser.error(f"no such section: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if not os.access(arguments.flowscout, os.X_OK):
        parser.error(
            f"there is no flowscout at `{arguments.flowscout}`:"
            " build it with `cargo build --release`, or name it with --flowscout"
        )
    arguments.sections = arguments.sections or list(SECTIONS)
    arguments.inflate = arguments.inflate or arguments.flowscout.parent / "examples/inflate"
    return arguments


def measures(bench):
    """What each section does. Lookup and detect share a lake, both ingests their results with the sizes."""
    ingests = ingest.Ingests(bench)
    large = []

    def large_lake():
        if not large:
            large.extend(queries.large_lake(bench))
        return large

    def growth():
        ingest.growth(bench)
        detections.growth(bench)

    return {
        "ingest-v2": lambda: ingests.measure("v2"),
        "ingest-v5": lambda: ingests.measure("v5"),
        "memory": lambda: ingest.memory(bench),
        "sql": lambda: queries.sql(bench),
        "size": ingests.size,
        "lookup": lambda: queries.lookup(bench, *large_lake()),
        "detect": lambda: detections.detect(bench, large_lake()[0]),
        "growth": growth,
    }


def main():
    arguments = parse()
    settings = {name: getattr(arguments, name) for name in ("rows", "lookup_rows", "repeats", "seed", "full")}
    report = Report(settings, run([arguments.flowscout, "--version"]).output.split()[-1])
    paths = (path.absolute() for path in (arguments.work, arguments.flowscout, arguments.inflate))
    bench = Bench(*paths, report=report, **settings)
    path = arguments.work / f"result-{report.at:%Y%m%dT%H%M%SZ}.json"
    todo = measures(bench)
    for section in arguments.sections:
        print(f"{section} …", file=sys.stderr)
        try:
            todo[section]()
        except Failure as failure:
            print(f"{section} FAILED: {failure}", file=sys.stderr)
            report.fail(section, failure)
        # Each time, so that a run that is cut short leaves what it has.
        report.write_json(path)
    print(report.markdown(), end="")
    print(f"wrote {path}", file=sys.stderr)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
