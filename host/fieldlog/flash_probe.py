"""Whether new firmware works: it answers, passes its self test, and log and settings are what they were.

Rule: what failed before the update is not the new firmware's fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fieldlog.config.present import read
from fieldlog.config.schema import schema
from fieldlog.config.values import Value
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo, NoLogger
from fieldlog.self_test import self_test
from fieldlog_protocol.commands.logger import Capability, State
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import RefusedError

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A logger at one moment. `failing` are the parts that fail its self test, `settings` what people have chosen."""

    info: LoggerInfo
    failing: frozenset[str]
    settings: Mapping[str, Value]


async def look(device: Device) -> Snapshot | None:
    """How the device is now; None without FL group: then there is nothing to compare."""
    try:
        info = await device.logger_info()
    except NoLogger:
        return None
    return Snapshot(info, await _failing(device, info), await _chosen(device))


async def _failing(device: Device, info: LoggerInfo) -> frozenset[str]:
    if not info.capabilities & Capability.SELF_TEST:
        return frozenset()
    return frozenset(result.n for result in await self_test(device) if not result.ok)


async def _chosen(device: Device) -> Mapping[str, Value]:
    """The settings that are not what the device would choose itself."""
    try:
        entries = await read(device, await schema(device))
    except RefusedError as error:
        if error.group is None and error.code == Rc.NOT_SUPPORTED:
            return {}
        raise
    return {entry.setting.key: entry.value for entry in entries if entry.changed}


async def problems(device: Device, before: Snapshot | None) -> list[str]:
    """What is wrong with the firmware that runs, in a few words each; empty when it works."""
    await device.echo("fieldlog")
    now = await look(device)
    if now is None:
        return ["it has no logger any more"] if before is not None else []
    found = [f"its self test of {name!r} fails" for name in sorted(now.failing - (before.failing if before else set()))]
    if before is not None:
        found += _changes(before.info, now.info)
        found += _lost_settings(before.settings, now.settings)
    elif now.info.state == State.FAULT:
        found.append("its logger reports a fault")
    return found


def _changes(before: LoggerInfo, now: LoggerInfo) -> Iterator[str]:
    if now.uid != before.uid:
        yield f"it says that it is device {now.uid.hex()}, not {before.uid.hex()}"
    if now.log_id != before.log_id or now.next_seq < before.next_seq or now.first_seq < before.first_seq:
        yield f"its log is another: it ended before block {before.next_seq} and now ends before {now.next_seq}"
    elif now.first_seq > before.first_seq and (not before.wrap or now.first_seq >= before.next_seq):
        yield f"its log has lost the blocks before {now.first_seq}"  # in a ring, new blocks may take the place of some
    if now.state != before.state:
        yield f"its logger is {_name(now.state)} and was {_name(before.state)}"


def _name(state: State | int) -> str:
    return state.name.lower() if isinstance(state, State) else f"in state {state}"


def _lost_settings(before: Mapping[str, Value], now: Mapping[str, Value]) -> Iterator[str]:
    lost = [key for key, value in before.items() if now.get(key) != value]
    if lost:
        more = "..." if len(lost) > _SHOWN else ""
        yield f"settings are not what they were: {', '.join(lost[:_SHOWN])}{more}"
