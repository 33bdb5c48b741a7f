"""The main job: a year of real weather through flash, a real pty, the archive and back, every value as it was."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import math
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fieldlog.archive
from fieldlog.connection import client_for, connect
from fieldlog.device import Device
from fieldlog.pull import PullResult, pull
from fieldlog.url import choose
from fieldlog_protocol.errors import LinkError
from simulator import Simulator, simulator

SAMPLE = Path(__file__).parent.parent / "firmware_sim/fieldlog_sim/data/newark-2013-hourly-weather.csv"
MISSING = float("nan")


def source() -> tuple[list[str], list[int], np.ndarray]:
    """Column names, times in microseconds and values of the sample, straight from the file."""
    with SAMPLE.open(newline="") as file:
        header, *rows = csv.reader(file)
    times = [round(dt.datetime.fromisoformat(row[0]).timestamp() * 1e6) for row in rows]
    values = np.array([[float(cell) if cell else MISSING for cell in row[1:]] for row in rows])
    return header[1:], times, values


def read_out(url: str, folder: Path) -> PullResult:
    async def work() -> PullResult:
        async with connect(url) as device:
            with fieldlog.archive.open(folder) as archive:
                return await pull(device, archive)

    return asyncio.run(work())


def digest(folder: Path) -> str:
    with fieldlog.archive.open(folder, writable=False) as archive:
        return archive.digest()


def assert_same_as_source(folder: Path) -> None:
    names, times, values = source()
    with fieldlog.archive.open(folder, writable=False) as archive:
        readings = archive.readings()
        (series,) = list(readings)
        assert readings.problems == []
    assert [f"{channel.name} [{channel.unit}]" for channel in series.channels] == names
    assert len(series) == len(times) == 8703, "no reading lost, none twice"
    np.testing.assert_array_equal(np.column_stack(series.columns), values)  # exactly; NaN where a value is missing
    error_us = np.abs(series.utc_us - np.array(times))
    assert (error_us <= series.error_us).all()
    assert series.error_us.max() < 600e6, "a bound that says nothing is no bound"
    gaps = np.flatnonzero(np.diff(times) > 3600e6) + 1
    assert len(gaps) == 17
    assert np.flatnonzero(series.starts).tolist() == [0, *gaps.tolist()]


@pytest.fixture(scope="module")
def weather() -> Iterator[Simulator]:
    with simulator("--replay", SAMPLE) as running:
        yield running


@pytest.fixture(scope="module")
def whole(weather: Simulator, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the archive is like after a pull that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    read_out(weather.url, folder)
    return digest(folder)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--framing", "raw", "--buffers", "2048x4"),
        ("--clock-ppm", "18", "--buffers", "1024x3"),
        ("--udp", "0", "--clock-ppm", "-20"),
    ],
    ids=" ".join,
)
def test_readings_are_those_of_the_file(options: tuple[str, ...], tmp_path: Path) -> None:
    with simulator("--replay", SAMPLE, *options) as running:
        result = read_out(running.url, tmp_path)
        assert (result.readings, result.lost, result.conflicts) == (8703, [], [])
        assert_same_as_source(tmp_path)
        again = read_out(running.url, tmp_path)
        assert (again.readings, again.stored, again.bytes) == (0, 0, 0), "what is held is not asked for again"


def test_a_bad_link_changes_nothing(tmp_path: Path) -> None:
    with simulator("--replay", SAMPLE, "--udp", "0", "--loss", "0.03", "--duplicate", "0.02", "--seed", "5") as running:
        read_out(running.url, tmp_path)
    assert_same_as_source(tmp_path)


@pytest.fixture(scope="module")
def slow_weather() -> Iterator[Simulator]:
    """On a line that takes some seconds for all of it, so that there is time to kill."""
    with simulator("--replay", SAMPLE, "--baud", "1000000") as running:
        yield running


@pytest.fixture(scope="module")
def slow_whole(slow_weather: Simulator, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("slow")
    read_out(slow_weather.url, folder)
    return digest(folder)


async def pull_until_cut(url: str, folder: Path, deliveries: int) -> bool:
    """Pull, with the link lost after so many deliveries; whether that was before the end."""
    client = client_for(choose(url))
    received, left = client.received, math.inf

    def count(data: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            client.lost(LinkError("cut by the test"))
        else:
            received(data)

    client.received = count  # type: ignore[method-assign]
    await client.open()
    left = deliveries
    try:
        with fieldlog.archive.open(folder) as archive:
            await pull(Device(client), archive)
    except LinkError:
        return True
    finally:
        await client.close()
    return False


def cut_and_repeat(weather: Simulator, folder: Path, seed: int) -> int:
    """Pulls that are cut at seeded moments until one comes through; how many were cut."""
    dice = random.Random(seed)
    cuts = 0
    while asyncio.run(pull_until_cut(weather.url, folder, dice.randrange(1, 40))):
        cuts += 1
    return cuts


@pytest.mark.parametrize("seed", range(3))
def test_a_pull_cut_anywhere_and_repeated_gives_the_same_archive(
    weather: Simulator, whole: str, tmp_path: Path, seed: int
) -> None:
    assert cut_and_repeat(weather, tmp_path, seed)
    assert digest(tmp_path) == whole, f"seed {seed}"
    assert_same_as_source(tmp_path)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_many_pulls_cut_anywhere(
    weather: Simulator, whole: str, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    cuts = 0
    for seed in range(100, 160):
        folder = tmp_path / str(seed)
        cuts += cut_and_repeat(weather, folder, seed)
        assert digest(folder) == whole, f"seed {seed}"
    assert cuts > 100
    record_property("counted", f"pull: {cuts} links cut, 0 archives differ")


def kill_and_repeat(weather: Simulator, folder: Path, seed: int) -> int:
    """`fieldlog pull` killed at random moments, then once to the end; how many were killed before theirs."""
    dice = random.Random(seed)
    command = [sys.executable, "-m", "fieldlog.cli", "pull", "--device", weather.url, "--archive", str(folder)]
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(dice.uniform(0.3, 1.3))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
    subprocess.run(command, check=True, capture_output=True)
    return kills


@pytest.mark.parametrize("seed", range(1))
def test_a_pull_killed_at_any_moment_and_repeated_gives_the_same_archive(
    slow_weather: Simulator, slow_whole: str, tmp_path: Path, seed: int
) -> None:
    assert kill_and_repeat(slow_weather, tmp_path, seed)
    assert digest(tmp_path) == slow_whole, f"seed {seed}"


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_many_pulls_killed(
    slow_weather: Simulator, slow_whole: str, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    kills = 0
    for seed in range(100, 170):
        folder = tmp_path / str(seed)
        kills += kill_and_repeat(slow_weather, folder, seed)
        assert digest(folder) == slow_whole, f"seed {seed}"
    assert kills > 150
    record_property("counted", f"pull: {kills} processes killed, 0 archives differ")
