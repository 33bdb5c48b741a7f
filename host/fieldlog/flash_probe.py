"""Whether new firmware works: it answers, passes its self test, and log and settings are what they were.

Rule: what failed before the update is not the new firmware's fault, and what was out of order may come into order. What
it answers with an error, or not at all while it answers other things, is a finding like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from fieldlog.config.present import Entry, read
from fieldlog.config.schema import schema
from fieldlog.config.values import Value
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo, NoLogger
from fieldlog.self_test import self_test
from fieldlog_protocol.commands.logger import Capability, State
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import ProtocolError, RefusedError, RequestTimeout

T = TypeVar("T")

_SHOWN = 5
_TRIES = 3
"""A line that loses much may lose all repetitions of one request."""
_BUSY_S = 1.0
_ECHO = "fieldlog"
_REPAIRED = {State.FULL: {State.IDLE}, State.FAULT: set(State)}
"""States of a logger, and those that are better."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A device at one moment. `info` is None without FL group; `failing` are the parts that fail its self test.

    `settings` are all that it has, `chosen` those that are not what it would choose itself. `troubles`: what it would
    not tell, and why.
    """

    info: LoggerInfo | None
    failing: frozenset[str] = frozenset()
    settings: Mapping[str, Value] = field(default_factory=dict[str, Value])
    chosen: frozenset[str] = frozenset()
    troubles: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong with new firmware, in a few words each. `settings`: with those that people have chosen.

    `cost`: what any restart costs, to be told.
    """

    faults: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    cost: tuple[str, ...] = ()


async def look(device: Device) -> Snapshot:
    """How the device is now; raises LinkError if it does not answer at all."""
    asked = _Asked(device)
    await asked.learn("echo", lambda: _echo(device), None)
    info = await asked.learn("logger", lambda: _info(device), None)
    if info is None:
        return Snapshot(None, troubles=asked.troubles)
    failing = await asked.learn("self test", lambda: _failing(device, info), frozenset[str]())
    entries = await asked.learn("settings", lambda: _entries(device), list[Entry]())
    settings = {entry.setting.key: entry.value for entry in entries}
    chosen = frozenset(entry.setting.key for entry in entries if entry.changed)
    return Snapshot(info, failing, settings, chosen, asked.troubles)


@dataclass(frozen=True, slots=True)
class _Asked:
    device: Device
    troubles: dict[str, str] = field(default_factory=dict[str, str])

    async def learn(self, name: str, work: Callable[[], Awaitable[T]], unknown: T) -> T:
        """What `work` finds; `unknown`, and a trouble, where the device answers but not to this."""
        for left in reversed(range(_TRIES)):
            try:
                found = await work()
            except RequestTimeout:
                await self._see_it_answers()
                self.troubles[name] = f"it answers, but not to the request for its {name}"
            except (RefusedError, ProtocolError) as error:
                self.troubles[name] = str(error)
                if not left or not self._may_pass(error):
                    return unknown
                await asyncio.sleep(_BUSY_S)
            else:
                self.troubles.pop(name, None)
                return found
        return unknown

    def _may_pass(self, error: RefusedError | ProtocolError) -> bool:
        """On a line without check values what is refused may be another request than was sent."""
        garbled = isinstance(error, ProtocolError) or not self.device.client.checked
        return garbled or (isinstance(error, RefusedError) and error.code == Rc.BUSY)

    async def _see_it_answers(self) -> None:
        """Raises LinkError where nothing is answered any more: that is for the link to mend."""
        try:
            await self.device.params()
        except (RefusedError, ProtocolError):
            return


async def _echo(device: Device) -> None:
    """Not every device has it."""
    try:
        answer = await device.echo(_ECHO)
    except RefusedError as error:
        if (error.group, error.code) != (None, Rc.NOT_SUPPORTED):
            raise
        return
    if answer != _ECHO:
        raise ProtocolError("it echoes another text than it was sent")


async def _info(device: Device) -> LoggerInfo | None:
    try:
        return await device.logger_info()
    except NoLogger:
        return None


