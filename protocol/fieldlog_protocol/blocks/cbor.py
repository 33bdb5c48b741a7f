"""CBOR payloads of SCHEMA and EVENT blocks to and from typed structs.

Rule of this module: a payload is exactly one CBOR item; whatever else it is, BlockError is all that comes out.
Unknown keys are ignored, so that a newer firmware's blocks stay readable.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, TypeVar

import cbor2
import msgspec

from fieldlog_protocol.errors import BlockError

T = TypeVar("T")


def dumps(value: object) -> bytes:
    """Structs become maps under their short keys; fields at their default are left out where the struct says so."""
    return cbor2.dumps(msgspec.to_builtins(value, builtin_types=(bytes,)))


def loads(payload: bytes, type_: type[T]) -> T:
    """The one item of `payload` as `type_`."""
    stream = BytesIO(payload)
    try:
        item: Any = cbor2.CBORDecoder(stream).decode()
        value = msgspec.convert(item, type_)
    except (cbor2.CBORDecodeError, msgspec.ValidationError, RecursionError, OverflowError) as error:
        raise BlockError(f"the payload does not hold what its block kind says: {error}") from error
    if stream.tell() != len(payload):
        raise BlockError(f"{len(payload) - stream.tell()} bytes stand behind the payload's one item")
    return value
