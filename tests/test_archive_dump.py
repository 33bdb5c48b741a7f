"""A dump of a logger's memory gives the readings that the logger itself would have given."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

import fieldlog.archive
from archive_data import CLIMATE, DOOR, LOG_ID, UID, PaperLogger, climate
from fieldlog.archive.dump import Imported, import_dump
from fieldlog.archive.merge import merge
from fieldlog_protocol.blocks import cbor
from fieldlog_protocol.blocks.block import (
    TICK_HZ,
    Block,
    BlockHeader,
    Encoding,
    Kind,
    block_format,
    build_block,
    pad,
    parse_block,
)
from fieldlog_protocol.blocks.encoder import BlockEncoder
from fieldlog_protocol.blocks.events import Boot, SessionStart, SessionStop
from fieldlog_protocol.blocks.salvage import Salvage
from fieldlog_protocol.blocks.schema import Stream, parse_schema_part
from fieldlog_protocol.errors import UsageError, VerificationError

OTHER = (bytes(range(8)), 7)


def recorded(readings: int = 9000, block_size: int = 1024, start_s: int = 0) -> PaperLogger:
    """A log with descriptions every 64 blocks, as devices write them."""
    logger = PaperLogger(block_size=block_size)
    logger.schema()
    logger.events((0, Boot("power", "1.2.3")), (0, SessionStart(1, "attic")))
    for part in range(0, readings, 1500):
        logger.data(CLIMATE, *climate(min(1500, readings - part), start_s=start_s + part))
        logger.schema()
    logger.data(DOOR, [50, 60], [1, 0])
    logger.events((9_999_999, SessionStop(1, "stopped")))
    return logger


def of(identity: tuple[bytes, int], blocks: list[bytes]) -> list[bytes]:
    """The same blocks, as another device would have written them."""
    return [build_block(_renamed(parse_block(wire), *identity)) for wire in blocks]


def _renamed(block: Block, uid: bytes, log_id: int) -> Block:
    if block.header.kind != Kind.SCHEMA:
        return block
    part = msgspec.structs.replace(parse_schema_part(block.payload), uid=uid, log_id=log_id)
    return Block(block.header, block.n_frames, block.span, cbor.dumps(part))


SMALL = recorded(block_size=256).blocks
SMALL_LATER = recorded(8000, block_size=256, start_s=90_000).blocks


def ring(blocks: list[bytes], block_size: int, turn: int, room: int = 8) -> bytes:
    """The blocks in a flash that began again from its start after block `turn`, with an erased sector between."""
    pages = [pad(block, block_size) for block in blocks]
    return b"".join([*pages[turn:], b"\xff" * room * block_size, *pages[:turn]])


def imported(folder: Path, dump: bytes, block_size: int | None = None) -> Imported:
    file = folder.with_suffix(".bin")
    file.write_bytes(dump)
    with fieldlog.archive.open(folder) as archive:
        return import_dump(archive, file, block_size=block_size)


def pulled(folder: Path, *logs: tuple[tuple[bytes, int], list[bytes]]) -> Path:
    """The archive as a pull of these logs leaves it."""
    with fieldlog.archive.open(folder) as archive:
        for identity, blocks in logs:
            archive.log(*identity).add_blocks(blocks)
            archive.log(*identity).describe(product="paper", firmware="1.2.3")
    return folder


def digest(folder: Path) -> str:
    with fieldlog.archive.open(folder, writable=False) as archive:
        return archive.digest()


@pytest.mark.parametrize("block_size", [256, 1024, 4096])
@pytest.mark.parametrize("piece", [1 << 20, 5000])
def test_whatever_surrounds_them_the_blocks_are_found(
    tmp_path: Path, block_size: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldlog.archive.dump._PIECE", piece)
    blocks = recorded(block_size=block_size).blocks
    expected = digest(pulled(tmp_path / "pulled", ((UID, LOG_ID), blocks)))
    noise = random.Random(block_size).randbytes(70_001)
    image = ring(blocks, block_size, turn=len(blocks) // 3)
    dumps = {"image": image, "wire": b"".join(blocks), "within": noise + image + b"LB" * 40 + b"\xff" * 5000 + noise}
    for name, dump in dumps.items():
        done = imported(tmp_path / name, dump)
        assert digest(tmp_path / name) == expected, name
        assert (done.logs[0].blocks, done.logs[0].missing, done.torn) == (len(blocks), [], 0)
        assert set(done.page_sizes) <= {0, block_size}
    assert done.erased >= 5000 + 8 * block_size


def test_a_dump_that_is_still_being_written_is_read_as_it_was(tmp_path: Path) -> None:
    """As fast as it grows, it is never at its end."""
    dump = b"".join(recorded().blocks)
    file = tmp_path / "flash.bin"
    file.write_bytes(dump)

    def grow(done: int, total: int) -> None:
        assert done <= total == 2 * len(dump)
        with file.open("ab") as growing:
            growing.write(bytes(2 << 20))

    with fieldlog.archive.open(tmp_path / "a") as archive:
        done = import_dump(archive, file, progress=grow)
    assert (done.size, done.logs[0].blocks) == (len(dump), len(recorded().blocks))


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    dump = ring(recorded().blocks, 1024, turn=20)
    imported(tmp_path / "a", dump)
    before = digest(tmp_path / "a")
    assert imported(tmp_path / "a", dump).logs[0].stored == 0
    assert digest(tmp_path / "a") == before


def test_torn_and_stale_pages_are_counted_and_left_out(tmp_path: Path) -> None:
    blocks = recorded().blocks
    pages = [pad(block, 1024) for block in blocks]
    pages[5] = pages[5][:500] + b"\xff" * 524  # torn: the trailer was never written
    pages[6] = pages[6][:400] + pages[9][400:]  # stale: a beginning and an end that never belonged together
    pages[7] = bytes(1024)
    done = imported(tmp_path / "a", b"".join(pages))
    assert done.torn == 2
    assert done.logs[0].missing == [range(5, 8)]
    assert done.logs[0].blocks == len(blocks) - 3


@pytest.mark.parametrize("at", [4, 9, 20, 31])
def test_a_page_whose_header_is_damaged_is_counted_too(tmp_path: Path, at: int) -> None:
    """Its CRC-16 does not hold; what is no log is not counted, even where it has a magic in it."""
    blocks = recorded().blocks
    pages = [pad(block, 1024) for block in blocks]
    pages[5] = pages[5][:at] + bytes((pages[5][at] ^ 4,)) + pages[5][at + 1 :]
    other = (b"LB" * 512 + pages[3][:2] + bytes(1022)) * 4
    done = imported(tmp_path / "a", b"\0" * 77 + b"".join(pages) + other)
    assert (done.torn, done.logs[0].missing, done.logs[0].blocks) == (1, [range(5, 6)], len(blocks) - 1)


def test_only_pages_of_the_size_that_was_named(tmp_path: Path) -> None:
    dump = ring(recorded().blocks, 1024, turn=3)
    assert imported(tmp_path / "a", dump, block_size=1024).logs[0].missing == []
    with pytest.raises(VerificationError, match="no whole log block in pages of 512 bytes"):
        imported(tmp_path / "b", dump, block_size=512)


@pytest.mark.parametrize("seed", range(12))
def test_several_logs_in_one_dump_are_told_apart(tmp_path: Path, seed: int) -> None:
    """Rings that began again and lost their oldest blocks, some of them torn, one behind the other."""
    rng = random.Random(seed)
    truth = {
        (UID, LOG_ID): SMALL,
        OTHER: of(OTHER, SMALL_LATER),
        (UID, 8): of((UID, 8), SMALL_LATER[: len(SMALL) * 2 // 3]),
    }
    kept: dict[tuple[bytes, int], list[bytes]] = {}
    dump = b""
    for identity, blocks in truth.items():
        held = [block for block in blocks[rng.randrange(80) :] if rng.random() > 0.02]
        kept[identity] = held
        dump += ring(held, 256, rng.randrange(len(held)), room=rng.randrange(3))
    done = imported(tmp_path / "a", dump)
    with fieldlog.archive.open(tmp_path / "a") as archive:
        for identity, blocks in kept.items():
            log = archive.log(*identity)
            stored = [data for *_, data in log.stored_blocks()]
            assert set(stored) <= set(blocks), f"seed {seed}: a block of another log"
            assert len(stored) >= len(blocks) - 128, f"seed {seed}"
    assert done.strangers + sum(log.blocks for log in done.logs) == sum(map(len, kept.values()))
    assert done.strangers <= 64 * len(kept), f"seed {seed}"


def in_turns(step: int, *logs: list[bytes]) -> list[bytes]:
    """The pages of several logs, so many of each by turns."""
    longest = max(map(len, logs))
    return [wire for at in range(0, longest, step) for blocks in logs for wire in blocks[at : at + step]]


@pytest.mark.parametrize("other", [OTHER, (UID, 8)], ids=["other uid", "other log"])
@pytest.mark.parametrize("step", [1, 2, 16, 32])
def test_pages_of_two_logs_by_turns_are_never_taken_for_the_others(
    tmp_path: Path, step: int, other: tuple[bytes, int]
) -> None:
    theirs = of(other, SMALL_LATER)
    for ahead in (0, 1, 5, 10, 37, 60, 100):
        truth = {(UID, LOG_ID): SMALL, other: theirs[ahead:]}
        dump = in_turns(step, *truth.values())
        done = imported(tmp_path / f"{ahead}", b"".join(pad(wire, 256) for wire in dump))
        with fieldlog.archive.open(tmp_path / f"{ahead}") as archive:
            for identity, blocks in truth.items():
                stored = [data for *_, data in archive.log(*identity).stored_blocks()]
                assert set(stored) <= set(blocks), f"{ahead} ahead: a block of another log"
        assert done.strangers + sum(log.blocks for log in done.logs) == len(dump)


def test_blocks_that_nothing_says_the_log_of_are_never_guessed(tmp_path: Path) -> None:
    mine, theirs = SMALL, of(OTHER, SMALL_LATER)
    data = [parse_block(wire) for wire in mine[5:9]]
    late = [_numbered(block, 50_000 + number) for number, block in enumerate(data)]
    dump = ring(mine, 256, 0) + b"".join(pad(wire, 256) for wire in late) + ring(theirs, 256, 0)
    done = imported(tmp_path / "a", dump)
    assert done.strangers == len(late)
    assert sum(log.blocks for log in done.logs) == len(mine) + len(theirs)


def _numbered(block: Block, seq: int) -> bytes:
    return build_block(replace(block, header=replace(block.header, seq=seq)))


def test_without_any_description_the_archive_may_know_them(tmp_path: Path) -> None:
    blocks = recorded().blocks
    data = [wire for wire in blocks if wire[2] & 15 == Kind.DATA]
    with pytest.raises(VerificationError, match="no description"):
        imported(tmp_path / "a", b"".join(data))
    pulled(tmp_path / "a", ((UID, LOG_ID), blocks[::2]))
    done = imported(tmp_path / "a", b"".join(data))
    assert (done.logs[0].info.uid, done.logs[0].blocks) == (UID.hex(), len(data))


@pytest.mark.parametrize(
    "dump", [b"", b"\xff" * 100_000, random.Random(1).randbytes(100_000)], ids=["0", "ff", "noise"]
)
def test_a_dump_with_nothing_in_it_is_one_sentence(tmp_path: Path, dump: bytes) -> None:
    with pytest.raises(VerificationError, match="no whole log block") as caught:
        imported(tmp_path / "a", dump)
    assert "Nothing was imported" in str(caught.value)
    with fieldlog.archive.open(tmp_path / "a") as archive:
        assert archive.logs() == []


def test_a_dump_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with fieldlog.archive.open(tmp_path / "a") as archive, pytest.raises(UsageError, match="there is no file"):
        import_dump(archive, tmp_path / "nowhere")


def test_other_content_than_the_archive_holds_is_kept_beside_and_named(tmp_path: Path) -> None:
    pulled(tmp_path / "a", ((UID, LOG_ID), recorded().blocks))
    changed = recorded(start_s=5).blocks
    done = imported(tmp_path / "a", ring(changed, 1024, turn=4))
    assert done.logs[0].conflicts
    with fieldlog.archive.open(tmp_path / "a") as archive:
        assert sorted(archive.logs()[0].conflicting()) == done.logs[0].conflicts


def test_the_log_tells_its_sessions_where_no_device_can(tmp_path: Path) -> None:
    imported(tmp_path / "a", ring(recorded().blocks, 1024, turn=9))
    with fieldlog.archive.open(tmp_path / "a") as archive:
        (session,) = archive.logs()[0].sessions()
        assert (session.id, session.label, session.reason) == (1, "attic", "stopped")
        assert (session.frames, session.stop_tick) == (9002, 9_999_999)
        series = list(archive.readings(session="attic"))
        assert np.array_equal(
            series[0].raw[0], np.concatenate([climate(1500, start_s=s)[1] for s in range(0, 9000, 1500)])
        )


def named(folder: Path, dump: bytes, name: str) -> str:
    folder.mkdir(exist_ok=True)
    file = folder / "dump.bin"
    file.write_bytes(dump)
    with fieldlog.archive.open(folder) as archive:
        (log,) = import_dump(archive, file, name=name).logs
    return log.info.name


def test_a_logger_that_nobody_has_pulled_can_be_given_its_name(tmp_path: Path) -> None:
    dump = b"".join(recorded().blocks)
    assert named(tmp_path, dump, "") == UID.hex()
    assert named(tmp_path, dump, "Cave") == "Cave"
    assert named(tmp_path, dump, "") == "Cave"
    assert named(tmp_path, dump, " Grotto ") == "Grotto"


def broken_off(folder: Path, dump: Path, name: str) -> None:
    """An import that is interrupted while it stores what it found."""

    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), fieldlog.archive.open(folder) as archive:
        import_dump(archive, dump, name=name, progress=interrupt)


def test_an_import_that_was_broken_off_is_no_pull_that_could_have_told_a_name(tmp_path: Path) -> None:
    file = tmp_path / "dump.bin"
    file.write_bytes(b"".join(recorded().blocks))
    assert named(tmp_path / "b", file.read_bytes(), "Cellar") == "Cellar"
    for folder, name in (("a", "Cave"), ("b", "Grotto")):
        broken_off(tmp_path / folder, file, name)
        assert named(tmp_path / folder, file.read_bytes(), name) == name
    with fieldlog.archive.open(tmp_path / "told") as archive:
        log = archive.log(UID, LOG_ID)
        log.end_pull(log.begin_pull(), blocks=0, size=0)
        log.describe(label="its own")
    broken_off(tmp_path / "a", file, "Cave")
    for into, other in (("told", "a"), ("a", "told")):
        with fieldlog.archive.open(tmp_path / into) as archive, fieldlog.archive.open(tmp_path / other) as source:
            merge(archive, source)
            assert archive.log(UID, LOG_ID).info().label == "its own", "the device's own word"


def test_an_archive_in_which_an_older_version_noted_such_an_import_takes_the_name(tmp_path: Path) -> None:
    with fieldlog.archive.open(tmp_path) as archive:
        archive.log(UID, LOG_ID).begin_pull()
    assert named(tmp_path, b"".join(recorded().blocks), "Cave") == "Cave"


@pytest.mark.parametrize("name", ["  ", "Ca\x1bve"])
def test_what_nobody_could_read_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name"):
        named(tmp_path, b"".join(recorded().blocks), name)


def test_what_a_logger_is_called_by_itself_stays(tmp_path: Path) -> None:
    blocks = recorded().blocks
    with fieldlog.archive.open(tmp_path) as archive:
        log = archive.log(UID, LOG_ID)
        log.end_pull(log.begin_pull(), blocks=0, size=0)
        log.describe(label="its own")
    assert named(tmp_path, b"".join(blocks), "Cave") == "its own"


def test_several_loggers_cannot_have_one_name(tmp_path: Path) -> None:
    other = of((bytes(16), 7), recorded(start_s=9).blocks)
    file = tmp_path / "dump.bin"
    file.write_bytes(b"".join([*recorded().blocks, *other]))
    with fieldlog.archive.open(tmp_path) as archive, pytest.raises(UsageError, match="2 loggers"):
        import_dump(archive, file, name="Cave")


def test_memory_does_not_grow_with_the_dump() -> None:
    blocks = b"".join(pad(block, 1024) for block in recorded(3000).blocks)
    piece = (blocks + bytes(1 << 20))[: 1 << 20]
    salvage = Salvage()
    tracemalloc.start()
    peaks: list[int] = []
    for _ in range(12):
        sum(len(wire) for _, wire in salvage.feed(piece))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()
    tracemalloc.stop()
    assert peaks[-1] < 1.1 * peaks[2] < 8 << 20


def slow_page(seq: int, frames: int, sealed: bool) -> tuple[bytes, bytes]:
    """The page of a slow stream's block that is filled frame by frame, and the block that it is or will be."""
    slow = Stream(2, "slow", 60_000_000, CLIMATE.channels)
    encoder = BlockEncoder(slow, 1024, encoding=Encoding.RAWC)
    for number in range(frames):
        assert encoder.push(number * 60 * TICK_HZ, (2000 + number, 400))
    block = encoder.seal(BlockHeader(seq=seq, t0=0, boot_id=1, session=1, format=block_format(Kind.DATA)))
    wire = build_block(block)
    page = pad(wire, 1024)
    return page if sealed else page[:-16] + b"\xff" * 16, wire


@pytest.mark.parametrize("torn_trailer", [False, True])
def test_a_block_that_power_left_unsealed_is_read_as_far_as_it_goes(tmp_path: Path, torn_trailer: bool) -> None:
    blocks = recorded().blocks
    page, wire = slow_page(len(blocks), 5, sealed=False)
    if torn_trailer:
        page = page[:-16] + wire[-16:-9] + b"\xff" * 9
    begun, _ = slow_page(len(blocks) + 1, 3, sealed=False)
    begun = begun[:-985] + b"\xff" * 985  # cut in its first frame
    rotten = bytearray(slow_page(len(blocks) + 2, 9, sealed=True)[0])
    rotten[70] ^= 1
    done = imported(tmp_path / "a", ring(blocks, 1024, 5) + page + begun + bytes(rotten))
    assert (done.recovered, done.torn) == (1, 2)
    with fieldlog.archive.open(tmp_path / "a") as archive:
        assert archive.logs()[0].copies(len(blocks)) == [wire]
