"""What happened at a moment, as a picture shows it: a line through the panels of its device, with a word where there is room."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

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
_MAX_TEXT, _MAX_LABEL = 28, 16
_REACH = 0.05
"""So far beyond the readings, in shares of their time, a picture goes for an event."""
AROUND_US = 30_000_000
"""What is seen before and after a single moment."""


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is one of KINDS; `text` comes from a device or a user. `label`: what its device is called; without one it is an
    event of all of them."""

    utc_us: int
    kind: str
    text: str = ""
    label: str = ""

    @property
    def words(self) -> str:
        return self.text if self.text.strip() else MEANINGS[self.kind]


@dataclass(frozen=True, slots=True)
class Shown:
    """Events too close to each other to be told apart, as one."""

    utc_us: int
    kind: str
    text: str


def events_of(labels: Collection[str], events: Sequence[Event]) -> list[Event]:
    """The events of a panel whose lines have these labels. Lines without one may be of any device. Where the events may be
    those of several the label stays with each; else there is none."""
    of_all = "" in labels
    found = [event for event in events if of_all or event.label in labels or not event.label]
    several = len({event.label for event in events} if of_all else labels) > 1
    return found if several else [replace(event, label="") for event in found]


def stretched(events: Iterable[Event], begin_us: int, end_us: int) -> tuple[int, int]:
    """From when to when a picture of readings between two times goes, for the events that lie near. Clocks are compared
    wherever somebody connects: for them alone it does not."""
    reach_us = max(round(_REACH * (end_us - begin_us)), AROUND_US if begin_us == end_us else 0)
    near = [
        event.utc_us
        for event in events
        if event.kind != "sync" and begin_us - reach_us <= event.utc_us <= end_us + reach_us
    ]
    return min([begin_us, *near]), max([end_us, *near])


def marks_outside(events: Sequence[Event], begin_us: int, end_us: int) -> int:
    """How many marks are in no picture of readings between two times, as they lie too far from them."""
    first_us, last_us = stretched(events, begin_us, end_us)
    return sum(event.kind == "mark" and not first_us <= event.utc_us <= last_us for event in events)


def arrange_events(events: Iterable[Event], begin_us: int, end_us: int, least_us: float) -> list[Shown]:
    """Those between two times, each at least `least_us` after the one before; nearer ones are counted. Comparisons of clocks
    have places of their own at the top, and come last."""
    inside = sorted((event for event in events if begin_us <= event.utc_us <= end_us), key=lambda event: event.utc_us)
    others, syncs = ([event for event in inside if (event.kind == "sync") is is_sync] for is_sync in (False, True))
    return [_as_one(group) for some in (others, syncs) for group in _grouped(some, least_us)]


def _grouped(events: Iterable[Event], least_us: float) -> list[list[Event]]:
    groups: list[list[Event]] = []
    for event in events:
        if groups and event.utc_us - groups[-1][0].utc_us < least_us:
            groups[-1].append(event)
        else:
            groups.append([event])
    return groups


def _as_one(group: Sequence[Event]) -> Shown:
    first = min(group, key=lambda event: KINDS.index(event.kind))
    if first.kind == "sync":  # a clock is compared at every connection: the line alone tells it
        return Shown(first.utc_us, "sync", "")
    words = clean(first.words, _MAX_TEXT)
    if first.label:
        words = f"{clean(first.label, _MAX_LABEL)}: {words}"
    others = len(group) - 1
    return Shown(first.utc_us, first.kind, f"{words} (+{others})" if others else words)
