"""`fieldlog plot`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldlog.cli import plot_views
from fieldlog.cli.common import output_options
from fieldlog.cli.output import Output
from fieldlog.cli.selection import Wanted, selection_options
from fieldlog.files import check_target
from fieldlog.text import count
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.store import Archive
    from fieldlog.plot import Limit, Line, Smoothing

_THRESHOLD = re.compile(r"(?P<channel>.+?)\s*(?P<side>[<>])\s*(?P<value>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)")


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the picture shall show beside the lines."""

    title: str | None
    tz: tzinfo
    limits: tuple[Limit, ...]
    compare: bool
    events: bool
    stats: bool
    theme: str
    way: Smoothing | None


@click.command()
@output_options
@selection_options("A time without an offset is meant in --tz.")
@click.option(
    "--output",
    "-o",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("fieldlog.png"),
    show_default=True,
    help="File; its ending says whether it is PNG, SVG, PDF, or HTML to zoom in.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--title", metavar="TEXT", help="Title; else the device and its sessions.")
@click.option(
    "--tz",
    default="UTC",
    metavar="ZONE",
    help="Time zone of the axis, and of --start and --end without an offset, such as Europe/Berlin; else UTC.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="CHANNEL>VALUE",
    help="Shade what is above a value of a channel, or below with <, such as 'temperature>30'; again for more.",
)
@click.option("--rolling", metavar="TIME", help="Draw the mean over so much time around each reading, such as 1h.")
@click.option("--resample", metavar="STEP", help="Draw mean and extremes of steps such as 10min, 1h or 1d in --tz.")
@click.option("--stats", is_flag=True, help="A table beneath: readings, extremes, mean, time beyond thresholds.")
@click.option("--compare", is_flag=True, help="Several devices on the same axes; else each has panels of its own.")
@click.option("--events/--no-events", default=True, help="Lines where a device restarted, was marked, and so on.")
@click.option(
    "--view",
    type=click.Choice(["time", *plot_views.VIEWS]),
    default="time",
    show_default=True,
    help=plot_views.HELP,
)
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True, help="Colours.")
def plot(
    wanted: Wanted,
    output: Output,
    target: Path,
    *,
    force: bool,
    title: str | None,
    tz: str,
    thresholds: tuple[str, ...],
    rolling: str | None,
    resample: str | None,
    stats: bool,
    compare: bool,
    events: bool,
    view: str,
    theme: str,
) -> None:
    """Plot readings from the archive, a panel for each unit."""
    from fieldlog import plot as plots

    check_target(target, force=force)
    page = plots.check_format(target, page=True) == "html"
    if view != "time" and (page or stats or thresholds or rolling or resample):
        raise UsageError(
            f"--view {view} takes neither a page nor --stats, --threshold, --rolling or --resample. Nothing was plotted; "
            "leave them out"
        )
    limits = tuple(map(_limit, thresholds))
    zone = plots.zone(tz)
    wish = _Wish(title, zone, limits, compare, events, stats, theme, plots.smoothing(rolling, resample, zone))
    with wanted.open() as archive:
        readings = wanted.readings(archive)
        _require_channels(readings, limits)
        if view == "time":
            lines, number = _lines(archive, readings, wish, page=page)
            _save(lines, readings, wish, target, page=page)
            problems: Sequence[str] = readings.problems
        else:
            number, problems = _save_view(view, archive, readings, wish, target)
    output.result(
        {"file": str(target), "readings": number},
        lambda: output.line(f"{count(number, 'reading')} plotted to {target}"),
    )
    for problem in problems:
        output.warn(problem)


def _lines(archive: Archive, readings: Readings, wish: _Wish, *, page: bool) -> tuple[list[Line], int]:
    """As many columns as what is drawn has room for, and how many readings there are."""
    from fieldlog import pictures
    from fieldlog import plot as plots

    several = len({source.info.uid for source in readings.sources}) > 1
    n_lines = len(readings.sources) * len(_drawn(readings)) * (1 if wish.way is None else 2)
    n_columns = plots.page_columns(n_lines) if page else plots.columns_for()
    found = pictures.find(archive, readings)
    return pictures.lines(found, n_columns, wish.limits, spread=wish.stats, with_label=several, way=wish.way)


def _save(lines: list[Line], readings: Readings, wish: _Wish, target: Path, *, page: bool) -> None:
    from fieldlog import pictures
    from fieldlog import plot as plots

    told = pictures.events(readings) if wish.events else []
    title = _title(readings) if wish.title is None else wish.title
    if page:
        plots.save_page(
            lines,
            target,
            title=title,
            tz=wish.tz,
            events=told,
            stats=wish.stats,
            compare=wish.compare,
            theme=wish.theme,
        )
        return
    figure = plots.timeseries(
        lines, title=title, tz=wish.tz, events=told, stats=wish.stats, compare=wish.compare, theme=wish.theme
    )
    plots.save(figure, target)


def _save_view(view: str, archive: Archive, readings: Readings, wish: _Wish, target: Path) -> tuple[int, Sequence[str]]:
    """What is no line over time; of how many readings, and what could not be read."""
    from fieldlog import plot as plots

    title = _title(readings) if wish.title is None else wish.title
    drawn = plot_views.draw(view, archive, readings, plot_views.Look(title, wish.tz, wish.theme))
    plots.save(drawn.figure, target)
    return drawn.n_readings, drawn.problems


def _title(readings: Readings) -> str:
    """The devices, and the sessions that have a label."""
    names = dict.fromkeys(source.info.name for source in readings.sources)
    labels = {
        session.label: None
        for source in readings.sources
        for session in source.log.sessions()
        if session.label and readings.selection.wants(source.log.key, session.id, 0)
    }
    return " · ".join((*names, *labels))


def _limit(text: str) -> Limit:
    from fieldlog.plot import Limit

    match = _THRESHOLD.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is no threshold. Nothing was plotted; write CHANNEL>VALUE or CHANNEL<VALUE, such as 'temperature>30'"
        )
    return Limit(match["channel"], float(match["value"]), below=match["side"] == "<")


def _drawn(readings: Readings) -> list[str]:
    """The names of the channels that are wanted."""
    known = dict.fromkeys(name for source in readings.sources for name in source.schemas.channel_names())
    wanted = readings.selection.channels
    return [name for name in known if wanted is None or name in wanted]


def _require_channels(readings: Readings, limits: tuple[Limit, ...]) -> None:
    """Thresholds are about channels that are drawn."""
    drawn = _drawn(readings)
    for limit in limits:
        if limit.channel not in drawn:
            raise UsageError(
                f"there is no channel {limit.channel!r} to set a threshold for. Nothing was plotted; channels of this "
                f"plot: {', '.join(drawn) or 'none'}"
            )
