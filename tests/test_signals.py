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
from archive_data import CLIMATE, LOG_ID, UID, PaperLogger, climate
from fieldlog.archive import database, manifest
from fieldlog.archive.dataset import manifest_of
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import Sync
from simulator import Simulator, simulator

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

START = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from fieldlog.cli import cancelling
from fieldlog.cli.main import main
def send():
    os.kill(os.getpid(), int(os.environ["NUMBER"]))
"""
"""The program, where whoever runs the tests may have Ctrl-C ignored."""
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


def ended(code: str, *words: str, number: int = signal.SIGINT, answer: int = 1) -> tuple[int, str, str]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NUMBER": str(int(number)),
        "ANSWER": str(answer),
    }
    command = [sys.executable, "-c", START + code, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout, done.stderr


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
    """Two archives of one log, of which the second holds more."""
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(6_000))
    blocks = logger.blocks
    for name, known in (("a", blocks[:40]), ("b", blocks)):
        with fieldlog.archive.open(tmp_path / name) as archive:
            log = archive.log(UID, LOG_ID)
            log.add_blocks(known)
            log.add_syncs([Sync(1, 100, 1_700_000_000_000_000, 500)])
    return tmp_path / "a", tmp_path / "b"


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


# what is certain and what is not

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
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NUMBER": "2", "REQUEST": request}
    words = [sys.executable, "-c", START + AT_A_REQUEST, *command.split(), "-d", url]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith("interrupted: ")
    return said.removeprefix("interrupted: ")


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
