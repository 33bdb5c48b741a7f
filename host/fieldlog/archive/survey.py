"""Whose blocks lie where in a dump: blocks do not name their log, only the descriptions among them do.

Rule of this module: never guess. A device writes its blocks one behind the other, so what follows a description, seq by
seq, is of the log that it names, up to the next description; where that one names another log, nothing says at which
block the one ended and the other began. What lies apart from any description, because a block was torn or sealed late,
is of the log that it lies amidst. Memory grows with the changes from log to log, not with the dump.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from fieldlog_protocol.blocks.block import HEADER, TRAILER, Kind
from fieldlog_protocol.blocks.schema import SchemaPart, parse_schema_part
from fieldlog_protocol.errors import BlockError

Identity = tuple[bytes, int]
"""uid and log_id."""
Sample = tuple[int, int]
"""seq and CRC of a block."""

_REACH = 256  # between blocks of one log that lie side by side, one of them sealed late or some of them torn
_SAMPLES = 4
_MAX_UID = 64


@dataclass(slots=True)
class _Run:
    """Blocks that follow each other. `second`: where the one behind the first begins."""

    offset: int
    first_seq: int
    last_seq: int
    whose: Identity | None = None
    second: int | None = None
    doubtful: bool = False
    blocks: int = 0
    samples: list[Sample] = field(default_factory=list[Sample])

    def add(self, offset: int, seq: int, crc: int) -> None:
        self.blocks += 1
        self.last_seq = seq
        if self.blocks == 2:
            self.second = offset
        if len(self.samples) < _SAMPLES:
            self.samples.append((seq, crc))

    def is_near(self, other: _Run) -> bool:
        return self.first_seq <= other.last_seq + _REACH and self.last_seq >= other.first_seq - _REACH


class Survey:
    """Give it all blocks of a dump in their order, then `settle`. `found`: the logs, with a description of each."""

    def __init__(self) -> None:
        self.found: dict[Identity, SchemaPart | None] = {}
        self._runs: list[_Run] = []
        self._offsets: list[int] = []

    @property
    def blocks(self) -> int:
        return sum(run.blocks for run in self._runs)

    def add(self, offset: int, wire: bytes) -> None:
        seq, crc = int.from_bytes(wire[4:8], "little"), int.from_bytes(wire[-4:], "little")
        part = _description(wire)
        if part is not None:
            self._described(offset, seq, part)
        elif not self._follows(seq):
            self._begin(_Run(offset, seq, seq))
        self._runs[-1].add(offset, seq, crc)

    def _follows(self, seq: int) -> bool:
        return bool(self._runs) and seq == self._runs[-1].last_seq + 1

    def _described(self, offset: int, seq: int, part: SchemaPart) -> None:
        whose = (part.uid, part.log_id)
        self.found[whose] = part
        if self._follows(seq):
            before = self._runs[-1]
            if before.whose is None:
                before.whose = whose
            elif before.whose != whose:
                self._doubt(before)
        self._begin(_Run(offset, seq, seq, whose))

    def _doubt(self, run: _Run) -> None:
        """Of a run that goes over into another log's only the description that it begins with is certain."""
        if run.second is None:
            return
        rest = _Run(run.second, run.first_seq + 1, run.last_seq, doubtful=True)
        rest.blocks, rest.samples = run.blocks - 1, run.samples[1:]
        run.blocks, run.last_seq, run.second = 1, run.first_seq, None
        self._runs.append(rest)

    def _begin(self, run: _Run) -> None:
        self._join()
        self._runs.append(run)

    def _join(self) -> None:
        """The last run, those of the same log before it and those between that are near become one."""
        last = self._runs[-1] if self._runs else None
        if last is None or last.whose is None:
            return
        at = len(self._runs) - 2
        while at >= 0 and self._runs[at].whose is None and not self._runs[at].doubtful and last.is_near(self._runs[at]):
            at -= 1
        if at < 0 or self._runs[at].whose != last.whose:
            return
        kept, joined = self._runs[at], self._runs[at + 1 :]
        del self._runs[at + 1 :]
        kept.blocks += sum(other.blocks for other in joined)
        kept.first_seq = min(kept.first_seq, *(other.first_seq for other in joined))
        kept.last_seq = max(kept.last_seq, *(other.last_seq for other in joined))

    def settle(self, known: Callable[[list[Sample]], Identity | None]) -> None:
        """Find the log of the runs without a description; `known` tells whose some blocks are, if anybody knows."""
        owned = [run for run in self._runs if run.whose is not None]
        settled = [run.whose or self._only() or self._neighbour(run, owned) or known(run.samples) for run in self._runs]
        for run, whose in zip(self._runs, settled, strict=True):
            run.whose = whose
            if whose is not None:
                self.found.setdefault(whose, None)
        self._offsets = [run.offset for run in self._runs]

    def _only(self) -> Identity | None:
        return next(iter(self.found)) if len(self.found) == 1 else None

    def _neighbour(self, run: _Run, owned: list[_Run]) -> Identity | None:
        """The log whose blocks lie on both sides."""
        at = bisect_right(owned, run.offset, key=lambda other: other.offset)
        beside = [other for other in owned[max(0, at - 1) : at + 1] if run.is_near(other)]
        if run.doubtful or len(beside) < 2 or beside[0].whose != beside[1].whose:
            return None
        return beside[0].whose

    def whose(self, offset: int) -> Identity | None:
        """The log of the block that begins at `offset`."""
        return self._runs[max(0, bisect_right(self._offsets, offset) - 1)].whose


def _description(wire: bytes) -> SchemaPart | None:
    if wire[2] & 0x0F != Kind.SCHEMA:
        return None
    try:
        part = parse_schema_part(wire[HEADER.size : -TRAILER.size])
    except BlockError:
        return None
    return part if 0 < len(part.uid) <= _MAX_UID and 0 <= part.log_id < 2**32 else None
