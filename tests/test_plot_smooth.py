"""Moving means and means of steps: what pandas reckons, however the readings come, and never over what was not logged."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog.plot import Limit, Trace, smoothing, timeseries
from fieldlog.plot.course import Piece, Smooth, Smoothing, apart
from fieldlog.plot.lines import lines_of
from fieldlog.plot.smooth import lines_from, smoothed
from fieldlog.resample import Steps
from fieldlog_protocol.errors import UsageError

NEW_YEAR_US = 1_356_998_400_000_000
HOUR_US = 3_600_000_000
Floats = npt.NDArray[np.float64]
WAYS = [("3h", None), (None, "3h")]


def rolling(text: str) -> Smoothing:
    found = smoothing(text, None, UTC)
    assert found is not None
    return found


def course(trace: Trace, way: Smoothing) -> Smooth:
    (line,) = lines_from([trace], 100_000, (), way, spread=False)
    assert isinstance(line, Smooth)
    assert line.course is not None
    return line


def split(trace: Trace, at: Sequence[int]) -> Iterator[Piece]:
    """The trace in batches; a later one goes on where the one before ended."""
    assert trace.starts is not None
    for begin, end in zip([0, *at], [*at, len(trace.values)], strict=True):
        part = slice(begin, end)
        yield Piece("", [Trace(trace.name, trace.unit, trace.utc_us[:0], trace.values[:0])], *parts(trace, part))


def parts(trace: Trace, part: slice) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], list[Floats]]:
    assert trace.starts is not None
    return trace.utc_us[part], trace.starts[part], [trace.values[part]]


@st.composite
def broken(draw: st.DrawFn) -> tuple[Trace, list[int]]:
    """Readings at odd distances, some missing, with interruptions; and where they are split."""
    steps = draw(st.lists(st.integers(1, 400), min_size=2, max_size=60))
    values = draw(st.lists(st.integers(-500, 500) | st.none(), min_size=len(steps), max_size=len(steps)))
    starts = draw(st.lists(st.sampled_from([False] * 6 + [True]), min_size=len(steps), max_size=len(steps)))
    utc_us = NEW_YEAR_US + np.cumsum(np.array(steps, np.int64)) * 60_000_000
    column = np.array([np.nan if value is None else value / 10 for value in values])
    trace = Trace("T", "Cel", utc_us, column, np.array([True, *starts[1:]]))
    return trace, sorted(draw(st.sets(st.integers(1, len(steps) - 1), max_size=5)))


def expected_rolling(trace: Trace, window: str) -> Floats:
    """By pandas, run by run; nothing where the reading itself is missing."""
    assert trace.starts is not None
    run = np.cumsum(trace.starts)
    found = np.full(len(run), np.nan)
    for number in np.unique(run):
        there = run == number
        series = pd.Series(trace.values[there], pd.DatetimeIndex(trace.utc_us[there].view("datetime64[us]")))
        found[there] = series.rolling(pd.Timedelta(window), center=True, min_periods=1).mean()
    found[np.isnan(trace.values)] = np.nan
    return found


@settings(deadline=None, max_examples=60)
@given(broken(), st.sampled_from(["1min", "90min", "6h", "60h"]))
def test_moving_means_are_those_of_pandas(case: tuple[Trace, list[int]], window: str) -> None:
    trace, at = case
    expected = expected_rolling(trace, window)
    pieces = list(rolling(window).smooth(split(trace, at)))
    told = np.concatenate([piece.columns[0] for piece in pieces])
    assert np.concatenate([piece.utc_us for piece in pieces]).tolist() == trace.utc_us.tolist()
    assert np.concatenate([piece.starts for piece in pieces]).tolist() == trace.starts.tolist()  # type: ignore[union-attr]
    assert np.allclose(told, expected, atol=1e-9, equal_nan=True)


def test_a_window_does_not_reach_over_a_gap() -> None:
    values = np.array([0.0] * 10 + [100.0] * 10)
    utc_us = NEW_YEAR_US + np.arange(20) * HOUR_US
    starts = np.arange(20) % 10 == 0
    line = course(Trace("T", "Cel", utc_us, values, starts), rolling("12h"))
    assert line.course is not None
    assert line.course.mean.tolist() == values.tolist()
    assert np.flatnonzero(line.course.starts).tolist() == [0, 10]


def test_the_line_is_interrupted_at_a_missing_value_that_the_mean_leaves_out() -> None:
    trace = Trace("T", "Cel", NEW_YEAR_US + np.arange(5) * HOUR_US, np.array([1.0, 2.0, np.nan, 4.0, 5.0]))
    found = course(trace, rolling("4h")).course
    assert found is not None
    assert found.mean.tolist() == pytest.approx(
        [1.5, 7 / 3, 4.5, 4.5]
    )  # from two hours before, without it, to two after
    assert found.starts.tolist() == [True, False, True, False]


def test_dense_readings_are_taken_together_within_a_share_of_the_window() -> None:
    n = 200_000
    utc_us = NEW_YEAR_US + np.arange(n) * 10_000
    values = np.sin(np.arange(n) / 7_000) * 50 + 1e6
    trace = Trace("x", "[g]", utc_us, values, np.arange(n) == 0)
    pieces = list(rolling("10min").smooth(split(trace, list(range(10_000, n, 10_000)))))
    told = np.concatenate([piece.columns[0] for piece in pieces])
    at = np.concatenate([piece.utc_us for piece in pieces])
    assert len(told) < n / 10
    series = pd.Series(values, pd.DatetimeIndex(utc_us.view("datetime64[us]")))
    exact = series.rolling("10min", center=True, min_periods=1).mean().to_numpy()
    assert np.abs(told - np.interp(at, utc_us, exact)).max() < 0.05


def test_memory_does_not_grow_with_the_window() -> None:
    n, batch = 600_000, 50_000

    def pieces() -> Iterator[Piece]:
        for begin in range(0, n, batch):
            utc_us = NEW_YEAR_US + np.arange(begin, begin + batch) * 10_000
            starts = np.arange(begin, begin + batch) == 0
            yield Piece("", [Trace("x", "[g]", utc_us[:0], np.zeros(0))], utc_us, starts, [np.ones(batch)])

    peaks: list[int] = []
    for window in ("1s", "90min"):
        tracemalloc.start()
        assert all(piece.columns[0].min() == 1.0 for piece in rolling(window).smooth(pieces()))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


@settings(deadline=None, max_examples=40)
@given(broken())
def test_steps_are_those_of_pandas(case: tuple[Trace, list[int]]) -> None:
    trace, at = case
    (line,) = lines_of([Trace("T", "Cel", trace.utc_us, np.nan_to_num(trace.values), trace.starts)], 10_000)
    way = smoothing(None, "6h", UTC)
    assert way is not None
    (found,) = smoothed([line], split(trace, at), way, 10_000)
    series = pd.Series(trace.values, pd.DatetimeIndex(trace.utc_us.view("datetime64[us]")))
    steps = series.groupby(series.index.floor("6h")).agg(["mean", "min", "max"]).dropna()
    if not len(steps):
        assert not isinstance(found, Smooth)
        return
    assert isinstance(found, Smooth)
    assert found.course is not None
    assert found.begins_us is not None
    assert found.begins_us.tolist() == (steps.index.to_numpy().astype("datetime64[us]").astype(np.int64)).tolist()
    assert np.allclose(found.course.mean, steps["mean"])
    assert found.course.low.tolist() == steps["min"].tolist()
    assert found.course.high.tolist() == steps["max"].tolist()


def test_steps_are_joined_only_where_none_between_them_is_empty() -> None:
    utc_us = NEW_YEAR_US + np.array([0, 1, 2, 5, 6]) * HOUR_US
    found = course(Trace("T", "Cel", utc_us, np.arange(5.0)), smoothing(None, "1h", UTC))  # type: ignore[arg-type]
    assert found.course is not None
    assert found.course.starts.tolist() == [True, False, False, True, False]


def test_days_end_at_midnight_where_clocks_change() -> None:
    zone = ZoneInfo("America/New_York")
    midnight = round(datetime(2013, 3, 9, tzinfo=zone).timestamp() * 1e6)
    way = smoothing(None, "1d", zone)
    assert way is not None
    line = course(Trace("T", "Cel", midnight + np.arange(71) * HOUR_US, np.arange(71.0)), way)
    assert line.begins_us is not None
    assert line.ends_us is not None
    assert ((line.ends_us - line.begins_us) // HOUR_US).tolist() == [24, 23, 24]
    assert line.ends_us[:-1].tolist() == line.begins_us[1:].tolist()


@pytest.mark.parametrize(("window", "step"), WAYS)
def test_a_spike_stays_in_the_picture(window: str | None, step: str | None) -> None:
    values = np.zeros(20_000)
    values[12_345] = 99.0
    trace = Trace("T", "Cel", NEW_YEAR_US + np.arange(20_000) * 60_000_000, values)
    (panel,) = timeseries([trace], rolling=window, resample=step).axes
    drawn = [np.asarray(line.get_ydata(), float) for line in panel.get_lines()]
    tops = [np.nanmax(values) for values in drawn if len(values)]
    bands = [np.asarray(path.vertices)[:, 1].max() for band in panel.collections for path in band.get_paths()]
    assert max([*tops, *bands]) == pytest.approx(99.0)


@pytest.mark.parametrize(("window", "step"), WAYS)
def test_tables_and_thresholds_are_those_of_the_readings(window: str | None, step: str | None) -> None:
    values = np.arange(100.0) % 10
    trace = Trace("T", "Cel", NEW_YEAR_US + np.arange(100) * HOUR_US, values)
    limits = [Limit("T", 8.5)]
    (plain,) = lines_from([trace], 1000, limits, None, spread=True)
    (smooth,) = lines_from([trace], 1000, limits, smoothing(window, step, UTC), spread=True)
    assert smooth.figures == plain.figures


def test_what_the_line_is_stands_above_the_picture() -> None:
    trace = Trace("T", "Cel", NEW_YEAR_US + np.arange(9000) * HOUR_US, np.arange(9000.0) % 24)
    words = [text.get_text() for text in timeseries([trace], rolling="1d").texts]
    assert any("line: mean over 1 d around each reading" in text for text in words)
    words = [text.get_text() for text in timeseries([trace], resample="1d").texts]
    assert any("line: mean of each 1 d, light: lowest to highest" in text for text in words)


def test_a_page_has_readings_and_their_moving_mean_as_two_lines() -> None:
    trace = Trace("T", "Cel", NEW_YEAR_US + np.arange(90) * HOUR_US, np.arange(90.0) % 24)
    limits = [Limit("T", 20.0)]
    both = apart(lines_from([trace], 1000, limits, rolling("1d"), spread=False))
    assert [(line.name, line.figures.limits) for line in both] == [("T", (limits[0],)), ("T, mean over 1 d", ())]
    (alone,) = apart(lines_from([trace], 1000, limits, smoothing(None, "1d", UTC), spread=False))
    assert alone.name == "T, mean of each 1 d"


def test_traces_of_one_name_are_smoothed_by_themselves() -> None:
    traces = [Trace("T", "Cel", NEW_YEAR_US + np.arange(50) * HOUR_US, np.full(50, level)) for level in (1.0, 9.0)]
    found = lines_from(traces, 1000, (), rolling("1d"), spread=False)
    assert [line.course.mean.mean() for line in found if isinstance(line, Smooth) and line.course] == [1.0, 9.0]


@pytest.mark.parametrize(("window", "step"), [("0s", None), (None, "0s"), ("1h", "1h"), (None, "7h"), ("soon", None)])
def test_nonsense_is_one_sentence(window: str | None, step: str | None) -> None:
    with pytest.raises(UsageError):
        smoothing(window, step, UTC)


def test_times_that_go_back_begin_anew() -> None:
    utc_us = NEW_YEAR_US + np.array([0, 1, 2, 1, 2, 3]) * HOUR_US
    found = list(rolling("1d").smooth(split(Trace("T", "", utc_us, np.arange(6.0), np.arange(6) == 0), [2])))
    assert np.concatenate([piece.columns[0] for piece in found]).tolist() == [1.0, 1.0, 1.0, 4.0, 4.0, 4.0]


def test_readings_without_a_time_play_no_part() -> None:
    none = np.iinfo(np.int64).min
    utc_us = np.array([NEW_YEAR_US, none, NEW_YEAR_US + timedelta(hours=2) // timedelta(microseconds=1)])
    trace = Trace("T", "", utc_us, np.array([1.0, 50.0, 3.0]), np.array([True, False, False]))
    found = list(rolling("1d").smooth(split(trace, [])))
    assert np.concatenate([piece.columns[0] for piece in found]).tolist() == [1.0, 3.0]
    assert np.concatenate([piece.starts for piece in found]).tolist() == [True, True]


@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("minutes", [10, 60, 120, 360, 1440, 10080])
@pytest.mark.parametrize("day", [datetime(2013, 3, 9, tzinfo=UTC), datetime(2013, 11, 2, tzinfo=UTC)])
def test_a_step_ends_where_the_next_one_begins(zone: str, minutes: int, day: datetime) -> None:
    steps = Steps(minutes * 60_000_000, ZoneInfo(zone))
    moments = round(day.timestamp() * 1e6) + np.arange(60 * 24 * 40) * 60_000_000
    begins = np.unique(steps.begin(moments))
    assert steps.end(begins[:-1]).tolist() == begins[1:].tolist()
