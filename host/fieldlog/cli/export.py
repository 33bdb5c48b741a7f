"""`fieldlog export`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from fieldlog.cli.common import output_options
from fieldlog.cli.output import Output
from fieldlog.cli.selection import Wanted, selection_options
from fieldlog.files import check_target
from fieldlog.text import count
from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.series import Series
    from fieldlog.archive.store import Archive


@click.command()
@output_options
@selection_options("A time without an offset is UTC.")
@click.option("--output", "-o", "target", type=click.Path(dir_okay=False, path_type=Path), help="File; else stdout.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--clock", is_flag=True, help="Add columns with the quality and the error bound of each time.")
@click.option(
    "--uncalibrated", is_flag=True, help="Values as the sensors gave them, without the channels' calibrations."
)
def export(
    wanted: Wanted, output: Output, target: Path | None, *, force: bool, clock: bool, uncalibrated: bool
) -> None:
    """Write readings from the archive as CSV: UTC times, units in the header, every value exact.

    The streams of a session stand side by side, in order of time.
    """
    from fieldlog.export import write_csv

    if target is None and output.as_json:
        raise UsageError("--json needs --output FILE: the readings themselves would go where the object goes")
    if target is not None:
        check_target(target, force=force)
    with wanted.open() as archive:
        selected = _Selected(wanted, archive, calibrated=not uncalibrated)
        try:
            rows = (
                write_csv(selected, sys.stdout, clock=clock) if target is None else _save(selected, target, clock=clock)
            )
        finally:
            for problem in selected.problems():
                output.warn(problem)
    if target is not None:
        output.result(
            {"file": str(target), "rows": rows}, lambda: output.line(f"{count(rows, 'row')} written to {target}")
        )


class _Selected:
    """What is wanted, read anew by every iterator: each has its own count of what could not be read."""

    def __init__(self, wanted: Wanted, archive: Archive, *, calibrated: bool) -> None:
        self._wanted = wanted
        self._archive = archive
        self._calibrated = calibrated
        self._first: Readings | None = None

    def batches(self) -> Iterator[Series]:
        readings = self._wanted.readings(self._archive)
        self._first = self._first or readings
        return readings.batches() if self._calibrated else map(_uncalibrated, readings.batches())

    def problems(self) -> list[str]:
        """What was met on the first way through."""
        return self._first.problems if self._first else []


def _uncalibrated(series: Series) -> Series:
    channels = tuple(msgspec.structs.replace(channel, calibration=()) for channel in series.channels)
    return dataclasses.replace(series, channels=channels)


def _save(selected: _Selected, target: Path, *, clock: bool) -> int:
    """Write a file that is whole or not there; answers the number of rows."""
    from fieldlog.export import write_csv

    with whole_file(target) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        return write_csv(selected, file, clock=clock)
