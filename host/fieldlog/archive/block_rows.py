"""Blocks as rows of the table that keeps them: the wire form, and beside it what reading is planned by.

Rule of this module: all columns but the moment of arrival follow from the block itself, so that a row tells whether it
is still what was stored.
"""

from __future__ import annotations

from typing import Any

from fieldlog.clock_sync import MAX_TICK
from fieldlog_protocol.blocks.block import HEADER, TRAILER, VERSION, has_header, is_whole, parse_block
from fieldlog_protocol.errors import BlockError

COLUMNS = "log, seq, crc, kind, stream, session, schema_id, boot_id, t0, span, n_frames, utc, flags, dropped, received_us, data"
_DERIVED = [name for name in COLUMNS.split(", ") if name not in ("log", "seq", "crc", "received_us")]
_FORMAT_AT = 2
_KIND = 0x0F
# A block that is there already stays as it is, unless its copy here is not what was once stored.
INSERT = (
    f"INSERT INTO blocks ({COLUMNS}) VALUES ({', '.join('?' * len(COLUMNS.split(', ')))}) "
    f"ON CONFLICT (log, seq, crc) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _DERIVED)} "
    f"WHERE ({', '.join(_DERIVED)}) IS NOT ({', '.join(f'excluded.{name}' for name in _DERIVED)})"
)


def block_row(log: int, wire: bytes, received_us: int) -> tuple[int | bytes, ...]:
    """The row of a block in wire form; BlockError when it is damaged, or of a format that is not known here."""
    if not (has_header(wire) and is_whole(wire) and wire[_FORMAT_AT] >> 4 == VERSION):
        parse_block(wire)  # says what is wrong with it
    _, form, _, seq, t0, utc, boot_id, session, stream, schema_id, _, flags, dropped, _ = HEADER.values(wire)
    n_frames, _, span, crc = TRAILER.values(wire, len(wire) - TRAILER.size)
    return (
        log,
        seq,
        crc,
        form & _KIND,
        stream,
        session,
        schema_id,
        boot_id,
        min(t0, MAX_TICK),  # no device counts so far; what claims to is kept whole, in `data`
        min(span, MAX_TICK),
        n_frames,
        utc,
        flags,
        dropped,
        received_us,
        bytes(wire),
    )


def is_as_stored(row: tuple[Any, ...]) -> bool:
    """Whether a row of all columns is what was once stored: a whole block, and beside it what it says."""
    try:
        return row == block_row(row[0], row[-1], row[-2])
    except BlockError:
        return False


def is_sound(seq: int, crc: int, data: bytes) -> bool:
    """Whether a block is whole and stands where it belongs."""
    return is_whole(data) and (int.from_bytes(data[4:8], "little"), int.from_bytes(data[-4:], "little")) == (seq, crc)
