"""Two archives become one: everything of both, once, and the other one as it was."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import fieldlog.archive
from archive_data import CLIMATE, LOG_ID, UID, PaperLogger, climate
from fieldlog.archive import Archive, Log, Session
from fieldlog.archive.log import GONE, OVERWRITTEN
from fieldlog.archive.merge import Merged, merge
from fieldlog.clock_sync import Sync
from fieldlog_protocol.blocks.events import Boot
from fieldlog_protocol.errors import UsageError, VerificationError

OTHER_UID = bytes(8)


@pytest.fixture(scope="module")
def blocks() -> list[bytes]:
    logger = PaperLogger()
    logger.schema()
    logger.events((0, Boot("power", "1.2.3")))
    logger.data(CLIMATE, *climate(12_000))
    return logger.blocks


def opened(path: Path, *, writable: bool = True) -> Archive:
    return fieldlog.archive.open(path, writable=writable)


def log_of(archive: Archive) -> Log:
    return archive.log(UID, LOG_ID)


def fill(path: Path, blocks: list[bytes], *, label: str = "attic", uid: bytes = UID) -> None:
    """An archive as a pull leaves it."""
    with opened(path) as archive:
        log = archive.log(uid, LOG_ID)
        number = log.begin_pull()
        log.describe(serial="S1", label=label)
        log.add_blocks(blocks)
        log.end_pull(number, blocks=len(blocks), size=1)


def merged(into: Path, other: Path) -> Merged:
    with opened(into) as archive, opened(other, writable=False) as source:
        return merge(archive, source)


def digest(path: Path) -> str:
    with opened(path, writable=False) as archive:
        return archive.digest()


@pytest.mark.parametrize("seed", range(6))
def test_any_parts_merged_in_any_order_are_the_whole(tmp_path: Path, blocks: list[bytes], seed: int) -> None:
    rng = random.Random(seed)
    fill(tmp_path / "whole", blocks)
    parts = [tmp_path / str(number) for number in range(3)]
    for number, part in enumerate(parts):
        fill(part, [block for at, block in enumerate(blocks) if at % 3 == number or rng.random() < 0.3])
    before = [digest(part) for part in parts]
    for order in (parts, parts[::-1]):
        into = tmp_path / f"into{order[0].name}"
        for part in order:
            merged(into, part)
        assert digest(into) == digest(tmp_path / "whole"), f"seed {seed}"
        again = merged(into, order[0])
        assert (again.blocks, digest(into)) == (0, digest(tmp_path / "whole")), f"seed {seed}"
    assert [digest(part) for part in parts] == before


def test_readings_of_both_are_one_series(tmp_path: Path, blocks: list[bytes]) -> None:
    fill(tmp_path / "a", blocks[:90])
    fill(tmp_path / "b", blocks[60:])
    done = merged(tmp_path / "a", tmp_path / "b")
    (log,) = done.logs
    assert (log.is_new, log.blocks, log.conflicts, log.damaged) == (False, len(blocks) - 90, [], [])
    with opened(tmp_path / "a") as archive:
        (series,) = archive.readings()
        assert np.array_equal(series.raw[0], climate(12_000)[1])
        assert series.starts.sum() == 1


def test_a_gap_that_the_other_can_fill_is_none_any_more(tmp_path: Path, blocks: list[bytes]) -> None:
    fill(tmp_path / "a", blocks[:10] + blocks[30:])
    fill(tmp_path / "b", blocks[5:25])
    with opened(tmp_path / "a") as archive:
        log_of(archive).add_gap(10, 29, OVERWRITTEN)
    with opened(tmp_path / "b") as archive:
        log_of(archive).add_gap(25, 26, GONE)
    assert merged(tmp_path / "a", tmp_path / "b").logs[0].filled == [range(10, 25)]
    with opened(tmp_path / "a") as archive:
        log = log_of(archive)
        assert log.lost() == [range(25, 30)]
        assert log.missing(0, len(blocks)) == [range(27, 30)], (
            "what one archive knows to be gone is not asked for again"
        )


def test_what_was_learned_beside_the_blocks_comes_along(tmp_path: Path, blocks: list[bytes]) -> None:
    running = Session(3, "cellar", 1, 100, None, 7, None, 50, "")
    stopped = Session(3, "cellar", 1, 100, 900, 7, 12, 90, "stopped")
    syncs = [Sync(1, 100, 1_700_000_000_000_000, 500), Sync(1, 900, 1_700_000_100_000_000, 400)]
    for name, session, sync, label in (("a", stopped, syncs[0], "old"), ("b", running, syncs[1], "new")):
        fill(tmp_path / name, blocks[:3], label=label)
        with opened(tmp_path / name) as archive:
            log_of(archive).add_sessions([session])
            log_of(archive).add_syncs([sync])
    for into, other in (("a", "b"), ("b", "a")):
        for _ in range(2):
            merged(tmp_path / into, tmp_path / other)
        with opened(tmp_path / into) as archive:
            log = log_of(archive)
            assert log.told_sessions() == [stopped]
            assert sorted(log.taken_syncs(), key=lambda sync: sync.tick) == syncs
            assert log.info().label == "new", "the name that the later pull saw"
            assert len(log.pulls()) == 2
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_devices_that_are_new_here_are_added(tmp_path: Path, blocks: list[bytes]) -> None:
    fill(tmp_path / "a", blocks)
    fill(tmp_path / "b", blocks[:5], label="cellar", uid=OTHER_UID)
    (log,) = merged(tmp_path / "a", tmp_path / "b").logs
    assert (log.is_new, log.info.uid, log.blocks) == (True, OTHER_UID.hex(), 5)
    with opened(tmp_path / "a") as archive:
        assert [found.info().label for found in archive.logs()] == ["attic", "cellar"]


def test_same_number_other_content_is_kept_and_named(tmp_path: Path, blocks: list[bytes]) -> None:
    other = PaperLogger()
    other.schema()
    other.data(CLIMATE, *climate(3000, start_s=7))
    fill(tmp_path / "a", blocks)
    fill(tmp_path / "b", other.blocks[5:9])
    assert merged(tmp_path / "a", tmp_path / "b").logs[0].conflicts == [5, 6, 7, 8]
    assert merged(tmp_path / "a", tmp_path / "b").logs[0].conflicts == [], "told once"
    with opened(tmp_path / "a") as archive:
        assert log_of(archive).copies(5) == [blocks[5], other.blocks[5]]


def test_a_block_that_rotted_on_either_side_is_left_out_or_mended(tmp_path: Path, blocks: list[bytes]) -> None:
    for name in ("a", "b"):
        fill(tmp_path / name, blocks[:20])
    for name, seq in (("a", 7), ("b", 9)):
        with closing(sqlite3.connect(tmp_path / name / "archive.sqlite")) as database:
            database.execute("UPDATE blocks SET data = zeroblob(length(data)) WHERE seq = ?", (seq,))
            database.commit()
    (log,) = merged(tmp_path / "a", tmp_path / "b").logs
    assert len(log.damaged) == 1
    assert "block 9" in log.damaged[0]
    with opened(tmp_path / "a") as archive:
        assert log_of(archive).verify() == (20, [])


def test_an_archive_is_not_merged_into_itself(tmp_path: Path, blocks: list[bytes]) -> None:
    fill(tmp_path / "a", blocks[:3])
    (tmp_path / "alias").symlink_to(tmp_path / "a")
    with pytest.raises(UsageError, match="the archive itself"):
        merged(tmp_path / "a", tmp_path / "alias")


def test_a_newer_or_damaged_other_is_refused(tmp_path: Path, blocks: list[bytes]) -> None:
    fill(tmp_path / "a", blocks[:3])
    fill(tmp_path / "b", blocks)
    before = digest(tmp_path / "a")
    file = tmp_path / "b" / "archive.sqlite"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 999")
    with pytest.raises(UsageError, match="newer"):
        merged(tmp_path / "a", tmp_path / "b")
    file.write_bytes(b"not a database" * 1000)
    with pytest.raises(VerificationError, match="damaged or not an archive"):
        merged(tmp_path / "a", tmp_path / "b")
    assert digest(tmp_path / "a") == before


MERGE = """
import sys
import fieldlog.archive
from fieldlog.archive import log
from fieldlog.archive.merge import merge
stored = log.Log._store
def store(self, at_most):
    stored(self, at_most)
    print("stored", flush=True)
log.Log._store = store
with fieldlog.archive.open(sys.argv[1]) as archive, fieldlog.archive.open(sys.argv[2], writable=False) as other:
    merge(archive, other)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("commits", [1, 2])
def test_a_merge_that_is_killed_can_be_repeated(tmp_path: Path, blocks: list[bytes], commits: int) -> None:
    fill(tmp_path / "whole", blocks)
    fill(tmp_path / "a", blocks[:20])
    fill(tmp_path / "b", blocks[10:])
    command = [sys.executable, "-c", MERGE, str(tmp_path / "a"), str(tmp_path / "b")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(commits):
            assert child.stdout.readline() == "stored\n"
        os.kill(child.pid, signal.SIGKILL)
    merged(tmp_path / "a", tmp_path / "b")
    assert digest(tmp_path / "a") == digest(tmp_path / "whole")
