"""`fieldlog live` as its users type it: real links, a real terminal, lines in pipes, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from fieldlog.cli.main import invoke
from simulator import Simulator, simulator
from terminal import CLI, written

ENTER, LEAVE, DRAWING = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?2026h"
SHOWN, HIDDEN = "\x1b[?25h", "\x1b[?25l"
OWN_TERMINAL = "import fcntl, os, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def logger() -> Iterator[Simulator]:
    """Records motion ten times a second, so that a busy machine has half a minute before frames are lost."""
    with simulator("--pty", "--baud", "115200") as found:
        arm(found)
        yield found


def arm(device: Simulator) -> None:
    assert invoke(["log", "arm", "--stream", "motion=100ms", "-q", "-d", device.url]) == 0


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = invoke(words)
    out, err = capsys.readouterr()
    return code, out, err


def objects(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def assert_whole(events: list[dict[str, object]], frames: int) -> None:
    """So many frames, none left out, and an end that says so."""
    ticks = [event["tick"] for event in events if event["event"] == "frame"]
    assert len(ticks) == frames
    steps = [int(str(later)) - int(str(earlier)) for earlier, later in pairwise(ticks)]
    assert set(steps) <= {3276, 3277}
    end = events[-1]
    assert (end["event"], end["why"], end["frames"], end["lost"]) == ("end", "count", frames, 0)


def test_json_over_serial(logger: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "live", "--count", "20", "--json", "-d", logger.url)
    assert (code, err) == (0, "")
    events = objects(out)
    assert events[0]["event"] == "device"
    assert events[0]["state"] == "logging"
    assert_whole(events, 20)


def test_json_over_ble(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator("--ble", "0", "--ble-interval", "30ms") as device:
        arm(device)
        code, out, _ = ran(capsys, "live", "--count", "20", "--json", "-d", device.url)
    assert code == 0
    assert_whole(objects(out), 20)


def test_csv_in_a_pipe(logger: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("live", "--count", "3", "--channels", "acceleration y", "-d", logger.url)
    code, out, err = ran(capsys, *words)
    assert code == 0
    head, *rows = out.splitlines()
    assert head == "time,stream,acceleration y [g]"
    assert [row.split(",")[1] for row in rows] == ["motion"] * 3
    assert err.startswith("3 frames in ")
    assert ran(capsys, *words, "--quiet")[2] == ""


def test_the_screen_comes_and_goes_and_a_summary_stays(logger: Simulator) -> None:
    seen = written(CLI, ["live", "--count", "10", "-d", logger.url])
    before, _, rest = seen.partition(ENTER)
    drawn, _, after = rest.partition(LEAVE)
    assert before == ""
    assert drawn.count(DRAWING) >= 2
    assert "acceleration x" in drawn
    assert "10 frames in " in after
    assert "none lost" in after
    assert "acceleration z" in after, "the last values are still there"


def test_a_terminal_that_cannot_draw_gets_lines(logger: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os; os.environ['TERM'] = 'dumb'; " + CLI
    seen = written(code, ["live", "--count", "3", "-d", logger.url])
    assert "\x1b" not in seen
    assert "time,stream," in seen


def test_a_window_that_is_closed_ends_it(logger: Simulator) -> None:
    done = in_window("module://live_backend", logger)
    assert done.returncode == 0, done.stderr
    assert "acceleration z" in done.stdout
    assert " frames in " in done.stderr


def test_a_window_that_cannot_be_opened_is_one_sentence(logger: Simulator) -> None:
    done = in_window("tkagg", logger)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no display")
    assert len(done.stderr.splitlines()) == 1


def in_window(backend: str, device: Simulator) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in DISPLAYS}
    environment |= {"MPLBACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-m", "fieldlog.cli", "live", "--plot", "-d", device.url]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


@contextmanager
def on_a_terminal(device: Simulator) -> Iterator[tuple[subprocess.Popen[bytes], int, str]]:
    """The live view, once it shows readings on a terminal of its own: (it, the terminal's other end, what it wrote)."""
    master, slave = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path)}
    heed = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # whoever runs the tests may have it ignored
    command = [sys.executable, "-c", f"{heed}; {OWN_TERMINAL}; {CLI}", "live", "-d", device.url]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as view:
        os.close(slave)
        try:
            yield view, master, until(master, "acceleration x")
        finally:
            view.kill()


