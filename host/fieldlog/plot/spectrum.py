"""How much of what channels do happens at which frequency: the power spectral density, by Welch's method.

Only channels whose readings are evenly spaced have one. Gaps are never joined: see `welch`, which does the arithmetic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldlog.plot import canvas, canvas_views
from fieldlog.plot.lines import Single, nothing_to_plot
from fieldlog.plot.names import arrange
from fieldlog.plot.size import Size
from fieldlog.plot.style import DPI, THEMES, clean, dash, unit_sign
from fieldlog.plot.trace import Floats, SeriesLike, Trace
from fieldlog.plot.welch import SIZES, Rhythm, RhythmFinder, Welch
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Key = tuple[str, str, str]
"""(label, name, unit)."""

_WIDTH_IN, _PANEL_IN, _FRAME_IN, _MARGIN_IN = 11.0, 3.2, 0.8, 0.95
_MAX_PANELS = 24
_NAME_LENGTH = 60
_PERIODS_S = {
    0.001: "1 ms",
    0.01: "10 ms",
    0.1: "0.1 s",
    1: "1 s",
    10: "10 s",
    60: "1 min",
    600: "10 min",
    3600: "1 h",
    43_200: "12 h",
    86_400: "1 day",
    604_800: "7 days",
    2_592_000: "30 days",
    31_556_952: "1 year",
}


@dataclass(frozen=True, slots=True)
class Density:
    """The density of one channel, in the square of its unit per hertz, at frequencies above 0 and below half the
    sampling rate."""

    label: str
    name: str
    unit: str
    frequencies_hz: Floats
    density: Floats
    n_segments: int
    size: int
    rate_hz: float

    @property
    def how(self) -> str:
        """Of which segments it is made."""
        segments = f"{self.n_segments:,}".replace(",", "\N{THIN SPACE}")
        plural = "" if self.n_segments == 1 else "s"
        return f"{segments} segment{plural} of {self.size} readings, {rate_text(self.rate_hz)}"


class _Each:
    """One of something for each channel of batches; of channels of one name and unit in a stream the first."""

    def __init__(self, with_label: bool) -> None:
        self._with_label = with_label

    def columns(self, series: SeriesLike) -> Iterator[tuple[Key, npt.NDArray[np.generic]]]:
        label = series.label if self._with_label else ""
        seen: Counter[tuple[str, str]] = Counter()
        for channel, values in zip(series.channels, series.columns, strict=True):
            seen[channel.name, channel.unit] += 1
            if seen[channel.name, channel.unit] == 1:
                yield (label, channel.name, channel.unit), values


@dataclass(frozen=True, slots=True)
class Spectra:
    """The densities of a selection; `problems`: a sentence for each channel that has none. `n_readings` were looked at."""

    found: Sequence[Density]
    problems: Sequence[str]
    n_readings: int


def spectra(batches: Callable[[], Iterable[SeriesLike]], *, with_label: bool = False) -> Spectra:
    """The densities of readings that `batches` gives twice, both times in the same order."""
    each = _Each(with_label)
    finders: dict[Key, RhythmFinder] = {}
    n_readings = 0
    for series in batches():
        n_readings += len(series.utc_us)
        for key, values in each.columns(series):
            finders.setdefault(key, RhythmFinder()).add(series.utc_us, values, series.starts)
    rhythms = {key: finder.rhythm() for key, finder in finders.items()}
    problems = {key: _problem(key, rhythm) for key, rhythm in rhythms.items()}
    welchs = {
        key: Welch(rhythm.size, rhythm.period_us)
        for key, rhythm in rhythms.items()
        if problems[key] is None and rhythm.size is not None
    }
    for series in batches() if welchs else ():
        for key, values in each.columns(series):
            if key in welchs:
                welchs[key].add(series.utc_us, values, series.starts)
    densities = [_density(key, welch) for key, welch in welchs.items()]
    return Spectra(densities, [problem for problem in problems.values() if problem], n_readings)


def _density(key: Key, welch: Welch) -> Density:
    return Density(
        *key,
        frequencies_hz=welch.frequencies_hz[1:-1],
        density=welch.density[1:-1],
        n_segments=welch.n_segments,
        size=welch.size,
        rate_hz=1e6 / welch.period_us,
    )


def _problem(key: Key, rhythm: Rhythm) -> str | None:
    label, name, _ = key
    shown = repr(clean(f"{label}: {name}" if label else name, _NAME_LENGTH))
    if not rhythm.even:
        return (
            f"{shown} has no spectrum: its readings are not evenly spaced in time. Choose others with --channels, or, where "
            "only its period was changed, one session with --session"
        )
    if rhythm.size is None:
        return (
            f"{shown} has no spectrum: that takes {SIZES[0]} readings without a break, and its longest run has "
            f"{rhythm.longest}. Choose others with --channels, or more time"
        )
    return None


def spectrum(
    given: Spectra | Iterable[Trace],
    *,
    title: str = "",
    theme: str = "light",
    width_in: float = _WIDTH_IN,
    height_in: float | None = None,
    dpi: float = DPI,
) -> Figure:
    """A figure of power spectral densities over frequency, both on log axes, a panel per unit.

    `given` are traces: `utc_us`, `values` and `starts` of one length n, int64 microseconds since 1970, float64 in the
    trace's unit with NaN where missing, and true where a reading is not joined to the one before. Their sampling period is
    found in their times. The densities are in unit²/Hz. Or they are densities that were made before, by `spectra`. Raises
    UsageError when there is none, with the reason of the first channel.
    """
    made = given if isinstance(given, Spectra) else _made(given)
    drawn = [one for one in made.found if (one.density > 0).any()]
    groups: dict[str, list[Density]] = {}
    for one in drawn:
        groups.setdefault(one.unit, []).append(one)
    _require_some(made, groups)
    look, size = THEMES[theme], Size(width_in, height_in, dpi)
    hows = {one.how for one in drawn}
    names = [
        arrange([_name(one, told=len(hows) > 1) for one in group], width_in - _MARGIN_IN) for group in groups.values()
    ]
    with canvas.house_style(look):
        heights = [_PANEL_IN + some.height_in for some in names]
        figure, panels, _ = canvas.new_figure(heights, size, _FRAME_IN)
        for axes, (unit, group), some in zip(panels, groups.items(), names, strict=True):
            artists = [
                canvas.curve(
                    axes,
                    one.frequencies_hz,
                    np.where(one.density > 0, one.density, np.nan),
                    look.colours[index % len(look.colours)],
                    dash(index),
                )
                for index, one in enumerate(group)
            ]
            canvas_views.log_axes(axes, density_unit(unit), look)
            canvas.legend(axes, artists, some)
        canvas.other_axis(panels[-1], "frequency [Hz]; at the foot: period")
        for axes in panels:
            canvas_views.log_ticks(axes)
            canvas_views.foot_notes(axes, _periods(drawn), look)
        figure.align_ylabels()
        canvas.titles(figure, title or " ", _key(hows), size, look)
    return figure


def _made(traces: Iterable[Trace]) -> Spectra:
    parts = [_spectrum_of(trace) for trace in traces]
    return Spectra(
        [density for part in parts for density in part.found],
        [problem for part in parts for problem in part.problems],
        sum(part.n_readings for part in parts),
    )


def _spectrum_of(trace: Trace) -> Spectra:
    def batches() -> Iterable[SeriesLike]:
        return [Single(trace)]

    return spectra(batches)


def _require_some(made: Spectra, groups: dict[str, list[Density]]) -> None:
    if not groups:
        if made.problems:
            raise UsageError(f"{made.problems[0]}. Nothing was plotted")
        if made.found:
            raise UsageError("there is no spectrum to plot: every channel has the same value in all of its readings")
        raise nothing_to_plot()
    if len(groups) > _MAX_PANELS:
        raise UsageError(f"a figure has room for {_MAX_PANELS} units. Nothing was plotted; choose some with --channels")


def _name(one: Density, *, told: bool) -> str:
    name = f"{one.label}: {one.name}" if one.label else one.name
    return f"{clean(name, _NAME_LENGTH)} ({one.how})" if told else name


def _key(hows: set[str]) -> str:
    common = next(iter(hows)) + ", " if len(hows) == 1 else ""
    return f"Welch: {common}Hann, 50 % overlap, trend removed"


def _periods(drawn: Sequence[Density]) -> list[tuple[float, str]]:
    low = min(float(one.frequencies_hz[0]) for one in drawn)
    high = max(float(one.frequencies_hz[-1]) for one in drawn)
    return [(1 / period_s, text) for period_s, text in _PERIODS_S.items() if low * 1.05 <= 1 / period_s <= high * 0.95]


def density_unit(unit: str) -> str:
    """The square of a unit per hertz, such as °C²/Hz or (m/s²)²/Hz."""
    sign = unit_sign(unit)
    if not sign:
        return "1/Hz"
    simple = sign.replace("°", "").isalpha() or sign in "°%"
    return f"{sign}²/Hz" if simple else f"({sign})²/Hz"


def rate_text(rate_hz: float) -> str:
    """How often a reading is taken: 100 Hz, or every 3600 s."""
    return f"{rate_hz:.6g} Hz" if rate_hz >= 0.5 else f"one every {1 / rate_hz:.6g} s"
