"""All that a view shows of a logger, brought up to date by each event. It knows neither screen nor window."""

from __future__ import annotations

from dataclasses import dataclass, field

from fieldlog.live.events import Event, Found, LinkBack, LinkLost
from fieldlog.live.frames import Frames, Layout
from fieldlog.live.trail import Trail
from fieldlog.logger_info import LoggerInfo


@dataclass(slots=True)
class Picture:
    """`trails` by the number of their stream. `trouble` is said of the link, "" while it works.

    `restarts` and `breaks` count what was seen; `frames` and `lost` are of streams that are gone too.
    """

    info: LoggerInfo | None = None
    error_us: int = 0
    trails: dict[int, Trail] = field(default_factory=dict[int, Trail])
    trouble: str = ""
    restarts: int = 0
    breaks: int = 0
    frames: int = 0
    lost: int = 0

    def add(self, event: Event) -> None:
        if isinstance(event, Frames):
            self.frames += len(event)
            self.lost += event.lost
            self.trails[event.stream.id].add(event)
        elif isinstance(event, Found):
            self._found(event)
        elif isinstance(event, LinkLost):
            self.trouble, self.breaks = event.text, self.breaks + 1
        elif isinstance(event, LinkBack):
            self.trouble = ""
        else:
            self._restarted()

    def _restarted(self) -> None:
        """Times of before and after are not as sure of each other as those of one boot."""
        self.restarts += 1
        for trail in self.trails.values():
            trail.forget()

    def _found(self, event: Found) -> None:
        """A stream whose channels are others begins anew."""
        self.info, self.error_us = event.info, event.error_us
        former = self.trails
        self.trails = {
            layout.stream.id: _same(former.get(layout.stream.id), layout) or Trail(layout) for layout in event.layouts
        }


def _same(trail: Trail | None, layout: Layout) -> Trail | None:
    if trail is None or trail.layout.channels != layout.channels:
        return None
    trail.layout = layout
    return trail
