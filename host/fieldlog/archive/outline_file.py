"""The outlines of one Parquet file as bytes: a head, which tells what there is, and the arrays behind each other.

Rule of this module: both parts bear a check value, and what does not match is None: whoever asked reads the readings.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose, isfinite
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldlog.archive.outline import ChannelOutline, Outline
from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.errors import FieldlogError

VERSION = 1
_CHECK_BYTES = 4
_ALIGNED = 8
_ROUNDING = 1e-9


class ColumnHead(msgspec.Struct, frozen=True, array_like=True):
    """The column of a Parquet file that holds a channel; `text`: as names and not as numbers."""

    name: str
    text: bool


class _ChannelHead(msgspec.Struct, frozen=True, array_like=True):
    runs: int
    n_missing: int
    level: float
    squares: float
    broken_after: bool


class _OutlineHead(msgspec.Struct, frozen=True, array_like=True):
    starts: bool
    chunks: int
    logged: int
    qualities: int
    channels: tuple[_ChannelHead, ...]
    at: int
    length: int


class GroupHead(msgspec.Struct, frozen=True, array_like=True):
    """A row group: its readings, the lowest and highest of their times, None where none is known, and whether all are."""

    rows: int
    span: tuple[int, int] | None
    timed: bool
    outline: _OutlineHead | None = None


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a Parquet file without opening it. `origin` is that of its entry in the manifest, `columns` are those
    of the channels of `stream`, which is None where the file holds rows of several descriptions."""

    version: int
    origin: bytes
    stream: Stream | None
    columns: tuple[ColumnHead, ...]
    groups: tuple[GroupHead, ...]
    check: int


@dataclass(frozen=True, slots=True)
class Packed:
    """`head` and `data` as they are kept."""

    head: bytes
    data: bytes


def group_head(utc_us: npt.NDArray[np.int64]) -> GroupHead:
    """What the times of a row group say of it."""
    known = utc_us if (utc_us != UNKNOWN_TIME).all() else utc_us[utc_us != UNKNOWN_TIME]
    span = (int(known.min()), int(known.max())) if len(known) else None
    return GroupHead(len(utc_us), span, len(known) == len(utc_us))


class Packer:
    """Takes what is known of one row group after the other."""

    def __init__(self) -> None:
        self._groups: list[GroupHead] = []
        self._data = bytearray()

    def add(self, group: GroupHead, found: Outline | None) -> None:
        self._groups.append(group if found is None else msgspec.structs.replace(group, outline=self._outline(found)))

    def _outline(self, found: Outline) -> _OutlineHead:
        at = len(self._data)
        for array in _arrays(found):
            self._data += array.tobytes()
            self._data += bytes(-len(self._data) % _ALIGNED)
        channels = tuple(
            _ChannelHead(len(one.runs[0]), one.n_missing, one.level, one.squares, one.broken_after)
            for one in found.channels
        )
        sizes = len(found.first_us), len(found.logged[0]), len(found.quality)
        return _OutlineHead(found.starts, *sizes, channels, at, len(self._data) - at)

    def packed(self, origin: bytes, stream: Stream | None, columns: Sequence[ColumnHead]) -> Packed:
        data = bytes(self._data)
        told = Head(VERSION, origin, stream, tuple(columns), tuple(self._groups), zlib.crc32(data))
        head = msgspec.msgpack.encode(told)
        return Packed(zlib.crc32(head).to_bytes(_CHECK_BYTES, "little") + head, data)


def _arrays(found: Outline) -> Iterator[npt.NDArray[Any]]:
    yield from (found.first_us, found.last_us, *found.logged, *found.quality_spans, found.quality)
    for one in found.channels:
        yield from (one.low, one.high, one.total, one.count, one.opened, *one.runs)


