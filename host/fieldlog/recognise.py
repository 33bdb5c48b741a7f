"""Is this device the one that the archive knows by its uid and log_id, and is the archive's copy still good?

Rule: names are not believed. A memory that was restored from a copy, cloned or swapped bears known numbers on other
readings; so before anything is called up to date, a few blocks that both sides hold are compared by their CRC. Where
they differ, all that the device holds is read again and kept beside what was there: nothing is overwritten. What the
archive holds of it is checked too, and asked for again where this computer's disk has spoiled it.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog.archive.log import Log
from fieldlog.archive.store import Archive
from fieldlog.block_reader import read_blocks
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog.text import count
from fieldlog_protocol.blocks.block import is_whole
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import VerificationError

_CRC_SIZE = 4
_LOOKS = 3
_LOOKS_BEFORE_LOSS = 32


async def recognise(device: Device, archive: Archive, log: Log, info: LoggerInfo) -> list[str]:
    """Prepare `log` for a pull of this device; a sentence for whatever is not as it should be."""
    found = [*_namesakes(archive, info), *_spoiled(log, info)]
    if await differs(device, log, info):
        log.ask_again([range(info.first_seq, info.next_seq)])
        found.append(
            f"{device.name} bears the uid and log of a device that the archive knows, but its blocks differ: was its "
            "memory restored, copied or swapped? All of it is read, and what differs is kept beside what was there"
        )
    elif log.held().stop > info.next_seq:
        found.append(
            f"{device.name} has written blocks up to {info.next_seq - 1} and the archive holds {log.held().stop - 1} of "
            "this log: was its memory restored from a copy? Nothing was overwritten; give it a new log by erasing its "
            "chip before it records again"
        )
    return found


def misnamed(log: Log, info: LoggerInfo) -> list[str]:
    """A sentence when descriptions among the blocks name another device or log: a card or chip that changed hands."""
    others = sorted(log.identities() - {(info.uid, info.log_id)})
    if not others:
        return []
    named = ", ".join(f"log {log_id} of the device {uid.hex()}" for uid, log_id in others)
    whose = (
        f"some of these blocks say that they are of {named}, and the device says that it is {info.uid.hex()} with log"
    )
    asked = "was its memory taken from another device? They are kept under what the device says"
    return [f"{whose} {info.log_id}: {asked}"]


async def require_same(device: Device, info: LoggerInfo, told: logger.InfoResponse | None = None) -> None:
    """VerificationError when the device is not the one any more that it was; `told` is what it last said of itself.

    Twice it has to say so: on a line without a check value once may be a garbled answer.
    """
    told = told or await device.request(logger.INFO, logger.InfoRequest())
    if _is_named(told, info):
        return
    told = await device.request(logger.INFO, logger.InfoRequest())
    if _is_named(told, info):
        return
    raise VerificationError(
        f"{device.name} was the device {info.uid.hex()} with log {info.log_id} when this began, and is "
        f"{(told.uid or b'').hex()} with log {told.log} now: it was swapped or erased meanwhile. Neither a loss nor a "
        "clock sync was noted, but the last blocks that came may be the other one's. Pull again: whatever differs is "
        "kept beside what was there, and told"
    )


def _is_named(told: logger.InfoResponse, info: LoggerInfo) -> bool:
    return (told.uid, told.log) == (info.uid, info.log_id)


async def unread(device: Device, archive: Archive, info: LoggerInfo) -> list[range]:
    """What the device holds and the archive does not: looked at harder than by a pull, since it may be given up."""
    held = range(info.first_seq, info.next_seq)
    for log in archive.logs():
        if (log.info().uid, log.info().log_id) == (info.uid.hex(), info.log_id):
            if await differs(device, log, info, _LOOKS_BEFORE_LOSS):
                break
            log.recheck(held.start, held.stop, everything=True)
            return log.missing(held.start, held.stop)
    return [held] if held else []


def _namesakes(archive: Archive, info: LoggerInfo) -> list[str]:
    """Other devices that bear this one's serial number, or a copy of its log."""
    uid = info.uid.hex()
    others = [other for other in (log.info() for log in archive.logs()) if other.uid != uid]
    same_serial = dict.fromkeys(other.uid for other in others if info.serial and other.serial == info.serial)
    same_log = dict.fromkeys(other.uid for other in others if other.log_id == info.log_id)
    found: list[str] = []
    if same_serial:
        found.append(
            f"the serial number {info.serial} is that of {_devices(list(same_serial))} in the archive too. Each is kept "
            f"under its own uid; name this one by its uid, {uid}"
        )
    if same_log:
        found.append(
            f"this log bears the number of a log of {_devices(list(same_log))} in the archive: its memory may be a copy. "
            "Both are kept, each under its uid"
        )
    return found


def _devices(uids: list[str]) -> str:
    return f"the device {uids[0]}" if len(uids) == 1 else f"the devices {', '.join(uids)}"


def _spoiled(log: Log, info: LoggerInfo) -> list[str]:
    seqs = log.recheck(info.first_seq, info.next_seq)
    if not seqs:
        return []
    which = f"{count(len(seqs), 'block')} (first: {seqs[0]})"
    return [f"{which} had been damaged on this computer's disk and are asked for again. Check that disk"]


@dataclass(frozen=True, slots=True)
class _Known:
    """A block that both sides should have, in each content that the archive has of it."""

    seq: int
    copies: list[bytes]


async def differs(device: Device, log: Log, info: LoggerInfo, looks: int = _LOOKS) -> bool:
    """Whether the device holds other content than the archive under some seq: the newest, the oldest, some between."""
    known = _samples(log, info, looks)
    asked = [[device.client.start(logger.BLOCKS, _crc_of(item.seq, copy)) for copy in item.copies] for item in known]
    suspects: list[_Known] = []
    try:
        for item, replies in zip(known, asked, strict=True):
            answers = [await reply for reply in replies]
            if not any(_is_crc(answer, item.seq, copy) for answer, copy in zip(answers, item.copies, strict=True)):
                suspects.append(item)
    finally:
        for reply in (reply for replies in asked for reply in replies):
            reply.cancel()
    return any([await _is_other(device, item) for item in suspects])


def _samples(log: Log, info: LoggerInfo, looks: int) -> list[_Known]:
    first, last = info.first_seq, info.next_seq - 1
    held = [log.first_held(range(first, last + 1))]
    steps = [first + (last - first) * look // (looks - 1) for look in range(1, looks)]
    held += [log.nearest_held(seq, range(first, last + 1)) for seq in steps]
    seqs = {seq for seq in held if seq is not None} - {*info.open_seqs}
    known = [_Known(seq, log.copies(seq)) for seq in sorted(seqs)]
    return [item for item in known if all(map(is_whole, item.copies))]


def _crc_of(seq: int, copy: bytes) -> logger.BlocksRequest:
    return logger.BlocksRequest(q=seq, o=len(copy) - _CRC_SIZE, n=_CRC_SIZE)


def _is_crc(answer: logger.BlocksResponse, seq: int, copy: bytes) -> bool:
    """Whether this answers with the end of that block; so does a device that has just overwritten it, and cannot tell."""
    return answer.f > seq or (answer.q == seq and answer.d == copy[-_CRC_SIZE:])


async def _is_other(device: Device, item: _Known) -> bool:
    """Read the whole block: what was seen of it may have been garbled, or the block be gone or unreadable there."""
    async for batch in read_blocks(device.client, item.seq, item.seq + 1):
        for seq, wire in zip(batch.seqs, batch.blocks, strict=True):
            if seq == item.seq and wire not in item.copies:
                return True
    return False
