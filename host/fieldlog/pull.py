"""The pull: everything that a device has recorded and the archive does not hold yet.

Rule: it reads and never destroys. It may be broken off anywhere and repeated at will: what the archive has is not asked
for again, and what the device no longer has is recorded as a gap, once, by seq.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fieldlog.archive.log import GONE, NOT_SENT, OVERWRITTEN, Log
from fieldlog.archive.ranges import difference, overlap
from fieldlog.archive.records import Gap, Session
from fieldlog.archive.store import Archive
from fieldlog.block_reader import Batch, read_blocks
from fieldlog.clock import probe_clock
from fieldlog.clock_sync import Sync
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import read_sessions
from fieldlog_protocol.blocks.block import frames_in, parse_header
from fieldlog_protocol.commands import Empty, logger
from fieldlog_protocol.commands.logger import SessionInfo, StopReason
from fieldlog_protocol.errors import FieldlogError, ProtocolError, VerificationError

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
    """What a pull did. `blocks` and `readings` are those that were asked for and came.

    `lost` are seqs found gone, `open_seqs` blocks to come with a later pull, `warnings` sentences.
    """

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
    warnings: list[str] = field(default_factory=list[str])


async def pull(device: Device, archive: Archive, *, seal: bool = True, progress: Progress | None = None) -> PullResult:
    """Bring the archive up to date with the device. Raises NoLogger, and what requests and the archive raise.

    Whatever happens, what had arrived is in the archive.
    """
    await device.need_logger()
    if seal:
        await device.request(logger.SEAL, Empty())
    info = await _identify(device)
    log = archive.log(info.uid, info.log_id)
    log.describe(serial=info.serial, label=info.name, product=info.product, firmware=info.firmware)
    result = PullResult(info, open_seqs=info.open_seqs)
    number = log.begin_pull()
    try:
        await _probe(device, log, result)
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


async def _identify(device: Device) -> LoggerInfo:
    """The logger's description, held against a second one: whose log it is decides where everything goes."""
    info = await device.logger_info()
    again = await device.request(logger.INFO, logger.InfoRequest())
    if (again.uid, again.log) != (info.uid, info.log_id):
        raise ProtocolError(
            f"{device.name} named itself in two ways, one after the other. Nothing was read; check the line, and repeat"
        )
    if not info.first_seq <= info.next_seq:
        raise ProtocolError(
            f"{device.name} says that its log begins at block {info.first_seq} and ends before block {info.next_seq}. "
            "Nothing was read or noted as lost; check the line, and repeat"
        )
    return info


async def _probe(device: Device, log: Log, result: PullResult) -> None:
    """A clock that cannot be probed does not keep the readings from being read."""
    try:
        result.sync = await probe_clock(device)
    except VerificationError as error:
        result.warnings.append(f"no clock sync was taken: {error}")
        return
    log.add_syncs([result.sync])


async def _fetch(device: Device, log: Log, result: PullResult, progress: Progress | None) -> None:
    info = result.info
    wanted = log.missing(info.first_seq, info.next_seq, info.open_seqs)
    count = sum(map(len, wanted))
    for stretch in wanted:
        seen: set[int] = set()
        async for batch in read_blocks(device.client, stretch.start, stretch.stop):
            log.add_blocks(batch.blocks)
            _count(result, stretch, seen, batch)
            if progress is not None:
                mean = result.bytes / result.blocks if result.blocks else info.block_size
                total = max(round(mean * count), result.bytes)
                progress(PullProgress(result.bytes, total, result.blocks, result.readings))
    if wanted:
        _note_lost(log, result, wanted, (await device.logger_info()).first_seq)
    result.lost += log.add_gaps([range(info.first_seq)], OVERWRITTEN)


def _note_lost(log: Log, result: PullResult, wanted: list[range], first_held: int) -> None:
    """What was asked for and did not come: overwritten meanwhile, or not there. The latter is asked for once more, by
    the next pull, before it counts as gone."""
    bounds = range(wanted[0].start, wanted[-1].stop)
    absent = log.missing(bounds.start, bounds.stop, result.info.open_seqs)
    overwritten = overlap(absent, range(bounds.start, max(bounds.start, min(first_held, bounds.stop))))
    never = difference(absent, overwritten)
    twice = [part for gap in log.gaps() if gap.reason == NOT_SENT for part in overlap(never, _seqs(gap))]
    result.lost += log.add_gaps(overwritten, OVERWRITTEN)
    result.lost += log.add_gaps(difference(never, twice), NOT_SENT)
    log.add_gaps(twice, GONE)


def _seqs(gap: Gap) -> range:
    return range(gap.first_seq, gap.last_seq + 1)


def _count(result: PullResult, stretch: range, seen: set[int], batch: Batch) -> None:
    result.bytes += batch.size
    for wire in batch.blocks:
        seq = parse_header(wire).seq
        if seq in stretch and seq not in seen:
            seen.add(seq)
            result.blocks += 1
            result.readings += frames_in(wire)


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
