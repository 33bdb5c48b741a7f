"""How long one file takes to be applied to many devices in one command, beside how long it takes for one of them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tools.bench.simulator import Simulator, simulators
from tools.bench.table import markdown, number, times

LATENCY = "50ms"
_HEAD = ("devices", "first s", "s", "of one", "nothing to do s", "host CPU s", "device CPU s")


@dataclass(frozen=True, slots=True)
class Applied:
    """Seconds of the command, the first time with nothing cached; processor time of one run of the command."""

    first_s: float
    median_s: float
    idle_s: float
    host_cpu_s: float
    device_cpu_s: float | None


def report(counts: Sequence[int], turns: int) -> str:
    """The table: a command each time, as users run it, and its middle one of `turns`."""
    found = {count: _measure(count, turns) for count in counts}
    one = found[counts[0]]
    rows = [
        [
            str(count),
            number(applied.first_s),
            number(applied.median_s),
            times(applied.median_s / one.median_s),
            number(applied.idle_s),
            number(applied.host_cpu_s),
            number(applied.device_cpu_s),
        ]
        for count, applied in found.items()
    ]
    return f"## One file for many devices, UDP, {LATENCY} latency\n\n{markdown(_HEAD, rows)}\n"


def _measure(count: int, turns: int) -> Applied:
    with (
        tempfile.TemporaryDirectory() as folder,
        simulators(count, "--udp", "0", "--latency", LATENCY) as devices,
    ):
        first_s = _apply(devices, Path(folder), 0)
        host_s, device_s = _children_cpu_s(), devices[0].cpu_s()
        taken = [_apply(devices, Path(folder), turn) for turn in range(1, turns + 1)]
        host_s = (_children_cpu_s() - host_s) / turns
        after = devices[0].cpu_s()
        device_cpu_s = None if after is None or device_s is None else (after - device_s) / turns
        return Applied(first_s, median(taken), _apply(devices, Path(folder), turns), host_s, device_cpu_s)


def _apply(devices: Sequence[Simulator], folder: Path, turn: int) -> float:
    """Seconds of a command that gives all of them settings, a calibration and metadata, others in each turn."""
    file = folder / "fleet.toml"
    file.write_text(_FLEET.format(turn=turn))
    words = [word for device in devices for word in ("--device", device.url)]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder)}
    command = [Path(sys.executable).with_name("fieldlog"), "config", "apply", file, "--yes", "--quiet", *words]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


_FLEET = """\
[settings]
"device/name" = "${{site}} ${{index}}"
"log/max_age" = "1{turn} min"
"alarm/high" = "1{turn}.5 degF"
"sensor/trim" = 1{turn}0
[calibration]
temperature = [0.1{turn}, 1.0004]
[metadata]
site = "${{site}}"
[variables]
site = "Ridge {turn}"
"""
