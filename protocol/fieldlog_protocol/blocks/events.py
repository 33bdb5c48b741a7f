"""Events in the log: what happened to the device, typed, in the payload of EVENT blocks.

Rule of this module: an event that is not understood is kept, never dropped. The payload is a CBOR list of
[tick, kind, {fields}]; a kind that is unknown here, or whose fields are not those known here, comes out as
UnknownEvent with everything it said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from fieldlog_protocol.blocks import cbor


class Boot(msgspec.Struct, frozen=True, rename={"reason": "r", "firmware": "f"}):
    """The device started; `reason` is its reset cause in words."""

    reason: str
    firmware: str


class ClockSync(msgspec.Struct, frozen=True, rename={"tick": "k", "utc_us": "u", "err_us": "e", "source": "s"}):
    """At `tick` it was `utc_us` (microseconds since 1970), give or take `err_us`, says `source`."""

    tick: int
    utc_us: int
    err_us: int
    source: str


class Mark(msgspec.Struct, frozen=True, rename={"text": "t"}):
    text: str


class ConfigChange(msgspec.Struct, frozen=True, rename={"key": "k"}):
    key: str


class Battery(msgspec.Struct, frozen=True, rename={"millivolts": "m"}):
    millivolts: int


class SessionStart(msgspec.Struct, frozen=True, rename={"id": "i", "label": "l"}):
    id: int
    label: str


class SessionStop(msgspec.Struct, frozen=True, rename={"id": "i", "reason": "r"}):
    id: int
    reason: str


class Metadata(msgspec.Struct, frozen=True, rename={"part": "i", "parts": "n", "data": "d"}):
    """Piece `part` (from 0) of `parts` of the deployment's metadata, which holds from here on: see `metadata`."""

    part: int
    parts: int
    data: bytes


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a kind, or with fields, that this version does not know."""

    kind: int
    fields: dict[Any, Any]


KnownEvent: TypeAlias = Boot | ClockSync | Mark | ConfigChange | Battery | SessionStart | SessionStop | Metadata
Event: TypeAlias = KnownEvent | UnknownEvent

_TYPES: dict[int, type[KnownEvent]] = {
    0: Boot,
    1: ClockSync,
    2: Mark,
    3: ConfigChange,
    4: Battery,
    5: SessionStart,
    6: SessionStop,
    7: Metadata,
}
_KINDS = {type_: kind for kind, type_ in _TYPES.items()}


class TimedEvent(NamedTuple):
    tick: int
    event: Event


def encode_events(events: Sequence[TimedEvent]) -> bytes:
    """The payload of an EVENT block that holds `events`."""
    return cbor.dumps([_item(timed) for timed in events])


def event_payloads(events: Sequence[TimedEvent], room: int) -> list[bytes]:
    """The payloads of as few EVENT blocks as hold these events, in order; `room` is how many bytes a block takes."""
    payloads: list[bytes] = []
    held: list[TimedEvent] = []
    for event in events:
        if not held or len(encode_events([*held, event])) > room:
            held = []
            payloads.append(b"")
        held.append(event)
        payloads[-1] = encode_events(held)
    return payloads


def _item(timed: TimedEvent) -> tuple[int, int, object]:
    event = timed.event
    if isinstance(event, UnknownEvent):
        return timed.tick, event.kind, event.fields
    return timed.tick, _KINDS[type(event)], event


def decode_events(payload: bytes) -> list[TimedEvent]:
    return [
        TimedEvent(tick, _event(kind, fields))
        for tick, kind, fields in cbor.loads(payload, list[tuple[int, int, dict[Any, Any]]])
    ]


def _event(kind: int, fields: dict[Any, Any]) -> Event:
    type_ = _TYPES.get(kind)
    if type_ is None:
        return UnknownEvent(kind, fields)
    try:
        return msgspec.convert(fields, type_)
    except msgspec.ValidationError:
        return UnknownEvent(kind, fields)
