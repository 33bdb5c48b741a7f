"""A CSV file as columns of text. This file knows delimiters, quotes, comments and encodings, and no meaning of cells.

Readings repeat themselves: a column is kept as the different texts in it and, for each row, the number of its text.
What a text means is then found out once for each.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from fieldlog_protocol.errors import UsageError

_DELIMITERS = ",;\t"
_CHUNK_ROWS = 1 << 16
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


@dataclass(slots=True)
class Column:
    """`texts[index[row]]` is the cell of a row, without the blanks around it."""

    heading: str
    name: str
    unit: str
    texts: list[str] = field(default_factory=list[str])
    index: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    def first_row_of(self, text_number: int) -> int:
        return int(np.flatnonzero(self.index == text_number)[0])

    def cells(self, count: int) -> list[str]:
        """The first `count` cells that are not empty."""
        numbers: list[int] = self.index.tolist()
        return list(islice((self.texts[number] for number in numbers if self.texts[number]), count))


@dataclass(frozen=True, slots=True)
class Source:
    """The text from the header on; `skipped` lines stood before it."""

    path: Path
    text: str
    delimiter: str
    skipped: int

    def rows(self) -> _Rows:
        return csv.reader(io.StringIO(self.text, newline=""), delimiter=self.delimiter, skipinitialspace=True)

    def header(self) -> list[str]:
        nothing: list[str] = []
        return next(self.rows(), nothing)

    def error(self, line: int, what: str) -> UsageError:
        where = f"{self.path}, line {line + self.skipped}"
        return UsageError(f"{where}: {what}. Nothing was replayed; mend the file.")

    def row_error(self, row: int, what: str) -> UsageError:
        """`row` counts from 0 behind the header, empty lines left out."""
        rows = self.rows()
        next(islice((cells for cells in rows if cells), row + 1, None), None)
        return self.error(rows.line_num, what)


@dataclass(frozen=True, slots=True)
class Table:
    source: Source
    columns: list[Column]

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def rows(self) -> int:
        return len(self.columns[0].index)


def read_table(path: Path) -> Table:
    """UsageError with the line when the file is no table."""
    source = _source(path)
    columns = _named(_headings(source))
    vocabularies = [_Vocabulary() for _ in columns]
    pieces: list[list[npt.NDArray[np.int32]]] = [[] for _ in columns]
    for series in _chunks(source, len(columns)):
        for vocabulary, piece, cells in zip(vocabularies, pieces, series, strict=True):
            piece.append(np.fromiter(map(vocabulary.__getitem__, cells), np.int32, len(cells)))
    if not pieces[0]:
        raise UsageError(f"{path} has a header and no rows. Nothing was replayed; give a file with readings.")
    for column, vocabulary, piece in zip(columns, vocabularies, pieces, strict=True):
        column.texts = [cell.strip() for cell in vocabulary]
        column.index = np.concatenate(piece)
    return Table(source, columns)


def _source(path: Path) -> Source:
    skipped, text = _without_preamble(_decode(path))
    # The delimiter is the one that cuts the header into the most cells; the comma when none does.
    sources = [Source(path, text, delimiter, skipped) for delimiter in _DELIMITERS]
    return max(sources, key=lambda source: len(source.header()))


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}. Nothing was replayed; give another file."
        ) from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _without_preamble(text: str) -> tuple[int, str]:
    """Comments and empty lines before the header, counted and cut off."""
    lines = 0
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        line = text[start:end].strip()
        if line and not line.startswith("#"):
            break
        lines += 1
        start = end
    return lines, text[start:]


def _headings(source: Source) -> list[str]:
    headings = [cell.strip() for cell in source.header()]
    while headings and not headings[-1]:
        headings.pop()
    if not headings:
        raise UsageError(f"{source.path} is empty. Nothing was replayed; give a CSV file with a header.")
    if all(_NUMBER.fullmatch(heading) for heading in headings if heading):
        raise source.error(1, "the header consists of numbers, not of the columns' names")
    return headings


def _chunks(source: Source, width: int) -> Iterator[list[tuple[str, ...]]]:
    """The columns of so many rows at a time."""
    reader = source.rows()
    next(reader)
    first = 0
    while rows := _next_rows(source, reader):
        if any(len(row) != width for row in rows):
            rows = [_fitted(source, first + number, row, width) for number, row in enumerate(rows)]
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


def _fitted(source: Source, row: int, cells: list[str], width: int) -> list[str]:
    """Empty cells behind the last column are no cells."""
    if len(cells) < width or any(cell.strip() for cell in cells[width:]):
        raise source.row_error(row, f"it has {len(cells)} cells, and the header {width}")
    return cells[:width]


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
