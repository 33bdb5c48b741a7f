"""Group fs: files by name, one of them open at a time, with Zephyr's quirks (docs/smp.md#seen-on-zephyr).

Repeating the off-0 chunk while the file is open appends; close it first. A chunk at a wrong offset is answered with the
file's length. The last byte of an upload, a wrong offset and any reading close the file: a client that uploads twice
in a row need not know that files are ever open.
"""

from __future__ import annotations

import hashlib
import zlib

from fieldlog_protocol.commands import Empty, Group, fs
from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Dispatcher, Refusal
from fieldlog_sim.store_errors import NoSuchFile, StoreFull

NAME_LIMIT = 64
_HASHES = {"crc32": fs.HashType(format=0, size=4), "sha256": fs.HashType(format=1, size=32)}


def register(dispatcher: Dispatcher, device: Device) -> None:
    """Serve the group."""
    handlers = _Files(device, dispatcher)
    dispatcher.on(fs.READ, handlers.read)
    dispatcher.on(fs.WRITE, handlers.write)
    dispatcher.on(fs.STATUS, handlers.status)
    dispatcher.on(fs.HASH, handlers.hash)
    dispatcher.on(fs.HASH_TYPES, lambda _: fs.HashTypesResponse(types=_HASHES))
    dispatcher.on(fs.CLOSE, handlers.close)


def _check_name(name: str) -> str:
    if not name or len(name.encode()) > NAME_LIMIT or "\0" in name:
        raise Refusal(fs.INVALID_NAME, Group.FS)
    return name


class _Files:
    def __init__(self, device: Device, dispatcher: Dispatcher) -> None:
        self._device = device
        self._limits = dispatcher.limits
        self._open: str | None = None
        self._length = 0

    def read(self, request: fs.FileReadRequest) -> fs.FileReadResponse:
        self._open = None
        size = self._size(request.name)
        if request.off > size:
            raise Refusal(fs.OFFSET_LARGER_THAN_FILE, Group.FS)
        head = fs.FileReadResponse(off=request.off, data=b"", len=size if request.off == 0 else None)
        data = self._device.files.read(request.name, request.off, self._limits.room_for_blob(head))
        return fs.FileReadResponse(off=head.off, data=data, len=head.len)

    def write(self, request: fs.FileWriteRequest) -> fs.FileWriteResponse:
        name = _check_name(request.name)
        files = self._device.files
        if request.off == 0 and self._open != name:
            if request.len is None:
                raise Refusal(fs.OFFSET_NOT_VALID, Group.FS, len=self._size_or_zero(name))
            self._create(name, request.len)
        elif request.off > 0:
            size = self._size(name)
            if self._open != name:  # its length was told to another upload: it stays open until closed
                self._open, self._length = name, 0
            if request.off != size:
                self._open = None
                raise Refusal(fs.OFFSET_NOT_VALID, Group.FS, len=size)
        try:
            files.append(name, request.data)
        except StoreFull:
            raise Refusal(fs.WRITE_FAILED, Group.FS) from None
        written = files.size(name)
        if 0 < self._length <= written:
            self._open = None
        return fs.FileWriteResponse(off=written)

    def _create(self, name: str, length: int) -> None:
        try:
            self._device.files.create(name)
        except StoreFull:
            raise Refusal(fs.WRITE_FAILED, Group.FS) from None
        self._open, self._length = name, length

    def status(self, request: fs.FileStatusRequest) -> fs.FileStatusResponse:
        return fs.FileStatusResponse(len=self._size(request.name))

    def hash(self, request: fs.FileHashRequest) -> fs.FileHashResponse:
        kind = request.type or "crc32"
        if kind not in _HASHES:
            raise Refusal(fs.HASH_NOT_FOUND, Group.FS)
        size = self._size(request.name)
        if size == 0:
            raise Refusal(fs.FILE_EMPTY, Group.FS)
        start = request.off or 0
        if start >= size:
            raise Refusal(fs.OFFSET_LARGER_THAN_FILE, Group.FS)
        data = self._device.files.read(request.name, start, size - start if request.len is None else request.len)
        output = zlib.crc32(data) if kind == "crc32" else hashlib.sha256(data).digest()
        return fs.FileHashResponse(type=kind, off=request.off or None, len=len(data), output=output)

    def close(self, _: Empty) -> Empty:
        self._open = None
        return Empty()

    def _size(self, name: str) -> int:
        try:
            return self._device.files.size(_check_name(name))
        except NoSuchFile:
            raise Refusal(fs.NOT_FOUND, Group.FS) from None

    def _size_or_zero(self, name: str) -> int:
        try:
            return self._device.files.size(name)
        except NoSuchFile:
            return 0
