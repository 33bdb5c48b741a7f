"""Even steps of time: every reading in one step, nothing made up, days as the clocks on the wall show them."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog.resample import DAY_US, Resampled, Resampler, Steps
from fieldlog_protocol.errors import UsageError

MIN_US = 60_000_000
HOUR_US = 60 * MIN_US
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def fed(steps: Steps, utc_us: Any, column: Any, known: Any, size: int) -> list[Resampled]:
    """What comes of readings that are fed in pieces."""
    resampler = Resampler(steps)
    found = [
        resampler.feed(utc_us[at : at + size], [column[at : at + size]], [known[at : at + size]])
        for at in range(0, len(utc_us), size)
    ]
    rest = resampler.rest()
    return [*found, rest] if rest is not None else found


@settings(deadline=None)
@given(
    times=st.lists(st.integers(0, 20 * MIN_US), min_size=1, max_size=60).map(sorted),
    seed=st.integers(0, 2**32),
    size=st.integers(1, 20),
    kind=st.sampled_from(["<i2", "<u1", "<i8", "<f4"]),
)
def test_each_step_is_what_its_readings_are(times: list[int], seed: int, size: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    utc_us = np.array(times, np.int64)
    column = rng.integers(0, 200, len(times)).astype(kind)
    known = rng.random(len(times)) < 0.8
    parts = fed(Steps(MIN_US), utc_us, column, known, size)
    begins = np.concatenate([part.begin_us for part in parts])
    assert begins.tolist() == sorted({time // MIN_US * MIN_US for time in times})
    for part in parts:
        (channel,) = part.channels
        for index, begin in enumerate(part.begin_us):
            values = column[known & (utc_us >= begin) & (utc_us < begin + MIN_US)]
            assert channel.count[index] == len(values)
            if len(values):
                assert channel.mean[index] == pytest.approx(values.mean())
                assert (channel.lowest[index], channel.highest[index]) == (values.min(), values.max())
            else:
                assert np.isnan(channel.mean[index])


def test_not_a_number_is_missing_and_a_reading_without_time_is_in_no_step() -> None:
    resampler = Resampler(Steps(MIN_US))
    resampler.feed(np.array([0, UNKNOWN_TIME, 1]), [np.array([1.5, 99.0, np.nan])])
    rest = resampler.rest()
    assert rest is not None
    assert (rest.begin_us.tolist(), rest.channels[0].count.tolist(), rest.channels[0].mean.tolist()) == (
        [0],
        [1],
        [1.5],
    )


def test_what_is_infinite_is_missing() -> None:
    resampler = Resampler(Steps(MIN_US))
    resampler.feed(np.arange(4), [np.array([1.5, np.inf, -np.inf, 2.5])])
    rest = resampler.rest()
    assert rest is not None
    (channel,) = rest.channels
    assert (channel.count.tolist(), channel.mean.tolist()) == ([2], [2.0])
    assert (channel.lowest.tolist(), channel.highest.tolist()) == ([1.5], [2.5])


def test_large_readings_do_not_overflow() -> None:
    resampler = Resampler(Steps(MIN_US))
    resampler.feed(np.arange(4), [np.full(4, 2**62, np.int64)])
    rest = resampler.rest()
    assert rest is not None
    assert rest.channels[0].mean.tolist() == [2.0**62]


ZONES = ("Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")


@pytest.mark.parametrize("zone", ZONES)
@settings(deadline=None)
@given(st.integers(0, 1_600_000_000), st.sampled_from([10 * MIN_US, HOUR_US, 6 * HOUR_US, DAY_US, 7 * DAY_US]))
def test_steps_begin_at_even_times_on_the_wall_and_hold_their_moments(zone: str, second: int, us: int) -> None:
    tz = ZoneInfo(zone)
    utc_us = np.sort(second * 1_000_000 + np.arange(-80, 80) * 37 * MIN_US)
    begin = Steps(us, tz).begin(utc_us)
    assert (begin <= utc_us).all()
    assert (np.diff(begin) >= 0).all()
    assert (utc_us - begin < us + HOUR_US).all()
    for at in np.unique(begin).tolist():
        local = (EPOCH + dt.timedelta(microseconds=at)).astimezone(tz)
        even = (local.hour * 60 + local.minute) * MIN_US % min(us, DAY_US) == 0
        assert even or local.utcoffset() != (local - dt.timedelta(hours=3)).astimezone(tz).utcoffset() or zone in _GAPS
        assert us < 7 * DAY_US or local.weekday() == 0


_GAPS = ("America/Sao_Paulo", "Australia/Lord_Howe")  # clocks change at midnight, or by half an hour


def days(begin_us: Any, tz: dt.tzinfo) -> list[str]:
    return [(EPOCH + dt.timedelta(microseconds=at)).astimezone(tz).isoformat() for at in np.unique(begin_us).tolist()]


def test_days_and_hours_where_the_clocks_are_put_back() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    utc_us = 1_382_738_400_000_000 + np.arange(0, 26 * 4) * 15 * MIN_US  # from midnight of 2013-10-26 UTC+2 on
    shifted = utc_us + 24 * HOUR_US
    assert days(Steps(DAY_US, berlin).begin(shifted), berlin) == [
        "2013-10-27T00:00:00+02:00",
        "2013-10-28T00:00:00+01:00",
    ]
    hours = days(Steps(HOUR_US, berlin).begin(shifted), berlin)
    assert hours[2:4] == ["2013-10-27T02:00:00+02:00", "2013-10-27T02:00:00+01:00"]
    assert days(Steps(6 * HOUR_US, berlin).begin(shifted), berlin)[1] == "2013-10-27T06:00:00+01:00"


def test_a_step_joins_the_one_before_unless_one_is_empty_in_between() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    steps = Steps(DAY_US, berlin)
    begin = steps.begin(1_382_738_400_000_000 + np.array([0, 1, 2, 4]) * 25 * HOUR_US)
    assert steps.joins(begin).tolist() == [False, True, True, False]


@pytest.mark.parametrize("us", [7 * MIN_US, 36 * HOUR_US, 5 * HOUR_US])
def test_steps_that_fill_no_day_are_refused(us: int) -> None:
    with pytest.raises(UsageError, match="fill a day"):
        Steps(us)
