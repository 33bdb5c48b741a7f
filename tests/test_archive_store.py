"""The archive keeps what it is given, once, whatever happens in between."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fieldlog.archive
from archive_data import CLIMATE, LOG_ID, UID, PaperLogger, climate
from fieldlog.archive import Archive, ArchiveError, Log, Session, database
from fieldlog.archive.log import GONE, NOT_SENT, OVERWRITTEN
from fieldlog.archive.ranges import difference, union
from fieldlog.clock_model import Quality
from fieldlog.clock_sync import Sync
from fieldlog_protocol.blocks.block import Block, BlockHeader, Flag, build_block
from fieldlog_protocol.blocks.events import Boot, ClockSync, Mark
from fieldlog_protocol.errors import BlockError, FieldlogError, UsageError, VerificationError
from little_disk import little_disk

OTHER = bytes(reversed(UID))


@pytest.fixture(scope="module")
def blocks() -> list[bytes]:
    logger = PaperLogger()
    logger.schema()
    logger.events((0, Boot("power", "1.2.3")), (5, Mark("begun")))
    logger.data(CLIMATE, *climate(12_000))
    assert len(logger.blocks) > 140
    return logger.blocks


def opened(path: Path) -> Archive:
    return fieldlog.archive.open(path)


def log_of(archive: Archive) -> Log:
    return archive.log(UID, LOG_ID)


def counted(path: Path) -> int:
    """Blocks that another program finds in the file."""
    connection = sqlite3.connect(path / database.FILE_NAME)
    try:
        return int(connection.execute("SELECT count(*) FROM blocks").fetchone()[0])
    finally:
        connection.close()


def test_blocks_come_back_as_they_were(tmp_path: Path, blocks: list[bytes]) -> None:
    with opened(tmp_path) as archive:
        log_of(archive).add_blocks(blocks)
    with opened(tmp_path) as archive:
        stored = [build_block(block) for kind in (1, 2, 0) for block in log_of(archive).blocks(kind)]
        assert sorted(stored) == sorted(blocks)
        assert log_of(archive).held() == range(len(blocks))


def test_a_commit_every_64_blocks_and_at_the_end(tmp_path: Path, blocks: list[bytes]) -> None:
    with opened(tmp_path) as archive:
        log = log_of(archive)
        seen: list[int] = []
        for block in blocks[:130]:
            log.add_blocks([block])
            seen.append(counted(tmp_path))
        assert seen == [n // 64 * 64 for n in range(1, 131)]
    assert counted(tmp_path) == 130


def test_a_pull_that_fails_keeps_what_had_arrived(tmp_path: Path, blocks: list[bytes]) -> None:
    def lose_the_link() -> None:
        with opened(tmp_path) as archive:
            log_of(archive).add_blocks(blocks[:10])
            raise ConnectionError

    with pytest.raises(ConnectionError):
        lose_the_link()
    assert counted(tmp_path) == 10


def pull(archive: Archive, blocks: list[bytes], at_most: int | None = None) -> None:
    """What a pull does: describe, find what is missing, add it in order; cut short after `at_most` blocks."""
    log = log_of(archive)
    log.describe(serial="S1", label="attic")
    wanted = [seq for part in log.missing(0, len(blocks) + 5, [3]) for seq in part if seq < len(blocks)]
    for seq in wanted[:at_most]:
        log.add_blocks([blocks[seq]])
    if at_most is None or at_most >= len(wanted):
        log.add_gap(len(blocks), len(blocks) + 4, "never written")
        log.add_sessions([Session(1, "run", 1, 0, None, 0, None, 12_000, "")])


@pytest.mark.parametrize("seed", range(8))
def test_any_interrupted_pull_repeated_gives_the_same_archive(tmp_path: Path, blocks: list[bytes], seed: int) -> None:
    rng = random.Random(seed)
    with opened(tmp_path / "whole") as archive:
        pull(archive, blocks)
        whole = archive.digest()
    for _ in range(rng.randint(1, 4)):
        with opened(tmp_path / "torn") as archive:
            pull(archive, blocks, rng.randint(0, len(blocks)))
    with opened(tmp_path / "torn") as archive:
        pull(archive, blocks)
        pull(archive, blocks)
        assert archive.digest() == whole, f"seed {seed}"
        assert log_of(archive).repeated == 0


def test_the_digest_sees_a_difference(tmp_path: Path, blocks: list[bytes]) -> None:
    digests: set[str] = set()
    for name, kept in (("all", blocks), ("fewer", blocks[1:]), ("none", [])):
        with opened(tmp_path / name) as archive:
            log_of(archive).add_blocks(kept)
            digests.add(archive.digest())
            log_of(archive).add_gap(900, 901)
            digests.add(archive.digest())
    assert len(digests) == 6


KILLED = """
import sys, time
import fieldlog.archive
blocks = open(sys.argv[2], "rb").read()
with fieldlog.archive.open(sys.argv[1]) as archive:
    log = archive.log(bytes.fromhex(sys.argv[3]), int(sys.argv[4]))
    for n, line in enumerate(blocks.split(b"\\n")[:-1]):
        log.add_blocks([bytes.fromhex(line.decode())])
        print(n, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_pull_leaves_whole_commits(tmp_path: Path, blocks: list[bytes]) -> None:
    (tmp_path / "hex").write_text("".join(block.hex() + "\n" for block in blocks))
    arguments = [str(tmp_path), str(tmp_path / "hex"), UID.hex(), str(LOG_ID)]
    with subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= 100:
                os.kill(child.pid, signal.SIGKILL)
                break
    with opened(tmp_path) as archive:
        held = len(log_of(archive).held())
        assert held >= 64
        assert held % 64 == 0 or held == len(blocks)
        pull(archive, blocks)
        assert log_of(archive).missing(0, len(blocks)) == []


def test_blocks_that_come_slowly_are_stored_by_time(tmp_path: Path, blocks: list[bytes]) -> None:
    now_us = [0]
    with fieldlog.archive.open(tmp_path, clock=lambda: now_us[0]) as archive:
        log = log_of(archive)
        for index, block in enumerate(blocks[:20]):
            now_us[0] = index * 1_000_000  # 9600 baud
            log.add_blocks([block])
            log.add_blocks([])
            assert counted(tmp_path) >= index - 2
        now_us[0] += 10_000_000
        log.add_blocks(blocks[20:23], received_us=0)  # of another archive: nobody waits for these
        assert counted(tmp_path) == 20


def test_two_programs_pull_into_one_archive_at_once(tmp_path: Path, blocks: list[bytes]) -> None:
    (tmp_path / "hex").write_text("".join(block.hex() + "\n" for block in blocks))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), str(tmp_path / "hex"), uid.hex(), str(LOG_ID)],
            stdout=subprocess.DEVNULL,
        )
        for uid in (UID, UID, bytes(8))
    ]
    assert [child.wait() for child in children] == [0, 0, 0]
    with opened(tmp_path) as archive:
        for uid in (UID, bytes(8)):
            assert archive.log(uid, LOG_ID).absent(0, len(blocks)) == []
            assert archive.log(uid, LOG_ID).conflicting() == []
    assert counted(tmp_path) == 2 * len(blocks)


