"""The cache of schemas: as right as the device itself, whatever becomes of its files, and asked for once by many."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

import fieldlog.config.schema_cache as module
from fieldlog.config.schema import schema_of
from fieldlog.config.schema_cache import SchemaCache
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo, merge
from fieldlog_protocol.commands.logger import InfoResponse, SchemaRequest, SchemaResponse, SettingInfo, SettingType
from fieldlog_protocol.errors import LinkError

INFOS = (
    SettingInfo(k="log/period", t=SettingType.U32, u="s", lo=1, hi=3600, step=1, d=b"\x0a\0\0\0", x="Wie oft? \x1b"),
    SettingInfo(k="alarm/high", t=SettingType.F32, u="Cel", lo=-60.5, hi=0.1, d=b"\0\0\0\0", f=3),
    SettingInfo(k="mode", t=SettingType.CHOICE, nc=40, ch=tuple(f"mode {number}" for number in range(40))),
    SettingInfo(k="\0", t=SettingType.BYTES, d=b"\0\xff"),
)


def info_of(hash_: bytes = b"abcd", firmware: str = "1.0") -> LoggerInfo:
    part = InfoResponse(
        parts=1, v=1, schema=hash_, uid=b"u", log=1, fw=firmware, block=1024, boot=1, tick=0, state=0, first=0, next=0
    )
    return merge([part])


class Logger:
    """A device that describes its settings; `pages` counts what it was asked."""

    def __init__(self, infos: Sequence[SettingInfo] = INFOS, answers: Callable[[], Any] | None = None) -> None:
        self.infos = infos
        self.pages = 0
        self._answers = answers

    @property
    def device(self) -> Device:
        return cast("Device", self)

    async def need_logger(self) -> None:
        pass

    async def request(self, _command: object, message: SchemaRequest) -> SchemaResponse:
        self.pages += 1
        if self._answers is not None:
            await self._answers()
        at = message.i or 0
        return SchemaResponse(n=len(self.infos), i=at, s=tuple(self.infos[at : at + 1]))


SCHEMA = schema_of(INFOS)
EXTRA = SettingInfo(k="extra", t=SettingType.BOOL)
ENDS = 2
"""Of what is known already the first page and the last are asked for, to see whether it is so."""


def files(folder: Path) -> set[Path]:
    return set(folder.iterdir())


async def test_what_was_read_once_is_not_asked_for_again(tmp_path: Path) -> None:
    first, second, third = Logger(), Logger(), Logger()
    cache = SchemaCache(tmp_path / "a" / "b")
    assert await cache.schema(first.device, info_of()) == SCHEMA
    assert await cache.schema(second.device, info_of()) == SCHEMA
    assert await SchemaCache(cache.folder).schema(third.device, info_of()) == SCHEMA
    assert (first.pages, second.pages, third.pages) == (len(INFOS), ENDS, ENDS)
    assert list(SCHEMA) == [info.k for info in INFOS]


async def test_another_hash_or_firmware_is_another_schema(tmp_path: Path) -> None:
    other = schema_of(INFOS[:1])
    cache = SchemaCache(tmp_path)
    await cache.schema(Logger().device, info_of())
    assert await cache.schema(Logger(INFOS[:1]).device, info_of(b"abce")) == other
    assert await cache.schema(Logger(INFOS[:1]).device, info_of(firmware="1.1")) == other
    assert await SchemaCache(tmp_path).schema(Logger().device, info_of()) == SCHEMA


async def test_a_device_without_a_hash_is_always_asked(tmp_path: Path) -> None:
    cache = SchemaCache(tmp_path)
    for _ in range(2):
        logger = Logger()
        await cache.schema(logger.device, info_of(b""))
        assert logger.pages
    assert not files(tmp_path)


def damages(data: bytes) -> list[bytes]:
    """Every end cut off, every byte changed."""
    cut = [data[:length] for length in range(len(data))]
    changed = [data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :] for at in range(len(data))]
    return [*cut, *changed, data + b"\0"]


async def test_a_damaged_file_is_read_from_the_device_again_and_mended(tmp_path: Path) -> None:
    await SchemaCache(tmp_path).schema(Logger().device, info_of())
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    for damaged in damages(whole):
        file.write_bytes(damaged)
        logger = Logger()
        assert await SchemaCache(tmp_path).schema(logger.device, info_of()) == SCHEMA
        assert logger.pages
        assert file.read_bytes() == whole


async def test_a_file_of_another_device_under_this_name_is_not_believed(tmp_path: Path) -> None:
    await SchemaCache(tmp_path).schema(Logger(INFOS[:1]).device, info_of(b"other"))
    (other,) = files(tmp_path)
    await SchemaCache(tmp_path).schema(Logger().device, info_of())
    (file,) = files(tmp_path) - {other}
    file.write_bytes(other.read_bytes())
    assert await SchemaCache(tmp_path).schema(Logger().device, info_of()) == SCHEMA


async def test_a_folder_that_cannot_be_used_costs_time_only(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")
    cache = SchemaCache(in_the_way / "schemas")
    assert await cache.schema(Logger().device, info_of()) == SCHEMA
    assert in_the_way.read_text() == "no folder"


async def test_of_many_devices_of_a_kind_one_is_asked(tmp_path: Path) -> None:
    cache = SchemaCache(tmp_path)
    loggers = [Logger(answers=lambda: asyncio.sleep(0)) for _ in range(100)]
    assert all(
        schema == SCHEMA for schema in await asyncio.gather(*[cache.schema(one.device, info_of()) for one in loggers])
    )
    assert sum(one.pages for one in loggers) == len(INFOS) + 99 * ENDS


async def test_a_device_that_fails_leaves_the_reading_to_the_next(tmp_path: Path) -> None:
    async def gone() -> None:
        await asyncio.sleep(0)
        raise LinkError("gone")

    cache = SchemaCache(tmp_path)
    failing, good = Logger(answers=gone), Logger()
    results = await asyncio.gather(
        cache.schema(failing.device, info_of()), cache.schema(good.device, info_of()), return_exceptions=True
    )
    assert isinstance(results[0], LinkError)
    assert results[1] == SCHEMA


async def test_a_device_that_is_silent_does_not_hold_the_others_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    cache = SchemaCache(tmp_path)
    silent = asyncio.create_task(cache.schema(Logger(answers=asyncio.Event().wait).device, info_of()))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(cache.schema(Logger().device, info_of()), 10) == SCHEMA
    silent.cancel()


async def test_the_folder_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 3)
    cache = SchemaCache(tmp_path)
    for number in range(6):
        await cache.schema(Logger().device, info_of(bytes([number])))
        for file in files(tmp_path):
            stat = file.stat()
            os.utime(file, (stat.st_atime, stat.st_mtime - 10))
    assert len(files(tmp_path)) == 3
    newest = Logger()
    await SchemaCache(tmp_path).schema(newest.device, info_of(b"\5"))
    assert newest.pages == ENDS


@pytest.mark.parametrize(
    "other",
    [
        INFOS[:3],
        INFOS[1:],
        (*INFOS, EXTRA),
        (replace(INFOS[0], hi=7), *INFOS[1:]),
        (*INFOS[:3], replace(INFOS[3], d=b"")),
    ],
    ids=["fewer", "others", "more", "first", "last"],
)
async def test_what_a_device_says_under_the_hash_of_others_harms_none_of_them(
    tmp_path: Path, other: tuple[SettingInfo, ...]
) -> None:
    cache = SchemaCache(tmp_path)
    assert await cache.schema(Logger(other).device, info_of()) == schema_of(other)
    assert await cache.schema(Logger().device, info_of()) == SCHEMA
    assert await SchemaCache(tmp_path).schema(Logger(other).device, info_of()) == schema_of(other)
    assert await SchemaCache(tmp_path).schema(Logger().device, info_of()) == SCHEMA
