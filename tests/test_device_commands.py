"""Every command of the table, asked over every link of a simulated device and answered for real."""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from fieldlog_protocol.commands import (
    GROUP_NAMES,
    TABLE,
    Command,
    Empty,
    Group,
    basic,
    enum,
    fs,
    image,
    logger,
    os,
    settings,
    shell,
    stat,
)
from fieldlog_protocol.commands.base import Req, Rsp
from fieldlog_protocol.commands.logger import State, TransactionStep
from fieldlog_protocol.errors import RefusedError
from fieldlog_protocol.image import ImageVersion, build_image, parse_image
from links import LINKS, Asker, LinkKind, MemoryAsker, asker, way_to

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=LINKS, ids=str)
def way(request: pytest.FixtureRequest) -> Iterator[str | MemoryAsker]:
    kind: LinkKind = request.param
    with way_to(kind) as found:
        yield found


class Recording:
    """Asks, and remembers which commands it has asked."""

    def __init__(self, device: Asker) -> None:
        self._device = device
        self.asked: set[tuple[int, int, int]] = set()

    async def __call__(self, command: Command[Req, Rsp], message: Req) -> Rsp:
        self.asked.add(command.key)
        return await self._device.request(command, message)


async def tour_os(ask: Recording) -> None:
    assert (await ask(os.ECHO, os.EchoRequest(d="h\u00e4llo"))).r == "h\u00e4llo"
    assert (await ask(os.ECHO_READ, os.EchoRequest(d=""))).r == ""
    params = await ask(os.PARAMS, Empty())
    assert (params.buf_size, params.buf_count) in ((384, 4), (2048, 4))
    assert "main" in (await ask(os.TASKSTAT, Empty())).tasks
    (pool,) = (await ask(os.MPSTAT, Empty())).pools.values()
    assert (pool.blksiz, pool.nblks) == (params.buf_size, params.buf_count)
    for force in (True, 1):  # code and documentation of SMP differ in what this is
        await ask(os.RESET, os.ResetRequest(force=force))
    with pytest.raises(RefusedError) as unset:
        await ask(os.DATETIME_READ, Empty())
    assert (unset.value.group, unset.value.code) == (Group.OS, os.RTC_NOT_SET)
    await ask(os.DATETIME_WRITE, os.DatetimeRequest(datetime="2031-02-03T04:05:06"))
    assert (await ask(os.DATETIME_READ, Empty())).datetime.startswith("2031-02-03T04:05:0")
    assert (await ask(os.INFO, os.OsInfoRequest(format="snr"))).output.startswith("fieldlog-sim fieldlog 1.0.0")
    assert (await ask(os.BOOTLOADER, os.BootloaderRequest())).bootloader == "MCUboot"
    assert (await ask(os.BOOTLOADER, os.BootloaderRequest(query="mode"))).mode == 3


async def tour_image(ask: Recording) -> None:
    number = next(_numbers)
    firmware = build_image(bytes([number]) * 3000, ImageVersion(2, 0, number))
    sizes = (await ask(image.SLOT_INFO, Empty())).images[0]
    assert sizes.max_image_size == (sizes.slots[1].size or 0) - 2 * 4096
    await ask(image.ERASE, image.ImageEraseRequest())
    (running,) = (await ask(image.STATE_READ, Empty())).images
    assert (running.slot, running.active, running.confirmed) == (0, True, True)
    done = 0
    while done < len(firmware):
        piece = firmware[done : done + 200]
        first: dict[str, Any] = {"len": len(firmware), "sha": hashlib.sha256(firmware).digest()} if not done else {}
        answer = await ask(image.UPLOAD, image.ImageUploadRequest(off=done, data=piece, **first))
        assert answer.off == done + len(piece)
        done = answer.off
    assert answer.match is True
    hash_ = parse_image(firmware).hash
    _, pending = (await ask(image.STATE_WRITE, image.ImageStateRequest(hash=hash_, confirm=False))).images
    assert (pending.hash, pending.pending) == (hash_, True)
    await ask(os.RESET, os.ResetRequest())
    now, former = (await ask(image.STATE_READ, Empty())).images
    assert (now.hash, now.confirmed, former.hash) == (hash_, False, running.hash)
    now, _ = (await ask(image.STATE_WRITE, image.ImageStateRequest(confirm=True))).images
    assert now.confirmed is True
    assert (await ask(os.INFO, os.OsInfoRequest(format="r"))).output == f"2.0.{number}"
    await ask(image.STATE_WRITE, image.ImageStateRequest(hash=running.hash, confirm=True))
    await ask(os.RESET, os.ResetRequest())
    assert (await ask(image.STATE_READ, Empty())).images[0].hash == running.hash


