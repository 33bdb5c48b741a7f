"""The pull: everything that a device has recorded and the archive does not hold yet.

Rule: it reads and never destroys. It may be broken off anywhere and repeated at will: what the archive has is not asked
for again, and what the device no longer has is recorded as a gap, once, by seq.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fieldlog.archive.log import Log
from fieldlog.archive.records import Session
from fieldlog.archive.store import Archive
from fieldlog.block_reader import read_blocks
from fieldlog.clock import probe_clock
from fieldlog.clock_sync import Sync
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import read_sessions
from fieldlog_protocol.blocks.block import frames_in
from fieldlog_protocol.commands import Empty, logger
from fieldlog_protocol.commands.logger import SessionInfo, StopReason
from fieldlog_protocol.errors import FieldlogError

Progress = Callable[["PullProgress"], None]


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull has come. `total_bytes` is an estimate: blocks differ in length."""

    bytes: int
    total_bytes: int
    blocks: int
    readings: int


@dataclass(slots=True)
class PullResult:
    """What a pull did. `lost` are seqs that are gone for good, `open_seqs` blocks to come with a later pull."""

    info: LoggerInfo
    sync: Sync | None = None
    bytes: int = 0
    blocks: int = 0
    readings: int = 0
    stored: int = 0
    lost: list[range] = field(default_factory=list[range])
    open_seqs: tuple[int, ...] = ()
    conflicts: list[int] = field(default_factory=list[int])
    sessions: int = 0


async def pull(device: Device, archive: Archive, *, seal: bool = True, progress: Progress | None = None) -> PullResult:
    """Bring the archive up to date with the device. Raises NoLogger, and what requests and the archive raise.

    Whatever happens, what had arrived is in the archive.
    """
    await device.need_logger()
    if seal:
        await device.request(logger.SEAL, Empty())
    info = await device.logger_info()
    log = archive.log(info.uid, info.log_id)
    log.describe(serial=info.serial, label=info.name, product=info.product, firmware=info.firmware)
    result = PullResult(info, open_seqs=info.open_seqs)
    number = log.begin_pull()
    try:
        result.sync = await probe_clock(device)
        log.add_syncs([result.sync])
        await _fetch(device, log, result, progress)
        sessions = [_session(item) for item in await read_sessions(device)]
        log.add_sessions(sessions)
        result.sessions = len(sessions)
    except FieldlogError:
        log.end_pull(number, blocks=result.blocks, size=result.bytes, outcome="broken off")
        raise
    log.end_pull(number, blocks=result.blocks, size=result.bytes)
    result.stored, result.conflicts = log.stored, sorted(log.conflicts)
    return result


async def _fetch(device: Device, log: Log, result: PullResult, progress: Progress | None) -> None:
    info = result.info
    wanted = log.missing(info.first_seq, info.next_seq, info.open_seqs)
    per_seq = info.used_bytes / max(1, info.next_seq - info.first_seq)
    total = round(sum(map(len, wanted)) * per_seq)
    for stretch in wanted:
        first_held = stretch.start
        async for batch in read_blocks(device.client, stretch.start, stretch.stop):
            first_held = max(first_held, batch.first_held)
            log.add_blocks(batch.blocks)
            _count(result, batch.blocks, batch.size)
            if progress is not None:
                progress(PullProgress(result.bytes, max(total, result.bytes), result.blocks, result.readings))
        _note_lost(log, result, stretch, first_held)
    if info.first_seq:
        result.lost += log.add_gap(0, info.first_seq - 1, "overwritten or erased before it was read")


def _note_lost(log: Log, result: PullResult, stretch: range, first_held: int) -> None:
    """What was asked for, did not come and is not open, will not come later either."""
    for part in log.missing(stretch.start, stretch.stop, result.info.open_seqs):
        overwritten = range(part.start, min(part.stop, first_held))
        never = range(max(part.start, first_held), part.stop)
        for gone, reason in ((overwritten, "overwritten"), (never, "not on the device")):
            if gone:
                result.lost += log.add_gap(gone.start, gone.stop - 1, reason)


def _count(result: PullResult, blocks: list[bytes], size: int) -> None:
    result.bytes += size
    result.blocks += len(blocks)
    result.readings += sum(map(frames_in, blocks))


def _session(info: SessionInfo) -> Session:
    known = info.why in StopReason.__members__.values()
    return Session(
        id=info.id,
        label=info.label,
        boot_id=info.boot,
        start_tick=info.start,
        stop_tick=info.stop,
        first_seq=info.first,
        last_seq=info.last,
        frames=info.frames,
        reason=StopReason(info.why).name.lower() if known else f"reason {info.why}",
    )
