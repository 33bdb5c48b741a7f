"""Values as cells: each number is put into text once and looked up by all readings that share it.

Rule of this module: what `texts.value_texts` says of a value is what stands here, byte for byte. Where nearly all
numbers differ their digits come from integer arithmetic, and those of floats from pyarrow where it says the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlog.export.cells import Cells, Ints, cells_of, quoted, repeated, side_by_side
from fieldlog.export.texts import value_texts
from fieldlog_protocol.blocks.schema import Channel

_MOST_IN_TABLE = 1 << 20
_MARGIN = 256
_MOST_DECIMALS = 18
_EXACT = 2**63


class _Table(NamedTuple):
    """The texts of the raw numbers from `low` on."""

    low: int
    cells: Cells

    def covers(self, low: int, high: int) -> bool:
        return self.low <= low and high < self.low + len(self.cells)


class ValueCells:
    """The cells of one channel, batch after batch; any thread may ask."""

    def __init__(self, channel: Channel, delimiter: str = ",", point: str = ".") -> None:
        self._channel = channel
        self._delimiter = delimiter
        self._point = point
        self._table = _Table(0, cells_of([]))

    def cells(self, raw: npt.NDArray[Any]) -> Cells:
        """A row for each reading, empty where it is missing."""
        if self._channel.type.is_float:
            return self._float_cells(raw)
        known = np.ones(len(raw), np.bool_) if self._channel.missing is None else raw != self._channel.missing
        if not known.any():
            return cells_of([""] * len(raw))
        low, high = int(raw[known].min()), int(raw[known].max())
        found = self._number_cells(np.where(known, raw, low), low, high)
        return found if known.all() else found * known[:, np.newaxis]

    def _number_cells(self, raw: npt.NDArray[Any], low: int, high: int) -> Cells:
        if high - low > min(len(raw), _MOST_IN_TABLE) and not self._table.covers(low, high):
            return _digits(self._channel, raw, self._point) if self._is_plain(low, high) else self._slow_cells(raw)
        table = self._table
        if not table.covers(low, high):
            table = self._table = self._made(low, high)
        return table.cells.take(raw.astype(np.int64) - table.low, axis=0)

    def _made(self, low: int, high: int) -> _Table:
        """A table with some room, so that readings that drift do not want a new one with every batch."""
        kind = self._channel.type
        low, high = max(low - _MARGIN, kind.minimum), min(high + _MARGIN, kind.maximum)
        raw = np.arange(low, high + 1, dtype=kind.dtype)
        return _Table(
            low, _digits(self._channel, raw, self._point) if self._is_plain(low, high) else self._slow_cells(raw)
        )

    def _is_plain(self, low: int, high: int) -> bool:
        """Whether integer arithmetic tells the digits of all values in between."""
        channel = self._channel
        largest = max(abs(raw * channel.multiplier) for raw in (low, high)) + abs(channel.offset)
        nameless = not channel.choices and not channel.calibration
        return nameless and -_MOST_DECIMALS <= channel.exponent <= 0 and largest < _EXACT

    def _slow_cells(self, raw: npt.NDArray[Any]) -> Cells:
        """By way of a Python object each."""
        return cells_of([self._shown(text) for text in value_texts(self._channel, raw)])

    def _shown(self, text: str) -> str:
        if self._channel.choices:
            return quoted(text, self._delimiter)
        return text.replace(".", self._point)

    def _float_cells(self, raw: npt.NDArray[Any]) -> Cells:
        channel = self._channel
        if channel.calibration or (channel.multiplier, channel.offset, channel.exponent) != (1, 0, 0):
            return self._slow_cells(raw)
        with np.errstate(invalid="ignore"):
            easy = (np.abs(raw) >= 1e-3) & (np.abs(raw) < 1e6) & (raw != np.floor(raw))
        if not easy.any():
            return self._slow_cells(raw)
        found = _shortest(np.where(easy, raw, raw.dtype.type(0.5)), self._point)
        if easy.all():
            return found
        others = self._slow_cells(raw[~easy])
        room = max(0, others.shape[1] - found.shape[1])
        found = np.pad(found, ((0, 0), (0, room)))
        found[~easy] = 0
        found[~easy, : others.shape[1]] = others
        return found


def _digits(channel: Channel, raw: npt.NDArray[Any], point: str) -> Cells:
    """Sign, digits, point, decimals: a column for each that any value has."""
    numerator: Ints = raw.astype(np.int64) * channel.multiplier + channel.offset
    size = np.abs(numerator).view(np.uint64)
    decimals = channel.decimals
    places = max(len(str(int(size.max()))), decimals + 1)
    digits = _places(size, places)
    for place in range(decimals + 1, places):  # zeros in front of a number stand for nothing
        digits[:, places - 1 - place] *= size >= 10**place
    sign = np.where(numerator < 0, np.uint8(ord("-")), np.uint8(0))[:, np.newaxis]
    signs = [sign] if sign.any() else []
    if not decimals:
        return side_by_side([*signs, digits])
    return side_by_side([*signs, digits[:, :-decimals], repeated(point, len(raw)), digits[:, -decimals:]])


def _places(size: npt.NDArray[np.uint64], places: int) -> Cells:
    """The last so many decimal digits of each number."""
    found = np.empty((len(size), places), np.uint8)
    rest: npt.NDArray[Any] = size.astype(np.uint32) if size.max() < 2**32 else size
    for place in reversed(range(places)):
        tenth = rest // 10
        found[:, place] = rest - tenth * 10 + ord("0")
        rest = tenth
    return found


def _shortest(values: npt.NDArray[Any], point: str) -> Cells:
    """The fewest digits that read back as the same number, of fractions neither large nor small."""
    import pyarrow  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

    pa: Any = pyarrow
    kind = pa.float32() if values.dtype.itemsize == 4 else pa.float64()
    texts = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)]).cast(pa.string())
    _, ends, data = texts.buffers()
    lengths = np.diff(np.frombuffer(ends, np.int32, len(values) + 1))
    found = np.zeros((len(values), int(lengths.max())), np.uint8)
    found[np.arange(found.shape[1]) < lengths[:, np.newaxis]] = np.frombuffer(data, np.uint8, int(lengths.sum()))
    if point != ".":
        found[found == ord(".")] = ord(point)
    return found