def test_a_damaged_block_is_refused_and_nothing_of_the_call_is_taken(tmp_path: Path, blocks: list[bytes]) -> None:
    damaged = bytearray(blocks[5])
    damaged[40] ^= 1
    with opened(tmp_path) as archive:
        with pytest.raises(BlockError, match="damaged"):
            log_of(archive).add_blocks([blocks[4], bytes(damaged)])
        assert log_of(archive).held() == range(0)


@pytest.mark.parametrize(("uid", "log_id"), [(b"", 7), (bytes(65), 7), (UID, -1), (UID, 1 << 32)])
def test_a_log_that_cannot_be_told_from_others_is_refused(tmp_path: Path, uid: bytes, log_id: int) -> None:
    with fieldlog.archive.open(tmp_path) as archive:
        with pytest.raises(UsageError, match=r"a uid has 1 to 64 bytes.*Nothing was stored"):
            archive.log(uid, log_id)
        assert archive.logs() == []


def test_the_same_seq_with_other_content_is_kept_beside_and_reported(tmp_path: Path, blocks: list[bytes]) -> None:
    other = PaperLogger()
    other.schema()
    other.data(CLIMATE, *climate(3000, start_s=7))
    with opened(tmp_path) as archive:
        log = log_of(archive)
        log.add_blocks(blocks)
        log.add_blocks(other.blocks[10:13])
        log.flush()
        assert log.conflicts == {10, 11, 12}
        assert log.conflicting() == [10, 11, 12]
        assert log.stored == len(blocks) + 3
        readings = archive.readings()
        assert len(next(iter(readings))) == 12_000
        assert "two devices or two logs" in readings.problems[0]


ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda p: range(p[0], p[0] + p[1])))


def elements(parts: list[range]) -> set[int]:
    return {n for part in parts for n in part}


