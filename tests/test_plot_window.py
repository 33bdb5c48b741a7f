"""The window of `fieldlog plot`, and how signals end it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
READINGS = "time,temperature [Cel]\n2026-01-01T00:00:00Z,20.5\n2026-01-01T00:01:00Z,20.6\n"
SIGNALS = ((signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)) if os.name == "posix" else ()
HEEDING = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from fieldlog.cli.main import main
main()
"""
"""The program, where whoever runs the tests may have signals ignored."""
HELD_BACK = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
"""
"""Before libraries start threads, which would take the signals that the main loop holds back."""
IN_TK = """
from matplotlib import pyplot
show = pyplot.show
def shown(*, block: bool) -> None:
    window = pyplot.get_current_fig_manager().window
    window.after(50, lambda: print("open", flush=True))
    {closing}
    show(block=block)
pyplot.show = shown
"""


@pytest.fixture
def display() -> Generator[str]:
    """A screen that nobody sees."""
    pytest.importorskip("tkinter")
    if shutil.which("Xvfb") is None:
        pytest.skip("this system has no Xvfb")
    reader, writer = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-nolisten", "tcp"], pass_fds=[writer], stderr=subprocess.DEVNULL
    )
    os.close(writer)
    with screen, os.fdopen(reader) as told:
        number = told.readline().strip()
        yield f":{number}"
        screen.terminate()


@contextmanager
def window(folder: Path, program: str, **variables: str) -> Generator[subprocess.Popen[str]]:
    """The program, once its window is open."""
    (folder / "a.csv").write_text(READINGS)
    environment = {key: value for key, value in os.environ.items() if key not in DISPLAYS}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), **variables}
    command = [sys.executable, "-c", program, "plot", str(folder / "a.csv")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None
        try:
            assert [child.stdout.readline() for _ in range(2)] == ["2 readings plotted\n", "open\n"]
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_ends_a_window_whose_main_loop_waits(number: signal.Signals, code: int, tmp_path: Path) -> None:
    with window(tmp_path, HELD_BACK + HEEDING, MPLBACKEND="module://waiting_backend") as child:
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    said = "interrupted" if number == signal.SIGINT else f"interrupted by {number.name}"
    assert (child.returncode, out, err) == (code, "", f"{said}\n")


@pytest.mark.faults
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_ends_a_window_of_tk(number: signal.Signals, code: int, display: str, tmp_path: Path) -> None:
    with window(tmp_path, IN_TK.format(closing="") + HEEDING, DISPLAY=display, MPLBACKEND="tkagg") as child:
        child.send_signal(number)
        _, err = child.communicate(timeout=30)
    assert (child.returncode, err.startswith("interrupted"), len(err.splitlines())) == (code, True, 1)


@pytest.mark.faults
def test_a_window_that_is_closed_is_no_interrupt(display: str, tmp_path: Path) -> None:
    closing = "window.after(400, pyplot.close)"
    with window(tmp_path, IN_TK.format(closing=closing) + HEEDING, DISPLAY=display, MPLBACKEND="tkagg") as child:
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (0, "", "")
