"""A pseudo-terminal as a device has it: one end to read and write, and whether anybody has the other end open.

The kernel tells the device's end that nobody has the other end open only while the device does not hold it open
itself, so it does not. What was set on a pty stays set as long as the device's end is open.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
from contextlib import suppress

from fieldlog_protocol.errors import UsageError

_IN_OPEN = 0x20
_IN_NONBLOCK = 0o4000
_IN_CLOEXEC = 0o2000000
_TCGETS2 = 0x802C542A  # Linux: tells any rate, where termios knows a table of them
_TERMIOS2_SIZE = 44  # the rate that is sent at is its last number


class Terminal:
    """In raw mode, at `baud` until somebody sets another rate. `master` does not block; `opened` is a descriptor that can be read after somebody opened the other
    end, None where the system has none (it is Linux's inotify)."""

    def __init__(self, baud: int | None = None) -> None:
        try:
            import termios
            import tty
        except ImportError as error:
            raise UsageError("this system has no pseudo-terminals; give the simulated device --udp instead") from error
        self._termios = termios
        self.master, slave = os.openpty()
        self.name = os.ttyname(slave)
        tty.setraw(slave)
        self._set_baud(slave, baud)
        os.close(slave)
        os.set_blocking(self.master, False)
        self.opened = _watch_openings(self.name)
        self._poll = select.poll()
        self._poll.register(self.master, select.POLLIN)

    @property
    def present(self) -> bool:
        """Whether somebody has the other end open, or has left something to read there."""
        events = sum(events for _, events in self._poll.poll(0))
        return not events & select.POLLHUP or bool(events & select.POLLIN)

    @property
    def baud(self) -> int | None:
        """The rate that the other end is set to; None where the system does not tell."""
        if sys.platform != "linux":
            return int(self._termios.tcgetattr(self.master)[5]) or None
        import fcntl

        try:
            found = fcntl.ioctl(self.master, _TCGETS2, bytes(_TERMIOS2_SIZE))
        except OSError:
            return None
        return int.from_bytes(found[-4:], sys.byteorder) or None

    def _set_baud(self, slave: int, baud: int | None) -> None:
        """For whoever opens it and sets nothing. A rate out of the ordinary can only be set by the host."""
        code = getattr(self._termios, f"B{baud}", None)
        if code is not None:
            attributes = self._termios.tcgetattr(slave)
            attributes[4:6] = [code, code]
            self._termios.tcsetattr(slave, self._termios.TCSANOW, attributes)

    def forget_openings(self) -> None:
        if self.opened is not None:
            with suppress(BlockingIOError):
                os.read(self.opened, 64 * 1024)

    def read(self, length: int) -> bytes | None:
        """What the host wrote; None when it has left and all was read. BlockingIOError when there is nothing yet."""
        try:
            return os.read(self.master, length) or None
        except BlockingIOError:
            raise
        except OSError:  # EIO
            return None

    def write(self, data: bytes | bytearray) -> int:
        """How many bytes were taken. What is written while nobody is there is gone."""
        try:
            return os.write(self.master, data)
        except BlockingIOError:
            return 0
        except OSError:  # EIO
            return len(data)

    def drop_unread(self) -> None:
        """What a host that left did not read is not for the next one."""
        with suppress(OSError):
            slave = os.open(self.name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            self._termios.tcflush(slave, self._termios.TCIFLUSH)
            os.close(slave)

    def close(self) -> None:
        os.close(self.master)
        if self.opened is not None:
            os.close(self.opened)


def _watch_openings(path: str) -> int | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    fd: int = libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    if fd < 0:
        return None
    if libc.inotify_add_watch(fd, os.fsencode(path), _IN_OPEN) < 0:
        os.close(fd)
        return None
    return fd
