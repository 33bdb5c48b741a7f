"""What the archive costs: storing, reading, deriving, exporting and plotting the same readings, each in a process of its
own; and how long pandas takes to read what was exported."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.bench import data, peers, steps
from tools.bench.table import markdown, number

HEAD = ("step", "s", "CPU s", "Mvalues/s", "peak MB", "file MB")
_FILES = {
    "store": "archive.sqlite",
    "parquet": steps.PARQUET,
    "export": steps.CSV,
    "export --clock": steps.CLOCK_CSV,
    "plot": steps.PNG,
}


def report(frames: int) -> str:
    """The table for `frames` readings of the climate."""
    readings = data.environment(frames)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / steps.BLOCKS).write_bytes(b"".join(data.log_blocks(readings)))
        rows = [_row(step, folder, readings.values) for step in steps.STEPS]
        rows += _pandas(folder, readings.values)
    title = f"## Archive: {frames} readings of {len(readings.columns)} channels"
    return f"{title}\n\n{markdown(HEAD, rows)}\n"


def _row(step: str, folder: Path, values: int) -> list[str]:
    command = [sys.executable, "-m", "tools.bench.steps", step, str(folder)]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    made = _FILES.get(step)
    size = number(_size(folder / made) / 1e6) if made else ""
    return [*_timed(step, found["seconds"], found["cpu"], values), number(found["peak"] / 1e6), size]


def _timed(what: str, seconds: float, cpu_s: float, values: int) -> list[str]:
    return [what, number(seconds), number(cpu_s), number(values / seconds / 1e6)]


def _size(path: Path) -> int:
    """Of a file, or of all in a folder."""
    return path.stat().st_size if path.is_file() else sum(_size(found) for found in path.iterdir())


def _pandas(folder: Path, values: int) -> list[list[str]]:
    """Beside it, how long pandas needs to read what was exported."""
    rows: list[list[str]] = []
    for what, name in (("the export", steps.CSV), ("the export --clock", steps.CLOCK_CSV)):
        watch = peers.pandas_reads(folder / name)
        if watch is not None:
            rows.append([*_timed(f"pandas.read_csv of {what}", watch.seconds, watch.cpu_s, values), "", ""])
    return rows
