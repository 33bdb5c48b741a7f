"""`python -m tools.bench`: prints the figures as Markdown, part by part."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. `latencies_ms` None: a few lines only; `intervals_ms` are BLE's."""

    cell_s: float
    intervals_ms: tuple[float, ...]
    latencies_ms: tuple[int, ...] | None
    day_frames: int
    readings: int
    turns: int
    devices: tuple[int, ...]
    plotted: tuple[int, ...]


SCALES = {
    "quick": Scale(1.5, (30,), None, 3_600, 200_000, 3, (1, 20), (1_000_000,)),
    "normal": Scale(6.0, (15, 30), (1, 16), 3 * 3_600, 1_000_000, 7, (1, 10, 100), (10_000_000,)),
    "full": Scale(
        20.0, (7.5, 15, 30, 50), (1, 16, 50), 86_400, 8_640_000, 15, (1, 10, 100, 200), (10_000_000, 100_000_000)
    ),
}


def _goodput(scale: Scale) -> Iterator[str]:
    from tools.bench import goodput, links

    yield "## Goodput\n"
    lines = links.few_lines() if scale.latencies_ms is None else links.lines(scale.latencies_ms)
    with tempfile.TemporaryDirectory() as folder:
        devices = goodput.Devices(Path(folder))
        for line in lines:
            yield goodput.report(goodput.measure(line, devices, scale.cell_s))


def _day(scale: Scale) -> Iterator[str]:
    from tools.bench import day

    yield day.report(scale.day_frames, day.LINES[:1] if scale.latencies_ms is None else day.LINES)


def _codec(scale: Scale) -> Iterator[str]:
    from tools.bench import codec

    yield codec.report(scale.readings)


def _archive(scale: Scale) -> Iterator[str]:
    from tools.bench import archive

    yield archive.report(scale.readings)


def _plot(scale: Scale) -> Iterator[str]:
    from tools.bench import plot

    yield from plot.report(scale.plotted, scale.turns)


def _startup(scale: Scale) -> Iterator[str]:
    from tools.bench import startup

    yield startup.report(scale.turns)


def _upload(scale: Scale) -> Iterator[str]:
    from tools.bench import links, upload

    yield "## Firmware upload\n"
    lines = links.few_lines() if scale.latencies_ms is None else links.lines(scale.latencies_ms)
    for line in lines:
        yield upload.report(line, scale.cell_s)


def _ble(scale: Scale) -> Iterator[str]:
    from tools.bench import ble, goodput

    yield "## BLE\n"
    with tempfile.TemporaryDirectory() as folder:
        devices = goodput.Devices(Path(folder))
        for line in ble.lines(*scale.intervals_ms):
            yield ble.report(line, devices, scale.cell_s)


def _config(scale: Scale) -> Iterator[str]:
    from tools.bench import config

    yield config.report(scale.devices, scale.turns)


def _live(scale: Scale) -> Iterator[str]:
    from tools.bench import live

    yield from live.report(30, scale.cell_s)


PARTS: dict[str, Callable[[Scale], Iterator[str]]] = {
    "startup": _startup,
    "codec": _codec,
    "archive": _archive,
    "plot": _plot,
    "day": _day,
    "goodput": _goodput,
    "upload": _upload,
    "ble": _ble,
    "config": _config,
    "live": _live,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description="Figures and ratios, as Markdown.")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"of {', '.join(PARTS)}; else all"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="scale", const="quick", help="a minute: a few lines")
    size.add_argument(
        "--full", action="store_const", dest="scale", const="full", help="over an hour: long cells, whole days"
    )
    arguments = parser.parse_args()
    scale = SCALES[arguments.scale or "normal"]
    started = time.monotonic()
    for part in arguments.parts or PARTS:
        for text in PARTS[part](scale):
            print(text, flush=True)
    print(f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
