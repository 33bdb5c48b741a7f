"""The newest readings of a logger while it goes on recording. This package reads only: nothing is sealed or changed.

async for event in follow(device):
    if isinstance(event, Frames):
        print(event.stream.name, event.columns)
"""

from fieldlog.live.choice import Wanted
from fieldlog.live.events import Event, Found, LinkBack, LinkLost, Restarted
from fieldlog.live.follow import follow
from fieldlog.live.frames import Frames

__all__ = ["Event", "Found", "Frames", "LinkBack", "LinkLost", "Restarted", "Wanted", "follow"]
