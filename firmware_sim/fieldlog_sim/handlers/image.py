"""Group image: slots, upload, test, confirm, erase, with Zephyr's rules (docs/smp.md#images, #seen-on-zephyr)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from fieldlog_protocol.commands import Empty, Group, image
from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image import IMAGE_MAGIC, parse_header
from fieldlog_sim.boot_area import ImageArea, SlotInfo
from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Dispatcher, Refusal
from fieldlog_sim.nor_flash import FlashError

_FIRST_CHUNK_LEAST = 32


def register(dispatcher: Dispatcher, device: Device) -> None:
    """Serve the group."""
    handlers = _Images(device, dispatcher)
    dispatcher.on(image.STATE_READ, handlers.state)
    dispatcher.on(image.STATE_WRITE, handlers.set_state)
    dispatcher.on(image.UPLOAD, handlers.upload)
    dispatcher.on(image.ERASE, handlers.erase)
    dispatcher.on(image.SLOT_INFO, handlers.slot_info)


@dataclass(slots=True)
class _Upload:
    """Kept in RAM only, as Zephyr does: a restart forgets it."""

    area: ImageArea
    sha: bytes | None
    length: int
    offset: int = 0


class _Images:
    def __init__(self, device: Device, dispatcher: Dispatcher) -> None:
        self._device = device
        self._dispatcher = dispatcher
        self._upload: _Upload | None = None

    def state(self, _: Empty) -> image.ImageStateResponse:
        """Where it does not fit otherwise, flags that are not set are left out, as Zephyr's frugal list does."""
        boot_loader = self._device.boot_loader
        many = len(boot_loader.areas) > 1
        whole = image.ImageStateResponse(
            images=tuple(image_slot(slot, many=many) for slot in boot_loader.slots()), split_status=0
        )
        if self._dispatcher.limits.fits(whole):
            return whole
        return image.ImageStateResponse(images=tuple(map(_frugal, whole.images)))

    def set_state(self, request: image.ImageStateRequest) -> image.ImageStateResponse:
        boot_loader = self._device.boot_loader
        if request.hash is None:
            if not request.confirm:
                raise Refusal(image.INVALID_HASH, Group.IMAGE)
            boot_loader.areas[0].confirm()
            return self.state(Empty())
        found = [slot for slot in boot_loader.slots() if slot.hash == request.hash]
        if not found:
            raise Refusal(image.HASH_NOT_FOUND, Group.IMAGE)
        area = boot_loader.areas[found[0].image]
        if found[0].active:
            if not request.confirm:
                raise Refusal(image.SETTING_TEST_TO_ACTIVE_DENIED, Group.IMAGE)
            area.confirm()
        else:
            area.mark_pending(permanent=bool(request.confirm))
        return self.state(Empty())

    def upload(self, request: image.ImageUploadRequest) -> image.ImageUploadResponse:
        data = request.data or b""
        if request.off == 0:
            return self._first(request, data)
        upload = self._upload
        if upload is None or request.off != upload.offset:
            return image.ImageUploadResponse(off=upload.offset if upload else 0)
        return self._append(upload, data)

    def _first(self, request: image.ImageUploadRequest, data: bytes) -> image.ImageUploadResponse:
        if request.len is None:
            raise Refusal(image.INVALID_LENGTH, Group.IMAGE)
        if request.sha is not None and len(request.sha) != hashlib.sha256().digest_size:
            raise Refusal(image.INVALID_HASH, Group.IMAGE)
        area = self._area(request.image or 0)
        upload = self._upload
        if upload and request.sha and (upload.area, upload.sha, upload.length) == (area, request.sha, request.len):
            return image.ImageUploadResponse(off=upload.offset)
        if area.slot1_in_use:
            raise Refusal(image.NO_FREE_SLOT, Group.IMAGE)
        self._check_start(area, request, data)
        if request.sha is not None and _stored_sha(area, request.len) == request.sha:
            return image.ImageUploadResponse(off=request.len, match=True)
        self._upload = _Upload(area, request.sha, request.len)
        try:
            area.upload.begin()
        except FlashError:
            raise Refusal(image.FLASH_ERASE_FAILED, Group.IMAGE) from None
        return self._append(self._upload, data)

    def _area(self, number: int) -> ImageArea:
        """The image that an upload is for. Zephyr built for one image ignores the number."""
        areas = self._device.boot_loader.areas
        if len(areas) == 1:
            return areas[0]
        area = self._device.boot_loader.area(number)
        if area is None:
            raise Refusal(image.INVALID_SLOT, Group.IMAGE)
        return area

    def _check_start(self, area: ImageArea, request: image.ImageUploadRequest, data: bytes) -> None:
        assert request.len is not None
        if len(data) < _FIRST_CHUNK_LEAST:
            raise Refusal(image.INVALID_IMAGE_HEADER, Group.IMAGE)
        if int.from_bytes(data[:4], "little") != IMAGE_MAGIC:
            raise Refusal(image.INVALID_IMAGE_HEADER_MAGIC, Group.IMAGE)
        if request.len > area.max_image_size:
            raise Refusal(image.IMAGE_TOO_LARGE, Group.IMAGE)
        if request.upgrade:
            self._require_newer(area, data)

    def _require_newer(self, area: ImageArea, data: bytes) -> None:
        try:
            version = parse_header(data).version
        except ImageError:
            raise Refusal(image.INVALID_IMAGE_HEADER, Group.IMAGE) from None
        running = self._device.running_version_of(area.number)
        if running is not None and version <= running:
            raise Refusal(image.CURRENT_VERSION_IS_NEWER, Group.IMAGE)

    def _append(self, upload: _Upload, data: bytes) -> image.ImageUploadResponse:
        if upload.offset + len(data) > upload.length:
            raise Refusal(image.IMAGE_DATA_OVERRUN, Group.IMAGE)
        try:
            upload.area.upload.write(upload.offset, data)
        except FlashError:
            self._upload = None
            raise Refusal(image.FLASH_WRITE_FAILED, Group.IMAGE) from None
        upload.offset += len(data)
        if upload.offset < upload.length:
            return image.ImageUploadResponse(off=upload.offset)
        self._upload = None
        return image.ImageUploadResponse(off=upload.offset, match=_stored_sha(upload.area, upload.length) == upload.sha)

    def erase(self, request: image.ImageEraseRequest) -> Empty:
        """Slots are numbered across the images: 1 is the first one's, 3 the second one's."""
        slot = 1 if request.slot is None else request.slot
        area = self._device.boot_loader.area(slot // 2)
        if slot % 2 == 0 or area is None:
            raise Refusal(image.INVALID_SLOT, Group.IMAGE)
        if area.slot1_in_use:
            raise Refusal(image.NO_FREE_SLOT, Group.IMAGE)
        self._upload = None
        try:
            area.erase()
        except FlashError:
            raise Refusal(image.FLASH_ERASE_FAILED, Group.IMAGE) from None
        return Empty()

    def slot_info(self, _: Empty) -> image.SlotInfoResponse:
        return image.SlotInfoResponse(images=tuple(map(_slot_sizes, self._device.boot_loader.areas)))


def _stored_sha(area: ImageArea, length: int) -> bytes:
    return hashlib.sha256(area.upload.written(length)).digest()


def _slot_sizes(area: ImageArea) -> image.ImageSlots:
    first, second = area.slot_sizes
    slots = (
        image.SlotSize(slot=0, size=first),
        image.SlotSize(slot=1, size=second, upload_image_id=area.number),
    )
    return image.ImageSlots(image=area.number, slots=slots, max_image_size=area.max_image_size)


def image_slot(slot: SlotInfo, *, many: bool) -> image.ImageSlot:
    """An entry of the image list. A device with one image omits its number (docs/smp.md#seen-on-zephyr)."""
    return image.ImageSlot(
        image=slot.image if many else None,
        slot=slot.slot,
        version=slot.version.dotted,
        hash=slot.hash,
        bootable=slot.bootable,
        pending=slot.pending,
        confirmed=slot.confirmed,
        active=slot.active,
        permanent=slot.permanent,
    )


def _frugal(slot: image.ImageSlot) -> image.ImageSlot:
    flags = {name: getattr(slot, name) or None for name in ("bootable", "pending", "confirmed", "active", "permanent")}
    return msgspec.structs.replace(slot, **flags)