def until(master: int, mark: str) -> str:
    """What is written up to a mark and a little more, or to the end."""
    seen = b""
    while (not mark or mark.encode() not in seen) and select.select([master], [], [], 60)[0]:
        try:
            seen += os.read(master, 65536) or b""
        except OSError:  # nobody has the terminal open any more
            break
    return seen.decode()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_whole(logger: Simulator, number: signal.Signals) -> None:
    with on_a_terminal(logger) as (view, master, before):
        view.send_signal(number)
        seen = before + until(master, "")
        assert view.wait(60) == -number
        os.close(master)
    drawn, _, after = seen.partition(LEAVE)
    assert ENTER in drawn
    assert drawn.rfind(SHOWN) > drawn.rfind(HIDDEN) > -1
    assert " frame" in after, "the summary"
    assert ENTER not in after
    assert HIDDEN not in after
    assert "Traceback" not in seen


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_terminal_that_is_closed_ends_it(logger: Simulator) -> None:
    with on_a_terminal(logger) as (view, master, _):
        os.close(master)
        assert view.wait(60) == -signal.SIGHUP


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_lines_end_with_an_end_when_it_is_terminated(logger: Simulator) -> None:
    command = [sys.executable, "-m", "fieldlog.cli", "live", "-d", logger.url, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as view:
        assert view.stdout is not None
        first = [view.stdout.readline() for _ in range(3)]
        view.send_signal(signal.SIGTERM)
        out, err = view.communicate(timeout=60)
    assert (view.returncode, err) == (-signal.SIGTERM, "")
    events = objects("".join(first) + out)
    assert (events[-1]["event"], events[-1]["why"]) == ("end", "terminated")


AGAIN = """
import atexit, os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
def again():
    os.kill(os.getpid(), signal.SIGINT)
atexit.register(again)
from fieldlog.cli import live
summary = live._summary
def interrupted(*words):
    again()
    return summary(*words)
live._summary = interrupted
"""
"""Ctrl-C comes again while the summary is printed, and when Python ends."""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_again_changes_nothing(logger: Simulator) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", AGAIN + CLI, "live", "-d", logger.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as view:
        assert view.stdout is not None
        assert view.stdout.readline()
        view.send_signal(signal.SIGINT)
        _, err = view.communicate(timeout=60)
    assert view.returncode == 0, err
    assert " in " in err, "the summary"
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_ctrl_c_is_an_end_like_any_other(logger: Simulator, form: list[str]) -> None:
    command = [sys.executable, "-m", "fieldlog.cli", "live", "-d", logger.url, *form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as view:
        assert view.stdout is not None
        for _ in range(3):
            assert view.stdout.readline()
        view.send_signal(signal.SIGINT)
        out, err = view.communicate(timeout=60)
    assert view.returncode == 0, err
    assert "Traceback" not in err
    if form:
        assert objects(out)[-1]["why"] == "interrupted"
    else:
        assert " frames in " in err


def test_a_reader_that_has_seen_enough_ends_it(logger: Simulator) -> None:
    command = [sys.executable, "-m", "fieldlog.cli", "live", "-d", logger.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as view:
        assert view.stdout is not None
        assert view.stdout.readline().startswith("time,")
        view.stdout.close()
        assert view.stderr is not None
        err = view.stderr.read()
        assert view.wait(60) == 0
    assert err == ""


def test_a_logger_that_records_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator("--pty") as idle:
        code, out, err = ran(capsys, "live", "--duration", "100ms", "-d", idle.url)
    assert code == 0
    assert out.startswith("time,stream,temperature [Cel]")
    assert err.splitlines()[0].startswith("nothing is being recorded: `fieldlog log arm` begins")
    assert err.splitlines()[1].startswith("0 frames in ")


def test_a_device_without_a_log_says_what_works_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator("--pty", "--profile", "smp-server") as stock:
        code, out, err = ran(capsys, "live", "-d", stock.url)
    assert (code, out) == (4, "")
    assert len(err.splitlines()) == 1
    assert "has no fieldlog logger group" in err


def test_a_link_that_is_gone_is_an_error_behind_what_was_seen() -> None:
    with simulator("--pty") as device:
        arm(device)
        command = [sys.executable, "-m", "fieldlog.cli", "live", "--json", "--reconnect", "0s", "-d", device.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as view:
            assert view.stdout is not None
            for _ in range(3):
                assert view.stdout.readline()
            os.kill(device.process.pid, signal.SIGKILL)
            out, err = view.communicate(timeout=60)
    end, error = objects(out)[-2:]
    assert (view.returncode, end["why"]) == (3, "failed")
    assert "error" in error
    assert err.startswith("error: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--plot"], "there is no display to open a window on"),
        (["--plot", "--json"], "leave one of them out"),
        (["--duration", "0s"], "--duration takes a time above zero"),
        (["--window", "soon"], "'soon' is no duration"),
        (["--channels", "wind"], "the device has no channel 'wind'. Its channels: acceleration x, "),
        (["--stream", "wind"], "the device has no stream 'wind'. Its streams: environment, motion"),
    ],
)
def test_nonsense_is_one_sentence(
    logger: Simulator,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    sentence: str,
) -> None:
    for name in DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    code, _, err = ran(capsys, "live", *words, "-d", logger.url)
    assert (code, len(err.splitlines())) == (2, 1)
    assert sentence in err