async def _failing(device: Device, info: LoggerInfo) -> frozenset[str]:
    if not info.capabilities & Capability.SELF_TEST:
        return frozenset()
    return frozenset(result.n for result in await self_test(device) if not result.ok)


async def _entries(device: Device) -> list[Entry]:
    try:
        return await read(device, await schema(device))
    except RefusedError as error:
        if error.group is None and error.code == Rc.NOT_SUPPORTED:
            return []
        raise


async def judge(device: Device, before: Snapshot | None) -> Judgement:
    """What is wrong with the firmware that runs; nothing when it works. Raises LinkError if it does not answer at all.

    What a line without check values makes of its answers is looked at a second time before it is held against it.
    """
    found = await _judged(device, before)
    if device.client.checked or not (found.faults or found.settings):
        return found
    return await _judged(device, before)


async def _judged(device: Device, before: Snapshot | None) -> Judgement:
    now = await look(device)
    if before is None:
        return Judgement((*_troubles({}, now), *_failures(frozenset(), now), *_fault(now)))
    faults = [*_troubles(before.troubles, now), *_failures(before.failing, now)]
    if before.info is None:
        faults += _fault(now)
    elif now.info is not None:
        faults += _changes(before.info, now.info)
    elif "logger" not in now.troubles:
        faults.append("it has no logger any more")
    known = now.info is not None and "settings" not in now.troubles and "settings" not in before.troubles
    return Judgement(tuple(faults), tuple(_lost_settings(before, now)) if known else (), tuple(_cost(before, now)))


async def problems(device: Device, before: Snapshot | None) -> list[str]:
    """All that `judge` finds."""
    found = await judge(device, before)
    return [*found.faults, *found.settings]


def _troubles(before: Mapping[str, str], now: Snapshot) -> Iterator[str]:
    return (why for name, why in now.troubles.items() if name not in before)


def _failures(before: frozenset[str], now: Snapshot) -> Iterator[str]:
    return (f"its self test of {name!r} fails" for name in sorted(now.failing - before))


def _fault(now: Snapshot) -> Iterator[str]:
    if now.info is not None and now.info.state == State.FAULT:
        yield "its logger reports a fault"


def _changes(before: LoggerInfo, now: LoggerInfo) -> Iterator[str]:
    if now.uid != before.uid:
        yield f"it says that it is device {now.uid.hex()}, not {before.uid.hex()}"
    if now.log_id != before.log_id or now.next_seq < before.next_seq or now.first_seq < before.first_seq:
        yield f"its log is another: it ended before block {before.next_seq} and now ends before {now.next_seq}"
    elif now.first_seq > before.first_seq and (not before.wrap or now.first_seq >= before.next_seq):
        yield f"its log has lost the blocks before {now.first_seq}"  # in a ring, new blocks may take the place of some
    if now.state != before.state and now.state not in _better(before.state):
        yield f"its logger is {_name(now.state)} and was {_name(before.state)}"


def _better(state: State | int) -> set[State]:
    return _REPAIRED.get(state, set()) if isinstance(state, State) else set()


def _name(state: State | int) -> str:
    return state.name.lower() if isinstance(state, State) else f"in state {state}"


def _cost(before: Snapshot, now: Snapshot) -> Iterator[str]:
    clocks = [None if at.info is None else at.info.utc_s for at in (before, now)]
    if clocks[0] is not None and clocks[1] is None:
        yield "the restart has cost the device its clock: set it with `fieldlog clock sync`"


def _lost_settings(before: Snapshot, now: Snapshot) -> Iterator[str]:
    gone = sorted(before.chosen - now.settings.keys())
    other = sorted(key for key in before.chosen & now.settings.keys() if now.settings[key] != before.settings[key])
    if gone:
        yield f"it does not have settings any more that were chosen: {_listed(gone)}"
    if other:
        yield f"settings are not what they were: {_listed(other)}"


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + ("..." if len(keys) > _SHOWN else "")
