"""The command line against devices and archives that mean no good: one sentence and an exit code, never a trace."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from archive_data import CLIMATE, LOG_ID, UID, PaperLogger, climate
from fieldlog.archive.store import open_archive
from fieldlog.cli.main import invoke
from fieldlog.datetimes import MAX_UTC_US, utc_of
from fieldlog_protocol.commands import fs, logger, os, stat
from fieldlog_protocol.errors import VerificationError
from smp_peer import Handler, udp_peer

FAR = 2**63 - 1
INFO: dict[tuple[int, int, int], Handler] = {
    logger.INFO.key: lambda _: {
        "parts": 1,
        "uid": b"\1" * 8,
        "log": 1,
        "block": 1024,
        "boot": 1,
        "tick": 5,
        "state": 0,
        "first": 0,
        "next": 0,
        "utc": FAR,
        "set": FAR,
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


def test_the_last_microsecond_is_the_last() -> None:
    assert str(utc_of(MAX_UTC_US)) == "9999-12-31 23:59:59.999999+00:00"
    assert utc_of(MAX_UTC_US + 1) is None
    assert str(utc_of(0)) == "1970-01-01 00:00:00+00:00"
    assert utc_of(-1) is None


@pytest.mark.parametrize(
    ("words", "key", "answer"),
    [
        ("stats x", stat.DATA.key, {"name": "x", "fields": {"n": 1 << 40_000}}),
        ("stats x", stat.DATA.key, {"name": "x", "fields": {"n": -1}}),
        ("fs hash x", fs.HASH.key, {"type": "crc32", "len": 5, "output": 1 << 32}),
        ("log status", logger.INFO.key, {"parts": 1, "open": [-1]}),
        ("echo x", os.ECHO.key, {"rc": 1 << 40_000}),
    ],
)
def test_numbers_out_of_all_range_break_the_protocol(
    words: str, key: tuple[int, int, int], answer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with udp_peer(INFO | {key: lambda _: answer}) as peer:
        assert invoke([*words.split(), "--device", peer.url]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_a_device_cannot_forge_lines_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with udp_peer({os.ECHO.key: lambda _: {"rc": 3, "rsn": "no\nerror: forged"}}) as peer:
        assert invoke(["echo", "x", "--device", peer.url]) == 4
    assert capsys.readouterr().err.count("\n") == 1


def _raise(error: Exception) -> None:
    raise error


def test_text_of_a_device_in_any_sentence_stays_in_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fieldlog.transports.serial_ports", lambda: _raise(VerificationError("runs 1\nerror: forged")))
    assert invoke(["devices"]) == 5
    assert capsys.readouterr().err == "error: runs 1\\nerror: forged\n"


@pytest.mark.parametrize("words", [["devices"], ["devices", "--json"], ["devices", "--verbose"]])
def test_what_nobody_foresaw_is_a_sentence(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fieldlog.transports.serial_ports", lambda: _raise(ZeroDivisionError("odd\nthing")))
    assert invoke(words) == 1
    out, err = capsys.readouterr()
    assert "error: fieldlog has a bug: ZeroDivisionError: odd thing. " in err
    assert ("Traceback" in err) == ("--verbose" in words)
    assert err.count("\n") == 1 or "--verbose" in words
    assert "--json" not in words or json.loads(out)["error"]["exit_code"] == 1


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The file of an archive with one log."""
    file = tmp_path / "archive" / "archive.sqlite"
    paper = PaperLogger()
    paper.schema()
    paper.data(CLIMATE, *climate(50))
    with open_archive(file.parent) as opened:
        log = opened.log(UID, LOG_ID)
        log.add_blocks(paper.blocks)
        log.describe(serial="SN-0001", label="attic")
    return file


READERS = ["archive ls", "archive check", "export -o x.csv"]


@pytest.mark.parametrize("words", READERS)
@pytest.mark.parametrize("spot", [b"attic", b"CREATE TABLE logs", b"SN-0001"])
def test_text_that_rotted_is_damage(
    words: str, spot: bytes, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(archive.parent)
    archive.write_bytes(archive.read_bytes().replace(spot, b"\xff\xfe" + spot[2:]))
    assert invoke(words.split()) == 5
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("words", READERS)
def test_a_missing_table_is_damage(
    words: str, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(archive.parent)
    with closing(sqlite3.connect(archive)) as database:
        database.executescript("DROP TABLE blocks")
    assert invoke(words.split()) == 5
    assert "damaged" in capsys.readouterr().err


def test_an_index_that_contradicts_its_table_is_damage(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(archive.parent)
    with closing(sqlite3.connect(archive)) as database:
        schema = database.execute("SELECT * FROM sqlite_master WHERE name = 'blocks_by_stream'").fetchone()
        database.executescript("PRAGMA writable_schema = ON; DELETE FROM sqlite_master WHERE name = 'blocks_by_stream'")
    with closing(sqlite3.connect(archive)) as database:
        database.executescript("DELETE FROM blocks WHERE kind = 0; PRAGMA writable_schema = ON")
        database.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", schema)
        database.commit()
    assert invoke(["export", "-o", "x.csv"]) == 5
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("words", READERS)
def test_an_empty_file_is_no_archive(
    words: str, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(archive.parent)
    for file in archive.parent.iterdir():
        file.unlink()
    archive.touch()
    assert invoke(words.split()) == 2
    assert "there is no archive" in capsys.readouterr().err
