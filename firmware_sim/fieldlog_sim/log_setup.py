"""How the log is set up: periods, which streams are recorded, calibration, ring mode; kept in the device variables.

Rule: every change that alters what the numbers in a block mean gives the schema a new id.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import msgspec

from fieldlog_protocol.blocks.schema import Schema, Stream
from fieldlog_sim.settings_store import MAX_VALUE, SettingsStore
from fieldlog_sim.store_errors import StoreFull

_KEY = "log/setup"
_RECORDED = "log/recorded"


class _Stored(msgspec.Struct, frozen=True):
    """What is kept, as JSON: the periods differ from the streams' own only where they were set."""

    schema_id: int = 0
    periods_us: dict[int, int] = {}
    wrap: bool = False
    released: int = 0


class LogSetup:
    """The setup as it is stored; every setter stores it anew."""

    def __init__(self, store: SettingsStore, streams: tuple[Stream, ...]) -> None:
        self._store = store
        self._factory = streams
        self._now = _stored(store)
        self._recorded = tuple(store.get(_RECORDED) or b"")
        self._streams = self._present()

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All streams with their present periods and calibrations."""
        return self._streams

    def _present(self) -> tuple[Stream, ...]:
        periods = self._now.periods_us
        return tuple(
            msgspec.structs.replace(
                stream,
                period_us=periods.get(stream.id, stream.period_us),
                channels=tuple(
                    msgspec.structs.replace(channel, calibration=self.calibration(stream.id, position))
                    for position, channel in enumerate(stream.channels)
                ),
            )
            for stream in self._factory
        )

    def schema(self, uid: bytes, log_id: int, firmware: str, product: str, clock_ppm: int | None) -> Schema:
        """The schema that blocks are written under now."""
        return Schema(uid, log_id, firmware, product, self._now.schema_id, self.streams, clock_ppm)

    @property
    def wrap(self) -> bool:
        """Whether the ring overwrites the oldest blocks."""
        return self._now.wrap

    @property
    def released(self) -> int:
        """Blocks before this seq may be overwritten in full mode."""
        return self._now.released

    @property
    def recorded(self) -> tuple[int, ...]:
        """Ids of the streams that the session records."""
        return self._recorded

    def calibration(self, stream: int, channel: int) -> tuple[float, ...]:
        """The calibration polynomial of a channel, empty for none."""
        stored = self._store.get(_calibration_key(stream, channel)) or b""
        return struct.unpack(f"<{len(stored) // 8}d", stored)

    def arm(self, periods_us: dict[int, int], recorded: tuple[int, ...], *, wrap: bool) -> dict[str, bytes]:
        """Take over a session's setup; the record to be stored together with the session's own is answered."""
        own = {stream.id: stream.period_us for stream in self._factory}
        merged = self._now.periods_us | periods_us
        merged = {id_: period_us for id_, period_us in merged.items() if period_us != own.get(id_)}
        changed = merged != self._now.periods_us or self._now.schema_id == 0
        schema_id = self._next_schema_id if changed else self._now.schema_id
        setup = msgspec.structs.replace(self._now, schema_id=schema_id, periods_us=merged, wrap=wrap)
        encoded = msgspec.json.encode(setup)
        if len(encoded) > MAX_VALUE:
            raise StoreFull(
                f"the periods of {len(merged)} streams are more than can be remembered. Nothing was changed"
            )
        self._now, self._recorded = setup, recorded
        self._streams = self._present()
        return {_KEY: encoded, _RECORDED: bytes(recorded)}

    def release(self, seq: int) -> None:
        """Store a new released position."""
        self._replace(msgspec.structs.replace(self._now, released=seq))

    @property
    def _next_schema_id(self) -> int:
        return self._now.schema_id % 0xFF + 1

    def calibrated(self, changes: Mapping[tuple[int, int], tuple[float, ...]]) -> dict[str, bytes | None]:
        """The records of calibrations by stream and channel, with that of their schema; nothing where nothing changes.

        They are to be stored at once, and `reload` takes them over.
        """
        news = {place: numbers for place, numbers in changes.items() if numbers != self.calibration(*place)}
        if not news:
            return {}
        setup = msgspec.structs.replace(self._now, schema_id=self._next_schema_id)
        return {
            _KEY: msgspec.json.encode(setup),
            **{_calibration_key(*place): _packed(numbers) for place, numbers in news.items()},
        }

    def reload(self) -> None:
        """Take over what was stored."""
        self._now = _stored(self._store)
        self._streams = self._present()

    def _replace(self, setup: _Stored) -> None:
        if setup != self._now:
            self._now = setup
            self._store.put(_KEY, msgspec.json.encode(setup))


def _stored(store: SettingsStore) -> _Stored:
    stored = store.get(_KEY)
    return _Stored() if stored is None else msgspec.json.decode(stored, type=_Stored)


def _packed(coefficients: tuple[float, ...]) -> bytes | None:
    return struct.pack(f"<{len(coefficients)}d", *coefficients) if coefficients else None


def _calibration_key(stream: int, channel: int) -> str:
    return f"cal/{stream}/{channel}"
