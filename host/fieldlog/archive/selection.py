"""What of a device's readings is wanted, checked before anything is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import index

from fieldlog.archive.log import Log
from fieldlog.archive.ranges import ALL_SEQS
from fieldlog.archive.records import Session
from fieldlog.local_times import no_time
from fieldlog_protocol.errors import UsageError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Selection:
    """`sessions` are (log key, session id), `channels` names, `stream` an id, None for all; times in microseconds since
    1970; `seqs` the blocks to look at."""

    sessions: frozenset[tuple[int, int]] | None = None
    channels: tuple[str, ...] | None = None
    start_us: int | None = None
    end_us: int | None = None
    stream: int | None = None
    seqs: range = ALL_SEQS

    @classmethod
    def of(
        cls,
        logs: Sequence[Log],
        session: int | str | Iterable[int | str] | None,
        channels: str | Iterable[str] | None,
        start: datetime | str | None,
        end: datetime | str | None,
    ) -> Selection:
        start_us, end_us = _micros(start, "start"), _micros(end, "end")
        if start_us is not None and end_us is not None and start_us >= end_us:
            raise UsageError(f"the selection ends at {end} and begins at {start}: put the earlier time first")
        names = [channels] if isinstance(channels, str) else channels
        return cls(_sessions(logs, session), None if names is None else tuple(names), start_us, end_us)

    def wants(self, log: int, session: int, stream: int) -> bool:
        """Whether a stream of a session may hold some of it."""
        return (self.sessions is None or (log, session) in self.sessions) and self.stream in (None, stream)

    @property
    def bounded(self) -> bool:
        """Whether readings are chosen by their time, so that those without a known time are left out."""
        return self.start_us is not None or self.end_us is not None


def _micros(time: object, name: str) -> int | None:
    """A datetime without an offset is refused, since for Python it is the time of this computer; all else is read as text,
    which is meant in UTC without one, as numpy's times are."""
    if time is None:
        return None
    if not isinstance(time, datetime):
        time = _read(str(time), name)
    if time.tzinfo is None:
        raise UsageError(f"the time {time} does not say its offset from UTC: give it a time zone")
    return (time - _EPOCH) // timedelta(microseconds=1)


def _read(text: str, name: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise no_time(name, text) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _sessions(logs: Sequence[Log], wanted: int | str | Iterable[int | str] | None) -> frozenset[tuple[int, int]] | None:
    if wanted is None:
        return None
    several = wanted if isinstance(wanted, Iterable) and not isinstance(wanted, str) else [wanted]
    return frozenset(found for one in several for found in _session(logs, one if isinstance(one, str) else index(one)))


def _session(logs: Sequence[Log], wanted: int | str) -> frozenset[tuple[int, int]]:
    if isinstance(wanted, int) and any(session.id == wanted for log in logs for session in log.told_sessions()):
        return frozenset((log.key, wanted) for log in logs)  # without a look at what is recorded
    known = [(log.key, session) for log in logs for session in log.sessions()]
    found = frozenset((key, session.id) for key, session in known if session.id == wanted)
    found = found or frozenset((key, session.id) for key, session in known if session.label == str(wanted))
    if not found:
        listed = ", ".join(dict.fromkeys(_listed(session) for _, session in known)) or "none"
        raise UsageError(f"there is no session {wanted!r}. Sessions that there are: {listed}")
    return found


def _listed(session: Session) -> str:
    return f"{session.id} {session.label!r}" if session.label else f"{session.id}"
