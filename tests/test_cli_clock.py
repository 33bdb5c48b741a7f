"""`fieldlog clock` with a history: the drift of a device, and whose clock is in doubt."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

import fieldlog.archive
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import TICK_HZ, Sync
from fieldlog_protocol.commands import logger
from smp_peer import Handler, udp_peer

UID = bytes(range(8))
LOG_ID = 77
DAY_US = 86_400_000_000
START_US = time.time_ns() // 1000 - 10 * DAY_US


class Watch:
    """A device that booted ten days ago; its clock was set then, and runs fast by `ppm`."""

    def __init__(self, ppm: float, tolerance_ppm: int | None = None) -> None:
        self._rate = 1 + ppm / 1e6
        self._tolerance_ppm = tolerance_ppm

    def _elapsed_us(self) -> float:
        return (time.time_ns() / 1000 - START_US) * self._rate

    def handlers(self) -> dict[tuple[int, int, int], Handler]:
        return {logger.INFO.key: self._info, logger.CLOCK_PROBE.key: self._probe, logger.CLOCK_ANCHOR.key: lambda _: {}}

    def _info(self, _: dict[str, Any]) -> dict[str, Any]:
        elapsed_us = self._elapsed_us()
        told = {"parts": 1, "uid": UID, "log": LOG_ID, "block": 1024, "boot": 1, "state": 0, "first": 0, "next": 0}
        told |= {"tick": self._tick(), "utc": int(START_US + elapsed_us) // 1_000_000, "set": START_US // 1_000_000}
        return told if self._tolerance_ppm is None else told | {"ppm": self._tolerance_ppm}

    def _tick(self) -> int:
        return int(self._elapsed_us() * TICK_HZ / 1e6)

    def _probe(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"boot": 1, "rx": self._tick(), "tx": self._tick(), "utc": int(START_US + self._elapsed_us())}


def remember(folder: Path, *syncs: Sync) -> None:
    with fieldlog.archive.open(folder) as archive:
        archive.log(UID, LOG_ID).add_syncs(syncs)


def show(folder: Path, capsys: pytest.CaptureFixture[str], url: str) -> dict[str, Any]:
    assert invoke(["clock", "show", "--json", "--device", url, "--archive", str(folder)]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return shown


def test_drift_is_measured_against_the_first_sync(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remember(tmp_path, Sync(1, 0, START_US, 500))
    with udp_peer(Watch(23).handlers()) as peer:
        found = show(tmp_path, capsys, peer.url)
        assert found["drift_ppm"] == pytest.approx(23, abs=0.2)
        assert found["drift_error_ppm"] < 0.2
        assert found["offset_us"] == pytest.approx(23e-6 * 10 * DAY_US, abs=200_000)
        assert (found["quality"], found["warnings"], found["syncs"]) == ("extrapolated", [], 2)
        assert 0 < found["time_error_us"] < 100e-6 * 10.1 * DAY_US
        assert found["drift_since"][:19] == found["set"][:19]
        assert invoke(["clock", "show", "--device", peer.url, "--archive", str(tmp_path)]) == 0
    assert "+23.0" in capsys.readouterr().out


def test_without_an_archive_only_the_offset_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with udp_peer(Watch(-5).handlers()) as peer:
        found = show(tmp_path / "none", capsys, peer.url)
    assert found["offset_us"] == pytest.approx(-5e-6 * 10 * DAY_US, abs=200_000)
    assert [found[key] for key in ("drift_ppm", "quality", "archive", "warnings")] == [None, None, None, []]
    assert not (tmp_path / "none").exists()


def test_a_computer_that_contradicts_the_history_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = [Sync(1, day * 86_400 * TICK_HZ, START_US + day * DAY_US + 3_600_000_000, 500) for day in (0, 4, 8)]
    remember(tmp_path, *known)
    with udp_peer(Watch(0).handlers()) as peer:
        (warning,) = show(tmp_path, capsys, peer.url)["warnings"]
        assert "3600.0" in warning
        assert "behind" in warning
        command = ["clock", "sync", "--json", "--device", peer.url, "--archive", str(tmp_path)]
        assert invoke(command) == 0, "who is told and goes on, is obeyed"
        assert "all the same" in json.loads(capsys.readouterr().out)["warnings"][0]
        assert peer.peer.asked(logger.CLOCK_ANCHOR)
    with fieldlog.archive.open(tmp_path, writable=False) as archive:
        (log,) = archive.logs()
        assert len(log.syncs()) == 4, "kept, to be judged with the others"


def test_an_rc_clock_may_do_what_a_crystal_may_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remember(tmp_path, Sync(1, 0, START_US, 500))
    for tolerance_ppm, warned in ((None, True), (50_000, False)):
        with udp_peer(Watch(30_000, tolerance_ppm).handlers()) as peer:
            found = show(tmp_path, capsys, peer.url)
        assert bool(found["warnings"]) is warned
        assert found["tolerance_ppm"] == tolerance_ppm


def test_a_spoiled_archive_does_not_hide_the_offset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remember(tmp_path, Sync(1, 0, START_US, 500))
    (tmp_path / "archive.sqlite").write_bytes(b"no archive at all" * 1000)
    with udp_peer(Watch(1).handlers()) as peer:
        found = show(tmp_path, capsys, peer.url)
    assert found["offset_us"] is not None
    assert "tells nothing about the drift" in found["warnings"][0]
