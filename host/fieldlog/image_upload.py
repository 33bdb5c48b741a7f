"""Sending an image into a slot, over links that break and to devices that restart meanwhile.

Rule: where to go on is the device's word alone. What it still holds is not sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from fieldlog.client import Client, Reply
from fieldlog.device import Device
from fieldlog.transfer import OnProgress, ignore_progress, upload
from fieldlog_protocol.commands import image as commands
from fieldlog_protocol.errors import LinkError, ProtocolError, VerificationError

T = TypeVar("T")

_FIRST_CHUNK_S = 40.0
_LAST_CHUNK_S = 20.0
_CHUNK_S = 2.0
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 4.0
_WRITE_UNIT = 8
"""Boot loaders in recovery take whole units of their flash only, of which this is the usual largest."""
_MOST_BREAKS = 6
"""So often may a link break without anything getting further in between."""


@dataclass(frozen=True, slots=True)
class SteadyLink:
    """A device whose link is opened again when it breaks, each time for at most `reconnect_s`."""

    device: Device
    reconnect_s: float

    async def ask(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, which may safely be done twice."""
        for _ in range(_MOST_BREAKS):
            try:
                return await work()
            except LinkError as error:
                await self.reconnect(error)
        return await work()

    async def reconnect(self, error: LinkError) -> None:
        """Open the link again, wherever the port is by then; raises `error` if that does not succeed in time."""
        loop = asyncio.get_running_loop()
        deadline, pause_s = loop.time() + self.reconnect_s, _FIRST_PAUSE_S
        while True:
            try:
                await self.device.reopen()
            except LinkError:
                if loop.time() + pause_s > deadline:
                    raise error from None
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def send_image(
    device: Device,
    data: bytes,
    number: int = 0,
    progress: OnProgress = ignore_progress,
    *,
    reconnect_s: float = 0.0,
    named: bool = True,
) -> int:
    """Upload an image file; an upload of the same file that broke off goes on where it stopped.

    Answers how many bytes were sent. `number` is what the device calls the image; without `named` the file's hash is not
    told, as boot loaders in recovery have no use for it.
    """
    target = _ImageTarget(device.client, number, data, hashlib.sha256(data).digest() if named else None)
    link, breaks, furthest = SteadyLink(device, reconnect_s), 0, 0
    while True:
        try:
            await upload(device.client, target, len(data), "the upload", progress, align=_WRITE_UNIT)
            break
        except LinkError as error:
            breaks = 0 if target.furthest > furthest else breaks + 1
            furthest = target.furthest
            if not reconnect_s or breaks > _MOST_BREAKS:
                raise
            await link.reconnect(error)
    if target.match is False and named:
        raise VerificationError(
            "the device says that what it received differs from the image file. It still runs what it ran; "
            "erase the slot with `fieldlog image erase` and flash again"
        )
    return target.sent


@dataclass(slots=True)
class _ImageTarget:
    """An image slot as the target of an upload (SMP.md section 6)."""

    client: Client
    number: int
    data: bytes
    sha: bytes | None
    match: bool | None = None
    furthest: int = 0
    sent: int = 0

    async def begin(self) -> None:
        """The first piece itself begins an upload."""

    def empty(self, offset: int) -> commands.ImageUploadRequest:
        return self._request(offset, b"")

    def send(self, offset: int, size: int) -> Reply[commands.ImageUploadResponse]:
        last = offset + size == len(self.data)
        work_s = _FIRST_CHUNK_S if offset == 0 else _LAST_CHUNK_S if last else _CHUNK_S
        self.sent += size
        return self.client.start(
            commands.UPLOAD, self._request(offset, self.data[offset : offset + size]), service_s=work_s
        )

    async def wanted(self, reply: Reply[commands.ImageUploadResponse]) -> int:
        answer = await reply
        if answer.off > len(self.data):
            raise ProtocolError(
                f"the device wants byte {answer.off} of an image of {len(self.data)}. It still runs what it ran; erase "
                "the slot with `fieldlog image erase` and flash again"
            )
        self.match = answer.match
        self.furthest = max(self.furthest, answer.off)
        return answer.off

    def _request(self, offset: int, piece: bytes) -> commands.ImageUploadRequest:
        if offset:
            return commands.ImageUploadRequest(off=offset, data=piece)
        return commands.ImageUploadRequest(
            image=self.number or None, len=len(self.data), off=0, sha=self.sha, data=piece
        )
