"""How often which values occur: a histogram, or the share of readings that are at least so high (duration curve).

Values are counted in fine steps between the lowest and the highest of a channel, a batch after the other: what is held
does not grow with the readings. A missing value counts nowhere, and times play no part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import floor, log10
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldlog.plot import canvas
from fieldlog.plot.lines import Line, nothing_to_plot
from fieldlog.plot.names import arrange
from fieldlog.plot.size import Size
from fieldlog.plot.style import DPI, THEMES, dash, unit_sign
from fieldlog.plot.trace import Floats, SeriesLike
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

VIEWS = ("histogram", "duration")
_STEPS = 4000
_MOST_BARS = 40
_WIDTH_IN, _PANEL_IN, _FRAME_IN, _MARGIN_IN = 11.0, 2.6, 0.6, 0.85
_MAX_PANELS = 24


class _Counted:
    """Counts between `edges`, which hold all values; the last of them belongs to the step before."""

    def __init__(self, edges: Floats) -> None:
        self.edges = edges
        self.counts = np.zeros(len(edges) - 1, np.int64)

    def add(self, values: npt.NDArray[np.generic]) -> None:
        there = np.asarray(values, np.float64)
        found, _ = np.histogram(there[np.isfinite(there)], self.edges)
        self.counts += found


def _bars(lines: Sequence[Line]) -> Floats:
    """Edges of bars for all lines of a unit: round numbers apart, so that none holds more of a sensor's steps by chance."""
    lowest = min(line.figures.lowest for line in lines)
    highest = max(line.figures.highest for line in lines)
    least = (highest - lowest) / _MOST_BARS or max(abs(highest), 1.0) / 10
    power = 10.0 ** floor(log10(least))
    width = float(next(part * power for part in (1, 2, 5, 10) if part * power >= least * (1 - 1e-9)))
    first, last = int(lowest // width), int(highest // width) + 1
    return np.array([number * width for number in range(first, last + 1)], np.float64)


def _fine(line: Line) -> Floats:
    return np.histogram_bin_edges(np.empty(0), _STEPS, (line.figures.lowest, line.figures.highest))


class Distributions:
    """Counts the values of lines that were reduced before, batch after batch of the same readings, for one of VIEWS."""

    def __init__(self, lines: Sequence[Line], view: str, *, with_label: bool = False) -> None:
        self.view = view
        self._with_label = with_label
        self.lines = [line for line in lines if np.isfinite([line.figures.lowest, line.figures.highest]).all()]
        self.counted: dict[tuple[str, str, str], _Counted] = {}
        for line in self.lines:
            alike = [other for other in self.lines if other.unit == line.unit]
            edges = _bars(alike) if view == "histogram" else _fine(line)
            self.counted[line.label, line.name, line.unit] = _Counted(edges)

    def add(self, series: SeriesLike) -> None:
        label = series.label if self._with_label else ""
        seen: Counter[tuple[str, str]] = Counter()
        for channel, values in zip(series.channels, series.columns, strict=True):
            found = self.counted.get((label, channel.name, channel.unit))
            seen[channel.name, channel.unit] += 1
            if found is not None and seen[channel.name, channel.unit] == 1:
                found.add(values)


def distribution(
    found: Distributions,
    *,
    title: str = "",
    theme: str = "light",
    width_in: float = _WIDTH_IN,
    height_in: float | None = None,
    dpi: float = DPI,
) -> Figure:
    """A figure of what was counted, with a panel per unit; UsageError when there is nothing to draw, or too much."""
    groups: dict[str, list[Line]] = {}
    for line in found.lines:
        groups.setdefault(line.unit, []).append(line)
    if not groups:
        raise nothing_to_plot()
    if len(groups) > _MAX_PANELS:
        raise UsageError(f"a figure has room for {_MAX_PANELS} units. Nothing was plotted; choose some with --channels")
    look, view, size = THEMES[theme], found.view, Size(width_in, height_in, dpi)
    names = [arrange([line.full_name for line in group], width_in - _MARGIN_IN) for group in groups.values()]
    with canvas.house_style(look):
        heights = [_PANEL_IN + some.height_in for some in names]
        figure, panels, _ = canvas.new_figure(heights, size, _FRAME_IN, shared=False)
        for axes, (unit, group), some in zip(panels, groups.items(), names, strict=True):
            artists: list[Artist] = []
            for index, line in enumerate(group):
                x, y = _curve(found.counted[line.label, line.name, line.unit], view)
                artists.append(canvas.curve(axes, x, y, look.colours[index % len(look.colours)], dash(index)))
            canvas.value_axis(axes, "% of readings" if view == "histogram" else unit_sign(unit), look)
            canvas.other_axis(axes, unit_sign(unit) if view == "histogram" else "% of readings at least so high")
            canvas.legend(axes, artists, some)
        canvas.titles(figure, title, "", size, look)
    return figure


def _curve(found: _Counted, view: str) -> tuple[Floats, Floats]:
    """The points of a line: for a histogram the corners of its bars, for a duration curve falling values."""
    share = 100 / max(int(found.counts.sum()), 1)
    if view == "duration":
        above = np.concatenate([[0], np.cumsum(found.counts[::-1])]) * share
        return above, found.edges[::-1]
    return np.repeat(found.edges, 2), np.concatenate([[0], np.repeat(found.counts * share, 2), [0]])
