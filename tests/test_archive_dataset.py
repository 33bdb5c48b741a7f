"""The Parquet files show what the blocks say, open as they are elsewhere, and only what changed is written again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import fieldlog.archive
from archive_data import CLIMATE, DOOR, HOUR, LOG_ID, NEW_YEAR_US, UID, PaperLogger, climate
from fieldlog.archive import Archive, ArchiveError, Session, agreement, dataset, manifest
from fieldlog.archive.agreement import compare
from fieldlog.archive.dataset import Update, files_in, folder_of, manifest_of, update_dataset
from fieldlog.archive.file_writer import file_hash
from fieldlog.clock_sync import Sync
from fieldlog_protocol.blocks.block import TICK_HZ, Block, build_block, parse_block
from fieldlog_protocol.blocks.events import SessionStart
from fieldlog_protocol.blocks.metadata import encode_metadata, metadata_events
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

SYNCS = [Sync(1, 0, NEW_YEAR_US, 0), Sync(1, 1000 * HOUR, NEW_YEAR_US + 1000 * 3_600_000_000, 0)]
N = 2000


def fill(archive: Archive, *, uid: bytes = UID, streams: tuple[Stream, ...] = (CLIMATE, DOOR)) -> None:
    """Two sessions of a climate with missing values and a loss, and a door."""
    logger = PaperLogger(streams=streams)
    logger.schema()
    ticks, temperature, humidity = climate(N)
    temperature[17], humidity[3] = -32768, 65535
    ticks[1500:] += 9 * TICK_HZ
    logger.data(streams[0], ticks, temperature, humidity)
    logger.data(DOOR, [5, 70_000, 80_000], [1, 0, 1])
    logger.session = 2
    logger.data(streams[0], *climate(50, start_s=5000))
    log = archive.log(uid, LOG_ID)
    log.add_blocks(logger.blocks)
    log.add_syncs(SYNCS)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with fieldlog.archive.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def filled(archive: Archive) -> Archive:
    fill(archive)
    update_dataset(archive)
    return archive


def folder(archive: Archive) -> Path:
    return folder_of(archive.path)


def contents(archive: Archive) -> dict[str, tuple[int, bytes]]:
    """Every file with its inode, which changes when it is written again, and its bytes."""
    return {
        name: ((folder(archive) / name).stat().st_ino, (folder(archive) / name).read_bytes())
        for name in files_in(folder(archive))
    }


def rewritten(archive: Archive, before: dict[str, tuple[int, bytes]]) -> set[str]:
    return {name for name, found in contents(archive).items() if found != before.get(name)}


def windows(monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    monkeypatch.setattr(dataset, "WINDOW", blocks)


# -- as other programs see it -------------------------------------------------------------------------------------


def truth(archive: Archive, session: int) -> Any:
    (series,) = [found for found in archive.readings(UID.hex(), session) if found.stream == CLIMATE]
    return series


def test_polars_opens_the_folder_and_finds_the_readings(filled: Archive) -> None:
    frame = pl.read_parquet(folder(filled)).filter(pl.col("stream") == "0_climate", pl.col("session") == 1)
    series = truth(filled, 1)
    assert frame["time"].cast(pl.Int64).to_list() == series.utc_us.tolist()
    assert np.array_equal(frame["temperature"].to_numpy(), series.columns[0], equal_nan=True)
    assert np.array_equal(frame["relative humidity"].to_numpy(), series.columns[1], equal_nan=True)
    assert frame["temperature"].null_count() == 1
    assert frame["starts"].to_list() == series.starts.tolist()
    assert frame["tick"].to_list() == series.tick.tolist()
    assert frame["error_us"].to_list() == series.error_us.tolist()
    assert set(frame["device"]) == {f"uid-{UID.hex()}"}
    assert set(frame["quality"].cast(pl.String)) == {"interpolated"}


def test_pandas_opens_the_folder_with_times_types_and_units(filled: Archive) -> None:
    frame = pd.read_parquet(folder(filled))
    assert frame.attrs["units"] == {"temperature": "Cel", "relative humidity": "%", "open": ""}
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"
    assert frame["temperature"].dtype == np.float64
    second = frame[(frame["session"] == 2) & (frame["stream"] == "0_climate")]
    assert second["temperature"].tolist() == truth(filled, 2).columns[0].tolist()
    assert frame.groupby("stream", observed=True).size().to_dict() == {"0_climate": N + 50, "1_door": 3}
    assert frame[frame["stream"] == "1_door"]["open"].tolist() == [True, False, True]


def test_duckdb_reads_all_files_with_one_glob(filled: Archive) -> None:
    found = duckdb.sql(
        f"SELECT session, stream, count(*), count(temperature), sum(starts::INT), epoch_us(min(time)) "
        f"FROM '{folder(filled)}/**/*.parquet' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert [row[:5] for row in found] == [
        (1, "0_climate", N, N - 1, 2),
        (1, "1_door", 3, 0, 1),
        (2, "0_climate", 50, 50, 1),
    ]
    assert found[0][5] == NEW_YEAR_US


def test_a_value_has_exactly_its_decimals(filled: Archive) -> None:
    column = pl.read_parquet(folder(filled)).filter(pl.col("session") == 2)["temperature"]
    _, raw, _ = climate(50, start_s=5000)
    assert [repr(value) for value in column] == [repr(int(value) / 100) for value in raw]


def test_a_column_may_be_null_where_a_value_can_be_missing_or_a_stream_has_no_such_channel(archive: Archive) -> None:
    channels = Channel("level", "m", ChannelType.I16), Channel("flow", "l/s", ChannelType.F32)
    plain = Stream(2, "plain", 1_000_000, channels)
    logger = PaperLogger(streams=(plain, CLIMATE))
    logger.schema()
    logger.data(plain, np.arange(100) * TICK_HZ, range(100), range(100))
    log = archive.log(UID, LOG_ID)
    log.add_blocks(logger.blocks)
    update_dataset(archive)
    (name,) = files_in(folder(archive))
    schema = pq.read_schema(folder(archive) / name)
    assert [schema.field(column).nullable for column in ("time", "level", "flow", "tick")] == [True, False, True, False]
    logger.data(CLIMATE, *climate(100, start_s=100))
    log.add_blocks(logger.blocks)
    update_dataset(archive)
    fields = [pq.read_schema(folder(archive) / name).field("level") for name in files_in(folder(archive))]
    assert [field.nullable for field in fields] == [True, True]
    assert pl.read_parquet(folder(archive) / "**/*.parquet")["level"].null_count() == 100
    assert compare(archive) == agreement.Agreement(files=2, rows=200)


def test_files_tell_the_same_of_a_session_as_the_log_does(archive: Archive) -> None:
    logger = PaperLogger()
    logger.schema()
    for session, label in ((1, "attic"), (2, ""), (3, "told by the device"), (4, "")):
        logger.session = session
        if label:
            logger.events((5, SessionStart(session, label)))
        if session != 2:
            for event in metadata_events(encode_metadata({"site": f"wall {session}"}), 200):
                logger.events((5, event))
        logger.data(CLIMATE, *climate(60, start_s=1000 * session))
    log = archive.log(UID, LOG_ID)
    log.add_blocks(logger.blocks)
    log.add_sessions([Session(3, "roof", 1, 0, None, 0, None, 7, "")])
    update_dataset(archive)
    schemas = [pq.read_schema(folder(archive) / name) for name in files_in(folder(archive))]
    found = [json.loads(schema.metadata[b"fieldlog"]) for schema in schemas]
    told = [(one["session"], one["session_label"], one["metadata"]) for one in found]
    assert told == [(session.id, session.label, session.metadata) for session in log.sessions()]
    assert [label for _, label, _ in told] == ["attic", "", "roof", ""]


def test_the_schema_tells_units_and_where_the_readings_come_from(archive: Archive) -> None:
    fill(archive)
    log = archive.log(UID, LOG_ID)
    log.describe(serial="S1", label="attic")
    log.add_sessions([Session(2, "roof", 1, 0, None, 0, None, 7, "")])
    update_dataset(archive)
    (name,) = [name for name in files_in(folder(archive)) if "session=2" in name]
    schema = pq.read_schema(folder(archive) / name)
    assert schema.field("temperature").metadata == {b"unit": b"Cel"}
    told = json.loads(schema.metadata[b"fieldlog"])
    assert (told["device"], told["serial"], told["label"]) == (UID.hex(), "S1", "attic")
    assert (told["session"], told["session_label"], told["log"]) == (2, "roof", LOG_ID)
    assert told["streams"][0]["c"][0]["e"] == -2


def test_times_that_nobody_knows_are_null(archive: Archive) -> None:
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(10))
    archive.log(UID, LOG_ID).add_blocks(logger.blocks)
    update_dataset(archive)
    frame = pl.read_parquet(folder(archive))
    assert frame["time"].null_count() == frame["error_us"].null_count() == 10
    assert set(frame["quality"].cast(pl.String)) == {"unknown"}


def test_names_that_devices_choose_become_no_paths(archive: Archive) -> None:
    """And a channel may be called like a column of ours, or like another one in capitals."""
    hostile = Stream(
        0,
        "../../2013-01-01/CON?",
        1_000_000,
        (Channel("time", "s", ChannelType.I16), Channel("Time", "", ChannelType.U16), Channel("", "V", ChannelType.I8)),
    )
    logger = PaperLogger(streams=(hostile,))
    logger.schema()
    logger.data(hostile, [0, TICK_HZ], [1, 2], [3, 4], [5, 6])
    archive.log(bytes(8), LOG_ID).add_blocks(logger.blocks)
    update_dataset(archive)
    assert files_in(folder(archive)) == [
        "device=uid-0000000000000000/session=1/stream=0_stream_2013_01_01_con/00c0ffee-00000000-00000fff.parquet"
    ]
    frame = duckdb.sql(f"SELECT * FROM '{folder(archive)}/**/*.parquet'").pl()
    assert frame.columns[1:4] == ["time [s]", "Time 2", "channel"]
    assert frame["time [s]"].to_list() == [1, 2]
    assert frame["device"].to_list() == ["uid-0000000000000000"] * 2


def test_every_type_of_channel_is_a_column_that_makes_sense(archive: Archive) -> None:
    channels = (
        Channel("count", "", ChannelType.U16, missing=9),
        Channel("total", "", ChannelType.U32),
        Channel("state", "", ChannelType.ENUM, choices=("off", "on")),
        Channel("open", "", ChannelType.BOOL),
        Channel("level", "m", ChannelType.F32),
        Channel("energy", "J", ChannelType.I64),
        Channel("axis", "[g]", ChannelType.I16, multiplier=244_140_625, exponent=-12),
        Channel("hundreds", "", ChannelType.I8, exponent=2, offset=1),
    )
    stream = Stream(0, "all", 1_000_000, channels)
    logger = PaperLogger(streams=(stream,))
    logger.schema()
    columns = [[9, 2], [2**32 - 1, 0], [1, 7], [1, 0], [np.nan, 0.1], [2**62 + 1, -1], [4096, -1], [-128, 127]]
    logger.data(stream, [0, TICK_HZ], *columns)
    archive.log(UID, LOG_ID).add_blocks(logger.blocks)
    update_dataset(archive)
    frame = pl.read_parquet(folder(archive)).select(channel.name for channel in channels)
    assert frame.row(0) == (None, 2**32 - 1, "on", True, None, 2**62 + 1, 1.0, -12700)
    assert frame.row(1) == (2, 0, "7", False, float(np.float32(0.1)), -1, -1 / 4096, 12800)
    assert compare(archive) == agreement.Agreement(files=1, rows=2)


def test_devices_of_different_kinds_share_columns_only_where_unit_and_kind_agree(archive: Archive) -> None:
    """The second one's temperature is in kelvin, its humidity a whole number: no reader may mix or round them."""
    fill(archive)
    kelvin = Channel("temperature", "K", ChannelType.U16, exponent=-1)
    whole = Channel("relative humidity", "%", ChannelType.U8)
    other = Stream(0, "climate", 1_000_000, (kelvin, whole))
    logger = PaperLogger(streams=(other,))
    logger.schema()
    logger.data(other, [0, TICK_HZ], [2931, 2932], [40, 41])
    archive.log(bytes([0xFF] * 8), LOG_ID).add_blocks(logger.blocks)
    update_dataset(archive)
    for frame in (
        pl.read_parquet(folder(archive)),
        pl.from_pandas(pd.read_parquet(folder(archive))),
        duckdb.sql(f"SELECT * FROM '{folder(archive)}/**/*.parquet'").pl(),
    ):
        mine = frame.filter(pl.col("device").cast(pl.String) == "uid-" + "ff" * 8)
        assert mine["temperature [K]"].to_list() == [293.1, 293.2]
        assert mine["temperature"].null_count() == 2
        assert mine["relative humidity"].to_list() == [40.0, 41.0]
        others = frame.filter(pl.col("stream").cast(pl.String) == "0_climate", pl.col("session").cast(pl.Int32) == 2)
        assert others["relative humidity"].to_list() == truth(archive, 2).columns[1].tolist()
        assert frame["temperature [K]"].count() == 2


