"""Sessions as far as anyone told of them: the device when it was asked, the log's own events, and at least the readings.

Rule of this module: what the device answered counts before what its log says, and that before what the readings show;
each fills in what the one before left open. A dump of a dead logger, or a pull that was broken off, has the last two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from fieldlog.archive.records import LoggedEvent, Session
from fieldlog_protocol.blocks.events import Metadata, SessionStart, SessionStop
from fieldlog_protocol.blocks.metadata import decode_metadata, last_metadata
from fieldlog_protocol.errors import BlockError


class Recorded(NamedTuple):
    """What the blocks of a session show: how many frames, and in which blocks and at which ticks the first and last are."""

    session: int
    first_seq: int
    boot_id: int
    t0: int
    last_seq: int
    last_boot_id: int
    last_tick: int
    frames: int


def complete_sessions(
    told: Iterable[Session], events: Sequence[LoggedEvent], recorded: Iterable[Recorded]
) -> list[Session]:
    """All sessions known, in order of id, each with the deployment's metadata that its log holds."""
    found = {session.id: session for session in told}
    held = {item.session: item for item in recorded}
    starts, stops = _by_session(events)
    for number in {*held, *starts} - found.keys():
        found[number] = _pieced_together(number, starts.get(number), held.get(number))
    metadata = _metadata(events)
    return [
        replace(_ended(session, stops.get(number), held.get(number)), metadata=metadata.get(number, {}))
        for number, session in sorted(found.items())
    ]


def session_texts(told: Iterable[Session], events: Sequence[LoggedEvent]) -> dict[int, tuple[str, dict[str, str]]]:
    """(label, metadata) of each session that has any, as `complete_sessions` tells them; no reading is looked at."""
    starts = (logged.event for logged in _by_session(events)[0].values())
    labels = {event.id: event.label for event in starts if isinstance(event, SessionStart)}
    labels |= {session.id: session.label for session in told}
    metadata = _metadata(events)
    return {number: (labels.get(number, ""), metadata.get(number, {})) for number in labels.keys() | metadata.keys()}


def _metadata(events: Sequence[LoggedEvent]) -> dict[int, dict[str, str]]:
    """Of each session the texts that were told last. What is no such thing tells nothing."""
    found: dict[int, dict[str, str]] = {}
    for number in dict.fromkeys(logged.session for logged in events if isinstance(logged.event, Metadata)):
        blob = last_metadata(logged.event for logged in events if logged.session == number)
        with suppress(BlockError):
            found[number] = decode_metadata(blob or b"")
    return found


def _by_session(events: Iterable[LoggedEvent]) -> tuple[dict[int, LoggedEvent], dict[int, LoggedEvent]]:
    starts: dict[int, LoggedEvent] = {}
    stops: dict[int, LoggedEvent] = {}
    for logged in events:
        if isinstance(logged.event, SessionStart):
            starts.setdefault(logged.event.id, logged)  # told again after a power cut in its beginning
        elif isinstance(logged.event, SessionStop):
            stops[logged.event.id] = logged
    return starts, stops


def _pieced_together(id: int, start: LoggedEvent | None, held: Recorded | None) -> Session:
    label = start.event.label if start is not None and isinstance(start.event, SessionStart) else ""
    if start is not None and (held is None or start.seq <= held.first_seq):
        return Session(id, label, start.boot_id, start.tick, None, start.seq, None, 0, "")
    assert held is not None
    return Session(id, label, held.boot_id, held.t0, None, held.first_seq, None, 0, "")


def _ended(session: Session, stop: LoggedEvent | None, held: Recorded | None) -> Session:
    """With the end that the log tells, where the device had not told one, and no fewer frames than are held."""
    frames = max(session.frames, held.frames) if held else session.frames
    if stop is None or session.stop_tick is not None or not isinstance(stop.event, SessionStop):
        return replace(session, frames=frames)
    last_seq = max(stop.seq, held.last_seq) if held else stop.seq
    return replace(session, stop_tick=stop.tick, last_seq=last_seq, frames=frames, reason=stop.event.reason)
