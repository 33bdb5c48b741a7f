"""What happened at a moment, as a picture shows it: a line through all panels, with a word where there is room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fieldlog.plot.style import clean

KINDS = ("boot", "start", "stop", "mark", "alarm", "config", "sync")
"""In the order of their weight: of several at one place the first is shown."""
MEANINGS = {
    "boot": "restart",
    "start": "session begins",
    "stop": "session ends",
    "mark": "mark",
    "alarm": "alarm",
    "config": "settings changed",
    "sync": "clock compared",
}
_MAX_TEXT = 28


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is one of KINDS; `text` comes from a device or a user."""

    utc_us: int
    kind: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """Events too close to each other to be told apart, as one."""

    utc_us: int
    kind: str
    text: str


def arrange_events(events: Iterable[Event], begin_us: int, end_us: int, least_us: float) -> list[Shown]:
    """Those between two times, each at least `least_us` after the one before; nearer ones are counted."""
    groups: list[list[Event]] = []
    for event in sorted(events, key=lambda event: event.utc_us):
        if not begin_us <= event.utc_us <= end_us:
            continue
        if groups and event.utc_us - groups[-1][0].utc_us < least_us:
            groups[-1].append(event)
        else:
            groups.append([event])
    return [_as_one(group) for group in groups]


def _as_one(group: Sequence[Event]) -> Shown:
    first = min(group, key=lambda event: KINDS.index(event.kind))
    if first.kind == "sync":  # a clock is compared at every connection: the line alone tells it
        return Shown(first.utc_us, "sync", "")
    words = clean(first.text, _MAX_TEXT) or MEANINGS[first.kind]
    others = sum(event.kind != "sync" for event in group) - 1
    return Shown(first.utc_us, first.kind, f"{words} (+{others})" if others else words)
