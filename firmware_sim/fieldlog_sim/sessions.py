"""The recording sessions that the device remembers, each a record in the store of device variables.

Rule: what a session was is stored when it begins and when it ends; how far it has come is known from the log itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fieldlog_protocol.commands.logger import SessionInfo, StopReason
from fieldlog_protocol.wire import decode_body, encode_body
from fieldlog_sim.settings_store import SettingsStore

REMEMBERED = 24
_PREFIX = "session/"


class Sessions:
    """Sessions by id; the last one may be running."""

    def __init__(self, store: SettingsStore) -> None:
        self._store = store
        records = [decode_body(value, SessionInfo) for key, value in store.items().items() if key.startswith(_PREFIX)]
        self._by_id = {record.id: record for record in sorted(records, key=lambda record: record.id)}

    def __len__(self) -> int:
        return len(self._by_id)

    def from_id(self, first: int) -> list[SessionInfo]:
        """Sessions with this id or a higher one, in order."""
        return [record for number, record in self._by_id.items() if number >= first]

    @property
    def last(self) -> SessionInfo | None:
        """The newest session."""
        return next(reversed(self._by_id.values()), None)

    @property
    def running(self) -> SessionInfo | None:
        """The session being recorded."""
        last = self.last
        return last if last is not None and last.why == StopReason.RUNNING else None

    @property
    def next_id(self) -> int:
        """The id that the next session will get."""
        return (self.last.id % 0xFFFF if self.last else 0) + 1

    def begin(self, label: str, boot: int, tick: int, first_seq: int, also: Mapping[str, bytes]) -> SessionInfo:
        """Store a new session, in one record with what else its beginning changes."""
        number = self.next_id
        record = SessionInfo(id=number, label=label, boot=boot, start=tick, first=first_seq, frames=0, why=0)
        forgotten = list(self._by_id)[: max(0, len(self._by_id) - REMEMBERED + 1)]
        changes: dict[str, bytes | None] = {_key(old): None for old in forgotten}
        self._store.put_many(changes | {_key(number): encode_body(record), **also})
        for old in forgotten:
            del self._by_id[old]
        self._by_id[number] = record
        return record

    def progress(self, last_seq: int | None, frames: int) -> None:
        """Note in RAM how far the newest session has come."""
        last = self.last
        if last is not None:
            self._by_id[last.id] = msgspec.structs.replace(last, last=last_seq, frames=frames)

    def end(self, boot: int, tick: int, why: StopReason, also: Mapping[str, bytes | None]) -> SessionInfo:
        """Store that the running session has ended, in one record with what else its end changes."""
        running = self.running
        assert running is not None
        record = msgspec.structs.replace(running, eboot=boot, stop=tick, why=int(why))
        self._store.put_many({_key(record.id): encode_body(record), **also})
        self._by_id[record.id] = record
        return record


def _key(number: int) -> str:
    return f"{_PREFIX}{number:05}"
