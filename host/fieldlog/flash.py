"""Bring a device from the firmware that it runs to the one it should run: check, upload, test, restart, confirm.

Rule: nothing is sent before the image is known to be whole, and what the boot loader can take back is not confirmed
before the new firmware has answered. Steps that are done already are left out, so the command can always be repeated.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from fieldlog.client import Client, Reply
from fieldlog.device import Device
from fieldlog.transfer import OnProgress, ignore_progress, upload
from fieldlog_protocol.commands import Empty
from fieldlog_protocol.commands import image as commands
from fieldlog_protocol.commands.image import ImageSlot
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import ImageError, LinkError, RefusedError, RequestTimeout, VerificationError
from fieldlog_protocol.image import Image, parse_image, verify_hash

RETURN_S = 120.0
"""How long a device may take to come back: a swap of two large slots is slow."""
_PAUSE_S = 0.5
_FIRST_CHUNK_S = 40.0
_LAST_CHUNK_S = 20.0
_CHUNK_S = 2.0


class Outcome(Enum):
    """How an update ended."""

    ALREADY = "already running"
    CONFIRMED = "confirmed"
    TESTING = "running on trial"


@dataclass(frozen=True, slots=True)
class Flashed:
    """What runs now, and what ran before (None if the device did not say)."""

    outcome: Outcome
    version: str
    before: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user wants. `number` is the image number on the device; `permanent` goes without a trial."""

    number: int = 0
    confirm: bool = True
    permanent: bool = False
    return_s: float = RETURN_S


Tell = Callable[[str], None]
"""Called with each step, in words."""


def load(data: bytes) -> Image:
    """The image in a file, structure and hash checked; raises ImageError. An encrypted image's hash cannot be checked."""
    image = parse_image(data)
    if not image.encrypted:
        verify_hash(image)
    if image.hash is None:
        raise ImageError("the image carries no hash, and devices know images by their hash. Sign it with imgtool")
    return image


async def flash(
    device: Device,
    data: bytes,
    plan: Plan | None = None,
    *,
    tell: Tell = lambda _: None,
    progress: OnProgress = ignore_progress,
) -> Flashed:
    """Install the image in `data`; raises VerificationError when it is damaged or the boot loader took it back."""
    plan = plan or Plan()
    image = load(data)
    assert image.hash is not None
    slots = await device.images()
    running = _running(slots, plan.number)
    before = None if running is None else running.version
    if running is not None and running.hash == image.hash:
        return await _already(device, running, plan, tell)
    if not _find(slots, plan.number, image.hash):
        await _check_size(device, len(data), plan)
        tell(f"uploading {image.version.dotted} ({len(data)} bytes)")
        await send_image(device, data, plan.number, progress)
    elif plan.permanent or not _pending(slots, plan.number, image.hash):
        tell(f"{image.version.dotted} is on the device already")
    await _mark(device, image.hash, plan, tell)
    tell("restarting")
    with suppress(LinkError):  # its reply may be lost, or the link: whether it restarted shows in what runs
        await device.reset()
    running = await _await_return(device, image.hash, plan, before)
    return await _finish(device, running, plan, tell, before)


async def send_image(device: Device, data: bytes, number: int = 0, progress: OnProgress = ignore_progress) -> None:
    """Upload an image file; a broken upload of the same file goes on where it stopped."""
    target = _ImageTarget(device.client, number, data, hashlib.sha256(data).digest())
    await upload(device.client, target, len(data), "the upload", progress)
    if target.match is False:
        raise VerificationError(
            "the device says that what it received differs from the image file. It still runs what it ran; "
            "erase the slot with `fieldlog image erase` and flash again"
        )


@dataclass(slots=True)
class _ImageTarget:
    """An image slot as the target of an upload (SMP.md section 6)."""

    client: Client
    number: int
    data: bytes
    sha: bytes
    match: bool | None = None

    async def begin(self) -> None:
        """The first piece itself begins an upload."""

    def empty(self, offset: int) -> commands.ImageUploadRequest:
        return self._request(offset, b"")

    def send(self, offset: int, size: int) -> Reply[commands.ImageUploadResponse]:
        last = offset + size == len(self.data)
        work_s = _FIRST_CHUNK_S if offset == 0 else _LAST_CHUNK_S if last else _CHUNK_S
        return self.client.start(
            commands.UPLOAD, self._request(offset, self.data[offset : offset + size]), service_s=work_s
        )

    async def wanted(self, reply: Reply[commands.ImageUploadResponse]) -> int:
        answer = await reply
        self.match = answer.match
        return min(answer.off, len(self.data))

    def _request(self, offset: int, piece: bytes) -> commands.ImageUploadRequest:
        if offset:
            return commands.ImageUploadRequest(off=offset, data=piece)
        return commands.ImageUploadRequest(
            image=self.number or None, len=len(self.data), off=0, sha=self.sha, data=piece
        )


