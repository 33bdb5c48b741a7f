"""How many replies to ask for at once, where only one request may be under way.

Rule: numbers only. A burst is as long as the line shows itself worth it: the device cannot be stopped in one, and on a
line that loses, what follows a loss may be lost with it.
"""

from __future__ import annotations

_FIRST, _LEAST, _MOST = 4, 2, 255
_LONGEST_S = 1.0
_LARGEST = 1 << 16
_MEMORY = 8


class Bursts:
    """`most`: replies of the next burst, 1 where each is to be asked for alone."""

    def __init__(self, *, possible: bool) -> None:
        self.most = _FIRST if possible else 1
        self._came = 0
        self._mean_s = 0.0

    def count(self, size: int, to_come: int | None) -> int:
        """Replies of at most `size` bytes to ask for now, where about `to_come` bytes are left."""
        if self.most == 1 or to_come is None:
            return min(self.most, _FIRST)
        return max(1, min(self.most, _LARGEST // size, 1 + to_come // size))

    def came(self, took_s: float) -> None:
        """A reply came, `took_s` after the one before."""
        self._came += 1
        self._mean_s += (took_s - self._mean_s) / min(self._came, _MEMORY)
        if self.most > 1 and self._came >= self.most:
            self._came = 0
            longest = int(_LONGEST_S / self._mean_s) if self._mean_s * _MOST > _LONGEST_S else _MOST
            self.most = max(_LEAST, min(2 * self.most, longest, _MOST))

    def failed(self, *, ended: bool) -> None:
        """Some of a burst did not come: lost, or the device `ended` it, which it will again."""
        self.most = 1 if ended else max(_LEAST, self.most // 4)
        self._came = 0
