"""Which data is made, where it lies, and what is known to be in it. Kept apart from the generator: this needs the standard library only."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

# To be raised whenever the generator would write other bytes: data of another version is never used.
GENERATOR_VERSION = 1

LAST_DAY = datetime(2026, 10, 30, tzinfo=timezone.utc)
NUM_VPCS = 2


@dataclass(frozen=True)
class Dataset:
    """Objects of one shape. Object 0 and 1 are the two VPCs' in the first slot, 2 and 3 in the second, and so on to the last day."""

    log_format: str
    rows_per_object: int
    slot_secs: int
    days: int
    seed: int

    def folder(self, work):
        name = f"{self.log_format}-{self.rows_per_object}rows-{self.slot_secs}s-{self.days}days-seed{self.seed}-g{GENERATOR_VERSION}"
        return work / "data" / name

    def objects_per_day(self):
        return 86_400 // self.slot_secs * NUM_VPCS

    def slot_start(self, number):
        first_day = LAST_DAY - timedelta(days=self.days - 1)
        return first_day + timedelta(seconds=number // NUM_VPCS * self.slot_secs)

    def key(self, number, account, region, flow_log):
        """The object's key, as AWS names it."""
        at = self.slot_start(number)
        tail = hashlib.sha256(f"{self} {number}".encode()).hexdigest()[:8]
        name = f"{account}_vpcflowlogs_{region}_{flow_log}_{at:%Y%m%dT%H%MZ}_{tail}.log.gz"
        return f"AWSLogs/{account}/vpcflowlogs/{region}/{at:%Y/%m/%d}/{name}"


@dataclass(frozen=True)
class Logs:
    """Objects that lie together in a folder, and the truth about them."""

    folder: Path
    files: list
    totals: dict
    text_bytes: int
    compressed_bytes: int


# How each total of a data set comes from those of its objects, and of everything that an engine writes or answers.
TOTALS = {"rows": sum, "bytes": sum, "packets": sum, "rejects": sum, "start": min, "end": max}


def topology_folder(work, seed):
    return work / "data" / f"topology-seed{seed}-g{GENERATOR_VERSION}"


def make(work, dataset, numbers):
    """Writes what is missing of some objects, in a process of its own, and of the network's topology."""
    order = json.dumps({"dataset": asdict(dataset), "numbers": [numbers.start, numbers.stop]})
    generator = Path(__file__).with_name("generate.py")
    subprocess.run([sys.executable, str(generator), str(work), order], check=True)


def lay_out(work, dataset, numbers, name):
    """Makes objects, and a folder that has these and no others."""
    make(work, dataset, numbers)
    folder = dataset.folder(work)
    view = work / "views" / name
    shutil.rmtree(view, ignore_errors=True)
    files, parts = [], []
    for number in numbers:
        part = json.loads((folder / "totals" / f"{number:05}.json").read_text())
        target = view / part["key"]
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(folder / part["key"], target)
        files.append(str(target))
        parts.append(part)
    totals = {total: combine(part[total] for part in parts) for total, combine in TOTALS.items()}
    text, compressed = (sum(part[size] for part in parts) for size in ("text_bytes", "compressed_bytes"))
    return Logs(view, sorted(files), totals, text, compressed)
