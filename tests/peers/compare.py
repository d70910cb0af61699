"""Compares what flowscout says of a lake with what `deltalake`, `duckdb` and `polars` see in it.

Usage: compare.py FLOWSCOUT LAKE    Exits with 1 if they do not agree.
"""

import json
import subprocess
import sys

import read_lake

SQL = """SELECT COUNT(*) AS rows, SUM(bytes) AS bytes, SUM(packets) AS packets,
    CAST(MIN(start) AS BIGINT) AS start, CAST(MAX("end") AS BIGINT) AS "end" FROM flows"""


def main():
    flowscout, lake = sys.argv[1:3]
    ours = json.loads(subprocess.check_output([flowscout, "sql", SQL, "--lake", lake, "--format", "ndjson"]))
    seen = {
        "flowscout": ours,
        "deltalake": read_lake.with_deltalake(lake),
        "duckdb": read_lake.with_duckdb(lake),
        "polars": read_lake.with_polars(lake),
    }
    for name, numbers in seen.items():
        print(f"{name:10} {json.dumps(numbers)}")
    agree = all(numbers == ours for numbers in seen.values()) and ours["rows"] > 0
    print("they agree" if agree else "they do NOT agree")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
