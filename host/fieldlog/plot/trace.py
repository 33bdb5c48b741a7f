"""What a plot draws: named arrays over time, and where their line must not be drawn through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.errors import UsageError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Micros = npt.NDArray[np.int64]

NO_TIME = np.iinfo(np.int64).min
"""In a time array: unknown, the bits of numpy's NaT."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One line: `utc_us` microseconds since 1970 (UTC), `values` with NaN where missing, one entry per reading.

    `starts[i]` is true where reading i must not be joined to the one before it. `held`: a value is told when it
    is another one, and holds until the next; `states`, where values are no quantities but numbers of states, are their words.
    """

    name: str
    unit: str
    utc_us: Micros
    values: Floats
    starts: Bools | None = None
    held: bool = False
    states: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.utc_us), len(self.values), len(self.utc_us if self.starts is None else self.starts)}
        if len(lengths) != 1:
            raise UsageError(f"Trace {self.name!r}: times, values and starts differ in length.")


class ChannelLike(Protocol):
    """A column's name and unit."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...


class SeriesLike(Protocol):
    """Readings of one stream: what the archive gives, or anything of the same shape."""

    @property
    def label(self) -> str: ...
    @property
    def utc_us(self) -> Micros: ...
    @property
    def starts(self) -> Bools: ...
    @property
    def channels(self) -> Sequence[ChannelLike]: ...
    @property
    def columns(self) -> Sequence[npt.NDArray[Any]]: ...


@dataclass(frozen=True, slots=True)
class _Timed:
    """Some readings of a series."""

    label: str
    channels: Sequence[ChannelLike]
    utc_us: Micros
    starts: Bools
    columns: Sequence[npt.NDArray[Any]]


def timed(series: SeriesLike) -> SeriesLike:
    """The readings whose time is known; what follows one that is left out begins anew."""
    there = series.utc_us != NO_TIME
    if there.all():
        return series
    starts = series.starts | np.concatenate([[False], ~there[:-1]])
    columns = [column[there] for column in series.columns]
    return _Timed(series.label, series.channels, series.utc_us[there], starts[there], columns)


OFF_ON = ("0", "1")
"""The words of a channel that is true or false; one that has these words, wherever from, is taken for such."""


@dataclass(frozen=True, slots=True)
class Nature:
    """What of a channel says how it is drawn: `eventful`, it is told when something happens; `states` as in `Trace`."""

    eventful: bool
    states: tuple[str, ...] | None

    @property
    def held(self) -> bool:
        return self.eventful or self.states is not None


def nature_of(series: object, channel: object) -> Nature:
    """What a series and its channel tell of themselves; those that tell nothing hold quantities, measured again and again."""
    states: tuple[str, ...] | None = getattr(channel, "states", None)
    if not getattr(channel, "calibratable", True):
        is_bool = getattr(getattr(channel, "type", None), "name", "") == "BOOL"
        states = OFF_ON if is_bool else tuple(getattr(channel, "choices", ()))
    without_period = getattr(getattr(series, "stream", None), "period_us", None) == 0
    return Nature(without_period or bool(getattr(channel, "held", False)), states)


def traces(readings: Iterable[SeriesLike], *, with_label: bool = False) -> list[Trace]:
    """One trace per channel; sessions of the same channel become one trace with a break between them.

    With `with_label` the series' label stands before the name, to tell devices apart.
    """
    parts: dict[tuple[str, str, str], list[tuple[Micros, Floats, Bools]]] = {}
    natures: dict[tuple[str, str, str], Nature] = {}
    for series in readings:
        label = series.label if with_label else ""
        starts = series.starts.copy()
        starts[:1] = True
        for channel, column in zip(series.channels, series.columns, strict=True):
            key = (label, channel.name, channel.unit)
            parts.setdefault(key, []).append((series.utc_us, column, starts))
            natures.setdefault(key, nature_of(series, channel))
    made: list[Trace] = []
    for key, found in parts.items():
        label, name, unit = key
        times, values, breaks = zip(*found, strict=True)
        made.append(
            Trace(
                f"{label}: {name}" if label else name,
                unit,
                np.concatenate(times),
                np.concatenate(values),
                np.concatenate(breaks),
                held=natures[key].eventful,
                states=natures[key].states,
            )
        )
    return made
