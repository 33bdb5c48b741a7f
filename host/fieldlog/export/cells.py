"""Cells of a table as matrices of bytes: a row for each reading, zeros behind texts shorter than the longest.

Rule of this module: no Python object per cell, and no knowledge of what the texts mean.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Cells: TypeAlias = npt.NDArray[np.uint8]
"""Of shape (rows, bytes of the longest)."""
Ints: TypeAlias = npt.NDArray[np.int64]

_AT_ONCE = 1 << 14  # lines, which stay in the processor's cache


def cells_of(texts: Sequence[str]) -> Cells:
    """A row for each text; none of them holds a zero character."""
    width = max((len(text.encode()) for text in texts), default=0)
    if not width:
        return np.zeros((len(texts), 0), np.uint8)
    data = np.array([text.encode() for text in texts], f"S{width}")
    return data.view(np.uint8).reshape(len(texts), width)


def repeated(text: str, n_rows: int) -> Cells:
    """The same text in every row."""
    data = np.frombuffer(text.encode(), np.uint8)
    return np.broadcast_to(data, (n_rows, len(data)))


def placed(cells: Cells, place: Ints | None, n_rows: int) -> Cells:
    """Each row of the cells in the row of the table that `place` names, the others empty."""
    if place is None:
        return cells
    found = np.zeros((n_rows, cells.shape[1]), np.uint8)
    found[place] = cells
    return found


def side_by_side(columns: Sequence[Cells]) -> Cells:
    """The columns as one."""
    found = np.empty((len(columns[0]), sum(column.shape[1] for column in columns)), np.uint8)
    at = 0
    for column in columns:
        _put(found[:, at : at + column.shape[1]], column)
        at += column.shape[1]
    return found


def _put(target: Cells, column: Cells) -> None:
    """A row as one item, which numpy copies several times as fast as single bytes."""
    width = column.shape[1]
    if width == 1 or (width and not column.strides[0]):
        target[:] = column
    elif width:
        item = np.dtype((np.void, width))
        target.view(item)[:] = np.ascontiguousarray(column).view(item)


def lines(columns: Sequence[Cells], delimiter: str, line_end: str) -> str:
    """A line for each row."""
    n_rows = len(columns[0])
    return "".join(
        _some_lines([column[at : at + _AT_ONCE] for column in columns], delimiter, line_end)
        for at in range(0, n_rows, _AT_ONCE)
    )


def _some_lines(columns: Sequence[Cells], delimiter: str, line_end: str) -> str:
    n_rows = len(columns[0])
    between, last = repeated(delimiter, n_rows), repeated(line_end, n_rows)
    parts = [part for column in columns for part in (column, between)]
    flat = side_by_side([*parts[:-1], last]).ravel()
    filled = flat != 0
    return (flat if filled.all() else flat[filled]).tobytes().decode()


def quoted(text: str, delimiter: str) -> str:
    """The text as a cell, in quotes where it needs them."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="").writerow([text, ""])
    return out.getvalue()[: -len(delimiter)]
