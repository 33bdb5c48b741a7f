"""What a bad link does to frames, from a seed. This file knows neither links nor time: it says what becomes of a frame.

The two directions of each link draw from generators of their own, so that the faults of one do not depend on how its
frames interleave with those of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from fieldlog_protocol.errors import UsageError


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities per frame or datagram, each direction for itself. Datagrams bear a checksum, so that a corrupt one is
    lost.

    A delayed frame comes up to `delay_s` later: on datagrams others overtake it, on a serial line they wait.
    A disconnect takes the link away for `away_s`.
    """

    seed: int = 0
    loss: float = 0.0
    corrupt: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    disconnect: float = 0.0
    delay_s: float = 0.05
    away_s: float = 0.5

    def __post_init__(self) -> None:
        for name in ("loss", "corrupt", "duplicate", "delay", "disconnect"):
            probability = getattr(self, name)
            if not 0.0 <= probability <= 1.0:
                raise UsageError(f"{name} is a probability from 0 to 1, not {probability}")

    def direction(self, name: str, *, datagrams: bool = False) -> Direction | None:
        """The faults of one direction of one link; None where nothing can happen."""
        if not any((self.loss, self.corrupt, self.duplicate, self.delay, self.disconnect)):
            return None
        return Direction(self, Random(f"{self.seed}/{name}"), datagrams=datagrams)


class Arrival(NamedTuple):
    """What comes out at the other end, `delay_s` later than it should."""

    data: bytes
    delay_s: float = 0.0


class Direction:
    """The dice of one direction. Every frame rolls the same number of times, whatever becomes of it."""

    def __init__(self, faults: Faults, random: Random, *, datagrams: bool) -> None:
        self._datagrams = datagrams
        self._faults = faults
        self._random = random

    def arrivals(self, frame: bytes) -> list[Arrival]:
        """Nothing, the frame, or several of it."""
        faults, roll = self._faults, self._random.random
        lost, corrupt, twice, late = (
            roll() < faults.loss,
            roll() < faults.corrupt,
            roll() < faults.duplicate,
            roll() < faults.delay,
        )
        damaged = self._damaged(frame)
        delay_s = roll() * faults.delay_s
        if lost:
            return []
        found = [Arrival(damaged if corrupt else frame, delay_s if late else 0.0)]
        if corrupt and self._datagrams:
            found.clear()
        return [*found, Arrival(frame)] if twice else found

    def disconnects(self) -> bool:
        return self._random.random() < self._faults.disconnect

    @property
    def away_s(self) -> float:
        return self._faults.away_s

    def _damaged(self, frame: bytes) -> bytes:
        """One bit of one byte turned over."""
        position, bit = self._random.random(), self._random.randrange(8)
        if not frame:
            return frame
        damaged = bytearray(frame)
        damaged[int(position * len(damaged))] ^= 1 << bit
        return bytes(damaged)
