"""The pull: everything that a device has recorded and the archive does not hold yet.

Rule: it reads and never destroys, and what need not wait for an answer does not wait for one. It may be broken off
anywhere and repeated at will: what the archive has is not asked for again, and what the device no longer has is
recorded as a gap, once, by seq.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fieldlog.archive.log import GONE, NOT_SENT, OVERWRITTEN, Log
from fieldlog.archive.ranges import difference, overlap, union
from fieldlog.archive.records import Gap, Session
from fieldlog.archive.store import Archive
from fieldlog.block_reader import Batch, read_blocks
from fieldlog.clock import read_ticks
from fieldlog.clock_keeping import decide
from fieldlog.clock_sync import US_PER_TICK, Reading, Sync
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog.recognise import misnamed, recognise, require_same
from fieldlog.recording import ask_sessions, read_sessions
from fieldlog_protocol.blocks.block import frames_in
from fieldlog_protocol.commands import Empty, logger
from fieldlog_protocol.commands.logger import SessionInfo, StopReason
from fieldlog_protocol.errors import FieldlogError, ProtocolError, RefusedError, VerificationError

_JUMP_US = 2_000_000
_SLOWEST = 0.06  # off may the worst oscillator's rate be, and a little more

Progress = Callable[["PullProgress"], None]


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull has come. `total_bytes` is an estimate: blocks differ in length. `total_blocks` may be more than
    will come: those that the device turns out not to have are counted in. `uid` is the logger's, in hex."""

    bytes: int
    total_bytes: int
    blocks: int
    total_blocks: int
    readings: int
    uid: str


@dataclass(slots=True)
class PullResult:
    """What a pull did. `blocks` and `readings` are those that were asked for and came.

    `lost` are seqs of which it is news that they are gone or not sent, `unsent` all that a later pull asks for again,
    `given_up` those not sent before that it does not; `open_seqs` are blocks to come with one, `warnings` sentences.
    """

    info: LoggerInfo
    sync: Sync | None = None
    bytes: int = 0
    blocks: int = 0
    readings: int = 0
    stored: int = 0
    lost: list[range] = field(default_factory=list[range])
    unsent: list[range] = field(default_factory=list[range])
    given_up: list[range] = field(default_factory=list[range])
    open_seqs: tuple[int, ...] = ()
    conflicts: list[int] = field(default_factory=list[int])
    sessions: int = 0
    warnings: list[str] = field(default_factory=list[str])


async def pull(device: Device, archive: Archive, *, seal: bool = True, progress: Progress | None = None) -> PullResult:
    """Bring the archive up to date with the device. Raises NoLogger, and what requests and the archive raise.

    Whatever happens, what had arrived is in the archive.
    """
    info, sessions = await _ask(device, seal)
    log = archive.log(info.uid, info.log_id)
    log.describe(serial=info.serial, label=info.name, product=info.product, firmware=info.firmware)
    result = PullResult(info, open_seqs=info.open_seqs, sessions=len(sessions))
    number = log.begin_pull()
    try:
        before = await _probe(device, log, result)
        result.warnings += await recognise(device, archive, log, info)
        await _fetch(device, log, result, progress)
        result.warnings += misnamed(log, info) if result.blocks else []
        log.add_sessions(map(_session, sessions))
        await _keep_time(device, log, result, before, progress)
    except FieldlogError:
        log.end_pull(number, blocks=result.blocks, size=result.bytes, outcome="broken off")
        raise
    log.end_pull(number, blocks=result.blocks, size=result.bytes)
    result.stored, result.conflicts = log.stored, sorted(log.conflicts)
    return result


