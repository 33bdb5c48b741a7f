"""What a file says of where its readings come from.

Rule of this module: it tells of devices and sessions that have readings in the file, and of no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from fieldlog.export.layout import NOTHING, Batches
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from fieldlog.archive.log import Log
    from fieldlog.archive.records import LogInfo, Session


@dataclass(frozen=True, slots=True)
class DeviceTold:
    """One log of a device, and all of its sessions."""

    info: LogInfo
    sessions: tuple[Session, ...]

    @classmethod
    def of(cls, logs: Iterable[Log]) -> list[DeviceTold]:
        return [cls(log.info(), tuple(log.sessions())) for log in logs]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a selection holds: its logs, with the sessions of each, and its streams as they are described."""

    logs: dict[LogInfo, dict[int, None]]
    streams: tuple[Stream, ...]

    @property
    def uids(self) -> list[str]:
        return list(dict.fromkeys(info.uid for info in self.logs))

    def told(self, about: Sequence[DeviceTold]) -> list[dict[str, Any]]:
        """Plain texts and numbers, for JSON."""
        known = {(one.info.uid, one.info.log_id): one.sessions for one in about}
        return [
            {
                "uid": info.uid,
                "log": info.log_id,
                "serial": info.serial,
                "label": info.label,
                "product": info.product,
                "firmware": info.firmware,
                "sessions": [
                    {"id": session.id, "label": session.label, "metadata": session.metadata}
                    for session in known.get((info.uid, info.log_id), ())
                    if session.id in sessions or 0 in sessions
                ],
            }
            for info, sessions in self.logs.items()
        ]


def seen_in(readings: Batches) -> Seen:
    """Go through all of it. UsageError when there is nothing."""
    logs: dict[LogInfo, dict[int, None]] = {}
    streams: dict[Stream, None] = {}
    for series in readings.batches():
        logs.setdefault(series.log, {})[series.session] = None
        streams[msgspec.structs.replace(series.stream, channels=series.channels)] = None
    if not logs:
        raise UsageError(NOTHING)
    return Seen(logs, tuple(streams))