@given(ranges, ranges)
def test_range_arithmetic_is_that_of_sets(some: list[range], others: list[range]) -> None:
    assert elements(union(some)) == elements(some)
    left = difference(some, others)
    assert elements(left) == elements(some) - elements(others)
    assert all(a.stop < b.start for a, b in pairwise(left))
    assert all(len(part) for part in left)


@settings(max_examples=25, deadline=None)
@given(
    held=st.sets(st.integers(0, 80)),
    gaps=ranges,
    open_seqs=st.sets(st.integers(0, 90), max_size=4),
    asked=st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda p: range(p[0], p[0] + p[1])),
)
def test_missing_is_what_is_neither_held_nor_gone_nor_open(
    tmp_path_factory: pytest.TempPathFactory,
    held: set[int],
    gaps: list[range],
    open_seqs: set[int],
    asked: range,
) -> None:
    with opened(tmp_path_factory.mktemp("archive")) as archive:
        log = log_of(archive)
        for gap in gaps:
            if gap:
                log.add_gap(gap.start, gap.stop - 1)
        log.add_blocks(build_block(Block(BlockHeader(seq=seq, t0=0, boot_id=1), 1, 0, b"x")) for seq in held)
        answer = log.missing(asked.start, asked.stop, open_seqs)
        assert elements(answer) == set(asked) - held - elements(gaps) - open_seqs
        assert elements(log.lost()) == elements(gaps) - held


def test_a_gap_found_twice_is_one_gap_and_shrinks_when_blocks_turn_up(tmp_path: Path, blocks: list[bytes]) -> None:
    with opened(tmp_path) as archive:
        log = log_of(archive)
        assert log.add_gap(10, 19) == [range(10, 20)]
        assert log.add_gap(10, 19) == []
        assert log.add_gap(5, 24) == [range(5, 10), range(20, 25)]
        assert log.lost() == [range(5, 25)]
        log.add_blocks(blocks[12:14])
        assert log.lost() == [range(5, 12), range(14, 25)]
        with pytest.raises(UsageError, match="ends before"):
            log.add_gap(3, 2)


@given(found=st.lists(st.tuples(ranges, st.sampled_from([GONE, NOT_SENT, OVERWRITTEN])), max_size=5))
def test_each_seq_that_is_lost_stands_in_one_gap_with_the_reason_found_last(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[list[range], str]]
) -> None:
    with opened(tmp_path_factory.mktemp("archive")) as archive:
        log = log_of(archive)
        wanted: dict[int, str] = {}
        for parts, reason in found:
            log.add_gaps(parts, reason)
            wanted |= dict.fromkeys(elements(parts), reason)
        told = [(seq, gap.reason) for gap in log.gaps() for seq in range(gap.first_seq, gap.last_seq + 1)]
        assert sorted(told) == sorted(wanted.items())


def test_sessions_syncs_names_and_pulls_are_kept_and_repeating_them_changes_nothing(tmp_path: Path) -> None:
    running = Session(3, "cellar", 1, 100, None, 7, None, 50, "")
    stopped = Session(3, "cellar", 1, 100, 900, 7, 12, 90, "stopped")
    sync = Sync(1, 100, 1_700_000_000_000_000, 500)
    with fieldlog.archive.open(tmp_path, clock=lambda: 42) as archive:
        log = log_of(archive)
        for _ in range(2):
            log.add_sessions([running])
            log.add_syncs([sync])
            log.describe(serial="S1", label="cellar", product="P", firmware="1")
            log.describe(firmware="2")
        log.add_sessions([stopped])
        first = log.begin_pull()
        log.begin_pull()
        log.end_pull(first, blocks=5, size=500)
        assert log.sessions() == [stopped]
        assert log.syncs() == [sync]
        assert [pull.outcome for pull in log.pulls()] == ["complete", "interrupted"]
        info = log.info()
        assert (info.uid, info.serial, info.firmware, info.first_seen_us) == (UID.hex(), "S1", "2", 42)


def test_events_and_the_syncs_among_them_are_read_from_the_blocks(tmp_path: Path) -> None:
    logger = PaperLogger(boot_id=9)
    logger.events((5, Boot("brownout", "1.0")), (9, ClockSync(9, 1_700_000_000_000_000, 250, "phone")))
    logger.events((10, ClockSync(2**70, 1, 1, "nonsense")), (11, Mark("\x1b[2J")))
    with opened(tmp_path) as archive:
        log = log_of(archive)
        log.add_blocks(logger.blocks)
        assert [(event.seq, event.boot_id, event.tick) for event in log.events()] == [
            (0, 9, 5),
            (0, 9, 9),
            (1, 9, 10),
            (1, 9, 11),
        ]
        assert log.syncs() == [Sync(9, 9, 1_700_000_000_000_000, 250, "phone")]