# -- bringing up to date ------------------------------------------------------------------------------------------


def test_nothing_new_writes_nothing(filled: Archive) -> None:
    before = contents(filled)
    assert update_dataset(filled) == Update(kept=3)
    assert rewritten(filled, before) == set()


def test_new_blocks_are_written_into_their_own_window_alone(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    windows(monkeypatch, 16)
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(8000))
    assert len(logger.blocks) > 50
    log = archive.log(UID, LOG_ID)
    log.add_syncs(SYNCS)
    log.add_blocks(block for seq, block in enumerate(logger.blocks) if seq < 40 and seq not in (20, 21))
    assert update_dataset(archive).written == 3
    before = contents(archive)
    log.add_blocks(logger.blocks[40:42])
    update_dataset(archive)
    assert {name[-16:-8] for name in rewritten(archive, before)} == {"0000002f"}
    before = contents(archive)
    log.add_blocks(logger.blocks[20:22])
    update_dataset(archive)
    assert {name[-16:-8] for name in rewritten(archive, before)} == {"0000001f"}
    assert compare(archive) is not None
    log.add_blocks(logger.blocks)
    update_dataset(archive)
    frame = pl.read_parquet(folder(archive)).sort("tick")
    assert frame["tick"].to_list() == (np.arange(8000) * TICK_HZ).tolist()
    assert frame["starts"].sum() == 1


