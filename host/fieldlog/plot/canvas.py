"""The one door to matplotlib, whose stubs leave keyword arguments untyped: the checks they defeat are off in here only.

Everything drawn goes through these few functions, so that text from devices is never taken for TeX or mathtext and a
user's matplotlibrc does not change the house style.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fieldlog.plot.names import Names
from fieldlog.plot.style import DPI, RC, clean
from fieldlog.plot.ticks import tick_text
from fieldlog.plot.trace import Floats, Micros

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_UNDATED = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@contextmanager
def house_style() -> Generator[None]:
    """matplotlib as fieldlog wants it, for as long as the context lasts."""
    from matplotlib import rc_context, style

    with style.context("default"), rc_context(cast("Any", dict(RC))), warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes: no reason to stop
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(panels_in: Sequence[float], width_in: float, frame_in: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels one above the other that share their time axis; `panels_in` are their heights with names."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, frame_in + sum(panels_in)), dpi=DPI, layout="constrained")
    grid = figure.subplots(
        len(panels_in), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(panels_in)}
    )
    return figure, list(grid[:, 0])


def line(axes: Axes, utc_us: Micros, values: Floats, colour: str, dash: str) -> Artist:
    return axes.plot(_days(utc_us), values, color=colour, linestyle=dash, linewidth=0.9, zorder=2.5)[0]


def span(axes: Axes, utc_us: Micros, values: Floats, colour: str) -> Artist:
    """The stroke from lowest to highest under a mean, tinted but opaque: it stays readable where lines cross."""
    return axes.plot(_days(utc_us), values, color=_tint(colour), linewidth=0.8, zorder=2.0)[0]


def dots(axes: Axes, utc_us: Micros, values: Floats, colour: str) -> None:
    axes.plot(_days(utc_us), values, color=colour, linestyle="none", marker=".", markersize=2.5, zorder=2.5)


def bands(axes: Axes, begin_us: Micros, end_us: Micros, colour: str, height: float) -> Artist:
    """Vertical bands over the lower `height` (0 to 1) of the panel."""
    left = _days(begin_us)
    spans = list(zip(left.tolist(), (_days(end_us) - left).tolist(), strict=True))
    return axes.broken_barh(
        spans, (0, height), transform=axes.get_xaxis_transform(), color=colour, linewidth=0, zorder=1.0
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


def titles(figure: Figure, title: str, key: str) -> None:
    """The title at the left, and at the right, small, what the marks mean."""
    if title:
        figure.suptitle(clean(title), x=0.01, ha="left", fontsize=12, fontweight="bold")
    if key:
        figure.text(0.995, 0.995, key, ha="right", va="top", fontsize=7.5, color="#666666")


def value_axis(axes: Axes, label: str) -> None:
    from matplotlib.ticker import FuncFormatter

    def text(value: float, _: int | None) -> str:
        return tick_text(value, [float(tick) for tick in axes.get_yticks()])

    axes.yaxis.set_major_formatter(FuncFormatter(text))
    axes.set_ylabel(label)
    axes.locator_params(axis="y", nbins=5)
    axes.margins(x=0.005, y=0.08)


def time_axis(figure: Figure, axes: Axes, tz: tzinfo, label: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz=tz, minticks=5, maxticks=14)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=tz))  # type: ignore[no-untyped-call]
    axes.set_xlabel(label)
    figure.align_ylabels()


def write(figure: Figure, path: Path, kind: str) -> None:
    """Draw into a file, without the date of drawing: the same figure gives the same bytes."""
    with house_style():
        figure.savefig(path, format=kind, metadata=_UNDATED[kind])


def _days(utc_us: Micros) -> Floats:
    """matplotlib's dates: days since its epoch."""
    from matplotlib.dates import date2num

    return np.asarray(date2num(utc_us.view("datetime64[us]")), dtype=np.float64)  # type: ignore[no-untyped-call]


def _tint(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = (0.45 * part + 0.55 for part in to_rgb(colour))
    return red, green, blue
