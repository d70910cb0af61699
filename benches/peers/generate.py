"""Writes flow log objects and the topology of the made-up company; what is there already is kept.

Usage: generate.py FOLDER ORDER    ORDER is what `datasets.make` says, as JSON.
"""

import gzip
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

# Each process works for itself; must be set before Polars is loaded.
os.environ["POLARS_MAX_THREADS"] = "1"

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

import topology  # noqa: E402
from datasets import NUM_VPCS, Dataset, topology_folder  # noqa: E402
from formats import FIELDS  # noqa: E402
from network import ACCOUNT, REGION, Network  # noqa: E402
from traffic import NO_PATH, REJECT, Traffic  # noqa: E402

GZIP_LEVEL = 6


class Writer:
    """Draws, formats and writes the objects of a data set."""

    def __init__(self, work, dataset):
        self.dataset = dataset
        self.folder = dataset.folder(work)
        self.network = Network(dataset.seed)
        self.traffic = Traffic(self.network)
        self.addresses = pl.Series(self.traffic.addresses)
        interfaces = self.network.interfaces
        subnets = [self.network.subnets[interface.subnet] for interface in interfaces]
        self.of_interface = {
            "interface-id": pl.Series([interface.id for interface in interfaces]),
            "vpc-id": pl.Series([self.network.vpcs[subnet.vpc].id for subnet in subnets]),
            "subnet-id": pl.Series([subnet.id for subnet in subnets]),
            "instance-id": pl.Series([interface.instance for interface in interfaces], dtype=pl.String),
            "az-id": pl.Series([subnet.zone_id for subnet in subnets]),
        }

    def write(self, number):
        """Writes one object, then its totals, which say that it is complete."""
        vpc = number % NUM_VPCS
        start = int(self.dataset.slot_start(number).timestamp())
        slot = start // self.dataset.slot_secs
        rows = self.traffic.rows(
            self.dataset.seed, slot, vpc, start, self.dataset.slot_secs, self.dataset.rows_per_object
        )
        text = self.text(rows)
        compressed = gzip.compress(text, GZIP_LEVEL, mtime=0)
        key = self.dataset.key(number, ACCOUNT, REGION, self.network.vpcs[vpc].flow_log)
        replace(self.folder / key, compressed)
        totals = {
            "key": key,
            "rows": len(rows["src"]),
            "bytes": int(rows["bytes"].sum()),
            "packets": int(rows["packets"].sum()),
            "rejects": int((rows["action"] == REJECT).sum()),
            "start": int(rows["start"].min()),
            "end": int(rows["end"].max()),
            "text_bytes": len(text),
            "compressed_bytes": len(compressed),
        }
        replace(self.folder / "totals" / f"{number:05}.json", json.dumps(totals).encode())

    def text(self, rows):
        """The object's lines, with the header."""
        count = len(rows["src"])
        fields = FIELDS[self.dataset.log_format]
        interface = pl.Series(rows["interface"])
        columns = {
            "srcaddr": self.addresses.gather(rows["src"]),
            "dstaddr": self.addresses.gather(rows["dst"]),
            "srcport": rows["src_port"],
            "dstport": rows["dst_port"],
            "protocol": rows["protocol"],
            "packets": rows["packets"],
            "bytes": rows["bytes"],
            "start": rows["start"],
            "end": rows["end"],
            "action": pl.Series(["ACCEPT", "REJECT"]).gather(rows["action"]),
        }
        constants = {"version": self.dataset.log_format[1:], "account-id": ACCOUNT, "log-status": "OK"}
        if self.dataset.log_format == "v5":
            constants |= {"type": "IPv4", "region": REGION, "sublocation-type": None, "sublocation-id": None}
            columns |= {
                "tcp-flags": rows["flags"],
                "pkt-srcaddr": self.addresses.gather(rows["packet_src"]),
                "pkt-dstaddr": self.addresses.gather(rows["packet_dst"]),
                "pkt-src-aws-service": self.service(rows["packet_src"]),
                "pkt-dst-aws-service": self.service(rows["packet_dst"]),
                "flow-direction": pl.Series(["ingress", "egress"]).gather(rows["egress"]),
                "traffic-path": pl.Series(rows["path"]).replace(NO_PATH, None),
            }
        for field, values in self.of_interface.items():
            if field in fields:
                columns[field] = values.gather(interface)
        for field, value in constants.items():
            columns[field] = pl.repeat(value, count, dtype=pl.String, eager=True)
        table = pl.DataFrame({field: columns[field] for field in fields})
        return table.write_csv(separator=" ", null_value="-", quote_style="never").encode()

    def service(self, ends):
        first, after = self.traffic.first_aws, self.traffic.first_scanner
        return pl.Series([None, "S3"], dtype=pl.String).gather(((ends >= first) & (ends < after)).astype(np.int8))


def replace(path, content):
    """Writes a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)


writer = None


def start_worker(work, dataset):
    global writer
    writer = Writer(work, dataset)


def write(number):
    writer.write(number)


def main():
    work, order = Path(sys.argv[1]), json.loads(sys.argv[2])
    dataset = Dataset(**order["dataset"])
    replace_topology(work, dataset.seed)
    totals = dataset.folder(work) / "totals"
    missing = [number for number in range(*order["numbers"]) if not (totals / f"{number:05}.json").exists()]
    if not missing:
        return
    began = time.monotonic()
    # Not forked: Polars has threads.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(os.cpu_count(), len(missing)), start_worker, (work, dataset)) as pool:
        for _ in pool.imap_unordered(write, missing):
            pass
    rows = len(missing) * dataset.rows_per_object
    print(f"wrote {len(missing)} objects, {rows:,} rows, in {time.monotonic() - began:.0f} s", file=sys.stderr)


def replace_topology(work, seed):
    for name, content in topology.files(Network(seed)).items():
        replace(topology_folder(work, seed) / name, content.encode())


if __name__ == "__main__":
    main()
