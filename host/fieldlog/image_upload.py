"""Sending an image into a slot, over links that break and to devices that restart meanwhile.

Rule: where to go on is the device's word alone. What it still holds is not sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from fieldlog.client import Reply
from fieldlog.device import Device
from fieldlog.steady_link import Known, SteadyLink, say_nothing
from fieldlog.transfer import Lost, OnProgress, ignore_progress, room, upload
from fieldlog_protocol.commands import Empty, os
from fieldlog_protocol.commands import image as commands
from fieldlog_protocol.errors import LinkError, ProtocolError, RequestTimeout, VerificationError
from fieldlog_protocol.session_events import THROUGH_S

_FIRST_CHUNK_S = 40.0
_LAST_CHUNK_S = 20.0
_CHUNK_S = 2.0
"""How long a device may work on a piece in the middle, as long as it is not known how quick it is."""
_LEARNT_FROM = 16
_LENIENCE = 4
"""After so many pieces one may take so many times as long as the slowest of them."""
_WRITE_UNIT = 8
"""Boot loaders in recovery take whole units of their flash only, of which this is the usual largest."""
_MOST_BREAKS = 6
"""So often may a link break without anything getting further in between."""
_MOST_SILENCES = 1
"""So often may a device that answers other things leave pieces unanswered without anything getting further."""
_PROBES_S = (0.5, 1.0, 2.0, 4.0)
"""After so long a wait for what may take long, something quick is asked behind it."""
_PROBES_ALONE_S = (THROUGH_S + 0.5, 1.0, 4.0, 8.0)
"""The same where one request may be under way at a time, and a boot loader may be deaf while it erases."""
_PROBE_S = 2.0
"""So long a probe may wait there: a piece that had to wait itself is not through the line yet."""
_LEAST_FIRST = 32
"""Bytes of data that the first piece must carry: devices look for MCUboot's header in it (docs/smp.md#images)."""


async def send_image(
    device: Device,
    data: bytes,
    number: int = 0,
    progress: OnProgress = ignore_progress,
    *,
    reconnect_s: float = 0.0,
    known: Known | None = None,
    tell: Callable[[str], None] = say_nothing,
    named: bool = True,
) -> int:
    """Upload an image file; an upload of the same file that broke off goes on where it stopped.

    Answers how many bytes were sent. `number` is what the device calls the image; `known` which device it must still be
    after a break of the link, or where it wants the image from its beginning again; `tell` hears of such breaks. Without
    `named` the file's hash is not told, as boot loaders in recovery have no use for it.
    """
    link, breaks, furthest = SteadyLink(device, reconnect_s, known, tell), 0, 0
    target = _ImageTarget(link, number, data, hashlib.sha256(data).digest() if named else None, tell)
    while True:
        try:
            await upload(device.client, target, len(data), "the upload", progress, align=_WRITE_UNIT)
            await target.quiet()
            break
        except LinkError as error:
            breaks = 0 if target.furthest > furthest else breaks + 1
            furthest = target.furthest
            if not reconnect_s or breaks > _MOST_BREAKS:
                raise
            await link.reconnect(error)
            if isinstance(error, RequestTimeout) and breaks > _MOST_SILENCES:
                raise RequestTimeout(
                    f"{device.name} answers, but not to the upload any more, at byte {furthest} of {len(data)}. Restart the "
                    "device, then repeat the command"
                ) from error
    if target.match is False and target.was_named:
        raise VerificationError(
            "the device says that what it received differs from the image file. It still runs what it ran; "
            "erase the slot with `fieldlog image erase` and flash again"
        )
    return target.sent


