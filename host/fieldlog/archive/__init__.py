"""The archive: raw blocks of many loggers in one SQLite file, and readings out of it.

    with fieldlog.archive.open(folder) as archive:
        for series in archive.readings(device="attic"):
            series.utc_us, series.columns

Blocks are kept as they came and are the truth; times, values and names are derived from them whenever they are asked
for, so that a better clock sync or a repaired program improves old readings too.
"""

from fieldlog.archive.database import ArchiveError
from fieldlog.archive.log import Log
from fieldlog.archive.records import Gap, LoggedEvent, LogInfo, Pull, Session
from fieldlog.archive.store import Archive, exists
from fieldlog.archive.store import open_archive as open  # noqa: A004 - the public name is fieldlog.archive.open

__all__ = ["Archive", "ArchiveError", "Gap", "Log", "LogInfo", "LoggedEvent", "Pull", "Session", "exists", "open"]
