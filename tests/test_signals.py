"""Ctrl-C and signals at the worst moments: one sentence and the exit code, wherever they come."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import fieldlog.archive
from fieldlog.archive import database, manifest
from fieldlog.archive.dataset import manifest_of
from fieldlog.cli.main import invoke
from interrupting import ended, two_archives
from simulator import Simulator, simulator

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

IN_AN_ANSWER = """
import fieldlog.client as client
decode, answers = client.decode_reply, iter(range(1, 100))
def decode_reply(*words):
    if next(answers) == int(os.environ["ANSWER"]):
        send()
    return decode(*words)
client.decode_reply = decode_reply
main()
"""
BEFORE_THE_LOOP = """
import asyncio
make = asyncio.new_event_loop
def new_event_loop():
    send()
    return make()
asyncio.events.new_event_loop = asyncio.new_event_loop = new_event_loop
main()
"""
AT_THE_END = """
import asyncio
from fieldlog.client import Client
release = Client.release
async def released(self):
    send()
    await asyncio.sleep(0)
    send()
    await release(self)
Client.release = released
main()
"""
BEHIND_THE_END = """
import asyncio
from fieldlog.client import Client
release, shutdown = Client.release, asyncio.base_events.BaseEventLoop.shutdown_default_executor
async def released(self):
    send()
    await release(self)
    await asyncio.to_thread(time.sleep, 0)
async def shut_down(self, *words):
    send()
    await shutdown(self, *words)
Client.release, asyncio.base_events.BaseEventLoop.shutdown_default_executor = released, shut_down
main()
"""
STUCK = """
import fieldlog.client as client
cancelling._STUCK_S = 0.05
def decode_reply(*words):
    send()
    time.sleep(0.1)
    send()
    time.sleep(600)
client.decode_reply = decode_reply
main()
"""
TWICE = """
from fieldlog.cli import failure, main as program
say = program.report_interrupt
def report_interrupt(*words):
    say(*words)
    send()
    time.sleep(600)
program.report_interrupt = report_interrupt
import fieldlog.client as client
decode = client.decode_reply
def decode_reply(*words):
    send()
    return decode(*words)
