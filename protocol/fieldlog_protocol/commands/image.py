"""Group 1, image: firmware slots, upload, test and confirm, erase (docs/smp.md#commands, #images)."""

from __future__ import annotations

from typing import Annotated

from fieldlog_protocol.commands.base import (
    Command,
    Empty,
    ErrorTexts,
    Group,
    Message,
    Op,
    about,
    blob,
    i32,
    string,
    u8,
    u32,
)

ERRORS: ErrorTexts = {
    2: "the flash layout could not be read",
    3: "there is no image in the slot",
    4: "the image has no TLV area",
    5: "the image has a malformed TLV",
    6: "the image has more than one hash",
    7: "a TLV of the image has the wrong size",
    8: "no image with this hash is on the device",
    9: "there is no free slot: an update is pending or the slot is in use",
    10: "the flash area could not be opened",
    11: "the flash could not be read",
    12: "the flash could not be written",
    13: "the flash could not be erased",
    14: "there is no such slot",
    15: "the device is out of memory",
    16: "the flash is already in use by another upload",
    17: "no upload is under way",
    18: "the flash area has no device",
    19: "the flash page offset is wrong",
    20: "the request lacks the offset",
    21: "the request lacks the length",
    22: "the first chunk is too short to hold an image header",
    23: "this is not an MCUboot image (wrong magic number)",
    24: "the hash in the request is malformed",
    25: "the image is linked for another address than the slot's",
    26: "the version of the running image could not be read",
    27: "the running version is newer",
    28: "an image is already pending",
    29: "the image's vector table is not valid",
    30: "the image is larger than the slot",
    31: "the upload carries more data than it announced",
    32: "this image cannot be confirmed",
    33: "the running image cannot be set for test",
    34: "the active slot is not known",
}

NO_IMAGE = 3
HASH_NOT_FOUND = 8
NO_FREE_SLOT = 9
FLASH_WRITE_FAILED = 12
FLASH_ERASE_FAILED = 13
INVALID_SLOT = 14
INVALID_OFFSET = 20
INVALID_LENGTH = 21
INVALID_IMAGE_HEADER = 22
INVALID_IMAGE_HEADER_MAGIC = 23
INVALID_HASH = 24
VERSION_GET_FAILED = 26
CURRENT_VERSION_IS_NEWER = 27
IMAGE_ALREADY_PENDING = 28
IMAGE_TOO_LARGE = 30
IMAGE_DATA_OVERRUN = 31
CONFIRMATION_DENIED = 32
SETTING_TEST_TO_ACTIVE_DENIED = 33


class ImageSlot(Message, frozen=True, kw_only=True):
    """One slot and what lies in it."""

    image: Annotated[int, u8("number of the image; left out: 0")] | None = None
    slot: Annotated[int, u8("number of the slot: 0 primary, 1 secondary")]
    version: Annotated[str, string("version as major.minor.revision[.build]")]
    hash: Annotated[bytes, blob("hash TLV of the image")] | None = None
    bootable: Annotated[bool, about("the boot loader can start it")] | None = None
    pending: Annotated[bool, about("the next restart starts it")] | None = None
    confirmed: Annotated[bool, about("it stays after a restart")] | None = None
    active: Annotated[bool, about("it runs now")] | None = None
    permanent: Annotated[bool, about("pending for good, without a test")] | None = None


class ImageStateResponse(Message, frozen=True, kw_only=True, rename={"split_status": "splitStatus"}):
    """All slots that hold an image."""

    images: Annotated[tuple[ImageSlot, ...], about("one entry a slot that holds an image")]
    split_status: Annotated[int, i32("split images (Mynewt); 0 elsewhere")] | None = None


class ImageStateRequest(Message, frozen=True, kw_only=True):
    """Mark an image: by hash for a test, or for good; without hash, confirm the running one."""

    hash: Annotated[bytes, blob("hash TLV of the image; left out: the running one")] | None = None
    confirm: Annotated[bool, about("true: for good; false: for one restart")] | None = None


class ImageUploadRequest(Message, frozen=True, kw_only=True):
    """A chunk of a firmware file. Length, hash and flags go with offset 0."""

    image: Annotated[int, u8("number of the image")] | None = None
    len: Annotated[int, u32("size of the whole file", "By")] | None = None
    off: Annotated[int, u32("offset of this chunk", "By")]
    sha: Annotated[bytes, blob("SHA-256 of the whole file, which also names the upload", max_length=64)] | None = None
    data: Annotated[bytes, blob("the chunk")] | None = None
    upgrade: Annotated[bool, about("true: refuse unless newer than the running version")] | None = None


class ImageUploadResponse(Message, frozen=True, kw_only=True):
    """The offset that the device wants next: a wrong one in the request is no error."""

    off: Annotated[int, u32("offset wanted next", "By")]
    match: Annotated[bool, about("at the end: does the slot's content have the announced SHA-256?")] | None = None


class ImageEraseRequest(Message, frozen=True, kw_only=True):
    """Which slot to erase."""

    slot: Annotated[int, u8("slot; left out: the one that does not run")] | None = None


class SlotSize(Message, frozen=True, kw_only=True):
    """Size of one slot."""

    slot: Annotated[int, u8("number of the slot")]
    size: Annotated[int, u32("size of the slot", "By")] | None = None
    upload_image_id: Annotated[int, u8("`image` number that an upload must carry to land here")] | None = None
    rc: Annotated[int, i32("why the size is not known")] | None = None


class ImageSlots(Message, frozen=True, kw_only=True):
    """The slots of one image number."""

    image: Annotated[int, u8("number of the image")]
    slots: Annotated[tuple[SlotSize, ...], about("its slots")]
    max_image_size: Annotated[int, u32("largest image that can be installed", "By")] | None = None


class SlotInfoResponse(Message, frozen=True, kw_only=True):
    """Sizes of all slots."""

    images: Annotated[tuple[ImageSlots, ...], about("one entry an image number")]


STATE_READ = Command(
    "image state", Op.READ, Group.IMAGE, 0, Empty, ImageStateResponse, "the slots and what lies in them"
)
STATE_WRITE = Command(
    "image set state",
    Op.WRITE,
    Group.IMAGE,
    0,
    ImageStateRequest,
    ImageStateResponse,
    "set an image for test, for good, or confirm the running one",
    (3, 8, 12, 24, 28, 32, 33),
)
UPLOAD = Command(
    "image upload",
    Op.WRITE,
    Group.IMAGE,
    1,
    ImageUploadRequest,
    ImageUploadResponse,
    "write a chunk of a firmware file",
    (9, 12, 13, 14, 20, 21, 22, 23, 24, 26, 27, 30, 31),
    service_s=40.0,
)
ERASE = Command(
    "image erase", Op.WRITE, Group.IMAGE, 5, ImageEraseRequest, Empty, "erase a slot", (9, 13, 14), service_s=40.0
)
SLOT_INFO = Command("image slot info", Op.READ, Group.IMAGE, 6, Empty, SlotInfoResponse, "sizes of the slots")

COMMANDS = (STATE_READ, STATE_WRITE, UPLOAD, ERASE, SLOT_INFO)
