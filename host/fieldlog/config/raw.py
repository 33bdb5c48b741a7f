"""Settings whose type nobody knows, as on a stock SMP device: words say how their bytes are written.

Rule: no I/O. Numbers are little endian, as on nearly every microcontroller.
"""

from __future__ import annotations

import struct

from fieldlog.config.values import HEX, SWITCH_WORDS
from fieldlog_protocol.errors import UsageError

WHOLE_FORMS = {"u8": "<B", "i8": "<b", "u16": "<H", "i16": "<h", "u32": "<I", "i32": "<i", "u64": "<Q", "i64": "<q"}
REAL_FORMS = {"f32": "<f", "f64": "<d"}
PREFIXES = ("hex", "str", *WHOLE_FORMS, *REAL_FORMS, "bool")


def parse_raw(words: str) -> bytes:
    """The bytes that words such as `hex:01ff`, `str:text`, `u32:10`, `f64:2.5` and `bool:on` stand for."""
    prefix, colon, rest = words.partition(":")
    if not colon or prefix not in PREFIXES:
        raise UsageError(
            f"{words!r} does not say how to write its bytes: nothing describes this setting's type, so begin with one of "
            f"{', '.join(f'{known}:' for known in PREFIXES)}"
        )
    try:
        return _bytes(prefix, rest)
    except (ValueError, LookupError, struct.error, OverflowError):
        raise UsageError(f"{words!r}: {rest!r} is no {prefix} value") from None


def _bytes(prefix: str, words: str) -> bytes:
    if prefix == "hex":
        return bytes.fromhex(words)
    if prefix == "str":
        return words.encode()
    if prefix == "bool":
        return bytes([SWITCH_WORDS[words.lower()]])
    if prefix in WHOLE_FORMS:
        return struct.pack(WHOLE_FORMS[prefix], int(words, 0))
    return struct.pack(REAL_FORMS[prefix], float(words))


def show_raw(data: bytes) -> str:
    """Bytes of unknown type as `parse_raw` takes them: as text where they can only be text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"{HEX}{data.hex()}"
    return f"str:{text}" if text and text.isprintable() else f"{HEX}{data.hex()}"
