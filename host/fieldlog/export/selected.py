"""Selections of readings as they are asked for, before a format writes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from fieldlog.export.layout import Batches

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.series import Series
    from fieldlog_protocol.blocks.schema import Channel


class Selected:
    """A selection that is read anew by every iterator: each has its own count of what could not be read."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read
        self._first: Readings | None = None

    def batches(self) -> Iterator[Series]:
        readings = self._read()
        self._first = self._first or readings
        return readings.batches()

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
