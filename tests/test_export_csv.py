"""CSV that says exactly what was measured, and that a spreadsheet cannot be tricked with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fieldlog.archive
from archive_data import CLIMATE, DOOR, LOG_ID, NEW_YEAR_US, UID, PaperLogger, climate
from fieldlog.archive import Archive, LogInfo
from fieldlog.archive.series import Series
from fieldlog.clock_model import UNBOUNDED, UNKNOWN_TIME, Quality
from fieldlog.clock_sync import Sync
from fieldlog.export import write_csv
from fieldlog.export.style import Style, Units
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream
from fieldlog_protocol.errors import UsageError


class Given:
    """Some series as a selection."""

    def __init__(self, *series: Series) -> None:
        self.series = series

    def batches(self) -> Iterator[Series]:
        return iter(self.series)


def series(*channels: tuple[Channel, Any], utc_us: Any = None, uid: str = "aa", label: str = "") -> Series:
    raw = [np.asarray(values, dtype=channel.type.dtype) for channel, values in channels]
    n = len(raw[0])
    times = NEW_YEAR_US + np.arange(n, dtype=np.int64) * 3_600_000_000 if utc_us is None else np.asarray(utc_us)
    described = tuple(channel for channel, _ in channels)
    return Series(
        log=LogInfo(uid, 1, label=label),
        stream=Stream(0, "s", 1_000_000, described),
        session=1,
        channels=described,
        utc_us=times,
        error_us=np.full(n, 1500, dtype=np.int64),
        quality=np.full(n, Quality.INTERPOLATED, dtype=np.uint8),
        boot_id=np.ones(n, dtype=np.uint16),
        tick=np.arange(n, dtype=np.int64),
        starts=np.zeros(n, dtype=np.bool_),
        raw=raw,
    )


def written(*pieces: Series, clock: bool = False) -> list[list[str]]:
    out = io.StringIO(newline="")
    rows = write_csv(Given(*pieces), out, clock=clock)
    table = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert rows == len(table) - 1
    return table


def column(channel: Channel, values: Any) -> list[str]:
    return [row[1] for row in written(series((channel, values)))[1:]]


HUNDREDTHS = Channel("temperature", "[degF]", ChannelType.I16, exponent=-2, missing=-32768)


def test_the_file_is_as_documented() -> None:
    out = io.StringIO(newline="")
    rain = Channel("rain, total", "mm", ChannelType.U16)
    write_csv(Given(series((HUNDREDTHS, [3902, -5, -32768]), (rain, [0, 7, 65535]))), out)
    assert out.getvalue() == (
        'time,temperature [[degF]],"rain, total [mm]"\n'
        "2013-01-01T00:00:00+00:00,39.02,0\n"
        "2013-01-01T01:00:00+00:00,-0.05,7\n"
        "2013-01-01T02:00:00+00:00,,65535\n"
    )


@settings(deadline=None)
@given(
    raw=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20),
    multiplier=st.sampled_from([1, 5, 25, -3, 10**6]),
    exponent=st.integers(-25, 6),
    offset=st.sampled_from([0, 27315, -40, 2**60]),
    small=st.booleans(),
)
def test_every_value_is_exact_with_the_decimals_of_its_scale(
    raw: list[int], multiplier: int, exponent: int, offset: int, *, small: bool
) -> None:
    values = [value % 30_000 for value in raw] if small else raw
    kind = ChannelType.I16 if small else ChannelType.I64
    channel = Channel("x", "", kind, multiplier, exponent, offset)
    for text, value in zip(column(channel, values), values, strict=True):
        numerator = value * multiplier + offset
        sign, digits, _ = Decimal(numerator).as_tuple()
        exact = Decimal((sign, digits, exponent))
        assert Decimal(text) == exact
        assert len(text.partition(".")[2]) == max(0, -exponent)


@settings(deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_a_float_reads_back_as_the_same_float(values: list[float]) -> None:
    channel = Channel("x", "", ChannelType.F32)
    raw = np.array(values, dtype=np.float32)
    back = np.array([float(text) if text else np.nan for text in column(channel, raw)], dtype=np.float32)
    assert np.array_equal(back, raw, equal_nan=True)
    assert column(channel, [0.1]) == ["0.1"]


def test_booleans_are_digits_and_choices_are_words() -> None:
    assert column(Channel("door", "", ChannelType.BOOL), [0, 1]) == ["0", "1"]
    mode = Channel("mode", "", ChannelType.ENUM, missing=255, choices=("off", "=on()", "auto\x1b"))
    assert column(mode, [0, 1, 2, 9, 255]) == ["off", "'=on()", "auto", "9", ""]


@pytest.mark.parametrize(
    ("offsets_us", "texts"),
    [
        ([0, 1_000_000], ["2013-01-01T00:00:00+00:00", "2013-01-01T00:00:01+00:00"]),
        ([0, 250_000], ["2013-01-01T00:00:00.000+00:00", "2013-01-01T00:00:00.250+00:00"]),
        ([0, 31], ["2013-01-01T00:00:00.000000+00:00", "2013-01-01T00:00:00.000031+00:00"]),
    ],
)
def test_times_have_as_many_decimals_as_the_file_needs(offsets_us: list[int], texts: list[str]) -> None:
    early, late = (series((HUNDREDTHS, [1]), utc_us=np.array([NEW_YEAR_US + us], dtype=np.int64)) for us in offsets_us)
    rows = written(early, late)[1:]
    assert [row[0] for row in rows] == texts
    assert [datetime.fromisoformat(row[0]).timestamp() for row in rows] == [
        (NEW_YEAR_US + us) / 1e6 for us in offsets_us
    ]


def styled(style: Style, *pieces: Series) -> list[list[str]]:
    out = io.StringIO(newline="")
    write_csv(Given(*pieces), out, style=style)
    return list(csv.reader(io.StringIO(out.getvalue(), newline="")))


@pytest.mark.parametrize(
    ("period_us", "ends"),
    [
        (999_999, ["31 23:59:59.999", "01 00:00:00.000", "01 00:00:01.999"]),
        (0, ["31 23:59:59.999", "01 00:00:00.000", "01 00:00:01.999"]),
        (1_000_000, ["31 23:59:59", "01 00:00:00", "01 00:00:01"]),
        (60_000_000, ["31 23:59:59", "01 00:00:00", "01 00:00:01"]),
        (1_500_000, ["31 23:59:59.999", "01 00:00:00.000", "01 00:00:01.999"]),
    ],
)
def test_a_spreadsheet_gets_what_is_left_of_the_fraction_that_it_can_show(period_us: int, ends: list[str]) -> None:
    """Cut off: what lies before a midnight is shown before it. Excel shows a time with a fraction as 59:59.9."""
    times = np.array([NEW_YEAR_US - 15, NEW_YEAR_US + 499, NEW_YEAR_US + 1_999_500, UNKNOWN_TIME], dtype=np.int64)
    piece = series((HUNDREDTHS, [1, 2, 3, 4]), utc_us=times)
    piece = replace(piece, stream=msgspec.structs.replace(piece.stream, period_us=period_us, timed=True))
    table = styled(Style(spreadsheet=True), piece)
    assert [row[0][8:] for row in table[1:]] == [*ends, ""]


@pytest.mark.parametrize("style", [Style(units=Units.ROW), Style(long=True), Style(spreadsheet=True)])
def test_no_style_lets_formulas_or_control_characters_through(style: Style) -> None:
    evil = Channel('=cmd("x"),1', "@SUM(1)", ChannelType.ENUM, choices=("+1", '\x1b[31m"a"\r\n,b'))
    table = styled(style, series((evil, [0, 1]), label="=a"), series((evil, [0, 1]), uid="bb", label="-b\r\n"))
    cells = {cell for row in table for cell in row}
    assert not [cell for cell in cells if cell[:1] in "=+-@" and cell]
    assert not [cell for cell in cells if any(ord(character) < 32 for character in cell)]
    assert {"'+1", '[31m"a",b', "'=a", "'-b"} <= cells


def test_an_unknown_time_is_an_empty_cell() -> None:
    times = np.array([UNKNOWN_TIME, NEW_YEAR_US], dtype=np.int64)
    table = written(series((HUNDREDTHS, [1, 2]), utc_us=times))
    assert [row[0] for row in table[1:]] == ["", "2013-01-01T00:00:00+00:00"]


def test_quality_and_error_of_times_are_there_when_asked_for() -> None:
    piece = series((HUNDREDTHS, [1, 2]))
    piece.quality[1], piece.error_us[1] = Quality.UNKNOWN, UNBOUNDED
    table = written(piece, clock=True)
    assert table[0][-2:] == ["time quality", "time error [s]"]
    assert [row[-2:] for row in table[1:]] == [["interpolated", "0.001500"], ["unknown", ""]]


def test_streams_and_devices_share_one_table() -> None:
    other = Channel("wind", "m/s", ChannelType.U8)
    first = series((HUNDREDTHS, [100]), label="attic")
    second = series((other, [3]), (HUNDREDTHS, [200]), uid="bb", label="=cellar")
    table = written(first, second)
    assert table[0] == ["time", "device", "temperature [[degF]]", "wind [m/s]"]
    assert [row[1:] for row in table[1:]] == [["attic", "1.00", ""], ["'=cellar", "2.00", "3"]]


def test_channels_of_one_name_keep_columns_of_their_own() -> None:
    table = written(series((HUNDREDTHS, [100]), (HUNDREDTHS, [200])))
    assert table[1][1:] == ["1.00", "2.00"]


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("=1+1", "'=1+1 [m]"),
        ("+x", "'+x [m]"),
        ("-x", "'-x [m]"),
        ("@SUM(A1)", "'@SUM(A1) [m]"),
        ("\t=1+1", "'=1+1 [m]"),
        ("  =1+1", "'  =1+1 [m]"),
        ("\x00\x1b[31mred\u202e\r\n", "[31mred [m]"),
        ('a "quote", b', 'a "quote", b [m]'),
        ("half \ud800", "half  [m]"),
        ("x=1", "x=1 [m]"),
    ],
)
def test_names_cannot_become_formulas_or_control_anything(name: str, heading: str) -> None:
    table = written(series((Channel(name, "m", ChannelType.U8), [1])))
    assert table[0] == ["time", heading]
    heading.encode("utf-8")


def test_an_empty_selection_is_one_sentence_and_no_file() -> None:
    out = io.StringIO(newline="")
    with pytest.raises(UsageError, match="nothing to export"):
        write_csv(Given(), out)
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("unit", "heading"), [("[g]", "x [g]"), ("[degF]", "x [[degF]]"), ("g", "x [g]"), ("%", "x [%]"), ("", "x")]
)
def test_a_unit_stands_in_brackets(unit: str, heading: str) -> None:
    assert written(series((Channel("x", unit, ChannelType.U8), [1])))[0] == ["time", heading]


def test_the_archive_is_exported_whole(tmp_path: Path) -> None:
    logger = PaperLogger()
    logger.schema()
    ticks, temperature, humidity = climate(2500)
    logger.data(CLIMATE, ticks, temperature, humidity)
    logger.data(DOOR, [10], [1])
    with fieldlog.archive.open(tmp_path) as archive:
        table = exported(archive, logger)
    assert table[0] == ["time", "temperature [Cel]", "relative humidity [%]", "open"]
    assert len(table) == 1 + 2500 + 1
    door = table.pop(2)
    assert door == ["2013-01-01T00:00:00.000305+00:00", "", "", "1"]
    assert [row[1] for row in table[1:]] == [f"{Decimal(int(raw)) / 100:.2f}" for raw in temperature]


def exported(archive: Archive, logger: PaperLogger) -> list[list[str]]:
    log = archive.log(UID, LOG_ID)
    log.add_blocks(logger.blocks)
    log.add_syncs([Sync(1, 0, NEW_YEAR_US, 10)])
    out = io.StringIO(newline="")
    write_csv(archive.readings(), out)
    return list(csv.reader(io.StringIO(out.getvalue(), newline="")))
