"""Runs engines in turn, each as a process of its own, and takes the time, the CPU time and the memory of each.

This process must stay small: what a child holds before it becomes another program counts towards its peak, so that no measured peak
can be lower than this process's own size. Hence neither NumPy nor an engine is imported here.
"""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

STDERR_SHOWN = 2000


class Failure(Exception):
    """An engine failed or answered something else than the others: there is nothing to compare."""


@dataclass(frozen=True)
class Run:
    wall: float
    cpu: float
    peak_bytes: int
    output: str


@dataclass(frozen=True)
class Job:
    """What one engine does in a measure."""

    engine: str
    command: list
    # Before each run, untimed: removes what the run before has written.
    prepare: Callable = lambda: None
    # After each run, untimed: raises a `Failure` if the result is wrong.
    check: Callable = lambda run: None


@dataclass
class Result:
    engine: str
    runs: list = field(default_factory=list)

    def wall(self):
        return statistics.median(run.wall for run in self.runs)

    def spread(self):
        walls = [run.wall for run in self.runs]
        return min(walls), max(walls)

    def cpu(self):
        return statistics.median(run.cpu for run in self.runs)

    def peak_bytes(self):
        return max(run.peak_bytes for run in self.runs)


def run(command):
    """Runs a command to its end.

    Raises a `Failure` with the end of what it said if it does not end with 0.
    """
    command = [str(word) for word in command]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        # Nobody shall wait for the disk because of what another engine left to be written.
        os.sync()
        began = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-STDERR_SHOWN:]
            raise Failure(f"`{' '.join(command)[:400]}` ended with {child.returncode}: {said}")
        output.seek(0)
        return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output.read().decode())


def in_turn(jobs, repeats, warm_up=True):
    """Runs all jobs, then all again: A B C A B C. The first round warms the page cache and is not counted."""
    results = {job.engine: Result(job.engine) for job in jobs}
    for turn in range(repeats + warm_up):
        for job in jobs:
            job.prepare()
            done = run(job.command)
            job.check(done)
            if turn >= warm_up:
                results[job.engine].runs.append(done)
    return results
