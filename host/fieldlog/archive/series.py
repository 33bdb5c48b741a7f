"""Readings as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlog.archive.records import LogInfo
from fieldlog.text import count, printable
from fieldlog_protocol.blocks.schema import Channel, Stream

_ARRAYS = ("utc_us", "error_us", "quality", "boot_id", "tick", "starts")


@dataclass(frozen=True, slots=True, repr=False)
class Series:
    """Readings of one stream in one session, in the order in which they were taken. All arrays are of one length.

    `utc_us` is int64 microseconds since 1970, with the bits of numpy's NaT where the time is unknown; `error_us` int64
    bounds its error, 2**63 - 1 where nothing is known; `quality` uint8 of `clock_model.Quality`. `boot_id` and `tick`
    are what the device counted. `starts` is true where a reading must not be joined to the one before: something was
    lost or not taken in between. `raw` has one array per channel, in the type the device keeps it in.
    """

    log: LogInfo
    stream: Stream
    session: int
    channels: tuple[Channel, ...]
    utc_us: npt.NDArray[np.int64]
    error_us: npt.NDArray[np.int64]
    quality: npt.NDArray[np.uint8]
    boot_id: npt.NDArray[np.uint16]
    tick: npt.NDArray[np.int64]
    starts: npt.NDArray[np.bool_]
    raw: list[npt.NDArray[Any]]

    def __repr__(self) -> str:
        channels = ", ".join(printable(channel.name) for channel in self.channels)
        return f"<Series of {self.label!r}, session {self.session}: {count(len(self), 'reading')} of {channels}>"

    def __len__(self) -> int:
        return len(self.tick)

    @property
    def label(self) -> str:
        """What people call the device."""
        return self.log.name

    @property
    def columns(self) -> list[npt.NDArray[np.float64]]:
        """One float64 array per channel, in its unit, NaN where a value is missing."""
        return [channel.values(raw) for channel, raw in zip(self.channels, self.raw, strict=True)]

    def where(self, keep: npt.NDArray[np.bool_]) -> Series:
        """Some of the readings. What follows one that is left out begins anew."""
        starts = self.starts | np.concatenate([[False], ~keep[:-1]])
        arrays = {name: getattr(self, name)[keep] for name in _ARRAYS}
        arrays["starts"] = starts[keep]
        return replace(self, raw=[raw[keep] for raw in self.raw], **arrays)

    def continues(self, other: Series) -> bool:
        """Whether this is the next piece of the same series."""
        return (self.log, self.stream, self.session) == (other.log, other.stream, other.session)


def join(pieces: Sequence[Series]) -> Series:
    """Pieces of one series as one."""
    if len(pieces) == 1:
        return pieces[0]
    first = pieces[0]
    arrays = {name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in _ARRAYS}
    raw = [np.concatenate(parts) for parts in zip(*(piece.raw for piece in pieces), strict=True)]
    return Series(first.log, first.stream, first.session, first.channels, raw=raw, **arrays)
