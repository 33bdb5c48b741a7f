"""What a plot draws: named arrays over time, and where their line must not be drawn through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fieldlog.same_names import Owner, shared_names, title_of
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


class _Key(NamedTuple):
    """What makes readings of a channel one trace. `nth` counts channels of one name and unit in a stream; `stream` is there
    where several have them."""

    label: str
    stream: int | None
    name: str
    unit: str
    nth: int


def traces(readings: Iterable[SeriesLike], *, with_label: bool = False) -> list[Trace]:
    """One trace per channel; sessions of the same channel become one trace with a break between them.

    With `with_label` the series' label stands before the name, to tell devices apart. Where several streams of a session have
    a channel of one name and unit, the stream's name stands there.
    """
    given = list(readings)
    shared = shared_names(owner for series in given for owner in _owners(series))
    parts: dict[_Key, list[tuple[Micros, Floats, Bools]]] = {}
    made: dict[_Key, tuple[str, Nature]] = {}
    for series in given:
        starts = series.starts.copy()
        starts[:1] = True
        label = f"{series.label}: " if with_label and series.label else ""
        for key, channel, column in zip(_keys(series, label, shared), series.channels, series.columns, strict=True):
            name = key.name if key.stream is None else title_of(_stream_of(series)[1], key.name)
            made.setdefault(key, (f"{label}{name}", nature_of(series, channel)))
            parts.setdefault(key, []).append((series.utc_us, column, starts))
    found: list[Trace] = []
    for key, (name, nature) in made.items():
        times, values, breaks = map(np.concatenate, zip(*parts[key], strict=True))
        found.append(Trace(name, key.unit, times, values, breaks, held=nature.eventful, states=nature.states))
    return found


def _stream_of(series: SeriesLike) -> tuple[int, str]:
    """Number and name; of readings that tell none, all are of one."""
    stream = getattr(series, "stream", None)
    return (-1, "") if stream is None else (stream.id, stream.name)


def _owners(series: SeriesLike) -> Iterator[Owner]:
    session = series.label, getattr(series, "session", None)
    for channel in series.channels:
        yield Owner(session, _stream_of(series)[0], channel.name, channel.unit)


def _keys(series: SeriesLike, label: str, shared: Collection[tuple[str, str]]) -> Iterator[_Key]:
    seen: Counter[tuple[str, str]] = Counter()
    for channel in series.channels:
        which = (channel.name, channel.unit)
        yield _Key(label, _stream_of(series)[0] if which in shared else None, *which, seen[which])
        seen[which] += 1
