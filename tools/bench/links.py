"""The lines that are measured, and how much could pass over them.

Rule of this module: a limit is arithmetic on the wire format, the same for every client: the line is never idle, and
every message is as full as the device's buffers allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

from fieldlog.block_reader import chunk_size
from fieldlog.transfer import room
from fieldlog_protocol.commands import Message, fs, logger
from fieldlog_protocol.framing import ConsoleFraming
from fieldlog_protocol.wire import HEADER_SIZE, encode_body

CONSOLE_OVERHEAD = 4
_BITS_PER_BYTE = 10
_FAR_SEQ, _FAR_OFFSET = 1000, 0x1_0000  # numbers as large as most are in a transfer

Kind = Literal["console", "raw", "udp"]
Direction = Literal["pull", "blocks", "get", "put"]
"""A whole pull into an archive, its blocks alone, a file fetched, a file stored."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line to a device. `baud` 0: as fast as the two processes go."""

    kind: Kind
    baud: int
    latency_ms: int
    buf_size: int
    buf_count: int = 4

    @property
    def title(self) -> str:
        pace = f"{self.baud} baud, {self.latency_ms} ms" if self.baud else "unpaced"
        return f"{self.kind}, {pace}, buffers {self.buf_size}x{self.buf_count}"

    @property
    def arguments(self) -> list[str]:
        """What makes the simulator play it."""
        where = ["--udp", "0"] if self.kind == "udp" else ["--pty", "--framing", self.kind, "--baud", str(self.baud)]
        return [*where, "--latency", f"{self.latency_ms}ms", "--buffers", f"{self.buf_size}x{self.buf_count}"]

    @property
    def window(self) -> int:
        """Messages that may be under way at once: on raw framing one, elsewhere all buffers but one."""
        return 1 if self.kind == "raw" else self.buf_count - 1

    def full_message(self, direction: Direction) -> tuple[int, int]:
        """Bytes of the fullest message that moves data, and how many of them are the file's or the log's."""
        name, limit = "bench.bin", self._most - (CONSOLE_OVERHEAD if direction == "put" else 0)
        message: Message
        if direction in ("pull", "blocks"):
            data = chunk_size(limit, _FAR_SEQ, _FAR_SEQ, _FAR_SEQ)
            message = logger.BlocksResponse(q=_FAR_SEQ, o=_FAR_SEQ, f=_FAR_SEQ, d=bytes(data))
        elif direction == "get":
            data = room(limit, fs.FileReadResponse(off=_FAR_OFFSET, data=b""))
            message = fs.FileReadResponse(off=_FAR_OFFSET, data=bytes(data))
        else:
            data = room(limit, fs.FileWriteRequest(name=name, off=_FAR_OFFSET, data=b""))
            message = fs.FileWriteRequest(name=name, off=_FAR_OFFSET, data=bytes(data))
        return HEADER_SIZE + len(encode_body(message)), data

    def limit(self, direction: Direction) -> float | None:
        """Bytes per second of the file or log when the line never rests; None where it is not paced."""
        if not self.baud:
            return None
        size, data = self.full_message(direction)
        on_wire = len(ConsoleFraming().encode(bytes(size))) if self.kind == "console" else size
        return data / on_wire * self.baud / _BITS_PER_BYTE

    def reach(self, round_trip_s: float, direction: Direction = "pull") -> float:
        """Bytes per second that line and window allow towards the host: the slower of the two."""
        windowed = self.window * self.full_message(direction)[1] / round_trip_s
        return min(windowed, self.limit(direction) or windowed)

    def busy(self, link_bytes: int | None, seconds: float) -> float | None:
        """The share of the time in which bytes were on the line towards the host."""
        return None if link_bytes is None or not self.baud else link_bytes * _BITS_PER_BYTE / self.baud / seconds

    @property
    def expected_round_trip_s(self) -> float:
        """About what one full request takes: to choose how much to send."""
        limit = self.limit("pull")
        assert limit is not None
        return self.full_message("pull")[1] / limit + self.latency_ms / 1000 + 600 / self.baud + 0.001

    @property
    def _most(self) -> int:
        return self.buf_size  # on loopback a datagram may be as long


BUFFERS = (384, 2048)
_KINDS: tuple[Kind, ...] = ("console", "raw", "udp")
_SERIAL_KINDS: tuple[Kind, ...] = ("console", "raw")


def lines(latencies_ms: tuple[int, ...] = (1, 16)) -> list[Line]:
    """All lines, those that are not paced first."""
    unpaced = [Line(kind, 0, 0, size) for kind, size in product(_KINDS, BUFFERS)]
    paced = [
        Line(kind, baud, latency_ms, size)
        for kind, baud, latency_ms, size in product(_SERIAL_KINDS, (115_200, 1_000_000), latencies_ms, BUFFERS)
    ]
    return unpaced + paced


def few_lines() -> list[Line]:
    """The corners, for a short run."""
    return [
        Line("console", 0, 0, 384),
        Line("udp", 0, 0, 2048),
        Line("raw", 0, 0, 384),
        Line("raw", 0, 0, 2048),
        Line("console", 115_200, 1, 384),
        Line("console", 1_000_000, 16, 384),
        Line("console", 1_000_000, 16, 2048),
        Line("raw", 1_000_000, 1, 2048),
    ]
