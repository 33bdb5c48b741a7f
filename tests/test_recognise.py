"""Whether a device is the one that the archive knows: by what it holds, not by what it is called."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import fieldlog.archive
from fieldlog.archive import Archive
from fieldlog.archive.log import GONE, NOT_SENT, OVERWRITTEN
from fieldlog.cli.main import invoke
from fieldlog.connection import connect
from fieldlog.pull import PullResult, pull
from fieldlog.recognise import unread
from fieldlog_protocol.blocks.block import TICK_HZ, Block, BlockHeader, Kind, block_format, build_block
from fieldlog_protocol.blocks.events import Mark, TimedEvent, encode_events
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Schema, Stream, schema_blocks
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import UsageError
from smp_peer import Handler, udp_peer

UID, OTHER_UID = bytes(range(8)), bytes(range(1, 9))
SEQS = 40
CRC_SIZE = 4
OPEN = Channel("open", "", ChannelType.BOOL)


def block(seq: int, text: str = "event") -> bytes:
    payload = encode_events([TimedEvent(seq, Mark(f"{text} number {seq}" * 4))])
    header = BlockHeader(format=block_format(Kind.EVENT), seq=seq, t0=seq, boot_id=1)
    return build_block(Block(header, 1, 0, payload))


def log(seqs: range = range(SEQS), text: str = "event") -> dict[int, bytes]:
    return {seq: block(seq, text) for seq in seqs}


def tick() -> int:
    return time.monotonic_ns() * TICK_HZ // 10**9


class Logger:
    """A logger whose memory can be changed behind its back. `asked` are (seq, length) of requests for its blocks."""

    def __init__(self, blocks: dict[int, bytes], uid: bytes = UID, log_id: int = 7, serial: str = "S1") -> None:
        self.blocks = blocks
        self.uid, self.log_id, self.serial = uid, log_id, serial
        self.garble = 0
        self.asked: list[tuple[int, int]] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        handlers: dict[tuple[int, int, int], Handler] = {
            logger.INFO.key: self._info,
            logger.SEAL.key: lambda _: {"next": self._next},
            logger.SESSIONS.key: lambda _: {"n": 0, "s": []},
            logger.CLOCK_PROBE.key: lambda _: {"boot": 1, "rx": tick(), "tx": tick()},
            logger.CLOCK_ANCHOR.key: lambda _: {},
            logger.BLOCKS.key: self._read,
        }
        with udp_peer(handlers) as peer:
            yield peer.url

    @property
    def _next(self) -> int:
        return max(self.blocks) + 1

    def _info(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "parts": 1,
            "uid": self.uid,
            "log": self.log_id,
            "block": 1024,
            "serial": self.serial,
            "boot": 1,
            "tick": tick(),
            "state": 0,
            "first": min(self.blocks),
            "next": self._next,
            "used": 3000,
            "total": 9000,
        }

    def _read(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((body["q"], body["n"]))
        stream = b"".join(wire for seq, wire in sorted(self.blocks.items()) if seq >= body["q"])
        data = stream[body["o"] : body["o"] + body["n"]]
        if body["n"] == CRC_SIZE and self.garble:
            self.garble -= 1
            data = bytes(CRC_SIZE)
        return {"q": body["q"], "o": body["o"], "f": min(self.blocks), "d": data}

    @property
    def read(self) -> set[int]:
        """From which seqs on blocks were asked for, and not only looked at."""
        return {seq for seq, length in self.asked if length > CRC_SIZE}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with fieldlog.archive.open(tmp_path / "archive") as archive:
        yield archive


async def read_out(device: Logger, archive: Archive) -> PullResult:
    device.asked.clear()
    archive.log(device.uid, device.log_id).conflicts.clear()
    with device.running() as url:
        async with connect(url) as connected:
            return await pull(connected, archive)


async def test_a_device_that_is_what_it_was_is_only_looked_at(archive: Archive) -> None:
    device = Logger(log())
    await read_out(device, archive)
    again = await read_out(device, archive)
    assert (again.blocks, again.conflicts, again.warnings) == (0, [], [])
    assert device.asked
    assert device.read == set()
    assert sum(length for _, length in device.asked) <= 3 * CRC_SIZE


async def test_a_memory_restored_from_a_copy_is_noticed_and_both_are_kept(archive: Archive) -> None:
    device = Logger(log())
    await read_out(device, archive)
    before = log()
    device.blocks = log(range(25)) | log(range(25, SEQS), "another")
    result = await read_out(device, archive)
    assert "restored, copied or swapped" in result.warnings[0]
    assert result.conflicts == list(range(25, SEQS))
    held = archive.log(UID, 7)
    for seq in range(SEQS):
        assert held.copies(seq) == list(dict.fromkeys([before[seq], device.blocks[seq]]))
    again = await read_out(device, archive)
    assert (again.blocks, again.conflicts, again.warnings, device.read) == (0, [], [], set())


async def test_a_restored_memory_that_has_not_come_so_far_yet_is_told(archive: Archive) -> None:
    device = Logger(log())
    await read_out(device, archive)
    before = archive.digest()
    device.blocks = log(range(20))
    result = await read_out(device, archive)
    assert "has written blocks up to 19 and the archive holds 39" in result.warnings[0]
    assert archive.digest() == before
    device.blocks |= log(range(20, 45), "another")
    assert (await read_out(device, archive)).conflicts == list(range(20, SEQS))
    assert archive.log(UID, 7).absent(0, 45) == []


async def test_a_pull_of_a_swapped_memory_that_breaks_off_is_gone_on_with(archive: Archive) -> None:
    await read_out(Logger(log()), archive)
    archive.log(UID, 7).add_blocks([block(seq, "another") for seq in range(10)])
    result = await read_out(Logger(log(text="another")), archive)
    assert set(range(10, SEQS)) <= set(result.conflicts)
    assert len(archive.log(UID, 7).conflicting()) == SEQS


async def test_one_garbled_answer_is_no_other_device(archive: Archive) -> None:
    device = Logger(log())
    await read_out(device, archive)
    device.garble = 1
    result = await read_out(device, archive)
    assert (result.warnings, result.conflicts, result.blocks) == ([], [], 0)


async def test_what_the_ring_has_overwritten_or_flash_has_lost_is_no_other_device(archive: Archive) -> None:
    device = Logger(log())
    await read_out(device, archive)
    device.blocks = {seq: wire for seq, wire in log(range(10, SEQS + 5)).items() if seq not in (SEQS - 1, 24)}
    result = await read_out(device, archive)
    assert (result.warnings, result.conflicts, result.blocks) == ([], [], 5)


def spoil(folder: Path, *seqs: int) -> None:
    with closing(sqlite3.connect(folder / "archive.sqlite")) as database:
        for seq in seqs:
            database.execute("UPDATE blocks SET data = zeroblob(length(data)) WHERE seq = ?", (seq,))
        database.commit()


async def test_what_rotted_in_the_archive_is_fetched_again(archive: Archive, tmp_path: Path) -> None:
    device = Logger(log())
    await read_out(device, archive)
    before = archive.digest()
    spoil(tmp_path / "archive", 3, 17, SEQS - 1)
    assert archive.digest() != before
    result = await read_out(device, archive)
    assert "3 blocks (first: 3) had been damaged on this computer's disk" in result.warnings[0]
    assert (result.blocks, result.conflicts, result.lost) == (3, [], [])
    assert archive.digest() == before
    assert archive.log(UID, 7).verify() == (SEQS, [])
    assert (await read_out(device, archive)).warnings == []


async def test_what_rotted_and_is_gone_from_the_device_is_named_and_the_rest_readable(
    archive: Archive, tmp_path: Path
) -> None:
    device = Logger(log())
    await read_out(device, archive)
    spoil(tmp_path / "archive", 3)
    device.blocks = log(range(10, SEQS))
    assert (await read_out(device, archive)).lost == []
    whole, damaged = archive.log(UID, 7).verify()
    assert (whole, len(damaged)) == (SEQS - 1, 1)
    assert "block 3 is damaged in the archive" in damaged[0]
    assert len(archive.log(UID, 7).events()) == SEQS - 1


async def test_two_devices_of_one_serial_number_are_told_apart_by_uid(archive: Archive) -> None:
    await read_out(Logger(log()), archive)
    result = await read_out(Logger(log(text="mine"), uid=OTHER_UID, log_id=8), archive)
    assert UID.hex() in result.warnings[0]
    assert OTHER_UID.hex() in result.warnings[0]
    assert result.conflicts == []
    with pytest.raises(UsageError, match="fits 2 devices") as caught:
        archive.select("S1")
    assert all(uid.hex() in str(caught.value) for uid in (UID, OTHER_UID))
    (named,) = archive.select(OTHER_UID.hex())
    assert named.copies(5) == [block(5, "mine")]


async def test_where_nothing_is_named_each_device_is_listed_once(archive: Archive) -> None:
    for uid, log_id, serial in ((UID, 7, "S1"), (UID, 8, "S1"), (OTHER_UID, 9, "S2")):
        await read_out(Logger(log(), uid=uid, log_id=log_id, serial=serial), archive)
    assert len(archive.logs()) == 3
    with pytest.raises(UsageError, match=r"^the archive holds 2 devices: ") as caught:
        archive.readings()
    said = str(caught.value)
    assert [said.count(uid.hex()) for uid in (UID, OTHER_UID)] == [1, 1]
    assert "S2). Choose one (--device or device=) by its uid, serial number or label, or all (--all)" in said
    with pytest.raises(UsageError, match="holds no device 'S3'") as caught:
        archive.select("S3")
    assert str(caught.value).count(UID.hex()) == 1


async def test_a_log_that_another_device_has_written_is_told(archive: Archive) -> None:
    await read_out(Logger(log()), archive)
    result = await read_out(Logger(log(), uid=OTHER_UID, serial="S2"), archive)
    assert f"a log of the device {UID.hex()}" in result.warnings[0]
    assert len(archive.logs()) == 2


async def test_a_block_that_is_bad_on_the_device_is_asked_for_again_and_reported(archive: Archive) -> None:
    device = Logger(log())
    rotten = bytearray(device.blocks[12])
    rotten[40] ^= 4
    device.blocks[12] = bytes(rotten)
    result = await read_out(device, archive)
    assert (result.blocks, result.lost) == (SEQS - 1, [range(12, 13)])
    assert sum(seq == 12 for seq, _ in device.asked) > 1, "once more, by itself"
    assert (await read_out(device, archive)).blocks == 0
    device.blocks[12] = block(12)
    assert (await read_out(device, archive)).blocks == 0, "twice is enough"


def test_a_conflict_ends_with_its_own_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = Logger(log())
    words = ["pull", "--archive", str(tmp_path), "--device"]
    with device.running() as url:
        assert invoke([*words, url]) == 0
        device.blocks[SEQS - 1] = block(SEQS - 1, "another")
        capsys.readouterr()
        assert invoke([*words, url]) == 5
        said = capsys.readouterr()
        assert "Both are kept" in said.err
        assert "now in" in said.out
        assert invoke([*words, url]) == 0
    assert invoke(["archive", "ls", "--archive", str(tmp_path)]) == 0


async def test_nothing_is_given_up_for_an_archive_of_another_memory(archive: Archive, tmp_path: Path) -> None:
    device = Logger(log())
    await read_out(device, archive)
    with device.running() as url:
        async with connect(url) as connected:
            info = await connected.logger_info()
            assert await unread(connected, archive, info) == []
            spoil(tmp_path / "archive", 3)
            assert await unread(connected, archive, info) == [range(3, 4)]
            device.blocks |= log(range(20, SEQS), "another")
            assert await unread(connected, archive, info) == [range(SEQS)]


@pytest.mark.parametrize("reason", [NOT_SENT, OVERWRITTEN])
async def test_what_was_not_had_but_is_still_asked_for_is_not_given_up(archive: Archive, reason: str) -> None:
    """A device that was wrong once about what it holds, and was then asked to erase it."""
    device = Logger(log())
    archive.log(UID, 7).add_gaps([range(4), range(12, 15)], reason)
    archive.log(UID, 7).add_blocks(wire for seq, wire in log().items() if seq >= 4 and seq not in (12, 13, 14))
    device.blocks = log(range(4, SEQS))
    with device.running() as url:
        async with connect(url) as connected:
            info = await connected.logger_info()
            assert await unread(connected, archive, info) == [range(12, 15)]
            archive.log(UID, 7).add_gaps([range(12, 15)], GONE)
            assert await unread(connected, archive, info) == []


async def test_a_card_from_another_logger_is_told(archive: Archive) -> None:
    described = Schema(OTHER_UID, 9, "1.0", "paper", 1, (Stream(0, "door", 0, (OPEN,), timed=True),))
    ((_, payload),) = schema_blocks(described, 1024)
    header = BlockHeader(format=block_format(Kind.SCHEMA), seq=0, t0=0, boot_id=1)
    device = Logger(log() | {0: build_block(Block(header, 0, 0, payload))})
    (warning,) = (await read_out(device, archive)).warnings
    assert f"log 9 of the device {OTHER_UID.hex()}" in warning
    assert archive.log(UID, 7).held() == range(SEQS)
    assert (await read_out(device, archive)).warnings == []


async def test_what_rotted_in_the_columns_beside_a_block_is_mended(archive: Archive, tmp_path: Path) -> None:
    device = Logger(log())
    await read_out(device, archive)
    with closing(sqlite3.connect(tmp_path / "archive" / "archive.sqlite")) as database:
        database.execute("UPDATE blocks SET crc = 5, data = zeroblob(60) WHERE seq = 3")
        database.execute("UPDATE blocks SET crc = 6 WHERE seq = 9")
        database.execute("UPDATE blocks SET boot_id = 77 WHERE seq = 12")
        database.commit()
    assert len(archive.log(UID, 7).verify()[1]) == 3
    result = await read_out(device, archive)
    assert (result.blocks, result.conflicts) == (3, [])
    assert archive.log(UID, 7).verify() == (SEQS, [])
