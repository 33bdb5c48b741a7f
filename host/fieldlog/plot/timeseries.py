"""Readings over time: one panel per unit, a shared time axis, gaps shown as gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING

import numpy as np

from fieldlog.plot import canvas
from fieldlog.plot.course import Smooth
from fieldlog.plot.events import AROUND_US, MEANINGS, Event, arrange_events, events_of, stretched
from fieldlog.plot.lines import BETWEEN, OWN_CLOCK, Line, span_us
from fieldlog.plot.names import Names, arrange
from fieldlog.plot.reduce import Columns, Limit, Spans, uncovered
from fieldlog.plot.size import Size
from fieldlog.plot.smooth import lines_from, smoothing
from fieldlog.plot.statistics import column_widths, table_rows
from fieldlog.plot.style import DASHES, DPI, THEMES, Theme, unit_sign
from fieldlog.plot.trace import Floats, Trace
from fieldlog.plot.zone import axis_label, offset_changes, zone
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 11.0
_PANEL_IN, _FRAME_IN = 1.35, 1.25
_ROW_IN = 0.17
_TABLE_IN = 0.058  # what a character of the table takes of the width
_MARGIN_IN = 0.85
_MIN_MARK_PX = 2.0
_MIN_EVENTS_PX = 16.0
_MAX_PANELS = 24
_SPAN = "line: mean, light: lowest to highest"
_HELD_SPAN = "line in steps: last value, light: lowest to highest"
_MAX_ROWS = 40
_EVENT_COLOURS = {"boot": "#D55E00", "mark": "#CC79A7", "alarm": "#D55E00", "start": "#009E73", "stop": "#009E73"}
_EVENT_LINES = {"sync": ("-", 0.94)}  # at every connection: no lines through all of the readings


@dataclass(frozen=True, slots=True)
class _Band:
    """`place`: (foot, height) in the panel; without a colour, the theme's of that name."""

    place: tuple[float, float]
    colour: str = ""


