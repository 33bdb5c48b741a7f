"""Which of the blocks that arrive belong where they came: a log is read in order of seq.

Rule: a block that stands where its seq does not belong moves nobody: it is skipped, and those around it count. What
comes right behind a hole may be such a stray; the next block tells, so it waits for that one.
"""

from __future__ import annotations

from collections.abc import Iterable

Numbered = tuple[int, bytes]
"""A block in wire form with its seq."""


class BlockOrder:
    """Sorts out a reading that begins at `start` and ends before `stop`."""

    def __init__(self, start: int, stop: int) -> None:
        self.newest = start - 1
        self.skipped = 0
        """Bytes of blocks that stood where they do not belong."""
        self._stop = stop
        self._behind = 0
        self._waiting: list[Numbered] = []

    @property
    def behind(self) -> int:
        """Bytes of blocks behind the newest that belonged: skipped, or waiting for the next one to tell."""
        return self._behind + sum(len(wire) for _, wire in self._waiting)

    def take(self, blocks: Iterable[Numbered], *, final: bool) -> list[Numbered]:
        """Those that belong here; with `final` no more will come. A last one beyond a hole at the end tells nothing."""
        queue = [*self._waiting, *blocks]
        self._waiting = []
        taken: list[Numbered] = []
        for index, (seq, wire) in enumerate(queue):
            following = next((after for after, _ in queue[index + 1 : index + 2]), None)
            if seq > self.newest + 1 and following is None:
                self._waiting = [] if final else [(seq, wire)]
                if not final or seq >= self._stop:
                    break
            if seq <= self.newest or (following is not None and self.newest < following <= seq):
                self.skipped += len(wire)
                self._behind += len(wire)
                continue
            taken.append((seq, wire))
            self.newest, self._behind = seq, 0
        return taken
