"""Cells made of whole arrays say what the texts of single values and times say."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog.export.cells import Cells, lines
from fieldlog.export.texts import TimeUnit, value_texts
from fieldlog.export.time_cells import time_cells
from fieldlog.export.value_cells import ValueCells
from fieldlog_protocol.blocks.schema import Channel, ChannelType

WHOLE = [kind for kind in ChannelType if not kind.is_float]
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def texts(cells: Cells) -> list[str]:
    return lines([cells], ",", "\n").split("\n")[:-1]


@st.composite
def channels(draw: st.DrawFn) -> Channel:
    kind = draw(st.sampled_from(WHOLE))
    if kind is ChannelType.ENUM:
        return Channel("x", "", kind, choices=("off", "=on", "été"))
    missing = draw(st.sampled_from([None, kind.minimum, kind.maximum]))
    if kind is ChannelType.BOOL:
        return Channel("x", "", kind)
    scale = (draw(st.sampled_from([1, -3, 25, 244_140_625])), draw(st.integers(-20, 3)), draw(st.integers(-300, 300)))
    return Channel("x", "", kind, *scale, missing=missing, calibration=draw(st.sampled_from([(), (0.5, 1.01)])))


def raw_numbers(channel: Channel, seed: int, spread: int, size: int) -> Any:
    """Numbers of the channel's type, missing ones among them, from a range of `spread`."""
    rng = np.random.default_rng(seed)
    kind = channel.type
    low = int(rng.integers(kind.minimum, kind.maximum, endpoint=True, dtype=np.int64))
    high = min(low + spread, kind.maximum)
    raw = rng.integers(low, high, size, endpoint=True, dtype=np.int64)
    if channel.missing is not None:
        raw[rng.random(size) < 0.2] = channel.missing
    return raw.astype(kind.dtype)


@settings(deadline=None)
@given(channels(), st.integers(0, 2**32), st.sampled_from([0, 3, 5_000, 2**40]), st.sampled_from([1, 40, 600]))
def test_values_are_as_their_texts_batch_after_batch(channel: Channel, seed: int, spread: int, size: int) -> None:
    maker = ValueCells(channel)
    for batch in range(3):
        raw = raw_numbers(channel, seed + batch, spread, size)
        assert texts(maker.cells(raw)) == value_texts(channel, raw)


@settings(deadline=None)
@given(st.lists(st.floats(width=32) | st.floats(-1e7, 1e7, width=32) | st.integers(-9, 9).map(float), min_size=1))
def test_floats_are_as_their_texts(values: list[float]) -> None:
    channel = Channel("x", "", ChannelType.F32)
    raw = np.array(values, np.float32)
    assert texts(ValueCells(channel).cells(raw)) == value_texts(channel, raw)


def test_a_decimal_comma_stands_in_numbers_and_not_in_words() -> None:
    volts = Channel("x", "V", ChannelType.I16, exponent=-2)
    assert texts(ValueCells(volts, ";", ",").cells(np.array([-5, 1234], "<i2"))) == ["-0,05", "12,34"]
    assert texts(ValueCells(Channel("x", "", ChannelType.F32), ";", ",").cells(np.array([0.25], "<f4"))) == ["0,25"]
    words = Channel("x", "", ChannelType.ENUM, choices=("v1.2", "a;b"))
    assert texts(ValueCells(words, ";", ",").cells(np.array([0, 1], "<u1"))) == ["v1.2", '"a;b"']


@pytest.mark.parametrize("unit", ["s", "us"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Africa/Monrovia"])
@settings(deadline=None)
@given(st.lists(st.integers(0, 10**17), min_size=1, max_size=20))
def test_times_are_as_datetime_says_them(zone: str, unit: TimeUnit, moments: list[int]) -> None:
    tz = ZoneInfo(zone)
    spec = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}[unit]
    utc_us = np.array([*moments, UNKNOWN_TIME], np.int64)
    expected = [(EPOCH + dt.timedelta(microseconds=us)).astimezone(tz).isoformat(timespec=spec) for us in moments]
    assert texts(time_cells(utc_us, unit, tz)) == [*expected, ""]


def test_the_hour_that_comes_twice_is_told_apart_by_its_offset() -> None:
    hour = 3_600_000_000
    summer_ends = 1_382_835_600_000_000 + np.arange(-2, 2) * hour  # 2013-10-27T01:00Z
    assert texts(time_cells(summer_ends, "s", ZoneInfo("Europe/Berlin"))) == [
        "2013-10-27T01:00:00+02:00",
        "2013-10-27T02:00:00+02:00",
        "2013-10-27T02:00:00+01:00",
        "2013-10-27T03:00:00+01:00",
    ]
