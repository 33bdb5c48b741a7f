"""The deployment's metadata: texts under names, such as site, operator or zone, that travel with the readings.

On the device it is a blob, one CBOR map of text to text (FL metadata). At the beginning of every session, and when it
is changed within one, it goes into the log as Metadata events, in pieces where a block does not hold it whole.

Rule of this module: what is not such a map is no error of whoever reads a log; it is just not understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fieldlog_protocol.blocks import cbor
from fieldlog_protocol.blocks.events import Event, Metadata

_AROUND = 40
"""More than an event takes beside its data: list, tick, kind, keys, numbers, length."""


def encode_metadata(texts: Mapping[str, str]) -> bytes:
    """The blob; none at all for no texts."""
    return cbor.dumps(dict(texts)) if texts else b""


def decode_metadata(blob: bytes) -> dict[str, str]:
    """The texts in a blob; BlockError for what is no map of text to text."""
    return cbor.loads(blob, dict[str, str]) if blob else {}


def metadata_events(blob: bytes, room: int) -> list[Metadata]:
    """The blob as events of which each fits a block that takes `room` bytes."""
    step = room - _AROUND
    pieces = [blob[at : at + step] for at in range(0, len(blob), step)] or [b""]
    return [Metadata(part, len(pieces), piece) for part, piece in enumerate(pieces)]


def last_metadata(events: Iterable[Event]) -> bytes | None:
    """The blob that was whole last, in the order in which the device wrote the events; None when none was."""
    last: bytes | None = None
    held: list[bytes] = []
    for event in events:
        if not isinstance(event, Metadata):
            continue
        held = [] if event.part == 0 else held
        if event.part != len(held):
            held = []
            continue
        held.append(event.data)
        if len(held) == event.parts:
            last, held = b"".join(held), []
    return last
