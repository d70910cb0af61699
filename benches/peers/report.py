"""Collects what was measured, and writes it as one Markdown table and as JSON."""

import importlib.metadata
import json
import os
import platform
from dataclasses import dataclass, field
from datetime import datetime, timezone

MIB = 1024 * 1024


@dataclass(frozen=True)
class Bar:
    """A goal, what was measured, and whether it is met."""

    what: str
    measured: float
    limit: float
    at_least: bool

    def holds(self):
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def text(self):
        sign = "≥" if self.at_least else "≤"
        verdict = "holds" if self.holds() else "**MISSED**"
        return f"{self.what} {sign} {self.limit:g}: {self.measured:.2f} {verdict}"


def at_least(what, measured, limit):
    return Bar(what, measured, limit, at_least=True)


def at_most(what, measured, limit):
    return Bar(what, measured, limit, at_least=False)


@dataclass
class Row:
    """A line of the table."""

    measure: str
    engine: str
    result: object = None
    # How often ours fits into it: of the wall time, or of the size where that is what is measured.
    ratio: float | None = None
    note: str = ""
    bars: list = field(default_factory=list)


class Report:
    """The table's rows, as they come, and what they were measured with."""

    def __init__(self, settings, flowscout_version):
        self.rows = []
        self.failures = []
        self.settings = settings
        self.machine = machine()
        self.versions = {"flowscout": flowscout_version} | {
            name: importlib.metadata.version(name) for name in ("polars", "duckdb", "chdb", "numpy")
        }
        # chdb is a wrapper with a number of its own; its core is numbered as the ClickHouse that it is.
        self.versions["clickhouse (chdb-core)"] = importlib.metadata.version("chdb-core")
        self.at = datetime.now(timezone.utc)

    def add(self, *rows):
        self.rows.extend(rows)

    def add_results(self, measure, results, ours="flowscout", notes=None, bars=()):
        """A row for each engine of a measure, the bars beside ours."""
        notes = notes or {}
        for engine, result in results.items():
            is_ours = engine == ours
            ratio = None if is_ours or ours not in results else result.wall() / results[ours].wall()
            self.add(Row(measure, engine, result, ratio, notes.get(engine, ""), list(bars) if is_ours else []))

    def fail(self, section, why):
        self.failures.append(f"{section}: {why}")
        self.add(Row(section, "–", note="**FAILED**, see below"))

    def markdown(self):
        settings = self.settings
        lines = [
            f"Measured on {self.at:%Y-%m-%d %H:%M} UTC: {self.machine['cpu']}, {self.machine['cores']} cores,"
            f" {self.machine['memory_gib']} GiB, {self.machine['kernel']}.",
            "Versions: " + ", ".join(f"{name} {version}" for name, version in self.versions.items()) + ".",
            f"Seed {settings['seed']}, {settings['rows']:,} rows (lookup and detect: {settings['lookup_rows']:,});"
            f" median of {settings['repeats']} runs in turn, in brackets the fastest and the slowest; whole processes, their start included.",
            "Warm page cache: every input was read by a run before that is not counted. flowscout commits and fsyncs; the peers only write.",
            "",
            "| measure | engine | wall s | CPU s | peak MiB | ÷ flowscout | what | bar |",
            "|---|---|--:|--:|--:|--:|---|---|",
        ]
        lines += [self._line(row) for row in self.rows]
        lines += [""] + [f"FAILED {failure}" for failure in self.failures]
        return "\n".join(lines).rstrip() + "\n"

    def _line(self, row):
        wall = cpu = peak = ""
        if row.result:
            fastest, slowest = row.result.spread()
            wall = f"{row.result.wall():.2f} ({fastest:.2f}–{slowest:.2f})"
            cpu = f"{row.result.cpu():.2f}"
            peak = f"{row.result.peak_bytes() / MIB:.0f}"
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        bars = "; ".join(bar.text() for bar in row.bars)
        return f"| {row.measure} | {row.engine} | {wall} | {cpu} | {peak} | {ratio} | {row.note} | {bars} |"

    def write_json(self, path):
        document = {
            "at": self.at.isoformat(timespec="seconds"),
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
            "rows": [
                {
                    "measure": row.measure,
                    "engine": row.engine,
                    "wall_s": [run.wall for run in row.result.runs] if row.result else [],
                    "cpu_s": [run.cpu for run in row.result.runs] if row.result else [],
                    "peak_bytes": [run.peak_bytes for run in row.result.runs] if row.result else [],
                    "ratio": row.ratio,
                    "note": row.note,
                    "bars": [vars(bar) | {"holds": bar.holds()} for bar in row.bars],
                }
                for row in self.rows
            ],
            "failures": self.failures,
        }
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def machine():
    def field_of(path, name):
        with open(path) as lines:
            return next((line.split(":")[1].strip() for line in lines if line.startswith(name)), "unknown")

    memory_kib = int(field_of("/proc/meminfo", "MemTotal").split()[0])
    return {
        "cpu": field_of("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / MIB),
        "kernel": f"{platform.system()} {platform.release()}",
    }
