"""Answers that came over BLE in several pieces are asked for again, until two are the same.

Rule: nothing here knows the link. The radio checks each piece and keeps their order, and SMP has no check value for what
they make up. Systems above the radio misplace pieces all the same: Windows and Android hand notifications on by several
threads, and enhanced ATT sends them by several channels. Where two pieces of one length change places, in a message or
between two, what comes out may well be a valid answer.

So the answer to a question is believed if it came in one piece, if something else vouches for it (CRCs of blocks, hashes of files), or
if it came twice; three times on a link where pieces were seen to go astray, as there the same ones may do so again.
"""

from __future__ import annotations

from typing import Any, cast

from fieldlog_protocol.commands import Command, Op, fs, logger, os, stat
from fieldlog_protocol.errors import ProtocolError
from fieldlog_protocol.wire import decode_map

MOST_ASKED = 8
"""So often is one thing asked for, before what the device answers to it counts as different each time."""

_VOUCHED_FOR = frozenset(
    command.key
    for command in (
        logger.BLOCKS,  # each block has a CRC
        fs.READ,  # the whole file's hash is compared, and whoever has none is told so
        logger.CLOCK_PROBE,  # several are compared, and one that took longer is worth less
        logger.LATEST,  # is another one a moment later
    )
)
_LIVE = frozenset(command.key for command in (logger.INFO, os.TASKSTAT, os.MPSTAT, os.DATETIME_READ, stat.DATA))
"""What counts on while it is asked for: only its numbers may differ."""


def needs_one(command: Command[Any, Any], size: int, piece: int) -> bool:
    """Whether an answer of `size` bytes is to be asked for again, where a piece is `piece` bytes long, 0 for whole ones.

    Not after a write: what it answers is known better by reading, and a device may refuse what it has done already.
    """
    if not 0 < piece < size or not command.repeatable:
        return False
    return (command.op == Op.READ or command is os.ECHO) and command.key not in _VOUCHED_FOR


class SecondLook:
    """The answers so far to one request."""

    def __init__(self, command: Command[Any, Any]) -> None:
        self._live = command.key in _LIVE
        self._heard: list[bytes] = []

    def believes(self, payload: bytes, *, astray: bool) -> bool:
        """Whether this one is right; else it is to be asked for again. Raises ProtocolError if that makes no sense.

        `astray`: whether pieces were seen to be lost, doubled or misplaced on this link.
        """
        before = self._heard[-1] if self._heard else None
        self._heard.append(payload)
        if self._heard.count(payload) >= (3 if astray else 2):
            return True
        last = len(self._heard) >= MOST_ASKED
        if before is not None and (self._live or last) and _alike(decode_map(before), decode_map(payload)):
            return True
        if last:
            raise ProtocolError(
                f"of {MOST_ASKED} answers too few are the same. Pieces of messages go astray on this link"
            )
        return False


def _alike(one: object, other: object) -> bool:
    """Whether only numbers differ."""
    if _is_number(one) and _is_number(other):
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        first, second = cast("dict[str, object]", one), cast("dict[str, object]", other)
        return list(first) == list(second) and all(map(_alike, first.values(), second.values()))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        former, latter = cast("list[object]", one), cast("list[object]", other)
        return len(former) == len(latter) and all(map(_alike, former, latter))
    return one == other


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
