"""Day by hour: every reading counts in its hour by the clocks of the zone, on days of 23 and 25 hours too."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fieldlog.plot import DayHours, Trace, heatmap
from fieldlog.plot.lines import Single
from fieldlog_protocol.errors import UsageError

HOUR_US = 3_600_000_000
BERLIN = "Europe/Berlin"


def micros(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc,arg-type]


def trace(begin_us: int, values: Any, *, step_us: int = HOUR_US, name: str = "T", unit: str = "Cel") -> Trace:
    column = np.asarray(values, np.float64)
    return Trace(name, unit, begin_us + np.arange(len(column), dtype=np.int64) * step_us, column)


def means(trace: Trace, tz: str) -> Any:
    added = DayHours(int(trace.utc_us[0]), int(trace.utc_us[-1]), tz)
    added.add(Single(trace))
    return added.means()["", trace.name, trace.unit]


@pytest.mark.parametrize("tz", ["UTC", BERLIN, "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_each_reading_is_in_the_cell_of_its_local_hour(tz: str) -> None:
    """Compared with the calendar, reading by reading, over a year with all its changes."""
    rng = random.Random(8)
    step_us = 47 * 60_000_000
    shown = trace(micros(2024, 1, 1), [rng.random() for _ in range(11_000)], step_us=step_us)
    expected: dict[tuple[int, int], list[float]] = {}
    first = None
    for us, value in zip(shown.utc_us.tolist(), shown.values.tolist(), strict=True):
        local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(ZoneInfo(tz))
        first = first or local.date()
        expected.setdefault((local.hour, (local.date() - first).days), []).append(value)
    found = means(shown, tz)
    for (hour, day), values in expected.items():
        assert found[hour, day] == pytest.approx(np.mean(values), rel=1e-12)
    assert np.isfinite(found).sum() == len(expected)


def test_the_hour_that_is_left_out_has_no_reading() -> None:
    """31 March 2024 has 23 hours in Berlin: two o'clock does not exist."""
    found = means(trace(micros(2024, 3, 30, 23), range(23)), BERLIN)
    assert found.shape == (24, 1)
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [2]
    assert found[[0, 1, 3, 23], 0].tolist() == [0, 1, 2, 22]


def test_the_hour_that_comes_twice_is_the_mean_of_both() -> None:
    """27 October 2024 has 25 hours in Berlin: two o'clock comes twice."""
    found = means(trace(micros(2024, 10, 26, 22), range(25)), BERLIN)
    assert found.shape == (24, 1)
    assert found[[0, 1, 2, 3, 23], 0].tolist() == [0, 1, 2.5, 4, 24]


def test_hours_without_readings_stay_empty() -> None:
    values = np.ones(72)
    values[30:40] = np.nan
    found = means(trace(micros(2024, 5, 1), values), "UTC")
    assert np.flatnonzero(np.isnan(found.T.ravel())).tolist() == list(range(30, 40))


def test_many_years_share_columns() -> None:
    shown = trace(micros(1990, 1, 1), np.arange(12_000.0), step_us=24 * HOUR_US)
    added = DayHours(int(shown.utc_us[0]), int(shown.utc_us[-1]))
    added.add(Single(shown))
    found = added.means()["", "T", "Cel"]
    assert added.days_a_column == 10
    assert found[0].tolist() == [10 * column + 4.5 for column in range(1200)]


def test_batches_come_to_the_same_as_the_whole() -> None:
    rng = np.random.default_rng(3)
    shown = trace(micros(2024, 2, 1), rng.normal(0, 1, 5000), step_us=600_000_000)
    added = DayHours(int(shown.utc_us[0]), int(shown.utc_us[-1]), BERLIN)
    for low in range(0, 5000, 333):
        part = slice(low, low + 333)
        added.add(Single(Trace("T", "Cel", shown.utc_us[part], shown.values[part])))
    assert np.allclose(added.means()["", "T", "Cel"], means(shown, BERLIN), rtol=1e-12, equal_nan=True)


def texts(figure: Any) -> str:
    FigureCanvasAgg(figure).draw()
    found = [*figure.texts, *(axes.title for axes in figure.axes), *(axes._left_title for axes in figure.axes)]
    labels = [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
    return "\n".join(text.get_text() for text in [*found, *labels])


def test_a_panel_per_channel_tells_unit_zone_and_what_is_hatched() -> None:
    begin_us = micros(2024, 3, 29)
    figure = heatmap(
        [trace(begin_us, range(90), name="$air_1$"), trace(begin_us, range(90), name="<b>", unit="%")], tz=BERLIN
    )
    told = texts(figure)
    for part in ("$air_1$", "<b>", "mean [°C]", "mean [%]", f"{BERLIN}, UTC+01:00 / UTC+02:00", "hatched: no reading"):
        assert part in told
    assert "23 or 25 hours" in told
    assert "23 or 25 hours" not in texts(heatmap([trace(begin_us, range(12))], tz=BERLIN))


@pytest.mark.parametrize(
    "tz", ["UTC", BERLIN, "Australia/Lord_Howe", "America/Havana", "America/Asuncion", "Asia/Beirut"]
)
def test_days_that_are_not_24_hours_long_are_marked(tz: str) -> None:
    """In zones, too, that change their clocks at midnight, and over more years than one."""
    days = [datetime(2012, 1, 1, tzinfo=UTC).date() + timedelta(days=k) for k in range(1150)]
    begins = [first_moment(day, ZoneInfo(tz)) for day in days]
    expected = [day for day, begin, end in zip(days, begins, begins[1:], strict=False) if end - begin != 24 * 3600]
    figure = heatmap([trace(begins[0] * 1_000_000, np.arange(len(days)), step_us=24 * HOUR_US)], tz=tz)
    (marks,) = figure.axes[0].lines
    shown = [datetime(1970, 1, 1, tzinfo=UTC).date() + timedelta(days=int(x)) for x in marks.get_xdata()]
    assert [day for day in shown if day < days[-1]] == expected
    assert bool(expected) == (tz != "UTC")


def first_moment(day: Any, tz: ZoneInfo) -> int:
    """The first second of a local day: nothing of the day before comes later."""
    noon = int(datetime(day.year, day.month, day.day, 12, tzinfo=tz).timestamp())
    low, high = noon - 14 * 3600, noon
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, tz).date() >= day:
            high = middle
        else:
            low = middle
    return high


def test_nonsense_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="nothing to plot"):
        heatmap([trace(0, [np.nan])])
    with pytest.raises(UsageError, match=r"12 channels, and there are 13.*--channels"):
        heatmap([trace(0, [1.0, 2.0], name=str(n)) for n in range(13)])
