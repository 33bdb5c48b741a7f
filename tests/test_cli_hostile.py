"""The command line against devices and archives that mean no good: one sentence and an exit code, never a trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fieldlog.cli.main import invoke
from fieldlog_protocol.commands import logger
from smp_peer import Handler, udp_peer

FAR = 2**63 - 1
INFO: dict[tuple[int, int, int], Handler] = {
    logger.INFO.key: lambda _: {
        **{"parts": 1, "uid": b"\1" * 8, "log": 1, "block": 1024, "boot": 1, "tick": 5, "state": 0},
        **{"first": 0, "next": 0, "used": 0, "total": 0, "utc": FAR, "set": FAR},
    }
}


@pytest.fixture(autouse=True)
def _own_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))


def test_a_clock_beyond_all_years_is_shown_as_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    clock: Handler = lambda _: {"boot": 1, "rx": 5, "tx": 5, "utc": FAR}  # noqa: E731
    with udp_peer(INFO | {logger.CLOCK_PROBE.key: clock}) as peer:
        assert invoke(["clock", "show", "--device", peer.url]) == 0
        assert "nonsense (9223372036854775807 us" in capsys.readouterr().out
        assert invoke(["clock", "show", "--device", peer.url, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["utc"] is None


def test_info_of_a_clock_beyond_all_years(capsys: pytest.CaptureFixture[str]) -> None:
    with udp_peer(INFO) as peer:
        assert invoke(["info", "--device", peer.url]) == 0
    assert "nonsense" in capsys.readouterr().out


def test_impossible_ticks_set_no_clock(capsys: pytest.CaptureFixture[str]) -> None:
    def probe(_: dict[str, Any]) -> dict[str, Any]:
        return {"boot": 1, "rx": FAR, "tx": 0}

    with udp_peer(INFO | {logger.CLOCK_PROBE.key: probe}) as peer:
        assert invoke(["clock", "sync", "--device", peer.url]) == 5
        assert not peer.peer.asked(logger.CLOCK_ANCHOR)
    assert "cannot be true" in capsys.readouterr().err
