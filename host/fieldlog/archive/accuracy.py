"""How well the times of each session's readings are known, at worst.

Rule of this module: the index and the clock model tell it, and no block is decoded, however long a session is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from fieldlog.archive.source import Source
from fieldlog.clock_model import UNBOUNDED, Quality
from fieldlog.clock_sync import US_PER_TICK
from fieldlog_protocol.blocks.block import Encoding
from fieldlog_protocol.blocks.codecs import instant_error_ticks

_POINTS = 512
"""At so many moments of a boot the error is looked at, besides those at which it may change its course."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The largest error of all times, None where one has no bound, and the quality of the one that is known worst."""

    error_us: int | None
    quality: Quality


def accuracies(source: Source) -> dict[int, Accuracy]:
    """Of each session that has readings. The error is at least that of every `Series.error_us`, and seldom more."""
    found: dict[int, Accuracy] = {}
    for session, stream, boot_id, first, last in source.log.stretches():
        times = source.clock.utc(boot_id, _moments(source.clock.bends(boot_id), first, last))
        error_us, quality = int(times.error_us.max()), Quality(int(times.quality.max()))
        bound = None if error_us == UNBOUNDED else error_us + _instants_us(source, stream)
        found[session] = _worse(found.get(session), Accuracy(bound, quality))
    return found


def _moments(bends: list[int], first: int, last: int) -> npt.NDArray[np.int64]:
    """Ticks between two: evenly, where the error may turn, and amid these, where it is greatest."""
    inner = np.array([bend for bend in bends if first < bend < last], np.int64)
    knots = np.concatenate([[first], inner, [last]]).astype(np.int64)
    evenly = np.linspace(first, last, _POINTS).astype(np.int64)
    return np.unique(np.concatenate([knots, (knots[1:] + knots[:-1]) // 2, evenly]))


def _instants_us(source: Source, stream: int) -> int:
    """What blocks of the stream leave open, whichever way they are encoded."""
    described = source.schemas.streams([stream])
    ticks = (instant_error_ticks(one, encoding) for one in described for encoding in Encoding)
    return ceil(max(ticks, default=0) * US_PER_TICK)


def _worse(one: Accuracy | None, other: Accuracy) -> Accuracy:
    if one is None:
        return other
    bounds = [item.error_us for item in (one, other)]
    error_us = None if None in bounds else max(bound for bound in bounds if bound is not None)
    return Accuracy(error_us, max(one.quality, other.quality))
