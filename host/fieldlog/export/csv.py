"""Readings as CSV: UTC in ISO 8601 with its offset, units in the header, every value with exactly its decimals.

Rule of this module: it streams. The readings are gone through once to settle what the file has in common, then to write.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from fieldlog.clock_model import UNBOUNDED, Quality
from fieldlog.export.layout import Batches, ColumnKey, Layout, survey
from fieldlog.export.texts import plain, time_texts, value_texts
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fieldlog.export.merge import Rows


def write_csv(readings: Batches, file: TextIO, *, clock: bool = False) -> int:
    """Write `readings` into `file` (opened as UTF-8 with newline=""); answers the number of rows.

    Session after session; in each the streams are side by side in order of time, and their readings of one moment share
    a row. A column per channel, empty where it has no value at that time; a `device` column when there are several.
    `clock` adds each time's quality and the bound of its error. A time that is unknown is an empty cell.

    UsageError, and nothing written, when there is no reading.
    """
    from fieldlog.export.merge import rows

    layout = survey(readings, with_clock=clock)
    if not layout.sessions:
        raise UsageError(
            "there is nothing to export: the archive holds no reading in this selection. "
            "Nothing was written; choose another time, session or channel"
        )
    # every cell goes through the writer: what needs quotes gets them
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(layout.header())
    count = 0
    for some in rows(readings, layout):
        writer.writerows(zip(*_cells(some, layout), strict=True))
        count += len(some)
    return count


def _cells(rows: Rows, layout: Layout) -> list[Iterable[str]]:
    """One list of cells per column."""
    blank = [""] * len(rows)
    values = _values(rows, layout)
    cells: list[Iterable[str]] = [time_texts(rows.utc_us, layout.time_unit)]
    if layout.with_device:
        cells.append([plain(rows.parts[0][0].label)] * len(rows))
    cells += [values.get(key, blank) for key in layout.columns]
    if layout.with_clock:
        cells += _clock_texts(rows)
    return cells


def _values(rows: Rows, layout: Layout) -> dict[ColumnKey, list[str]]:
    return {
        key: _placed(value_texts(channel, raw), place, len(rows))
        for series, place in rows.parts
        for key, channel, raw in zip(layout.keys(series), series.channels, series.raw, strict=True)
    }


def _placed(texts: list[str], place: npt.NDArray[np.int64] | None, n_rows: int) -> list[str]:
    """Each text in its row, empty in the others."""
    if place is None:
        return texts
    cells = [""] * n_rows
    for row, text in zip(place.tolist(), texts, strict=True):
        cells[row] = text
    return cells


def _clock_texts(rows: Rows) -> list[list[str]]:
    qualities: list[int] = rows.quality.tolist()
    errors_us: list[int] = rows.error_us.tolist()
    return [
        [Quality(quality).name.lower() for quality in qualities],
        ["" if us == UNBOUNDED else f"{us / 1e6:.6f}" for us in errors_us],
    ]
