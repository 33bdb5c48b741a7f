"""A check value inside a request, for links that have none: who does not know it passes over it, as over any unknown key.

Rule: bytes in, bytes out. The first entry of the message's CBOR map is "crc" with a number of four bytes, the CRC-32 (IEEE) of
all other bytes of the message as it is sent, header first. It stands in front because there no byte that is lost behind it
can make it look like none.
"""

from __future__ import annotations

import zlib

from fieldlog_protocol.wire import HEADER_SIZE

_KEY = b"\x63crc\x1a"
_AT = HEADER_SIZE + 1
_CHECK = _AT + len(_KEY)
_END = _CHECK + 4
_SEALABLE = range(0xA0, 0xB7)
SEAL_SIZE = _END - _AT
"""By so much a request grows."""


def sealed(message: bytes) -> bytes:
    """The message with its check value; as it is where its map has no room for one more entry in its first byte."""
    if len(message) < _AT or message[HEADER_SIZE] not in _SEALABLE:
        return message
    length = len(message) - HEADER_SIZE + SEAL_SIZE
    head = message[:2] + length.to_bytes(2, "big") + message[4:HEADER_SIZE] + bytes([message[HEADER_SIZE] + 1])
    check = _check(head, message[_AT:])
    return b"".join([head, _KEY, check, message[_AT:]])


def is_damaged(message: bytes) -> bool:
    """Whether a message bears a check value that contradicts it, or its key has one bit wrong: no request begins like that."""
    if len(message) < _END:
        return False
    flipped = _flipped(message[_AT:_CHECK])
    if flipped:
        return flipped == 1
    return message[_CHECK:_END] != _check(message[:_AT], message[_END:])


def _flipped(key: bytes) -> int:
    """In how many bits a key differs from ours."""
    return (int.from_bytes(key, "big") ^ int.from_bytes(_KEY, "big")).bit_count()


def _check(head: bytes, rest: bytes) -> bytes:
    return zlib.crc32(rest, zlib.crc32(head)).to_bytes(4, "big")
