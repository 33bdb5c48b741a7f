"""What the whole file has in common, settled before its first line: columns, decimals of the times, who takes part.

Rule of this module: it goes through the readings once, a piece at a time, and keeps descriptions only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fieldlog.export.texts import TimeUnit
from fieldlog.same_names import Owner, shared_names, title_of
from fieldlog_protocol.blocks.schema import Channel
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fieldlog.archive.series import Series

_SECOND_US = 1_000_000
_TIME_UNITS: tuple[tuple[int, TimeUnit], ...] = ((_SECOND_US, "s"), (1_000, "ms"), (1, "us"))
_BOOTS = 1 << 16
NOTHING = (
    "there is nothing to export: the archive holds no reading in this selection. "
    "Nothing was written; choose another time, session or channel"
)
_HEADING_UNITS = {"[g]": "g"}


class Batches(Protocol):
    """A selection that can be gone through in pieces, by several iterators at once: what `archive.readings` gives."""

    def batches(self) -> Iterator[Series]: ...


class SessionKey(NamedTuple):
    """One session in one log."""

    uid: str
    log_id: int
    session: int

    @classmethod
    def of(cls, series: Series) -> SessionKey:
        return cls(series.log.uid, series.log.log_id, series.session)


class StreamKey(NamedTuple):
    id: int
    name: str


class ColumnKey(NamedTuple):
    """`nth` counts channels of one name and unit in one stream; `stream` is there where streams share both."""

    stream: StreamKey | None
    name: str
    unit: str
    nth: int

    @property
    def title(self) -> str:
        """The name, behind that of the stream where it takes one."""
        return title_of(self.stream.name, self.name) if self.stream else self.name


def labelled(name: str, unit: str) -> str:
    """A channel's name with its unit in brackets, and in one pair of them where UCUM has its own round a sign."""
    shown = _HEADING_UNITS.get(unit, unit)
    return f"{name} [{shown}]" if shown else name


@dataclass(slots=True)
class SessionStreams:
    """What takes part in one session: its streams, by id, and the boots it went through."""

    streams: set[int] = field(default_factory=set[int])
    boots: set[int] = field(default_factory=set[int])

    @property
    def first_boot(self) -> int:
        """The boot that the others follow, also where their number began anew at 0: the one after the widest gap."""
        ordered = sorted(self.boots)
        before = dict(zip(ordered, [ordered[-1], *ordered[:-1]], strict=True))
        return max(ordered, key=lambda boot: (boot - before[boot]) % _BOOTS)


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns in declared order, and `sessions` in order of the file.

    `sheet_unit` is that of times for a spreadsheet: it takes no more than milliseconds, and shows those of whole seconds
    without their hour.
    """

    columns: tuple[ColumnKey, ...]
    shared: frozenset[tuple[str, str]]
    time_unit: TimeUnit
    sheet_unit: TimeUnit
    with_device: bool
    with_clock: bool
    sessions: Mapping[SessionKey, SessionStreams]

    def keys(self, series: Series) -> list[ColumnKey]:
        """The column of each channel."""
        return _keys(StreamKey(series.stream.id, series.stream.name), series.channels, self.shared)


class _Described(NamedTuple):
    session: SessionKey
    stream: StreamKey
    channels: tuple[Channel, ...]


def surveyed(readings: Batches, *, with_clock: bool) -> Layout:
    """Go through all of it. UsageError when there is nothing."""
    described: dict[_Described, None] = {}
    sessions: dict[SessionKey, SessionStreams] = {}
    finest, in_seconds = 0, True
    for series in readings.batches():
        session = SessionKey.of(series)
        described[_Described(session, StreamKey(series.stream.id, series.stream.name), series.channels)] = None
        found = sessions.setdefault(session, SessionStreams())
        found.streams.add(series.stream.id)
        found.boots.update(_boots(series))
        in_seconds &= _is_of_whole_seconds(series.stream.period_us)
        while finest < 2 and (_known(series.utc_us) % _TIME_UNITS[finest][0]).any():
            finest += 1
    if not sessions:
        raise UsageError(NOTHING)
    shared = _shared(described)
    several = len({session.uid for session in sessions}) > 1
    return Layout(
        columns=_ordered(described, shared),
        shared=shared,
        time_unit=_TIME_UNITS[finest][1],
        sheet_unit="s" if in_seconds or not finest else "ms",
        with_device=several,
        with_clock=with_clock,
        sessions=sessions,
    )


def _shared(described: Mapping[_Described, None]) -> frozenset[tuple[str, str]]:
    """(name, unit) that several streams of one session have: each of them needs a column of its own."""
    return shared_names(
        Owner(part.session, part.stream.id, c.name, c.unit) for part in described for c in part.channels
    )


def _ordered(described: Mapping[_Described, None], shared: frozenset[tuple[str, str]]) -> tuple[ColumnKey, ...]:
    """By device as they come, then by stream, then as the channels are declared."""
    devices = list(dict.fromkeys(part.session.uid for part in described))
    places: dict[ColumnKey, tuple[int, int, int]] = {}
    for part in described:
        for index, key in enumerate(_keys(part.stream, part.channels, shared)):
            place = (devices.index(part.session.uid), part.stream.id, index)
            places[key] = min(place, places.get(key, place))
    return tuple(sorted(places, key=places.__getitem__))


def _keys(stream: StreamKey, channels: Sequence[Channel], shared: frozenset[tuple[str, str]]) -> list[ColumnKey]:
    seen: Counter[tuple[str, str]] = Counter()
    keys: list[ColumnKey] = []
    for channel in channels:
        label = (channel.name, channel.unit)
        keys.append(ColumnKey(stream if label in shared else None, *label, seen[label]))
        seen[label] += 1
    return keys


def _is_of_whole_seconds(period_us: int) -> bool:
    return period_us > 0 and period_us % _SECOND_US == 0


def _boots(series: Series) -> set[int]:
    import numpy as np

    boots: list[int] = np.unique(series.boot_id).tolist()
    return set(boots)


def _known(utc_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    import numpy as np

    known: npt.NDArray[np.int64] = utc_us[~np.isnat(utc_us.view("datetime64[us]"))]
    return known
