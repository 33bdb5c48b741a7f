"""How large a figure is: in inches, as matplotlib has it, and in dots for each of them."""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog.plot.style import DPI
from fieldlog_protocol.errors import UsageError

_LEAST_IN, _MOST_IN = 2.0, 100.0
_LEAST_DPI, _MOST_DPI = 50, 2400
_MOST_DOTS = 150e6
_LEAST_SHARE = 0.35
"""Of the height that panels have by themselves: what is lower shows nothing."""
_CM = 2.54


@dataclass(frozen=True, slots=True)
class Size:
    """Without a height a figure is as high as its panels take. UsageError for what is none."""

    width_in: float
    height_in: float | None = None
    dpi: float = DPI

    def __post_init__(self) -> None:
        sides = [self.width_in] if self.height_in is None else [self.width_in, self.height_in]
        if not all(_LEAST_IN <= side <= _MOST_IN for side in sides):
            raise UsageError(
                f"a plot is {_LEAST_IN * _CM:g} to {_MOST_IN * _CM:g} cm ({_LEAST_IN:g} to {_MOST_IN:g} in) wide and high. "
                "Nothing was plotted; choose another size"
            )
        if not _LEAST_DPI <= self.dpi <= _MOST_DPI:
            raise UsageError(
                f"a plot has {_LEAST_DPI} to {_MOST_DPI} dots per inch. Nothing was plotted; choose another number"
            )

    def require_room(self, panels_in: float, others_in: float) -> None:
        """UsageError where panels that take this height by themselves, beside what is no panel, have none in this one."""
        height_in = panels_in + others_in if self.height_in is None else self.height_in
        if height_in < panels_in * _LEAST_SHARE + others_in:
            least_cm = (panels_in * _LEAST_SHARE + others_in) * _CM
            raise UsageError(
                f"what is to be drawn takes a height of at least {least_cm:.1f} cm. Nothing was plotted; make the plot "
                "higher, leave its height out, or choose some with --channels"
            )
        dots = self.width_in * height_in * self.dpi**2
        if dots > _MOST_DOTS:
            raise UsageError(
                f"a picture of {dots / 1e6:.0f} million dots is too large, as a file of any kind. Nothing was plotted; make it "
                "smaller, or take fewer dots per inch"
            )
