"""One archive into another: what two computers read from the same devices, in one place.

Rule of this module: a union. Nothing that is here is changed by what is there, but for what it lacked or knew less
well; the same merge repeated, broken off or the other way round gives the same readings. The other archive is only read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fieldlog.archive.block_rows import is_sound
from fieldlog.archive.log import GONE, IMPORTED, Log
from fieldlog.archive.ranges import difference
from fieldlog.archive.records import LogInfo, Session
from fieldlog.archive.store import Archive
from fieldlog_protocol.errors import UsageError

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class MergedLog:
    """What came of one log. `filled` are seqs that were a gap or absent here and are had now."""

    info: LogInfo
    is_new: bool
    blocks: int
    filled: list[range]
    conflicts: list[int]
    damaged: list[str]


@dataclass(slots=True)
class Merged:
    logs: list[MergedLog] = field(default_factory=list[MergedLog])

    @property
    def blocks(self) -> int:
        """Blocks that were new here."""
        return sum(log.blocks for log in self.logs)


def merge(archive: Archive, other: Archive, progress: Progress | None = None) -> Merged:
    """Take over all that `other` holds. UsageError when it is this very archive."""
    if archive.path.samefile(other.path):
        raise UsageError(f"{other.path} is the archive itself. Nothing was changed; name another one to merge into it.")
    result = Merged()
    total = sum(log.count() for log in other.logs())
    done = 0
    for theirs in other.logs():
        info = theirs.info()
        known = {(log.info().uid, log.info().log_id) for log in archive.logs()}
        ours = archive.log(bytes.fromhex(info.uid), info.log_id)
        before = done

        def tell(count: int, before: int = before) -> None:
            if progress is not None:
                progress(before + count, total)

        merged = _merge_log(ours, theirs, is_new=(info.uid, info.log_id) not in known, tell=tell)
        done += theirs.count()
        result.logs.append(merged)
    return result


def _merge_log(ours: Log, theirs: Log, *, is_new: bool, tell: Callable[[int], None]) -> MergedLog:
    held = ours.held()
    lacking = [] if is_new else ours.absent(held.start, held.stop)
    stored, doubled = ours.stored, set(ours.conflicting())
    damaged = _take_blocks(ours, theirs, tell)
    ours.flush()
    _take_the_rest(ours, theirs)
    filled = difference(lacking, ours.absent(held.start, held.stop))
    conflicts = sorted(set(ours.conflicting()) - doubled)
    return MergedLog(ours.info(), is_new, ours.stored - stored, filled, conflicts, damaged)


def _take_blocks(ours: Log, theirs: Log, tell: Callable[[int], None]) -> list[str]:
    damaged: list[str] = []
    for number, (seq, crc, received_us, data) in enumerate(theirs.stored_blocks(), start=1):
        if is_sound(seq, crc, data):
            ours.add_blocks([data], received_us=received_us)
        else:
            damaged.append(f"block {seq} is damaged in the other archive; it was left out")
        if number % 1024 == 0:
            tell(number)
    return damaged


def _take_the_rest(ours: Log, theirs: Log) -> None:
    """What was learned beside the blocks."""
    _take_names(ours, theirs)
    ours.add_syncs(theirs.taken_syncs())
    known = {session.id: session for session in ours.told_sessions()}
    ours.add_sessions(
        item for item in theirs.told_sessions() if item.id not in known or _tells_more(item, known[item.id])
    )
    for gap in theirs.gaps():
        part = range(gap.first_seq, gap.last_seq + 1)
        news = difference([part], ours.gone() if gap.reason == GONE else ours.lost())
        ours.add_gaps(news, gap.reason)
    ours.add_pulls(theirs.pulls())


def _tells_more(session: Session, known: Session) -> bool:
    """Which of two accounts of one session is the later one; where nothing tells, always the same of the two."""
    return _lateness(session) > _lateness(known)


def _lateness(session: Session) -> tuple[bool, int, int, int, str]:
    return session.stop_tick is not None, session.frames, session.last_seq or -1, session.stop_tick or 0, repr(session)


def _take_names(ours: Log, theirs: Log) -> None:
    """What the device is called now says the archive that read it last; the other fills in what was not known."""
    info, known = theirs.info(), ours.info()
    later, earlier = (info, known) if _last_read(theirs) > _last_read(ours) else (known, info)
    ours.describe(
        serial=later.serial or earlier.serial,
        label=later.label or earlier.label,
        product=later.product or earlier.product,
        firmware=later.firmware or earlier.firmware,
    )
    ours.seen_since(info.first_seen_us)


def _last_read(log: Log) -> int:
    return max((pull.started_us for pull in log.pulls() if not pull.outcome.startswith(IMPORTED)), default=0)
