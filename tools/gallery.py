"""The pictures of docs/gallery.md, from real weather and made-up readings: `python -m tools.gallery` draws them anew.

The tests draw them too and compare: look at what changed before it is stored. Each is stored twice, as it is and, for them
alone, bare: without letters, its panels at fixed places, so that no version of a font moves a line by a pixel.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldlog.plot import (
    Distributions,
    Event,
    Limit,
    Trace,
    distribution,
    heatmap,
    save,
    scatter,
    spectrum,
    timeseries,
)
from fieldlog.plot.lines import Single, lines_of
from tools.bench import data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "gallery"
BARE = ROOT / "tests" / "gallery"
_WEATHER = ROOT / "firmware_sim" / "fieldlog_sim" / "data" / "newark-2013-hourly-weather.csv"
_HOUR_US = 3_600_000_000
_SECOND_US = 1_000_000
_NEW_YEAR_US = 1_735_689_600_000_000
_ZONE = "America/New_York"


@cache
def _year() -> tuple[list[str], list[list[str]], Any]:
    """(head, rows, times) of the weather at Newark."""
    with _WEATHER.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    return head, rows, np.array([_micros(row[0]) for row in rows], np.int64)


def _weather(first: str, last: str, *names: str) -> list[Trace]:
    """Channels of it between two days."""
    head, rows, times = _year()
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


def paper() -> Figure:
    """As wide as a column of a paper."""
    traces = _weather("2013-07-01", "2013-07-15", "temperature", "relative humidity")
    return timeseries(traces, title="Newark airport in the first two weeks of July", tz=_ZONE, width_in=9 / 2.54)


def spike(highest: float = 41.0) -> Figure:
    """A million readings, of which one is a spike, a gap, and what happened meanwhile."""
    n = 1_000_000
    rng = np.random.default_rng(7)
    times = _NEW_YEAR_US + np.arange(n, dtype=np.int64) * _SECOND_US
    times[600_000:] += 20 * _HOUR_US
    values = 20 + 3 * np.sin(np.arange(n) / 13_750) + rng.normal(0, 0.3, n)
    values[345_678] = highest
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


def heat_map() -> Figure:
    """The mean of each hour of each day of a year, by the clocks of New York."""
    return heatmap(_weather("2013-01-01", "2014-01-01", "temperature", "pressure"), title="Newark, 2013", tz=_ZONE)


def walking() -> Figure:
    """Twenty minutes of a worn accelerometer, some of them walking."""
    worn = data.accelerometer(120_000, seed=5)
    times = _NEW_YEAR_US + np.arange(worn.frames, dtype=np.int64) * 10_000
    pairs = zip(worn.stream.channels, worn.columns, strict=True)
    traces = [Trace(channel.name, channel.unit, times, channel.values(raw)) for channel, raw in pairs]
    return spectrum(traces, title="Worn accelerometer")


def dew_point() -> Figure:
    """Dew point over temperature, in a year."""
    dew, warm = sorted(_weather("2013-01-01", "2014-01-01", "temperature", "dew point"), key=lambda one: one.name)
    return scatter((warm, dew), title="Newark, 2013")


def compared() -> Figure:
    """Two rooms by colour, on a dark ground; the humidity of one is measured by another device, at other times."""
    rng = np.random.default_rng(3)
    times = _NEW_YEAR_US + np.arange(1500, dtype=np.int64) * 60 * _SECOND_US
    wave = np.sin(np.arange(1500) / 230)
    warm = {"attic": 22 + 5 * wave + rng.normal(0, 0.5, 1500), "cellar": 14 + wave + rng.normal(0, 0.2, 1500)}
    humid = {"attic": 80 - 2 * warm["attic"] + rng.normal(0, 1, 1500), "cellar": 65 + rng.normal(0, 2, 1500)}
    later_us = {"attic": 20 * _SECOND_US, "cellar": 0}
    return scatter(
        {
            room: (
                Trace("temperature", "Cel", times, warm[room].round(2)),
                Trace("humidity", "%", times + later_us[room], humid[room].round(1)),
            )
            for room in warm
        },
        title="Attic and cellar",
        theme="dark",
    )


PICTURES: Mapping[str, Callable[[], Figure]] = {
    "weather": weather,
    "dark": dark,
    "spike": spike,
    "devices": devices,
    "paper": paper,
    "histogram": histogram,
    "duration": duration,
    "heatmap": heat_map,
    "spectrum": walking,
    "scatter": dew_point,
    "compared": compared,
}


def bare(figure: Any) -> bytes:
    """The figure as a PNG without its letters, its panels one above the other."""
    from matplotlib.legend import Legend
    from matplotlib.text import Text

    figure.set_layout_engine("none")
    for words in (*figure.findobj(Text), *figure.findobj(Legend)):
        words.set_visible(False)
    height = 1 / len(figure.axes)
    for number, axes in enumerate(figure.axes):
        axes.set_position((0.02, 1 - (number + 0.95) * height, 0.96, 0.9 * height))
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, metadata={"Software": None})
    return file.getvalue()


def main() -> None:
    for folder in (FOLDER, BARE):
        folder.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        figure = PICTURES[name]()
        save(figure, FOLDER / f"{name}.png")
        (BARE / f"{name}.png").write_bytes(bare(figure))


if __name__ == "__main__":
    main()
