"""Selections of readings as they are asked for, before a format writes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog.export.layout import Batches
from fieldlog.text import count
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.series import Series
    from fieldlog_protocol.blocks.schema import Channel


class Selected:
    """A selection that is read anew by every iterator: each has its own count of what could not be read.

    UsageError by the first where it is empty because no time is known to choose by. `untimed`: how many readings without a
    known time the first has come by.
    """

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read
        self._first: Readings | None = None
        self.untimed = 0

    def batches(self) -> Iterator[Series]:
        readings = self._read()
        if self._first is not None:
            return readings.batches()
        self._first = readings
        return self._counted(readings)

    def _counted(self, readings: Readings) -> Iterator[Series]:
        series = None
        for series in readings.batches():
            self.untimed += int((series.utc_us == UNKNOWN_TIME).sum())
            yield series
        if series is None and readings.selection.bounded and (untimed := readings.untimed()):
            raise UsageError(
                "there is nothing to export: no reading is known to lie in the times asked for, and the time of others is "
                f"not known ({count(untimed, 'reading')} without). Nothing was written; ask for no times to have them"
            )

    @property
    def problems(self) -> list[str]:
        """What was met on the first way through."""
        return self._first.problems if self._first else []


class Uncalibrated:
    """The readings as the sensors gave them."""

    def __init__(self, readings: Batches) -> None:
        self._readings = readings

    def batches(self) -> Iterator[Series]:
        return map(_uncalibrated, self._readings.batches())


def _uncalibrated(series: Series) -> Series:
    stream = msgspec.structs.replace(series.stream, channels=_all_without(series.stream.channels))
    return dataclasses.replace(series, stream=stream, channels=_all_without(series.channels))


def _all_without(channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
    return tuple(msgspec.structs.replace(channel, calibration=()) for channel in channels)
