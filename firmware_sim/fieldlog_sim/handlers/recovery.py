"""What MCUboot's serial recovery serves (docs/smp.md#images): echo, reset, params, image list, upload, slot info.

Rule: it remembers one upload, knows images by what lies in the slots, and checks nothing that it writes: what may run is
decided at the next boot.
"""

from __future__ import annotations

from fieldlog_protocol.commands import Empty, image, os
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image import TRAILER_ALIGN, Image
from fieldlog_sim.boot_area import ImageArea, SlotWriter
from fieldlog_sim.boot_recovery import BOOT_MODE_RECOVERY, RECOVERY_SIZE
from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Dispatcher, Refusal


def register(dispatcher: Dispatcher, device: Device) -> None:
    """Serve what there is."""
    handlers = _Recovery(device)
    dispatcher.on(os.ECHO, handlers.echo)
    dispatcher.on(os.RESET, handlers.reset)
    dispatcher.on(os.PARAMS, handlers.params)
    dispatcher.on(image.STATE_READ, handlers.state)
    dispatcher.on(image.UPLOAD, handlers.upload)
    dispatcher.on(image.SLOT_INFO, handlers.slot_info)


class _Recovery:
    def __init__(self, device: Device) -> None:
        self._device = device
        self._writer: SlotWriter | None = None
        self._length = 0
        self._offset = 0

    def echo(self, request: os.EchoRequest) -> os.EchoResponse:
        return os.EchoResponse(r=request.d)

    def params(self, _: Empty) -> os.ParamsResponse:
        return os.ParamsResponse(buf_size=RECOVERY_SIZE, buf_count=1)

    def reset(self, request: os.ResetRequest) -> Empty:
        self._device.restart_after_reply(recovery=request.boot_mode == BOOT_MODE_RECOVERY)
        return Empty()

    def state(self, _: Empty) -> image.ImageStateResponse:
        return image.ImageStateResponse(images=tuple(self._sound_images()))

    def _sound_images(self) -> list[image.ImageSlot]:
        areas = self._device.boot_loader.areas
        found = [(area, slot, self._sound(area, slot)) for area in areas for slot in (0, 1)]
        return [
            image.ImageSlot(
                image=area.number if len(areas) > 1 else None, slot=slot, version=held.version.dotted, hash=held.hash
            )
            for area, slot, held in found
            if held is not None
        ]

    def _sound(self, area: ImageArea, slot: int) -> Image | None:
        try:
            found = area.secondary(area.next_swap) if slot else area.primary()
            self._device.boot_loader.policy.admit(found, area.number)
        except ImageError:
            return None
        return found

    def upload(self, request: image.ImageUploadRequest) -> image.ImageUploadResponse:
        if request.off == 0:
            self._begin(request)
        elif request.off != self._offset:
            return image.ImageUploadResponse(off=self._offset)
        data = request.data or b""
        if self._writer is None or self._offset + len(data) > self._length:
            raise Refusal(Rc.INVALID)
        if self._offset + len(data) < self._length:  # flash is written in whole units: the rest is asked for again
            data = data[: len(data) // TRAILER_ALIGN * TRAILER_ALIGN]
        self._writer.write(self._offset, data)
        self._offset += len(data)
        return image.ImageUploadResponse(off=self._offset)

    def _begin(self, request: image.ImageUploadRequest) -> None:
        writer = self._target(request.image or 0)
        if request.len is None or not 0 < request.len <= writer.size:
            raise Refusal(Rc.INVALID)
        self._writer, self._length, self._offset = writer, request.len, 0
        writer.begin()

    def _target(self, upload_id: int) -> SlotWriter:
        """0 and 1: slot 0 of the first image; 2: its slot 1; 3 and 4: those of the second one."""
        number, slot = divmod(max(upload_id, 1) - 1, 2)
        area = self._device.boot_loader.area(number)
        if area is None:
            raise Refusal(Rc.INVALID)
        return area.upload if slot else area.recovery

    def slot_info(self, _: Empty) -> image.SlotInfoResponse:
        return image.SlotInfoResponse(images=tuple(map(_sizes, self._device.boot_loader.areas)))


def _sizes(area: ImageArea) -> image.ImageSlots:
    slots = tuple(
        image.SlotSize(slot=slot, size=size, upload_image_id=2 * area.number + slot + 1)
        for slot, size in enumerate(area.slot_sizes)
    )
    return image.ImageSlots(image=area.number, slots=slots, max_image_size=area.max_image_size)
