"""A CBOR map in which two entries have one key, as threads have that share a name: each is kept, the later ones numbered.

Rule: this is for maps whose keys are names of things. What is no such map raises ProtocolError or CBORDecodeError.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

import cbor2

from fieldlog_protocol.errors import ProtocolError

_MAP = 5
_INDEFINITE = 31
_RESERVED = (28, 29, 30)
_LENGTHS = {24: 1, 25: 2, 26: 4, 27: 8}
_BREAK = b"\xff"


def load_numbered(payload: bytes, field: str) -> dict[Any, Any]:
    """The map that `payload` begins with. In the one under its key `field` the second `idle` becomes `idle (2)`."""
    stream = io.BytesIO(payload)
    decoder = cbor2.CBORDecoder(stream, strict_hashable_types=True, read_size=1)
    return {key: _numbered(stream, decoder) if key == field else decoder.decode() for key in _keys(stream, decoder)}


def _numbered(stream: io.BytesIO, decoder: cbor2.CBORDecoder) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    seen: Counter[Any] = Counter()
    for key in _keys(stream, decoder):
        name = key
        while name in found:
            seen[key] += 1
            name = f"{key} ({seen[key] + 1})"
        found[name] = decoder.decode()
    return found


def _keys(stream: io.BytesIO, decoder: cbor2.CBORDecoder) -> Iterator[Any]:
    """The keys of the map that begins here; whoever gets one takes its value from the stream before the next."""
    count = _count(stream)
    while count != 0:
        if count is not None:
            count -= 1
        elif (mark := stream.read(1)) == _BREAK:
            return
        else:
            stream.seek(-len(mark), io.SEEK_CUR)
        yield decoder.decode()


def _count(stream: io.BytesIO) -> int | None:
    """How many entries the map has, None where its end is marked instead."""
    head = (stream.read(1) or b"\0")[0]
    major, info = head >> 5, head & 31
    if major != _MAP or info in _RESERVED:
        raise ProtocolError("the body of the message is not a CBOR map")
    if info == _INDEFINITE:
        return None
    return int.from_bytes(stream.read(_LENGTHS[info]), "big") if info in _LENGTHS else info
