"""Whose blocks lie where in a dump: blocks do not name their log, only the descriptions among them do.

Rule of this module: never guess. A device writes its blocks one behind the other, so what follows a description, seq by
seq, is of the log that it names, up to the next description; where that one names another log, nothing says at which
block the one ended and the other began. What lies apart from any description, because a block was torn or sealed late,
is of the log that it lies amidst. Where pages of several logs lie in turns, a number that comes twice or a wide hole that
is filled later gives them away; then descriptions alone are believed. Memory grows with the changes from log to log, not
with the dump.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from fieldlog.archive.records import LONGEST_UID
from fieldlog_protocol.blocks.block import HEADER, TRAILER, Kind
from fieldlog_protocol.blocks.schema import SchemaPart, parse_schema_part
from fieldlog_protocol.errors import BlockError

Identity = tuple[bytes, int]
"""uid and log_id."""
Sample = tuple[int, int]
"""seq and CRC of a block."""

_REACH = 256  # between blocks of one log that lie side by side, one of them sealed late or some of them torn
_BESIDE = 4  # runs of blocks that are compared with each other
_OPEN = 4  # blocks at most that are open at a time, so that the holes they leave are sealed late
_HOLES = 32  # of a log that are remembered
_SAMPLES = 4


@dataclass(slots=True)
class _Order:
    """How the numbers of one log go on: they rise, and once, where the ring does, they may begin lower; what was sealed
    late fills a narrow hole. `top`: where they began lower."""

    newest: int
    top: int | None = None
    holes: list[range] = field(default_factory=list[range])

    def takes(self, run: _Run) -> bool:
        """Whether this may be the next run of the log. Behind a wide hole only one that is known to be of it may."""
        if any(run.first_seq in hole for hole in self.holes):
            return True
        hole = range(self.newest + 1, run.first_seq)
        if len(hole) > _OPEN and run.whose is None:
            return False
        if 0 < len(hole) <= _OPEN:
            self.holes = [*self.holes[1 - _HOLES :], hole]
        if run.first_seq <= self.newest:
            if self.top is not None:
                return False
            self.top = self.newest
        self.newest = run.last_seq
        return self.top is None or run.last_seq <= self.top


@dataclass(slots=True)
class _Run:
    """Blocks that follow each other. `named`: the first of them is a description; `sure`: one of the same log follows the
    last, too; `second`: where the one behind the first begins."""

    offset: int
    first_seq: int
    last_seq: int
    whose: Identity | None = None
    named: bool = False
    sure: bool = False
    second: int | None = None
    doubtful: bool = False
    blocks: int = 0
    samples: list[Sample] = field(default_factory=list[Sample])
    order: _Order = field(default_factory=lambda: _Order(0))

    def add(self, offset: int, seq: int, crc: int) -> None:
        self.blocks += 1
        self.last_seq = self.order.newest = seq
        if self.blocks == 2:
            self.second = offset
        if len(self.samples) < _SAMPLES:
            self.samples.append((seq, crc))

    def is_near(self, other: _Run) -> bool:
        return self.first_seq <= other.last_seq + _REACH and self.last_seq >= other.first_seq - _REACH

    def repeats(self, other: _Run) -> bool:
        """Whether both have blocks of the same number, and do not begin with the very same one, as copies do."""
        both = self.first_seq <= other.last_seq and other.first_seq <= self.last_seq
        return both and self.samples[0] != other.samples[0]

    def doubt(self) -> None:
        self.whose, self.doubtful = None, True


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
            if before.whose not in (None, whose):
                self._doubt(len(self._runs) - 1)
            elif not before.doubtful:
                before.whose, before.sure = whose, before.named
        self._begin(_Run(offset, seq, seq, whose, named=True))

    def _doubt(self, at: int) -> None:
        """Of a run in which another log's blocks may be only the description that it begins with is certain."""
        run = self._runs[at]
        if not run.named:
            run.doubt()
            return
        if at and not self._runs[at - 1].named and self._runs[at - 1].last_seq + 1 == run.first_seq:
            self._runs[at - 1].doubt()
        if run.second is not None:
            rest = _Run(run.second, run.first_seq + 1, run.last_seq, doubtful=True)
            rest.blocks, rest.samples = run.blocks - 1, run.samples[1:]
            run.blocks, run.last_seq, run.second = 1, run.first_seq, None
            run.order = _Order(run.first_seq)
            self._runs.insert(at + 1, rest)

    def _begin(self, run: _Run) -> None:
        self._compare()
        self._join(len(self._runs) - _BESIDE)
        self._runs.append(run)

    def _compare(self) -> None:
        """Two runs that lie near each other and have the same numbers: somewhere in them one log becomes another."""
        if not self._runs:
            return
        last = self._runs[-1]
        for at in range(len(self._runs) - 2, max(-1, len(self._runs) - 1 - _BESIDE), -1):
            if self._runs[at].sure or not last.repeats(self._runs[at]):
                continue
            if not last.named:
                last.doubt()
                self._doubt(at)
            elif self._runs[at].whose is None:
                self._runs[at].doubt()

    def _join(self, index: int) -> int:
        """This run, those of the same log before it and those between that are near become one; how many fewer there are,
        as a negative number."""
        if index <= 0:
            return 0
        last = self._runs[index]
        if last.doubtful and self._runs[index - 1].doubtful:
            self._runs[index - 1].blocks += last.blocks
            del self._runs[index]
            return -1
        if last.whose is None:
            return 0
        at = index - 1
        while at >= 0 and self._runs[at].whose is None and not self._runs[at].doubtful and last.is_near(self._runs[at]):
            at -= 1
        if at < 0 or self._runs[at].whose != last.whose:
            return 0
        order = _order(self._runs[at : index + 1])
        if order is None:
            for other in self._runs[at + 1 : index]:
                other.doubt()
            return 0
        kept, joined = self._runs[at], self._runs[at + 1 : index + 1]
        kept.order = order
        del self._runs[at + 1 : index + 1]
        kept.blocks += sum(other.blocks for other in joined)
        kept.first_seq = min(kept.first_seq, *(other.first_seq for other in joined))
        kept.last_seq = max(kept.last_seq, *(other.last_seq for other in joined))
        return -len(joined)

    def settle(self, known: Callable[[list[Sample]], Identity | None]) -> None:
        """Find the log of the runs without a description; `known` tells whose some blocks are, if anybody knows."""
        self._compare()
        index = max(0, len(self._runs) - _BESIDE)
        while index < len(self._runs):
            index += 1 + self._join(index)
        settled = [run.whose or self._only() or (None if run.doubtful else known(run.samples)) for run in self._runs]
        for run, whose in zip(self._runs, settled, strict=True):
            run.whose = whose
            if whose is not None:
                self.found.setdefault(whose, None)
        self._offsets = [run.offset for run in self._runs]

    def _only(self) -> Identity | None:
        return next(iter(self.found)) if len(self.found) == 1 else None

    def whose(self, offset: int) -> Identity | None:
        """The log of the block that begins at `offset`."""
        return self._runs[max(0, bisect_right(self._offsets, offset) - 1)].whose


def _order(runs: list[_Run]) -> _Order | None:
    """How the numbers of these go on, None if they cannot be one log's."""
    first = runs[0].order
    order = _Order(first.newest, first.top, first.holes)
    return order if all(order.takes(run) for run in runs[1:]) else None


def _description(wire: bytes) -> SchemaPart | None:
    if wire[2] & 0x0F != Kind.SCHEMA:
        return None
    try:
        part = parse_schema_part(wire[HEADER.size : -TRAILER.size])
    except BlockError:
        return None
    return part if 0 < len(part.uid) <= LONGEST_UID and 0 <= part.log_id < 2**32 else None
