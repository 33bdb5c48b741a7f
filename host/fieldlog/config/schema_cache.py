"""Descriptions of settings that were read before, by the hash that devices give of theirs.

Rule: a cache may be slow or gone, never wrong: what is damaged is read from the device again, and a folder that cannot be
written costs time only. A hash is only what a device says: of what is kept the beginning, the end and the length are
compared with what the device describes now, and where they differ it is read as a whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fieldlog.config.schema import Schema, read_infos, schema_of, still_describes
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog.whole_file import whole_file
from fieldlog_protocol.commands.logger import SchemaResponse, SettingInfo
from fieldlog_protocol.errors import FieldlogError, ProtocolError
from fieldlog_protocol.wire import decode_body, encode_body

Infos = tuple[SettingInfo, ...]

MOST_FILES = 256
_DIGEST_BYTES = 32
_PATIENCE_S = 2.0
"""So long a device waits for what another one of its kind is just asked; then it is asked itself."""


class SchemaCache:
    """Schemas in a folder; of devices that are asked at the same time one reads for all of its kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, Infos] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def schema(self, device: Device, info: LoggerInfo) -> Schema:
        """The schema of a device that says this of itself."""
        if not info.schema_hash:
            return schema_of(await read_infos(device))
        name = _name(info)
        async with self._turn(name):
            known = self._known.get(name) or self._stored(name)
            if known is None:
                self._known[name] = known = await self._read(device, name)
                return schema_of(known)
        self._known[name] = known
        if not await still_describes(device, known):
            known = await self._read(device, name)
        return schema_of(known)

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncGenerator[None]:
        """Alone with a name, unless whoever has it takes too long: a link that fails must not stop the others."""
        lock = self._reading.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await lock.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            lock.release()

    async def _read(self, device: Device, name: str) -> Infos:
        infos = await read_infos(device)
        schema_of(infos)
        self._store(name, encode_body(SchemaResponse(n=len(infos), i=0, s=infos)))
        return infos

    def _stored(self, name: str) -> Infos | None:
        """None too where the file is damaged or written by another version of fieldlog."""
        try:
            data = (self.folder / name).read_bytes()
            if data[:_DIGEST_BYTES] == _digest(name, data[_DIGEST_BYTES:]):
                infos = decode_body(data[_DIGEST_BYTES:], SchemaResponse).s
                schema_of(infos)
                return infos
        except (OSError, ProtocolError):
            pass
        return None

    def _store(self, name: str, body: bytes) -> None:
        with suppress(OSError, FieldlogError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self.folder / name) as aside:
                aside.write_bytes(_digest(name, body) + body)
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        files = sorted(self.folder.glob("*.cbor"), key=lambda file: file.stat().st_mtime)
        for file in files[:-MOST_FILES]:
            file.unlink()


def default_cache() -> SchemaCache:
    """That of this user."""
    import platformdirs

    return SchemaCache(Path(platformdirs.user_cache_dir("fieldlog", appauthor=False)) / "schemas")


def _name(info: LoggerInfo) -> str:
    """Of hash and firmware: short hashes of different products may be the same."""
    said = repr((info.schema_hash, info.product, info.hardware, info.firmware))
    return hashlib.sha256(said.encode()).hexdigest()[:32] + ".cbor"


def _digest(name: str, body: bytes) -> bytes:
    return hashlib.sha256(name.encode() + body).digest()
