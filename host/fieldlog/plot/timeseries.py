"""Readings over time: one panel per unit, a shared time axis, gaps shown as gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

import numpy as np

from fieldlog.plot import canvas
from fieldlog.plot.names import Names, arrange
from fieldlog.plot.reduce import Columns, present, reduce, uncovered
from fieldlog.plot.style import COLOURS, DASHES, DPI, GAP_COLOUR, MISSING_COLOUR, unit_sign
from fieldlog.plot.trace import Floats, Micros, Trace
from fieldlog.plot.zone import axis_label, zone
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_IN, _FRAME_IN = 1.35, 1.25
_MARGIN_IN = 0.85
_MIN_MARK_PX = 2.0
_MAX_PANELS = 24
_BANDS = {"missing": (MISSING_COLOUR, 0.05), "gap": (GAP_COLOUR, 1.0)}


def timeseries(traces: Iterable[Trace], *, title: str = "", tz: str | tzinfo = "UTC", width_in: float = 11.0) -> Figure:
    """A figure of `traces`, one panel per unit in order of appearance, times shown in `tz`.

    Where there are more readings than pixels, a column shows the mean as a line over the span from lowest to highest.
    Raises UsageError when there is nothing to draw, or far too much for one figure.
    """
    drawn = [trace for trace in traces if len(present(trace)[0])]
    if not drawn:
        raise UsageError("there is nothing to plot: no reading in this selection has both a value and a known time")
    units = dict.fromkeys(trace.unit for trace in drawn)
    if len(units) > _MAX_PANELS:
        raise UsageError(
            f"These readings have {len(units)} different units, and a figure has room for {_MAX_PANELS} panels. "
            "Nothing was plotted; choose some with --channels."
        )
    shown_in = zone(tz)
    begin_us, end_us = _range(drawn)
    groups = [[t for t in drawn if t.unit == unit] for unit in units]
    names = [arrange([trace.name for trace in group], width_in - _MARGIN_IN) for group in groups]
    with canvas.house_style():
        figure, panels = canvas.new_figure([_PANEL_IN + some.height_in for some in names], width_in, _FRAME_IN)
        n_columns = int((width_in - _MARGIN_IN) * DPI)
        marks: set[str] = set()
        for axes, group, some in zip(panels, groups, names, strict=True):
            marks |= _panel(axes, group, some, (begin_us, end_us), n_columns)
        canvas.time_axis(figure, panels[-1], shown_in, axis_label(shown_in, begin_us, end_us))
        canvas.titles(figure, title, _key(marks))
    return figure


def _range(drawn: Sequence[Trace]) -> tuple[int, int]:
    times = [present(trace)[0] for trace in drawn]
    return min(int(t.min()) for t in times), max(int(t.max()) for t in times)


def _panel(axes: Axes, traces: list[Trace], names: Names, range_us: tuple[int, int], n_columns: int) -> set[str]:
    """Draws one panel; says which marks it used."""
    artists: list[Artist] = []
    marks: set[str] = set()
    for index, trace in enumerate(traces):
        columns = reduce(trace, *range_us, n_columns)
        artists.append(_line(axes, columns, index))
        marks |= {"span"} if columns.reduced else set()
    at_least_us = (range_us[1] - range_us[0]) / n_columns * _MIN_MARK_PX
    marks |= _gaps(axes, traces, at_least_us)
    canvas.value_axis(axes, unit_sign(traces[0].unit))
    canvas.legend(axes, artists, names)
    return marks


def _line(axes: Axes, columns: Columns, index: int) -> Artist:
    """One trace: the span from lowest to highest in a light tint, the mean over it, and dots for lone readings."""
    colour = COLOURS[index % len(COLOURS)]
    if columns.reduced:
        canvas.span(axes, *columns.joined(columns.low, columns.high), colour)
    canvas.dots(axes, *columns.alone(), colour)
    return canvas.line(axes, *columns.joined(columns.mean), colour, DASHES[index // len(COLOURS) % len(DASHES)])


def _gaps(axes: Axes, traces: list[Trace], at_least_us: float) -> set[str]:
    """Bands where nothing was logged, and at the foot where a trace lacks a value; never too narrow to be seen."""
    marks: set[str] = set()
    for trace in traces:
        marks |= _band(axes, [trace], "missing", at_least_us)
    logged = [Trace(t.name, t.unit, t.utc_us, np.zeros(len(t.values)), t.starts) for t in traces]
    return marks | _band(axes, logged, "gap", at_least_us)


def _band(axes: Axes, traces: list[Trace], mark: str, at_least_us: float) -> set[str]:
    begin_us, end_us = _widened(*uncovered(traces), at_least_us)
    if not len(begin_us):
        return set()
    colour, height = _BANDS[mark]
    canvas.bands(axes, begin_us, end_us, colour, height)
    return {mark}


def _widened(begin_us: Micros, end_us: Micros, at_least_us: float) -> tuple[Micros, Micros]:
    short: Floats = np.maximum(at_least_us - (end_us - begin_us), 0) / 2
    return (begin_us - short).astype(np.int64), (end_us + short).astype(np.int64)


def _key(marks: set[str]) -> str:
    meanings = (
        ("span", "line: mean, light: lowest to highest"),
        ("gap", "grey band: nothing logged"),
        ("missing", "foot: value missing"),
    )
    return "   ".join(text for mark, text in meanings if mark in marks)
