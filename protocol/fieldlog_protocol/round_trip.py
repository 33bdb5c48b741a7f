"""How long the other end takes to answer, and how long to wait for it.

Rule: numbers only; whoever asks brings the times.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of the adaptive timeout, in seconds; the estimate itself follows RFC 6298."""

    initial_s: float = 1.0
    least_s: float = 0.3
    most_s: float = 10.0
    linger_s: float = 30.0
    """How long a reply may still arrive after it was given up."""

    @property
    def longest_s(self) -> float:
        """However often a request has met with silence, longer than this is not waited for the next reply."""
        return max(self.most_s, 4 * self.initial_s)


@dataclass(slots=True)
class RoundTrip:
    """Smoothed round trip and its deviation (RFC 6298 section 2); None before the first sample."""

    bounds: Timeouts

    smoothed_s: float | None = None
    deviation_s: float = 0.0

    def add(self, sample_s: float) -> None:
        if self.smoothed_s is None:
            self.smoothed_s, self.deviation_s = sample_s, sample_s / 2
            return
        self.deviation_s += (abs(self.smoothed_s - sample_s) - self.deviation_s) / 4
        self.smoothed_s += (sample_s - self.smoothed_s) / 8

    @property
    def timeout_s(self) -> float:
        """How long to wait for a reply before it counts as lost."""
        bounds = self.bounds
        if self.smoothed_s is None:
            return bounds.initial_s
        return min(bounds.most_s, max(bounds.least_s, self.smoothed_s + 4 * self.deviation_s))
