"""`fieldlog plot`."""

from __future__ import annotations

from pathlib import Path

import click

from fieldlog.cli.common import output_options
from fieldlog.cli.output import Output
from fieldlog.cli.selection import Wanted, selection_options
from fieldlog.files import check_target
from fieldlog.text import count


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
    help="File; its ending says whether it is PNG, SVG or PDF.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--title", metavar="TEXT", help="Title; else the device and its sessions.")
@click.option(
    "--tz",
    default="UTC",
    metavar="ZONE",
    help="Time zone of the axis, and of --start and --end without an offset, such as Europe/Berlin; else UTC.",
)
def plot(wanted: Wanted, output: Output, target: Path, *, force: bool, title: str | None, tz: str) -> None:
    """Plot readings from the archive, a panel for each unit."""
    from fieldlog import plot as plots

    check_target(target, force=force)
    plots.check_format(target)
    shown_in = plots.zone(tz)
    with wanted.open() as archive:
        readings = wanted.readings(archive)
        series = list(readings)
        labels = {(log.info().uid, item.id): item.label for log in archive.logs() for item in log.sessions()}
        problems = readings.problems
    names = dict.fromkeys(one.label for one in series)
    sessions = dict.fromkeys(label for one in series if (label := labels.get((one.log.uid, one.session))))
    heading = title if title is not None else " · ".join((*names, *sessions))
    figure = plots.timeseries(plots.traces(series), title=heading, tz=shown_in)
    path = plots.save(figure, target)
    number = sum(map(len, series))
    output.result(
        {"file": str(path), "readings": number},
        lambda: output.line(f"{count(number, 'reading')} plotted to {path}"),
    )
    for problem in problems:
        output.warn(problem)
