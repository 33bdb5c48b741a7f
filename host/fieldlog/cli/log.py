"""`fieldlog log`: what a logger records, and beginning and ending it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from fieldlog.cli.common import Common, Standing, archive_option, options, run
from fieldlog.cli.log_arm import arm_command, request_id
from fieldlog.cli.log_sessions import sessions
from fieldlog.cli.log_status import status
from fieldlog.cli.signals import asked
from fieldlog.datetimes import utc_text
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog.text import size_text
from fieldlog_protocol.commands import Group, logger
from fieldlog_protocol.commands.logger import LoggerError, State
from fieldlog_protocol.errors import FieldlogError, RefusedError, UsageError


@click.group()
def log() -> None:
    """Arm, stop and watch a logger."""


log.add_command(status)
log.add_command(arm_command)
log.add_command(sessions)


@log.command()
@options
def stop(common: Common) -> None:
    """End the session, or do not wait for it any more; its readings stay in the log."""

    standing = Standing("no session was ended")

    async def work() -> tuple[bool, logger.StopResponse]:
        async with common.connect() as device:
            armed = (await device.logger_info()).state == State.ARMED
            standing.text = "the session may have ended or not: `fieldlog log status` shows it"
            done = await _stopped(device)
            standing.text = f"session {done.session} has ended"
            return armed, done

    with standing.told():
        armed, done = run(work())
    what = "is not waited for any more: nothing of it was recorded" if armed else "has ended"
    common.output.result(
        {"session": done.session, "was_armed": armed}, lambda: common.output.line(f"session {done.session} {what}")
    )


async def _stopped(device: Device) -> logger.StopResponse:
    try:
        return await device.request(logger.STOP, logger.StopRequest(id=request_id()))
    except RefusedError as error:
        if (error.group, error.code) != (Group.LOGGER, LoggerError.NOT_RECORDING):
            raise
        text = (
            "no session is armed or being recorded, so nothing was stopped. `fieldlog log sessions` lists the last ones"
        )
        raise RefusedError(error.code, error.group, text, error.details) from error


@log.command()
@options
@click.argument("text")
def mark(common: Common, text: str) -> None:
    """Note TEXT in the log, at this moment."""
    if len(text.encode()) > logger.SETTING_TEXT_MAX:
        raise UsageError(f"a mark has at most {logger.SETTING_TEXT_MAX} bytes, this one has {len(text.encode())}")

    standing = Standing("nothing was noted")

    async def work() -> logger.MarkResponse:
        async with common.connect() as device:
            await device.need_logger()
            standing.text = "the mark may be in the log or not: after the next pull `fieldlog archive events` shows it"
            done = await device.request(logger.MARK, logger.MarkRequest(id=request_id(), text=text))
            standing.text = "the mark is in the log"
            return done

    with standing.told():
        done = run(work())
    noted = utc_text(time.time_ns() // 1000, "seconds")
    common.output.result({"tick": done.tick}, lambda: common.output.line(f"noted at {noted}, by this computer's clock"))


@log.command()
@options
@archive_option
@click.option("--before", type=click.IntRange(0), metavar="SEQ", help="First block to keep; else what is not archived.")
@click.option("--force", is_flag=True, help="Release even what no archive holds yet.")
def release(common: Common, archive: Path, before: int | None, *, force: bool) -> None:
    """Let the device overwrite what the archive holds already."""

    standing = Standing("nothing was released")

    async def work() -> tuple[int, LoggerInfo]:
        async with common.connect() as device:
            info = await device.logger_info()
            unread = [] if force else await _unread(device, archive, info)
            seq = _releasable(archive, info, before, unread)
            standing.text = (
                f"blocks before {seq} may have been released or not: `fieldlog log status --json` has it as released_seq. "
                "Repeat the command to be sure"
            )
            await device.request(logger.RELEASE, logger.ReleaseRequest(q=seq))
            standing.text = f"blocks before {seq} may be overwritten"
            return seq, info

    with standing.told():
        seq, info = run(work())
    freed = max(0, min(seq, info.next_seq) - max(info.first_seq, info.released_seq)) * info.block_size
    ring = ". This log overwrites its oldest blocks anyhow" if info.wrap else ""
    common.output.result(
        {"before": seq, "freed_bytes": freed},
        lambda: common.output.line(
            f"blocks before {seq} may be overwritten, {size_text(freed)} more than before{ring}"
        ),
    )


def _releasable(folder: Path, info: LoggerInfo, before: int | None, unread: list[range]) -> int:
    """The first block to keep: the one asked for, else the first that the archive lacks."""
    if before is not None:
        lacking = sum(len(range(part.start, min(part.stop, before))) for part in unread)
        if lacking:
            raise FieldlogError(
                f"{_blocks(lacking)} before {before} {'is' if lacking == 1 else 'are'} not in the archive {folder}, so "
                "nothing was released. Pull first; --force releases them all the same"
            )
        return before
    if unread and unread[0].start == info.first_seq:
        raise FieldlogError(
            f"the archive {folder} lacks the oldest block of this log, so nothing was released. Pull first"
        )
    return unread[0].start if unread else info.next_seq


def _blocks(number: int) -> str:
    return "1 block" if number == 1 else f"{number} blocks"


async def _unread(device: Device, folder: Path, info: LoggerInfo) -> list[range]:
    """What the device holds and the archive does not; all of it when there is no archive."""
    from fieldlog import archive as archives
    from fieldlog.recognise import unread

    if not archives.exists(folder):
        return [range(info.first_seq, info.next_seq)] if info.next_seq > info.first_seq else []
    with archives.open(folder, writable=False) as archive:
        return await unread(device, archive, info)


@log.command()
@options
@archive_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", "--unread", "unread", is_flag=True, help="Erase even what no archive holds yet.")
def erase(common: Common, archive: Path, *, yes: bool, unread: bool) -> None:
    """Erase the log for good: what the archive holds. A device that has recorded something since refuses."""

    standing = Standing("nothing was erased")

    async def work() -> int:
        async with common.connect() as device:
            info = await device.logger_info()
            if info.erase_token is None:
                raise UsageError("this device gives no token to erase by")
            _require_idle(info)
            if not unread:
                _require_archived(archive, await _unread(device, archive, info))
            if not yes:
                _confirm(info)
            request = logger.EraseRequest(id=request_id(), token=info.erase_token)
            standing.text = "the log may have been erased or not: `fieldlog log status` shows what it holds"
            seq = (await device.request(logger.ERASE, request)).next
            standing.text = f"the log is empty; blocks go on from {seq}"
            return seq

    with standing.told():
        seq = run(work())
    common.output.result({"next_seq": seq}, lambda: common.output.line(f"the log is empty; blocks go on from {seq}"))


def _require_idle(info: LoggerInfo) -> None:
    """The device would refuse too, though only after all was pulled and asked for."""
    if info.active:
        does = "waits for session {} to begin" if info.state == State.ARMED else "records session {}"
        text = (
            f"{info.name or info.serial or info.uid.hex()} {does.format(info.session)}, so nothing was erased. End that with "
            "`fieldlog log stop`, then pull once more and erase"
        )
        raise RefusedError(LoggerError.RECORDING, Group.LOGGER, text)


def _require_archived(folder: Path, unread: list[range]) -> None:
    lacking = sum(map(len, unread))
    if lacking:
        raise FieldlogError(
            f"{_blocks(lacking)} of this log {'is' if lacking == 1 else 'are'} not in the archive {folder}, so nothing "
            "was erased. Pull first; --force erases them all the same"
        )


def _confirm(info: LoggerInfo) -> None:
    from fieldlog.text import printable

    name = printable(info.name or info.serial or info.uid.hex())
    question = f"Erase {size_text(info.used_bytes)} of readings on {name} for good?"
    if not sys.stdin.isatty():
        raise UsageError("nothing was erased: nobody is there to be asked. Add --yes to erase all the same")
    if not asked(question, "nothing was erased"):
        raise FieldlogError("nothing was erased")
