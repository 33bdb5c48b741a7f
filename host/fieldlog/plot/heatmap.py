"""Day by hour: the mean of each hour of each local day, as a colour.

Hours are those of the clocks of a zone. Where they are put forward the hour that is left out has no cell but the hatched
ground; where they are put back the hour that comes twice is one cell, the mean of both. Readings come in batches: what is
held grows with the days between the first and the last, and not with the readings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldlog.plot import canvas, canvas_views
from fieldlog.plot.lines import Single, nothing_to_plot
from fieldlog.plot.size import Size
from fieldlog.plot.style import DPI, THEMES, Theme, clean, unit_sign
from fieldlog.plot.trace import NO_TIME, Floats, Micros, SeriesLike, Trace
from fieldlog.plot.zone import axis_label, zone
from fieldlog.zone_offsets import offsets_us
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_FARTHEST_US = 14 * _HOUR_US
"""No zone is further from UTC."""
_NEVER = np.iinfo(np.int64).max
_MOST_COLUMNS = 1200
_MAX_PANELS = 12
_NAMED_DAYS, _DAY_IN = 12, 0.75
_WIDTH_IN, _PANEL_IN, _FRAME_IN = 11.0, 2.3, 0.8
_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class _Cells:
    """Sums and numbers of the readings of one channel, hour after hour of the columns."""

    total: Floats
    count: npt.NDArray[np.int64]

    def add(self, cells: npt.NDArray[np.int64], values: Floats) -> None:
        first = int(cells.min())
        counted = np.bincount(cells - first)
        inside = slice(first, first + len(counted))
        self.count[inside] += counted
        self.total[inside] += np.bincount(cells - first, values)

    @property
    def means(self) -> Floats:
        with np.errstate(invalid="ignore"):
            found: Floats = self.total / self.count
        return found


class DayHours:
    """Adds up readings between two times by local day and hour, batch after batch. `with_label`: to tell devices apart.

    More days than a picture has columns share them: `days_a_column` says how many. `n_readings` have a place.
    """

    def __init__(self, first_us: int, last_us: int, tz: str | tzinfo = "UTC", *, with_label: bool = False) -> None:
        self.first_us, self.last_us, self.tz = first_us, last_us, zone(tz)
        self._with_label = with_label
        ends = np.array([first_us, last_us], np.int64)
        days = (ends + offsets_us(self.tz, ends)) // _DAY_US
        self.first_day = int(days.min())
        n_days = int(days.max()) - self.first_day + 1
        self.days_a_column = -(-n_days // _MOST_COLUMNS)
        self.n_columns = -(-n_days // self.days_a_column)
        self._cells: dict[tuple[str, str, str], _Cells] = {}
        self.n_readings = 0

    def add(self, series: SeriesLike) -> None:
        """A batch of readings. Those without a value or a known time, and those before or after, count nowhere."""
        label = series.label if self._with_label else ""
        inside = (series.utc_us != NO_TIME) & (series.utc_us >= self.first_us) & (series.utc_us <= self.last_us)
        self.n_readings += int(np.count_nonzero(inside))
        cells = self._cell(series.utc_us[inside])
        seen: Counter[tuple[str, str]] = Counter()
        for channel, column in zip(series.channels, series.columns, strict=True):
            seen[channel.name, channel.unit] += 1
            if seen[channel.name, channel.unit] == 1:
                self._count((label, channel.name, channel.unit), cells, np.asarray(column[inside], np.float64))

    def _cell(self, utc_us: Micros) -> npt.NDArray[np.int64]:
        local_hour = (utc_us + offsets_us(self.tz, utc_us)) // _HOUR_US
        day, hour = local_hour // 24 - self.first_day, local_hour % 24
        found: npt.NDArray[np.int64] = day // self.days_a_column * 24 + hour
        return found

    def _count(self, key: tuple[str, str, str], cells: npt.NDArray[np.int64], values: Floats) -> None:
        there = np.isfinite(values)
        if not there.any():
            return
        if key not in self._cells:
            n = self.n_columns * 24
            self._cells[key] = _Cells(np.zeros(n), np.zeros(n, np.int64))
        self._cells[key].add(cells[there], values[there])

    def means(self) -> dict[tuple[str, str, str], Floats]:
        """By (label, name, unit): the mean of each cell by (hour, column), NaN where there is no reading."""
        return {key: cells.means.reshape(self.n_columns, 24).T for key, cells in self._cells.items()}


def heatmap(
    given: DayHours | Iterable[Trace],
    *,
    title: str = "",
    tz: str | tzinfo = "UTC",
    theme: str = "light",
    width_in: float = _WIDTH_IN,
    height_in: float | None = None,
    dpi: float = DPI,
) -> Figure:
    """A figure of the mean of each hour (up) of each day (across), a panel per channel, its unit at the colour bar.

    `given` are traces: `utc_us` and `values` of one length n, int64 microseconds since 1970 and float64 in the trace's
    unit with NaN where missing; days and hours are those of `tz`. Or they are readings that were added up before, with the
    zone of theirs. Raises UsageError when there is nothing to draw, or far too much for one figure.
    """
    found = given if isinstance(given, DayHours) else _added(given, tz)
    panels = found.means()
    if not panels:
        raise nothing_to_plot()
    if len(panels) > _MAX_PANELS:
        raise UsageError(
            f"a heat map has room for {_MAX_PANELS} channels, and there are {len(panels)}. Nothing was plotted; choose "
            "some with --channels"
        )
    look, size = THEMES[theme], Size(width_in, height_in, dpi)
    with canvas.house_style(look):
        figure, places, _ = canvas.new_figure([_PANEL_IN] * len(panels), size, _FRAME_IN)
        for axes, (key, means) in zip(places, panels.items(), strict=True):
            image = _panel(axes, key, means, found, look)
            unit = unit_sign(key[-1])
            canvas_views.colour_bar(figure, axes, image, f"mean [{unit}]" if unit else "mean", look)
        _day_axis(figure, places[-1], found)
        canvas.titles(figure, title or " ", _key(found, list(panels.values())), size, look)
    return figure


def _added(traces: Iterable[Trace], tz: str | tzinfo) -> DayHours:
    given = list(traces)
    times = [trace.utc_us[trace.utc_us != NO_TIME] for trace in given]
    ends = [int(end) for known in times if len(known) for end in (known.min(), known.max())]
    if not ends:
        raise nothing_to_plot()
    found = DayHours(min(ends), max(ends), tz)
    for trace in given:
        found.add(Single(trace))
    return found


def _panel(axes: Axes, key: tuple[str, str, str], means: Floats, found: DayHours, look: Theme) -> AxesImage:
    label, name, _ = key
    last_day = found.first_day + found.n_columns * found.days_a_column
    canvas_views.hatched(axes, look)
    image = canvas_views.mean_cells(axes, means, (found.first_day, last_day, 0, 24))
    canvas_views.hour_axis(axes, look)
    canvas_views.panel_name(axes, clean(f"{label}: {name}" if label else name, _NAME_LENGTH))
    canvas_views.marks_at_top(axes, [day + 0.5 for day in _changed_days(found)], look)
    return image


def _changed_days(found: DayHours) -> list[int]:
    """The days of more or less than 24 hours."""
    days = np.arange(found.first_day, found.first_day + found.n_columns * found.days_a_column + 1)
    lengths = np.diff(_begins_us(found.tz, days))
    changed: list[int] = days[:-1][lengths != _DAY_US].tolist()
    return changed


def _begins_us(tz: tzinfo, days: Micros) -> Micros:
    """The first moment of local days; midnight may be what is left out, or what comes twice."""
    midnight = days * _DAY_US
    around = [midnight - offsets_us(tz, midnight + apart) for apart in (-_FARTHEST_US, _FARTHEST_US)]
    reached = [np.where(utc + offsets_us(tz, utc) >= midnight, utc, _NEVER) for utc in around]
    return np.minimum(*reached)


def _day_axis(figure: Figure, axes: Axes, found: DayHours) -> None:
    label = f"local day{axis_label(found.tz, found.first_us, found.last_us).removeprefix('time')}"
    canvas.time_axis(figure, axes, zone("UTC"), label)  # the days are local ones already
    if found.n_columns <= min(_NAMED_DAYS, figure.get_size_inches()[0] / _DAY_IN - 2):
        canvas_views.few_days(axes, range(found.first_day, found.first_day + found.n_columns))


def _key(found: DayHours, panels: list[Floats]) -> str:
    told: list[str] = []
    if found.days_a_column > 1:
        told.append(f"a column: {found.days_a_column} days")
    if any(np.isnan(means).any() for means in panels):
        told.append("hatched: no reading")
    if _changed_days(found):
        told.append("triangle: a day of 23 or 25 hours")
    return "   ".join(told)
