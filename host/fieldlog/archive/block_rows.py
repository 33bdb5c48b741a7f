"""Blocks as rows of the table that keeps them: the wire form, and beside it what reading is planned by.

Rule of this module: all columns but the moment of arrival follow from the block itself, so that a row tells whether it
is still what was stored.
"""

from __future__ import annotations

from fieldlog.clock_sync import MAX_TICK
from fieldlog_protocol.blocks.block import is_whole, parse_block

COLUMNS = "log, seq, crc, kind, stream, session, schema_id, boot_id, t0, span, n_frames, utc, flags, dropped, received_us, data"
_DERIVED = [name for name in COLUMNS.split(", ") if name not in ("log", "seq", "crc", "received_us")]
# A block that is there already stays as it is, unless its copy here is not what was once stored.
INSERT = (
    f"INSERT INTO blocks ({COLUMNS}) VALUES ({', '.join('?' * len(COLUMNS.split(', ')))}) "
    f"ON CONFLICT (log, seq, crc) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _DERIVED)} "
    f"WHERE ({', '.join(_DERIVED)}) IS NOT ({', '.join(f'excluded.{name}' for name in _DERIVED)})"
)


def block_row(log: int, wire: bytes, received_us: int) -> tuple[int | bytes, ...]:
    block = parse_block(wire)
    header = block.header
    return (
        log,
        header.seq,
        int.from_bytes(wire[-4:], "little"),
        header.kind,
        header.stream,
        header.session,
        header.schema_id,
        header.boot_id,
        min(header.t0, MAX_TICK),  # no device counts so far; what claims to is kept whole, in `data`
        min(block.span, MAX_TICK),
        block.n_frames,
        header.utc,
        header.flags,
        header.dropped,
        received_us,
        bytes(wire),
    )


def is_sound(seq: int, crc: int, data: bytes) -> bool:
    """Whether a block is whole and stands where it belongs."""
    return is_whole(data) and (int.from_bytes(data[4:8], "little"), int.from_bytes(data[-4:], "little")) == (seq, crc)
