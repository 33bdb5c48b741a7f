"""One file for many devices, with somebody at a terminal: asked, answered, interrupted."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_cli import Cli, devices, toml
from simulator import Simulator, simulator
from terminal import CLI

DEVICES = 2
PATIENCE_S = 30


@pytest.fixture(scope="module")
def loggers() -> Iterator[Simulator]:
    with simulator("--count", str(DEVICES), "--udp", "0", links=DEVICES) as running:
        yield running


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self._master, slave = pty.openpty()
        environment = os.environ | {"TERM": "dumb", "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLI, *words], stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> None:
        """Wait for a text; an empty one: for the end."""
        while not text or text not in self.seen:
            if not select.select([self._master], [], [], PATIENCE_S)[0]:
                self.process.kill()
                self.process.wait()
                raise AssertionError(self.seen)
            try:
                data = os.read(self._master, 65536)
            except OSError:
                data = b""
            if not data:
                assert not text, self.seen
                return
            self.seen += data.decode()

    def until_it_waits(self) -> None:
        """Until it does nothing but wait for a key: a signal that comes just before is seen with the next key only."""
        deadline = time.monotonic() + PATIENCE_S
        state = Path(f"/proc/{self.process.pid}/stat")
        while state.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline
            os.sched_yield()

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        self.until("")
        os.close(self._master)
        return self.process.wait(PATIENCE_S)


def test_on_a_terminal_it_shows_asks_and_does_as_it_is_told(cli: Cli, loggers: Simulator) -> None:
    Path("a.toml").write_text(toml(47))
    before = cli.values(loggers.url, "alarm/high")
    terminal = Terminal("config", "apply", "a.toml", *devices(loggers.urls))
    terminal.until(f"Apply this to {DEVICES} devices? [y/N]")
    assert terminal.seen.count("-> 47.0 degC") >= 1
    terminal.type("n\n")
    assert terminal.end() == 1
    assert "nothing was changed" in terminal.seen
    assert cli.values(loggers.url, "alarm/high") == before
    terminal = Terminal("config", "apply", "a.toml", "--device", loggers.url)
    terminal.until("Apply this? [y/N]")
    terminal.type("y\n")
    assert terminal.end() == 0
    assert cli.values(loggers.url, "alarm/high") == {"alarm/high": 47.0}


@pytest.mark.parametrize(
    ("words", "state"),
    [("config apply a.toml", "nothing was changed"), ("log erase --force --archive none", "nothing was erased")],
)
@pytest.mark.parametrize(
    ("number", "code", "why"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "interrupted by SIGTERM")],
)
def test_an_interrupted_question_leaves_everything_as_it_was(
    cli: Cli, loggers: Simulator, words: str, state: str, number: signal.Signals, code: int, why: str
) -> None:
    Path("a.toml").write_text(toml(48))
    before = cli.values(loggers.url, "alarm/high")
    terminal = Terminal(*words.split(), "--device", loggers.url)
    terminal.until("[y/N]: ")
    terminal.until_it_waits()
    started = time.monotonic()
    terminal.process.send_signal(number)
    assert terminal.end() == code
    assert time.monotonic() - started < PATIENCE_S / 3, "once is enough"
    assert terminal.seen.splitlines()[-1] == f"{why}: {state}"
    assert cli.values(loggers.url, "alarm/high") == before


def test_an_interrupt_while_writing_says_what_is_left_and_leaves_all_or_nothing(cli: Cli) -> None:
    Path("a.toml").write_text(toml(48.5) + '"alarm/low" = -20\n')
    with simulator("--udp", "0", "--latency", "60ms") as slow:
        before = cli.values(slow.url, "alarm/high", "alarm/low")
        terminal = Terminal("config", "apply", "a.toml", "--yes", "--timeout", "2s", "--device", slow.url)
        terminal.until("alarm/low: ")  # the plan is shown: it is being written
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        after = cli.values(slow.url, "alarm/high", "alarm/low")
        if "interrupted: nothing was changed" in terminal.seen:  # it came before the first message
            assert after == before
        else:
            assert "1 device at work: the former values are back within 2 s, or all the new ones hold" in terminal.seen
            assert after in (before, {"alarm/high": 48.5, "alarm/low": -20.0})
        assert cli.apply("a.toml", [slow.url], "--yes") == 0, "the next one completes"
