"""Readings out of the archive are those that were taken, when they were taken, with every loss in view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldlog.archive
from archive_data import CLIMATE, DOOR, HOUR, HUMIDITY, LOG_ID, NEW_YEAR_US, TEMPERATURE, UID, PaperLogger, climate
from fieldlog.archive import Archive, Session
from fieldlog.archive import plan as plan_module
from fieldlog.archive import readings as readings_module
from fieldlog.archive.series import Series
from fieldlog.clock_model import UNBOUNDED, UNKNOWN_TIME, Quality
from fieldlog.clock_sync import Sync
from fieldlog_protocol.blocks.block import TICK_HZ, Block, BlockHeader, Encoding, Flag, build_block, parse_block
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.events import ClockSync, Mark
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream
from fieldlog_protocol.errors import UsageError

NEW_YEAR = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with fieldlog.archive.open(tmp_path) as opened:
        yield opened


def fill(archive: Archive, blocks: list[bytes], *, sync: bool = True) -> None:
    log = archive.log(UID, LOG_ID)
    log.add_blocks(blocks)
    if sync:
        log.add_syncs([Sync(1, 0, NEW_YEAR_US, 0), Sync(1, 1000 * HOUR, NEW_YEAR_US + 1000 * 3_600_000_000, 0)])


def only(archive: Archive, **selection: Any) -> Series:
    (series,) = archive.readings(**selection)
    return series


def begun(series: Series) -> list[int]:
    return np.flatnonzero(series.starts).tolist()


def test_values_and_times_are_exactly_those_recorded(archive: Archive) -> None:
    logger = PaperLogger()
    logger.schema()
    ticks, temperature, humidity = climate(3000)
    temperature[17] = humidity[2999] = -32768 + 0
    humidity[2999] = 65535
    logger.data(CLIMATE, ticks, temperature, humidity)
    fill(archive, logger.blocks)
    series = only(archive)
    assert [channel.name for channel in series.channels] == ["temperature", "relative humidity"]
    assert np.array_equal(series.tick, ticks)
    assert np.array_equal(series.utc_us, NEW_YEAR_US + np.arange(3000) * 1_000_000)
    expected = [float(f"{raw / 100:.2f}") for raw in temperature.tolist()]
    expected[17] = float("nan")
    assert np.array_equal(series.columns[0], expected, equal_nan=True)
    assert np.isnan(series.columns[1][2999])
    assert np.array_equal(series.raw[1], humidity)
    assert set(series.quality) == {Quality.INTERPOLATED}
    assert series.error_us.max() < 10_000_000
    assert begun(series) == [0]
    assert set(series.boot_id) == {1}


def test_a_stream_at_another_rate_and_another_session_are_series_of_their_own(archive: Archive) -> None:
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(100))
    logger.data(DOOR, [5, 70_000, 80_000], [1, 0, 1])
    logger.data(CLIMATE, *climate(50, start_s=100))
    logger.session = 2
    logger.data(CLIMATE, *climate(10, start_s=500), flags=Flag.SESSION_FIRST)
    fill(archive, logger.blocks)
    found = [(s.session, s.stream.name, len(s)) for s in archive.readings()]
    assert found == [(1, "climate", 150), (1, "door", 3), (2, "climate", 10)]


def test_the_device_own_syncs_give_the_time(archive: Archive) -> None:
    logger = PaperLogger()
    logger.schema()
    logger.events(
        (0, ClockSync(0, NEW_YEAR_US, 3, "host")),
        (9 * TICK_HZ, ClockSync(9 * TICK_HZ, NEW_YEAR_US + 9_000_000, 3, "host")),
    )
    logger.data(CLIMATE, *climate(10))
    fill(archive, logger.blocks, sync=False)
    assert only(archive).utc_us[-1] == NEW_YEAR_US + 9_000_000


def test_without_any_clock_the_readings_are_there_and_their_time_is_bounded_or_unknown(archive: Archive) -> None:
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(10))
    fill(archive, logger.blocks, sync=False)
    series = only(archive)
    assert np.isnat(series.utc_us.view("datetime64[us]")).all()
    assert (series.error_us == UNBOUNDED).all()
    assert len(series.columns[0]) == 10
    assert list(archive.readings(start=NEW_YEAR)) == []


def test_the_device_belief_serves_when_there_is_no_sync(archive: Archive) -> None:
    logger = PaperLogger(utc=NEW_YEAR_US // 1_000_000)
    logger.schema()
    logger.data(CLIMATE, *climate(10))
    fill(archive, logger.blocks, sync=False)
    series = only(archive)
    assert set(series.quality) == {Quality.RTC}
    assert abs(int(series.utc_us[0]) - NEW_YEAR_US) <= 500_000


# -- what must not be joined ------------------------------------------------------------------------------------


def test_a_lost_block_a_step_in_time_and_a_boot_each_begin_anew(archive: Archive) -> None:
    logger = PaperLogger()
    logger.schema()
    ticks, *columns = climate(400)
    ticks[300:] += 5 * TICK_HZ
    logger.data(CLIMATE, ticks, *columns)
    counts = [parse_block(block).n_frames for block in logger.blocks[1:]]
    logger.boot_id = 2
    logger.data(CLIMATE, *climate(20))
    lost = logger.blocks.pop(3)
    fill(archive, logger.blocks)
    series = only(archive)
    after_loss = sum(counts[:2])
    step_at = 300 - parse_block(lost).n_frames
    assert begun(series) == [0, after_loss, step_at, 400 - parse_block(lost).n_frames]


def test_two_pauses_of_one_length_are_not_taken_for_the_rate(archive: Archive) -> None:
    """Three readings two periods apart lie on one line, so that one block holds them."""
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, np.array([0, 1, 3, 5, 6]) * TICK_HZ, [1] * 5, [2] * 5)
    fill(archive, logger.blocks)
    assert any(block.n_frames == 2 and block.span == 2 * TICK_HZ for block in map(parse_block, logger.blocks[1:]))
    assert begun(only(archive)) == [0, 2, 3]


def test_a_seal_on_request_interrupts_nothing(archive: Archive) -> None:
    """A pull seals the open block: the readings go on, and so does the line, whatever the flag says."""
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(5))
    logger.events((5, Mark("pulled")))
    logger.data(CLIMATE, *climate(5, start_s=5))
    logger.data(CLIMATE, *climate(5, start_s=10), flags=Flag.GAP)
    fill(archive, logger.blocks)
    assert begun(only(archive)) == [0]


def test_without_a_period_the_flag_and_a_missing_seq_tell(archive: Archive) -> None:
    logger = PaperLogger()
    logger.schema()
    for start, flags in ((0, 0), (10_000, 0), (20_000, Flag.GAP), (30_000, 0), (40_000, 0)):
        logger.data(DOOR, [start, start + 700], [1, 0], flags=flags)
    fill(archive, [block for block in logger.blocks if parse_block(block).header.seq != 4])
    assert begun(only(archive)) == [0, 4, 6]


def test_a_jittery_timed_stream_is_cut_inside_a_block_where_it_paused(archive: Archive) -> None:
    stream = Stream(0, "imu", 10_000, (Channel("a", "g", ChannelType.I16),), timed=True)
    logger = PaperLogger(streams=(stream,))
    logger.schema()
    steps = [330, 325, 331, 3000, 320, 330]
    logger.data(stream, np.cumsum([0, *steps]), range(7))
    fill(archive, logger.blocks)
    assert begun(only(archive)) == [0, 4]


# -- selecting --------------------------------------------------------------------------------------------------


def long_log() -> PaperLogger:
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(5000))
    return logger


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 5000), (77, 78), (1000, 4321), (4999, 9000), (-50, 3)])
def test_start_and_end_choose_exactly_the_readings_in_between(archive: Archive, first: int, last: int) -> None:
    fill(archive, long_log().blocks)
    start, end = NEW_YEAR + timedelta(seconds=first), NEW_YEAR + timedelta(seconds=last)
    series = only(archive, start=start, end=end.astimezone(timezone(timedelta(hours=5))))
    assert series.tick.tolist() == [s * TICK_HZ for s in range(max(first, 0), min(last, 5000))]
    assert begun(series) == [0]


def test_what_lies_outside_is_not_decoded(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(archive, long_log().blocks)
    decoded: list[int] = []

    def counted(data: Sequence[bytes], stream: Stream) -> Frames:
        decoded.append(len(data))
        return decode_frames(data, stream)

    monkeypatch.setattr(readings_module, "decode_frames", counted)
    only(archive, start=NEW_YEAR + timedelta(seconds=2000), end=NEW_YEAR + timedelta(seconds=2001))
    assert decoded == [1]


def test_times_are_written_too_and_meant_in_utc_where_they_do_not_say(archive: Archive) -> None:
    fill(archive, long_log().blocks)
    of_numpy = np.datetime64("2013-01-01T00:30", "ns")
    for start in ("2013-01-01T00:30", "2013-01-01T01:30+01:00", "2013-01-01T00:30:00Z", of_numpy):
        assert len(only(archive, start=start, end="2013-01-02")) == 5000 - 1800


def test_channels_are_chosen_by_name(archive: Archive) -> None:
    fill(archive, long_log().blocks)
    for channels in (["relative humidity"], "relative humidity"):
        series = only(archive, channels=channels)
        assert series.channels == (HUMIDITY,)
        assert len(series.raw) == 1
    assert len(only(archive).raw) == 2


def test_sessions_are_chosen_by_number_or_label(archive: Archive) -> None:
    logger = long_log()
    logger.session = 2
    logger.data(CLIMATE, *climate(7))
    fill(archive, logger.blocks)
    assert len(only(archive, session=2)) == 7
    roof, unread = Session(2, "roof", 1, 0, None, 0, None, 7, ""), Session(4, "2026", 1, 0, None, 0, None, 0, "")
    archive.log(UID, LOG_ID).add_sessions([roof, unread])
    assert len(only(archive, session=2)) == 7
    assert len(only(archive, session="roof")) == 7
    for of_table in (np.int64(2), np.array([2]), np.array(["roof"])):
        assert len(only(archive, session=of_table)) == 7
    for empty in (4, 2026, "2026"):
        assert list(archive.readings(session=empty)) == []
    for unknown in (9, "moon", [2, 9]):
        with pytest.raises(UsageError, match=r"no session ('moon'|9)\. Sessions that there are: 1, 2 'roof', 4 '2026'"):
            archive.readings(session=unknown)


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        ({"channels": ["wind"]}, "temperature, relative humidity"),
        ({"session": "moon"}, "no session 'moon'"),
        ({"start": NEW_YEAR, "end": NEW_YEAR}, "earlier time first"),
        ({"start": datetime(2013, 1, 1)}, "offset from UTC"),  # noqa: DTZ001 - what is refused
        ({"start": "soon"}, "start takes a time such as .*, not 'soon'"),
        ({"end": "1.7.2013"}, "end takes a time .*: the year comes first, 2013-07-01"),
        ({"start": 5}, "start takes a time such as"),
        ({"channels": "wind"}, "no channel 'wind'"),
        ({"device": "nobody"}, "no device 'nobody'"),
    ],
)
def test_nonsense_is_one_sentence(archive: Archive, selection: dict[str, Any], sentence: str) -> None:
    fill(archive, long_log().blocks)
    with pytest.raises(UsageError, match=sentence):
        archive.readings(**selection)


def test_what_is_asked_of_a_closed_archive_is_one_sentence(tmp_path: Path) -> None:
    with fieldlog.archive.open(tmp_path) as archive:
        fill(archive, long_log().blocks)
        readings = archive.readings()
    for asked in (archive.logs, archive.readings, readings.to_arrow, lambda: list(readings), lambda: readings.units):
        with pytest.raises(UsageError, match=r"^the archive \S+ is closed already, and what it holds is safe: "):
            asked()


def test_devices_are_found_by_uid_serial_or_label_and_never_guessed(archive: Archive) -> None:
    with pytest.raises(UsageError, match="holds no device"):
        archive.readings()
    fill(archive, long_log().blocks)
    archive.log(UID, LOG_ID).describe(serial="S1", label="attic")
    for name in (None, UID.hex(), UID.hex().upper(), "S1", "attic"):
        assert len(only(archive, device=name)) == 5000
    archive.log(bytes(8), 1).describe(serial="S1", label="cellar")
    assert len(only(archive, device="attic")) == 5000
    for name, sentence in (
        (None, "the archive holds 2 devices.*--device or device="),
        ("S1", "fits 2 devices.*by its uid"),
    ):
        with pytest.raises(UsageError, match=sentence):
            archive.readings(device=name)


def test_what_is_printed_says_what_it_is(tmp_path: Path) -> None:
    with fieldlog.archive.open(tmp_path) as archive:
        fill(archive, long_log().blocks)
        (log,) = archive.logs()
        log.describe(label="attic")
        (series,) = archive.readings(channels="temperature")
        assert repr(log) == f"<Log of 'attic': uid {UID.hex()}, log_id {LOG_ID}>"
        assert repr(series) == "<Series of 'attic', session 1: 5000 readings of temperature>"
        assert str(tmp_path) in repr(archive)
    assert str(tmp_path) in repr(log)


def test_the_logs_of_a_device_that_was_erased_belong_together(archive: Archive) -> None:
    logger = long_log()
    fill(archive, logger.blocks)
    other = archive.log(UID, LOG_ID + 1)
    other.add_blocks(logger.blocks)
    other.flush()
    assert [len(series) for series in archive.readings()] == [5000, 5000]


# -- descriptions -----------------------------------------------------------------------------------------------


def test_a_schema_id_that_comes_round_again_means_what_was_written_before_the_block(archive: Archive) -> None:
    logger = PaperLogger()
    logger.data(CLIMATE, *climate(3))
    logger.schema()
    logger.data(CLIMATE, *climate(3, start_s=3))
    finer = Channel("temperature", "K", ChannelType.I16, exponent=-3)
    logger.streams = (Stream(0, "climate", 1_000_000, (finer, HUMIDITY)),)
    logger.schema()
    logger.data(CLIMATE, *climate(3, start_s=6))
    fill(archive, logger.blocks)
    found = [(series.channels[0], len(series)) for series in archive.readings()]
    assert found == [(TEMPERATURE, 6), (finer, 3)]


def test_a_part_that_changes_alone_changes_only_its_channels(archive: Archive) -> None:
    """The other parts of a long description stay as they are and are not written differently."""
    channels = [Channel(f"c{i}", "V", ChannelType.I16) for i in range(40)]
    logger = PaperLogger(streams=(Stream(3, "wide", 1_000_000, tuple(channels)),))
    logger.schema()
    logger.data(logger.streams[0], [0], *([i] for i in range(40)))
    channels[39] = Channel("c39", "A", ChannelType.I16)
    logger.streams = (Stream(3, "wide", 1_000_000, tuple(channels)),)
    logger.schema()
    logger.data(logger.streams[0], [TICK_HZ], *([i] for i in range(40)))
    fill(archive, logger.blocks)
    assert [[c.unit for c in series.channels[38:]] for series in archive.readings()] == [["V", "V"], ["V", "A"]]


def test_of_two_blocks_with_one_seq_the_first_is_shown_however_often_they_come(archive: Archive) -> None:
    first, second = PaperLogger(), PaperLogger()
    for logger, value in ((first, 100), (second, 200)):
        logger.schema()
        logger.data(CLIMATE, [0, TICK_HZ], [value, value], [1, 1])
    for blocks in (first.blocks, second.blocks, first.blocks):
        fill(archive, blocks)
        archive.flush()
    assert only(archive).raw[0].tolist() == [100, 100]


def test_blocks_that_nothing_describes_are_kept_and_reported(archive: Archive) -> None:
    logger = long_log()
    logger.schema_id = 7
    logger.data(CLIMATE, *climate(3, start_s=6000))
    fill(archive, logger.blocks)
    readings = archive.readings()
    assert [len(series) for series in readings] == [5000]
    assert len(list(readings)) == 1
    (text,) = readings.problems
    assert text.startswith(f"{UID.hex()}: nothing held describes 1 block of schema 7: kept, and not decoded")
    assert readings.undescribed == [text]
    assert archive.log(UID, LOG_ID).held().stop == len(logger.blocks)


def test_a_stream_whose_description_spans_blocks_is_put_together(archive: Archive) -> None:
    channels = tuple(Channel(f"c{i}", "V", ChannelType.I16, exponent=-3) for i in range(40))
    stream = Stream(3, "wide", 1_000_000, channels)
    logger = PaperLogger(streams=(stream,))
    logger.schema()
    assert len(logger.blocks) > 3
    logger.data(stream, [0, TICK_HZ], *([i, i + 1] for i in range(40)))
    fill(archive, logger.blocks)
    assert [column.tolist() for column in only(archive).raw] == [[i, i + 1] for i in range(40)]


@pytest.mark.parametrize("batch", [1, 1024])
def test_a_block_that_cannot_be_decoded_is_left_out_and_the_line_is_cut(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(plan_module, "BATCH_BLOCKS", batch)
    logger = long_log()
    bad = parse_block(logger.blocks[5])
    liar = Block(bad.header, 60_000, bad.span, bad.payload[:20])
    counts = [parse_block(block).n_frames for block in logger.blocks]
    fill(archive, [build_block(liar) if seq == 5 else block for seq, block in enumerate(logger.blocks)])
    readings = archive.readings()
    (series,) = readings
    assert len(series) == 5000 - counts[5]
    assert begun(series) == [0, sum(counts[:5])]
    (text,) = readings.problems
    assert text.startswith(f"{UID.hex()}: block 5 ")
    assert text.endswith(". Its CRC-32 is right: the device wrote it so. It was kept and left out.")
    assert readings.undecodable == [text]


@pytest.mark.parametrize(("t0", "span"), [(2**64 - 1, 0), (0, 2**64 - 1), (2**63, 2**63)])
def test_a_time_that_no_device_counts_to_is_kept_and_left_out(archive: Archive, t0: int, span: int) -> None:
    logger = long_log()
    block = parse_block(logger.blocks[5])
    absurd = build_block(Block(replace(block.header, seq=9000, t0=t0), block.n_frames, span, block.payload))
    fill(archive, [*logger.blocks, absurd])
    readings = archive.readings()
    assert sum(map(len, readings)) == 5000
    assert "end of time" in readings.problems[0]
    assert archive.log(UID, LOG_ID).held().stop == 9001


def test_an_encoding_of_the_future_is_left_out(archive: Archive) -> None:
    logger = long_log()
    block = parse_block(logger.blocks[-1])
    future = BlockHeader(
        encoding=Encoding.RAWC + 40, seq=9000, t0=block.header.t0 + HOUR, boot_id=1, session=1, n_channels=2
    )
    fill(archive, [*logger.blocks, build_block(Block(future, 3, 0, b"?"))])
    readings = archive.readings()
    assert sum(map(len, readings)) == 5000
    assert "block 9000 has encoding 42, which is not known here" in readings.problems[0]


# -- in bounded memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "frames"), [(1, 1 << 20), (7, 1 << 20), (1024, 100)])
def test_pieces_add_up_to_the_whole_whatever_their_size(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, blocks: int, frames: int
) -> None:
    logger = PaperLogger()
    logger.schema()
    ticks, *columns = climate(6000)
    ticks[1111:] += 7 * TICK_HZ
    logger.data(CLIMATE, ticks, *columns)
    del logger.blocks[9]
    fill(archive, logger.blocks)
    whole = only(archive)
    monkeypatch.setattr(plan_module, "BATCH_BLOCKS", blocks)
    monkeypatch.setattr(plan_module, "BATCH_FRAMES", frames)
    pieces = list(archive.readings().batches())
    assert len(pieces) > 5
    assert max(map(len, pieces)) <= min(7, blocks) * 160
    again = only(archive)
    for name in ("utc_us", "error_us", "quality", "boot_id", "tick", "starts"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
    assert all(np.array_equal(a, b) for a, b in zip(again.raw, whole.raw, strict=True))


@pytest.mark.parametrize("boot", [1, 9])
@pytest.mark.parametrize("utc", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("t0", [2**51, 2**52, 2**55, 2**61])
def test_one_block_from_the_end_of_time_leaves_the_rest_as_it_was(
    archive: Archive, t0: int, utc: int, boot: int
) -> None:
    logger = long_log()
    block = parse_block(logger.blocks[5])
    header = replace(block.header, seq=9000, t0=t0, utc=utc, boot_id=boot)
    fill(archive, logger.blocks)
    before = only(archive).utc_us
    fill(archive, [build_block(Block(header, block.n_frames, block.span, block.payload))])
    readings = archive.readings()
    times = np.concatenate([series.utc_us for series in readings])
    assert np.array_equal(times[: len(before)], before)
    beyond = times[len(before) :]
    assert len(beyond) == block.n_frames
    assert t0 < 2**52 or (beyond == UNKNOWN_TIME).all()
    assert all(problem.isprintable() for problem in readings.problems)