async def tour_stat(ask: Recording) -> None:
    names = (await ask(stat.LIST, Empty())).stat_list
    assert "smp" in names
    before = (await ask(stat.DATA, stat.StatRequest(name="smp"))).fields["requests"]
    assert (await ask(stat.DATA, stat.StatRequest(name="smp"))).fields["requests"] == before + 1


async def tour_settings(ask: Recording) -> None:
    async def name() -> bytes:
        return (await ask(settings.READ, settings.SettingReadRequest(name="device/name"))).val

    await ask(settings.WRITE, settings.SettingWriteRequest(name="device/name", val=b"kept"))
    await ask(settings.COMMIT, Empty())
    await ask(settings.SAVE, settings.SettingSaveRequest())
    await ask(settings.WRITE, settings.SettingWriteRequest(name="device/name", val=b"not kept"))
    assert await name() == b"not kept"
    await ask(settings.LOAD, Empty())
    assert await name() == b"kept"
    await ask(settings.DELETE, settings.SettingDeleteRequest(name="device/name"))
    assert await name() == b""


async def tour_fs(ask: Recording) -> None:
    content = bytes(range(256)) * 4
    await ask(fs.CLOSE, Empty())
    done = 0
    while done < len(content):
        piece = content[done : done + 150]
        total = None if done else len(content)
        done = (await ask(fs.WRITE, fs.FileWriteRequest(name="/lfs/a", off=done, data=piece, len=total))).off
    assert (await ask(fs.STATUS, fs.FileStatusRequest(name="/lfs/a"))).len == len(content)
    read = b""
    while len(read) < len(content):
        read += (await ask(fs.READ, fs.FileReadRequest(name="/lfs/a", off=len(read)))).data
    assert read == content
    assert set((await ask(fs.HASH_TYPES, Empty())).types) == {"crc32", "sha256"}
    assert (await ask(fs.HASH, fs.FileHashRequest(name="/lfs/a"))).output == zlib.crc32(content)
    part = await ask(fs.HASH, fs.FileHashRequest(name="/lfs/a", type="sha256", off=10, len=20))
    assert part.output == hashlib.sha256(content[10:30]).digest()


async def tour_shell(ask: Recording) -> None:
    assert await ask(shell.EXECUTE, shell.ShellRequest(argv=("echo", "a", "b"))) == shell.ShellResponse(
        o="a b\n", ret=0
    )
    assert (await ask(shell.EXECUTE, shell.ShellRequest(argv=("nonsense",)))).ret != 0


async def tour_enum(ask: Recording) -> None:
    served = sorted({command.group for command in TABLE})
    assert (await ask(enum.COUNT, Empty())).count == len(served)
    assert list((await ask(enum.LIST, Empty())).groups) == served
    for index, group in enumerate(served):
        single = await ask(enum.SINGLE, enum.SingleRequest(index=index))
        assert (single.group, single.end) == (group, True if group == served[-1] else None)
    details = (await ask(enum.DETAILS, enum.DetailsRequest())).groups
    assert {item.group: (item.name, item.handlers) for item in details} == {
        group: (GROUP_NAMES[group], sum(command.group == group for command in TABLE)) for group in served
    }


async def tour_basic(ask: Recording) -> None:
    await ask(settings.WRITE, settings.SettingWriteRequest(name="device/name", val=b"gone soon"))
    await ask(settings.SAVE, settings.SettingSaveRequest())
    await ask(basic.ERASE_STORAGE, Empty())
    await ask(os.RESET, os.ResetRequest())
    assert (await ask(settings.READ, settings.SettingReadRequest(name="device/name"))).val == b""


async def tour_logger(ask: Recording) -> None:
    await _tour_readings(ask)
    await _tour_descriptions(ask)
    await _tour_actions(ask)


async def _tour_readings(ask: Recording) -> None:
    who = await ask(logger.INFO, logger.InfoRequest())
    assert (who.parts, who.product) == (3, "fieldlog-sim")
    armed = await ask(logger.ARM, logger.ArmRequest(id=next(_numbers), label="tour", wrap=True))
    assert armed.state == State.LOGGING
    newest = logger.LatestResponse(s=1, c=0, n=0, d=b"")
    while newest.n == 0:  # as long as it takes until the first one is due
        newest = await ask(logger.LATEST, logger.LatestRequest(s=1))
    assert len(newest.d) == newest.n * (8 + 3 * 2)
    mark = await ask(logger.MARK, logger.MarkRequest(id=next(_numbers), text="tour"))
    probe = await ask(logger.CLOCK_PROBE, Empty())
    assert mark.tick <= probe.rx <= probe.tx
    anchor = logger.ClockAnchor(boot=probe.boot, tick=probe.tx, utc=1_800_000_000_000_000, err=1, src=0)
    await ask(logger.CLOCK_ANCHOR, anchor)
    assert ((await ask(logger.CLOCK_PROBE, Empty())).utc or 0) >= 1_800_000_000_000_000
    sealed = await ask(logger.SEAL, Empty())
    stopped = await ask(logger.STOP, logger.StopRequest(id=next(_numbers)))
    assert (stopped.session, stopped.next > sealed.next) == (armed.session, True)
    (session,) = (await ask(logger.SESSIONS, logger.SessionsRequest(i=armed.session))).s
    assert (session.label, session.frames > 0) == ("tour", True)
    blocks = await ask(logger.BLOCKS, logger.BlocksRequest(q=session.first, o=0, n=200))
    assert (blocks.d[:2], len(blocks.d)) == (b"\x4c\x42", 200)


