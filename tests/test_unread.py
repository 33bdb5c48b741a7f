"""Exit codes where nobody reads what is printed any more: a pipe whose reader is gone changes none but the quiet 0."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from fieldlog.cli import devices
from fieldlog.cli.main import invoke
from fieldlog_protocol.errors import LinkError
from simulator import simulator

HEEDING = """
import signal
for name in ("SIGHUP", "SIGINT"):
    signal.signal(getattr(signal, name), signal.SIG_DFL if name == "SIGHUP" else signal.default_int_handler)
from fieldlog.cli.main import main
main()
"""
"""The program, where whoever runs the tests may have signals ignored."""
NOWHERE = "/dev/ttyNONE9"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and signals of POSIX")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)


@contextmanager
def unread(words: Sequence[str], *, both: bool = False) -> Generator[subprocess.Popen[bytes]]:
    """The program with a standard output that nobody reads; with `both`, as behind `2>&1 |`, stderr goes there too."""
    reader, writer = os.pipe()
    os.close(reader)
    # what is not buffered cannot fail at the very end, which has an exit code of Python's own
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": ""}
    child = subprocess.Popen(
        [sys.executable, "-c", HEEDING, *words],
        stdout=writer,
        stderr=writer if both else subprocess.PIPE,
        env=environment,
    )
    os.close(writer)
    with child:
        try:
            yield child
        finally:
            child.kill()


def ended(words: Sequence[str], *, both: bool = False) -> tuple[int, str]:
    with unread(words, both=both) as child:
        _, err = child.communicate(timeout=60)
        return child.returncode, (err or b"").decode()


@contextmanager
def silent_port() -> Generator[tuple[socket.socket, str]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        port.settimeout(60)
        yield port, f"udp:127.0.0.1:{port.getsockname()[1]}?timeout=60"


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("flags", [(), ("--json",), ("--json", "--device", NOWHERE)])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_an_interrupt_is_told_by_the_exit_code(
    number: signal.Signals, code: int, flags: tuple[str, ...], both: bool
) -> None:
    """Of one device as of several."""
    with silent_port() as (port, url), unread(["pull", "--device", url, *flags], both=both) as child:
        port.recv(2000)  # it waits for an answer
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert both or b"interrupted" in err.splitlines()[-1]


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.parametrize("command", ["info", "pull"])
def test_a_failure_is_told_by_the_exit_code(command: str, flags: tuple[str, ...], both: bool) -> None:
    code, err = ended([command, "--device", NOWHERE, *flags], both=both)
    assert code == 3
    assert both or NOWHERE in err


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_of_several_devices_all_are_read_and_the_one_that_fails_counts(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with simulator("--history", "10min") as logger:
        code, err = ended(["pull", "--device", NOWHERE, "--device", logger.url, *flags])
    assert (code, NOWHERE in err) == (3, True)
    assert invoke(["archive", "ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"]


@pytest.mark.parametrize("both", [False, True])
def test_no_command_is_a_usage_error_still(both: bool) -> None:
    assert ended(["pull", "--no-such"], both=both)[0] == 2


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("words", [["--help"], ["pull", "--help"], ["--version"], ["export", "--help"]])
def test_a_reader_who_has_seen_enough_is_no_failure(words: list[str], both: bool) -> None:
    assert ended(words, both=both) == (0, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_from_the_beginning_is_no_failure(closed: str) -> None:
    """As services may have it. An archive that took its number would be written into."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for words, code in ((["--version"], 0), (["archive", "ls", "--archive", "here", "--json"], 2)):
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "fieldlog.cli", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)
        assert bool(done.stdout) == (">&-" not in closed.split())
        assert done.stderr.startswith("error: there is no archive") == (code == 2 and "2>&-" not in closed.split())


@pytest.mark.parametrize(("cause", "code"), [(LinkError("it was lost"), 3), (KeyboardInterrupt(), 130)])
def test_what_ended_a_command_before_its_last_words_counts(
    cause: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that these found no reader."""

    def work(*_: object, **__: object) -> None:
        try:
            raise cause
        finally:
            raise BrokenPipeError

    monkeypatch.setattr(devices.devices, "callback", work)
    assert invoke(["devices"]) == code
