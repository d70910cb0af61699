"""Opens a lake with `deltalake`, `duckdb` and `polars` from PyPI, and prints what each of them sees in it.

Usage: read_lake.py LAKE

Prints one JSON object: for each reader the number of rows, sum(bytes), sum(packets), min(start) and max(end), the times in
microseconds since 1970. Exits with 1 if they do not agree.
"""

import json
import sys

import deltalake
import duckdb
import polars

NOTHING = {"rows": 0, "bytes": None, "packets": None, "start": None, "end": None}


def with_deltalake(lake):
    table = deltalake.DeltaTable(lake)
    query = """
        SELECT count(*) AS rows, sum(bytes) AS bytes, sum(packets) AS packets,
            CAST(min("start") AS BIGINT) AS start, CAST(max("end") AS BIGINT) AS "end"
        FROM flows
    """
    result = deltalake.QueryBuilder().register("flows", table).execute(query).read_all()
    return {name: result[name][0].as_py() for name in NOTHING}


def with_duckdb(lake):
    # DuckDB's own Delta extension is not on PyPI: the log is read by `deltalake`, the files by DuckDB.
    files = deltalake.DeltaTable(lake).file_uris()
    if not files:
        return NOTHING
    query = """
        SELECT count(*), sum(bytes)::BIGINT, sum(packets)::BIGINT, epoch_us(min("start")), epoch_us(max("end"))
        FROM read_parquet(?, hive_partitioning = true)
    """
    return dict(zip(NOTHING, duckdb.execute(query, [files]).fetchone()))


def with_polars(lake):
    column = polars.col
    seen = polars.scan_delta(lake).select(
        polars.len().alias("rows"),
        column("bytes").sum(),
        column("packets").sum(),
        column("start").min().dt.epoch("us"),
        column("end").max().dt.epoch("us"),
    )
    row = seen.collect().row(0, named=True)
    # Where SQL has no sum, Polars has 0.
    return row if row["rows"] else NOTHING


def main():
    lake = sys.argv[1]
    seen = {"deltalake": with_deltalake(lake), "duckdb": with_duckdb(lake), "polars": with_polars(lake)}
    print(json.dumps(seen))
    return 0 if len({json.dumps(each) for each in seen.values()}) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
