"""Files on a device: fetch, store, measure, hash.

Rule: a path on this computer comes from the user alone, never from a device. A file appears under its name only when
it is whole and checked; until then it is a partial file beside it, which the next call continues.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from fieldlog.client import Client, Reply
from fieldlog.device import Device
from fieldlog.download import Beginning, look, read, read_on, read_piece
from fieldlog.partial import Partial
from fieldlog.transfer import Lost, OnProgress, ignore_progress, upload
from fieldlog.whole_file import check_target
from fieldlog_protocol.commands import Empty, Group, fs
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import (
    LinkError,
    ProtocolError,
    RefusedError,
    UsageError,
    VerificationError,
)

__all__ = ["Transferred", "check_target", "digest", "fetch", "hash_kinds", "read", "size", "store"]

_HASHED_PER_S = 100_000
"""Bytes that a slow device reads from its flash and hashes in a second."""
_KINDS = ("sha256", "crc32")
_NO_SUCH_COMMAND = (Rc.NOT_SUPPORTED, Rc.NO_ENTRY, Rc.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Transferred:
    """A file that was fetched or stored. `verified` names the hash that both sides agree on, None if none is offered.

    `announced` is the size that the device named at the start, `now` the one at the end: files grow and shrink.
    `resumed` bytes were kept from an earlier call. `dropped`: some were, and were not those of this file.
    """

    size: int
    announced: int
    verified: str | None
    now: int
    resumed: int = 0
    dropped: bool = False


async def size(device: Device, name: str) -> int:
    """The size of a file; old servers tell it with its first bytes alone."""
    try:
        return (await device.request(fs.STATUS, fs.FileStatusRequest(name=name))).len
    except RefusedError as error:
        if error.group is not None or error.code != Rc.NOT_SUPPORTED:
            raise
        found = await _size_read(device, name)
        if found is None:
            raise
        return found


async def digest(device: Device, name: str, kind: str | None = None, length: int | None = None) -> fs.FileHashResponse:
    """The device's own hash of a file, or of its first `length` bytes."""
    request = fs.FileHashRequest(name=name, type=kind, len=length)
    service_s = None if length is None else fs.HASH.service_s + length / _HASHED_PER_S
    return await device.client.request(fs.HASH, request, service_s=service_s)


async def hash_kinds(device: Device, name: str) -> tuple[str, ...]:
    """Kinds of hash that the device offers, the strongest first; empty where it offers none.

    Zephyr could hash before it could say how: there the file `name` is tried.
    """
    try:
        offered = (await device.request(fs.HASH_TYPES, Empty())).types
    except RefusedError as error:
        if _is_not_served(error):
            return await _kinds_tried(device, name)
        raise
    return tuple(kind for kind in _KINDS if kind in offered)


async def _kinds_tried(device: Device, name: str) -> tuple[str, ...]:
    """One is enough. What is refused for another reason, such as a file that is not there, is so for each kind."""
    for kind in _KINDS:
        try:
            tried = await digest(device, name, kind, 1)
        except RefusedError as error:
            if error.group is None and error.code == Rc.NOT_SUPPORTED:
                break
        else:
            return (kind,) if (tried.type, tried.len) == (kind, 1) else ()
    return ()


async def fetch(
    device: Device, name: str, target: Path, *, force: bool = False, progress: OnProgress = ignore_progress
) -> Transferred:
    """Fetch a file; an existing target is replaced only with `force`.

    Broken off anywhere, it goes on there when it is called again: what is kept is checked against the device first, and
    the whole in the end, by the device's hash where it offers one and by single pieces where it does not. A file that
    grows meanwhile is fetched as long as it was; one that was replaced is a VerificationError.
    """
    check_target(target, force=force)
    _require_plain(target)
    kinds = await hash_kinds(device, name)
    # where no hash tells two devices' files apart, the link must
    with Partial(target, name if kinds else f"{name} {device.name}") as partial:
        source = _Source(device, name, await _first_look(device, name, partial), kinds[0] if kinds else None)
        had = partial.size
        if had and not await source.agrees(partial):
            partial.clear()
        resumed = partial.size
        try:
            done = await read_on(device, name, source.beginning, partial.write, done=resumed, progress=progress)
            verified, now = await source.verify(partial)
        except VerificationError:
            partial.clear()
            raise
        except (LinkError, ProtocolError) as error:
            raise type(error)(f"{error}. {partial.state(source.beginning.size)}") from error
        except RefusedError as error:  # the file was removed, or its card
            raise _refused_and(error, partial.state(source.beginning.size)) from error
        partial.finish(force=force)
    return Transferred(done, source.beginning.size, verified, now, resumed, dropped=had > resumed)


