"""`fieldlog plot --view`: what is no line over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import TYPE_CHECKING

from fieldlog.cli.plot_sources import FromArchive, Source
from fieldlog.text import printable
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fieldlog.archive.readings import Readings
    from fieldlog.archive.store import Archive
    from fieldlog.pictures import Found
    from fieldlog.plot import Cloud, Clouds

VIEWS = ("histogram", "duration", "heatmap", "spectrum", "scatter")
HELP = (
    "Readings over time; how often which values occur, or for which share of the readings they are at least so high; the "
    "mean of each hour of each day; how much happens at which frequency; or two channels against each other."
)


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture shall look."""

    title: str
    tz: tzinfo
    theme: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, of how many readings it is made, and what could not be read or drawn."""

    figure: Figure
    n_readings: int
    problems: Sequence[str]


def draw(view: str, source: Source, look: Look) -> Drawn:
    """One of VIEWS; UsageError where it cannot be drawn of these readings."""
    return _DRAW[view](view, source, look)


def _distribution(view: str, source: Source, look: Look) -> Drawn:
    from fieldlog import pictures, plot

    found = source.found()
    lines, number = pictures.lines(found, plot.columns_for(), with_label=source.several)
    counted = plot.Distributions(lines, view, with_label=source.several)
    for series in found.series():
        counted.add(series)
    return Drawn(plot.distribution(counted, title=look.title, theme=look.theme), number, source.problems)


def _heatmap(_: str, source: Source, look: Look) -> Drawn:
    from fieldlog import plot

    found = source.found()
    added = plot.DayHours(found.first_us, found.last_us, look.tz, with_label=source.several)
    for series in found.series():
        added.add(series)
    return Drawn(plot.heatmap(added, title=look.title, theme=look.theme), added.n_readings, source.problems)


def _spectrum(_: str, source: Source, look: Look) -> Drawn:
    from fieldlog import plot

    found = plot.spectra(source.found().series, with_label=source.several)
    figure = plot.spectrum(found, title=look.title, theme=look.theme)
    return Drawn(figure, found.n_readings, [*source.problems, *found.problems])


def _scatter(_: str, source: Source, look: Look) -> Drawn:
    from fieldlog import plot

    if not isinstance(source, FromArchive):
        raise UsageError("--view scatter takes readings of the archive, and no files. Nothing was plotted")
    archive, readings = source.archive, source.readings
    devices = _devices(archive, readings)
    clouds = _clouds(archive, devices, _channels(readings))
    problems = dict.fromkeys(problem for _, one in devices for problem in one.problems)
    figure = plot.scatter(clouds, title=look.title, theme=look.theme)
    return Drawn(figure, sum(cloud.pairing.n_readings for cloud in clouds.found), list(problems))


_DRAW: dict[str, Callable[[str, Source, Look], Drawn]] = {
    "histogram": _distribution,
    "duration": _distribution,
    "heatmap": _heatmap,
    "spectrum": _spectrum,
    "scatter": _scatter,
}


def _several(readings: Readings) -> bool:
    return len({source.info.uid for source in readings.sources}) > 1


def _channels(readings: Readings) -> list[str]:
    """Those wanted, in the order in which they were named."""
    known = dict.fromkeys(name for source in readings.sources for name in source.schemas.channel_names())
    return list(known if readings.selection.channels is None else dict.fromkeys(readings.selection.channels))


def _devices(archive: Archive, readings: Readings) -> list[tuple[str, Readings]]:
    """What people call each device, and its part of the selection."""
    from fieldlog.archive.readings import Readings as Some

    if not _several(readings):
        return [(source.info.name, readings) for source in readings.sources[:1]]
    found: list[tuple[str, Readings]] = []
    wanted = _channels(readings)
    for uid in dict.fromkeys(source.info.uid for source in readings.sources):
        sources = [source for source in readings.sources if source.info.uid == uid]
        there = {name for source in sources for name in source.schemas.channel_names()}
        channels = tuple(name for name in wanted if name in there)
        if channels:
            selection = replace(readings.selection, channels=channels)
            found.append((sources[0].info.name, Some(archive.path, sources, selection)))
    return found


def _clouds(archive: Archive, devices: Sequence[tuple[str, Readings]], channels: Sequence[str]) -> Clouds:
    """Two channels, of one device or of each; or one channel of two devices."""
    from fieldlog import pictures, plot

    sources = [(label, pictures.find(archive, readings)) for label, readings in devices]
    if len(channels) == 2:
        x, y = channels
        return plot.Clouds([_cloud(label, (x, found), (y, found)) for label, found in sources], (x, y))
    if len(channels) == 1 and len(sources) == 2:
        (name,), ((across, first), (up, second)) = channels, sources
        return plot.Clouds([_cloud("", (name, first), (name, second))], (f"{across}: {name}", f"{up}: {name}"))
    raise UsageError(
        "--view scatter takes two channels, or one of two devices: name them with --channels x,y. Nothing was plotted; "
        f"this selection has {', '.join(map(printable, channels)) or 'none'}"
    )


def _cloud(label: str, x: tuple[str, Found], y: tuple[str, Found]) -> Cloud:
    from fieldlog import plot

    across = plot.Side(x[0], x[1].series)
    up = plot.Side(y[0], across.batches if y[1] is x[1] else y[1].series)
    return plot.Cloud(label, plot.Pairing(across, up))
