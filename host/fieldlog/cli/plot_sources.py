"""Where `fieldlog plot` has its readings from: the archive, or files of tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fieldlog.cli.selection import Wanted
from fieldlog.text import count, printable
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from fieldlog.archive.accounts import Recorded
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.selection import Selection
    from fieldlog.archive.source import Source as LogSource
    from fieldlog.archive.store import Archive
    from fieldlog.pictures import Found
    from fieldlog.plot import Event
    from fieldlog.tables import Chosen

_MOST_NAMES = 3
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Source(Protocol):
    """Readings that were chosen. `several`: they are of several devices; `n_lines`: as many may be drawn."""

    @property
    def several(self) -> bool: ...
    @property
    def n_lines(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def problems(self) -> Sequence[str]:
        """What could not be read, as far as it was read."""
        ...

    def channels(self) -> Sequence[str] | None:
        """The names of those that are drawn; None where they are not known before all is read."""
        ...

    @property
    def wanted(self) -> Sequence[str] | None:
        """The channels that were named, in that order."""
        ...

    def found(self) -> Found: ...
    def events(self) -> Sequence[Event]: ...


@contextmanager
def source(wanted: Wanted, files: Sequence[Path], tz: dt.tzinfo) -> Generator[Source]:
    """The files where some are named, else the archive."""
    if files:
        yield _from_files(wanted, files, tz)
        return
    with wanted.open() as archive:
        yield FromArchive(archive, wanted.readings(archive))


@dataclass(frozen=True, slots=True)
class FromArchive:
    archive: Archive
    readings: Readings

    @property
    def several(self) -> bool:
        return len({one.info.uid for one in self.readings.sources}) > 1

    @property
    def n_lines(self) -> int:
        wanted = set(self.channels())
        streams = [(one.log.key, stream) for one in self.readings.sources for stream in one.schemas.streams(range(256))]
        named = {(log, stream.id, channel.name) for log, stream in streams for channel in stream.channels}
        return sum(name in wanted for _, _, name in named)

    @property
    def title(self) -> str:
        """The device and those of its sessions with a label that have readings here, or of several each with its own; of many,
        the first ones."""
        labels: dict[str, dict[str, None]] = {}
        for one in self.readings.sources:
            there = _sessions_of(one, self.readings.selection)
            labels.setdefault(one.info.name, {}).update(
                (session.label, None) for session in one.log.sessions() if session.label and session.id in there
            )
        if len(labels) == 1:
            return " · ".join(part for name, its in labels.items() for part in (name, *_first(list(its), "label")))
        told = [f"{name} ({', '.join(_first(list(its), 'label'))})" if its else name for name, its in labels.items()]
        return " · ".join(told if len(told) <= _MOST_NAMES else _first(list(labels), "device"))

    @property
    def problems(self) -> Sequence[str]:
        return [*self.readings.problems, *self._under_way()]

    def _under_way(self) -> Iterable[str]:
        for one in self.readings.sources:
            pulls = one.log.pulls()
            if pulls and pulls[-1].finished_us is None:
                began = _EPOCH + dt.timedelta(microseconds=pulls[-1].started_us)
                yield (
                    f"{one.info.name}: the pull that began {began:%Y-%m-%d %H:%M:%S} UTC has not ended: plotted is what it "
                    "brought so far."
                )

    def channels(self) -> Sequence[str]:
        known = dict.fromkeys(name for one in self.readings.sources for name in one.schemas.channel_names())
        wanted = self.readings.selection.channels
        return [name for name in known if wanted is None or name in wanted]

    @property
    def wanted(self) -> Sequence[str] | None:
        return self.readings.selection.channels

    def found(self) -> Found:
        from fieldlog.pictures import find

        return find(self.archive, self.readings)

    def events(self) -> Sequence[Event]:
        from fieldlog.pictures import events

        return events(self.readings)


def _sessions_of(one: LogSource, selection: Selection) -> frozenset[int]:
    """The sessions of a log that have readings in a selection, as far as first and last reading tell."""
    wanted = (item for item in one.log.recorded() if selection.wants(one.log.key, item.session, 0))
    return frozenset(item.session for item in wanted if not selection.bounded or _may_reach_into(one, item, selection))


def _may_reach_into(one: LogSource, session: Recorded, selection: Selection) -> bool:
    """False where the session is known to lie outside the times that are wanted."""
    import numpy as np

    from fieldlog.clock_model import UNKNOWN_TIME

    first_us = one.clock.utc(session.boot_id, np.array([session.t0])).utc_us[0]
    last_us = one.clock.utc(session.last_boot_id, np.array([session.last_tick])).utc_us[0]
    ended = selection.start_us is not None and last_us != UNKNOWN_TIME and last_us < selection.start_us
    begins = selection.end_us is not None and first_us != UNKNOWN_TIME and first_us >= selection.end_us
    return not ended and not begins


def _first(names: Sequence[str], kind: str) -> Sequence[str]:
    """What a title has room for."""
    left = len(names) - _MOST_NAMES
    return names if left < 2 else (*names[:_MOST_NAMES], count(left, f"more {kind}"))


def _from_files(wanted: Wanted, files: Sequence[Path], tz: dt.tzinfo) -> FromFiles:
    from fieldlog.tables import Chosen, open_table

    if wanted.devices or wanted.all_devices or wanted.sessions:
        raise UsageError(
            "--device, --all and --session choose from the archive, and a file has what was exported. Nothing was plotted; leave "
            "them out, or export what is wanted"
        )
    tables = [open_table(file, file.stem if len(files) > 1 else "", tz) for file in files]
    start_us, end_us = _micros(wanted.start), _micros(wanted.end)
    if wanted.since_us is not None:
        start_us = max(0, Chosen(tables, wanted.channels, None, end_us).span_us()[1] - wanted.since_us)
    return FromFiles(files, Chosen(tables, wanted.channels, start_us, end_us))


def _micros(time: dt.datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class FromFiles:
    files: Sequence[Path]
    chosen: Chosen

    @property
    def several(self) -> bool:
        """Files have names of devices, or names of their own."""
        return len(self.files) > 1 or any(table.names_devices for table in self.chosen.tables)

    @property
    def n_lines(self) -> int:
        return max(1, len(self.chosen.names)) * len(self.files)

    @property
    def title(self) -> str:
        return " · ".join(printable(file.name) for file in self.files)

    @property
    def problems(self) -> Sequence[str]:
        return self.chosen.left_out

    def channels(self) -> Sequence[str] | None:
        known = [name.name for name in self.chosen.names]
        return known if all(table.channels for table in self.chosen.tables) else None

    @property
    def wanted(self) -> Sequence[str] | None:
        return self.chosen.channels

    def found(self) -> Found:
        from fieldlog.pictures import in_batches

        return in_batches(*self.chosen.span_us(), self.chosen.series)

    def events(self) -> Sequence[Event]:
        return ()
