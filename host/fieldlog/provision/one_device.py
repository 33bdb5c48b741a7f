"""All that is done to one device, in order: flash, configure, set the clock, self test, arm.

Rule: everything that can be found wrong is found before the first thing is written, and what comes of each step is kept
at once. Whoever repeats it does what is left to do.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from fieldlog.arming import Wish, request_for, session_state, survey
from fieldlog.clock import DeviceTime, read_clock, sync_clock
from fieldlog.config.apply import TIMEOUT_S, apply, settle
from fieldlog.config.plan import make_plan
from fieldlog.config.plan_words import plan_json
from fieldlog.config.same_device import require_same
from fieldlog.config.schema_cache import SchemaCache
from fieldlog.config.target import read_target
from fieldlog.device import Device
from fieldlog.firmware_package import FirmwarePackage
from fieldlog.flash import Flashed, Outcome, flash
from fieldlog.flash_checks import make_plan as make_flash_plan
from fieldlog.flash_plan import FlashOptions
from fieldlog.logger_info import LoggerInfo
from fieldlog.provision.fleet import Fleet, Row
from fieldlog.provision.progress import ArmStep, FlashStep, Progress, Record, Steps, TestedPart
from fieldlog.provision.wanted import Order, order
from fieldlog.self_test import self_test
from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import Capability, State
from fieldlog_protocol.errors import LinkError, RefusedError, UsageError, VerificationError

Tell = Callable[[str], None]
_PAUSE_S = 0.3
STEPS = ("flash", "configure", "clock", "selftest", "arm")


@dataclass(frozen=True, slots=True)
class Options:
    """`package` None: the firmware stays. `stop_logging`: a session that is armed or recorded is ended."""

    package: FirmwarePackage | None = None
    flash: FlashOptions = field(default_factory=FlashOptions)
    stop_logging: bool = False
    cache: SchemaCache | None = None
    timeout_s: int = TIMEOUT_S
    """After this a device has its former values again, unless it was seen to hold the new ones."""


@dataclass(slots=True)
class Work:
    """One device in one attempt. `record` says what was done before."""

    device: Device
    fleet: Fleet
    row: Row
    record: Record
    progress: Progress
    options: Options
    tell: Tell

    async def run(self) -> None:
        """Raises what stopped it; the record then says how far it came."""
        info = await self.device.logger_info()
        self._identify(info)
        if not self._is_armed(info):
            self._require_idle(info)
            await settle(self.device, self.tell)
            if not await self._is_to_be_flashed():
                await self._order(info)  # what is wrong with it shall stop nothing that is recorded
            await self._prepare()
        self.record.done, self.record.error = True, None

    async def _prepare(self) -> None:
        await self._flash()
        info = await self._same()
        self._identify(info)
        found = await self._order(info)
        await self._stop(info)
        await self._configure(found)
        await self._same()
        await self._clock()
        await self._test(info)
        await self._same()
        await self._arm(found.wish)

    # before anything is written

    def _is_armed(self, info: LoggerInfo) -> bool:
        """Whether an earlier attempt came so far that only its end was not heard: the session bears its id."""
        plan, state = info.plan, info.state
        if not info.active or plan is None or self.record.arm_id is None or plan.id != self.record.arm_id:
            return False
        self._keep({"arm": _armed_json(info.session, int(state), plan.label or "")})
        return True

    def _require_idle(self, info: LoggerInfo) -> None:
        if info.active and not self.options.stop_logging:
            what = "records" if info.recording else "is armed for"
            raise UsageError(
                f"the device {what} session {info.session} already. Nothing was changed; pull it and stop it, or give "
                "--stop-logging, which ends it and keeps what was recorded"
            )

    async def _is_to_be_flashed(self) -> bool:
        package = self.options.package
        return (
            package is not None and not (await make_flash_plan(self.device, package, self.options.flash)).nothing_to_do
        )

    async def _order(self, info: LoggerInfo) -> Order:
        """What is wanted, held against what the device takes; and what it is to record, as if its clock were set."""
        target = await read_target(self.device, info, cache=self.options.cache)
        return order(self.fleet, self.row, info, target, DeviceTime(time.time_ns() // 1000, 0, 0))

    async def _stop(self, info: LoggerInfo) -> None:
        if not info.active:
            return
        self.record.arm_id = None
        with suppress(RefusedError):  # it may have ended by itself
            done = await self.device.request(logger.STOP, logger.StopRequest(id=secrets.randbits(32)))
            self.tell(f"session {done.session} stopped")

    # the steps

    async def _flash(self) -> None:
        package = self.options.package
        if package is None:
            return
        done = await flash(self.device, package, self.options.flash, tell=self.tell)
        if done.outcome is not Outcome.ALREADY or "flash" not in self.record.steps:
            self._keep({"flash": _flashed_json(done)})

    async def _configure(self, found: Order) -> None:
        target = await read_target(self.device, cache=self.options.cache)
        plan = await make_plan(self.device, found.wanted, target)
        changes = plan_json(plan)
        if plan.empty and "configure" in self.record.steps:
            return
        applied = await apply(self.device, plan, timeout_s=self.options.timeout_s, tell=self.tell)
        self._keep({"configure": {"changes": changes, "kept": applied.kept, "link": applied.link}})
        self.tell(f"configured: {len(changes)} changed" if changes else "configured already")
        if plan.needs_restart:
            await self._restart()

    async def _clock(self) -> None:
        before = await read_clock(self.device)
        await sync_clock(self.device)
        after = await read_clock(self.device)
        self._keep({"clock": {"was_off_us": before.offset_us, "off_us": after.offset_us, "error_us": after.error_us}})
        self.tell("clock set")

    async def _test(self, info: LoggerInfo) -> None:
        if Capability.SELF_TEST not in info.capabilities:
            self._keep({"selftest": {"results": None}})
            return
        results = await self_test(self.device)
        found: list[TestedPart] = [{"name": test.n, "passed": test.ok, "measured": test.x} for test in results]
        self._keep({"selftest": {"results": found}})
        failed = [f"{test.n} {test.x or ''}".rstrip() for test in results if not test.ok]
        if failed:
            raise VerificationError(f"the self test failed: {'; '.join(failed)}. It is configured and not armed")
        self.tell("self test passed")

    async def _arm(self, wish: Wish | None) -> None:
        if wish is None:
            self._keep({"arm": {"session": None}})
            return
        request = request_for(wish, await survey(self.device))
        if self.record.arm_id is None:
            self.record.arm_id = secrets.randbits(32)
            self.progress.keep(self.record)  # before it is sent: a repetition must bear the same
        answer = await self.device.request(logger.ARM, msgspec.structs.replace(request, id=self.record.arm_id))
        self._keep({"arm": _armed_json(answer.session, answer.state, wish.label)})
        self.tell(f"session {answer.session} {session_state(answer.state)}")

    async def _restart(self) -> None:
        """Let take effect what does so at a start: before the clock is set, which a restart may lose."""
        self.tell("restarting, so that all of it takes effect")
        before = (await self.device.logger_info()).boot_id
        with suppress(LinkError):  # the answer may be lost with the link
            await self.device.reset()
        deadline = asyncio.get_running_loop().time() + self.options.flash.return_s
        while True:
            await asyncio.sleep(_PAUSE_S)
            with suppress(LinkError):
                await self.device.reopen()
                if (await self._same()).boot_id != before:
                    return
            if asyncio.get_running_loop().time() > deadline:
                raise LinkError(
                    f"{self.device.name} was restarted and did not come back within {self.options.flash.return_s:.0f} s. It is "
                    "configured; look after it, and repeat the command"
                )

    # small parts

    async def _same(self) -> LoggerInfo:
        """What the device says of itself, if it still is the one at the link: what is in the record is of that one."""
        return await require_same(self.device, bytes.fromhex(self.record.uid))

    def _identify(self, info: LoggerInfo) -> None:
        self.record.serial, self.record.firmware = info.serial, info.firmware
        self.record.product, self.record.hardware = info.product, info.hardware
        self.progress.keep(self.record)

    def _keep(self, done: Steps) -> None:
        self.record.steps.update(done)
        self.progress.keep(self.record)


async def until_logger(device: Device, options: Options, tell: Tell) -> LoggerInfo:
    """The device's own word; one that runs other firmware is flashed first, if there is an image."""
    if not await device.has_logger() and options.package is not None:
        await flash(device, options.package, options.flash, tell=tell)
        await device.reopen()
    return await device.logger_info()


def _flashed_json(done: Flashed) -> FlashStep:
    return {"outcome": done.outcome.name.lower(), "version": done.version, "before": done.before}


def _armed_json(session: int, state: int, label: str) -> ArmStep:
    known = State(state).name.lower() if state in State.__members__.values() else str(state)
    return {"session": session, "state": known, "label": label}
