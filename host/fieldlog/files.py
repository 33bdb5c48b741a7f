"""Files on a device: fetch, store, measure, hash.

Rule: a path on this computer comes from the user alone, never from a device. A file appears under its name only when
it is whole; until then it is a partial file beside it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fieldlog.client import Client, Reply
from fieldlog.device import Device
from fieldlog.transfer import AHEAD, Lost, OnProgress, ignore_progress, upload
from fieldlog_protocol.commands import Empty, Group, fs
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import FieldlogError, ProtocolError, RefusedError, UsageError, VerificationError

_NO_SUCH_COMMAND = (Rc.NOT_SUPPORTED, Rc.NO_ENTRY, Rc.UNKNOWN)
_READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Transferred:
    """A file that was fetched or stored. `verified` names the hash that both sides agree on, None if none is offered.

    `announced` is the size that the device named at the start: it differs when the file shrank meanwhile.
    """

    size: int
    announced: int
    verified: str | None


async def size(device: Device, name: str) -> int:
    return (await device.request(fs.STATUS, fs.FileStatusRequest(name=name))).len


async def digest(device: Device, name: str, kind: str | None = None, length: int | None = None) -> fs.FileHashResponse:
    """The device's own hash of a file, or of its first `length` bytes."""
    return await device.request(fs.HASH, fs.FileHashRequest(name=name, type=kind, len=length))


async def hash_kinds(device: Device) -> tuple[str, ...]:
    """Kinds of hash that the device offers, the strongest first; empty where it offers none."""
    try:
        offered = (await device.request(fs.HASH_TYPES, Empty())).types
    except RefusedError as error:
        if error.group is None and error.code in _NO_SUCH_COMMAND:
            return ()
        raise
    return tuple(kind for kind in ("sha256", "crc32") if kind in offered)


async def fetch(
    device: Device, name: str, target: Path, *, force: bool = False, progress: OnProgress = ignore_progress
) -> Transferred:
    """Fetch a file; an existing target is replaced only with `force`. What was fetched is checked by the device's hash."""
    check_target(target, force=force)
    _require_plain(target)
    partial = target.with_name(target.name + ".partial")
    try:
        with _writing(target), partial.open("wb") as file:
            announced, done = await read(device, name, file.write, progress)
        if announced and not done:
            raise VerificationError(
                f"{name} has {announced} bytes, says the device, and it sent none of them. Nothing was kept; fetch it again"
            )
        verified = await _verify(device, name, done, lambda kind: _file_hash(partial, kind))
        with _writing(target):
            partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return Transferred(done, announced, verified)


def check_target(target: Path, *, force: bool) -> None:
    """Raise UsageError rather than replace a file that nobody said may be replaced."""
    if target.exists() and not force:
        raise UsageError(
            f"{target} exists already and was left alone. Add --force to replace it, or choose another name"
        )


def _require_plain(target: Path) -> None:
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is no plain file and was left alone. Name a file to fetch into")


async def store(device: Device, data: bytes, name: str, *, progress: OnProgress = ignore_progress) -> Transferred:
    """Write a file on the device, anew if it exists, and check it by the device's hash."""
    if not data:
        raise UsageError("the file is empty, and SMP cannot create empty files. Nothing was sent")
    await upload(device.client, _FileTarget(device.client, name, data), len(data), f"writing {name}", progress)
    there = await size(device, name)
    if there != len(data):
        raise VerificationError(
            f"{name} has {there} bytes on the device, {len(data)} were sent. Its content is not to be trusted: store it again"
        )
    verified = await _verify(device, name, len(data), lambda kind: _hash(kind, data))
    return Transferred(len(data), len(data), verified)


async def read(
    device: Device, name: str, take: Callable[[bytes], object], progress: OnProgress = ignore_progress
) -> tuple[int, int]:
    """Fetch a file piece by piece; returns its size as announced and where it really ended."""
    try:
        first = await device.request(fs.READ, fs.FileReadRequest(name=name, off=0))
    except RefusedError as error:
        if (error.group, error.code) == (Group.FS, fs.FILE_EMPTY):
            return 0, 0
        raise
    _require_offset(first, 0)
    total = len(first.data) if first.len is None else first.len
    data = first.data[:total]
    take(data)
    done = len(data)
    progress(done, total)
    if data:
        done = await _read_on(_Reader(device.client, name, total, done), take, progress)
    return total, done


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

    def ask(self, offset: int) -> tuple[int, Reply[fs.FileReadResponse]]:
        return offset, self.client.start(fs.READ, fs.FileReadRequest(name=self.name, off=offset))

    def fill(self, wanted: int) -> int:
        """Ask ahead at the offsets that the coming replies should reach."""
        while len(self.under_way) < self.client.window + AHEAD and wanted < self.total:
            self.under_way.append(self.ask(wanted))
            wanted += self.sizes.expect(wanted)
        return wanted


