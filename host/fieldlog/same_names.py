"""Channels that several streams of one session have under one name and unit, such as two sensors of a kind.

Rule of this module: they are never one column or one line. Each is told apart by the name of its stream, in tables and in
pictures alike; all others keep the name that the device gave them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import NamedTuple


class Owner(NamedTuple):
    """A channel of a stream in a session."""

    session: Hashable
    stream: int
    name: str
    unit: str


def shared_names(owners: Iterable[Owner]) -> frozenset[tuple[str, str]]:
    """The (name, unit) that several streams of one session have."""
    counts = Counter((owner.session, owner.name, owner.unit) for owner in set(owners))
    return frozenset((name, unit) for (_, name, unit), count in counts.items() if count > 1)


def title_of(stream: str, name: str) -> str:
    """What such a channel is called."""
    return f"{stream}: {name}"