# -- files that are not, or cannot be, used ---------------------------------------------------------------------


def test_an_archive_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    opened(tmp_path).close()
    file = tmp_path / database.FILE_NAME
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA user_version = {database.VERSION + 1}")
    connection.close()
    before = file.read_bytes()
    for writable in (True, False):
        with pytest.raises(UsageError, match="newer fieldlog"):
            fieldlog.archive.open(tmp_path, writable=writable)
    assert file.read_bytes() == before


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "archive.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(VerificationError, match="another program"):
        opened(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("writable", [True, False])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, writable: bool) -> None:
    file = tmp_path / "archive.sqlite"
    file.write_bytes(b"time,temperature\n" * 1000)
    with pytest.raises(VerificationError, match="damaged or not an archive"):
        fieldlog.archive.open(file, writable=writable)
    assert file.read_bytes() == b"time,temperature\n" * 1000


def test_a_damaged_archive_is_reported_in_words(tmp_path: Path, blocks: list[bytes]) -> None:
    with opened(tmp_path) as archive:
        log_of(archive).add_blocks(blocks)
    file = tmp_path / database.FILE_NAME
    content = bytearray(file.read_bytes())
    content[4096:40_000] = bytes(40_000 - 4096)
    file.write_bytes(content)
    with pytest.raises(VerificationError, match="damaged"), opened(tmp_path) as archive:
        archive.digest()


def test_reading_an_archive_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no archive"):
        fieldlog.archive.open(tmp_path / "new", writable=False)
    assert list(tmp_path.iterdir()) == []


def as_in_a_read_only_place(source: Path, target: Path) -> None:
    """A copy of an archive, as it stands, where SQLite can make no index of its write-ahead log, not even for root."""
    target.mkdir()
    for name in (database.FILE_NAME, f"{database.FILE_NAME}-wal"):
        if (source / name).exists():
            shutil.copy(source / name, target)
    (target / f"{database.FILE_NAME}-shm").symlink_to("nowhere/at/all")


@pytest.mark.parametrize("stored_before", [0, 64], ids=["all", "the last"])
def test_what_a_killed_program_left_in_the_log_of_a_read_only_place_is_not_passed_over(
    tmp_path: Path, blocks: list[bytes], stored_before: int
) -> None:
    if stored_before:
        with opened(tmp_path / "live") as archive:
            log_of(archive).add_blocks(blocks[:stored_before])
    with opened(tmp_path / "live") as archive:
        log_of(archive).add_blocks(blocks[64:128])
        as_in_a_read_only_place(tmp_path / "live", tmp_path / "left")
    with pytest.raises(ArchiveError, match=r"broken off.*archive\.sqlite-wal.*copy both files"):
        fieldlog.archive.open(tmp_path / "left", writable=False)
    (tmp_path / "left" / f"{database.FILE_NAME}-shm").unlink()  # as in a folder that may be written to
    with fieldlog.archive.open(tmp_path / "left", writable=False) as archive:
        assert log_of(archive).count() == stored_before + 64


def test_a_whole_archive_is_read_in_a_read_only_place(tmp_path: Path, blocks: list[bytes]) -> None:
    with opened(tmp_path / "live") as archive:
        log_of(archive).add_blocks(blocks)
    as_in_a_read_only_place(tmp_path / "live", tmp_path / "left")
    with fieldlog.archive.open(tmp_path / "left", writable=False) as archive:
        assert log_of(archive).count() == len(blocks)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="cannot be made"):
        opened(tmp_path / "file" / "archive")


def test_a_full_disk_loses_nothing_and_can_be_gone_on_from(tmp_path: Path, blocks: list[bytes]) -> None:
    with opened(tmp_path) as archive:
        log = log_of(archive)
        log.add_blocks(blocks[:64])
        pages = archive._db.execute("PRAGMA page_count").fetchone()[0]
        archive._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(ArchiveError, match="disk is full") as caught:
            log.add_blocks(blocks[64:])
        assert "still where it came from: free some space and repeat" in str(caught.value), "a merge and an import too"
        assert counted(tmp_path) == 64
        archive._db.execute("PRAGMA max_page_count = 1000000")
        assert log.absent(0, len(blocks)) == []


