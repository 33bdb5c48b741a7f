"""`sim:`: a simulated device in a process of its own, reached as any other: through a pseudo-terminal, or UDP.

Nothing of the simulator is imported. The child prints one JSON line when it is ready; it ends when its standard input
closes, so that it never outlives its host, however that one dies.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import IO, Any, cast

from fieldlog.transports.base import Keeping, Piecewise, Sink, Transport, Tunable, Tuning, piece_of
from fieldlog_protocol.errors import DeviceNotFound, FieldlogError, UsageError

_READY_S = 60.0
_STOP_S = 5.0
_USAGE = 2
_ERROR = re.compile(r"^(?:[\w. -]+: )?error: ")


class SimulatedTransport:
    """A child process and the link to it. Opening again reaches the same child while it lives."""

    def __init__(self, arguments: Sequence[str], name: str, reach: Callable[[str], Transport]) -> None:
        """`reach` makes the transport to the URL that the child announces."""
        self.name = name
        self._command = [sys.executable, "-m", "fieldlog_sim", "--json", "--until-eof", *arguments]
        self._reach = reach
        self._child: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._link: Transport | None = None

    @property
    def mtu(self) -> int | None:
        return None if self._link is None else self._link.mtu

    @property
    def pieces(self) -> bool:
        return isinstance(self._link, Piecewise) and self._link.pieces

    @property
    def piece_size(self) -> int:
        return 0 if self._link is None else piece_of(self._link)

    @property
    def tuning(self) -> Tuning:
        return self._link.tuning if isinstance(self._link, Tunable) else Tuning()

    def tune(self, tuning: Tuning) -> None:
        if isinstance(self._link, Tunable):
            self._link.tune(tuning)

    async def open(self, sink: Sink) -> None:
        if self._child is not None and self._child.poll() is not None:
            await self.close()
        try:
            if self._link is None:
                self._link = self._reach(await self._start())
            await self._link.open(sink)
        except BaseException:
            await self.close()
            raise

    def send(self, data: bytes) -> None:
        if self._link is not None:
            self._link.send(data)

    async def close(self) -> None:
        if self._link is not None:
            await self._link.close()
        if isinstance(self._link, Keeping):
            await self._link.release()
        self._link = None
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(_stop, child)
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    async def _start(self) -> str:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        links = [] if hasattr(os, "openpty") else ["--udp", "127.0.0.1:0"]
        self._child = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own needs a child watcher that tests cannot share
            [*self._command, *links],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is for the host, which then stops the child
        )
        assert self._child.stdout is not None
        try:
            line = await asyncio.wait_for(asyncio.to_thread(self._child.stdout.readline), _READY_S)
        except TimeoutError:
            raise DeviceNotFound(
                f"{self.name} was not ready within {_READY_S:.0f} s. Ask for a shorter history"
            ) from None
        if (url := _announced(line)) is not None:
            return url
        raise await asyncio.to_thread(self._why_not, line)

    def _why_not(self, line: bytes) -> FieldlogError:
        """What the child said instead of being ready, and whether the words that it was given are the reason."""
        assert self._child is not None
        assert self._errors is not None
        try:
            code = self._child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            code = None
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines() or [line.decode(errors="replace")]
        reason = next((text for text in reversed(said) if _ERROR.match(text)), said[-1])
        kind = UsageError if code == _USAGE else DeviceNotFound
        return kind(f"the simulated device did not start: {_ERROR.sub('', reason)}")


def _announced(line: bytes) -> str | None:
    """The URL in the child's first line; None if that says something else."""
    try:
        ready: object = json.loads(line)
    except ValueError:
        return None
    if isinstance(ready, dict) and isinstance(url := cast("dict[str, Any]", ready).get("url"), str):
        return url
    return None


def _stop(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