@dataclass(slots=True)
class _ImageTarget:
    """An image slot as the target of an upload (docs/smp.md#images)."""

    link: SteadyLink
    number: int
    data: bytes
    sha: bytes | None
    tell: Callable[[str], None]
    match: bool | None = None
    was_named: bool = False
    furthest: int = 0
    sent: int = 0
    _fresh: bool = True
    _probes: list[Reply[os.ParamsResponse]] = field(default_factory=list[Reply[os.ParamsResponse]])
    _reached: int = 0
    _first_s: float = _FIRST_CHUNK_S
    _answered: int = 0
    _slowest_s: float = 0.0

    async def begin(self) -> None:
        """The first piece itself begins an upload; who wants it, at first or again, may be another device by now."""
        await self.link.check()
        self._fresh = True
        if self.sha is not None:
            await self.link.device.see_how_requests_follow()

    @property
    def named(self) -> bool:
        """Whether the file's hash is told: small messages have no room for it beside what a first piece must carry."""
        if self.sha is None:
            return False
        return room(self.link.device.client.max_request, self._first(b"", self.sha)) >= _LEAST_FIRST

    def empty(self, offset: int) -> commands.ImageUploadRequest:
        return self._request(offset, b"")

    def send(self, offset: int, size: int) -> Reply[commands.ImageUploadResponse]:
        """Pieces that may take long are sent once: before one is sent again, it is looked who is there."""
        last = offset + size == len(self.data)
        work_s = self._first_s if offset == 0 else _LAST_CHUNK_S if last else None
        if offset == 0:
            self._first_s = _LAST_CHUNK_S  # whatever is to be erased is erased by then
        self.sent += size
        self._reached = max(self._reached, offset + size)
        request = self._request(offset, self.data[offset : offset + size])
        client = self.link.device.client
        if work_s is None:
            return client.start(commands.UPLOAD, request, service_s=self._piece_s)
        reply = client.start(commands.UPLOAD, request, service_s=work_s, tries=1)
        first_s, *later_s = _PROBES_ALONE_S if client.one_at_a_time else _PROBES_S
        asyncio.get_running_loop().call_later(first_s, self._probe, reply, tuple(later_s))
        return reply

    @property
    def _piece_s(self) -> float:
        """How long the device may work on a piece in the middle before it is sent again."""
        if self._answered < _LEARNT_FROM:
            return _CHUNK_S
        return min(_CHUNK_S, _LENIENCE * self._slowest_s)

    async def wanted(self, reply: Reply[commands.ImageUploadResponse]) -> int:
        answer = await reply
        if answer.off and reply.ask.tries > 1:
            self._answered += 1
            self._slowest_s = max(self._slowest_s, reply.took_s)
        if answer.off > len(self.data):
            if not self.link.device.client.checked:
                raise Lost("the reply was damaged on the line")
            raise ProtocolError(
                f"the device wants byte {answer.off} of an image of {len(self.data)}. It still runs what it ran; erase "
                "the slot with `fieldlog image erase` and flash again"
            )
        if self._fresh and answer.off > self._reached:
            held = 100 * answer.off // len(self.data)
            self.tell(f"the device holds {held} % of it already" + (": going on there" if held < 100 else ""))
        self._fresh = False
        self._reached = max(self._reached, answer.off)
        self.match = answer.match
        self.furthest = max(self.furthest, answer.off)
        return answer.off

    async def quiet(self) -> None:
        """No answer to a probe is left on the line, where whoever comes next would take it for one to his own."""
        waiting = [probe for probe in self._probes if not probe.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=_PROBE_S)

    def _probe(self, reply: Reply[commands.ImageUploadResponse], later_s: tuple[float, ...]) -> None:
        """Requests are answered in order: where one is that was asked behind it, the piece was lost."""
        if reply.done():
            return
        client = self.link.device.client
        if client.terse:
            return  # it would not answer that
        probe = client.start(os.PARAMS, Empty(), tries=1, urgent=True)
        self._probes.append(probe)
        probe.add_done_callback(partial(self._probed, reply, later_s))
        if client.one_at_a_time:
            late = RequestTimeout("the probe found no place on the line")
            asyncio.get_running_loop().call_later(_PROBE_S, client.give_up, probe, late)

    def _probed(
        self,
        reply: Reply[commands.ImageUploadResponse],
        later_s: tuple[float, ...],
        probe: Reply[os.ParamsResponse],
    ) -> None:
        if reply.done() or probe.cancelled():
            return
        if not isinstance(probe.exception(), LinkError):
            self.link.device.client.give_up(reply, RequestTimeout("a later request was answered first"))
        elif later_s:
            asyncio.get_running_loop().call_later(later_s[0], self._probe, reply, later_s[1:])

    def _request(self, offset: int, piece: bytes) -> commands.ImageUploadRequest:
        if offset:
            return commands.ImageUploadRequest(off=offset, data=piece)
        self.was_named = self.named
        return self._first(piece, self.sha if self.was_named else None)

    def _first(self, piece: bytes, sha: bytes | None) -> commands.ImageUploadRequest:
        return commands.ImageUploadRequest(image=self.number or None, len=len(self.data), off=0, sha=sha, data=piece)