@pytest.mark.parametrize("room", [0, 1, 512, 4096, 16384, 65536])
@pytest.mark.parametrize("is_new", [True, False])
def test_wherever_a_file_may_not_grow_the_disk_takes_no_more(
    tmp_path: Path, blocks: list[bytes], room: int, *, is_new: bool
) -> None:
    if not is_new:
        with opened(tmp_path) as archive:
            log_of(archive).add_blocks(blocks[:64])

    def add() -> None:
        with opened(tmp_path) as archive:
            log_of(archive).add_blocks(blocks)

    with little_disk(room), pytest.raises(ArchiveError, match=r"takes no more: it is full.*make room and repeat this"):
        add()
    add()
    assert counted(tmp_path) == len(blocks)


def test_an_archive_that_another_program_holds_is_one_sentence(
    tmp_path: Path, blocks: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    with opened(tmp_path) as archive:
        log = log_of(archive)
        holder = sqlite3.connect(tmp_path / database.FILE_NAME, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        log.add_blocks(blocks[:3])
        with pytest.raises(ArchiveError, match="Another program"):
            log.flush()
        with fieldlog.archive.open(tmp_path, writable=False) as reader:
            assert len(reader.logs()) == 1
        holder.execute("ROLLBACK")
        holder.close()
    assert counted(tmp_path) == 3


def test_writing_to_an_archive_opened_for_reading_is_one_sentence(tmp_path: Path, blocks: list[bytes]) -> None:
    opened(tmp_path).close()
    with (
        pytest.raises(ArchiveError, match="may not be written"),
        fieldlog.archive.open(tmp_path, writable=False) as archive,
    ):
        log_of(archive).add_blocks(blocks[:1])


def test_an_error_while_leaving_does_not_hide_the_first(tmp_path: Path, blocks: list[bytes]) -> None:
    def fail_twice() -> None:
        with opened(tmp_path) as archive:
            log_of(archive).add_blocks(blocks[:1])
            archive._db.execute("PRAGMA query_only = 1")
            raise FieldlogError("first")

    with pytest.raises(FieldlogError, match="first"):
        fail_twice()


def test_pulling_needs_no_numpy() -> None:
    code = "import sys, fieldlog.archive; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_gap_flag_is_what_the_paper_logger_says() -> None:
    """The helper of these tests marks a step in time as a device does."""
    logger = PaperLogger()
    ticks, *columns = climate(20)
    ticks[10:] += 100_000
    logger.data(CLIMATE, ticks, *columns)
    assert len(logger.blocks) == 2
    assert logger.blocks[1][27] == Flag.GAP


@pytest.mark.parametrize(
    ("serials", "names"),
    [
        (("S1", "S2"), ["hut S1", "hut S2"]),
        (("S1", "S1"), [f"hut {UID.hex()}", f"hut {OTHER.hex()}"]),
        (("S1", ""), [f"hut {UID.hex()}", f"hut {OTHER.hex()}"]),
    ],
)
def test_devices_of_one_name_are_told_apart(tmp_path: Path, serials: tuple[str, str], names: list[str]) -> None:
    with fieldlog.archive.open(tmp_path) as archive:
        for uid, serial in zip((UID, OTHER), serials, strict=True):
            for log_id in (1, 2):
                archive.log(uid, log_id).describe(label="hut", serial=serial)
        assert [source.info.name for source in archive.sources()] == [name for name in names for _ in range(2)]
        assert {source.info.name for source in archive.readings(UID.hex()).sources} == {"hut"}
        both = archive.readings(names)
        assert list(dict.fromkeys(source.info.uid for source in both.sources)) == [UID.hex(), OTHER.hex()]
        with pytest.raises(UsageError, match="fits 2 devices"):
            archive.readings("hut")


def test_what_a_device_believed_is_asked_for_once_however_often_it_restarted(tmp_path: Path) -> None:
    asked: dict[int, int] = {}
    for boots in (2, 40):
        logger = PaperLogger()
        logger.schema()
        for boot in range(1, boots + 1):
            logger.boot_id, logger.utc = boot, 1_700_000_000 + 100 * boot
            logger.data(CLIMATE, *climate(3))
        with fieldlog.archive.open(tmp_path / str(boots)) as archive:
            archive.log(UID, LOG_ID).add_blocks(logger.blocks)
            (source,) = archive.readings().sources
            statements: list[str] = []
            archive._db.set_trace_callback(statements.append)
            assert source.clock.utc(boots, np.array([0])).quality[0] == Quality.RTC
            archive._db.set_trace_callback(None)
        asked[boots] = sum("FROM blocks" in statement for statement in statements)
    assert asked[2] == asked[40]
