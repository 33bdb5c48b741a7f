"""What the archive costs: storing, reading, deriving, exporting and plotting the same readings, each in a process of its
own, set up as a command's is; and how long pandas takes to read what was exported, with its own engine (C) and its defaults.

The export holds what any table of readings does: a time and the values. The export --clock has quality and error of
each time as well, and comes nearest to what the Parquet files hold. Both are read in turns with the writing of the
Parquet files; the table has the best turn of each, as other programs on the machine only ever add to a time. What pandas takes
to write the export's table is beside that of the export, which has to decode the readings as well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple

from fieldlog.cli.main import LIBRARIES
from tools.bench import data, peers, steps
from tools.bench.table import markdown, number, times

HEAD = ("step", "s", "CPU s", "Mvalues/s", "peak MB", "file MB")
_FILES = {
    "store": "archive.sqlite",
    "parquet": steps.PARQUET,
    "export": steps.CSV,
    "export --clock": steps.CLOCK_CSV,
    "plot": steps.PNG,
}
_PARQUET = "parquet"
_TURNS = 7


class Measured(NamedTuple):
    """What a step in its own process took: seconds by the clock and of the processor, and the peak in bytes."""

    seconds: float
    cpu: float
    peak: int


def report(frames: int) -> str:
    """A table for `frames` readings of each of the two data sets."""
    return "\n".join(_report(made(frames)) for made in (data.environment, data.accelerometer))


def _report(readings: data.DataSet) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / steps.BLOCKS).write_bytes(b"".join(data.log_blocks(readings)))
        rows = [
            _row(step, _measured(step, folder), folder, readings.values) for step in steps.STEPS if step != _PARQUET
        ]
        compared, ratios = _against_pandas(folder, readings.values)
        written, ratio = _written_by_pandas(folder, readings.values)
    title = f"## Archive: {readings.frames} readings of {len(readings.columns)} channels, {readings.name}"
    return f"{title}\n\n{markdown(HEAD, [*rows, *compared, *written])}\n\n{ratios}\n\n{ratio}\n"


def _measured(step: str, folder: Path) -> Measured:
    command = [sys.executable, "-m", "tools.bench.steps", step, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=LIBRARIES | os.environ)
    return Measured(**json.loads(done.stdout))


def _row(step: str, found: Measured, folder: Path, values: int) -> list[str]:
    made = _FILES.get(step)
    size = number(_size(folder / made) / 1e6) if made else ""
    return [*_timed(step, found.seconds, found.cpu, values), number(found.peak / 1e6), size]


def _timed(what: str, seconds: float, cpu_s: float, values: int) -> list[str]:
    return [what, number(seconds), number(cpu_s), number(values / seconds / 1e6)]


def _size(path: Path) -> int:
    """Of a file, or of all in a folder."""
    return path.stat().st_size if path.is_file() else sum(_size(found) for found in path.iterdir())


def _against_pandas(folder: Path, values: int) -> tuple[list[list[str]], str]:
    """Rows for the Parquet files and for each export as pandas reads it, the best of some turns, and the ratios."""
    wanted = (_PARQUET, *(steps.PANDAS if find_spec("pandas") else ()))
    turns = [{step: _measured(step, folder) for step in wanted} for _ in range(_TURNS)]
    best = {step: min((turn[step] for turn in turns), key=lambda found: found.seconds) for step in wanted}
    middle = {step: median(turn[step].seconds for turn in turns) for step in wanted}
    ratios = [
        f"{step}: {times(best[step].seconds / best[_PARQUET].seconds)} by the best of {_TURNS} turns, "
        f"{times(middle[step] / middle[_PARQUET])} by the middle ones"
        for step in wanted[1:]
    ]
    told = "\n".join(ratios) or "pandas is not installed"
    return [_row(step, found, folder, values) for step, found in best.items()], f"SQLite to Parquet against\n{told}"


def _written_by_pandas(folder: Path, values: int) -> tuple[list[list[str]], str]:
    """A row for pandas.to_csv of the export's table, and a sentence with the ratio."""
    watch = peers.pandas_writes(folder / steps.CSV, folder / "pandas.csv")
    if watch is None:
        return [], "SQLite to CSV against pandas.to_csv: pandas is not installed"
    best = min((_measured("export", folder) for _ in range(_TURNS)), key=lambda found: found.seconds)
    row = [*_timed("pandas.to_csv of the export", watch.seconds, watch.cpu_s, values), "", ""]
    return [row], f"SQLite to CSV against pandas.to_csv: {times(watch.seconds / best.seconds)}"
