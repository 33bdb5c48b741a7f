"""What the names of the Parquet files of an archive tell of the readings in them, beside what a reader of times opens.

Rule of this module: it looks at names and counts alone, and opens no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from fieldlog.archive.dataset import manifest_of
from fieldlog.archive.manifest import read
from fieldlog.archive.plan import chosen_channels

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.source import Source
    from fieldlog.archive.store import Archive
    from fieldlog_protocol.blocks.schema import Channel


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the readings of a file come from."""

    source: Source
    session: int
    stream: int


class Places:
    """The files of the devices of a selection."""

    def __init__(self, readings: Readings) -> None:
        self._selection = readings.selection
        self._sources = {(one.info.uid, f"{one.info.log_id:08x}"): one for one in readings.sources}

    def rows(self, archive: Archive) -> int:
        """How many all files of the selection hold, whatever their times."""
        entries = (read(manifest_of(archive.path)) or {}).items()
        return sum(entry.rows for name, entry in entries if self._wants(self._place(name)))

    def is_eventful(self, path: PurePath, channels: Sequence[Channel]) -> bool:
        """Whether a file is of a stream without a period."""
        place = self._place("/".join(path.parts[-4:]))
        streams = [] if place is None else place.source.schemas.streams({place.stream})
        return any(not stream.period_us for stream in streams if set(channels) <= set(stream.channels))

    def _place(self, name: str) -> _Place | None:
        device, session, stream, file = name.split("/")
        source = self._sources.get((device.removeprefix("device=uid-"), file.split("-")[0]))
        if source is None:
            return None
        number = stream.removeprefix("stream=").split("_")[0]
        return _Place(source, int(session.removeprefix("session=")), int(number))

    def _wants(self, place: _Place | None) -> bool:
        if place is None or not self._selection.wants(place.source.log.key, place.session, place.stream):
            return False
        return any(chosen_channels(stream, self._selection) for stream in place.source.schemas.streams({place.stream}))
