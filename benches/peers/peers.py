"""What the other engines do, each as one who knows it well would write it. A run is a process of its own.

Usage: peers.py TASK ARGUMENTS    ARGUMENTS is a JSON object. Prints {"seconds": once all is loaded, "result": …}.
"""

import glob
import importlib
import json
import sys
import time
from pathlib import Path

from formats import FIELDS, TIMES, column, columns

# What flowscout uses too. Higher levels take longer and make these files a percent smaller at best.
ZSTD_LEVEL = 1


# The module of each engine; a task begins with the engine's name.
MODULES = {"polars": "polars", "duckdb": "duckdb", "clickhouse": "chdb"}


def logs_in(folder):
    return sorted(glob.glob(f"{folder}/AWSLogs/**/*.log.gz", recursive=True))


def polars_ingest(folder, log_format, out):
    import polars as pl

    names = {field: column(field) for field in FIELDS[log_format]}
    types = columns(log_format, pl.Int32, pl.Int64, pl.Int64, pl.String)
    logs = pl.scan_csv(
        logs_in(folder),
        separator=" ",
        schema={field: types[name] for field, name in names.items()},
        null_values="-",
        quote_char=None,
    )
    times = (pl.col(*TIMES) * 1_000_000).cast(pl.Datetime("us", "UTC"))
    # Ours does not keep the order of objects either.
    logs.with_columns(times).rename(names).sink_parquet(
        out, compression="zstd", compression_level=ZSTD_LEVEL, maintain_order=False
    )


def duckdb_read_csv(folder, log_format):
    """DuckDB's call that reads logs; the times are made timestamps by `duckdb_columns`."""
    types = columns(log_format, "INTEGER", "BIGINT", "BIGINT", "VARCHAR")
    return (
        f"read_csv({logs_in(folder)}, columns = {types}, delim = ' ', header = true, nullstr = '-',"
        " quote = '', escape = '', auto_detect = false)"
    )


def duckdb_columns(log_format):
    names = [column(field) for field in FIELDS[log_format]]
    return ", ".join(f'to_timestamp("{name}") AS "{name}"' if name in TIMES else f'"{name}"' for name in names)


def duckdb_ingest(folder, log_format, out):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        f"COPY (SELECT {duckdb_columns(log_format)} FROM {duckdb_read_csv(folder, log_format)})"
        f" TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {ZSTD_LEVEL})"
    )


def clickhouse_ingest(folder, log_format, out):
    import chdb

    types = columns(log_format, "Nullable(Int32)", "Nullable(Int64)", "DateTime('UTC')", "Nullable(String)")
    structure = ", ".join(f"`{name}` {type_}" for name, type_ in types.items()).replace("'", "\\'")
    settings = {
        "format_csv_delimiter": "' '",
        # Else it refuses a space between fields.
        "input_format_csv_allow_whitespace_or_tab_as_delimiter": 1,
        "format_csv_null_representation": "'-'",
        # The columns are ours, in the order of the header: there is nothing to look up or guess.
        "input_format_with_names_use_header": 0,
        "input_format_csv_detect_header": 0,
        "output_format_parquet_compression_method": "'zstd'",
        "output_format_compression_level": ZSTD_LEVEL,
    }
    chdb.query(
        f"INSERT INTO FUNCTION file('{out}', 'Parquet')"
        f" SELECT * FROM file('{folder}/AWSLogs/**/*.log.gz', 'CSVWithNames', '{structure}', 'gzip')"
        f" SETTINGS {', '.join(f'{name} = {value}' for name, value in settings.items())}"
    )


def duckdb_totals(files):
    """What is in Parquet files, whoever wrote them; see `datasets.TOTALS`."""
    import duckdb

    row = duckdb.execute(
        """
        SELECT count(*), sum(bytes)::BIGINT, sum(packets)::BIGINT, count(*) FILTER (WHERE action = 'REJECT'),
            epoch(min("start"))::BIGINT, epoch(max("end"))::BIGINT
        FROM read_parquet(?, hive_partitioning = false)
        """,
        [files],
    ).fetchone()
    return dict(zip(("rows", "bytes", "packets", "rejects", "start", "end"), row))


def duckdb_logs(folder, log_format, statement):
    """A statement over `flows`, straight from the logs."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        f"CREATE VIEW flows AS SELECT {duckdb_columns(log_format)} FROM {duckdb_read_csv(folder, log_format)}"
    )
    return rows(connection.execute(statement))


def duckdb_lake(lake, statement):
    """A statement over `flows`, from a lake's files."""
    import duckdb

    connection = duckdb.connect()
    view_of_lake(connection, lake)
    return rows(connection.execute(statement))


def duckdb_detect(lake, topology, statements, window):
    """A detection: its statements, one file after the other, over `flows` and the topology's files."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    view_of_lake(connection, lake)
    for name, value in {"topology": topology, **window}.items():
        connection.execute(f"SET VARIABLE \"{name}\" = '{value}'")
    for file in statements:
        answer = connection.execute(Path(file).read_text())
    return rows(answer)


def view_of_lake(connection, lake):
    connection.execute(
        f"CREATE VIEW flows AS SELECT * FROM read_parquet('{lake}/date=*/*.parquet', hive_partitioning = true)"
    )


def rows(answer):
    names = [description[0] for description in answer.description]
    return [dict(zip(names, row)) for row in answer.fetchall()]


TASKS = {
    task.__name__: task
    for task in (
        polars_ingest, duckdb_ingest, clickhouse_ingest, duckdb_totals, duckdb_logs, duckdb_lake, duckdb_detect,
    )
}


def main():
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    task = TASKS[name]
    importlib.import_module(MODULES[name.split("_")[0]])
    began = time.monotonic()
    result = task(**arguments)
    seconds = time.monotonic() - began
    json.dump({"seconds": seconds, "result": result}, sys.stdout, default=str)


if __name__ == "__main__":
    main()
