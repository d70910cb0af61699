"""Ingest: gzip objects to Parquet with zstd; its time, its memory, and the size of what is written."""

from bench import lake_files, remove, seconds_inside, size_of
from measure import Job, in_turn
from report import MIB, Row, at_least, at_most

NUM_OBJECTS = 20
PEERS = {"polars": "polars_ingest", "duckdb": "duckdb_ingest", "clickhouse": "clickhouse_ingest"}
# Sizes are compared with these: ClickHouse has no part in the bar, but is shown.
SIZE_RIVALS = ("polars", "duckdb")

TIMES_FASTER = 2.0
TIMES_INFLATE = 4.0
PEAK_MIB = 512
# Runs of the same command differ by this much; what stays within it is flat.
NOISE = 1.25

GROWTH_OBJECTS = (5, 50)
GROWTH_OBJECTS_FULL = (5, 50, 250)


class Ingest:
    """One log format, by every engine."""

    def __init__(self, bench, log_format, rows):
        self.bench, self.log_format = bench, log_format
        self.logs = bench.logs(log_format, rows // NUM_OBJECTS, NUM_OBJECTS, f"ingest-{log_format}")
        self.lake = bench.scratch(f"{log_format}-lake")
        self.files = {engine: bench.scratch(f"{log_format}-{engine}.parquet") for engine in PEERS}

    def jobs(self):
        found = [self.bench.ingest_job(self.logs, self.lake)]
        return found + [self._peer(engine, task) for engine, task in PEERS.items()]

    def _peer(self, engine, task):
        out = self.files[engine]
        return Job(
            engine,
            self.bench.peer(task, folder=str(self.logs.folder), log_format=self.log_format, out=str(out)),
            prepare=lambda: remove(out),
            check=lambda _: self.bench.check_files(engine, [str(out)], self.logs.totals),
        )

    def sizes(self):
        """Bytes of data files that each engine's last run left."""
        return {"flowscout": size_of(lake_files(self.lake))} | {
            engine: size_of([out]) for engine, out in self.files.items()
        }


class Ingests:
    """Both formats, made and run when they are first asked for."""

    def __init__(self, bench):
        self.bench = bench
        self.rows = {"v2": bench.rows, "v5": bench.rows // 2}
        self.sizes = {}

    def measure(self, log_format):
        bench, ingest = self.bench, Ingest(self.bench, log_format, self.rows[log_format])
        logs, jobs = ingest.logs, ingest.jobs()
        if bench.inflate.exists():
            jobs.insert(0, Job("inflate only", [bench.inflate, *logs.files]))
        results = in_turn(jobs, bench.repeats)
        self.sizes[log_format] = ingest.sizes()
        ours = results["flowscout"].wall()
        fastest = min(results[engine].wall() for engine in PEERS)
        bars = [at_least("fastest peer ÷ ours", fastest / ours, TIMES_FASTER)]
        rows, megabytes = logs.totals["rows"], logs.text_bytes / 1e6
        notes = {
            "flowscout": f"{rows:,} rows, {megabytes:.0f} MB of text, {logs.compressed_bytes / 1e6:.0f} MB gz;"
            f" {rows / ours / 1e6:.2f} M rows/s"
        }
        notes |= {engine: f"{seconds_inside(results[engine]):.2f} s once loaded" for engine in PEERS}
        if "inflate only" in results:
            bars.append(at_most("ours ÷ inflate", ours / results["inflate only"].wall(), TIMES_INFLATE))
        else:
            notes["flowscout"] += f"; not compared with inflating alone, there is no {bench.inflate.name}"
        bench.report.add_results(f"ingest-{log_format}", results, notes=notes, bars=bars)

    def size(self):
        for log_format, rows in self.rows.items():
            if log_format not in self.sizes:
                ingest = Ingest(self.bench, log_format, rows)
                in_turn(ingest.jobs(), repeats=1, warm_up=False)
                self.sizes[log_format] = ingest.sizes()
            self._report_sizes(log_format, self.sizes[log_format])

    def _report_sizes(self, log_format, sizes):
        ours = sizes["flowscout"]
        for engine, size in sizes.items():
            is_ours = engine == "flowscout"
            bars = [at_most(f"ours ÷ {rival}", ours / sizes[rival], 1.0) for rival in SIZE_RIVALS] if is_ours else []
            ratio = None if is_ours else size / ours
            self.bench.report.add(Row(f"size {log_format}", engine, None, ratio, f"{size / 1e6:.1f} MB", bars))


def memory(bench):
    """The peak of an ingest, whatever there is to read."""
    peaks = {}
    for num_objects in (1, 20, 200):
        logs = bench.logs("v2", bench.rows // NUM_OBJECTS, num_objects, f"memory-{num_objects}")
        lake = bench.scratch("memory-lake")
        result = in_turn([bench.ingest_job(logs, lake)], bench.repeats, warm_up=False)["flowscout"]
        peaks[num_objects] = result.peak_bytes() / MIB
        remove(lake)
        bars = [at_most("peak MiB", peaks[num_objects], PEAK_MIB)]
        if num_objects == 200:
            bars.append(at_most("200 objects ÷ 20", peaks[200] / peaks[20], NOISE))
        note = f"{logs.totals['rows']:,} rows, highest of {bench.repeats} runs"
        bench.report.add(Row(f"memory: {num_objects} {'object' if num_objects == 1 else 'objects'}", "flowscout", result, None, note, bars))


def growth(bench):
    """Rows per second, whatever there is to read."""
    speeds = []
    for num_objects in GROWTH_OBJECTS_FULL if bench.full else GROWTH_OBJECTS:
        logs = bench.logs("v2", bench.rows // NUM_OBJECTS, num_objects, f"growth-{num_objects}")
        lake = bench.scratch("growth-lake")
        result = in_turn([bench.ingest_job(logs, lake)], bench.repeats)["flowscout"]
        remove(lake)
        rows = logs.totals["rows"]
        speeds.append(rows / result.wall())
        bars = [at_most("rows/s of the smallest ÷ these", speeds[0] / speeds[-1], NOISE)] if len(speeds) > 1 else []
        note = f"{speeds[-1] / 1e6:.2f} M rows/s"
        bench.report.add(Row(f"growth: ingest of {rows:,} rows", "flowscout", result, None, note, bars))
