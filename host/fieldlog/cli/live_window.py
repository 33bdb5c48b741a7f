"""A window of matplotlib's with the curves of the last seconds: a panel for each unit, a line for each channel.

Rule: what was lost is a gap, and never joined. All of matplotlib's untyped arguments are given in here.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fieldlog.cli.live_view import doing
from fieldlog.live.frames import Floats
from fieldlog.live.picture import Picture
from fieldlog.live.trail import Trail
from fieldlog.plot.canvas import STATE_MARGIN, house_style, state_axis, value_axis
from fieldlog.plot.style import COLOURS, DASHES, clean, unit_sign
from fieldlog.plot.trace import Nature, nature_of
from fieldlog.plot.window import new_window
from fieldlog.text import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_GAP_PERIODS = 2.5
"""Readings that are farther apart than so many periods are not joined."""
_ARRANGED_FIRST, _ARRANGED_EVERY = 4, 10
"""To arrange panels takes as long as to draw them: done for so many new drawings, then for each of so many."""
_HEADROOM = 0.08
_NAMES_A_ROW = 4
_NO_DISPLAY = "Leave --plot out for the view in the terminal, or set DISPLAY"


class Window:
    """Raises UsageError where there is no display."""

    every_s = 0.2

    def __init__(self, window_s: float) -> None:
        from matplotlib import pyplot

        self._figure = new_window("fieldlog live", (9, 6), _NO_DISPLAY)
        self._open = pyplot.fignum_exists
        self._curves = Curves(self._figure, window_s)
        self._drawn = 0
        self._figure.show()

    def draw(self, picture: Picture) -> bool:
        made = self._curves.update(picture, time.time())
        self._drawn = 0 if made else self._drawn + 1
        arranged = self._drawn < _ARRANGED_FIRST or self._drawn % _ARRANGED_EVERY == 0
        self._figure.set_layout_engine("constrained" if arranged else "none")
        self._figure.canvas.draw_idle()
        self._figure.canvas.flush_events()
        return bool(self._open(self._figure.number))


@dataclass(frozen=True, slots=True)
class _Curve:
    stream: int
    channel: int
    name: str
    nature: Nature
    axes: Axes
    line: Line2D


class Curves:
    """The panels of a figure, made anew where streams or channels change."""

    def __init__(self, figure: Figure, window_s: float) -> None:
        self._figure = figure
        self._window_s = window_s
        self._made_for: object = None
        self._curves: list[_Curve] = []

    def update(self, picture: Picture, now_s: float) -> bool:
        """Whether the panels were made anew."""
        trails = picture.trails
        made_for = [(number, trail.layout.channels) for number, trail in trails.items()]
        anew = made_for != self._made_for
        if anew:
            with house_style():
                self._make(trails.values())
            self._made_for = made_for
        title = clean(picture.trouble) if picture.trouble else _title(picture)
        self._figure.suptitle(title, fontsize=10, parse_math=False)
        for axes in self._figure.axes:
            self._update(axes, [curve for curve in self._curves if curve.axes is axes], picture, now_s)
        return anew

    def _make(self, trails: Iterable[Trail]) -> None:
        """In order of the streams' channels; the unit stands at the panel once, and states have a panel of their own."""
        self._figure.clear()
        found = [(trail.layout, at, channel) for trail in trails for at, channel in enumerate(trail.layout.channels)]
        kinds = list(dict.fromkeys((channel.unit, nature_of(layout, channel).states) for layout, _, channel in found))
        panels = self._figure.subplots(max(1, len(kinds)), 1, sharex=True, squeeze=False)[:, 0]
        axes_of: dict[tuple[str, tuple[str, ...] | None], Axes] = dict(zip(kinds, panels, strict=False))
        counts: Counter[tuple[str, tuple[str, ...] | None]] = Counter()
        self._curves = []
        for layout, at, channel in found:
            nature = nature_of(layout, channel)
            kind = (channel.unit, nature.states)
            axes, number = axes_of[kind], counts[kind]
            counts[kind] += 1
            colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
            style = "steps-post" if nature.held else "default"
            line = axes.plot([], [], color=colour, linestyle=dash, linewidth=0.9, drawstyle=style)[0]
            self._curves.append(_Curve(layout.stream.id, at, channel.name, nature, axes, line))
        for (unit, states), axes in axes_of.items():
            value_axis(axes, unit_sign(unit))
            if states is not None:
                state_axis(axes, states)
            self._name(axes)
        panels[-1].set_xlabel("seconds before now")
        panels[-1].set_xlim(-self._window_s, 0)

    def _name(self, axes: Axes) -> None:
        """Above the panel, where it covers no reading. matplotlib leaves out labels that begin with _: the texts are set
        afterwards."""
        curves = [curve for curve in self._curves if curve.axes is axes]
        box = axes.legend(
            [curve.line for curve in curves],
            ["x"] * len(curves),
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=_NAMES_A_ROW,
            borderaxespad=0.1,
            fontsize=8,
        )
        for text, curve in zip(box.get_texts(), curves, strict=True):
            text.set_text(clean(curve.name, 40))

    def _update(self, axes: Axes, curves: Sequence[_Curve], picture: Picture, now_s: float) -> None:
        lowest, highest = np.inf, -np.inf
        for curve in curves:
            seconds, values = _shown(picture.trails[curve.stream], curve, now_s - self._window_s)
            if curve.nature.eventful and len(seconds) and not picture.trouble:
                seconds, values = np.append(seconds, max(now_s, seconds[-1])), np.append(values, values[-1])
            curve.line.set_data(seconds - now_s, values)
            known = values[np.isfinite(values)]
            if len(known):
                lowest, highest = min(lowest, float(known.min())), max(highest, float(known.max()))
        if lowest <= highest:
            margin = _HEADROOM * (highest - lowest) or abs(highest) * 1e-3 or 1.0
            if any(curve.nature.states is not None for curve in curves):
                margin += STATE_MARGIN
            axes.set_ylim(lowest - margin, highest + margin)


def _shown(trail: Trail, curve: _Curve, from_s: float) -> tuple[Floats, Floats]:
    """The readings since then, with a gap wherever some are missing in between. Of what is told when it happens none is: the
    last value before holds."""
    begin = int(np.searchsorted(trail.seconds, from_s))
    if curve.nature.eventful:
        begin = max(0, begin - 1)
    seconds, values = trail.seconds[begin:], trail.values[curve.channel, begin:]
    if not trail.rate_hz or curve.nature.eventful:
        return seconds, values
    gaps = np.flatnonzero(np.diff(seconds) > _GAP_PERIODS / trail.rate_hz) + 1
    return np.insert(seconds, gaps, seconds[gaps - 1]), np.insert(values, gaps, np.nan)


def _title(picture: Picture) -> str:
    if picture.info is None:
        return ""
    if not picture.info.recording:
        return doing(picture.info)
    lost = f"{count(picture.lost, 'frame')} lost" if picture.lost else "none lost"
    return f"{clean(picture.info.name or picture.info.serial)} · {lost}"
