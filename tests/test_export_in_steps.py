"""Selections over even steps: exact numbers, whatever the scale, and steps that go on over sessions and batches."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from archive_data import NEW_YEAR_US
from fieldlog.archive.series import Series
from fieldlog.clock_model import UNBOUNDED, UNKNOWN_TIME, Quality
from fieldlog.export import write_csv
from fieldlog.export.resampled import InSteps, Statistic
from fieldlog.resample import Steps
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream
from fieldlog_protocol.errors import UsageError
from test_export_csv import Given, series

HOUR_US = 3_600_000_000
ALL = tuple(Statistic)


def stepped(*pieces: Series, statistics: Sequence[Statistic] = ALL, clock: bool = False) -> list[list[str]]:
    """The rows of two-hour steps."""
    out = io.StringIO(newline="")
    write_csv(InSteps(Given(*pieces), Steps(2 * HOUR_US), statistics), out, clock=clock)
    return list(csv.reader(io.StringIO(out.getvalue(), newline="")))


def later(piece: Series, hours: int, **changes: Any) -> Series:
    return dataclasses.replace(piece, utc_us=piece.utc_us + hours * HOUR_US, **changes)


@pytest.mark.parametrize(
    ("channel", "values", "cells"),
    [
        (Channel("x", "", ChannelType.I16, exponent=-2), [100, 201], ["1.5050", "1.00", "2.01", "2"]),
        (Channel("x", "", ChannelType.U8, missing=9), [9, 7], ["7.00", "7", "7", "1"]),
        (Channel("x", "", ChannelType.U8, missing=9), [9, 9], ["", "", "", "0"]),
        (Channel("x", "", ChannelType.I8, -2, -1, 5), [-10, 20], ["-0.500", "-3.5", "2.5", "2"]),
        (Channel("x", "", ChannelType.BOOL), [0, 1], ["0.50", "0", "1", "2"]),
        (Channel("x", "", ChannelType.F32), [0.1, np.nan], ["0.1", "0.1", "0.1", "1"]),
        (Channel("x", "", ChannelType.F32), [np.nan, np.nan], ["", "", "", "0"]),
        (Channel("x", "", ChannelType.I16, calibration=(0.0, -0.5)), [1, 2], ["-0.75", "-1", "-0.5", "2"]),
        (Channel("x", "", ChannelType.F32), [np.inf, 0.5], ["0.5", "0.5", "0.5", "1"]),
        (Channel("x", "", ChannelType.F32), [np.inf, -np.inf], ["", "", "", "0"]),
        (Channel("x", "", ChannelType.I64), [2**62, 2**62], [str(2**62)] * 3 + ["2"]),
        (Channel("x", "", ChannelType.I64), [2**63 - 1], [str(2**63 - 1024), *[str(2**63 - 1)] * 2, "1"]),
        (
            Channel("x", "ms", ChannelType.I64, missing=-(2**63)),
            [1_791_234_567_891, 1_791_234_567_893],
            ["1791234567892", "1791234567891", "1791234567893", "2"],
        ),
        (
            Channel("x", "s", ChannelType.I64, -1, -9),
            [3, 2**50 + 1],
            ["-562949.953421314", "-1125899.906842625", "-0.000000003", "2"],
        ),
        (Channel("x", "", ChannelType.U32, exponent=3), [2**32 - 1], ["4.294967295e+12", *["4294967295000"] * 2, "1"]),
        (Channel("x", "", ChannelType.I32, exponent=3), [1, 2], ["1500", "1000", "2000", "2"]),
    ],
)
def test_statistics_of_one_step(channel: Channel, values: list[Any], cells: list[str]) -> None:
    assert stepped(series((channel, values)))[1:] == [["2013-01-01T00:00:00+00:00", *cells]]


X = Channel("x", "", ChannelType.U8)


def test_a_step_goes_on_over_batches_and_sessions() -> None:
    first = series((X, [1, 2, 3]))
    second = later(series((X, [5])), 3, session=2)
    assert [row[1:] for row in stepped(first, second, statistics=[Statistic.MEAN])[1:]] == [["1.50"], ["4.00"]]


def test_a_step_goes_on_where_a_session_has_another_period() -> None:
    slow = later(series((X, [7])), 1, session=2)
    slow = dataclasses.replace(slow, stream=msgspec.structs.replace(slow.stream, period_us=60_000_000))
    assert [row[1:] for row in stepped(series((X, [1])), slow)[1:]] == [["4.00", "1", "7", "2"]]


def test_a_stream_that_is_described_anew_begins_new_steps_in_order_of_time() -> None:
    other = Channel("y", "", ChannelType.U8)
    pieces = (series((X, [1])), later(series((other, [5])), 1), later(series((other, [7])), 2))
    table = stepped(*pieces, statistics=[Statistic.MEAN])
    assert [row[0][11:13] for row in table[1:]] == ["00", "00", "02"]
    assert [(row[1], row[2]) for row in table[1:]] == [("1.00", ""), ("", "5.00"), ("", "7.00")]


def test_each_device_has_steps_of_its_own() -> None:
    table = stepped(series((X, [1]), uid="aa"), series((X, [3]), uid="bb"), statistics=[Statistic.MAX])
    assert [row[1:] for row in table[1:]] == [["aa", "1"], ["bb", "3"]]


def test_a_step_is_known_as_badly_as_its_worst_reading() -> None:
    piece = series((X, [1, 2, 3]))
    piece.quality[1], piece.error_us[1] = Quality.RTC, 7_000_000
    piece.error_us[2] = UNBOUNDED
    table = stepped(piece, statistics=[Statistic.MIN], clock=True)
    assert [row[-2:] for row in table[1:]] == [["rtc", "7.000000"], ["interpolated", ""]]


def test_what_has_no_mean_and_what_has_no_time_is_told() -> None:
    mode = Channel("mode", "", ChannelType.ENUM, choices=("off", "on"))
    times = np.array([UNKNOWN_TIME, NEW_YEAR_US], np.int64)
    steps = InSteps(Given(series((mode, [0, 1]), (X, [1, 2]), utc_us=times)), Steps(HOUR_US), [Statistic.MEAN])
    assert [piece.raw[0].tolist() for piece in steps.batches()] == [[200]]
    nameless, undated = steps.problems
    assert nameless.startswith("mode has words")
    assert undated.startswith("1 reading whose time")


def test_empty_steps_begin_anew() -> None:
    times = NEW_YEAR_US + np.array([0, 2, 6, 8]) * HOUR_US
    steps = InSteps(Given(series((X, [1, 2, 3, 4]), utc_us=times)), Steps(2 * HOUR_US), [Statistic.MEAN])
    starts = np.concatenate([piece.starts for piece in steps.batches()])
    assert starts.tolist() == [True, False, True, False]


def test_too_many_columns_are_one_sentence() -> None:
    many = [(Channel(f"x{number}", "", ChannelType.U8), [1]) for number in range(100)]
    with pytest.raises(UsageError, match="400 columns"):
        stepped(series(*many))


def test_nothing_but_words_is_nothing_to_export() -> None:
    mode = Channel("mode", "", ChannelType.ENUM, choices=("off", "on"))
    with pytest.raises(UsageError, match="nothing to export"):
        stepped(series((mode, [0, 1])))


def test_streams_keep_their_names() -> None:
    (piece,) = InSteps(Given(series((X, [1]))), Steps(HOUR_US), [Statistic.MEAN]).batches()
    assert piece.stream == Stream(0, "s", HOUR_US, piece.channels)
