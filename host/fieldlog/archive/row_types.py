"""What a column of the archive can hold, looked at in every row that is read.

Rule of this module: SQLite gives whatever a file says, and a bit that flips in one turns a number into a text or into
another number that no block can bear. Columns are known by their names; an expression is a whole number or nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Row = tuple[Any, ...]
_Usual = tuple[type, int, "_Kind | None"]  # what most values are is told without a call: every row passes here
RowFactory = Callable[[sqlite3.Cursor, Row], Row]


class _Kind(NamedTuple):
    type: type
    optional: bool = False
    limit: int = 2**63

    def admits(self, value: object) -> bool:
        if value is None:
            return self.optional
        return type(value) is self.type and (not isinstance(value, int) or -self.limit <= value < self.limit)


_NUMBER = _Kind(int)
_TEXT = _Kind(str)
_U8, _U16, _U32 = _Kind(int, limit=2**8), _Kind(int, limit=2**16), _Kind(int, limit=2**32)
_KINDS = {
    **dict.fromkeys(("kind", "stream", "schema_id", "flags"), _U8),
    **dict.fromkeys(("session", "boot_id", "n_frames", "dropped"), _U16),
    **dict.fromkeys(("seq", "crc", "utc", "log_id", "first_seq"), _U32),
    **dict.fromkeys(
        ("id", "log", "rowid", "t0", "span", "tick", "utc_us", "error_us", "start_tick", "frames"), _NUMBER
    ),
    **dict.fromkeys(("received_us", "first_seen_us", "found_us", "started_us", "blocks", "bytes"), _NUMBER),
    **dict.fromkeys(("stop_tick", "finished_us"), _Kind(int, optional=True)),
    "last_seq": _Kind(int, optional=True, limit=2**32),
    "data": _Kind(bytes),
    **dict.fromkeys(("uid", "serial", "label", "product", "firmware", "reason", "source", "outcome"), _TEXT),
}
_EXPRESSION = _Kind(int, optional=True)


def checked_rows(damaged: Callable[[], Exception]) -> RowFactory:
    """A row factory for a connection; it raises what `damaged` makes when a row is not as this program writes it."""
    # not the cursor: whoever keeps one keeps its transaction open. In one piece: threads may take turns
    known: tuple[object, tuple[_Usual, ...]] = (None, ())

    def check(cursor: sqlite3.Cursor, row: Row) -> Row:
        nonlocal known
        columns, kinds = known
        if cursor.description is not columns:
            kinds = tuple(_usual(column[0]) for column in cursor.description)
            known = (cursor.description, kinds)
        for value, (wanted, limit, kind) in zip(row, kinds, strict=True):
            usual = isinstance(value, wanted)
            if usual and wanted is int:
                usual = -limit <= value < limit
            if not usual and kind is not None and not kind.admits(value):
                raise damaged()
        return row

    return check


def whole_numbers(rows: Sequence[Row], names: Sequence[str], damaged: Callable[[], Exception]) -> npt.NDArray[np.int64]:
    """Rows of the numbers `names` as one table, a column for each: what `checked_rows` does, for many rows at once."""
    import numpy as np

    if not set(map(type, chain.from_iterable(rows))) <= {int}:
        raise damaged()
    table = np.array(rows, np.int64).reshape(-1, len(names))
    for column, name in zip(table.T, names, strict=True):
        limit = _KINDS[name].limit
        if len(column) and not -limit <= int(column.min()) <= int(column.max()) < limit:
            raise damaged()
    return table


def _usual(name: str) -> _Usual:
    kind = _kind(name)
    return (object, 0, None) if kind is None else (kind.type, kind.limit, kind)


def _kind(name: str) -> _Kind | None:
    return _KINDS.get(name, _EXPRESSION if "(" in name else None)
