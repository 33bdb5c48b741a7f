"""Tables, progress and JSON. Results go to stdout, everything else to stderr.

Rule: every text is made printable here, whoever it came from, and nothing is read as markup. Tables are drawn on a
terminal and plain columns elsewhere, so that a pipe never loses text to the width of a screen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click

from fieldlog.text import printable, printable_lines

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Output:
    """How a command speaks."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False

    def result(self, data: Mapping[str, object], show: Callable[[], None]) -> None:
        """The command's result: as one JSON object, or shown."""
        if self.as_json:
            click.echo(json_line(data))
        else:
            show()

    def note(self, text: str) -> None:
        """A remark for people, on stderr."""
        if not self.quiet and not self.as_json:
            click.echo(printable(text), err=True)

    def warn(self, text: str) -> None:
        """Something that must not be missed: shown even when quiet."""
        click.echo(f"warning: {printable(text)}", err=True)

    def line(self, text: str) -> None:
        click.echo(printable(text))

    def lines(self, text: str) -> None:
        """Text of several lines, as a shell prints it."""
        click.echo(printable_lines(text))

    def console_text(self, name: str, text: str) -> None:
        """What a device printed between messages, with --verbose."""
        if self.verbose and text.strip():
            for line in printable_lines(text.strip("\r\n")).split("\n"):
                click.echo(f"{printable(name)}: {line}", err=True)

    def fields(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Names and values, one pair a line; those without a value are left out."""
        shown = [(name, text) for name, value in pairs if (text := cell(value))]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            click.echo(f"{name:<{width}}  {value}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table; a column whose name ends in > is aligned to the right."""
        cells = [[cell(value) for value in row] for row in rows]
        if sys.stdout.isatty():
            _draw(columns, cells)
        else:
            _print_columns(columns, cells)

    @contextmanager
    def progress(self, what: str, unit: str = "B") -> Generator[OnProgress]:
        """Progress with rate and time left, on a terminal only; `unit` B means bytes."""
        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield lambda _done, _total: None
            return
        from fieldlog.cli.progress import bar

        with bar(printable(what), unit) as update:
            yield update


def cell(value: object) -> str:
    """A value as a table shows it: None as nothing, bytes as hexadecimal digits."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value))  # pyright: ignore[reportUnknownArgumentType]
    return printable(str(value))


def json_line(data: Mapping[str, object]) -> str:
    """One line of JSON in printable ASCII."""
    return json.dumps(data, default=_jsonable)


def _jsonable(value: object) -> object:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)


def _draw(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        table.add_column(name.rstrip(">"), justify="right" if name.endswith(">") else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console(highlight=False, markup=False).print(table)


def _print_columns(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    rows = [[name.rstrip(">") for name in columns], *cells]
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    for row in rows:
        parts = [
            text.rjust(width) if name.endswith(">") else text.ljust(width)
            for text, width, name in zip(row, widths, columns, strict=True)
        ]
        click.echo("  ".join(parts).rstrip())
