"""`fieldlog log sessions`: what the device remembers to have recorded, and when that was, as far as it can be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.clock import probe_clock
from fieldlog.clock_sync import Sync
from fieldlog.datetimes import utc_of
from fieldlog.device import Device
from fieldlog.recording import read_sessions
from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.commands.logger import SessionInfo, StopReason
from fieldlog_protocol.errors import VerificationError

_COLUMNS = ("session>", "label", "began (UTC)", "ended (UTC)", "boot>", "frames>", "blocks", "ended by")


@click.command()
@options
def sessions(common: Common) -> None:
    """List the sessions that the device remembers.

    Times are those of this computer's clock, and told for what happened since the device last restarted; `archive ls`
    knows the others once they are pulled.
    """

    async def work() -> tuple[list[SessionInfo], Sync | None]:
        async with common.connect() as device:
            boot = (await device.logger_info()).boot_id
            found = await read_sessions(device)
            timed = any(boot in (session.boot, session.eboot) for session in found)
            return found, await _sync(device) if timed else None

    found, sync = run(work())
    described = [_described(session, sync) for session in found]
    rows = [_row(item) for item in described]
    common.output.result({"sessions": described}, lambda: common.output.table(_COLUMNS, rows))


async def _sync(device: Device) -> Sync | None:
    """A device whose ticks make no sense has sessions all the same."""
    try:
        return await probe_clock(device)
    except VerificationError:
        return None


def _described(session: SessionInfo, sync: Sync | None) -> dict[str, Any]:
    return {
        "id": session.id,
        "label": session.label,
        "boot_id": session.boot,
        "began": _utc(session.boot, session.start, sync),
        "ended": None if session.stop is None else _utc(session.eboot, session.stop, sync),
        "frames": session.frames,
        "first_seq": session.first,
        "last_seq": session.last,
        "ended_by": _why(session.why),
    }


def _utc(boot: int | None, tick: int, sync: Sync | None) -> str | None:
    """When a tick of this boot was; None for ticks of another."""
    if sync is None or boot != sync.boot_id:
        return None
    time = utc_of(sync.utc_us + (tick - sync.tick) * 1_000_000 // TICK_HZ)
    return None if time is None else time.isoformat(timespec="seconds")


def _row(item: dict[str, Any]) -> Sequence[object]:
    blocks = "none" if item["last_seq"] is None else f"{item['first_seq']} to {item['last_seq']}"
    began, ended = _plain(item["began"]), _plain(item["ended"])
    return item["id"], item["label"], began, ended, item["boot_id"], item["frames"], blocks, item["ended_by"]


def _plain(time: str | None) -> str | None:
    """Without the letter, and the offset that the column names."""
    return None if time is None else time.replace("T", " ").removesuffix("+00:00")


def _why(number: int) -> str:
    if number == StopReason.RUNNING:
        return "still running"
    return StopReason(number).name.lower() if number in StopReason.__members__.values() else f"reason {number}"
