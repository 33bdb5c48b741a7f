"""Serial ports, through pyserial.

On POSIX the event loop itself watches the port's file descriptor: one system call and no thread a delivery. Elsewhere
two threads read and write.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol

import serial

from fieldlog.transports.base import Sink, Tuning
from fieldlog.transports.ports import serial_ports
from fieldlog.transports.serial_errors import cannot_open, unplugged

DEFAULT_BAUD = 115_200
_READ_SIZE = 64 * 1024


class _Line(Protocol):
    def send(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class PolledLine:
    """A port that the event loop watches."""

    def __init__(self, port: serial.Serial, received: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self._port = port
        self._fd = port.fileno()
        self._received = received
        self._lost = lost
        self._unsent = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def send(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
            return
        written = self._write(data)
        if written is not None and written < len(data):
            self._unsent += data[written:]
            self._loop.add_writer(self._fd, self._write_more)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._port.close()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._received(data)
        else:  # a terminal that hung up: EIO on Linux, nothing elsewhere
            self._lost()

    def _write(self, data: bytes | bytearray) -> int | None:
        """How many bytes the port took, None when it is gone."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            # not from within send: whoever sends has not yet noted what it is sending
            self._loop.call_soon(self._lost)
            return None

    def _write_more(self) -> None:
        written = self._write(self._unsent)
        if written is not None:
            del self._unsent[:written]
        if not self._unsent or written is None:
            self._loop.remove_writer(self._fd)


class ThreadedLine:
    """A port that threads read and write, where file descriptors cannot be watched."""

    def __init__(self, port: serial.Serial, received: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self._port = port
        self._received = received
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._closed = threading.Event()
        self._unsent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        port.timeout = 0.1
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._write)]
        for thread in self._threads:
            thread.start()

    def send(self, data: bytes) -> None:
        self._unsent.put(data)

    def close(self) -> None:
        self._closed.set()
        self._unsent.put(None)
        for thread in self._threads:
            thread.join(timeout=1.0)
        self._port.close()

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                data = self._port.read(1)
                data += self._port.read(self._port.in_waiting)
            except (OSError, TypeError):  # TypeError: pyserial's, of a port closed in mid-read
                self._tell(self._lost)
                return
            if data:
                self._tell(partial(self._received, data))

    def _write(self) -> None:
        while (data := self._unsent.get()) is not None:
            try:
                self._port.write(data)
            except (OSError, TypeError):
                self._tell(self._lost)
                return

    def _tell(self, what: Callable[[], None]) -> None:
        if not self._closed.is_set():
            self._loop.call_soon_threadsafe(lambda: None if self._closed.is_set() else what())


LineMaker = Callable[[serial.Serial, Callable[[bytes], None], Callable[[], None]], _Line]
LINE: LineMaker = ThreadedLine if sys.platform == "win32" else PolledLine


class SerialTransport:
    """One serial port. `find` names it anew at every opening, since USB ports come back under other names."""

    mtu: int | None = None

    def __init__(
        self,
        port: str | Callable[[], str],
        baud: int = DEFAULT_BAUD,
        line: LineMaker = LINE,
    ) -> None:
        self._find: Callable[[], str] = (lambda: port) if isinstance(port, str) else port
        self.name = port if isinstance(port, str) else "the serial port"
        self._baud = baud
        self._make_line = line
        self._line: _Line | None = None
        self._sink: Sink | None = None

    @property
    def tuning(self) -> Tuning:
        return Tuning(baud=self._baud)

    def tune(self, tuning: Tuning) -> None:
        self._baud = tuning.baud or self._baud

    async def open(self, sink: Sink) -> None:
        await self.close()
        self.name = self._find()
        self._sink = sink
        self._line = self._make_line(self._open_port(), sink.received, self._lost)

    def send(self, data: bytes) -> None:
        if self._line is not None:
            self._line.send(data)

    async def close(self) -> None:
        self._release()

    def _open_port(self) -> serial.Serial:
        try:
            return serial.Serial(self.name, self._baud, timeout=0, exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            raise cannot_open(self.name, error, [port.path for port in serial_ports()]) from error

    def _lost(self) -> None:
        if self._line is not None and self._sink is not None:
            self._release()
            self._sink.lost(unplugged(self.name))

    def _release(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