async def _check_size(device: Device, size: int, plan: Plan) -> None:
    """Refuse what cannot fit before anything is erased, where the device tells the sizes."""
    try:
        images = await device.slots()
    except RefusedError:
        return
    for entry in images:
        if entry.image != plan.number:
            continue
        sizes = [slot.size for slot in entry.slots if slot.size is not None]
        most = entry.max_image_size or min(sizes, default=None)
        if most is not None and size > most:
            raise VerificationError(
                f"the image has {size} bytes and the device's slot takes {most}. Nothing was sent; build a smaller image"
            )


async def _mark(device: Device, hash: bytes, plan: Plan, tell: Tell) -> None:
    """Set the image for one test, or for good. Devices that just run the newest have no such command."""
    try:
        await device.set_image(hash, confirm=plan.permanent)
        tell("marked for good" if plan.permanent else "marked for a test")
    except RefusedError as error:
        if error.group is not None or error.code != Rc.NOT_SUPPORTED:
            raise


async def _await_return(device: Device, hash: bytes, plan: Plan, before: str | None) -> ImageSlot:
    """The slot that runs once the device has restarted. While it still says `pending` it has not."""
    deadline = asyncio.get_running_loop().time() + plan.return_s
    while True:
        await asyncio.sleep(_PAUSE_S)
        slots = await _slots_or_none(device)
        running = None if slots is None else _running(slots, plan.number)
        if slots is not None and running is not None:
            if running.hash == hash:
                return running
            if not _pending(slots, plan.number, hash):
                raise _not_started(running, before)
        if asyncio.get_running_loop().time() > deadline:
            raise _gone(device, plan, running)


async def _slots_or_none(device: Device) -> tuple[ImageSlot, ...] | None:
    """None while the device is away. A lost link is opened again, wherever the port is by then."""
    try:
        reply = device.client.request(commands.STATE_READ, Empty(), tries=1)
        return (await reply).images
    except RequestTimeout:
        return None
    except LinkError:
        pass
    with suppress(LinkError):
        await device.reopen()
    return None


def _not_started(running: ImageSlot, before: str | None) -> VerificationError:
    again = "still" if running.version == before else "now"
    return VerificationError(
        f"the device restarted but {again} runs {running.version}: its boot loader did not accept the new image "
        "(signature, key or header) or took it back. The device works as before; "
        "check with `fieldlog image inspect` that the image is signed with the device's key"
    )


def _gone(device: Device, plan: Plan, running: ImageSlot | None) -> LinkError:
    if running is not None:
        return LinkError(
            f"{device.name} did not restart within {plan.return_s:.0f} s. Restart it by hand, then flash again"
        )
    return LinkError(
        f"{device.name} did not come back within {plan.return_s:.0f} s. The new image was only on trial unless --permanent "
        "was given: the next restart brings the old one back. Switch its power off and on, then run `fieldlog image list`"
    )


async def _finish(device: Device, running: ImageSlot, plan: Plan, tell: Tell, before: str | None) -> Flashed:
    if running.confirmed:
        return Flashed(Outcome.CONFIRMED, running.version, before)
    if not plan.confirm:
        tell("not confirmed: the next restart brings the former firmware back")
        return Flashed(Outcome.TESTING, running.version, before)
    try:
        slots = await device.set_image(None, confirm=True)
    except RefusedError as error:
        if error.group is not None or error.code != Rc.NOT_SUPPORTED:
            raise
        return Flashed(Outcome.CONFIRMED, running.version, before)  # boots the newest: nothing to confirm
    tell("confirmed")
    now = _running(slots, plan.number)
    return Flashed(Outcome.CONFIRMED, running.version if now is None else now.version, before)


async def _already(device: Device, running: ImageSlot, plan: Plan, tell: Tell) -> Flashed:
    if running.confirmed or not plan.confirm:
        return Flashed(Outcome.ALREADY, running.version, running.version)
    tell("the image runs on trial already")
    return await _finish(device, running, plan, tell, running.version)


def _running(slots: tuple[ImageSlot, ...], number: int) -> ImageSlot | None:
    """The slot that runs. None where nothing is marked as active, as in serial recovery."""
    ours = [slot for slot in slots if (slot.image or 0) == number]
    return next((slot for slot in ours if slot.active), None)


def _find(slots: tuple[ImageSlot, ...], number: int, hash: bytes) -> bool:
    return any((slot.image or 0) == number and slot.hash == hash for slot in slots)


def _pending(slots: tuple[ImageSlot, ...], number: int, hash: bytes) -> bool:
    return any((slot.image or 0) == number and slot.hash == hash and slot.pending for slot in slots)
