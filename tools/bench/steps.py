"""One step of the archive's benchmark in a process of its own, so that its peak memory is its own:
`python -m tools.bench.steps STEP FOLDER`. Prints the seconds it took, those of the processor, and the peak in bytes."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tools.bench import peers
from tools.bench.stopwatch import Stopwatch

BLOCKS, CSV, CLOCK_CSV, PNG, PARQUET = "blocks.bin", "readings.csv", "clock.csv", "readings.png", "readings"
_KIB = 1024
_US_PER_TICK = 1e6 / 32768 * (1 + 12e-6)  # a crystal's: no reading falls on a whole second
_LAST_TICK = 32768 * 200 * 86_400
_LOADED = ("fieldlog.archive.arrow", "fieldlog.archive.readings", "matplotlib.backends.backend_agg")
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
            log.add_syncs(Sync(1, tick, data.START_US + round(tick * _US_PER_TICK), 1000) for tick in (0, _LAST_TICK))
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


def export_clock(folder: Path) -> Callable[[], object]:
    """The same with quality and error of every time, as the Parquet files have them."""
    from fieldlog import archive
    from fieldlog.export import write_csv

    def work() -> int:
        with archive.open(folder, writable=False) as store, (folder / CLOCK_CSV).open("w", newline="") as file:
            return write_csv(store.readings(), file, clock=True)

    return work


def parquet(folder: Path) -> Callable[[], object]:
    """All readings as Parquet files, from nothing."""
    from fieldlog import archive
    from fieldlog.archive.dataset import update_dataset

    def work() -> int:
        with archive.open(folder, writable=False) as store:
            return update_dataset(store, everything=True).rows

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
    "parquet": parquet,
    "export": export,
    "export --clock": export_clock,
    "plot": plot,
}
PANDAS: dict[str, Callable[[Path], Callable[[], object]]] = {
    "pandas.read_csv of the export": lambda folder: peers.pandas_reads(folder / CSV),
    "pandas.read_csv of the export --clock": lambda folder: peers.pandas_reads(folder / CLOCK_CSV),
}
"""What the peer does, in the same way: its libraries loaded, in a process of its own."""


def main() -> None:
    step, folder = sys.argv[1:]
    for module in _LOADED:
        import_module(module)
    work = (STEPS | PANDAS)[step](Path(folder))
    watch = Stopwatch()
    work()
    watch.stop()
    print(json.dumps({"seconds": watch.seconds, "cpu": watch.cpu_s, "peak": _peak()}))


def _peak() -> int:
    """The most bytes that this process had in memory at once. What getrusage says counts the parent before exec, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * _KIB for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else _KIB)


if __name__ == "__main__":
    main()
