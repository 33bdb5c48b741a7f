"""Simulators without the third of a second of imports: a Python that has them behind it forks one for each order.

Run as a program this is that Python. An order comes over a socket, with the new process's standard streams and a pipe that
takes its pid and, at its end, its exit code. It ends, once its simulators have, when the socket is closed.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

AVAILABLE = sys.platform == "linux"  # elsewhere such sockets keep no messages apart, or forks are not to be trusted
_LONGEST_ORDER = 1 << 18


class WarmSimulator:
    """A forked simulator; what of `subprocess.Popen` the tests need of one."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        ours, theirs = _pipes()
        order = json.dumps({"arguments": self.args, "folder": str(Path.cwd()), "environment": dict(os.environ)})
        socket.send_fds(_warm(), [order.encode()], theirs)
        for end in theirs:
            os.close(end)
        files = [os.fdopen(end, mode) for end, mode in zip(ours, "wrrr", strict=True)]
        self.stdin: IO[str] = files[0]
        self.stdout: IO[str] = files[1]
        self.stderr: IO[str] = files[2]
        self._told = files[3]
        self.pid = int(self._told.readline())

    def wait(self, timeout_s: float | None = None) -> int:
        if self.returncode is None:
            if not _readable(self._told, timeout_s):
                raise subprocess.TimeoutExpired(self.args, timeout_s or 0.0)
            self.returncode = int(self._told.readline())
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):  # it has ended, and nobody has waited for it
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _pipes() -> tuple[list[int], list[int]]:
    """Our ends and the other ones, of standard input, output and errors, and of what is told about the process."""
    (input_there, input_here), *others = (os.pipe() for _ in range(4))
    return [input_here, *(here for here, _ in others)], [input_there, *(there for _, there in others)]


def _readable(file: IO[str], timeout_s: float | None) -> bool:
    import select

    return bool(select.select([file], [], [], timeout_s)[0])


@cache
def _warm() -> socket.socket:
    """The socket of this process's warm Python."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there:
        child = subprocess.Popen(
            [sys.executable, __file__, str(there.fileno())],
            pass_fds=(there.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
    import atexit

    atexit.register(_end, here, child)
    return here


def _end(control: socket.socket, child: subprocess.Popen[bytes]) -> None:
    control.close()
    child.wait()


# the warm Python


def _serve(control: socket.socket) -> None:
    import fieldlog_sim.program  # noqa: F401 - all that follows is faster for it

    gc.freeze()  # what is shared stays shared
    while True:
        order, ends, _, _ = socket.recv_fds(control, _LONGEST_ORDER, 4)
        if not order:
            break
        wanted = json.loads(order)
        _import_for(wanted["arguments"])
        if os.fork() == 0:
            control.close()
            _keep(wanted, ends)
        for end in ends:
            os.close(end)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    with suppress(ChildProcessError):
        while os.wait():
            pass


def _import_for(arguments: list[str]) -> None:
    """What only some simulators need."""
    if "--ble" in arguments:
        import fieldlog_sim.links.ble.site
    if "--replay" in arguments:
        import fieldlog_sim.replay  # noqa: F401


def _keep(order: dict[str, object], ends: list[int]) -> NoReturn:
    """Starts the simulator and tells how it ends: only a parent learns that."""
    *standard, told = ends
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _become(order, standard)
    for end in standard:
        os.close(end)
    os.write(told, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(order: dict[str, object], standard: list[int]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        for number, end in enumerate(standard):
            os.dup2(end, number)
            os.close(end)
        os.chdir(str(order["folder"]))
        os.environ.clear()
        os.environ.update(order["environment"])  # type: ignore[call-overload]
        from fieldlog_sim.__main__ import main

        code = main(order["arguments"])  # type: ignore[arg-type]
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - what a Python of its own would print
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
