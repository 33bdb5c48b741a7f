"""A CSV file as columns of text. This file knows delimiters, quotes, comments and encodings, and no meaning of cells.

Rule of this module: cells stay as they were written until somebody asks a column what it holds.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.errors import UsageError

_DELIMITERS = ",;\t"
_CHUNK_ROWS = 1 << 12  # larger ones keep the garbage collector busy
_NAME_BYTES = 32
_NAME_AND_UNIT = re.compile(r"(?P<name>.*?)\s*(?:\[(?P<square>[^\[\]]*)\]|\((?P<round>[^()]*)\))")
_NUMBER = re.compile(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?")


class _Rows(Protocol):
    """What `csv.reader` makes."""

    @property
    def line_num(self) -> int: ...
    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


class _Vocabulary(dict[str, int]):
    """Numbers texts in the order in which they come."""

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number


@dataclass(frozen=True, slots=True)
class Words:
    """`texts[index[row]]` is the cell of a row, without the blanks around it: what repeats is looked at once."""

    texts: list[str]
    index: npt.NDArray[np.int32]

    def cell(self, row: int) -> str:
        return self.texts[int(self.index[row])]

    def first_row_of(self, number: int) -> int:
        return int(np.flatnonzero(self.index == number)[0])


@dataclass(frozen=True, slots=True)
class Column:
    """The cells of some thousand rows each, as they were written."""

    heading: str
    name: str
    unit: str
    pieces: list[Sequence[str]] = field(default_factory=list[Sequence[str]])

    @property
    def rows(self) -> int:
        return sum(map(len, self.pieces))

    def without_last(self) -> Column:
        *pieces, last = self.pieces
        return replace(self, pieces=[*pieces, last[:-1]] if len(last) > 1 else pieces)

    def words(self) -> Words:
        vocabulary = _Vocabulary()
        index = [np.fromiter(map(vocabulary.__getitem__, piece), np.int32, len(piece)) for piece in self.pieces]
        return Words([cell.strip() for cell in vocabulary], np.concatenate(index))

    def sample(self, count: int) -> list[str]:
        """The first `count` cells that are not empty."""
        cells = (cell.strip() for piece in self.pieces for cell in piece)
        return list(islice(filter(None, cells), count))


@dataclass(frozen=True, slots=True)
class Source:
    """A file in memory; `skipped` lines stand before its header."""

    path: Path
    data: bytes
    encoding: str
    delimiter: str = ","
    skipped: int = 0

    def lines(self) -> Iterator[str]:
        """From the header on."""
        lines = io.TextIOWrapper(io.BytesIO(self.data), self.encoding, errors="replace", newline="")
        return islice(lines, self.skipped, None)

    def rows(self) -> _Rows:
        return csv.reader(self.lines(), delimiter=self.delimiter, skipinitialspace=True)

    def header(self) -> list[str]:
        nothing: list[str] = []
        return next(self.rows(), nothing)

    def error(self, line: int, what: str) -> UsageError:
        where = f"{self.path}, line {line + self.skipped}"
        return UsageError(f"{where}: {what}. Nothing was replayed; mend the file.")

    def line_of(self, row: int) -> int:
        """`row` counts from 0 behind the header, empty lines left out. Lines count from 1 at the header."""
        rows = self.rows()
        next(islice((cells for cells in rows if cells), row + 1, None), None)
        return rows.line_num

    def row_error(self, row: int, what: str) -> UsageError:
        return self.error(self.line_of(row), what)

    @property
    def is_torn(self) -> bool:
        """Whether it ends in the midst of a line, as when a logger lost power."""
        return not self.data.rstrip(b"\0").endswith((b"\n", b"\r"))


@dataclass(frozen=True, slots=True)
class Table:
    """`notes` tell what was not as it should be. `torn_cells`: of how many cells the last row holds at least the
    beginning, where the file ends in the midst of it."""

    source: Source
    columns: list[Column]
    notes: tuple[str, ...] = ()
    torn_cells: int | None = None

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def rows(self) -> int:
        return self.columns[0].rows

    def without_last_row(self) -> Table:
        """UsageError when there is no other."""
        columns = [column.without_last() for column in self.columns]
        if not columns[0].pieces:
            raise self.source.row_error(0, "it is the only row, and ends before its time does")
        return replace(self, columns=columns, torn_cells=None)


@dataclass(slots=True)
class _ShortRows:
    """Rows with fewer cells than the header."""

    count: int = 0
    first: int = 0
    last: int = -1
    last_cells: int = 0

    def note(self, row: int, cells: int) -> None:
        self.first = row if self.count == 0 else self.first
        self.count += 1
        self.last, self.last_cells = row, cells

    def notes(self, source: Source) -> tuple[str, ...]:
        if not self.count:
            return ()
        line = source.line_of(self.first) + source.skipped
        what = "1 row has" if self.count == 1 else f"{self.count} rows have"
        first = "in" if self.count == 1 else "the first in"
        return (f"{what} fewer cells than the header, {first} line {line}: the cells that lack are missing values",)


def read_table(path: Path) -> Table:
    """UsageError with the line when the file is no table."""
    source = _source(path)
    columns = _named(_headings(source))
    short = _ShortRows()
    for series in _chunks(source, len(columns), short):
        for column, cells in zip(columns, series, strict=True):
            column.pieces.append(cells)
    if not columns[0].pieces:
        raise UsageError(f"{path} has a header and no rows. Nothing was replayed; give a file with readings.")
    table = Table(source, columns, short.notes(source))
    torn = source.is_torn and short.last == table.rows - 1
    return replace(table, torn_cells=short.last_cells) if torn else table


def _source(path: Path) -> Source:
    """The delimiter is the one that cuts the header into the most cells; the comma when none does."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}. Nothing was replayed; give another file."
        ) from error
    source = Source(path, data, _encoding(data))
    source = replace(source, skipped=_preamble(source.lines()))
    return max((replace(source, delimiter=each) for each in _DELIMITERS), key=lambda each: len(each.header()))