_BANDS = {
    "gap": _Band((0, 1)),
    "missing": _Band((0, 0.05)),
    f"doubt{OWN_CLOCK}": _Band((0.97, 0.03), "#E69F00"),
    f"doubt{BETWEEN}": _Band((0.97, 0.03), "#D55E00"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What all panels of a figure have in common."""

    begin_us: int
    end_us: int
    column_us: float
    theme: Theme
    events: tuple[Event, ...]
    tz: tzinfo


def columns_for(width_in: float = WIDTH_IN, dpi: float = DPI) -> int:
    """How many columns of pixels there are for readings."""
    return int((width_in - _MARGIN_IN) * dpi)


def timeseries(
    traces: Iterable[Trace | Line],
    *,
    title: str = "",
    tz: str | tzinfo = "UTC",
    width_in: float = WIDTH_IN,
    height_in: float | None = None,
    dpi: float = DPI,
    events: Iterable[Event] = (),
    limits: Sequence[Limit] = (),
    stats: bool = False,
    compare: bool = True,
    theme: str = "light",
    rolling: str | None = None,
    resample: str | None = None,
) -> Figure:
    """A figure of `traces`, one panel per unit in order of appearance, times shown in `tz`.

    Where there are more readings than pixels, a column shows the mean as a line over the span from lowest to highest. Of
    values that hold until the next the line has steps and shows no mean.
    `traces` may be lines that were made as small as the picture before (`fieldlog.plot.lines`), with their limits.
    The figure is `width_in` inches wide and as high as its panels take, or `height_in`; `dpi` counts for PNG. An event with a
    label is drawn in the panels of lines with that label, and in those of lines without any; for one that lies within
    a twentieth of the readings' time before or after them the time axis reaches as far.
    `stats` adds a table beneath; without `compare` each label has panels of its own. `rolling`, such as "1h", draws the
    moving mean over the readings of traces, `resample` means and extremes of even steps, on the days of `tz`. Raises
    UsageError when there is nothing to draw, or far too much for one figure.
    """
    size = Size(width_in, height_in, dpi)
    drawn = lines_from(traces, columns_for(width_in, dpi), limits, smoothing(rolling, resample, zone(tz)), spread=stats)
    groups = _groups(drawn, compare=compare)
    frame = _frame(drawn, width_in, THEMES[theme], tuple(events), zone(tz))
    names = [arrange([_name(line, drawn) for line in group], width_in - _MARGIN_IN) for group in groups]
    rows = table_rows(drawn, _MAX_ROWS) if stats else []
    _require_width(rows, width_in)
    with canvas.house_style(frame.theme):
        panels_in = [_PANEL_IN + some.height_in for some in names]
        table_in = len(rows) * _ROW_IN
        figure, panels, beneath = canvas.new_figure(panels_in, size, _FRAME_IN, table_in)
        marks: set[str] = set()
        for axes, group, some in zip(panels, groups, names, strict=True):
            marks |= _panel(axes, group, some, frame)
        marks |= _events(panels, groups, frame)
        _offsets(panels, frame)
        if frame.begin_us == frame.end_us:
            canvas.show_times(panels[-1], frame.begin_us - AROUND_US, frame.end_us + AROUND_US)
        canvas.time_axis(figure, panels[-1], frame.tz, axis_label(frame.tz, frame.begin_us, frame.end_us))
        canvas.titles(figure, title, _key(marks), size, frame.theme)
        if beneath is not None:
            canvas.table(beneath, rows, column_widths(rows))
    return figure


def _require_width(rows: Sequence[Sequence[str]], width_in: float) -> None:
    least_in = sum(column_widths(rows)) * _TABLE_IN if rows else 0.0
    if width_in < least_in:
        raise UsageError(
            f"the table takes a plot at least {least_in * 2.54:.0f} cm wide. Nothing was plotted; make the plot wider, or leave "
            "the table out"
        )


def _groups(drawn: Sequence[Line], *, compare: bool) -> list[list[Line]]:
    """The lines of each panel."""
    panels: dict[tuple[str, str, tuple[str, ...] | None], list[Line]] = {}
    for line in drawn:
        panels.setdefault(("" if compare else line.label, line.unit, line.states), []).append(line)
    if len(panels) > _MAX_PANELS:
        raise UsageError(
            f"there is a panel for each {'unit' if compare else 'unit of each device'}, {len(panels)} of them, and a figure has "
            f"room for {_MAX_PANELS}. Nothing was plotted; choose some with --channels"
            + ("" if compare else " or --device, or draw devices on the same axes with --compare")
        )
    return list(panels.values())


def _name(line: Line, drawn: Sequence[Line]) -> str:
    return line.full_name if len({other.label for other in drawn}) > 1 else line.name


def _frame(drawn: Sequence[Line], width_in: float, theme: Theme, events: tuple[Event, ...], tz: tzinfo) -> Frame:
    begin_us, end_us = stretched(events, *span_us(drawn))
    return Frame(begin_us, end_us, (end_us - begin_us) / columns_for(width_in), theme, events, tz)


def _panel(axes: Axes, lines: Sequence[Line], names: Names, frame: Frame) -> set[str]:
    """Draws one panel; says which marks it used."""
    artists: list[Artist] = []
    marks = _gaps(axes, lines, frame)
    for index, line in enumerate(lines):
        colour = frame.theme.colours[index % len(frame.theme.colours)]
        artists.append(_line(axes, line, colour, DASHES[index // len(frame.theme.colours) % len(DASHES)]))
        _passed(axes, line, colour)
        marks |= _meaning(line)
    canvas.value_axis(axes, unit_sign(lines[0].unit), frame.theme)
    if lines[0].states is not None and not any(isinstance(line, Smooth) and line.course is not None for line in lines):
        canvas.state_axis(axes, lines[0].states)
    canvas.legend(axes, artists, names)
    return marks


def _meaning(line: Line) -> set[str]:
    if isinstance(line, Smooth):
        return {line.told}
    if not line.columns.reduced:
        return set()
    return {_SPAN if line.columns.last is None else _HELD_SPAN}


def _line(axes: Axes, line: Line, colour: str, dash: str) -> Artist:
    """One trace: the span from lowest to highest in a light tint, the mean or last value over it, and dots for lone readings."""
    columns = line.columns
    if isinstance(line, Smooth) and line.course is not None:
        if line.begins_us is not None and line.ends_us is not None:
            return _stairs(axes, line.course, (line.begins_us, line.ends_us), colour, dash)
        if not line.in_place and not columns.reduced:
            canvas.span(axes, *columns.course(), colour)
            canvas.dots(axes, *columns.alone(), colour)
        elif not line.in_place:
            canvas.span(axes, *columns.strokes(), colour)
        columns = line.course
    if columns.reduced:
        canvas.span(axes, *columns.strokes(), colour)
    canvas.dots(axes, *columns.alone(), colour)
    return canvas.line(axes, *columns.course(), colour, dash)


def _stairs(axes: Axes, course: Columns, steps: Spans, colour: str, dash: str) -> Artist:
    """Means of steps as levels over a band from lowest to highest."""
    low, mean, high = (np.repeat(row, 2) for row in (course.low, course.mean, course.high))
    starts = np.stack([course.starts, np.zeros(len(course.starts), np.bool_)], axis=1).ravel()
    both = Columns(np.stack(steps, axis=1).ravel(), low, mean, high, starts, reduced=True)
    utc_us, lowest = both.joined(low)
    canvas.band(axes, utc_us, lowest, both.joined(high)[1], colour)
    return canvas.line(axes, *both.joined(mean), colour, dash)


def _passed(axes: Axes, line: Line, colour: str) -> None:
    """What lies beyond a limit, from the limit to the extremes of each column."""
    columns = line.columns
    for limit in line.figures.limits:
        utc_us, values = columns.edge(columns.low if limit.below else columns.high)
        shaded = np.where(limit.passed(values) | np.isnan(values), values, limit.value)
        canvas.beyond(axes, utc_us, shaded, limit.value, colour)


def _gaps(axes: Axes, lines: Sequence[Line], frame: Frame) -> set[str]:
    """Bands where nothing was logged, at the foot where a trace lacks a value, at the top where times are in doubt."""
    marks: set[str] = set()
    for line in lines:
        marks |= _band(axes, uncovered([line.runs, uncovered([line.logged])]), "missing", frame)
        for kind, spans in line.doubtful:
            marks |= _band(axes, spans, f"doubt{kind}", frame)
    return marks | _band(axes, uncovered([line.logged for line in lines]), "gap", frame)


def _band(axes: Axes, spans: Spans, mark: str, frame: Frame) -> set[str]:
    """Draws bands, never too narrow to be seen; says whether there are any."""
    begin_us, end_us = _widened(spans, frame.column_us * _MIN_MARK_PX)
    if not len(begin_us):
        return set()
    band = _BANDS[mark]
    canvas.bands(axes, begin_us, end_us, band.colour or getattr(frame.theme, mark), band.place)
    return {mark}


def _widened(spans: Spans, at_least_us: float) -> Spans:
    """Each wide enough to be seen, and those that then touch as one: never more than a picture has columns."""
    begin_us, end_us = spans
    short: Floats = np.maximum(at_least_us - (end_us - begin_us), 0) / 2
    begins, ends = (begin_us - short).astype(np.int64), (end_us + short).astype(np.int64)
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], np.maximum.accumulate(ends[order])
    apart = np.concatenate([[True], begins[1:] > ends[:-1]]) if len(begins) else np.empty(0, np.bool_)
    last = np.append(np.flatnonzero(apart)[1:], len(begins)) - 1 if len(begins) else np.empty(0, np.int64)
    return begins[apart], ends[last]


def _events(panels: Sequence[Axes], groups: Sequence[Sequence[Line]], frame: Frame) -> set[str]:
    """The words of an event stand in the first panel of those that have the same devices."""
    alike: dict[tuple[str, ...], list[Axes]] = {}
    for axes, group in zip(panels, groups, strict=True):
        alike.setdefault(tuple(dict.fromkeys(line.label for line in group)), []).append(axes)
    return {kind for labels, some in alike.items() for kind in _events_in(some, events_of(labels, frame.events), frame)}


def _events_in(panels: Sequence[Axes], events: Sequence[Event], frame: Frame) -> set[str]:
    shown = arrange_events(events, frame.begin_us, frame.end_us, frame.column_us * _MIN_EVENTS_PX)
    for event in shown:
        colour = _EVENT_COLOURS.get(event.kind, frame.theme.edge)
        for axes in panels:
            canvas.moment(axes, event.utc_us, colour, *_EVENT_LINES.get(event.kind, ("--", 0.0)))
        at_left = event.utc_us - frame.begin_us < frame.column_us * _MIN_EVENTS_PX
        canvas.moment_text(panels[0], event.utc_us, event.text, colour, side="left" if at_left else "right")
    return {f"event {event.kind}" for event in shown}


def _offsets(panels: Sequence[Axes], frame: Frame) -> None:
    """Where daylight saving begins or ends."""
    for at_us, text in offset_changes(frame.tz, frame.begin_us, frame.end_us):
        for axes in panels:
            canvas.moment(axes, at_us, frame.theme.edge, "-.")
        canvas.moment_text(panels[-1], at_us, text, frame.theme.text, at_top=False)


def _key(marks: set[str]) -> str:
    meanings = (
        ("gap", "grey band: nothing logged"),
        ("missing", "foot: value missing"),
        (f"doubt{OWN_CLOCK}", "yellow at the top: time by the device's own clock"),
        (f"doubt{BETWEEN}", "red at the top: time only bounded"),
        ("event sync", f"ticks at the top: {MEANINGS['sync']}"),
    )
    lines = sorted(mark for mark in marks if mark.startswith("line"))
    return "   ".join([*lines, *(text for mark, text in meanings if mark in marks)])
