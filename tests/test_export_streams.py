"""Several streams in one table: in order of time, one row per moment, every reading once and in its own column."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_data import NEW_YEAR_US
from fieldlog.archive import LogInfo
from fieldlog.archive.series import Series
from fieldlog.clock_model import Quality
from fieldlog.export import write_csv
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

Moment = tuple[int, int]
"""Boot and tick."""

BOOT_US = 10_000_000


class Pieces:
    """Series as a selection that several iterators may go through."""

    def __init__(self, *series: Series) -> None:
        self.series = series

    def batches(self) -> Iterator[Series]:
        return iter(self.series)


def channel(name: str, kind: ChannelType = ChannelType.I32) -> Channel:
    return Channel(name, "", kind)


def piece(
    stream: int,
    moments: list[Moment],
    values: list[int] | None = None,
    *,
    channels: tuple[Channel, ...] | None = None,
    session: int = 1,
    uid: str = "aa",
) -> Series:
    """A piece of a stream with one channel, named after it, whose times are those of its boots and ticks."""
    described = channels or (channel(f"c{stream}"),)
    boots = np.array([boot for boot, _ in moments], dtype=np.uint16)
    ticks = np.array([tick for _, tick in moments], dtype=np.int64)
    raw = np.arange(len(moments)) if values is None else values
    return Series(
        log=LogInfo(uid, 1),
        stream=Stream(stream, f"s{stream}", 1_000_000, described),
        session=session,
        channels=described,
        utc_us=NEW_YEAR_US + boots.astype(np.int64) * BOOT_US + ticks,
        error_us=np.full(len(moments), 1500, dtype=np.int64) + ticks,
        quality=np.where(ticks % 2 == 0, Quality.INTERPOLATED, Quality.BOUNDED).astype(np.uint8),
        boot_id=boots,
        tick=ticks,
        starts=np.zeros(len(moments), dtype=np.bool_),
        raw=[np.asarray(raw, dtype=c.type.dtype) for c in described],
    )


def written(*pieces: Series, clock: bool = False) -> list[list[str]]:
    out = io.StringIO(newline="")
    rows = write_csv(Pieces(*pieces), out, clock=clock)
    table = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert rows == len(table) - 1
    return table


def moments(table: list[list[str]]) -> list[int]:
    """Microseconds since the new year."""
    times = [np.datetime64(row[0].removesuffix("+00:00"), "us") for row in table[1:]]
    return [int(time.astype(np.int64)) - NEW_YEAR_US for time in times]


def test_readings_of_one_moment_share_a_row_and_rows_are_in_order_of_time() -> None:
    fast = piece(0, [(1, 0), (1, 10), (1, 20), (1, 30)], [100, 101, 102, 103])
    slow = piece(1, [(1, 5), (1, 20), (1, 40)], [200, 201, 202])
    table = written(fast, slow)
    assert table[0] == ["time", "c0", "c1"]
    assert [row[1:] for row in table[1:]] == [
        ["100", ""],
        ["", "200"],
        ["101", ""],
        ["102", "201"],
        ["103", ""],
        ["", "202"],
    ]
    assert moments(table) == [BOOT_US + tick for tick in (0, 5, 10, 20, 30, 40)]


def test_each_row_has_the_quality_and_error_of_its_time() -> None:
    table = written(piece(0, [(1, 1), (1, 2)]), piece(1, [(1, 2), (1, 3)]), clock=True)
    assert [row[-2:] for row in table[1:]] == [
        ["bounded", "0.001501"],
        ["interpolated", "0.001502"],
        ["bounded", "0.001503"],
    ]


def test_the_same_tick_of_another_boot_is_another_moment() -> None:
    table = written(piece(0, [(1, 7), (2, 7)]), piece(1, [(2, 7), (3, 7)]))
    assert [row[1:] for row in table[1:]] == [["0", ""], ["1", "0"], ["", "1"]]


def test_the_boot_after_the_last_number_is_the_later_one() -> None:
    table = written(piece(0, [(65535, 7), (0, 3)]), piece(1, [(65534, 9), (0, 3)]))
    assert [row[1:] for row in table[1:]] == [["", "0"], ["0", ""], ["1", "1"]]


def test_two_readings_of_a_stream_in_one_moment_keep_rows_of_their_own() -> None:
    table = written(piece(0, [(1, 5), (1, 5), (1, 6)]), piece(1, [(1, 5), (1, 6), (1, 6)]))
    assert [row[1:] for row in table[1:]] == [["0", "0"], ["1", ""], ["2", "1"], ["", "2"]]


def test_sessions_follow_one_another_and_share_columns() -> None:
    pieces = [piece(s, [(1, t + 100 * (2 - n)) for t in (0, 5 + s)], session=n) for n in (1, 2) for s in (0, 1)]
    table = written(*pieces)
    assert table[0] == ["time", "c0", "c1"]
    assert [row[1:] for row in table[1:]] == 2 * [["0", "0"], ["1", ""], ["", "1"]]
    assert moments(table) == [BOOT_US + t for t in (100, 105, 106, 0, 5, 6)]


def test_columns_stand_as_declared_whichever_stream_recorded_first() -> None:
    wide = (channel("b"), channel("a"))
    table = written(piece(1, [(1, 0)], session=1), piece(0, [(2, 0)], session=2, channels=wide), piece(1, [(2, 0)]))
    assert table[0] == ["time", "b", "a", "c1"]


def test_channels_that_streams_share_by_name_are_told_apart() -> None:
    same = (channel("temperature"),)
    table = written(piece(0, [(1, 0)], [7], channels=same), piece(1, [(1, 0)], [9], channels=same))
    assert table == [["time", "s0: temperature", "s1: temperature"], [table[1][0], "7", "9"]]


def test_devices_with_the_same_streams_share_columns() -> None:
    table = written(*(piece(s, [(1, 0)], uid=uid) for uid in ("aa", "bb") for s in (0, 1)))
    assert table[0] == ["time", "device", "c0", "c1"]
    assert [row[1:] for row in table[1:]] == [["aa", "0", "0"], ["bb", "0", "0"]]


def test_a_description_that_changes_on_the_way_adds_its_columns() -> None:
    more = (channel("c0"), channel("extra"))
    table = written(piece(0, [(1, 0)]), piece(0, [(1, 2)], [1], channels=more), piece(1, [(1, 1), (1, 2)]))
    assert table[0] == ["time", "c0", "extra", "c1"]
    assert [row[1:] for row in table[1:]] == [["0", "", ""], ["", "", "0"], ["1", "1", "1"]]


streams = st.lists(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40)), min_size=1, max_size=30), min_size=2, max_size=4
)


def cut(stream: int, moments: list[Moment], size: int) -> list[Series]:
    """A stream in pieces of at most `size` readings, whose values count on."""
    values = list(range(len(moments)))
    starts = range(0, len(moments), size)
    return [piece(stream, moments[a : a + size], values[a : a + size]) for a in starts]


@settings(deadline=None)
@given(streams, st.integers(1, 8))
def test_whatever_the_order_every_reading_is_there_once_at_its_time(recorded: list[list[Moment]], size: int) -> None:
    """Also where a device tells moments that go back or come twice."""
    table = written(*(part for number, found in enumerate(recorded) for part in cut(number, found, size)))
    times = moments(table)
    for number, found in enumerate(recorded):
        cells = [(times[at], int(row[1 + number])) for at, row in enumerate(table[1:]) if row[1 + number]]
        assert cells == [(boot * BOOT_US + tick, index) for index, (boot, tick) in enumerate(found)]
    assert all(any(row[1:]) for row in table[1:])


@settings(deadline=None)
@given(streams, st.integers(1, 8), st.integers(1, 8))
def test_the_table_is_sorted_and_has_a_row_per_moment(recorded: list[list[Moment]], size: int, other: int) -> None:
    """Where moments ascend, as they do; however the streams are cut into pieces."""
    ascending = [sorted(set(found)) for found in recorded]
    table, again = (
        written(*(part for number, found in enumerate(ascending) for part in cut(number, found, pieces)))
        for pieces in (size, other)
    )
    assert moments(table) == [boot * BOOT_US + tick for boot, tick in sorted({m for found in ascending for m in found})]
    assert table == again


class Endless:
    """Two long streams, made as they are read."""

    LENGTH = 2000

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    def batches(self) -> Iterator[Series]:
        for stream in (0, 1):
            for at in range(self.pieces):
                ticks = range(at * self.LENGTH, (at + 1) * self.LENGTH)
                yield piece(stream, [(1, 3 * tick + stream) for tick in ticks])


class Sink(io.TextIOBase):
    def write(self, text: str, /) -> int:
        return len(text)


def peak(pieces: int) -> int:
    tracemalloc.start()
    try:
        sink: Any = Sink()
        assert write_csv(Endless(pieces), sink) == 2 * pieces * Endless.LENGTH
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_length_of_the_streams() -> None:
    peak(2)
    assert peak(20) < 1.5 * peak(4)
