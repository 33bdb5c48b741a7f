"""The other door to matplotlib, for what is no line over time: maps of colours, their bars, clouds of points, log axes.

As in `canvas`, the checks that matplotlib's stubs defeat are off in here, and text from devices is drawn as it is.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fieldlog.plot.style import THEMES, Theme
from fieldlog.plot.ticks import tick_text
from fieldlog.plot.trace import Floats

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_COLOUR_MAP = "viridis"
"""From dark to light, evenly: it tells the same in grey, and to colour-blind eyes."""
_FEW, _MANY = 0.12, 0.92
"""The part of it that stands out against a dark and a light ground."""
Box = tuple[float, float, float, float]
"""(left, right, foot, top)."""


def mean_cells(axes: Axes, values: Floats, box: Box) -> AxesImage:
    """Cells in colours, `values` by (row from the foot, column); what is NaN stays as it is behind them."""
    return _cells(axes, values, box, cmap=_COLOUR_MAP)


def counted_cells(axes: Axes, counts: npt.NDArray[np.int64], box: Box, theme: Theme) -> AxesImage:
    """Cells in colours, from few to many on a log scale, the further from the ground the more; none where it is 0."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    dark = theme is THEMES["dark"]
    shades = colormaps[_COLOUR_MAP](np.linspace(_FEW, 1, 256) if dark else np.linspace(_MANY, 0, 256))
    values = np.where(counts, counts, np.nan)
    axes.use_sticky_edges = False
    return _cells(axes, values, box, cmap=ListedColormap(shades), norm=LogNorm(1, max(int(counts.max()), 2)))


def _cells(axes: Axes, pixels: Any, box: Box, **look: Any) -> AxesImage:
    image = axes.imshow(pixels, aspect="auto", origin="lower", extent=box, interpolation="nearest", zorder=2.0, **look)
    axes.grid(visible=False)
    return image


def tinted_cells(axes: Axes, strength: Floats, colour: str, box: Box) -> None:
    """Cells in one colour, the more opaque the nearer `strength` is to 1; none where it is 0."""
    from matplotlib.colors import to_rgb

    pixels = np.empty((*strength.shape, 4))
    pixels[..., :3] = to_rgb(colour)
    pixels[..., 3] = np.where(strength > 0, 0.2 + 0.7 * strength, 0)
    axes.use_sticky_edges = False
    _cells(axes, pixels, box)


def hatched(axes: Axes, theme: Theme) -> None:
    """The ground of a map: grey, and hatched so that no colour looks alike in print."""
    from matplotlib.patches import Rectangle

    ground = Rectangle((0, 0), 1, 1, transform=axes.transAxes, facecolor=theme.gap, edgecolor=theme.missing)
    ground.set(hatch="////", linewidth=0, zorder=1.0)
    axes.add_patch(ground)


def colour_bar(figure: Figure, axes: Axes, image: Any, label: str, theme: Theme) -> None:
    """What the colours of a map mean, beside it."""
    bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.05, aspect=14)
    bar.set_label(label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=theme.text)
    plain_ticks(bar.ax.yaxis)


def plain_ticks(axis: Any) -> None:
    """Ticks told in full, as `ticks` has it; on a log scale powers of ten."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    def text(value: float, _: int | None) -> str:
        return tick_text(value, [float(tick) for tick in axis.get_ticklocs()])

    def power(value: float, _: int | None) -> str:
        return power_text(value)

    linear = axis.get_scale() == "linear"
    axis.set_major_formatter(FuncFormatter(text if linear else power))
    if not linear:
        axis.set_minor_formatter(NullFormatter())


def power_text(value: float) -> str:
    """A power of ten: plain while that is short."""
    text = f"{value:g}" if 1e-3 <= value <= 1e4 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return text.replace("e+", "e").replace("-", "\N{MINUS SIGN}")


def few_days(axes: Axes, days: Sequence[int]) -> None:
    """Days since 1970 named one by one, each under its middle."""
    axes.set_xticks([day + 0.5 for day in days], [str(np.datetime64(day, "D")) for day in days])
    axes.tick_params(axis="x", length=0)


def hour_axis(axes: Axes, theme: Theme) -> None:
    axes.tick_params(colors=theme.text)
    axes.set_ylabel("hour of day")
    axes.set_yticks([0, 6, 12, 18, 24])


def panel_name(axes: Axes, name: str) -> None:
    """Above the panel, at its left."""
    axes.set_title(name, loc="left", fontsize=9.0, pad=4.0)


def marks_at_top(axes: Axes, x: Sequence[float], theme: Theme) -> None:
    """Small triangles inside the panel, at its upper edge."""
    axes.plot(
        x,
        [0.97] * len(x),
        transform=axes.get_xaxis_transform(),
        linestyle="none",
        marker="v",
        markersize=5,
        color=theme.background,
        markeredgecolor=theme.text,
        markeredgewidth=0.6,
        zorder=3.0,
    )


def log_axes(axes: Axes, up: str, theme: Theme) -> None:
    """Both axes on a log scale."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.tick_params(which="both", colors=theme.text, grid_color=theme.grid)
    axes.set_ylabel(up)