async def _ask(device: Device, seal: bool) -> tuple[LoggerInfo, list[SessionInfo]]:
    """All that is to be known first, asked for at once, in the order in which the device shall do it."""
    client = device.client
    if seal and not client.ordered:
        await device.need_logger()
        await device.request(logger.SEAL, Empty())
    sealed = client.start(logger.SEAL, Empty()) if seal and client.ordered else None
    described, sessions = device.ask_logger_info(), ask_sessions(device)
    again = None if client.checked else client.start(logger.INFO, logger.InfoRequest())
    try:
        info = await described
        if sealed is not None and _is_older(info, (await sealed).next):
            info = await device.logger_info()
        _require_sense(device, info, None if again is None else await again)
        return info, await read_sessions(device, sessions)
    finally:
        for reply in (sealed, sessions, again):
            if reply is not None:
                reply.cancel()


def _is_older(info: LoggerInfo, next_seq: int) -> bool:
    """Whether this is how the log was before its blocks were sealed: that request was lost and came late."""
    return info.next_seq < next_seq or any(seq < next_seq for seq in info.open_seqs)


def _require_sense(device: Device, info: LoggerInfo, again: logger.InfoResponse | None) -> None:
    """Whose log it is decides where everything goes: a line without a check value has to say it twice."""
    if again is not None and (again.uid, again.log) != (info.uid, info.log_id):
        raise ProtocolError(
            f"{device.name} named itself in two ways, one after the other. Nothing was read; check the line, and repeat"
        )
    if not info.first_seq <= info.next_seq:
        raise ProtocolError(
            f"{device.name} says that its log begins at block {info.first_seq} and ends before block {info.next_seq}. "
            "Nothing was read or noted as lost; check the line, and repeat"
        )


async def _keep_time(
    device: Device, log: Log, result: PullResult, before: Reading | None, progress: Progress | None
) -> None:
    """Probe again, now that the archive has all that the device knows of its time, and tell it where it should know."""
    found = await _probe(device, log, result, before)
    if found is None:
        return
    decision = decide(log, result.info, found)
    result.warnings += decision.warnings
    if decision.anchor is not None:
        await _anchor(device, log, result, decision.anchor, progress)


async def _anchor(
    device: Device, log: Log, result: PullResult, anchor: logger.ClockAnchor, progress: Progress | None
) -> None:
    """Let the device keep a sync, and read the block that it writes about it, so that nothing new is left."""
    client, known = device.client, result.info.next_seq
    told = client.start(logger.CLOCK_ANCHOR, anchor)
    if not client.ordered:
        await asyncio.wait([told])
    asked, who = client.start(logger.INFO, logger.InfoRequest(p=1)), client.start(logger.INFO, logger.InfoRequest())
    sessions = ask_sessions(device)
    try:
        await told
        now = await asked
        await require_same(device, result.info, await who)
        if now.first is not None and now.next is not None:
            new = replace(result.info, first_seq=now.first, next_seq=now.next, open_seqs=now.open or ())
            _require_sense(device, new, None)
            result.info, result.open_seqs = new, new.open_seqs
            await _fetch(device, log, result, progress, since=known)
        log.add_sessions(map(_session, await read_sessions(device, sessions)))
    except RefusedError as error:
        result.warnings.append(f"the device did not keep the clock sync, the archive did: {error}")
    finally:
        for reply in (told, asked, who, sessions):
            reply.cancel()


async def _probe(device: Device, log: Log, result: PullResult, before: Reading | None = None) -> Reading | None:
    """A clock that cannot be probed does not keep the readings from being read."""
    try:
        found = await read_ticks(device, known_us=before.round_trip_us if before else None)
    except VerificationError as error:
        if not result.warnings:  # once is enough
            result.warnings.append(f"no clock sync was taken: {error}")
        return None
    if not _goes_on(result.info, before, found):
        await require_same(device, result.info)
    log.add_syncs([found.sync])
    result.sync = result.sync or found.sync
    return found


def _goes_on(info: LoggerInfo, before: Reading | None, now: Reading) -> bool:
    """Whether these are the ticks of the device as it was: it neither restarted nor was it swapped."""
    if now.sync.boot_id != info.boot_id or now.sync.tick < info.tick:
        return False
    if before is None:
        return True
    passed_us = now.sync.utc_us - before.sync.utc_us
    ticks_us = (now.sync.tick - before.sync.tick) * US_PER_TICK
    return abs(ticks_us - passed_us) <= _JUMP_US + _SLOWEST * abs(passed_us)


