"""`fieldlog config apply` killed at any moment, on a real link: the device holds one file's values or the other's, and
the next apply completes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

import fieldlog
from config_bench import CALIBRATION, METADATA, SETTINGS
from fieldlog.config.apply import settle
from fieldlog.config.present import read, read_bytes
from fieldlog.config.schema import schema
from fieldlog.deployment import read_metadata
from fieldlog.device import Device
from fieldlog.recording import read_streams
from mortal_hosts import Hosts, hosts
from simulator import simulator

LIMIT = ("--timeout", "10s")
TIME_SCALE = "10"

Held = tuple[Mapping[str, object], dict[str, tuple[float, ...]], dict[str, str] | None]


def written(folder: Path, side: int) -> Path:
    """A file that asks for the former values (0) or the new ones (1)."""
    from fieldlog.config import toml_text

    lines = ["[settings]"]
    lines += [f'"{key}" = {toml_text.value(values[side])}' for key, values in SETTINGS.items()]
    lines += ["[calibration]", *(f"{channel} = {values[side]}" for channel, values in CALIBRATION.items())]
    lines += ["[metadata]", *(f"{key} = {toml_text.value(text)}" for key, text in METADATA[side].items())]
    path = folder / f"side{side}.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def expected(side: int) -> Held:
    calibration = {channel: tuple(map(float, values[side])) for channel, values in CALIBRATION.items()}
    return {key: values[side] for key, values in SETTINGS.items()}, calibration, METADATA[side]


async def held(device: Device) -> Held:
    """What it holds; twice the same, because a change may end of itself between two requests."""
    known = await schema(device)
    while True:
        found = await _held_once(device)
        if found == await _held_once(device):
            values = {entry.setting.key: entry.value for entry in await read(device, known, SETTINGS)}
            if await read_bytes(device, SETTINGS) == found[0]:
                return values, found[1], found[2]


async def _held_once(device: Device) -> tuple[dict[str, bytes], dict[str, tuple[float, ...]], dict[str, str] | None]:
    channels = [channel for stream in await read_streams(device) for channel in stream.channels]
    return (
        await read_bytes(device, SETTINGS),
        {channel.name: channel.calibration for channel in channels if channel.name in CALIBRATION},
        await read_metadata(device),
    )


def look(url: str) -> tuple[Held, Held]:
    """At once, and when nothing is open any more."""

    async def work() -> tuple[Held, Held]:
        async with fieldlog.connect(url) as device:
            first = await held(device)
            await settle(device)
            return first, await held(device)

    return asyncio.run(work())


def kill_one(mortals: Hosts, words: tuple[str, ...], after_s: float) -> int:
    """How the host ended: it is killed after a while, unless it is done before."""
    number = mortals.begin(*words)
    timer = threading.Timer(after_s, _kill, (number,))
    timer.start()
    try:
        return mortals.end()
    finally:
        timer.cancel()
        timer.join()


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself just now
        os.kill(process, signal.SIGKILL)


def campaign(folder: Path, seed: int, kills: int) -> int:
    """How many hosts were killed before they were done."""
    rng, killed = random.Random(seed), 0
    files = [written(folder, side) for side in (0, 1)]
    complaints = folder / "complaints.txt"
    with simulator("--pty", "--time-scale", TIME_SCALE, "--latency", "3ms") as device, hosts(complaints) as mortals:

        def words(side: int) -> tuple[str, ...]:
            return ("config", "apply", str(files[side]), "--device", device.url, "--yes", *LIMIT)

        def apply(side: int) -> float:
            began = time.monotonic()
            mortals.begin(*words(side))
            assert mortals.end() == 0, f"seed {seed}: {complaints.read_text()}"
            took_s = time.monotonic() - began
            assert look(device.url) == (expected(side), expected(side)), f"seed {seed}"
            return took_s

        apply(0)
        takes_s = apply(1)
        while killed < kills:
            side = rng.randrange(2)
            killed += kill_one(mortals, words(side), rng.uniform(0, takes_s)) == -signal.SIGKILL
            for found in look(device.url):
                assert found in (expected(0), expected(1)), f"a mixture, seed {seed}, kill {killed}: {found}"
            apply(1 - side)
    return killed


def test_a_killed_host_leaves_all_or_nothing(tmp_path: Path) -> None:
    assert campaign(tmp_path, seed=1, kills=3) == 3


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_killed_hosts_leave_all_or_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    killed = campaign(tmp_path, seed=2, kills=100)
    request.node.user_properties.append(("counted", f"{killed} hosts killed -9 while they applied, no mixture"))