def test_a_clock_sync_rewrites_what_it_moves_and_nothing_else(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows(monkeypatch, 8)
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(6000))
    log = archive.log(UID, LOG_ID)
    log.add_blocks(logger.blocks)
    log.add_syncs([Sync(1, t * TICK_HZ, NEW_YEAR_US + t * 1_000_000, 50) for t in (0, 2000, 4000)])
    update_dataset(archive)
    before = contents(archive)
    log.add_syncs([Sync(1, 6000 * TICK_HZ, NEW_YEAR_US + 6000 * 1_000_000 + 9000, 50)])
    assert compare(archive).behind > 0  # type: ignore[union-attr]
    update_dataset(archive)
    times = {name: pq.read_table(folder(archive) / name, columns=["tick"])["tick"].to_numpy() for name in before}
    moved = {name for name, ticks in times.items() if ticks[-1] > 4000 * TICK_HZ}
    assert rewritten(archive, before) == moved
    assert 0 < len(moved) < len(before)
    assert compare(archive).wrong == []  # type: ignore[union-attr]


def test_a_sync_that_bends_the_line_between_two_others_rewrites_what_lies_between_them(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows(monkeypatch, 8)
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(6000))
    log = archive.log(UID, LOG_ID)
    log.add_blocks(logger.blocks)
    log.add_syncs([Sync(1, t * TICK_HZ, NEW_YEAR_US + t * 1_000_000, 50) for t in (0, 3000, 6000)])
    update_dataset(archive)
    before = contents(archive)
    log.add_syncs([Sync(1, 1500 * TICK_HZ, NEW_YEAR_US + 1500 * 1_000_000 + 9000, 50)])
    update_dataset(archive)
    times = {name: pq.read_table(folder(archive) / name, columns=["tick"])["tick"].to_numpy() for name in before}
    assert rewritten(archive, before) == {name for name, ticks in times.items() if ticks[0] < 3000 * TICK_HZ}
    assert 0 < len(rewritten(archive, before)) < len(before)


