"""The pictures of docs/gallery.md, from real weather and made-up readings: `python -m tools.gallery` draws them anew.

The tests draw them too and compare: look at what changed before it is stored.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fieldlog.plot import Distributions, Event, Limit, Trace, distribution, save, timeseries
from fieldlog.plot.lines import Single, lines_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "gallery"
_WEATHER = ROOT / "firmware_sim" / "fieldlog_sim" / "data" / "newark-2013-hourly-weather.csv"
_HOUR_US = 3_600_000_000
_SECOND_US = 1_000_000
_NEW_YEAR_US = 1_735_689_600_000_000
_ZONE = "America/New_York"


def _weather(first: str, last: str, *names: str) -> list[Trace]:
    """Channels of the weather at Newark between two days."""
    with _WEATHER.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    times = np.array([_micros(row[0]) for row in rows], np.int64)
    inside = (times >= _micros(first)) & (times < _micros(last))
    starts = np.concatenate([[True], np.diff(times) > 1.5 * _HOUR_US])
    found: list[Trace] = []
    for column, text in enumerate(head):
        name, _, unit = text.rstrip("]").partition(" [")
        if name in names:
            values = np.array([float(row[column]) if row[column] else np.nan for row in rows])
            found.append(Trace(name, unit, times[inside], values[inside], starts[inside]))
    return found


def _micros(text: str) -> int:
    time = text if "T" in text else f"{text}T00:00:00Z"
    return int(datetime.fromisoformat(time).timestamp()) * _SECOND_US


def weather() -> Figure:
    """A season with thresholds, the change to summer time and a table."""
    traces = _weather("2013-02-15", "2013-04-15", "temperature", "dew point", "pressure")
    limits = [Limit("temperature", 60.0), Limit("temperature", 32.0, below=True)]
    return timeseries(traces, title="Newark, spring 2013", tz=_ZONE, limits=limits, stats=True)


def dark() -> Figure:
    """The same on a dark ground."""
    return timeseries(
        _weather("2013-07-01", "2013-07-15", "temperature", "dew point"), title="July", tz=_ZONE, theme="dark"
    )


def spike() -> Figure:
    """A million readings, of which one is a spike, a gap, and what happened meanwhile."""
    n = 1_000_000
    rng = np.random.default_rng(7)
    times = _NEW_YEAR_US + np.arange(n, dtype=np.int64) * _SECOND_US
    times[600_000:] += 20 * _HOUR_US
    values = 20 + 3 * np.sin(np.arange(n) / 13_750) + rng.normal(0, 0.3, n)
    values[345_678] = 41.0
    starts = np.arange(n) == 600_000
    events = [
        Event(int(times[100]), "start", "start trial"),
        Event(int(times[200_000]), "mark", "door opened"),
        *(Event(int(times[k]), "sync") for k in range(0, n, 86_400)),
        Event(int(times[600_000]), "boot", "restart: power on"),
    ]
    return timeseries([Trace("temperature", "Cel", times, values, starts)], title="One in a million", events=events)


def devices() -> Figure:
    """Two devices on one axis."""
    times = _NEW_YEAR_US + np.arange(600, dtype=np.int64) * 60 * _SECOND_US
    angle = np.arange(600) / 95
    attic, cellar = 18 + 6 * np.sin(angle), 12 + 0.5 * np.sin(angle - 1)
    return timeseries(
        [Trace("attic: temperature", "Cel", times, attic), Trace("cellar: temperature", "Cel", times, cellar)],
        title="Attic and cellar",
        tz="Europe/Berlin",
        limits=[Limit("attic: temperature", 22.0)],
    )


def _counted(view: str) -> Figure:
    traces = _weather("2013-01-01", "2014-01-01", "temperature", "dew point")
    found = Distributions(lines_of(traces, 1000), view)
    for trace in traces:
        found.add(Single(trace))
    return distribution(found, title="Newark, 2013")


def histogram() -> Figure:
    """How often which temperatures occurred in a year."""
    return _counted("histogram")


def duration() -> Figure:
    """For which share of the readings it was at least so warm."""
    return _counted("duration")


PICTURES: Mapping[str, Callable[[], Figure]] = {
    "weather": weather,
    "dark": dark,
    "spike": spike,
    "devices": devices,
    "histogram": histogram,
    "duration": duration,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        save(PICTURES[name](), FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
