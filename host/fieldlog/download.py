"""Reading a file of a device piece by piece, from any byte on.

Rule: what counts is the size that the device names at the start: no file, however fast it grows, is read beyond that. A
piece is asked for by its offset before the one before it has arrived; how much each brings is learned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from fieldlog.client import Client
from fieldlog.device import Device
from fieldlog.reply import Reply, arrival
from fieldlog.transfer import AHEAD, OnProgress, ignore_progress
from fieldlog_protocol.commands import Group, fs
from fieldlog_protocol.errors import ProtocolError, RefusedError


@dataclass(frozen=True, slots=True)
class Beginning:
    """A file as it is now: its size and its first bytes."""

    size: int
    data: bytes


async def look(device: Device, name: str) -> Beginning:
    """Ask for the beginning of a file. Every server tells its size there."""
    try:
        first = await device.request(fs.READ, fs.FileReadRequest(name=name, off=0))
    except RefusedError as error:
        if (error.group, error.code) == (Group.FS, fs.FILE_EMPTY):
            return Beginning(0, b"")
        raise
    _require_offset(first, 0)
    if first.len is None:
        raise ProtocolError(
            f"the device does not say how long {name} is, so that nobody can tell when all of it has come"
        )
    return Beginning(first.len, first.data[: first.len])


async def read_piece(device: Device, name: str, offset: int) -> bytes:
    """The bytes that one reply brings; none at the end of the file and beyond."""
    return await _piece(offset, device.client.start(fs.READ, fs.FileReadRequest(name=name, off=offset)))


async def read(
    device: Device, name: str, take: Callable[[bytes], object], progress: OnProgress = ignore_progress
) -> tuple[int, int]:
    """Fetch a file piece by piece; returns its size as announced and where it really ended."""
    beginning = await look(device, name)
    return beginning.size, await read_on(device, name, beginning, take, progress=progress)


async def read_on(
    device: Device,
    name: str,
    beginning: Beginning,
    take: Callable[[bytes], object],
    *,
    done: int = 0,
    progress: OnProgress = ignore_progress,
) -> int:
    """Fetch what follows the first `done` bytes of a file that began so; returns where it really ended."""
    if ready := beginning.data[done:]:
        take(ready)
        done += len(ready)
    progress(done, beginning.size)
    if not beginning.data:
        return done
    reader = _Reader(device.client, name, beginning.size, done)
    reader.sizes.learn(0, len(beginning.data))
    return await reader.run(take, progress)


@dataclass(slots=True)
class _ChunkSizes:
    """How many bytes a reply brings: fewer at offsets that take more bytes of CBOR themselves."""

    sizes: dict[int, int] = field(default_factory=dict[int, int])

    def learn(self, offset: int, size: int) -> None:
        width = _width(offset)
        self.sizes[width] = max(size, self.sizes.get(width, 0))

    def expect(self, offset: int) -> int:
        """Rather too little than too much: an overlap costs some bytes, a hole another request."""
        width = _width(offset)
        if width in self.sizes:
            return self.sizes[width]
        return max(1, *(size - max(0, width - known) for known, size in self.sizes.items()))


def _width(number: int) -> int:
    """Bytes that CBOR needs for a number."""
    return 1 if number < 24 else 2 if number < 0x100 else 3 if number < 0x1_0000 else 5


@dataclass(slots=True)
class _Reader:
    client: Client
    name: str
    total: int
    done: int
    sizes: _ChunkSizes = field(default_factory=_ChunkSizes)
    under_way: deque[tuple[int, Reply[fs.FileReadResponse]]] = field(
        default_factory=deque[tuple[int, Reply[fs.FileReadResponse]]]
    )
    wanted: int = 0
    """The offset to ask for next."""
    awaited: int = 0
    """Requests under way that were not answered yet."""
    ahead: int = 0
    """How many there shall be."""
    most: int = 0

    async def run(self, take: Callable[[bytes], object], progress: OnProgress) -> int:
        """Read to the end; returns where that is."""
        self.wanted = self.done
        try:
            while self.done < self.total:
                self._fill()
                if not self.under_way[0][1].done():
                    await arrival(self.under_way, self.client.together)
                offset, reply = self.under_way.popleft()
                arrived = await _piece(offset, reply)
                if not arrived:
                    break  # the file is shorter than it was
                self.sizes.learn(offset, len(arrived))
                data = arrived[self.done - offset : self.total - offset]
                take(data)
                self.done += len(data)
                progress(self.done, self.total)
                if self.done < self.total and (not self.under_way or self.under_way[0][0] > self.done):
                    self.under_way.appendleft(self._ask(self.done))
        finally:
            self.ahead = 0
            for _, reply in self.under_way:
                reply.cancel()
        return self.done

    def _fill(self) -> None:
        """Ask ahead at the offsets that the coming replies should reach."""
        together = self.client.together
        self.wanted = max(self.wanted, self.done)
        self.ahead = self.client.window + AHEAD + together - 1
        self.most = self.ahead + together - 1
        while self.awaited < self.ahead and self.wanted < self.total:
            self._ask_on()

    def _answered(self) -> None:
        """Ask for one more at once, while the device works on another."""
        self.awaited -= 1
        if self.awaited < self.ahead and len(self.under_way) < self.most and self.wanted < self.total:
            self._ask_on()

    def _ask_on(self) -> None:
        self.under_way.append(self._ask(self.wanted))
        self.wanted += self.sizes.expect(self.wanted)

    def _ask(self, offset: int) -> tuple[int, Reply[fs.FileReadResponse]]:
        reply = self.client.start(fs.READ, fs.FileReadRequest(name=self.name, off=offset))
        reply.then = self._answered
        self.awaited += 1
        return offset, reply


async def _piece(offset: int, reply: Reply[fs.FileReadResponse]) -> bytes:
    try:
        answer = await reply
    except RefusedError as error:
        if error.group == Group.FS and error.code in (fs.OFFSET_LARGER_THAN_FILE, fs.FILE_EMPTY):
            return b""
        raise
    _require_offset(answer, offset)
    return answer.data


def _require_offset(answer: fs.FileReadResponse, offset: int) -> None:
    if answer.off != offset:
        raise ProtocolError(f"the device was asked for byte {offset} and sent what begins at byte {answer.off}")
