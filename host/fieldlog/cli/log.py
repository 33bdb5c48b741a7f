"""`fieldlog log`: what a logger records, and beginning and ending it."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

import click

from fieldlog.cli.common import Common, archive_option, options, run
from fieldlog.device import Device
from fieldlog.export.layout import labelled
from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import StreamInfo, read_sessions, read_streams
from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import State, StopReason
from fieldlog_protocol.durations import duration_text, parse_duration_us
from fieldlog_protocol.errors import UsageError


@click.group()
def log() -> None:
    """Arm, stop and watch a logger."""


def _request_id() -> int:
    """Names one request, so that a repetition of it acts only once."""
    return secrets.randbits(32)


@log.command()
@options
def status(common: Common) -> None:
    """Show whether it records, what, and how full its log is."""

    async def work() -> tuple[LoggerInfo, list[StreamInfo]]:
        async with common.connect() as device:
            return await device.logger_info(), await read_streams(device)

    info, streams = run(work())
    state = info.state.name.lower() if isinstance(info.state, State) else f"state {info.state}"
    data = {
        "state": state,
        "session": info.session,
        "used_bytes": info.used_bytes,
        "total_bytes": info.total_bytes,
        "wrap": info.wrap,
        "first_seq": info.first_seq,
        "next_seq": info.next_seq,
        "streams": [_stream_json(stream) for stream in streams],
    }

    def show() -> None:
        share = 100 * info.used_bytes / info.total_bytes if info.total_bytes else 0
        when_full = "overwrites the oldest" if info.wrap else "stops"
        common.output.fields(
            [
                ("state", state),
                ("session", info.session or None),
                ("log", f"{info.used_bytes} of {info.total_bytes} bytes ({share:.1f} %); when full it {when_full}"),
                ("blocks", f"{info.first_seq} to {info.next_seq - 1}" if info.used_bytes else "none"),
            ]
        )
        for stream in streams:
            channels = ", ".join(labelled(channel.name, channel.unit) for channel in stream.channels)
            period = f"every {duration_text(stream.period_us)}" if stream.period_us else "as it comes"
            common.output.line(f"stream {stream.id}  {stream.name}, {period}: {channels}")

    common.output.result(data, show)


def _stream_json(stream: StreamInfo) -> dict[str, object]:
    channels = [{"name": channel.name, "unit": channel.unit} for channel in stream.channels]
    return {"id": stream.id, "name": stream.name, "period_us": stream.period_us, "channels": channels}


@log.command()
@options
@click.option("--label", default="", metavar="TEXT", help="Label of the session.")
@click.option("--wrap", is_flag=True, help="When the log is full, overwrite the oldest; else recording stops.")
@click.option("--stream", "names", multiple=True, metavar="NAME", help="Record this stream; repeatable. Else all.")
@click.option("--period", metavar="TIME", help="Sampling period of the streams recorded, such as 10s or 1min.")
def arm(common: Common, label: str, *, wrap: bool, names: tuple[str, ...], period: str | None) -> None:
    """Begin recording a session."""
    period_us = None if period is None else parse_duration_us(period)
    if len(label.encode()) > logger.LABEL_MAX:
        raise UsageError(f"a label has at most {logger.LABEL_MAX} bytes, this one has {len(label.encode())}")

    async def work() -> logger.ArmResponse:
        async with common.connect() as device:
            await device.need_logger()
            chosen = await _chosen(device, names, period_us)
            return await device.request(
                logger.ARM, logger.ArmRequest(id=_request_id(), label=label or None, wrap=wrap or None, streams=chosen)
            )

    done = run(work())
    common.output.result(
        {"session": done.session}, lambda: common.output.line(f"session {done.session} is being recorded")
    )


async def _chosen(
    device: Device, names: tuple[str, ...], period_us: int | None
) -> tuple[logger.StreamPeriod, ...] | None:
    if not names and period_us is None:
        return None
    streams = await read_streams(device)
    known = {stream.name: stream for stream in streams}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"there is no stream {unknown[0]!r}. Streams of this device: {', '.join(known)}")
    wanted = [known[name] for name in names] if names else streams
    return tuple(logger.StreamPeriod(s=stream.id, us=period_us) for stream in wanted)


@log.command()
@options
def stop(common: Common) -> None:
    """End the session; its readings stay in the log."""

    async def work() -> logger.StopResponse:
        async with common.connect() as device:
            await device.need_logger()
            return await device.request(logger.STOP, logger.StopRequest(id=_request_id()))

    done = run(work())
    common.output.result({"session": done.session}, lambda: common.output.line(f"session {done.session} has ended"))


@log.command()
@options
def sessions(common: Common) -> None:
    """List the sessions that the device remembers."""

    async def work() -> list[logger.SessionInfo]:
        async with common.connect() as device:
            await device.need_logger()
            return await read_sessions(device)

    found = run(work())
    rows = [(item.id, item.label, item.boot, item.frames, item.first, item.last, _why(item.why)) for item in found]
    columns = ["session>", "label", "boot>", "frames>", "first block>", "last block>", "ended by"]
    data: dict[str, Any] = {"sessions": [dict(zip(_SESSION_KEYS, row, strict=True)) for row in rows]}
    common.output.result(data, lambda: common.output.table(columns, rows))


_SESSION_KEYS = ("id", "label", "boot_id", "frames", "first_seq", "last_seq", "ended_by")


def _why(number: int) -> str:
    if number == StopReason.RUNNING:
        return "still running"
    return StopReason(number).name.lower() if number in StopReason.__members__.values() else f"reason {number}"


@log.command()
@options
@click.argument("text")
def mark(common: Common, text: str) -> None:
    """Note TEXT in the log, at this moment."""
    if len(text.encode()) > logger.SETTING_TEXT_MAX:
        raise UsageError(f"a mark has at most {logger.SETTING_TEXT_MAX} bytes, this one has {len(text.encode())}")

    async def work() -> logger.MarkResponse:
        async with common.connect() as device:
            await device.need_logger()
            return await device.request(logger.MARK, logger.MarkRequest(id=_request_id(), text=text))

    done = run(work())
    common.output.result({"tick": done.tick}, lambda: common.output.line(f"noted at tick {done.tick}"))


@log.command()
@options
@archive_option
@click.option("--before", type=click.IntRange(0), metavar="SEQ", help="First block to keep; else what is not archived.")
def release(common: Common, archive: Path, before: int | None) -> None:
    """Let the device overwrite what the archive holds already."""

    async def work() -> int:
        async with common.connect() as device:
            await device.need_logger()
            seq = before if before is not None else _archived_until(archive, await device.logger_info())
            await device.request(logger.RELEASE, logger.ReleaseRequest(q=seq))
            return seq

    seq = run(work())
    common.output.result({"before": seq}, lambda: common.output.line(f"blocks before {seq} may be overwritten"))


def _archived_until(folder: Path, info: LoggerInfo) -> int:
    """The first block that the archive lacks: everything before it may go."""
    unread = _unread(folder, info)
    if unread and unread[0].start == info.first_seq:
        raise UsageError(
            f"the archive {folder} lacks the oldest block of this log, so nothing was released. Pull first"
        )
    return unread[0].start if unread else info.next_seq


def _unread(folder: Path, info: LoggerInfo) -> list[range]:
    """What the device holds and the archive does not; all of it when there is no archive."""
    from fieldlog import archive as archives

    everything = [range(info.first_seq, info.next_seq)] if info.next_seq > info.first_seq else []
    if not archives.exists(folder):
        return everything
    with archives.open(folder, writable=False) as archive:
        for log_ in archive.logs():
            if (log_.info().uid, log_.info().log_id) == (info.uid.hex(), info.log_id):
                return log_.unread(info.first_seq, info.next_seq)
    return everything


@log.command()
@options
@archive_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--unread", is_flag=True, help="Erase even what no archive holds yet.")
def erase(common: Common, archive: Path, *, yes: bool, unread: bool) -> None:
    """Erase the log for good: what the archive holds. A device that has recorded something since refuses."""

    async def work() -> int:
        async with common.connect() as device:
            info = await device.logger_info()
            if info.erase_token is None:
                raise UsageError("this device gives no token to erase by")
            if not unread:
                _require_archived(archive, info)
            if not yes:
                _confirm(info)
            request = logger.EraseRequest(id=_request_id(), token=info.erase_token)
            return (await device.request(logger.ERASE, request)).next

    seq = run(work())
    common.output.result({"next_seq": seq}, lambda: common.output.line(f"the log is empty; blocks go on from {seq}"))


def _require_archived(folder: Path, info: LoggerInfo) -> None:
    lacking = sum(map(len, _unread(folder, info)))
    if lacking:
        some = "1 block" if lacking == 1 else f"{lacking} blocks"
        raise UsageError(
            f"{some} of this log are not in the archive {folder}, so nothing was erased. "
            "Pull first; --unread erases them all the same"
        )


def _confirm(info: LoggerInfo) -> None:
    from fieldlog.text import printable

    name = printable(info.name or info.serial or info.uid.hex())
    question = f"Erase {info.used_bytes} bytes of readings on {name} for good?"
    if not sys.stdin.isatty() or not click.confirm(question, err=True):
        raise UsageError("nothing was erased. Add --yes to erase without being asked")
