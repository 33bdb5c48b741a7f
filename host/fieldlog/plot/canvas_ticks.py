"""Ticks that are found once: matplotlib asks for them a dozen times while it draws, and finds them anew each time.

Loaded by `canvas` alone, when there is something to draw.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from matplotlib.dates import AutoDateLocator
from matplotlib.ticker import Formatter

from fieldlog.plot.ticks import state_text, tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TICKS, _MANY_TICKS, _FEW_TICKS = 14, 9, 5
"""With fewer than five there would be times that none of matplotlib's steps divides into so few, and from five on with fewer
than nine."""


class DateTicks(AutoDateLocator):
    """As many as tell times apart, and have `room`; those of the same stretch of time are given again."""

    def __init__(self, tz: tzinfo, room: int = _MOST_TICKS) -> None:
        n_least, n_most = (5, min(room, _MOST_TICKS)) if room >= _MANY_TICKS else (2, _FEW_TICKS)
        super().__init__(tz=tz, minticks=n_least, maxticks=n_most)  # type: ignore[no-untyped-call]
        self._shown: tuple[float, ...] = ()
        self._found: Sequence[float] = ()

    def __call__(self) -> Any:
        shown = tuple(self.axis.get_view_interval())  # type: ignore[union-attr]
        if shown != self._shown:
            self._found, self._shown = super().__call__(), shown  # type: ignore[no-untyped-call]
        return self._found


class StateText(Formatter):
    """The word of each state; nothing between them."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def __call__(self, value: float, pos: int | None = None) -> str:  # noqa: ARG002 - matplotlib's signature
        return state_text(value, self._words)


class ValueText(Formatter):
    """What stands at the ticks of values: as many decimals as tell all of them apart."""

    def __init__(self, axes: Axes) -> None:
        self._axes = axes

    def format_ticks(self, values: Any) -> list[str]:
        ticks = [float(value) for value in values]
        return [tick_text(tick, ticks) for tick in ticks]

    def __call__(self, value: float, pos: int | None = None) -> str:  # noqa: ARG002 - matplotlib's signature
        return tick_text(value, [float(tick) for tick in self._axes.get_yticks()])