def log_ticks(axes: Axes) -> None:
    """Ticks of both axes, when everything is drawn: powers of ten, of small spans what lies between them too."""
    for axis, limits, most in ((axes.xaxis, axes.get_xlim(), 10), (axes.yaxis, axes.get_ylim(), 6)):
        major, minor = ticks_of_log(*limits, most)
        axis.set_ticks(major)
        axis.set_ticks(minor, minor=True)
        plain_ticks(axis)


def ticks_of_log(low: float, high: float, most: int) -> tuple[list[float], list[float]]:
    """(major, minor) between two numbers; matplotlib's own differ between its versions."""
    first, last = floor(log10(low)), ceil(log10(high))
    every = -(-(last - first) // most)
    wanted: tuple[int, ...] = (1,) if log10(high / low) >= 2.5 else (1, 2, 5) if high > 6 * low else tuple(range(1, 10))
    numbers = [(digit, power) for power in range(first, last + 1) for digit in range(1, 10)]
    inside = [(digit, power) for digit, power in numbers if low <= digit * 10.0**power <= high]
    major = [pair for pair in inside if pair[0] in wanted and not pair[1] % every]
    minor = [pair for pair in inside if pair not in major and (every == 1 or pair[0] == 1)]
    return [digit * 10.0**power for digit, power in major], [digit * 10.0**power for digit, power in minor]


def foot_notes(axes: Axes, notes: Sequence[tuple[float, str]], theme: Theme) -> None:
    """Small words at places along the foot, each over a short stroke."""
    for x, text in notes:
        axes.axvline(x, 0, 0.03, color=theme.text, linewidth=0.8, zorder=2.8)
        axes.text(
            x,
            0.035,
            text,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=6.5,
            color=theme.text,
            zorder=3.0,
            clip_on=True,
        )


def points(axes: Axes, x: Floats, y: Floats, colour: str, marker: str) -> None:
    """A cloud of points; they shine through where there are many."""
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=marker,
        markersize=3.0,
        color=colour,
        alpha=0.75 if len(x) < 300 else 0.4,
        markeredgewidth=0.6 if marker in "x+" else 0.0,
        zorder=2.5,
    )


def swatch(colour: str, marker: str) -> Artist:
    """What stands for a cloud above the panel."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker=marker, markersize=5, color=colour)


def numbered_axes(axes: Axes, across: str, up: str, theme: Theme) -> None:
    """Two plain axes of numbers."""
    axes.tick_params(colors=theme.text, grid_color=theme.grid)
    plain_ticks(axes.xaxis)
    plain_ticks(axes.yaxis)
    axes.locator_params(axis="y", nbins=7)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.margins(x=0.02, y=0.02)


def diagonal(axes: Axes, theme: Theme) -> None:
    """Where both axes show the same number; it does not change from where to where they reach."""
    limits = axes.get_xlim(), axes.get_ylim()
    axes.axline((0, 0), slope=1, color=theme.edge, linewidth=0.8, linestyle=(0, (5, 3)), zorder=2.8)
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])


def foot_line(figure: Figure, text: str, theme: Theme) -> None:
    """Small words under everything else."""
    figure.supxlabel(text, x=0.995, ha="right", fontsize=7.5, color=theme.edge)
