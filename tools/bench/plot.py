"""The command `plot` on archives of millions of readings: how long it takes from its start to its end, processor time and
peak memory, once the Parquet files are there. The archives are made on the spot: a million readings of a room's climate,
one after another as often as it takes, each time later."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from fieldlog.archive.dataset import folder_of, update_dataset
from fieldlog_protocol.blocks.block import Kind, build_block, parse_block
from tools.bench import data
from tools.bench.stopwatch import Stopwatch
from tools.bench.table import markdown, number

_HEAD = (
    "readings of 3 channels",
    "turns",
    "median s",
    "fastest s",
    "slowest s",
    "CPU s",
    "peak MB",
    "Parquet s",
    "file MB",
)
_ONCE = 1_000_000
_US_PER_TICK = 1e6 / 32768 * (1 + 12e-6)
_LAST_TICK = 1 << 43
_RUN = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
"""A small program of its own starts the command, since a child's peak counts what its parent had when it began."""


class Run(NamedTuple):
    """One whole command: seconds by the clock and of the processor, and the peak in bytes."""

    seconds: float
    cpu_s: float
    peak: int


def report(sizes: tuple[int, ...], turns: int) -> Iterator[str]:
    """The table, a row for each number of readings."""
    rows: list[list[str]] = []
    for frames in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_row(Path(folder), frames, turns))
    yield f"## Plot: the whole command, from the Parquet files\n\n{markdown(_HEAD, rows)}\n"


def _row(folder: Path, frames: int, turns: int) -> list[str]:
    made, megabytes = make_archive(folder, frames)
    runs = [_run(folder) for _ in range(turns + 1)][1:]  # the first one reads the files from the disk
    seconds = [run.seconds for run in runs]
    taken = [median(seconds), min(seconds), max(seconds), median(run.cpu_s for run in runs)]
    peak = max(run.peak for run in runs) / 1e6
    return [str(frames), str(turns), *map(number, taken), number(peak), number(made.seconds), number(megabytes)]


def make_archive(folder: Path, frames: int) -> tuple[Stopwatch, float]:
    """An archive in `folder` and its Parquet files: how long these took, and how many megabytes they are."""
    from fieldlog import archive
    from fieldlog.clock_sync import Sync

    with archive.open(folder) as store:
        log = store.log(data.UID, data.LOG_ID)
        log.describe(serial="bench")
        log.add_syncs(Sync(1, tick, data.START_US + round(tick * _US_PER_TICK), 1000) for tick in (0, _LAST_TICK))
        log.add_blocks(_blocks(frames))
        store.flush()
        watch = Stopwatch()
        update_dataset(store)
        watch.stop()
        size = sum(path.stat().st_size for path in folder_of(store.path).rglob("*") if path.is_file())
    return watch, size / 1e6


def _blocks(frames: int) -> Iterator[bytes]:
    """The same readings again and again, each time later."""
    readings = data.environment(min(frames, _ONCE))
    blocks = [parse_block(wire) for wire in data.log_blocks(readings)]
    step = round(readings.frames * readings.stream.period_ticks)
    for turn in range(-(-frames // readings.frames)):
        for block in blocks:
            header = replace(block.header, seq=turn * len(blocks) + block.header.seq)
            if header.kind == Kind.DATA:
                header = replace(header, t0=turn * step + header.t0)
            yield build_block(replace(block, header=header))


def _run(folder: Path) -> Run:
    fieldlog = Path(sys.executable).with_name("fieldlog")
    command = [fieldlog, "plot", "--archive", folder, "-o", folder / "readings.png", "--force"]
    done = subprocess.run([sys.executable, "-S", "-c", _RUN, *command], stdout=subprocess.PIPE, check=True)
    seconds, cpu_s, peak = json.loads(done.stdout)
    return Run(seconds, cpu_s, peak * (1 if sys.platform == "darwin" else 1024))