def head_of(packed: bytes) -> Head | None:
    """None where it is damaged, or of another version."""
    body = packed[_CHECK_BYTES:]
    if zlib.crc32(body).to_bytes(_CHECK_BYTES, "little") != packed[:_CHECK_BYTES]:
        return None
    try:
        head = msgspec.msgpack.decode(body, type=Head)
    except (msgspec.DecodeError, FieldlogError):
        return None
    return head if head.version == VERSION else None


def outlines(head: Head, data: bytes) -> list[Outline | None]:
    """One for each row group, None for all where the data is damaged."""
    if zlib.crc32(data) != head.check:
        return [None] * len(head.groups)
    return [
        None if group.outline is None else _Reader(data, group.outline).outline(group.rows) for group in head.groups
    ]


class _Reader:
    def __init__(self, data: bytes, head: _OutlineHead) -> None:
        self._data = data
        self._at = head.at
        self._head = head

    def _next(self, dtype: Any, length: int) -> npt.NDArray[Any]:
        found = np.frombuffer(self._data, dtype, length, self._at)
        self._at += found.nbytes + -found.nbytes % _ALIGNED
        return found

    def _spans(self, length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return self._next(np.int64, length), self._next(np.int64, length)

    def outline(self, rows: int) -> Outline:
        head = self._head
        first_us, last_us = self._spans(head.chunks)
        logged = self._spans(head.logged)
        spans = self._spans(head.qualities)
        quality = self._next(np.uint8, head.qualities)
        channels = tuple(self._channel(one, head.chunks) for one in head.channels)
        return Outline(rows, head.starts, first_us, last_us, logged, quality, spans, channels)

    def _channel(self, head: _ChannelHead, chunks: int) -> ChannelOutline:
        low, high, total = (self._next(np.float64, chunks) for _ in range(3))
        count, opened = self._next(np.uint16, chunks), self._next(np.bool_, chunks)
        runs = self._spans(head.runs)
        return ChannelOutline(
            low, high, total, count, opened, runs, head.n_missing, head.level, head.squares, head.broken_after
        )


def is_whole(packed: Packed) -> bool:
    head = head_of(packed.head)
    return head is not None and zlib.crc32(packed.data) == head.check


def agree(one: Packed, other: Packed) -> bool:
    """Whether two that are whole say the same; sums may differ as much as the order of adding makes them."""
    first, second = head_of(one.head), head_of(other.head)
    if first is None or second is None:
        return False
    told = [
        (head.origin, head.stream, head.columns, [_told(group) for group in head.groups]) for head in (first, second)
    ]
    pairs = zip(outlines(first, one.data), outlines(second, other.data), strict=False)
    return told[0] == told[1] and all(a is b or (a is not None and b is not None and _equal(a, b)) for a, b in pairs)


def _told(group: GroupHead) -> tuple[object, ...]:
    return group.rows, group.span, group.timed, group.outline is None


def _equal(one: Outline, other: Outline) -> bool:
    if len(one.channels) != len(other.channels) or (one.rows, one.starts) != (other.rows, other.starts):
        return False
    exact = [
        (found.first_us, found.last_us, *found.logged, found.quality, *found.quality_spans) for found in (one, other)
    ]
    same = all(np.array_equal(a, b) for a, b in zip(*exact, strict=True))
    return same and all(_channel_equal(a, b) for a, b in zip(one.channels, other.channels, strict=True))


def _channel_equal(one: ChannelOutline, other: ChannelOutline) -> bool:
    exact = [(c.low, c.high, c.count, c.opened, *c.runs, c.n_missing, c.level, c.broken_after) for c in (one, other)]
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*exact, strict=True)):
        return False
    largest = np.maximum(abs(one.low), abs(one.high)) * one.count
    with np.errstate(invalid="ignore"):  # of infinite readings
        close = bool((abs(one.total - other.total) <= _ROUNDING * largest).all()) or not np.isfinite(one.total).all()
    return close and (isclose(one.squares, other.squares, rel_tol=_ROUNDING) or not isfinite(one.squares))
