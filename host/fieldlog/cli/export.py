"""`fieldlog export`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldlog.cli.common import on_interrupt, output_options
from fieldlog.cli.output import Output
from fieldlog.cli.selection import Wanted, selection_options
from fieldlog.cli.target import left_of
from fieldlog.text import count
from fieldlog.whole_file import check_target, whole_file
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from fieldlog.archive.store import Archive
    from fieldlog.export.layout import Batches
    from fieldlog.export.resampled import InSteps
    from fieldlog.export.style import Style

_ENDINGS = {"": "csv", ".csv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet", ".nc": "netcdf"}
_BOOKS = (".xlsx", ".xls", ".xlsm", ".ods")
_TEXTS = ("csv", "excel")
_ROWS_OF_EXCEL = 1_048_576


@dataclass(frozen=True, slots=True)
class _Words:
    """What the command line says of the file."""

    format: str | None
    tz: str
    units: str | None
    long: bool | None
    decimal_comma: bool
    clock: bool
    uncalibrated: bool
    resample: str | None
    stat: str | None


@click.command()
@output_options
@selection_options("A time without an offset is meant in --tz.")
@click.option("--output", "-o", "target", type=click.Path(dir_okay=False, path_type=Path), help="File; else stdout.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option(
    "--format",
    type=click.Choice(["csv", "excel", "parquet", "netcdf"]),
    help="What to write; else the ending of the file says it. excel: CSV that Excel opens with a double click.",
)
@click.option("--resample", metavar="STEP", help="Means over steps such as 10min, 1h or 1d, which begin at even times.")
@click.option("--stat", metavar="A,B", help="Of each step: mean (the default), min, max, count; several with commas.")
@click.option(
    "--tz",
    default="UTC",
    metavar="ZONE",
    help="Time zone of a table's times and of the days of --resample, and of --start and --end without an offset.",
)
@click.option(
    "--units",
    type=click.Choice(["header", "row", "none"]),
    help="Behind each name (the default), in a row of their own, or nowhere.",
)
@click.option("--wide/--long", default=None, help="A column for each channel (the default), or a row for each value.")
@click.option("--decimal-comma", is_flag=True, help="12,5 instead of 12.5, and semicolons between the columns.")
@click.option("--clock", is_flag=True, help="Add columns with the quality and the error bound of each time.")
@click.option(
    "--uncalibrated", is_flag=True, help="Values as the sensors gave them, without the channels' calibrations."
)
def export(
    wanted: Wanted, /, output: Output, target: Path | None, *, force: bool, wide: bool | None, **words: Any
) -> None:
    """Write readings from the archive as CSV, Parquet or NetCDF: exact values with their units, times with their offset.

    In CSV the streams of a session stand side by side, in order of time.
    """
    said = _Words(long=None if wide is None else not wide, **words)
    kind = _format(said.format, target)
    _require_sense(said, kind, target, output)
    if target is not None:
        check_target(target, force=force)
    with on_interrupt(left_of(target)):
        _export(said, kind, wanted, target, output, force=force)


def _export(said: _Words, kind: str, wanted: Wanted, target: Path | None, output: Output, *, force: bool) -> None:
    with wanted.open() as archive:
        chosen = _Chosen.of(said, wanted, archive, undated=kind != "netcdf")
        write = (
            _text_writer(said, chosen.readings, force=force)
            if kind in _TEXTS
            else _file_writer(kind, chosen.readings, archive, output, force=force)
        )
        try:
            rows = write(target)
        finally:
            for problem in chosen.problems():
                output.warn(problem)
    if kind == "excel" and rows >= _ROWS_OF_EXCEL:
        output.warn(
            f"Excel shows {_ROWS_OF_EXCEL} rows of a file and this one has {count(rows, 'row')}: --resample it."
        )
    if target is not None:
        output.result(
            {"file": str(target), "rows": rows}, lambda: output.line(f"{count(rows, 'row')} written to {target}")
        )


def _format(said: str | None, target: Path | None) -> str:
    name = "" if target is None else target.name
    ending = Path(name).suffix.lower()
    if said in (None, "excel") and ending in _BOOKS:
        raise UsageError(
            f"fieldlog writes no {ending} workbooks. Nothing was written; --format excel with a name that ends in .csv "
            "makes a file that Excel opens"
        )
    if said is None and ending not in _ENDINGS:
        raise UsageError(
            f"cannot write readings as {name!r}. Nothing was written; end it in .csv or .txt (CSV), "
            ".parquet or .pq (Parquet) or .nc (NetCDF), or say --format"
        )
    return said or _ENDINGS[ending]


def _require_sense(said: _Words, kind: str, target: Path | None, output: Output) -> None:
    """UsageError for words that do not go together."""
    if target is None and output.as_json:
        raise UsageError("--json needs --output FILE: the readings themselves would go where the object goes")
    if target is None and kind not in _TEXTS:
        raise UsageError(f"--format {kind} needs --output FILE: it is no text")
    if said.stat is not None and said.resample is None:
        raise UsageError("--stat tells what of each step is wanted: add --resample, such as --resample 1h")
    texts = {"--units": said.units, "--long": said.long, "--decimal-comma": said.decimal_comma, "--clock": said.clock}
    given = [option for option, value in texts.items() if value]
    if kind not in _TEXTS and given:
        raise UsageError(f"{given[0]} is for CSV: a {kind} file has its own way. Nothing was written; leave it out")
    if said.long and said.units == "row":
        raise UsageError("with --long each row has its unit: leave --units row out")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The readings as they shall be written, and what is to be told of them afterwards."""

    readings: Batches
    problems: Callable[[], list[str]]

    @classmethod
    def of(cls, said: _Words, wanted: Wanted, archive: Archive, *, undated: bool) -> _Chosen:
        """`undated`: the file takes readings whose time is not known."""
        from fieldlog.export.selected import Selected, Uncalibrated

        selected = Selected(lambda: wanted.readings(archive))
        readings = Uncalibrated(selected) if said.uncalibrated else selected
        if said.resample is None:
            return cls(readings, lambda: [*selected.problems, *(_without_time(selected.untimed) if undated else ())])
        steps = _in_steps(readings, said.resample, said)
        return cls(steps, lambda: [*selected.problems, *steps.problems])


