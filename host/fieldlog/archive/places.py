"""Where derived readings lie: folders and files whose names no device can choose.

    readings/device=uid-0011aa/session=3/stream=0_climate/c0ffee00-00000000-00000fff.parquet

A file holds the readings of the blocks of one log (its id) with a seq from the first to the last one named. Rule of this
module: no value of a folder looks like a number or a date where it is a name, since readers guess the type by looks.
"""

from __future__ import annotations

import re

from fieldlog_protocol.blocks.schema import Stream

WINDOW = 4096
"""Blocks of one file, whichever are there: what arrives later never moves the border of another file."""
_NAME = re.compile(
    r"device=uid-[0-9a-f]*/session=\d+/stream=\d+_[a-z0-9_]+/[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}\.parquet"
)


def device_value(uid: str) -> str:
    return f"uid-{uid}"


def stream_value(stream: Stream) -> str:
    """The stream's number and what its name has in plain letters and digits."""
    name = re.sub("[^a-z0-9]+", "_", stream.name.lower()).strip("_")[:40].rstrip("_")
    return f"{stream.id}_{name}" if name[:1].isalpha() else f"{stream.id}_stream{name and '_'}{name}"


def file_name(uid: str, log_id: int, session: int, stream: Stream, seqs: range) -> str:
    """The path inside the folder of readings, with slashes."""
    window = f"{log_id:08x}-{seqs.start:08x}-{seqs.stop - 1:08x}.parquet"
    return f"device={device_value(uid)}/session={session}/stream={stream_value(stream)}/{window}"


def is_ours(name: str) -> bool:
    """Whether a path inside the folder of readings is one that `file_name` makes."""
    return _NAME.fullmatch(name) is not None