client.decode_reply = decode_reply
main()
"""


@pytest.fixture(scope="module")
def logger() -> Iterator[Simulator]:
    with simulator("--history", "1h") as running:
        yield running


@pytest.mark.parametrize("answer", [1, 2, 3, 5])
def test_an_interrupt_while_an_answer_is_taken_in_is_one_sentence(logger: Simulator, answer: int) -> None:
    words = ("log", "status", "-d", logger.url)
    assert ended(IN_AN_ANSWER, *words, answer=answer) == (130, "", "interrupted\n")
    assert ended(IN_AN_ANSWER, *words, answer=answer, number=signal.SIGTERM) == (143, "", "interrupted by SIGTERM\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_before_the_work_begins_is_one_sentence(logger: Simulator, number: signal.Signals) -> None:
    code, out, err = ended(BEFORE_THE_LOOP, "log", "status", "-d", logger.url, number=number)
    assert (code, out) == (130 if number == signal.SIGINT else 143, "")
    assert err.startswith("interrupted")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("code", [AT_THE_END, BEHIND_THE_END], ids=["link", "loop"])
def test_interrupts_while_all_is_closed_raise_nothing_in_its_middle(logger: Simulator, code: str) -> None:
    assert ended(code, "log", "status", "-d", logger.url) == (130, "", "interrupted\n")


def test_what_has_not_heard_an_interrupt_for_long_is_broken_off_by_another_one(logger: Simulator) -> None:
    code, _, err = ended(STUCK, "log", "status", "-d", logger.url)
    assert code == 130
    assert err.splitlines()[-1] == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_the_first_is_told_of_changes_nothing(logger: Simulator, number: signal.Signals) -> None:
    code, _, err = ended(TWICE, "log", "status", "-d", logger.url, number=number)
    assert code == (130 if number == signal.SIGINT else 143)
    assert len(err.splitlines()) == 1


def test_ctrl_c_while_the_program_is_loaded_ends_it_without_a_word() -> None:
    code = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Sends:
    def find_spec(self, name, *_):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Sends())
runpy.run_module("fieldlog.cli", run_name="__main__")
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


# the archive


@pytest.fixture
def archives(tmp_path: Path) -> tuple[Path, Path]:
    return two_archives(tmp_path)


class Interrupting(sqlite3.Connection):
    """Ctrl-C comes when so many statements have been executed."""

    at = 0

    def execute(self, *words: Any) -> sqlite3.Cursor:
        done = super().execute(*words)
        Interrupting.at -= 1
        if not Interrupting.at:
            raise KeyboardInterrupt
        return done


def test_an_interrupt_after_whichever_statement_of_a_merge_is_told_and_loses_nothing(
    archives: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    into, whole = archives
    before = (into / database.FILE_NAME).read_bytes()
    with fieldlog.archive.open(whole, writable=False) as archive:
        digest = archive.digest()
    connect = sqlite3.connect

    def connected(*words: Any, **options: Any) -> sqlite3.Connection:
        return connect(*words, **options, factory=Interrupting)

    words = ["archive", "merge", str(whole), "--archive", str(into), "--no-parquet"]
    code, at = 130, 0
    while code:
        at += 1
        (into / database.FILE_NAME).write_bytes(before)
        with monkeypatch.context() as patched:
            patched.setattr(sqlite3, "connect", connected)
            Interrupting.at = at
            code = invoke(words)
        err = capsys.readouterr().err
        assert (code, err.partition(":")[0]) == (130, "interrupted") or Interrupting.at > 0, f"statement {at}: {err}"
        assert invoke(words) == 0
        with fieldlog.archive.open(into, writable=False) as archive:
            assert archive.digest() == digest, f"after statement {at}"
    assert at > 20


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Another program writes to an archive, for longer than anybody waits."""
    with closing(sqlite3.connect(folder / database.FILE_NAME, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


WAITING = """
import fieldlog.archive.database as database
look = database.look
def looked():
    send()
    database.look = look
    look()
database.look = looked
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_merge_that_waits_for_another_program_heeds_an_interrupt(
    archives: tuple[Path, Path], number: signal.Signals
) -> None:
    into, whole = archives
    with held(into):
        code, out, err = ended(WAITING, "archive", "merge", str(whole), "--archive", str(into), number=number)
    assert (code, out) == (130 if number == signal.SIGINT else 143, "")
    assert err.startswith("interrupted")
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_a_rebuild_that_waits_for_another_one_heeds_an_interrupt(archives: tuple[Path, Path]) -> None:
    _, whole = archives
    assert invoke(["archive", "rebuild", "--archive", str(whole)]) == 0
    with manifest.hold(manifest_of(whole / database.FILE_NAME)):
        code, _, err = ended(WAITING, "archive", "rebuild", "--archive", str(whole))
    assert code == 130
    assert err.startswith("interrupted: every Parquet file is whole")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_check_that_waits_for_a_rebuild_heeds_an_interrupt(
    archives: tuple[Path, Path], number: signal.Signals
) -> None:
    _, whole = archives
    assert invoke(["archive", "rebuild", "--archive", str(whole)]) == 0
    with manifest.hold(manifest_of(whole / database.FILE_NAME)):
        code, out, err = ended(WAITING, "archive", "check", "--archive", str(whole), number=number)
    assert (code, out) == (130 if number == signal.SIGINT else 143, "")
    assert err.startswith("interrupted")
    assert len(err.splitlines()) == 1


def test_a_pull_that_waits_for_another_program_heeds_an_interrupt(tmp_path: Path, logger: Simulator) -> None:
    with fieldlog.archive.open(tmp_path):
        pass
    with held(tmp_path):
        code, _, err = ended(WAITING, "pull", "--archive", str(tmp_path), "-d", logger.url)
    assert code == 130
    assert err.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in err


def test_an_interrupt_while_python_runs_made_up_code_ends_the_program_with_its_exit_code(tmp_path: Path) -> None:
    """As where a dataclass is made: what `python -m` runs would die by it at its end, whatever had become of it."""
    code = """
import fieldlog.archive as archive
from fieldlog.cli.main import main
def opened(*_, **__):
    exec("raise KeyboardInterrupt")
archive.open = opened
main()
"""
    (tmp_path / "made_up.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-m", "made_up", "archive", "ls", "--archive", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
