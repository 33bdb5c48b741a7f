"""Requests that act once, across restarts: the id of the last one and what was answered, in the device variables."""

from __future__ import annotations

import struct

from fieldlog_protocol.commands import Message
from fieldlog_protocol.wire import encode_body
from fieldlog_sim.settings_store import SettingsStore

ARMED = "once/arm"
ERASED = "once/erase"


def answer_of(nv: SettingsStore, key: str, request_id: int) -> bytes | None:
    """The answer that was given to this request, if it was the last of its kind."""
    stored = nv.get(key)
    if stored is None or int.from_bytes(stored[:4], "little") != request_id:
        return None
    return stored[4:]


def answer_record(request_id: int, answer: Message) -> bytes:
    """What is stored to answer a repetition."""
    return struct.pack("<I", request_id) + encode_body(answer)