def test_a_sync_that_moves_nothing_but_times_inside_a_block_rewrites_it(archive: Archive) -> None:
    """A slow stream fills a block in weeks, and another computer may come by meanwhile without sealing it."""
    slow = Stream(0, "slow", 3_600_000_000, CLIMATE.channels)
    logger = PaperLogger(streams=(slow,))
    logger.schema()
    hours = np.arange(24 * 24)
    logger.data(slow, hours * HOUR, np.zeros(len(hours)), np.zeros(len(hours)))
    log = archive.log(UID, LOG_ID)
    log.add_blocks(logger.blocks)
    log.add_syncs([Sync(1, day * 24 * HOUR, NEW_YEAR_US + day * 86_400_000_000, 50) for day in (0, 1, 11, 23)])
    assert update_dataset(archive).written == 1
    log.add_syncs([Sync(1, 6 * 24 * HOUR, NEW_YEAR_US + 6 * 86_400_000_000 + 5_000_000, 50)])
    assert update_dataset(archive).written == 1
    assert wrong(archive) == []


def test_a_loss_at_the_border_of_two_files_still_begins_anew(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    windows(monkeypatch, 4)
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(3000))
    archive.log(UID, LOG_ID).add_blocks(block for seq, block in enumerate(logger.blocks) if seq != 8)
    update_dataset(archive)
    (series,) = archive.readings()
    frame = pl.read_parquet(folder(archive)).sort("tick")
    assert frame["starts"].to_list() == series.starts.tolist()
    assert frame["starts"].sum() == 2


