"""`fieldlog pull` as its users see it when something comes between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fieldlog.archive
from fieldlog.cli.main import invoke
from fieldlog_protocol.errors import UsageError
from simulator import Simulator, simulator


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.chdir(tmp_path)


_HEEDING = """
import signal
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
from fieldlog.cli.main import main
main()
"""
"""The program, where whoever runs the tests may have SIGHUP ignored."""


def held() -> int:
    """How many blocks have been stored."""
    try:
        with fieldlog.archive.open("archive", writable=False) as archive:
            return sum(log.count() for log in archive.logs())
    except UsageError:  # there is none yet
        return 0


def cut(slow: Simulator, how: Callable[[subprocess.Popen[str]], None], *words: str) -> tuple[int, str, str]:
    """A pull that something happens to when blocks of it have arrived: exit code, what it said."""
    command = [sys.executable, "-c", _HEEDING, "pull", "--device", slow.url, *words]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    before = held()
    while held() <= before:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.05)
    how(child)
    out, err = child.communicate(timeout=30)
    return child.returncode, out, err


def interrupt(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGINT)


def test_an_interrupted_pull_ends_with_an_object_too() -> None:
    with simulator("--history", "20d", "--baud", "230400") as slow:
        code, out, err = cut(slow, interrupt, "--json")
    (line,) = out.splitlines()
    error = json.loads(line)["error"]
    assert (code, error["kind"], error["exit_code"]) == (130, "Interrupted", 130)
    assert error["message"] == err.strip()
    assert err.startswith("interrupted: what has arrived is in the archive")


@pytest.mark.skipif(os.name != "posix", reason="no such signals")
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_pull_that_is_ended_by_a_signal_ends_as_by_ctrl_c(number: signal.Signals, expected: int) -> None:
    with simulator("--history", "20d", "--baud", "230400") as slow:
        code, out, err = cut(slow, lambda child: child.send_signal(number), "--json")
    (line,) = out.splitlines()
    error = json.loads(line)["error"]
    assert (code, error["kind"], error["exit_code"]) == (expected, "Interrupted", expected)
    assert error["message"] == err.strip()
    assert err.startswith(f"interrupted by {number.name}: what has arrived is in the archive")


@pytest.mark.skipif(os.name != "posix", reason="no such signals")
@pytest.mark.parametrize("background", [False, True])
def test_of_several_devices_a_signal_leaves_a_table_too(background: bool) -> None:
    """In the background of a script as well, where shells have Ctrl-C ignored."""
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN if background else signal.default_int_handler)
    try:
        with simulator("--history", "20d", "--baud", "230400", "--seed", "8") as one, simulator("--seed", "9") as two:
            code, out, err = cut(one, lambda child: child.send_signal(signal.SIGTERM), "--device", two.url)
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert code == 143
    assert err.splitlines()[-1].startswith("interrupted by SIGTERM: what has arrived is in the archive")
    outcomes = {line.split()[0]: line.split()[-1] for line in out.splitlines()[1:]}
    assert outcomes.keys() == {one.port, two.port}
    assert outcomes[one.port] == "interrupted"


def rows(folder: Path) -> int:
    """The readings that whoever opens the Parquet files sees."""
    import pyarrow.dataset

    return int(pyarrow.dataset.dataset(folder / "readings", partitioning="hive").count_rows())


def test_an_interrupted_pull_brings_the_parquet_files_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator("--history", "10min") as quick:
        assert invoke(["pull", "--device", quick.url]) == 0
    before = rows(Path("archive"))
    with simulator("--history", "20d", "--baud", "230400", "--seed", "8") as slow:
        cut(slow, interrupt)
    capsys.readouterr()
    assert rows(Path("archive")) > before
    assert invoke(["archive", "check"]) == 0
    assert "yet" not in capsys.readouterr().out


def test_what_a_killed_pull_left_is_no_fault_and_the_next_one_repairs_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Even if that one reaches no device."""
    with simulator("--history", "10min") as quick:
        assert invoke(["pull", "--device", quick.url]) == 0
    with simulator("--history", "20d", "--baud", "230400", "--seed", "8") as slow:
        cut(slow, subprocess.Popen.kill)
    capsys.readouterr()
    assert invoke(["archive", "check"]) == 0
    assert "not written yet: " in capsys.readouterr().out
    assert invoke(["pull", "--device", "/dev/ttyNONE9"]) == 3
    assert invoke(["archive", "check"]) == 0
    assert "yet" not in capsys.readouterr().out


def test_a_lost_link_leaves_no_doubt_about_what_had_arrived() -> None:
    with simulator("--history", "20d", "--baud", "230400") as slow:
        code, out, err = cut(slow, lambda _: slow.process.kill(), "--json", "--no-parquet")
    error = json.loads(out)["error"]
    assert (code, error["kind"], error["exit_code"]) == (3, "LinkError", 3)
    assert "is in the archive. Repeat the command to go on" in err
    assert "not known" not in err


def test_of_a_device_that_does_not_answer_the_object_names_the_link(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["pull", "--device", "/dev/ttyNONE9", "--json"]) == 3
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["url"], found["outcome"], found["readings"]) == ("/dev/ttyNONE9", "failed", 0)
    assert (found["error"]["kind"], found["error"]["exit_code"]) == ("DeviceNotFound", 3)
    assert err == f"error: {found['error']['message']}\n"


def test_open_blocks_of_several_devices_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator() as one, simulator("--seed", "8") as two:
        for device in (one, two):
            words = ["--device", device.url, "--json"]
            assert invoke(["log", "arm", "--stream", "environment=100ms", *words]) == 0
            capsys.readouterr()
            while not json.loads(capsys.readouterr().out or "{}").get("readings"):
                assert invoke(["pull", "--no-parquet", *words]) == 0
        urls = ["--device", one.url, "--device", two.url]
        opened: list[str] = []
        while len(opened) < 2:
            assert invoke(["pull", "--no-seal", "--no-parquet", *urls]) == 0
            opened = [line for line in capsys.readouterr().err.splitlines() if "still open: a later pull" in line]
    assert {line.partition(":")[0] for line in opened} == {one.port, two.port}