def _without_time(untimed: int) -> list[str]:
    return [f"{count(untimed, 'reading')} whose time is not known: written without one."] if untimed else []


def _in_steps(readings: Batches, step: str, said: _Words) -> InSteps:
    from fieldlog.export.resampled import InSteps, Statistic
    from fieldlog.plot import zone
    from fieldlog.resample import Steps
    from fieldlog_protocol.durations import parse_duration_us

    names = [name.strip() for name in (said.stat or Statistic.MEAN).split(",")]
    unknown = [name for name in names if name not in set(Statistic)]
    if unknown:
        raise UsageError(f"--stat takes {', '.join(Statistic)}, not {unknown[0]!r}")
    return InSteps(readings, Steps(parse_duration_us(step), zone(said.tz)), [Statistic(name) for name in names])


def _style(said: _Words) -> Style:
    from fieldlog.export.style import Style, Units
    from fieldlog.plot import zone

    return Style(
        tz=zone(said.tz),
        units=Units(said.units or Units.HEADER),
        long=bool(said.long),
        spreadsheet=said.format == "excel",
        decimal_comma=said.decimal_comma,
    )


def _text_writer(said: _Words, readings: Batches, *, force: bool) -> Callable[[Path | None], int]:
    from fieldlog.export import write_csv

    style = _style(said)

    def write(target: Path | None) -> int:
        if target is None:
            return write_csv(readings, sys.stdout, clock=said.clock, style=style)
        with whole_file(target, force=force) as aside, aside.open("w", encoding="utf-8", newline="") as file:
            return write_csv(readings, file, clock=said.clock, style=style)

    return write


def _file_writer(
    kind: str, readings: Batches, archive: Archive, output: Output, *, force: bool
) -> Callable[[Path | None], int]:
    from fieldlog.export.about import DeviceTold

    def write(target: Path | None) -> int:
        told = DeviceTold.of(archive.logs())
        with whole_file(target or Path(), force=force) as aside:
            if kind == "parquet":
                from fieldlog.export.parquet import write_parquet

                return write_parquet(readings, aside, told)
            from fieldlog.export.netcdf import write_netcdf

            rows, undated = write_netcdf(readings, aside, told)
        if undated:
            output.warn(f"{count(undated, 'row')} whose time is not known left out: NetCDF has no place for them.")
        return rows

    return write
