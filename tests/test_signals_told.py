"""What is said of commands that an interrupt breaks off: what is certain, and what is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import fieldlog.archive
from fieldlog.cli.main import invoke
from interrupting import ended, two_archives
from simulator import simulator

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

AT_A_REQUEST = """
import asyncio
from fieldlog.client import Client
start, release = Client.start, Client.release
def started(self, command, *words, **options):
    reply = start(self, command, *words, **options)
    if command.name == os.environ["REQUEST"]:
        send()
    return reply
async def released(self):
    if os.environ["REQUEST"] == "release":
        send()
        await asyncio.sleep(0)
    await release(self)
Client.start, Client.release = started, released
main()
"""
"""Interrupted when a request has just been sent, or when all is done and the link closes."""


def left(url: str, command: str, request: str) -> str:
    """What is said of a command that is interrupted so."""
    code, out, err = ended(AT_A_REQUEST, *command.split(), "-d", url, request=request)
    assert (code, out) == (130, ""), err
    said = err.splitlines()[-1]
    assert said.startswith("interrupted: ")
    return said.removeprefix("interrupted: ")


@pytest.fixture
def archives(tmp_path: Path) -> tuple[Path, Path]:
    return two_archives(tmp_path)


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_elsewhere")
@pytest.mark.parametrize(
    ("command", "request_", "says"),
    [
        ("clock sync", "logger info", "the device's clock is as it was"),
        ("clock sync", "logger clock anchor", "the device's clock may be set or not: `fieldlog clock show` tells"),
        ("clock sync", "release", "the device's clock is set, and its log holds the sync"),
        (
            "calibrate temperature 0.5 1",
            "logger calibrate",
            "the calibration may have been changed or not: `fieldlog cal",
        ),
        ("calibrate temperature 0.5 1 --dry-run", "logger info", "nothing was changed"),
        ("reset", "os reset", "the device may have restarted or not"),
        ("shell version", "shell execute", "the device may have run it or not"),
        ("log arm", "logger info", "nothing was changed"),
        ("log arm", "logger arm", "a session may have been armed or begun: `fieldlog log status` shows that"),
        ("log arm --meta a=b", "logger set metadata", "the metadata may have been changed, and a session may"),
        ("log stop", "logger info", "no session was ended"),
        ("log stop", "logger stop", "the session may have ended or not: `fieldlog log status` shows it"),
        ("log mark x", "logger info", "nothing was noted"),
        (
            "log mark x",
            "logger mark",
            "the mark may be in the log or not: after the next pull `fieldlog archive events`",
        ),
        ("log mark x", "release", "the mark is in the log"),
        ("log release --force --before 1", "logger info", "nothing was released"),
        (
            "log release --force --before 1",
            "logger release",
            "blocks before 1 may have been released or not: `fieldlog",
        ),
        ("log release --force --before 1", "release", "blocks before 1 may be overwritten"),
        ("log erase --yes --force", "logger info", "nothing was erased"),
        ("log erase --yes --force", "logger erase", "the log may have been erased or not: `fieldlog log status` shows"),
    ],
)
def test_an_interrupted_command_says_how_far_it_came(command: str, request_: str, says: str) -> None:
    history = () if command.startswith(("log arm", "log erase")) else ("--history", "10min")  # these want an idle one
    with simulator(*history) as logger:
        assert left(logger.url, command, request_).startswith(says)


@pytest.fixture
def readings(archives: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive to read, in an empty working directory."""
    (archives[1].parent / "here").mkdir()
    monkeypatch.chdir(archives[1].parent / "here")
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(archives[1]))
    return archives[1]


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("readings")
@pytest.mark.parametrize("words", [["export", "-o", "x.csv"], ["plot", "-o", "x.png"], ["export", "-o", "x.parquet"]])
def test_an_interrupted_export_or_plot_says_what_became_of_its_file(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(words[-1])
    with monkeypatch.context() as patched:
        patched.setattr("fieldlog.archive.readings.decode_frames", interrupt)
        assert invoke(words) == 130
        assert capsys.readouterr().err == f"interrupted: nothing was written: there is no {file}\n"
        file.write_bytes(b"before")
        assert invoke([*words, "--force"]) == 130
        assert capsys.readouterr().err == f"interrupted: nothing was written: {file} is as it was\n"
    assert file.read_bytes() == b"before"
    assert list(Path().iterdir()) == [file]
    with monkeypatch.context() as patched:
        patched.setattr("fieldlog.cli.output.Output.result", interrupt)
        assert invoke([*words, "--force"]) == 130
    assert capsys.readouterr().err == f"interrupted: {file} is written, all of it\n"
    assert file.stat().st_size > 1000


@pytest.mark.usefixtures("readings")
def test_an_interrupted_export_to_standard_output_says_that_it_is_not_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fieldlog.archive.readings.decode_frames", interrupt)
    assert invoke(["export"]) == 130
    assert capsys.readouterr().err == "interrupted: what was written is not all of it\n"


def test_a_merge_that_has_stored_all_says_so_when_its_parquet_files_are_interrupted(
    archives: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    into, whole = archives
    with monkeypatch.context() as patched:
        patched.setattr("fieldlog.archive.readings.decode_frames", interrupt)
        assert invoke(["archive", "merge", str(whole), "--archive", str(into)]) == 130
    said = capsys.readouterr().err
    assert said.startswith("interrupted: all of it is in the archive, and not in all Parquet files yet: ")
    assert "`fieldlog archive rebuild --changed`" in said
    with fieldlog.archive.open(whole, writable=False) as one, fieldlog.archive.open(into, writable=False) as other:
        assert one.digest() == other.digest()
