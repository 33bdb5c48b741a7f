"""The logger's side of the command line, on simulated devices reached through real links."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldlog.cli.main import invoke
from simulator import Simulator, simulator

HOSTILE = "\x1b[31mA\x07\u202eb\x9b2J'; DROP=1"
LOGGER_COMMANDS = (
    "log status",
    "log arm",
    "log stop",
    "log sessions",
    "log mark here",
    "log release --before 0",
    "log erase --yes",
    "pull",
    "identify",
    "selftest",
)
STOCK_COMMANDS = ("info", "image list", "stats", "shell version", "clock sync", "clock show", "echo hi", "reset")


@pytest.fixture(scope="module")
def stock() -> Iterator[Simulator]:
    with simulator("--profile", "smp-server") as running:
        yield running


@pytest.fixture(scope="module")
def recorded() -> Iterator[Simulator]:
    with simulator("--history", "1h") as running:
        yield running


@pytest.fixture
def logger() -> Iterator[Simulator]:
    with simulator() as running:
        yield running


@pytest.fixture(autouse=True)
def _own_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.chdir(tmp_path)


class Terminal:
    """Runs commands and keeps what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str | None) -> None:
        self._capsys = capsys
        self._device = [] if url is None else ["--device", url]
        self.out = self.err = ""

    def __call__(self, *words: str, device: bool = True) -> int:
        code = invoke([*words, *(self._device if device else [])])
        self.out, self.err = self._capsys.readouterr()
        assert_printable(self.out + self.err)
        assert "Traceback" not in self.err
        return code

    def json(self, *words: str, device: bool = True) -> dict[str, object]:
        code = self(*words, "--json", device=device)
        assert code == 0, self.err
        (line,) = self.out.splitlines()
        found = json.loads(line)
        assert isinstance(found, dict)
        return found


