"""How many readings of a selection the Parquet files hold, also in the parts that no reader of times would open.

Rule of this module: it looks at names and counts alone, and opens no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldlog.archive.dataset import manifest_of
from fieldlog.archive.manifest import read
from fieldlog.archive.plan import chosen_channels

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.source import Source
    from fieldlog.archive.store import Archive


def derived_rows(archive: Archive, readings: Readings) -> int:
    """The rows of all files of the selection, whatever their times."""
    sources = {(source.info.uid, f"{source.info.log_id:08x}"): source for source in readings.sources}
    rows = 0
    for name, entry in (read(manifest_of(archive.path)) or {}).items():
        device, session, stream, file = name.split("/")
        source = sources.get((device.removeprefix("device=uid-"), file.split("-")[0]))
        stream_id = int(stream.removeprefix("stream=").split("_")[0])
        if source and _wants(source, readings, int(session.removeprefix("session=")), stream_id):
            rows += entry.rows
    return rows


def _wants(source: Source, readings: Readings, session: int, stream_id: int) -> bool:
    selection = readings.selection
    return selection.wants(source.log.key, session, stream_id) and any(
        chosen_channels(stream, selection) for stream in source.schemas.streams({stream_id})
    )
