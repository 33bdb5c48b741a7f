"""The one door to matplotlib, whose stubs leave keyword arguments untyped: the checks they defeat are off in here only.

Everything drawn goes through these few functions, so that text from devices is never taken for TeX or mathtext and a
user's matplotlibrc does not change the house style.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from textwrap import wrap
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from fieldlog.plot.names import Names
from fieldlog.plot.size import Size
from fieldlog.plot.style import DARK, LIGHT, Theme, clean, rc
from fieldlog.plot.trace import Floats, Micros
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine

_TITLE_IN, _KEY_IN, _TITLE_LINE_IN = 0.105, 0.058, 0.24
"""What a character of a title and of its key takes of the width, and a title of the height."""
_MOST_TITLE_LINES = 3
_KEY_LINES = 0.6
"""What a line of the key takes of one of the title."""
_LABEL_IN, _DATE_IN, _TICK_IN, _MARGIN_IN = 0.065, 1.15, 0.75, 0.85
"""What a character of the label at the time axis takes, the date at its end, a tick, and the space beside the panels."""
_MOST_STATES = 8
"""As many of their words as stand one above the other in a panel."""
STATE_MARGIN = 0.15
_PACKING: dict[str, dict[str, Any]] = {"png": {"pil_kwargs": {"compress_level": 3}}}
"""A picture of lines is written in half of the time, and is a tenth larger."""
_UNDATED = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@contextmanager
def house_style(theme: Theme = LIGHT) -> Generator[None]:
    """matplotlib as fieldlog wants it, for as long as the context lasts."""
    from matplotlib import rc_context, style

    with style.context("default"), rc_context(cast("Any", rc(theme))), warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes: no reason to stop
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(
    panels_in: Sequence[float], size: Size, frame_in: float, table_in: float = 0, *, shared: bool = True
) -> tuple[Figure, list[Axes], Axes | None]:
    """A figure of panels one above the other that share their time axis, and beneath a place for a table, where it has a
    height; `panels_in` are the heights with names that they have where `size` has none. UsageError where it is too small for
    them, or has too many dots."""
    from matplotlib.figure import Figure

    size.require_room(sum(panels_in), frame_in + table_in)
    heights = [*panels_in, *([table_in] if table_in else [])]
    height_in = frame_in + sum(heights) if size.height_in is None else size.height_in
    figure = Figure(figsize=(size.width_in, height_in), dpi=size.dpi, layout="constrained")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    panels: list[Axes] = []
    for row in range(len(panels_in)):
        panels.append(figure.add_subplot(grid[row, 0], sharex=panels[0] if panels and shared else None))
    for axes in panels[:-1] if shared else []:
        axes.tick_params(labelbottom=False)
    return figure, panels, figure.add_subplot(grid[-1, 0]) if table_in else None


def line(axes: Axes, utc_us: Micros, values: Floats, colour: str, dash: str) -> Artist:
    return axes.plot(_days(utc_us), values, color=colour, linestyle=dash, linewidth=0.9, zorder=2.5)[0]


def curve(axes: Axes, x: Floats, y: Floats, colour: str, dash: str) -> Artist:
    """A line over no time."""
    return axes.plot(x, y, color=colour, linestyle=dash, linewidth=1.0, zorder=2.5)[0]


def span(axes: Axes, utc_us: Micros, values: Floats, colour: str) -> Artist:
    """The stroke from lowest to highest under a mean, tinted but opaque: it stays readable where lines cross."""
    return axes.plot(_days(utc_us), values, color=_tint(colour, axes.get_facecolor()), linewidth=0.8, zorder=2.0)[0]


def band(axes: Axes, utc_us: Micros, low: Floats, high: Floats, colour: str) -> None:
    """A filled span, tinted but opaque like `span`."""
    axes.fill_between(_days(utc_us), low, high, color=_tint(colour, axes.get_facecolor()), linewidth=0, zorder=2.0)


def dots(axes: Axes, utc_us: Micros, values: Floats, colour: str) -> None:
    axes.plot(_days(utc_us), values, color=colour, linestyle="none", marker=".", markersize=2.5, zorder=2.5)


def bands(axes: Axes, begin_us: Micros, end_us: Micros, colour: str, place: tuple[float, float]) -> Artist:
    """Vertical bands; `place` is their (foot, height) in the panel, 0 to 1."""
    from matplotlib.collections import PolyCollection

    left, right, (foot, height) = _days(begin_us), _days(end_us), place
    corners = [((a, foot), (a, foot + height), (b, foot + height), (b, foot)) for a, b in zip(left, right, strict=True)]
    spans = PolyCollection(corners, transform=axes.get_xaxis_transform(), color=colour, linewidth=0, zorder=1.0)
    axes.add_collection(spans, autolim=False)  # matplotlib 3.9 takes shares of the panel for values
    return spans


def beyond(axes: Axes, utc_us: Micros, values: Floats, limit: float, colour: str) -> None:
    """A line at a limit, and what lies between it and values that pass it; NaN where they do not."""
    axes.axhline(limit, color=colour, linewidth=0.8, linestyle=(0, (5, 3)), zorder=2.2)
    axes.fill_between(_days(utc_us), values, limit, color=colour, alpha=0.35, linewidth=0.4, zorder=2.1)


def moment(axes: Axes, utc_us: int, colour: str, dash: str, foot: float = 0.0) -> None:
    """A vertical line, from `foot` (0 to 1) to the top of the panel."""
    axes.axvline(
        float(_days(np.array([utc_us], np.int64))[0]), foot, 1, color=colour, linewidth=0.8, linestyle=dash, zorder=2.8
    )


def moment_text(axes: Axes, utc_us: int, text: str, colour: str, *, side: str = "right", at_top: bool = True) -> None:
    """Words beside a vertical line, inside the panel; the line is at its right or left `side`."""
    from matplotlib.text import Text

    from fieldlog.plot.canvas_words import FOOT, TOP, Upright

    kind, height, anchor = (Upright, TOP, "top") if at_top else (Text, FOOT, "bottom")
    words = kind(
        float(_days(np.array([utc_us], np.int64))[0]),
        height,
        " " + text,
        transform=axes.get_xaxis_transform(),
        rotation=90,
        ha=side,
        va=anchor,
        fontsize=6.5,
        color=colour,
        zorder=3.0,
        clip_on=True,
    )
    axes.add_artist(words)


def table(axes: Axes, rows: Sequence[Sequence[str]], widths: Sequence[float]) -> None:
    """Rows of text, the first of them the head: the first column at the left, numbers at the right of theirs; `widths` in
    shares of the whole."""
    axes.set_axis_off()
    rights = np.cumsum(widths) / sum(widths)
    step = 1 / len(rows)
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            axes.text(
                rights[column] if column else 0.0,
                1 - (number + 0.5) * step,
                text,
                transform=axes.transAxes,
                ha="right" if column else "left",
                va="center",
                fontsize=7.5,
                fontweight="bold" if not number else "normal",
            )


def legend(axes: Axes, artists: Sequence[Artist], names: Names) -> None:
    """Above the panel, where it covers no reading."""
    from matplotlib.lines import Line2D

    texts = [*names.shown, names.rest] if names.rest else names.shown
    box = axes.legend(
        [*artists[: len(names.shown)], Line2D([], [], linestyle="none")][: len(texts)],
        ["x"] * len(texts),  # matplotlib leaves out labels that begin with _: the texts are set afterwards
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=names.n_columns,
        borderaxespad=0.1,
        borderpad=0.1,
        handlelength=1.4,
        columnspacing=1.4,
    )
    for shown, text in zip(box.get_texts(), texts, strict=True):
        shown.set_text(text)


def titles(figure: Figure, title: str, key: str, size: Size, theme: Theme = LIGHT) -> None:
    """The title at the left, and at the right, small, what the marks mean: beneath it where both have no room. What takes
    more lines than one makes the figure higher, where it may be."""
    width_in, height_in = map(float, figure.get_size_inches())
    shown = _title_lines(title or " " * (len(key) * _KEY_IN > width_in), int(width_in / _TITLE_IN))
    beneath = bool(shown) and max(map(len, shown)) * _TITLE_IN + len(key) * _KEY_IN > width_in
    lines = wrap(key, int(width_in / _KEY_IN)) if beneath else [key]
    n_free = math.ceil(len(lines) * _KEY_LINES) * beneath
    if size.height_in is None:
        height_in += _TITLE_LINE_IN * max(len(shown) - 1 + max(n_free - 1, 0), 0)
        figure.set_size_inches(width_in, height_in)
    if shown:
        figure.suptitle("\n".join(shown) + "\n" * n_free, x=0.01, ha="left", fontsize=12, fontweight="bold")
    if key:
        top = 0.995 - _TITLE_LINE_IN / height_in * len(shown) * beneath
        figure.text(0.995, top, "\n".join(lines), ha="right", va="top", fontsize=7.5, color=theme.edge)


def _title_lines(title: str, room: int) -> list[str]:
    """As many as a figure has, of `room` characters."""
    lines = wrap(clean(title), room) or [" "] * bool(title)
    if len(lines) > _MOST_TITLE_LINES:
        lines[_MOST_TITLE_LINES - 1 :] = [clean(" ".join(lines[_MOST_TITLE_LINES - 1 :]), room)]
    return lines


def value_axis(axes: Axes, label: str, theme: Theme = LIGHT) -> None:
    from fieldlog.plot.canvas_ticks import ValueText

    axes.tick_params(colors=theme.text, grid_color=theme.grid)  # ticks are made when they are drawn, in any style
    axes.yaxis.set_major_formatter(ValueText(axes))
    axes.set_ylabel(label)
    axes.locator_params(axis="y", nbins=5)
    axes.margins(x=0.005, y=0.08)


def state_axis(axes: Axes, words: Sequence[str]) -> None:
    """Up, where values are numbers of states: ticks at whole numbers alone, with their words."""
    from matplotlib.ticker import MaxNLocator

    from fieldlog.plot.canvas_ticks import StateText

    axes.yaxis.set_major_locator(MaxNLocator(nbins=_MOST_STATES, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(StateText(words))
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, math.floor(low + 0.5) - STATE_MARGIN), max(high, math.ceil(high - 0.5) + STATE_MARGIN))


def other_axis(axes: Axes, label: str) -> None:
    """Across, where that is not time."""
    axes.set_xlabel(label)


def show_times(axes: Axes, begin_us: int, end_us: int) -> None:
    axes.set_xlim(*_days(np.array([begin_us, end_us], np.int64)).tolist())


def time_axis(figure: Figure, axes: Axes, tz: tzinfo, label: str) -> None:
    from matplotlib.dates import ConciseDateFormatter

    from fieldlog.plot.canvas_ticks import DateTicks

    room_in = float(figure.get_size_inches()[0]) - _MARGIN_IN
    locator = DateTicks(tz, int(room_in / _TICK_IN))
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=tz))  # type: ignore[no-untyped-call]
    if len(label) * _LABEL_IN + 2 * _DATE_IN <= room_in:
        axes.set_xlabel(label)
    else:
        axes.set_xlabel("\n".join(_label_lines(label, room_in)), loc="left")
    figure.align_ylabels()


def _label_lines(label: str, room_in: float) -> list[str]:
    """At the left of the date, or beneath it where that is too narrow."""
    room, beside = int(room_in / _LABEL_IN), int((room_in - _DATE_IN) / _LABEL_IN)
    lines = wrap(label, max(beside, 1), break_long_words=False)
    return lines if max(map(len, lines)) <= beside else ["", *wrap(label, max(room, 1), break_long_words=False)]


def write(figure: Figure, file: BinaryIO, kind: str) -> None:
    """Draw into a file, without the date of drawing: the same figure gives the same bytes."""
    from matplotlib.colors import to_rgb

    dark = figure.get_facecolor()[:3] == to_rgb(DARK.background)
    with house_style(DARK if dark else LIGHT), _laid_out(figure):
        figure.savefig(file, format=kind, metadata=_UNDATED[kind], **_PACKING.get(kind, {}))


def _lay_out(figure: Figure, engine: LayoutEngine) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="constrained_layout not applied")
        try:
            engine.execute(figure)
        except UserWarning as error:
            raise UsageError(
                "the plot is too small for its title, names and numbers. Nothing was plotted; make it larger, or give it a "
                "shorter title"
            ) from error


@contextmanager
def _laid_out(figure: Figure) -> Generator[None]:
    """Every part in its place; to find these, matplotlib would draw all of it once more than it takes."""
    engine = figure.get_layout_engine()
    if engine is not None:
        _lay_out(figure, engine)
        figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def _days(utc_us: Micros) -> Floats:
    """matplotlib's dates: days since its epoch."""
    from matplotlib.dates import date2num

    return np.asarray(date2num(utc_us.view("datetime64[us]")), dtype=np.float64)  # type: ignore[no-untyped-call]


def _tint(colour: str, background: Any) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = (
        0.45 * part + 0.55 * behind for part, behind in zip(to_rgb(colour), to_rgb(background), strict=True)
    )
    return red, green, blue
