"""The streams of a session side by side: readings of one moment, the same tick of the same boot, become one row.

Rule of this module: memory is bounded by a few batches per stream, and no reading gets lost or meets one of another
moment, whatever order a device claims. Each stream is read by an iterator of its own, and what all of them have reached
is merged at once, as arrays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlog.archive.series import Series
from fieldlog.export.layout import Batches, Layout, SessionKey

Ints = npt.NDArray[np.int64]

_COLUMNS = ("utc_us", "error_us", "quality", "boot_id", "tick", "starts")
_ERA_BITS = 16


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to write: their times, and the readings with the row in which each stands (None: one in each row)."""

    utc_us: Ints
    error_us: Ints
    quality: npt.NDArray[np.uint8]
    parts: list[tuple[Series, Ints | None]]

    def __len__(self) -> int:
        return len(self.utc_us)


def rows(readings: Batches, layout: Layout) -> Iterator[Rows]:
    """Session after session, in each by boot and tick; none is empty."""
    if all(len(found.streams) == 1 for found in layout.sessions.values()):
        yield from (_alone(piece) for piece in readings.batches() if len(piece))
        return
    ids = sorted({stream for found in layout.sessions.values() for stream in found.streams})
    feeds = {stream: _Feed(readings, layout, stream) for stream in ids}
    for session, found in layout.sessions.items():
        lanes = [_Lane(feeds[stream], session, found.first_boot) for stream in sorted(found.streams)]
        yield from _merged(lanes)


class _Feed:
    """The pieces of the stream of one id, through all sessions that were surveyed."""

    def __init__(self, readings: Batches, layout: Layout, stream: int) -> None:
        self._pieces = (
            piece
            for piece in readings.batches()
            if piece.stream.id == stream and len(piece) and SessionKey.of(piece) in layout.sessions
        )
        self._next: Series | None = None

    def take(self, session: SessionKey) -> Series | None:
        """The next piece, when it is of this session."""
        piece = self._next or next(self._pieces, None)
        self._next = None
        if piece is not None and SessionKey.of(piece) != session:
            self._next, piece = piece, None
        return piece


class _Moment(NamedTuple):
    """Where a reading stands among all of its session. `era` counts boots, and the times that a stream went back."""

    era: int
    tick: int


class _Cut(NamedTuple):
    """Readings of one stream with their moments, which do not descend."""

    series: Series
    era: Ints
    tick: Ints


class _Lane:
    """One stream in one session: the piece that is being merged."""

    def __init__(self, feed: _Feed, session: SessionKey, first_boot: int) -> None:
        self._feed = feed
        self._session = session
        self._first_boot = first_boot
        self._held: _Cut | None = None
        self._last = _Moment(0, 0)

    def fill(self) -> _Moment | None:
        """The last moment that is held, None at the end of the session."""
        if self._held is None and (piece := self._feed.take(self._session)) is not None:
            self._held = self._ordered(piece)
            self._last = _Moment(int(self._held.era[-1]), int(self._held.tick[-1]))
        return None if self._held is None else self._last

    def cut(self, until: _Moment) -> _Cut | None:
        """What is held up to and with `until`."""
        if self._held is None:
            return None
        series, era, tick = self._held
        n = int(np.count_nonzero((era < until.era) | ((era == until.era) & (tick <= until.tick))))
        self._held = None if n == len(era) else _Cut(_slice(series, n, None), era[n:], tick[n:])
        return _Cut(_slice(series, 0, n), era[:n], tick[:n]) if n else None

    def _ordered(self, piece: Series) -> _Cut:
        """The moments of a piece. Where they descend a new era begins, so that order and rows stay as they were told."""
        turns, last_rank = divmod(self._last.era, 1 << _ERA_BITS)
        rank = (piece.boot_id.astype(np.int64) - self._first_boot) & ((1 << _ERA_BITS) - 1)
        later = np.diff(rank, prepend=last_rank)
        back = (later < 0) | ((later == 0) & (np.diff(piece.tick, prepend=self._last.tick) < 0))
        return _Cut(piece, ((turns + np.cumsum(back)) << _ERA_BITS) + rank, piece.tick)


def _merged(lanes: Sequence[_Lane]) -> Iterator[Rows]:
    while reached := [moment for lane in lanes if (moment := lane.fill()) is not None]:
        until = min(reached)
        yield _joined([cut for lane in lanes if (cut := lane.cut(until)) is not None])


def _joined(cuts: Sequence[_Cut]) -> Rows:
    if len(cuts) == 1:
        return _alone(cuts[0].series)
    era, tick = np.concatenate([cut.era for cut in cuts]), np.concatenate([cut.tick for cut in cuts])
    again = np.concatenate([_repeats(cut) for cut in cuts])
    order = np.lexsort((again, tick, era))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = np.any([np.diff(key[order]) != 0 for key in (era, tick, again)], axis=0)
    row = np.empty(len(order), dtype=np.int64)
    row[order] = np.cumsum(new) - 1
    first = order[new]
    places = np.split(row, np.cumsum([len(cut.era) for cut in cuts])[:-1])
    return Rows(
        np.concatenate([cut.series.utc_us for cut in cuts])[first],
        np.concatenate([cut.series.error_us for cut in cuts])[first],
        np.concatenate([cut.series.quality for cut in cuts])[first],
        [(cut.series, place) for cut, place in zip(cuts, places, strict=True)],
    )


def _repeats(cut: _Cut) -> Ints:
    """How many readings of the same stream and moment stand before each: they need rows of their own."""
    index = np.arange(len(cut.era), dtype=np.int64)
    new = np.ones(len(index), dtype=np.bool_)
    new[1:] = (np.diff(cut.era) != 0) | (np.diff(cut.tick) != 0)
    return index - np.maximum.accumulate(np.where(new, index, 0))


def _alone(series: Series) -> Rows:
    return Rows(series.utc_us, series.error_us, series.quality, [(series, None)])


def _slice(series: Series, begin: int, end: int | None) -> Series:
    arrays = {name: getattr(series, name)[begin:end] for name in _COLUMNS}
    return dataclasses.replace(series, raw=[column[begin:end] for column in series.raw], **arrays)
