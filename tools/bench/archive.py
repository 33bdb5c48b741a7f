"""What the archive costs: storing, reading, exporting and plotting the same readings, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.bench import data, peers, steps
from tools.bench.table import markdown, number

HEAD = ("step", "s", "Mvalues/s", "peak MB", "file MB")
_FILES = {"store": "archive.sqlite", "export": steps.CSV, "plot": steps.PNG}


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
    size = number((folder / made).stat().st_size / 1e6) if made else ""
    return [step, number(found["seconds"]), number(values / found["seconds"] / 1e6), number(found["peak"] / 1e6), size]


def _pandas(folder: Path, values: int) -> list[list[str]]:
    """Beside it, how long pandas needs to read what was exported."""
    seconds = peers.pandas_seconds(folder / steps.CSV)
    if seconds is None:
        return []
    return [["pandas.read_csv of the export", number(seconds), number(values / seconds / 1e6), "", ""]]
