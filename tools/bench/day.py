"""A day of temperature, humidity and pressure at 1 Hz over 115 200 baud: what its reader waits for.

fieldlog pulls the log; smpclient fetches the same readings as a file of raw 8-byte frames. Both need longer in
proportion to the readings, so that a part of a day gives the ratio of a whole one, only a little worse for the log.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.bench import data, peers
from tools.bench.clients import connected
from tools.bench.goodput import FILE
from tools.bench.links import Line
from tools.bench.simulator import simulator
from tools.bench.stopwatch import Stopwatch
from tools.bench.table import markdown, number, times

_DAY_S = 86_400
LINES = (Line("console", 115_200, 1, 384), Line("raw", 115_200, 1, 2048))


@dataclass(frozen=True, slots=True)
class Day:
    """Seconds that each took, for log and file of these sizes."""

    line: Line
    log_bytes: int
    pull_s: float
    file_bytes: int
    smpclient_s: float | None


def measure(line: Line, frames: int) -> Day:
    readings = data.environment(frames)
    file = readings.raw_frames()
    with tempfile.TemporaryDirectory() as folder:
        csv, state = Path(folder) / "day.csv", Path(folder) / "state"
        data.write_replay(readings, csv)
        with (
            simulator("--udp", "0", "--buffers", "2048x8", "--state", state, "--replay", csv) as device,
            connected(device.url) as client,
        ):
            client.put(FILE, file, Stopwatch())
        with simulator(*line.arguments, "--state", state) as device:
            watch = Stopwatch()
            with connected(device.url) as client:
                size = client.pull(watch)
            return Day(line, size, watch.seconds, len(file), _smpclient_s(line, device.address, file))


def _smpclient_s(line: Line, address: str, expected: bytes) -> float | None:
    opener = peers.openers().get(peers.SMPCLIENT)
    if opener is None:
        return None
    watch = Stopwatch()
    with opener(line, address) as peer:
        if peer.get(FILE, watch) != expected:
            raise peers.PeerError(f"{peer.name} fetched other bytes than the file holds")
    return watch.seconds


def report(frames: int, lines: tuple[Line, ...] = LINES) -> str:
    """The table; both times include connecting."""
    head = ("line", "log kB", "pull s", "raw file kB", "smpclient s", "times as long")
    rows = [_row(measure(line, frames)) for line in lines]
    return f"## {frames / _DAY_S:.2g} of a day at 1 Hz\n\n{markdown(head, rows)}\n"


def _row(day: Day) -> list[str]:
    return [
        day.line.title,
        number(day.log_bytes / 1000),
        number(day.pull_s),
        number(day.file_bytes / 1000),
        number(day.smpclient_s),
        times(None if day.smpclient_s is None else day.smpclient_s / day.pull_s),
    ]