def test_a_new_name_of_the_device_reaches_the_files(filled: Archive) -> None:
    filled.log(UID, LOG_ID).describe(label="cellar")
    assert update_dataset(filled).written == 3
    schema = pq.read_schema(folder(filled) / files_in(folder(filled))[0])
    assert json.loads(schema.metadata[b"fieldlog"])["label"] == "cellar"


def test_files_that_the_archive_does_not_explain_go_and_others_stay(filled: Archive) -> None:
    name = files_in(folder(filled))[0]
    stray = (folder(filled) / name).with_name("00c0ffee-00001000-00001fff.parquet")
    stray.write_bytes(b"old")
    own = folder(filled) / "notes.txt"
    own.write_text("mine")
    assert update_dataset(filled).removed == 1
    assert not stray.exists()
    assert own.read_text() == "mine"


@pytest.mark.parametrize("spoiled", [b"", b"no database at all, but long enough to be read as one" * 100])
def test_a_manifest_that_is_lost_or_spoiled_costs_a_rebuild_only(filled: Archive, spoiled: bytes) -> None:
    manifest_of(filled.path).write_bytes(spoiled)
    assert update_dataset(filled).written == 3
    assert compare(filled).wrong == []  # type: ignore[union-attr]


def test_a_folder_that_was_deleted_comes_back(filled: Archive) -> None:
    for name in files_in(folder(filled)):
        (folder(filled) / name).unlink()
    assert compare(filled) is None
    assert update_dataset(filled).written == 3


def test_blocks_that_nothing_describes_make_no_file_until_they_are_described(archive: Archive) -> None:
    logger = PaperLogger()
    logger.data(CLIMATE, *climate(100))
    archive.log(UID, LOG_ID).add_blocks(logger.blocks)
    assert update_dataset(archive) == Update()
    logger.schema()
    archive.log(UID, LOG_ID).add_blocks(logger.blocks)
    assert update_dataset(archive).rows == 100


def test_blocks_that_cannot_be_decoded_are_left_out_and_told_in_a_few_sentences(archive: Archive) -> None:
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(5000))
    blocks = [parse_block(block) for block in logger.blocks]
    liars = {
        seq: build_block(Block(b.header, 60_000, b.span, b.payload[:20]))
        for seq, b in enumerate(blocks[:24])
        if seq > 3
    }
    archive.log(UID, LOG_ID).add_blocks(liars.get(seq, block) for seq, block in enumerate(logger.blocks))
    done = update_dataset(archive)
    assert done.rows == 5000 - sum(blocks[seq].n_frames for seq in liars)
    assert len(done.problems) == 6
    assert "15 more" in done.problems[-1]


