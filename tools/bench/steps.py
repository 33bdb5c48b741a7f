"""One step of the archive's benchmark in a process of its own, so that its peak memory is its own:
`python -m tools.bench.steps STEP FOLDER`. Prints the seconds it took and the peak in bytes."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

BLOCKS, CSV, PNG = "blocks.bin", "readings.csv", "readings.png"
_KIB = 1024
_LOADED = ("fieldlog.archive.readings", "matplotlib.figure", "matplotlib.backends.backend_agg")
"""Loaded before the clock runs."""


def store(folder: Path) -> Callable[[], object]:
    """All blocks into a new archive, as a pull does."""
    from fieldlog import archive
    from fieldlog.clock_sync import Sync
    from fieldlog_protocol.blocks.split import BlockSplitter
    from tools.bench import data

    blocks = BlockSplitter().feed((folder / BLOCKS).read_bytes(), final=True)

    def work() -> None:
        with archive.open(folder) as store:
            log = store.log(data.UID, data.LOG_ID)
            log.describe(serial="bench")
            log.add_syncs([Sync(1, 0, data.START_US, 1000)])
            log.add_blocks(blocks)

    return work


def read(folder: Path) -> Callable[[], object]:
    """Every time and every value as a float, a batch at a time."""
    from fieldlog import archive

    def work() -> int:
        with archive.open(folder, writable=False) as store:
            return sum(len(column) for series in store.readings().batches() for column in series.columns)

    return work


def export(folder: Path) -> Callable[[], object]:
    """All readings as CSV."""
    from fieldlog import archive
    from fieldlog.export import write_csv

    def work() -> int:
        with archive.open(folder, writable=False) as store, (folder / CSV).open("w", newline="") as file:
            return write_csv(store.readings(), file)

    return work


def plot(folder: Path) -> Callable[[], object]:
    """All readings as a PNG."""
    from fieldlog import archive
    from fieldlog import plot as plots

    def work() -> Path:
        with archive.open(folder, writable=False) as store:
            return plots.save(plots.timeseries(plots.traces(list(store.readings()))), folder / PNG)

    return work


STEPS: dict[str, Callable[[Path], Callable[[], object]]] = {
    "store": store,
    "read": read,
    "export": export,
    "plot": plot,
}


def main() -> None:
    step, folder = sys.argv[1:]
    for module in _LOADED:
        import_module(module)
    work = STEPS[step](Path(folder))
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else _KIB
    print(json.dumps({"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}))


if __name__ == "__main__":
    main()
