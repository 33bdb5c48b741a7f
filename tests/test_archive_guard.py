"""The archive under pressure, in real processes: a full disk, several pulls at once, a logger that no longer answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fieldlog.archive
from fieldlog.cli.main import invoke
from fieldlog_sim.nor_flash import FlashMap, NorFlash
from simulator import Simulator, simulator

resource = pytest.importorskip("resource")

CLI = [sys.executable, "-m", "fieldlog.cli"]
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from fieldlog.cli.main import main
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def loggers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Two loggers with a past, at rest; their memories are in the folder `state`."""
    state = tmp_path_factory.mktemp("loggers") / "state"
    with simulator("--history", "20d", "--udp", "127.0.0.1:0", "--count", "2", "--state", state, links=2) as running:
        for url in running.urls:
            assert invoke(["log", "stop", "--device", url]) == 0
        yield running


@pytest.fixture(scope="module")
def quiet(loggers: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of both, pulled one after the other with room enough."""
    folder = tmp_path_factory.mktemp("quiet")
    for url in loggers.urls:
        assert invoke(["pull", "--archive", str(folder), "--device", url]) == 0
    return folder


def contents(folder: Path, uid: str | None = None) -> list[tuple[str, list[tuple[int, int, int]]]]:
    """Of each device, the (seq, crc, length) of all its blocks."""
    with fieldlog.archive.open(folder, writable=False) as archive:
        logs = archive.logs() if uid is None else archive.select(uid)
        return sorted(
            (log.info().uid, [(seq, crc, len(data)) for seq, crc, _, data in log.stored_blocks()]) for log in logs
        )


def test_a_full_disk_keeps_what_had_arrived_and_the_next_pull_goes_on(
    loggers: Simulator, quiet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pull", "--archive", str(tmp_path), "--device", loggers.url]
    full = subprocess.run(
        [sys.executable, "-c", LIMITED, "700000", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert full.returncode == 1
    assert len(full.stderr.splitlines()) == 1
    assert "takes no more: it is full" in full.stderr
    assert "make room and repeat" in full.stderr
    assert not (tmp_path / "readings.sqlite").exists()  # no room is taken for what can be made anew
    uid = str(loggers.ready[0]["uid"])
    ((_, held),) = contents(tmp_path, uid)
    ((_, everything),) = contents(quiet, uid)
    assert 64 <= len(held) < len(everything)
    assert invoke(["archive", "check", "--archive", str(tmp_path)]) == 0
    capsys.readouterr()
    assert invoke([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["blocks"] == len(everything) - len(held)
    assert contents(tmp_path) == contents(quiet, uid)


def test_a_full_disk_in_a_merge_speaks_of_no_device_and_repeating_it_goes_on(quiet: Path, tmp_path: Path) -> None:
    words = ["archive", "merge", str(quiet), "--archive", str(tmp_path), "--no-parquet"]
    full = subprocess.run(
        [sys.executable, "-c", LIMITED, "400000", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert (full.returncode, len(full.stderr.splitlines())) == (1, 1)
    assert "what was not is still where it came from: make room and repeat this" in full.stderr
    assert invoke(words) == 0
    assert contents(tmp_path) == contents(quiet)


def test_pulls_of_one_and_of_several_devices_at_once_share_an_archive(
    loggers: Simulator, quiet: Path, tmp_path: Path
) -> None:
    children = [
        subprocess.Popen([*CLI, "pull", "--archive", tmp_path, "--device", url], stdout=subprocess.DEVNULL)
        for url in (loggers.urls[0], loggers.urls[1], loggers.urls[0])
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert contents(tmp_path) == contents(quiet)
    assert invoke(["archive", "check", "--archive", str(tmp_path)]) == 0


@pytest.mark.parametrize("part", ["whole chip", "log partition", "from the middle"])
def test_a_logger_that_no_longer_answers_gives_its_readings_all_the_same(
    loggers: Simulator, quiet: Path, tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chip = next(Path(str(word)) for word in loggers.process.args if Path(str(word)).name == "state") / "device0.flash"  # type: ignore[union-attr]
    image = chip.read_bytes()
    if part != "whole chip":
        image = log_partition(image)
    if part == "from the middle":
        image = image[100_001:]
    dump = tmp_path / "dump.bin"
    dump.write_bytes(image)
    assert invoke(["archive", "import", str(dump), "--archive", str(tmp_path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["logs"]
    uid = str(loggers.ready[0]["uid"])
    ((_, everything),) = contents(quiet, uid)
    ((_, held),) = contents(tmp_path)
    assert found["blocks"] == len(held)
    assert held == (everything if part != "from the middle" else everything[-len(held) :])
    if part == "from the middle":
        return
    with (
        fieldlog.archive.open(tmp_path, writable=False) as mine,
        fieldlog.archive.open(quiet, writable=False) as pulled,
    ):
        for series, other in zip(mine.readings(session="history"), pulled.readings(uid), strict=True):
            assert np.array_equal(series.tick, other.tick)
            assert all(map(np.array_equal, series.raw, other.raw))
            assert (np.abs(series.utc_us - other.utc_us) <= series.error_us + other.error_us).all()
    assert invoke(["archive", "merge", str(tmp_path), "--archive", str(quiet), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["blocks"] == 0


def log_partition(image: bytes) -> bytes:
    flash = NorFlash(len(image))
    log = FlashMap.of(flash).log
    before = len(image) - log.size
    assert image[before:].startswith(b"LB"), "the log lies at the end of the chip"
    return image[before:]
