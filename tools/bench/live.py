"""The live view on a terminal, of a logger that records six channels a hundred times a second: frames, screen and processor."""

from __future__ import annotations

import math
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.bench.simulator import Simulator, simulator
from tools.bench.table import markdown, number, percent

_HEAD = ("line", "frames", "lost", "frames/s", "screens/s", "CPU of the view")
_LEAST_S = 5.0
_DRAWING = b"\x1b[?2026h"
_SUMMARY = re.compile(r"(\d+) frames? in ([\d.]+) s, (none|\d+)")
_ROWS, _PERIOD = 1000, "10ms"


@dataclass(frozen=True, slots=True)
class Watched:
    """`cpu_share` is of one core, None where the system does not tell it."""

    frames: int
    lost: int
    seconds: float
    screens: int
    cpu_share: float | None


def report(interval_ms: float, seconds: float) -> Iterator[str]:
    """The table: over a serial line of 115200 baud, and over BLE with this interval."""
    seconds = max(seconds, _LEAST_S)
    with tempfile.TemporaryDirectory() as folder:
        readings = Path(folder) / "readings.csv"
        readings.write_text(_readings())
        lines = {
            "serial, 115200 baud": ["--pty", "--baud", "115200"],
            f"ble, {interval_ms:g} ms": ["--ble", "0", "--ble-interval", f"{interval_ms:g}ms"],
        }
        replay = ["--replay", str(readings), "--replay-period", _PERIOD]
        rows: list[list[str]] = []
        for name, line in lines.items():
            with simulator(*line, *replay) as device:
                rows.append(_row(name, _watch(device, seconds)))
    yield f"## Live view: 100 Hz, 6 channels\n\n{markdown(_HEAD, rows)}\n"


def _readings() -> str:
    """Waves with decimals that need 16 bits."""
    head = ",".join(f"channel {number} [m/s2]" for number in range(6))
    rows = (
        ",".join(f"{9.81 * math.sin(2 * math.pi * (channel + 1) * row / _ROWS):.3f}" for channel in range(6))
        for row in range(_ROWS)
    )
    return "\n".join([head, *rows]) + "\n"


def _row(name: str, watched: Watched) -> list[str]:
    rates = [number(count / watched.seconds) for count in (watched.frames, watched.screens)]
    return [name, str(watched.frames), str(watched.lost), *rates, percent(watched.cpu_share)]


def _watch(device: Simulator, seconds: float) -> Watched:
    """The view from its first screen to its last."""
    master, slave = pty.openpty()
    fieldlog = Path(sys.executable).with_name("fieldlog")
    command = [fieldlog, "live", "--device", device.url, "--duration", f"{seconds:g}s"]
    environment = os.environ | {"TERM": "xterm-256color"}
    view = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    view_as_process = Simulator("", view.pid)
    seen, marks = b"", list[tuple[float, float | None]]()
    while data := _read(master):
        seen += data
        if _DRAWING in data:
            marks.append((time.monotonic(), view_as_process.cpu_s()))
    os.close(master)
    view.wait()
    summary = _SUMMARY.search(seen.decode(errors="replace"))
    if summary is None or len(marks) < 2:
        raise RuntimeError(f"the view ended with {view.returncode}: {seen[-500:]!r}")
    (began, first_s), (ended, last_s) = marks[0], marks[-1]
    cpu_share = None if first_s is None or last_s is None else (last_s - first_s) / (ended - began)
    lost = 0 if summary[3] == "none" else int(summary[3])
    return Watched(int(summary[1]), lost, float(summary[2]), seen.count(_DRAWING), cpu_share)


def _read(master: int) -> bytes:
    """What was written next; nothing at the end."""
    try:
        return os.read(master, 65536) if select.select([master], [], [], 60)[0] else b""
    except OSError:
        return b""