async def _first_look(device: Device, name: str, partial: Partial) -> Beginning:
    try:
        return await look(device, name)
    except RefusedError as error:
        if not partial.size:
            raise
        raise _refused_and(error, f"{partial.size} bytes of an earlier call are kept in {partial.path}") from error


def _refused_and(error: RefusedError, kept: str) -> RefusedError:
    return RefusedError(error.code, error.group, f"{error}. {kept}", error.details)


@dataclass(frozen=True, slots=True)
class _Source:
    """The file on the device, as it was when its fetching began."""

    device: Device
    name: str
    beginning: Beginning
    kind: str | None

    async def agrees(self, partial: Partial) -> bool:
        """Whether what was kept is how the file begins."""
        if partial.size > self.beginning.size or not _begins_so(partial, self.beginning):
            return False
        equal = await self._hash_agrees(partial)
        return await self._end_agrees(partial) if equal is None else equal

    async def verify(self, partial: Partial) -> tuple[str | None, int]:
        """Check what arrived; answers the kind of hash that agrees, and the file's size by now."""
        announced = self.beginning.size
        if announced and not partial.size:
            raise VerificationError(
                f"{self.name} has {announced} bytes, says the device, and it sent none of them. Nothing was kept; "
                "fetch it again"
            )
        now = await look(self.device, self.name)
        if partial.size < announced <= now.size:
            raise ProtocolError(f"the device sends nothing of {self.name} at byte {partial.size} of {announced}")
        equal = await self._hash_agrees(partial)
        if now.size < partial.size or equal is False or not _begins_so(partial, now):
            raise VerificationError(self._other(now.size))
        if equal is None and partial.size < announced and not await self._end_agrees(partial):
            raise VerificationError(self._other(now.size))
        return self.kind if equal else None, now.size

    def _other(self, now: int) -> str:
        if now < self.beginning.size:
            how = f"{self.name} had {self.beginning.size} bytes and has {now} now: it was replaced while it was fetched"
        else:
            how = f"what arrived of {self.name} differs from what the device holds"
            how += f", says its {self.kind}" if self.kind else ""
            how += ": the file changed meanwhile or was damaged on its way"
        return f"{how}. Nothing was kept; fetch it again"

    async def _hash_agrees(self, partial: Partial) -> bool | None:
        """None where the device offers no hash of just these bytes."""
        if self.kind is None:
            return None
        return await _compare(self.device, self.name, partial.size, self.kind, partial.digest(self.kind))

    async def _end_agrees(self, partial: Partial) -> bool:
        """Whether the last bytes are on the device at the same place."""
        offset = max(0, partial.size - max(1, len(self.beginning.data) // 2))
        there = await read_piece(self.device, self.name, offset)
        kept = partial.piece(offset, partial.size - offset)
        return bool(there) and there[: len(kept)] == kept[: len(there)]


def _begins_so(partial: Partial, beginning: Beginning) -> bool:
    size = min(partial.size, len(beginning.data))
    return partial.piece(0, size) == beginning.data[:size]


def _require_plain(target: Path) -> None:
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is no plain file and was left alone. Name a file to fetch into")


async def store(device: Device, data: bytes, name: str, *, progress: OnProgress = ignore_progress) -> Transferred:
    """Write a file on the device, anew if it exists, and check it by the device's hash."""
    if not data:
        raise UsageError("the file is empty, and SMP cannot create empty files. Nothing was sent")
    await device.see_how_requests_follow()
    try:
        await upload(device.client, _FileTarget(device, name, data), len(data), f"writing {name}", progress)
    except LinkError as error:
        raise type(error)(f"{error}. Until then {name} may be incomplete on the device") from error
    there = await _size_there(device, name)
    if there is not None and there != len(data):
        raise VerificationError(
            f"{name} has {there} bytes on the device, {len(data)} were sent. Its content is not to be trusted: store it again"
        )
    kind = next(iter(await hash_kinds(device, name)), None)
    equal = kind and await _compare(device, name, len(data), kind, _hash(kind, data))
    if equal is False:
        raise VerificationError(
            f"the {kind} of {name} differs between the device and what was sent: it was damaged on its way, or another "
            "program writes to it. Its content is not to be trusted: store it again"
        )
    return Transferred(len(data), len(data), kind if equal else None, len(data))


async def _size_there(device: Device, name: str) -> int | None:
    """The size of a file that was written, None where the device tells it nowhere."""
    try:
        return await size(device, name)
    except RefusedError as error:
        if not _is_not_served(error):
            raise
    return await _size_read(device, name)


async def _size_read(device: Device, name: str) -> int | None:
    """The size that comes with the first bytes; None where files cannot be read."""
    try:
        return (await device.request(fs.READ, fs.FileReadRequest(name=name, off=0))).len
    except RefusedError as error:
        if (error.group, error.code) == (Group.FS, fs.FILE_EMPTY):
            return 0
        if error.group is None and error.code == Rc.NOT_SUPPORTED:
            return None
        raise


def _is_not_served(error: RefusedError) -> bool:
    return error.group is None and error.code in _NO_SUCH_COMMAND


@dataclass(slots=True)
class _FileTarget:
    """A file as the target of an upload. Its writes are not repeated by themselves: docs/smp.md#seen-on-zephyr."""

    device: Device
    name: str
    data: bytes

    @property
    def client(self) -> Client:
        return self.device.client

    async def begin(self) -> None:
        """Close whatever is open: a first piece that finds its file open would be appended."""
        try:
            await self.client.request(fs.CLOSE, Empty())
        except RefusedError as error:
            if not _is_not_served(error):
                raise

    def empty(self, offset: int) -> fs.FileWriteRequest:
        return fs.FileWriteRequest(name=self.name, off=offset, data=b"", len=None if offset else len(self.data))

    def send(self, offset: int, size: int) -> Reply[fs.FileWriteResponse]:
        total = None if offset else len(self.data)
        piece = self.data[offset : offset + size]
        return self.client.start(fs.WRITE, fs.FileWriteRequest(name=self.name, off=offset, data=piece, len=total))

    async def wanted(self, reply: Reply[fs.FileWriteResponse]) -> int:
        """The session does not repeat what was damaged on a line without check values: here it counts as lost."""
        try:
            return self._within(await self._named(reply))
        except ProtocolError as error:
            if self.client.checked:
                raise
            raise Lost("the reply was damaged on the line") from error

    async def _named(self, reply: Reply[fs.FileWriteResponse]) -> int:
        try:
            return (await reply).off
        except RefusedError as error:
            wanted = _wanted_instead(error)
            if wanted is not None:
                return wanted
            if error.group is None and error.code == Rc.NO_MEMORY:
                raise Lost("the device had no buffer for it") from error
            if error.group is None and error.code == Rc.INVALID:
                if await _size_there(self.device, self.name) == len(self.data):
                    return len(self.data)  # old servers take no piece twice when they have all
                if not self.client.checked:
                    raise Lost("the request was damaged on the line") from error
            raise

    def _within(self, offset: int) -> int:
        if not 0 <= offset <= len(self.data):
            raise ProtocolError(
                f"the device says that {self.name} has {offset} bytes by now, of {len(self.data)} to be sent. "
                "Its content is not to be trusted: store it again"
            )
        return offset


def _wanted_instead(error: RefusedError) -> int | None:
    """The offset that a server wants which refused a piece at another; old ones have no number for it but that of what is
    malformed."""
    if (error.group, error.code) == (Group.FS, fs.OFFSET_NOT_VALID):
        wanted = error.details.get("len")
    else:
        wanted = error.details.get("off") if (error.group, error.code) == (None, Rc.INVALID) else None
    return wanted if isinstance(wanted, int) else None


async def _compare(device: Device, name: str, length: int, kind: str, ours: int | bytes) -> bool | None:
    """Compare hashes over the first `length` bytes; None where the device offers none that covers just these."""
    if not length:
        return None
    theirs = await digest(device, name, kind, length)
    if theirs.len != length or (theirs.off or 0) != 0:
        return None
    return theirs.output == ours


def _hash(kind: str, data: bytes) -> int | bytes:
    return zlib.crc32(data) if kind == "crc32" else hashlib.sha256(data).digest()
