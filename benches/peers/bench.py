"""What all measures share: where things lie, how each engine is called, and how a result is compared with the truth."""

import glob
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import datasets
from measure import Failure, Job, run
from report import Report

HERE = Path(__file__).parent
TOTALS_OF_LAKE = """
    SELECT COUNT(*) AS rows, SUM(bytes) AS bytes, SUM(packets) AS packets,
        SUM(CASE WHEN action = 'REJECT' THEN 1 ELSE 0 END) AS rejects,
        CAST(MIN(start) AS BIGINT) / 1000000 AS start, CAST(MAX("end") AS BIGINT) / 1000000 AS "end"
    FROM flows
"""


@dataclass
class Bench:
    work: Path
    flowscout: Path
    inflate: Path
    rows: int
    lookup_rows: int
    repeats: int
    seed: int
    full: bool
    report: Report

    def ours(self, *arguments):
        return [self.flowscout, *arguments, "--quiet"]

    def peer(self, task, **arguments):
        return [sys.executable, HERE / "peers.py", task, json.dumps(arguments)]

    def ask(self, task, **arguments):
        """What a task of `peers.py` answers, where its time does not matter."""
        return answer_of(run(self.peer(task, **arguments)))

    def scratch(self, name):
        """A path to write results to, which is free."""
        path = self.work / "scratch" / name
        remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def logs(self, log_format, rows_per_object, num_objects, name):
        """Objects of five minutes, from the start of the last day on. The first ones are the same, however many are asked for."""
        dataset = datasets.Dataset(log_format, rows_per_object, slot_secs=300, days=1, seed=self.seed)
        return datasets.lay_out(self.work, dataset, range(num_objects), name)

    def topology(self):
        return datasets.topology_folder(self.work, self.seed)

    def ingest_job(self, logs, lake):
        """flowscout's ingest, into a new lake each time."""
        return Job(
            "flowscout",
            self.ours("ingest", logs.folder, "--lake", lake),
            prepare=lambda: remove(lake),
            check=lambda _: self.check_lake(lake, logs.totals),
        )

    def build_lake(self, logs, name):
        """A lake with logs and the topology, for others to be measured on."""
        lake = self.work / "lakes" / name
        lake.parent.mkdir(exist_ok=True)
        job = self.ingest_job(logs, lake)
        job.prepare()
        job.check(run(job.command))
        run(self.ours("topology", "import", self.topology() / "ec2", "--lake", lake))
        return lake

    def check_lake(self, lake, expected):
        """A lake must hold what was written, as we and as others read it."""
        seen = json.loads(run(self.ours("sql", TOTALS_OF_LAKE, "--lake", lake, "--format", "ndjson")).output)
        must_agree("flowscout's own reading of its lake", seen, expected)
        self.check_files("flowscout", lake_files(lake), expected)

    def check_files(self, engine, files, expected):
        must_agree(f"what {engine} wrote", self.ask("duckdb_totals", files=files), expected)


def must_agree(what, seen, expected):
    if seen != expected:
        raise Failure(f"{what} is wrong: {seen}, expected {expected}")


def answer_of(run):
    """The result that a task of `peers.py` printed."""
    return json.loads(run.output)["result"]


def seconds_inside(result):
    """The median of the seconds that a task of `peers.py` took once Python and the engine were loaded."""
    seconds = sorted(json.loads(run.output)["seconds"] for run in result.runs)
    return seconds[len(seconds) // 2]


def lake_files(lake):
    return sorted(glob.glob(f"{lake}/date=*/*.parquet"))


def size_of(files):
    return sum(Path(file).stat().st_size for file in files)


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