async def _tour_descriptions(ask: Recording) -> None:
    stream = await ask(logger.STREAMS, logger.StreamsRequest(i=1))
    assert (stream.name, len(stream.ch)) == ("motion", 3)
    page = await ask(logger.SCHEMA, logger.SchemaRequest(i=1))
    assert page.s[0].k == "device/name"
    await ask(logger.METADATA_WRITE, logger.MetadataWriteRequest(o=0, len=4, d=b"site"))
    assert (await ask(logger.METADATA_READ, logger.MetadataRequest())).d == b"site"
    await ask(logger.CALIBRATE, logger.CalibrateRequest(id=next(_numbers), s=1, c=0, cal=(0.5, 1.0)))
    assert (await ask(logger.STREAMS, logger.StreamsRequest(i=1))).ch[0].cal == (0.5, 1.0)


async def _tour_actions(ask: Recording) -> None:
    await ask(logger.IDENTIFY, logger.IdentifyRequest())
    await ask(logger.SELF_TEST_START, Empty())
    results = await ask(logger.SELF_TEST_RESULT, logger.SelfTestRequest())
    assert (results.n, results.run) == (4, False)
    number = next(_numbers)
    await ask(logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.BEGIN, id=number))
    await ask(logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.ABORT, id=number))
    now = await ask(logger.INFO, logger.InfoRequest(p=1))
    await ask(logger.RELEASE, logger.ReleaseRequest(q=now.next or 0))
    erased = await ask(logger.ERASE, logger.EraseRequest(id=next(_numbers), token=now.token or 0))
    assert erased.next >= (now.next or 0)
    assert (await ask(logger.INFO, logger.InfoRequest(p=1))).first == now.next


TOURS: dict[int, Callable[[Recording], Awaitable[None]]] = {
    Group.OS: tour_os,
    Group.IMAGE: tour_image,
    Group.STAT: tour_stat,
    Group.SETTINGS: tour_settings,
    Group.FS: tour_fs,
    Group.SHELL: tour_shell,
    Group.ENUM: tour_enum,
    Group.BASIC: tour_basic,
    Group.LOGGER: tour_logger,
}


@pytest.mark.parametrize("group", sorted({command.group for command in TABLE}), ids=GROUP_NAMES.get)
async def test_every_command_is_answered(way: str | MemoryAsker, group: int) -> None:
    async with asker(way) as device:
        ask = Recording(device)
        await TOURS[group](ask)
    missing = [command.name for command in TABLE if command.group == group and command.key not in ask.asked]
    assert not missing, f"commands that this test does not ask: {missing}"


NO_LOGGER = [kind for kind in LINKS if kind.buffers.size == 384 and kind.name != "memory datagrams"]


@pytest.fixture(scope="module", params=NO_LOGGER, ids=str)
def stock_way(request: pytest.FixtureRequest) -> Iterator[str | MemoryAsker]:
    """A device that answers as a stock Zephyr board does: indefinite maps, no FL group."""
    with way_to(request.param, "smp-server") as found:
        yield found


@pytest.mark.parametrize("group", [Group.IMAGE, Group.STAT, Group.FS, Group.SHELL], ids=str)
async def test_a_stock_device_answers_the_stock_commands(stock_way: str | MemoryAsker, group: int) -> None:
    async with asker(stock_way) as device:
        await TOURS[group](Recording(device))


async def test_a_stock_device_refuses_each_logger_command(stock_way: str | MemoryAsker) -> None:
    async with asker(stock_way) as device:
        requests: tuple[tuple[Command[Any, Any], Any], ...] = (
            (logger.INFO, logger.InfoRequest()),
            (logger.BLOCKS, logger.BlocksRequest(q=0, o=0, n=1)),
            (logger.STOP, logger.StopRequest(id=1)),
        )
        for command, message in requests:
            with pytest.raises(RefusedError) as caught:
                await Recording(device)(command, message)
            assert (caught.value.group, caught.value.code) == (None, 8)
