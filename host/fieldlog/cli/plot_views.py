"""`fieldlog plot --view`: what is no line over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from fieldlog.cli.plot_size import Wished
from fieldlog.cli.plot_sources import FromArchive, Source
from fieldlog.text import printable
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fieldlog.archive.readings import Readings
    from fieldlog.pictures import Timed
    from fieldlog.plot import Clouds
    from fieldlog.plot.trace import SeriesLike

VIEWS = ("histogram", "duration", "heatmap", "spectrum", "scatter")
HELP = (
    "Readings over time; how often which values occur, or for which share of the readings they are at least so high; the "
    "mean of each hour of each day; how much happens at which frequency; or two channels against each other."
)

Batches: TypeAlias = "Callable[[], Iterator[SeriesLike]]"


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture shall look."""

    title: str
    tz: tzinfo
    theme: str
    size: Wished


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, of how many readings it is made, and what could not be read or drawn. `n_untimed`: beside them, those that
    cannot be in it since their time is not known."""

    figure: Figure
    n_readings: int
    problems: Sequence[str]
    n_untimed: int = 0


def draw(view: str, source: Source, look: Look) -> Drawn:
    """One of VIEWS; UsageError where it cannot be drawn of these readings."""
    return _DRAW[view](view, source, look)


def _distribution(view: str, source: Source, look: Look) -> Drawn:
    from fieldlog import pictures, plot

    found = source.found()
    lines, (plotted, untimed) = pictures.lines(found, plot.columns_for(), with_label=source.several)
    values = plot.Distributions(lines, view, with_label=source.several)
    for series in pictures.Timed(found)():
        values.add(series)
    return Drawn(
        plot.distribution(values, title=look.title, theme=look.theme, **look.size.options()),
        plotted,
        source.problems,
        untimed,
    )


def _heatmap(_: str, source: Source, look: Look) -> Drawn:
    from fieldlog import pictures, plot

    found = source.found()
    batches = pictures.Timed(found)
    added = plot.DayHours(found.first_us, found.last_us, look.tz, with_label=source.several)
    for series in batches():
        added.add(series)
    figure = plot.heatmap(added, title=look.title, theme=look.theme, **look.size.options())
    return Drawn(figure, added.n_readings, source.problems, batches.n_untimed)


def _spectrum(_: str, source: Source, look: Look) -> Drawn:
    from fieldlog import pictures, plot

    batches = pictures.Timed(source.found())
    found = plot.spectra(batches, with_label=source.several)
    figure = plot.spectrum(found, title=look.title, theme=look.theme, **look.size.options())
    return Drawn(figure, found.n_readings, [*source.problems, *found.problems], batches.n_untimed)


def _scatter(_: str, source: Source, look: Look) -> Drawn:
    from fieldlog import plot

    parts = _in_archive(source) if isinstance(source, FromArchive) else _in_files(source)
    clouds = _clouds(parts)
    figure = plot.scatter(clouds, title=look.title, theme=look.theme, **look.size.options())
    problems = dict.fromkeys([*source.problems, *(text for one in parts.readings for text in one.problems)])
    n_readings = sum(cloud.pairing.n_readings for cloud in clouds.found)
    return Drawn(figure, n_readings, list(problems), sum(one.n_untimed for one in parts.timed))


_DRAW: dict[str, Callable[[str, Source, Look], Drawn]] = {
    "histogram": _distribution,
    "duration": _distribution,
    "heatmap": _heatmap,
    "spectrum": _spectrum,
    "scatter": _scatter,
}


@dataclass(frozen=True, slots=True)
class _Parts:
    """The names of the channels in the order in which they are wanted, and what people call each device, with its batches.
    `timed`: what these are batches of; `readings`: those that tell what of them could not be read."""

    channels: Sequence[str]
    devices: Sequence[tuple[str, Batches]]
    timed: Sequence[Timed]
    readings: Sequence[Readings] = ()


def _in_archive(source: FromArchive) -> _Parts:
    """A selection of its own for each device, so that what another one has is not read."""
    from fieldlog.archive.readings import Readings as Some
    from fieldlog.pictures import Timed, find

    whole = source.readings
    channels = list(dict.fromkeys(source.wanted or source.channels()))
    if not source.several:
        alone = Timed(find(source.archive, whole, apart=False))
        return _Parts(channels, [("", alone)], [alone])
    found: list[tuple[str, Readings]] = []
    for uid in dict.fromkeys(one.info.uid for one in whole.sources):
        sources = [one for one in whole.sources if one.info.uid == uid]
        known = {name for one in sources for name in one.schemas.channel_names()}
        there = tuple(name for name in channels if name in known)
        if there:
            found.append(
                (sources[0].info.name, Some(source.archive.path, sources, replace(whole.selection, channels=there)))
            )
    devices = [(label, Timed(find(source.archive, readings, apart=False))) for label, readings in found]
    return _Parts(channels, devices, [batches for _, batches in devices], [readings for _, readings in found])


def _in_files(source: Source) -> _Parts:
    """Files are looked through for their devices and channels before."""
    from fieldlog.pictures import Timed

    batches = Timed(source.found())
    labels: dict[str, None] = {}
    names: dict[str, None] = {}
    for series in batches():
        labels[series.label] = None
        names |= dict.fromkeys(channel.name for channel in series.channels)
    channels = list(dict.fromkeys(source.wanted or names))
    if len(labels) < 2:
        return _Parts(channels, [("", batches)], [batches])
    return _Parts(channels, [(label, partial(_of_device, batches, label)) for label in labels], [batches])


def _of_device(batches: Batches, label: str) -> Iterator[SeriesLike]:
    return (series for series in batches() if series.label == label)


def _clouds(parts: _Parts) -> Clouds:
    """Two channels, of one device or of each; or one channel of two devices."""
    from fieldlog.plot import Cloud, Clouds, Pairing, Side

    if len(parts.channels) == 2:
        x, y = parts.channels
        sides = [(label, Side(x, batches), Side(y, batches)) for label, batches in parts.devices]
        return Clouds([Cloud(label, Pairing(across, up)) for label, across, up in sides], (x, y))
    if len(parts.channels) == 1 and len(parts.devices) == 2:
        (name,), ((across, first), (up, second)) = parts.channels, parts.devices
        cloud = Cloud("", Pairing(Side(name, first), Side(name, second)))
        return Clouds([cloud], (f"{across}: {name}", f"{up}: {name}"))
    raise UsageError(
        "--view scatter takes two channels, or one of two devices: name them with --channels x,y. Nothing was plotted; "
        f"this selection has {', '.join(map(printable, parts.channels)) or 'none'}"
    )
