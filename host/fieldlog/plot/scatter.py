"""Two channels against each other: points while they are few, and else how many fall into each cell.

One device, or several in colours of their own. The arithmetic is in `clouds`, what belongs together in `pairs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fieldlog.plot import canvas, canvas_views
from fieldlog.plot.clouds import MOST_POINTS, Cloud, Clouds, cloud_of, scale_of
from fieldlog.plot.lines import nothing_to_plot
from fieldlog.plot.names import arrange
from fieldlog.plot.size import Size
from fieldlog.plot.statistics import duration_text
from fieldlog.plot.style import DPI, THEMES, Theme, clean, unit_sign
from fieldlog.plot.trace import Trace
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Traces: TypeAlias = tuple[Trace, Trace]
"""(across, up)."""

_WIDTH_IN, _PANEL_IN, _FRAME_IN, _MARGIN_IN = 8.0, 5.2, 0.9, 1.5
_MARKERS = "ox^+sDv"
_NAME_LENGTH = 60
_TITLE_CHARACTER_IN, _LEAST_TITLE = 0.12, 30


def scatter(
    given: Clouds | Traces | Mapping[str, Traces],
    *,
    title: str = "",
    theme: str = "light",
    width_in: float = _WIDTH_IN,
    height_in: float | None = None,
    dpi: float = DPI,
) -> Figure:
    """A figure of one channel (up) over another (across), with r, Pearson's correlation, and n, the number of pairs.

    `given` is a pair of traces (across, up), or such pairs by the name of their device, a colour for each: `utc_us`
    and `values` of a trace are of one length, int64 microseconds since 1970 and float64 in the trace's unit with NaN where
    missing; traces of the same times are paired reading by reading, others with the nearest in time. Or it is clouds that
    were made before. Raises UsageError when there is no pair.
    """
    clouds = given if isinstance(given, Clouds) else _clouds(given)
    return _figure(
        [cloud for cloud in clouds.found if cloud.moments.n],
        clouds,
        title,
        THEMES[theme],
        Size(width_in, height_in, dpi),
    )


def _clouds(given: Traces | Mapping[str, Traces]) -> Clouds:
    pairs = given if isinstance(given, Mapping) else {"": given}
    found = [cloud_of(label, x, y) for label, (x, y) in pairs.items()]
    return Clouds(found, next(((x.name, y.name) for x, y in pairs.values()), ("x", "y")))


def _figure(drawn: Sequence[Cloud], clouds: Clouds, title: str, look: Theme, size: Size) -> Figure:
    if not drawn:
        raise _no_pairs(clouds.found)
    labels = [_label(drawn, axis, clouds.names[axis]) for axis in (0, 1)]
    several = len(drawn) > 1
    told = [cloud.figures for cloud in drawn]
    legend = arrange(
        [f"{cloud.label}: {text}" for cloud, text in zip(drawn, told, strict=True)], size.width_in - _MARGIN_IN
    )
    with canvas.house_style(look):
        height = _PANEL_IN + (legend.height_in if several else 0)
        figure, (axes,), _ = canvas.new_figure([height], size, _FRAME_IN)
        if sum(cloud.moments.n for cloud in drawn) <= MOST_POINTS:
            markers = _points(axes, drawn, look)
        else:
            markers = _cells(figure, axes, drawn, look)
        canvas_views.numbered_axes(axes, labels[0], labels[1], look)
        if _same_unit(drawn):
            canvas_views.diagonal(axes, look)
        if several:
            canvas.legend(axes, _swatches(markers, look), legend)
        canvas.titles(figure, _head(title, "" if several else told[0], size.width_in), "", size, look)
        canvas_views.foot_line(figure, _key(clouds.found, drawn), look)
    return figure


def _head(title: str, figures: str, width_in: float) -> str:
    """A title that leaves room for r and n."""
    room = max(int(width_in / _TITLE_CHARACTER_IN) - len(figures), _LEAST_TITLE)
    return " · ".join(filter(None, (clean(title, room), figures)))


def _no_pairs(clouds: Sequence[Cloud]) -> UsageError:
    if not any(cloud.pairing.n_readings for cloud in clouds):
        return nothing_to_plot()
    return UsageError(
        "there are no pairs to plot: at no time both channels have a value. Nothing was plotted; choose other times, or "
        "other channels"
    )


def _label(drawn: Sequence[Cloud], axis: int, name: str) -> str:
    units = list(dict.fromkeys(unit for cloud in drawn for unit in cloud.pairing.units[axis]))
    if len(units) > 1:
        raise UsageError(
            f"{clean(name, _NAME_LENGTH)!r} is in {' and in '.join(repr(clean(unit, 20)) for unit in units)}, which share no "
            "axis. Nothing was plotted; choose one device with --device, or one session with --session"
        )
    sign = unit_sign(units[0]) if units else ""
    return f"{clean(name, _NAME_LENGTH)} [{sign}]" if sign else clean(name, _NAME_LENGTH)


def _same_unit(drawn: Sequence[Cloud]) -> bool:
    across, up = drawn[0].pairing.units
    return list(across) == list(up)


def _points(axes: Axes, drawn: Sequence[Cloud], look: Theme) -> list[str]:
    """Draws all pairs; gives the marker of each cloud."""
    markers = [_MARKERS[index % len(_MARKERS)] for index in range(len(drawn))]
    for index, (cloud, marker) in enumerate(zip(drawn, markers, strict=True)):
        canvas_views.points(axes, *cloud.points, _colour(index, look), marker)
    return markers


def _cells(figure: Figure, axes: Axes, drawn: Sequence[Cloud], look: Theme) -> list[str]:
    """Draws how many pairs are where; gives the marker of each cloud."""
    across, up = (scale_of(drawn, axis) for axis in (0, 1))
    box = (across.begin, across.end, up.begin, up.end)
    if len(drawn) == 1:
        image = canvas_views.counted_cells(axes, drawn[0].counts(across, up), box, look)
        canvas_views.colour_bar(figure, axes, image, "pairs in a cell", look)
    else:
        for index, cloud in enumerate(drawn):
            shares = np.log1p(cloud.counts(across, up))
            canvas_views.tinted_cells(axes, shares / shares.max(), _colour(index, look), box)
    return ["s"] * len(drawn)


def _swatches(markers: Sequence[str], look: Theme) -> list[Artist]:
    return [canvas_views.swatch(_colour(index, look), marker) for index, marker in enumerate(markers)]


def _colour(index: int, look: Theme) -> str:
    return look.colours[index % len(look.colours)]


def _key(all_: Sequence[Cloud], drawn: Sequence[Cloud]) -> str:
    pairings = [cloud.pairing for cloud in all_]
    ways: list[str] = []
    if any(pairing.n_rows for pairing in pairings):
        ways.append("both values of one reading")
    apart = [pairing.apart_us for pairing in pairings if pairing.apart_us is not None]
    if apart:
        ways.append(f"nearest in time, at most {span_text(max(apart))} apart")
    told = [f"pairs: {', or '.join(ways)}"]
    without = sum(pairing.n_without for pairing in pairings)
    if without:
        told.append(f"without a partner: {without:,}".replace(",", "\N{THIN SPACE}"))
    if _same_unit(drawn):
        told.append("dashed: equal values")
    return "   ".join(told)


def span_text(us: int) -> str:
    """Half a second as 0.5 s, longer than a minute as 01:30:00."""
    return f"{us / 1e6:g} s" if us < 60_000_000 else duration_text(us)
