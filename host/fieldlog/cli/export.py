"""`fieldlog export`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fieldlog.cli.common import output_options
from fieldlog.cli.output import Output
from fieldlog.cli.selection import Wanted, selection_options
from fieldlog.files import check_target
from fieldlog_protocol.errors import FieldlogError, UsageError


@click.command()
@output_options
@selection_options
@click.option("--output", "-o", "target", type=click.Path(dir_okay=False, path_type=Path), help="File; else stdout.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--clock", is_flag=True, help="Add columns with the quality and the error bound of each time.")
def export(wanted: Wanted, output: Output, target: Path | None, *, force: bool, clock: bool) -> None:
    """Write readings from the archive as CSV: UTC times, units in the header, every value exact."""
    from fieldlog.export import write_csv

    if target is None and output.as_json:
        raise UsageError("--json needs --output FILE: the readings themselves would go where the object goes")
    if target is not None:
        check_target(target, force=force)
    with wanted.open() as archive:
        readings = wanted.readings(archive)
        if target is None:
            write_csv(readings, sys.stdout, clock=clock)
            return
        aside = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with aside.open("w", encoding="utf-8", newline="") as file:
                rows = write_csv(readings, file, clock=clock)
            aside.replace(target)
        except OSError as error:
            raise FieldlogError(f"{target} could not be written: {error.strerror or error}") from error
        finally:
            aside.unlink(missing_ok=True)
        problems = readings.problems
    output.result({"file": str(target), "rows": rows}, lambda: output.line(f"{rows} readings written to {target}"))
    for problem in problems:
        output.warn(problem)
