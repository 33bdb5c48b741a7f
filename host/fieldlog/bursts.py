"""How many replies to ask for at once, where only one request may be under way.

Rule: numbers only. A burst is as long as the line shows itself worth it: the device cannot be stopped in one, and on a
line that loses, what follows a loss may be lost with it. Until a reply has come by itself nothing is known of the line's
pace, nor whether the device goes on at all: then a short burst is asked for.
"""

from __future__ import annotations

_LEAST, _MOST = 2, 255
_UNKNOWN = 4  # replies at most while nothing tells how many are left
_LONGEST_S = 1.0
_LARGEST = 1 << 16
_TRIAL = 512
"""Bytes of a reply before the pace is known: twice as much takes about a second on the slowest line in use, 9600 baud."""
_MEMORY = 8


class Bursts:
    """`most`: replies of the next burst, 1 where each is to be asked for alone."""

    def __init__(self, *, possible: bool) -> None:
        self.most = _LEAST if possible else 1
        self._came = 0
        self._paced = 0
        self._pace_s = 0.0  # of a byte

    def size(self, room: int) -> int:
        """Bytes of each reply of the next burst, of which there is room for `room`."""
        return room if self._paced or self.most == 1 else min(room, _TRIAL)

    def count(self, size: int, to_come: int | None) -> int:
        """Replies of at most `size` bytes to ask for now, where about `to_come` bytes are left."""
        known = _UNKNOWN if to_come is None else -(-to_come // size)
        return max(1, min(self.most, known, self._longest(size)))

    def _longest(self, size: int) -> int:
        if not self._paced:
            return _LEAST
        one_s, most = size * self._pace_s, _LARGEST // size
        return int(_LONGEST_S / one_s) if one_s * most > _LONGEST_S else most

    def came(self, size: int, took_s: float, *, by_itself: bool) -> None:
        """A reply with `size` bytes came, `took_s` after the one before if the device sent it `by_itself`."""
        if by_itself and size:
            self._paced += 1
            self._pace_s += (took_s / size - self._pace_s) / min(self._paced, _MEMORY)
        self._came += 1
        if self.most > 1 and self._came >= self.most:
            self._came = 0
            self.most = max(_LEAST, min(2 * self.most, _MOST, self._longest(max(1, size))))

    def failed(self, *, ended: bool) -> None:
        """Some of a burst did not come: lost, or the device `ended` it. One that never went on will not do so later."""
        self.most = 1 if ended and not self._paced else max(_LEAST, self.most // 4)
        self._came = 0