async def _read_on(reader: _Reader, take: Callable[[bytes], object], progress: OnProgress) -> int:
    reader.sizes.learn(0, reader.done)
    wanted = reader.done
    try:
        while reader.done < reader.total:
            wanted = reader.fill(max(wanted, reader.done))
            offset, reply = reader.under_way.popleft()
            arrived = await _piece(offset, reply)
            if not arrived:
                break  # the file is shorter than it was
            reader.sizes.learn(offset, len(arrived))
            data = arrived[reader.done - offset : reader.total - offset]
            take(data)
            reader.done += len(data)
            progress(reader.done, reader.total)
            if reader.done < reader.total and (not reader.under_way or reader.under_way[0][0] > reader.done):
                reader.under_way.appendleft(reader.ask(reader.done))
    finally:
        for _, reply in reader.under_way:
            reply.cancel()
    return reader.done


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


@dataclass(slots=True)
class _FileTarget:
    """A file as the target of an upload. Its writes are not repeated by themselves: SMP.md section 8."""

    client: Client
    name: str
    data: bytes

    async def begin(self) -> None:
        """Close whatever is open: a first piece that finds its file open would be appended."""
        try:
            await self.client.request(fs.CLOSE, Empty())
        except RefusedError as error:
            if error.group is not None or error.code not in _NO_SUCH_COMMAND:
                raise

    def empty(self, offset: int) -> fs.FileWriteRequest:
        return fs.FileWriteRequest(name=self.name, off=offset, data=b"", len=None if offset else len(self.data))

    def send(self, offset: int, size: int) -> Reply[fs.FileWriteResponse]:
        total = None if offset else len(self.data)
        piece = self.data[offset : offset + size]
        return self.client.start(fs.WRITE, fs.FileWriteRequest(name=self.name, off=offset, data=piece, len=total))

    async def wanted(self, reply: Reply[fs.FileWriteResponse]) -> int:
        try:
            return self._within((await reply).off)
        except RefusedError as error:
            length = error.details.get("len")
            if (error.group, error.code) == (Group.FS, fs.OFFSET_NOT_VALID) and isinstance(length, int):
                return self._within(length)
            if error.group is None and error.code == Rc.NO_MEMORY:
                raise Lost("the device had no buffer for it") from error
            raise

    def _within(self, offset: int) -> int:
        if not 0 <= offset <= len(self.data):
            raise ProtocolError(
                f"the device says that {self.name} has {offset} bytes by now, of {len(self.data)} to be sent. "
                "Its content is not to be trusted: store it again"
            )
        return offset


@contextmanager
def _writing(target: Path) -> Generator[None]:
    """Errors of this computer's disk as a sentence; those of the link are OSErrors too and pass."""
    try:
        yield
    except FieldlogError:
        raise
    except OSError as error:
        raise FieldlogError(f"{target} cannot be written: {error.strerror or error}. Nothing was kept") from error


async def _verify(device: Device, name: str, length: int, local: Callable[[str], int | bytes]) -> str | None:
    """Compare hashes over the first `length` bytes; None where the device offers none that covers just these."""
    kinds = await hash_kinds(device) if length else ()
    if not kinds:
        return None
    theirs = await digest(device, name, kinds[0], length)
    if theirs.len != length or (theirs.off or 0) != 0:
        return None
    if theirs.output != local(kinds[0]):
        raise VerificationError(
            f"the {kinds[0]} of {name} differs between the device and what was transferred: the file changed meanwhile "
            "or was damaged on its way. Nothing was kept; transfer it again"
        )
    return kinds[0]


def _hash(kind: str, data: bytes) -> int | bytes:
    return zlib.crc32(data) if kind == "crc32" else hashlib.sha256(data).digest()


def _file_hash(path: Path, kind: str) -> int | bytes:
    crc, sha = 0, hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ_SIZE):
            crc = zlib.crc32(data, crc)
            sha.update(data)
    return crc if kind == "crc32" else sha.digest()
