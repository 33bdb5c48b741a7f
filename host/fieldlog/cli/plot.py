"""`fieldlog plot`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldlog.cli import plot_views
from fieldlog.cli.common import on_interrupt, output_options
from fieldlog.cli.output import Output
from fieldlog.cli.plot_size import DPI_HELP, SIZE_HELP, Wished, wished
from fieldlog.cli.plot_sources import FromArchive, Source
from fieldlog.cli.plot_sources import source as source_of
from fieldlog.cli.plot_views import Drawn
from fieldlog.cli.selection import Wanted, selection_options
from fieldlog.cli.target import left_of
from fieldlog.text import count, printable
from fieldlog.whole_file import check_target
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from fieldlog.pictures import Counted
    from fieldlog.plot import Event, Limit, Line, Smoothing

_NO_DISPLAY = "Nothing was plotted; name a file with -o, such as -o readings.png"
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
    view: str
    size: Wished


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@output_options
@selection_options("A time without an offset is meant in --tz.")
@click.option(
    "--output",
    "-o",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File; its ending says whether it is PNG, SVG, PDF, or HTML to zoom in. Without it a window opens.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--size", metavar="WIDTH[xHEIGHT]UNIT", help=SIZE_HELP)
@click.option("--dpi", type=float, help=DPI_HELP)
@click.option("--title", metavar="TEXT", help="Title; else the devices and their sessions.")
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
    files: tuple[Path, ...],
    target: Path | None,
    *,
    force: bool,
    size: str | None,
    dpi: float | None,
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
    """Plot readings from the archive, or of FILEs that `fieldlog export` wrote (CSV, Parquet), a panel for each unit."""
    from fieldlog import plot as plots
    from fieldlog.plot.window import require_display, show

    page = _checked(target, output, force=force)
    if view != "time" and (page or stats or thresholds or rolling or resample):
        raise UsageError(
            f"--view {view} takes neither a page nor --stats, --threshold, --rolling or --resample. Nothing was plotted; "
            "leave them out"
        )
    limits = tuple(map(_limit, thresholds))
    zone = plots.zone(tz)
    way = plots.smoothing(rolling, resample, zone)
    wish = _Wish(
        title,
        zone,
        limits,
        compare,
        events,
        stats,
        theme,
        way,
        view,
        wished(size, dpi, of_picture=target is not None and not page),
    )
    if target is None:
        require_display(_NO_DISPLAY)
    with nullcontext() if target is None else on_interrupt(left_of(target)):
        with source_of(wanted, files, zone) as source:
            _require_channels(source, limits)
            drawn = (
                _save_page(source, wish, target, force=force) if page and target is not None else _draw(source, wish)
            )
            if target is not None and not page:
                plots.save(drawn.figure, target, force=force)
        output.result(
            {"file": str(target), "readings": drawn.n_readings, "without_time": drawn.n_untimed},
            lambda: output.line(_told(drawn, target)),
        )
        for problem in drawn.problems:
            output.warn(problem)
    if target is None:
        show(drawn.figure, "fieldlog plot", theme)


def _told(drawn: Drawn, target: Path | None) -> str:
    plotted = f"{count(drawn.n_readings, 'reading')} plotted{f' to {target}' if target else ''}"
    if not drawn.n_untimed:
        return plotted
    left_out = "1 has no known time and is" if drawn.n_untimed == 1 else f"{drawn.n_untimed} have no known time and are"
    return f"{plotted}; {left_out} not in it"


def _checked(target: Path | None, output: Output, *, force: bool) -> bool:
    """Whether it shall be a page; UsageError for a file that cannot be written."""
    from fieldlog.plot import check_format

    if target is None:
        if output.as_json:
            raise UsageError("--json needs --output FILE: a window tells nothing. Nothing was plotted")
        return False
    check_target(target, force=force)
    return check_format(target, page=True) == "html"


def _lines(source: Source, wish: _Wish, *, page: bool) -> tuple[list[Line], Counted]:
    """As many columns as what is drawn has room for, and how many readings there are. UsageError where none has a time."""
    from fieldlog import pictures
    from fieldlog import plot as plots

    size = wish.size.whole()
    n_columns = (
        plots.page_columns(source.n_lines * (1 if wish.way is None else 2))
        if page
        else plots.columns_for(size.width_in, size.dpi)
    )
    lines, counted = pictures.lines(
        source.found(), n_columns, wish.limits, spread=wish.stats, with_label=source.several, way=wish.way
    )
    if counted.untimed and not counted.plotted:
        untimed = f"{counted.untimed} have" if counted.untimed > 1 else "1 has"
        raise UsageError(
            f"there is nothing to plot: of {count(counted.untimed, 'reading')} {untimed} no known time. Nothing was plotted; "
            "`fieldlog export` writes them"
        )
    return lines, counted


def _draw(source: Source, wish: _Wish) -> Drawn:
    """A figure of what is wanted."""
    from fieldlog import plot as plots

    title = source.title if wish.title is None else wish.title
    if wish.view != "time":
        return plot_views.draw(wish.view, source, plot_views.Look(title, wish.tz, wish.theme, wish.size))
    lines, counted = _lines(source, wish, page=False)
    events = _events(source, wish)
    figure = plots.timeseries(
        lines,
        title=title,
        tz=wish.tz,
        events=events,
        stats=wish.stats,
        compare=wish.compare,
        theme=wish.theme,
        **wish.size.options(),
    )
    return Drawn(figure, counted.plotted, [*source.problems, *_outside(source, events, lines)], counted.untimed)


def _events(source: Source, wish: _Wish) -> Sequence[Event]:
    return source.events() if wish.events else ()


def _outside(source: Source, events: Sequence[Event], lines: Sequence[Line]) -> Sequence[str]:
    """A sentence where marks are not to be seen, but for those of other sessions than were chosen."""
    from fieldlog import plot as plots

    if isinstance(source, FromArchive) and source.readings.selection.sessions is not None:
        return ()
    n_marks = plots.marks_outside(events, *plots.span_us(lines)) if lines else 0
    are = "mark lies" if n_marks == 1 else "marks lie"
    return [f"{n_marks} {are} long before or after these readings: not in the plot."] if n_marks else []


def _save_page(source: Source, wish: _Wish, target: Path, *, force: bool) -> Drawn:
    """Written already, and no figure in it."""
    from matplotlib.figure import Figure

    from fieldlog import plot as plots

    lines, counted = _lines(source, wish, page=True)
    events = _events(source, wish)
    plots.save_page(
        lines,
        target,
        title=source.title if wish.title is None else wish.title,
        tz=wish.tz,
        events=events,
        stats=wish.stats,
        compare=wish.compare,
        theme=wish.theme,
        force=force,
    )
    return Drawn(Figure(), counted.plotted, [*source.problems, *_outside(source, events, lines)], counted.untimed)


def _limit(text: str) -> Limit:
    from fieldlog.plot import Limit

    match = _THRESHOLD.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is no threshold. Nothing was plotted; write CHANNEL>VALUE or CHANNEL<VALUE, the value alone, in the "
            "channel's unit, such as 'temperature>30'"
        )
    return Limit(match["channel"], float(match["value"]), below=match["side"] == "<")


def _require_channels(source: Source, limits: tuple[Limit, ...]) -> None:
    """Thresholds are about channels that are drawn."""
    drawn = source.channels()
    for limit in limits:
        if drawn is not None and limit.channel not in drawn:
            raise UsageError(
                f"there is no channel {limit.channel!r} to set a threshold for. Nothing was plotted; channels of this "
                f"plot: {', '.join(map(printable, drawn)) or 'none'}"
            )
