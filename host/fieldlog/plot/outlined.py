"""Pieces of lines from what every few hundred readings come to, where a picture shows no more of them than that.

Rule of this module: what is chunked counts for the column that the middle of its times falls into, so that an extreme is
off by part of a column at most; where chunks are too long for that, or a limit must be looked at reading by reading, the
answer is None, and the readings themselves are reduced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fieldlog.plot.reduce import Grid, Limit, Piece, Reduced, Spans
from fieldlog.plot.trace import Bools, ChannelLike, Floats, Micros

_CHUNKS_PER_COLUMN = 4


class ChannelOutlineLike(Protocol):
    """One channel: an element per chunk, of which only `count` means anything where that is 0. `opened`: the chunk's first
    value begins anew; elsewhere in it nothing does but what follows a missing value."""

    @property
    def low(self) -> Floats: ...
    @property
    def high(self) -> Floats: ...
    @property
    def total(self) -> Floats: ...
    @property
    def count(self) -> npt.NDArray[Any]: ...
    @property
    def opened(self) -> Bools: ...
    @property
    def runs(self) -> Spans: ...
    @property
    def n_missing(self) -> int: ...
    @property
    def level(self) -> float: ...
    @property
    def squares(self) -> float: ...
    @property
    def broken_after(self) -> bool: ...


class OutlineLike(Protocol):
    """A batch of `rows` readings; `first_us` and `last_us` have an element per chunk."""

    @property
    def rows(self) -> int: ...
    @property
    def starts(self) -> bool: ...
    @property
    def first_us(self) -> Micros: ...
    @property
    def last_us(self) -> Micros: ...
    @property
    def logged(self) -> Spans: ...
    @property
    def quality(self) -> npt.NDArray[np.uint8]: ...
    @property
    def quality_spans(self) -> Spans: ...
    @property
    def channels(self) -> Sequence[ChannelOutlineLike]: ...


class OutlinedSeries(Protocol):
    """A batch of readings of one stream; `channels` and `outline.channels` are in the same order. `alike`: how many readings
    of these channels there are in all."""

    @property
    def label(self) -> str: ...
    @property
    def channels(self) -> Sequence[ChannelLike]: ...
    @property
    def outline(self) -> OutlineLike: ...
    @property
    def alike(self) -> int: ...


def is_fine(outline: OutlineLike, grid: Grid) -> bool:
    """Whether a column holds several chunks, so that a picture made of chunks shows what one made of readings does."""
    if not len(outline.first_us):
        return True
    return int((outline.last_us - outline.first_us).max()) * _CHUNKS_PER_COLUMN <= grid.column_us


def outlined_piece(
    outline: OutlineLike, channel: ChannelOutlineLike, grid: Grid, limits: tuple[Limit, ...]
) -> tuple[bool, Piece | None]:
    """(whether it can be told, the piece): no piece where no reading has a value and a known time."""
    filled = np.flatnonzero(channel.count)
    if not len(filled):
        return True, None
    chunks = _Chunks(outline, channel, filled)
    if not all(chunks.tells(limit) for limit in limits):
        return False, None
    piece = Piece(
        columns=chunks.columns(grid),
        runs=channel.runs,
        raw=None,
        n_missing=channel.n_missing,
        level=channel.level,
        squares=channel.squares,
        passed_us=tuple(chunks.passed_us(limit) for limit in limits),
        passed_last=tuple(bool(limit.passed(chunks.low[-1:])[0]) for limit in limits),
        broken_after=channel.broken_after,
    )
    return True, piece


class _Chunks:
    """The chunks of a channel in which it has values; `whole`: in all readings of the chunk."""

    def __init__(self, outline: OutlineLike, channel: ChannelOutlineLike, filled: npt.NDArray[np.int64]) -> None:
        every = len(filled) == len(channel.count)
        chosen: Any = slice(None) if every else filled
        self.first_us: Micros = outline.first_us[chosen]
        self.last_us: Micros = outline.last_us[chosen]
        self.low: Floats = channel.low[chosen]
        self.high: Floats = channel.high[chosen]
        self.total: Floats = channel.total[chosen]
        self.count = channel.count[chosen].astype(np.int64)
        self.opened: Bools = channel.opened[chosen]
        self._n_missing = channel.n_missing

    def columns(self, grid: Grid) -> Reduced:
        cell = grid.cells(self.first_us + (self.last_us - self.first_us) // 2)
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        last = np.append(first[1:], len(cell)) - 1
        return Reduced(
            cell=cell[first],
            first_us=self.first_us[first],
            last_us=self.last_us[last],
            low=np.minimum.reduceat(self.low, first),
            high=np.maximum.reduceat(self.high, first),
            total=np.add.reduceat(self.total, first),
            count=np.add.reduceat(self.count, first),
            starts=self.opened[first],
            final=self.high[last],  # a reading of this column, if not always its last one
        )

    def tells(self, limit: Limit) -> bool:
        """Whether all readings of each chunk pass the limit, or none does, and no value is missing where they do."""
        passed = limit.passed(self.low)
        return bool((passed == limit.passed(self.high)).all()) and not (self._n_missing and passed.any())

    def passed_us(self, limit: Limit) -> int:
        """A reading stands for the time up to the next one of its run."""
        passed = limit.passed(self.low)
        inside = (self.last_us - self.first_us)[passed].sum()
        between = (self.first_us[1:] - self.last_us[:-1])[passed[:-1] & ~self.opened[1:]].sum()
        return int(inside + between)