def _encoding(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _preamble(lines: Iterator[str]) -> int:
    """The number of comments and empty lines before the header."""
    return sum(1 for _ in takewhile(lambda line: not line.strip() or line.lstrip().startswith("#"), lines))


def _headings(source: Source) -> list[str]:
    headings = [cell.strip() for cell in source.header()]
    while headings and not headings[-1]:
        headings.pop()
    if not headings:
        raise UsageError(f"{source.path} is empty. Nothing was replayed; give a CSV file with a header.")
    if all(_NUMBER.fullmatch(heading) for heading in headings if heading):
        raise source.error(1, "the header consists of numbers, not of the columns' names")
    return headings


def _chunks(source: Source, width: int, short: _ShortRows) -> Iterator[list[tuple[str, ...]]]:
    """The columns of so many rows at a time."""
    reader = source.rows()
    next(reader)
    first = 0
    while rows := _next_rows(source, reader):
        if any(len(row) != width for row in rows):
            rows = [_fitted(source, first + number, row, width, short) for number, row in enumerate(rows)]
        yield list(zip(*rows, strict=True))
        first += len(rows)


def _next_rows(source: Source, reader: _Rows) -> list[list[str]]:
    """Rows that are not empty; none at the end."""
    try:
        while rows := list(islice(reader, _CHUNK_ROWS)):
            if filled := [row for row in rows if row]:
                return filled
    except csv.Error as error:
        raise source.error(reader.line_num, str(error)) from error
    return []


def _fitted(source: Source, row: int, cells: list[str], width: int, short: _ShortRows) -> list[str]:
    """Empty cells behind the last column are no cells; those that lack are empty."""
    if any(cell.strip() for cell in cells[width:]):
        raise source.row_error(row, f"it has {len(cells)} cells, and the header {width}")
    if len(cells) < width:
        short.note(row, len(cells))
    return [*cells[:width], *[""] * (width - len(cells))]


def _named(headings: Sequence[str]) -> list[Column]:
    """Columns with names that are different, not empty, and short enough for the log."""
    taken: set[str] = set()
    columns: list[Column] = []
    for number, heading in enumerate(headings, 1):
        match = _NAME_AND_UNIT.fullmatch(heading)
        name, unit = (match["name"], match["square"] or match["round"] or "") if match else (heading, "")
        name = _unique(name or f"column {number}", taken)
        taken.add(name)
        columns.append(Column(heading, name, unit.strip()))
    return columns


def _unique(name: str, taken: set[str]) -> str:
    short = _shortened(name, "")
    number = 2
    while short in taken:
        short = _shortened(name, f" {number}")
        number += 1
    return short


def _shortened(name: str, ending: str) -> str:
    room = _NAME_BYTES - len(ending.encode())
    return name.encode()[:room].decode("utf-8", "ignore").rstrip() + ending
