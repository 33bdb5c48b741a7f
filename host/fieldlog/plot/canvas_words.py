"""Words that stand upright in a panel. Where it is too low for them their end is cut off, never their beginning.

Loaded by `canvas` alone, when there is something to draw.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.text import Text

if TYPE_CHECKING:
    from matplotlib.backend_bases import RendererBase

TOP, FOOT = 0.98, 0.02


class Upright(Text):
    """Words that hang from the top of their panel, or stand at its foot where they are longer than it is high: how high it is
    shows when it is drawn."""

    def draw(self, renderer: RendererBase) -> None:
        if self.axes is not None and self.get_visible():
            fits = self.get_window_extent(renderer).height <= self.axes.bbox.height * (TOP - FOOT)
            if fits != (self.get_verticalalignment() == "top"):  # else nothing is to be drawn anew
                self.set_y(TOP if fits else FOOT)
                self.set_verticalalignment("top" if fits else "bottom")
        super().draw(renderer)
