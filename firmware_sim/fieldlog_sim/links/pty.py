"""A link over a real pseudo-terminal: the host opens it with pyserial as it would a UART.

Rule of this module: the event loop never blocks. What the host does not read waits in a bounded queue; beyond it bytes
are lost, as on a UART that nobody reads, and counted. Hosts come and go; what is sent while there is none is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from fieldlog_protocol.errors import LinkError
from fieldlog_sim.faults import Faults
from fieldlog_sim.links.link_path import LinkPath
from fieldlog_sim.links.port import Port
from fieldlog_sim.links.schedule import Schedule
from fieldlog_sim.links.terminal import Terminal
from fieldlog_sim.links.uart import LineSetting, Uart
from fieldlog_sim.links.waker import Waker

QUEUE_BYTES = 256 * 1024
# A host that writes faster than its line is held up by its driver, whose buffer this stands for.
_BACKLOG_BYTES = 4096
_READ_BYTES = 16 * 1024
# How often to look for a host where the system does not tell that one has come.
_LOOK_S = 0.02


class PtyLink:
    """`path`, when given, becomes a symbolic link to the pty and is removed at the end. `line`: what the device's end is
    set to; without it, whatever rate the host sets is the right one."""

    def __init__(
        self,
        port: Port,
        *,
        path: LinkPath | None = None,
        baud: int | None = None,
        latency_s: float = 0.0,
        faults: Faults | None = None,
        name: str = "pty",
        line: Callable[[], LineSetting] | None = None,
    ) -> None:
        faults = faults or Faults()
        self._line = line
        self._schedule = Schedule(
            port if line is None else Uart(port, line, self._host_line),
            self._emit,
            baud=baud,
            latency_s=latency_s,
            to_device=faults.direction(f"{name}/to device"),
            to_host=faults.direction(f"{name}/to host"),
        )
        self._waker = Waker()
        self._path = path
        self._terminal: Terminal | None = None
        self._inbox: list[tuple[float, bytes | None]] = []
        self._queue = bytearray()
        self._present = False
        self._reading = False
        self._writing = False
        self._closed = False
        self.lost = 0  # bytes that found the queue full

    def open(self) -> None:
        """Make the pty and the symbolic link; UsageError where the path or the platform does not allow it, FieldlogError
        where the link is another simulator's."""
        if self._path is not None:
            self._path.claim()
        terminal = Terminal(None if self._line is None else self._line().baud)
        if self._path is not None:
            try:
                self._path.point_to(terminal.name)
            except BaseException:
                terminal.close()
                self._path.release()
                raise
        self._terminal = terminal

    @property
    def device_path(self) -> str:
        """What the host opens."""
        return str(self._path) if self._path is not None else self._open_terminal.name

    @property
    def address(self) -> str:
        return f"serial:{self.device_path}"

    def _host_line(self) -> LineSetting:
        return LineSetting(None if self._terminal is None else self._terminal.baud)

    async def run(self) -> None:
        if self._terminal is None:
            self.open()
        loop = asyncio.get_running_loop()
        self._attach(loop)
        try:
            while not self._closed:
                await self._waker.wait(self._pump())
        finally:
            self.close()

    def poke(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        self._closed = True
        self._detach()
        if self._path is not None:
            self._path.release()
        self._waker.wake()

    @property
    def _open_terminal(self) -> Terminal:
        if self._terminal is None:
            raise LinkError("the pty is not open")
        return self._terminal

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        if (opened := self._open_terminal.opened) is not None:
            loop.add_reader(opened, self._host_may_have_come)

    def _host_may_have_come(self) -> None:
        if self._terminal is not None:
            self._terminal.forget_openings()
        self._waker.wake()

    def _detach(self) -> None:
        """Let the pty vanish."""
        terminal, self._terminal = self._terminal, None
        if terminal is None:
            return
        with suppress(RuntimeError):  # closed before it ran: no loop has a callback of ours
            loop = asyncio.get_running_loop()
            loop.remove_reader(terminal.master)
            loop.remove_writer(terminal.master)
            if terminal.opened is not None:
                loop.remove_reader(terminal.opened)
        self._present = self._reading = self._writing = False
        self._inbox.clear()
        self._queue.clear()
        if self._path is not None:
            self._path.clear(terminal.name)
        terminal.close()

    def _next_at(self, loop: asyncio.AbstractEventLoop) -> float | None:
        at = self._schedule.next_at()
        if self._present or self._terminal is None or self._terminal.opened is not None:
            return at
        look_at = loop.time() + _LOOK_S
        return look_at if at is None else min(at, look_at)

    def _pump(self) -> float | None:
        """Everything that is due, and then decide what to wait for, and until when."""
        loop = asyncio.get_running_loop()
        inbox, self._inbox = self._inbox, []
        for at, data in inbox:
            self._schedule.advance(at)
            if data is None:
                self._host_left(at)
            else:
                self._schedule.feed(data, at)
        self._schedule.advance(loop.time())
        self._follow_disconnect(loop)
        if self._terminal is not None:
            self._look_for_host(loop, self._terminal)
            self._want_readable(loop, self._terminal)
        return self._next_at(loop)

    def _look_for_host(self, loop: asyncio.AbstractEventLoop, terminal: Terminal) -> None:
        if not self._present and terminal.present:
            self._present = True
            self._schedule.listener(present=True, now=loop.time())
            self._waker.wake()

    def _host_left(self, now: float) -> None:
        self._present = False
        self._queue.clear()
        self._schedule.listener(present=False, now=now)
        if self._terminal is not None:
            self._want_writable()
            self._terminal.drop_unread()

    def _follow_disconnect(self, loop: asyncio.AbstractEventLoop) -> None:
        """A disconnected port is gone, as a USB port is, and comes back under the name of the symbolic link. Without
        one nobody could find it again, so there it only falls silent."""
        if self._path is None or self._schedule.away == (self._terminal is None):
            return
        if self._schedule.away:
            self._detach()
        else:
            self.open()
            self._attach(loop)

    def _want_readable(self, loop: asyncio.AbstractEventLoop, terminal: Terminal) -> None:
        reading = self._present and self._schedule.backlog < _BACKLOG_BYTES
        if reading and not self._reading:
            loop.add_reader(terminal.master, self._readable, loop, terminal)
        elif self._reading and not reading:
            loop.remove_reader(terminal.master)
        self._reading = reading

    def _readable(self, loop: asyncio.AbstractEventLoop, terminal: Terminal) -> None:
        with suppress(BlockingIOError):
            data = terminal.read(_READ_BYTES)
            self._inbox.append((loop.time(), data))
            if data is None:
                loop.remove_reader(terminal.master)
                self._reading = False
        self._waker.spare(self._pump)

    def _emit(self, data: bytes) -> None:
        if self._terminal is None or not (self._present or self._terminal.present):
            return
        if not self._queue:
            data = data[self._terminal.write(data) :]
        if not data:
            return
        room = QUEUE_BYTES - len(self._queue)
        self.lost += max(0, len(data) - room)
        self._queue += data[:room]
        self._want_writable()

    def _want_writable(self) -> None:
        if bool(self._queue) == self._writing:
            return
        loop = asyncio.get_running_loop()
        self._writing = not self._writing
        if self._writing:
            loop.add_writer(self._open_terminal.master, self._writable)
        else:
            loop.remove_writer(self._open_terminal.master)

    def _writable(self) -> None:
        del self._queue[: self._open_terminal.write(self._queue)]
        self._want_writable()