# -- what may go wrong --------------------------------------------------------------------------------------------

UPDATE = """
import resource, sys
import fieldlog.archive
from fieldlog.archive.dataset import update_dataset
from fieldlog_protocol.errors import FieldlogError
limit = int(sys.argv[2])
with fieldlog.archive.open(sys.argv[1], writable=False) as archive:
    print("ready", flush=True)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        update_dataset(archive, everything=True)
    except FieldlogError as error:
        sys.exit(str(error))
"""


@pytest.mark.parametrize("limit", ["2000", "10000"])
def test_a_full_disk_is_a_sentence_and_leaves_no_half_file(filled: Archive, limit: str) -> None:
    before = contents(filled)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", UPDATE, str(filled.path), limit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "brought up to date" in done.stderr or "takes no more" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    after = contents(filled)
    assert after.keys() == before.keys()
    for name in after:
        pq.read_table(folder(filled) / name)
    update_dataset(filled)
    assert compare(filled).wrong == []  # type: ignore[union-attr]


@pytest.mark.parametrize("wait_ms", [0, 5, 20, 60])
def test_a_killed_update_leaves_whole_files_and_the_next_one_ends_it(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, wait_ms: int
) -> None:
    logger = PaperLogger()
    logger.schema()
    for session in range(12):
        logger.session = session
        logger.data(CLIMATE, *climate(1500))
    archive.log(UID, LOG_ID).add_blocks(logger.blocks)
    archive.flush()
    with subprocess.Popen([sys.executable, "-c", UPDATE, str(archive.path), "0"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        threading.Event().wait(wait_ms / 1000)  # the moment of the kill, not a synchronisation
        child.send_signal(signal.SIGKILL)
    for name in files_in(folder(archive)):
        assert pq.read_metadata(folder(archive) / name).num_rows == 1500
    left = compare(archive)
    assert left is None or left.wrong == [], "sound files, noted or not"
    done = update_dataset(archive)
    assert done.written + done.kept == 12
    assert compare(archive) == agreement.Agreement(files=12, rows=12 * 1500)
    assert sorted(path.name for path in archive.path.parent.iterdir() if "part" in path.name) == []


def test_two_updates_at_once_take_turns(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [[sys.executable, "-c", UPDATE, str(filled.path), "0"]] * 2
    children = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    assert [child.wait(60) for child in children] == [0, 0]
    assert compare(filled).wrong == []  # type: ignore[union-attr]
    monkeypatch.setattr(manifest, "BUSY_TIMEOUT_S", 0.01)
    with manifest.hold(manifest_of(filled.path)), pytest.raises(ArchiveError, match="Another program"):
        update_dataset(filled)


def test_a_folder_that_may_not_be_made_is_a_sentence(archive: Archive) -> None:
    fill(archive)
    folder(archive).write_text("a file")
    with pytest.raises(ArchiveError, match="archive itself is whole"):
        update_dataset(archive)


class OneAfterTheOther:
    """What ThreadPoolExecutor offers, without threads: which of them are at work at once is chance, and so is a peak."""

    def __init__(self, _: int) -> None:
        pass

    def __enter__(self) -> OneAfterTheOther:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def shutdown(self, **_: bool) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: object) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done


def peak_of_update(archive: Archive) -> int:
    update_dataset(archive, everything=True)
    tracemalloc.start()
    update_dataset(archive, everything=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.fixture
def long_log(monkeypatch: pytest.MonkeyPatch) -> PaperLogger:
    """A log of several windows with several batches in each."""
    windows(monkeypatch, 32)
    monkeypatch.setattr("fieldlog.archive.plan.BATCH_FRAMES", FEW_FRAMES)
    logger = PaperLogger(block_size=2048)
    logger.schema()
    logger.data(CLIMATE, *climate(200_000))
    return logger


FEW_FRAMES = 1 << 13
SERIES_FRAME_BYTES = 32  # of CLIMATE: three int64, boot, quality, start and two values of 16 bits


def test_what_is_held_does_not_grow_with_the_archive(
    archive: Archive, long_log: PaperLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldlog.archive.ahead.ThreadPoolExecutor", OneAfterTheOther)
    monkeypatch.setattr("fieldlog.archive.file_writer.ThreadPoolExecutor", OneAfterTheOther)
    log = archive.log(UID, LOG_ID)
    peaks: list[int] = []
    for count in (len(long_log.blocks) // 8, len(long_log.blocks) // 4, len(long_log.blocks)):
        log.add_blocks(long_log.blocks[:count])
        peaks.append(peak_of_update(archive))
    assert peaks[2] < 1.3 * peaks[0]
    assert peaks[2] < 1.15 * peaks[1], "from two windows on, nothing is left that could take turns"


def test_threads_at_once_hold_a_few_batches(archive: Archive, long_log: PaperLogger) -> None:
    """Two are decoded, which takes more room than they have then, two wait, and two are converted and written."""
    archive.log(UID, LOG_ID).add_blocks(long_log.blocks)
    assert peak_of_update(archive) < 8 * FEW_FRAMES * SERIES_FRAME_BYTES


# -- comparing both tiers -----------------------------------------------------------------------------------------


def wrong(archive: Archive) -> list[str]:
    found = compare(archive)
    assert found is not None
    return found.wrong


def test_both_tiers_agree_to_begin_with(filled: Archive) -> None:
    assert compare(filled) == agreement.Agreement(files=3, rows=N + 53)


def test_a_flipped_bit_anywhere_in_a_file_is_found(filled: Archive) -> None:
    path = folder(filled) / files_in(folder(filled))[1]
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert [text for text in wrong(filled) if "is damaged" in text], f"byte {at}"
    path.write_bytes(whole)
    assert wrong(filled) == []


def test_a_hash_that_an_older_version_noted_tells_damage_as_well(filled: Archive) -> None:
    name = files_in(folder(filled))[0]
    path = folder(filled) / name
    whole = path.read_bytes()
    noted = hashlib.blake2b(whole, digest_size=16).digest()
    with manifest.hold(manifest_of(filled.path)) as held:
        held.put(name, held.entries[name]._replace(hash=noted))
    assert wrong(filled) == []
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 4]) + whole[101:])
    assert [text for text in wrong(filled) if "is damaged" in text]


def test_other_readings_under_a_manifest_that_believes_them_are_found(filled: Archive) -> None:
    """The manifest alone would not notice: values are compared."""
    name = files_in(folder(filled))[0]
    path = folder(filled) / name
    table = pq.read_table(path, partitioning=None)
    place = table.column_names.index("temperature")
    values = table.column(place).to_pylist()
    values[100] += 0.01
    forged = table.set_column(place, table.field(place), [values])
    pq.write_table(forged, path)
    with manifest.hold(manifest_of(filled.path)) as held:
        held.put(name, held.entries[name]._replace(hash=file_hash(path), size=path.stat().st_size))
    assert [text for text in wrong(filled) if "other readings" in text]
    pq.write_table(table.slice(0, 100), path)
    with manifest.hold(manifest_of(filled.path)) as held:
        held.put(name, held.entries[name]._replace(hash=file_hash(path), size=path.stat().st_size))
    assert wrong(filled) != []


def test_a_deleted_file_a_stale_one_and_a_stray_one_are_named(filled: Archive) -> None:
    first, second, third = files_in(folder(filled))
    (folder(filled) / first).unlink()
    stray = (folder(filled) / second).with_name("00000001-00000000-00000fff.parquet")
    os.link(folder(filled) / third, stray)
    texts = "\n".join(wrong(filled))
    assert f"{first} is missing" in texts
    assert "does not hold" in texts


def test_what_came_since_files_were_written_is_no_fault_of_theirs(filled: Archive) -> None:
    name = files_in(folder(filled))[0]
    filled.log(UID, LOG_ID).describe(label="new")
    assert compare(filled) == agreement.Agreement(files=3, behind=3)
    with (folder(filled) / name).open("r+b") as file:
        file.write(b"PAR2")
    assert wrong(filled) == [
        f"{name} is damaged, or was left by a rebuild that was broken off: its bytes are not those that were noted"
    ]


def grow(archive: Archive) -> None:
    """Readings of a second device, and more of the first, which change all its files."""
    fill(archive, uid=bytes(8))
    archive.log(UID, LOG_ID).describe(label="new")
    archive.flush()


def test_files_that_a_killed_program_wrote_and_did_not_note_are_judged_by_what_is_in_them(
    filled: Archive, tmp_path: Path
) -> None:
    shutil.copy(manifest_of(filled.path), tmp_path / "as it was")
    grow(filled)
    update_dataset(filled)
    shutil.copy(tmp_path / "as it was", manifest_of(filled.path))
    assert compare(filled) == agreement.Agreement(files=6, behind=6)
    noted, unnoted = sorted(files_in(folder(filled)), key=lambda name: UID.hex() not in name)[
        :: len(files_in(folder(filled))) - 1
    ]
    for name in (noted, unnoted):
        path = folder(filled) / name
        whole = path.read_bytes()
        path.write_bytes(whole[:60] + bytes([whole[60] ^ 4]) + whole[61:])
        assert [text.partition(" ")[0] for text in wrong(filled)] == [name]
        path.write_bytes(whole)
    update_dataset(filled)
    assert compare(filled) == agreement.Agreement(files=6, rows=2 * (N + 53))


@pytest.mark.parametrize("moment", ["read", "read_outlines", "file_hash"])
@pytest.mark.parametrize("everything", [False, True])
def test_files_that_another_program_writes_meanwhile_are_looked_at_again(
    filled: Archive, monkeypatch: pytest.MonkeyPatch, moment: str, *, everything: bool
) -> None:
    usual = getattr(agreement, moment)

    def interrupted(*arguments: Any) -> Any:
        """The other program writes after what is known by then was read."""
        known = usual(*arguments) if moment != "file_hash" else None
        monkeypatch.setattr(agreement, moment, usual)
        if not everything:
            grow(filled)
        update_dataset(filled, everything=everything)
        return usual(*arguments) if moment == "file_hash" else known

    monkeypatch.setattr(agreement, moment, interrupted)
    assert wrong(filled) == []


def test_whatever_stands_in_the_place_of_a_file_is_named_and_the_rest_is_compared(filled: Archive) -> None:
    first, second, _ = files_in(folder(filled))
    path = folder(filled) / first
    path.unlink()
    path.mkdir()
    (path / "mine").write_text("precious")
    (folder(filled) / second).write_bytes(b"PAR1")
    assert [text.partition(" ")[0] for text in wrong(filled)] == [first, second]
    assert "cannot be read" in wrong(filled)[0]
    assert 0 < compare(filled).rows < N + 53  # type: ignore[union-attr]
    with pytest.raises(ArchiveError, match=f"{path.name}.*take away what is in the way"):
        update_dataset(filled)
    assert (path / "mine").read_text() == "precious"
    (path / "mine").unlink()
    path.rmdir()
    update_dataset(filled)
    assert wrong(filled) == []


def test_check_and_rebuild_on_the_command_line(filled: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    from fieldlog.cli.main import invoke

    archive = ["--archive", str(filled.path.parent)]
    assert invoke(["archive", "check", "--json", *archive]) == 0
    assert json.loads(capsys.readouterr().out)["parquet"] == {
        "files": 3,
        "readings": N + 53,
        "uncompared": 0,
        "behind": 0,
        "unwritten": 0,
        "wrong": [],
    }
    (folder(filled) / files_in(folder(filled))[0]).write_bytes(b"PAR1")
    assert invoke(["archive", "check", *archive]) == 5
    said = capsys.readouterr()
    assert "is damaged" in said.out
    assert "fieldlog archive rebuild" in said.err
    assert invoke(["archive", "rebuild", "--changed", "--json", *archive]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["written"], done["kept"], done["problems"]) == (1, 2, [])
    assert invoke(["archive", "rebuild", *archive]) == 0
    assert "3 files written" in capsys.readouterr().out
    assert invoke(["archive", "check", *archive]) == 0