async def _fetch(device: Device, log: Log, result: PullResult, progress: Progress | None, since: int = 0) -> None:
    """What the archive lacks from seq `since` on: what was just asked for in vain is not asked for again at once."""
    info = result.info
    wanted = log.missing(max(info.first_seq, since), info.next_seq, info.open_seqs)
    first_held = await _read(device, log, result, wanted, progress)
    absent = _absent(log, info, wanted)
    if absent:
        await require_same(device, info)
        told = await _first_held(device, info)
        # no ring goes back: one of the answers was garbled, and made the reading leave out blocks; and where nothing
        # keeps out what the line spoils, it may have spoiled the same block at each look
        if first_held > told or not device.client.checked:
            await _read(device, log, result, difference(absent, [range(told)]), progress)
            absent, first_held = _absent(log, info, wanted), min(first_held, told)
        _note_lost(log, result, absent, first_held)
    still_open = [range(seq, seq + 1) for seq in info.open_seqs]
    result.lost += log.add_gaps(difference([range(info.first_seq)], still_open), OVERWRITTEN)


async def _read(device: Device, log: Log, result: PullResult, wanted: list[range], progress: Progress | None) -> int:
    """Take these seqs as far as they come; the highest of the seqs that were said to be the first held."""
    count, first_held = sum(map(len, wanted)), result.info.first_seq
    for stretch in wanted:
        counted = stretch.start
        async for batch in read_blocks(device.client, stretch.start, stretch.stop):
            log.add_blocks(batch.blocks)
            counted = _count(result, range(counted, stretch.stop), batch)
            first_held = max(first_held, batch.first_held)
            if progress is not None:
                progress(_progress(result, count))
    return first_held


def _absent(log: Log, info: LoggerInfo, wanted: list[range]) -> list[range]:
    return log.missing(wanted[0].start, wanted[-1].stop, info.open_seqs) if wanted else []


async def _first_held(device: Device, info: LoggerInfo) -> int:
    now = await device.request(logger.INFO, logger.InfoRequest(p=1))
    return info.first_seq if now.first is None else now.first


def _count(result: PullResult, wanted: range, batch: Batch) -> int:
    """Count what was asked for and came; the seq to count on from: the log is read in order of seq."""
    result.bytes += batch.size
    for seq, wire in zip(batch.seqs, batch.blocks, strict=True):
        if seq in wanted:
            result.blocks += 1
            result.readings += frames_in(wire)
    return max(wanted.start, batch.seqs[-1] + 1) if batch.seqs else wanted.start


def _progress(result: PullResult, wanted: int) -> PullProgress:
    mean = result.bytes / result.blocks if result.blocks else result.info.block_size
    total = max(round(mean * wanted), result.bytes)
    return PullProgress(result.bytes, total, result.blocks, wanted, result.readings, result.info.uid.hex())


def _note_lost(log: Log, result: PullResult, absent: list[range], first_held: int) -> None:
    """What was asked for and did not come: overwritten meanwhile, or not there. The latter is asked for once more, by
    the next pull, before it counts as gone; and by every pull while nothing that was written later is held."""
    overwritten = overlap(absent, range(max(0, first_held)))
    never = difference(absent, overwritten)
    newest = log.nearest_held(result.info.next_seq - 1, range(result.info.next_seq)) or 0
    twice = [part for gap in log.gaps() if gap.reason == NOT_SENT for part in overlap(never, _seqs(gap))]
    twice = overlap(union(twice), range(newest))
    log.add_gaps(twice, GONE)
    unsent = difference(never, twice)
    result.lost += [*log.add_gaps(overwritten, OVERWRITTEN), *log.add_gaps(unsent, NOT_SENT)]
    result.unsent += unsent
    result.given_up += twice


def _seqs(gap: Gap) -> range:
    return range(gap.first_seq, gap.last_seq + 1)


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
