"""Tables, progress and JSON. Results go to stdout, everything else to stderr.

Rule: every text is made printable here, whoever it came from, and nothing is read as markup. Tables are drawn on a
terminal and plain columns elsewhere, so that a pipe never loses text to the width of a screen. No word is ever broken:
a table that is too wide for its screen is shown one value a line.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import click

from fieldlog.text import printable, printable_lines

_LEAST_ROOM = 20
"""Columns that text needs to be folded in."""

OnProgress = Callable[[int, int], None]
OnBoard = Callable[[str, int, int, str], None]
"""Called with what is transferred, bytes done, bytes in all (no more than are done: it has ended), and a note."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Output:
    """How a command speaks."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    _above: list[Say] = field(default_factory=list[Say], init=False, repr=False, compare=False)
    """Who prints on stderr while progress is shown; the last one counts."""

    def result(self, data: Mapping[str, object], show: Callable[[], None]) -> None:
        """The command's result: as one JSON object, or shown."""
        if self.as_json:
            click.echo(json_line(data))
        else:
            show()

    def note(self, text: str) -> None:
        """A remark for people, on stderr."""
        if not self.quiet and not self.as_json:
            self._say(printable(text))

    def warn(self, text: str) -> None:
        """Something that must not be missed: shown even when quiet."""
        self._say(f"warning: {printable(text)}")

    def complain(self, text: str) -> None:
        """An error that does not end the command: shown even when quiet."""
        self._say(f"error: {printable(text)}")

    def line(self, text: str) -> None:
        click.echo(printable(text))

    def lines(self, text: str) -> None:
        """Text of several lines, as a shell prints it."""
        click.echo(printable_lines(text))

    def console_text(self, name: str, text: str) -> None:
        """What a device printed between messages, with --verbose."""
        if self.verbose and text.strip():
            for line in printable_lines(text.strip("\r\n")).split("\n"):
                self._say(f"{printable(name)}: {line}")

    def _say(self, line: str) -> None:
        if self._above:
            self._above[-1](line)
        else:
            click.echo(line, err=True)

    def fields(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Names and values, one pair a line; those without a value are left out. A terminal folds long ones at words."""
        shown = [(printable(name), text) for name, value in pairs if (text := cell(value))]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            for number, line in enumerate(_folded(value, width + 2)):
                click.echo(f"{'' if number else name:<{width}}  {line}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table; a column whose name ends in > is aligned to the right."""
        cells = [[cell(value) for value in row] for row in rows]
        if not sys.stdout.isatty():
            _print_columns(columns, cells)
        elif not _draw(columns, cells):
            self._records([name.rstrip(">") for name in columns], cells)

    def _records(self, names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        for number, row in enumerate(cells):
            if number:
                click.echo()
            self.fields(zip(names, row, strict=True))

    @contextmanager
    def progress(self, what: str, unit: str = "B") -> Generator[OnProgress]:
        """Progress with rate and time left, on a terminal only; `unit` B means bytes."""
        with self._bars(unit, noted=False) as update:
            yield lambda done, total: update(what, done, total, "")

    @contextmanager
    def board(self) -> Generator[OnBoard]:
        """Progress of several transfers at once, in bytes, each with a note such as what it has come to."""
        with self._bars("B", noted=True) as update:
            yield update

    @contextmanager
    def _bars(self, unit: str, *, noted: bool) -> Generator[OnBoard]:
        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield lambda _what, _done, _total, _note: None
            return
        from fieldlog.cli.progress import board

        with board(unit, noted=noted) as shown:
            self._above.append(shown.say)
            try:
                yield lambda what, done, total, note: shown.update(printable(what), done, total, note)
            finally:
                self._above.pop()


def _folded(text: str, indent: int) -> list[str]:
    """The lines that a text takes on a terminal behind an indent; elsewhere, and where no room is left, it is one."""
    room = shutil.get_terminal_size().columns - indent if sys.stdout.isatty() else 0
    if room < _LEAST_ROOM:
        return [text]
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [text]


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
    """One line of JSON in printable ASCII. JSON has no NaN and no infinity: they are the texts "nan", "inf" and "-inf"."""
    try:
        return json.dumps(data, default=_jsonable, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(data), default=_jsonable, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in cast("Mapping[str, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in cast("Sequence[object]", value)]
    return value


def _jsonable(value: object) -> object:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)


_GAP = 3
"""Blanks between two columns of a drawn table."""


def _draw(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> bool:
    """Draw a table, its prose folded between words; False, and nothing drawn, where the screen is too narrow for that."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    names = [name.rstrip(">") for name in columns]
    texts = list(zip(names, *cells, strict=True))
    widths = column_widths(texts, console.width - _GAP * (len(names) - 1))
    if widths is None:
        return False
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, name, width in zip(columns, names, widths, strict=True):
        table.add_column(name, justify="right" if column.endswith(">") else "left", overflow="fold", width=width)
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)
    return True


def column_widths(columns: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """The width of each column so that all fit into `room` and no word is broken; None where that cannot be."""
    from rich.cells import cell_len

    widths = [max(cell_len(word) for text in texts for word in text.split(" ")) for texts in columns]
    wishes = [max(map(cell_len, texts)) - width for texts, width in zip(columns, widths, strict=True)]
    spare = room - sum(widths)
    if spare < 0:
        return None
    modest_first = sorted(range(len(columns)), key=wishes.__getitem__)
    for place, at in enumerate(modest_first):
        extra = min(wishes[at], spare // (len(columns) - place))
        widths[at] += extra
        spare -= extra
    return widths


def _print_columns(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    rows = [[name.rstrip(">") for name in columns], *cells]
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    for row in rows:
        parts = [
            text.rjust(width) if name.endswith(">") else text.ljust(width)
            for text, width, name in zip(row, widths, columns, strict=True)
        ]
        click.echo("  ".join(parts).rstrip())