def assert_printable(text: str) -> None:
    """Nothing but text and line ends: no control characters, no marks that turn the direction of writing."""
    bad = {char for char in text if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"}
    assert not bad, f"{bad!r} reached the terminal"


def wait_for_readings(run: Terminal, most_s: float = 30.0) -> None:
    """Until the logger tells of frames of its newest session."""
    deadline_s = time.monotonic() + most_s
    while not run.json("log", "sessions")["sessions"][0]["frames"]:
        assert time.monotonic() < deadline_s, f"nothing was recorded in {most_s:.0f} s"


@pytest.fixture
def run(logger: Simulator, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys, logger.url)


@pytest.mark.parametrize("command", LOGGER_COMMANDS)
def test_a_device_without_a_logger_is_told_apart(
    stock: Simulator, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    terminal = Terminal(capsys, stock.url)
    assert terminal(*command.split()) == 4
    assert "has no fieldlog logger group" in terminal.err
    assert len(terminal.err.splitlines()) == 1
    assert terminal.out == ""
    assert not Path("archive").exists()


@pytest.mark.parametrize("command", STOCK_COMMANDS)
def test_everything_else_works_there(stock: Simulator, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert Terminal(capsys, stock.url)(*command.split()) == 0


def test_a_session_from_arming_to_the_picture(run: Terminal, tmp_path: Path) -> None:
    assert run.json("log", "status")["state"] == "idle"
    armed = run.json("log", "arm", "--label", "attic", "--stream", "environment", "--period", "100ms")
    assert (armed["session"], armed["state"]) == (1, "logging")
    assert run("log", "arm") == 4
    assert "being recorded; stop it first" in run.err
    status = run.json("log", "status")
    assert (status["state"], status["session"]) == ("logging", 1)
    assert run.json("log", "mark", "window opened")["tick"] > 0
    assert run("clock", "sync") == 0
    recorded = 0
    while not recorded:  # the device samples in its own time
        recorded = run.json("log", "sessions")["sessions"][0]["frames"]
    assert run.json("log", "stop") == {"session": 1, "was_armed": False}
    assert run("log", "stop") == 4
    pulled = run.json("pull")
    assert pulled["readings"] >= recorded
    assert (pulled["lost"], pulled["open"], pulled["sessions"]) == ([], [], 1)
    assert run.json("pull")["readings"] == 0
    (device,) = run.json("archive", "ls", device=False)["devices"]
    assert (device["serial"], device["gaps"]) == (pulled["serial"], 0)
    checked = run.json("archive", "check", device=False)
    assert (checked["readings"], checked["damaged"], checked["missing"]) == (pulled["readings"], [], [])
    exported = run.json("export", "-o", "attic.csv", device=False)
    assert exported["rows"] == pulled["readings"] == len((tmp_path / "attic.csv").read_text().splitlines()) - 1
    assert run.json("plot", "-o", "fieldlog.png", device=False)["readings"] == pulled["readings"]
    assert (tmp_path / "fieldlog.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_archived_may_go(run: Terminal) -> None:
    assert run("log", "release") == 1
    assert "Pull first" in run.err
    assert run("log", "release", "--before", "1") == 1
    assert "1 block before 1 is not in the archive" in run.err
    run("pull")
    used = run.json("log", "status")["used_bytes"]
    released = run.json("log", "release")
    status = run.json("log", "status")
    assert (released["before"], released["freed_bytes"]) == (status["next_seq"], used)
    assert status["released_seq"] == released["before"]
    run("log", "mark", "one more")
    assert run("log", "release", "--before", str(status["next_seq"] + 1)) == 1
    assert run.json("log", "release", "--force")["freed_bytes"] == 1024


def test_nothing_is_erased_unasked(run: Terminal) -> None:
    assert run("log", "mark", "here") == 0
    run("pull")
    used = run.json("log", "status")["used_bytes"]
    assert run("log", "erase") == 2
    assert "nothing was erased" in run.err
    assert run.json("log", "status")["used_bytes"] == used
    next_seq = run.json("log", "status")["next_seq"]
    assert run.json("log", "erase", "--yes")["next_seq"] > next_seq


def test_what_no_archive_holds_is_not_erased(run: Terminal) -> None:
    run("pull")
    run("log", "mark", "after the pull")
    assert run("log", "erase", "--yes") == 1
    assert "1 block of this log is not in the archive" in run.err
    assert "nothing was erased" in run.err
    assert run("log", "erase", "--yes", "--unread") == 0


def test_a_session_that_records_is_not_erased(run: Terminal) -> None:
    run("log", "arm")
    for words in ((), ("--unread",)):
        assert run("log", "erase", "--yes", *words) == 4
        assert "records session 1, so nothing was erased. End that with `fieldlog log stop`" in run.err
    run("log", "stop")
    run("log", "arm", "--after", "2h")
    assert run("log", "erase", "--yes", "--unread") == 4
    assert "waits for session 2 to begin, so nothing was erased" in run.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("log", "arm", "--stream", "nope"), "no stream 'nope'"),
        (("log", "arm", "--period", "3 parsecs"), "no duration"),
        (("log", "arm", "--period", "1us"), "cannot be sampled"),
        (("log", "arm", "--label", "x" * 33), "at most 32 bytes"),
        (("log", "mark", "ü" * 61), "at most 120 bytes"),
    ],
)
def test_nonsense_is_one_sentence(run: Terminal, words: tuple[str, ...], said: str) -> None:
    assert run(*words) in (2, 4)
    assert said in run.err
    assert run.json("log", "status")["state"] == "idle"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("export", "--archive", "nowhere"), 2, "no archive"),
        (("plot", "-o", "new.png", "--archive", "nowhere"), 2, "no archive"),
        (("archive", "ls", "--archive", "nowhere"), 2, "no archive"),
        (("plot", "-o", "new.png", "--channels", "nope"), 2, "no channel 'nope'"),
        (("plot", "-o", "new.png", "--device", "nope"), 2, "no device 'nope'"),
        (("plot", "--start", "yesterday"), 2, "takes a time"),
        (("plot", "-o", "new.png", "--start", "2030-01-01"), 2, "nothing to plot"),
        (("plot", "--tz", "Mars/Olympus"), 2, "Mars/Olympus"),
        (("plot", "-o", "picture.gif"), 2, ".png"),
        (("plot", "-o", "no/such/folder.png"), 1, "could not be written"),
        (("export", "-o", "no/such/folder.csv"), 1, "could not be written"),
        (("export", "--json"), 2, "--output"),
        (("plot", "-o", "taken.png"), 2, "exists already"),
        (("export", "-o", "taken.csv"), 2, "exists already"),
        (("export", "-o", "taken.png"), 2, "cannot write readings as 'taken.png'"),
    ],
)
def test_what_the_archive_cannot_give(
    recorded: Simulator,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    run = Terminal(capsys, recorded.url)
    taken = [tmp_path / "taken.png", tmp_path / "taken.csv"]
    for path in taken:
        path.write_text("mine")
    run("pull")
    assert run(*words, device=False) == code
    assert said in run.err
    assert [path.read_text() for path in taken] == ["mine", "mine"]
    assert not list(tmp_path.glob("**/*.part"))


def test_an_archive_of_a_newer_version_is_left_alone(run: Terminal, tmp_path: Path) -> None:
    run("pull")
    file = tmp_path / "archive" / "archive.sqlite"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 999")
    database.close()
    before = file.read_bytes()
    assert run("pull") == 2
    assert "newer" in run.err
    assert file.read_bytes() == before


def test_damage_in_the_archive_is_found(run: Terminal, tmp_path: Path) -> None:
    run("pull")
    with sqlite3.connect(tmp_path / "archive" / "archive.sqlite") as database:
        database.execute("UPDATE blocks SET data = zeroblob(length(data)) WHERE seq = 0")
    database.close()
    assert run("archive", "check", device=False) == 5
    assert "block 0" in run.out


def test_a_clock_that_contradicts_itself_is_no_damage(run: Terminal, tmp_path: Path) -> None:
    """And is told of the device that it is about."""
    assert run("log", "arm", "--stream", "environment=100ms") == 0
    wait_for_readings(run)
    run("pull")
    run("pull")
    with sqlite3.connect(tmp_path / "archive" / "archive.sqlite") as database:
        database.execute("UPDATE syncs SET utc_us = utc_us + 3600000000 WHERE rowid = 1")
    database.close()
    told = f"warning: {run.json('info')['logger']['serial']}: boot "
    assert run("archive", "check", device=False) == 0
    assert (told in run.err, "contradict" in run.err) == (True, True)
    assert run("export", "-o", str(tmp_path / "all.csv"), device=False) == 0
    assert (told in run.err, "contradict" in run.err) == (True, True)


def test_names_from_a_device_neither_reach_the_terminal_nor_decide_a_path(run: Terminal, tmp_path: Path) -> None:
    assert run("config", "set", f"device/name={HOSTILE}") == 0
    assert run("log", "arm", "--label", HOSTILE, "--stream", "environment", "--period", "100ms") == 0
    run("log", "mark", HOSTILE)
    wait_for_readings(run)
    for words in (("info",), ("log", "status"), ("log", "sessions"), ("config", "show"), ("pull",)):
        assert run(*words) == 0
    for words in (
        ("archive", "ls"),
        ("archive", "check"),
        ("export",),
        ("plot", "-o", "fieldlog.png"),
        ("plot", "-o", "plot.svg"),
    ):
        assert run(*words, device=False) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "fieldlog.png", "plot.svg"]
    assert_printable((tmp_path / "plot.svg").read_text())


def test_an_interrupted_pull_says_so_and_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with simulator("--history", "5d", "--baud", "20000") as slow:
        command = [sys.executable, "-m", "fieldlog.cli", "pull", "--device", slow.url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        file = tmp_path / "archive" / "archive.sqlite"
        deadline_s = time.monotonic() + 30
        while not file.exists():  # it has begun
            assert time.monotonic() < deadline_s, "the pull made no archive"
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=30)
        assert process.returncode == 130
        assert complaint == "interrupted: what has arrived is in the archive. Repeat the command to go on\n"
    terminal = Terminal(capsys, None)
    assert terminal("archive", "check") == 0
