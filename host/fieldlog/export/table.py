"""The columns of a table of readings: what stands above them, and their cells.

Rule of this module: every line has the same columns, whichever streams take part in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import NamedTuple

import numpy as np

from fieldlog.clock_model import UNBOUNDED, Quality
from fieldlog.export.cells import Cells, cells_of, lines, placed, quoted, repeated
from fieldlog.export.layout import ColumnKey, Layout, labelled
from fieldlog.export.merge import Rows
from fieldlog.export.style import Style, Units
from fieldlog.export.texts import plain
from fieldlog.export.time_cells import time_cells
from fieldlog.export.value_cells import ValueCells
from fieldlog_protocol.blocks.schema import Channel, ChannelType

_ERROR = Channel("time error", "s", ChannelType.I64, exponent=-6, missing=UNBOUNDED)


class Title(NamedTuple):
    name: str
    unit: str = ""


class Table:
    """Readings as lines, in a style."""

    def __init__(self, layout: Layout, style: Style) -> None:
        self._layout = layout
        self._style = style
        self._makers: dict[Channel, ValueCells] = {}
        qualities = [quality.name.lower() for quality in sorted(Quality)]
        self._qualities = cells_of(qualities)

    def head(self) -> list[list[str]]:
        """The names, in a second row the units where they have one of their own."""
        titles = list(self._titles())
        if self._style.units is Units.HEADER:
            return [[plain(labelled(*title)) for title in titles]]
        names, units = ([plain(text) for text in texts] for texts in zip(*titles, strict=True))
        return [names, units] if self._style.units is Units.ROW else [names]

    def _titles(self) -> Iterator[Title]:
        if not self._style.spreadsheet:
            yield Title("time")
        else:
            if self._style.tz is not UTC:
                yield Title(f"time ({self._style.tz})")
            yield Title("time (UTC)")
        if self._layout.with_device:
            yield Title("device")
        if self._style.long:
            yield from (Title("channel"), Title("value"))
            if self._style.units is not Units.NONE:
                yield Title("unit")
        else:
            yield from (Title(key.title, key.unit) for key in self._layout.columns)
        if self._layout.with_clock:
            yield from (Title("time quality"), Title(_ERROR.name, _ERROR.unit))

    def text(self, rows: Rows) -> tuple[str, int]:
        """The lines of these rows, and their number."""
        before, after = self._before(rows), self._clock(rows) if self._layout.with_clock else []
        values = self._values(rows)
        if self._style.long:
            return self._long(before, values, after)
        blank = repeated("", len(rows))
        wide = [values.get(key, blank) for key in self._layout.columns]
        return self._lines([*before, *wide, *after]), len(rows)

    def _lines(self, columns: list[Cells]) -> str:
        return lines(columns, self._style.delimiter, self._style.line_end)

    def _long(self, before: list[Cells], values: dict[ColumnKey, Cells], after: list[Cells]) -> tuple[str, int]:
        """A line for each value: moment after moment, and of a moment channel after channel, as they are declared."""
        keys = [key for key in self._layout.columns if key in values]
        there = np.stack([values[key].any(axis=1) for key in keys], axis=1)
        row, channel = np.nonzero(there)
        width = max(cells.shape[1] for cells in values.values())
        value = np.stack([np.pad(values[key], ((0, 0), (0, width - values[key].shape[1]))) for key in keys])
        columns = [column[row] for column in before]
        columns += [self._texts([key.title for key in keys])[channel], value[channel, row]]
        if self._style.units is not Units.NONE:
            columns.append(self._texts([key.unit for key in keys])[channel])
        return self._lines([*columns, *(column[row] for column in after)]), len(row)

    def _texts(self, texts: list[str]) -> Cells:
        return cells_of([quoted(plain(text), self._style.delimiter) for text in texts])

    def _before(self, rows: Rows) -> list[Cells]:
        """When, and of which device."""
        cells = self._spreadsheet_times(rows) if self._style.spreadsheet else [self._time(rows)]
        if self._layout.with_device:
            cells.append(repeated(quoted(plain(rows.parts[0][0].label), self._style.delimiter), len(rows)))
        return cells

    def _time(self, rows: Rows) -> Cells:
        return time_cells(rows.utc_us, self._layout.time_unit, self._style.tz)

    def _spreadsheet_times(self, rows: Rows) -> list[Cells]:
        zones = [UTC] if self._style.tz is UTC else [self._style.tz, UTC]
        return [time_cells(rows.utc_us, self._layout.sheet_unit, tz, separator=" ", offset=False) for tz in zones]

    def _values(self, rows: Rows) -> dict[ColumnKey, Cells]:
        return {
            key: placed(self._maker(channel).cells(raw), place, len(rows))
            for series, place in rows.parts
            for key, channel, raw in zip(self._layout.keys(series), series.channels, series.raw, strict=True)
        }

    def _maker(self, channel: Channel) -> ValueCells:
        if channel not in self._makers:
            self._makers[channel] = ValueCells(channel, self._style.delimiter, self._style.point)
        return self._makers[channel]

    def _clock(self, rows: Rows) -> list[Cells]:
        quality = self._qualities.take(rows.quality, axis=0)
        return [quality, self._maker(_ERROR).cells(rows.error_us)]
