"""One settings transaction on a device, step by step (FL 16).

Rule: every step names the transaction and may be repeated, so that whoever does not know whether a step arrived takes it
again. What to do when a step fails is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from fieldlog.client import Reply
from fieldlog.config.model import Plan
from fieldlog.deployment import write_metadata
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog_protocol.commands import Empty, Group, logger, settings
from fieldlog_protocol.commands.logger import Capability, LoggerError, TransactionStep
from fieldlog_protocol.errors import RefusedError

Tell = Callable[[str], None]

WAIT_S = 75
"""How long another host's change is waited for: longer than one lasts that was left open, with the usual time limit."""

_ASK_AGAIN_S = 1
_NOT_LONGER_S = 0xFFFF
_SAFELY_REPEATED_S = 20
"""A request is repeated for less than this."""


def nobody(_: str) -> None:
    """Nobody listens."""


def is_refusal(error: RefusedError, code: LoggerError) -> bool:
    return (error.group, error.code) == (Group.LOGGER, code)


async def has_transactions(device: Device) -> bool:
    """Whether the device changes settings, calibrations and metadata all at once."""
    if not await device.has_logger():
        return False
    caps = (await device.request(logger.INFO, logger.InfoRequest())).caps
    return bool((caps or 0) & Capability.TRANSACTION)


async def settle(device: Device, tell: Tell = nobody, wait_s: int = WAIT_S, *, info: LoggerInfo | None = None) -> None:
    """Wait until no transaction is open, so that what is read is what holds: before any plan is made.

    A transaction is left open by a host that was killed in the middle, for its time limit at most. `tell` is called
    with a sentence when there is something to wait for; RefusedError is raised when it is not over in `wait_s`. Harmless
    on a device without transactions. `info` where it was asked before.
    """
    known = info is not None and Capability.TRANSACTION in info.capabilities
    if known or (info is None and await has_transactions(device)):
        transaction = Transaction(device, 1)
        await transaction.begin(tell, wait_s)
        await transaction.abort()


class Transaction:
    """`limit_s`: how long the device keeps values on trial, and how long it waits for writes before."""

    def __init__(self, device: Device, limit_s: int) -> None:
        self.id = secrets.randbits(32)
        self.limit_s = min(limit_s, _NOT_LONGER_S)
        self._device = device

    async def begin(self, tell: Tell, wait_s: int = WAIT_S) -> None:
        """Open it, as soon as no other is open; raises RefusedError when another still is after `wait_s`."""
        loop = asyncio.get_running_loop()
        deadline, told = loop.time() + wait_s, False
        while (refusal := await self._begin_refused()) is not None:
            left_s = _left_s(refusal)
            if loop.time() >= deadline:
                raise self._kept_open(refusal, left_s, wait_s)
            if not told:
                tell(f"{self._open_elsewhere()}. Waiting until it ends, {min(left_s, wait_s)} s at most")
                told = True
            await asyncio.sleep(min(max(left_s, 0.2), _ASK_AGAIN_S))

    async def _begin_refused(self) -> RefusedError | None:
        try:
            await self._step(TransactionStep.BEGIN)
        except RefusedError as error:
            if not is_refusal(error, LoggerError.TRANSACTION_OPEN):
                raise
            return error
        return None

    def _open_elsewhere(self) -> str:
        return f"{self._device.name} has another change open, of which nobody has said that it is to stay"

    def _kept_open(self, refusal: RefusedError, left_s: int, wait_s: int) -> RefusedError:
        text = f"{self._open_elsewhere()}: after {wait_s} s it still has {left_s} s to go. Repeat the command when it is over"
        return RefusedError(refusal.code, refusal.group, text, refusal.details)

    async def write(self, plan: Plan) -> None:
        """Send all that is new, without waiting in between; the device keeps it aside."""
        replies = [self._setting(change.setting.key, change.new) for change in plan.settings]
        replies += [self._calibration(item.stream_id, item.position, item.new) for item in plan.calibration]
        try:
            for reply in replies:
                await reply
        finally:
            for reply in replies:
                reply.cancel()
        if plan.metadata is not None:
            await write_metadata(self._device, plan.metadata.new, self.id)

    async def commit(self) -> None:
        """Let the device have the new values, on trial.

        The message names no transaction, so it is repeated only while no other one can be open in the place of this.
        """
        tries = 1 if self.limit_s < _SAFELY_REPEATED_S else None
        await self._device.client.request(settings.COMMIT, Empty(), tries=tries)

    async def is_open(self) -> bool:
        """Whether the device still has it open, staging or on trial. After a restart it has a new one, with nothing in it."""
        try:
            await self._step(TransactionStep.BEGIN)
        except RefusedError as error:
            if is_refusal(error, LoggerError.NO_TRANSACTION) or is_refusal(error, LoggerError.TRANSACTION_OPEN):
                return False
            raise
        return True

    async def confirm(self) -> None:
        """Keep them for good."""
        await self._step(TransactionStep.CONFIRM)

    async def abort(self) -> None:
        """Bring the former ones back."""
        await self._step(TransactionStep.ABORT)

    async def _step(self, step: TransactionStep) -> None:
        secs = self.limit_s if step is TransactionStep.BEGIN else None
        await self._device.request(logger.TRANSACTION, logger.TransactionRequest(step=step, id=self.id, secs=secs))

    def _setting(self, key: str, value: bytes) -> Reply[Empty]:
        return self._device.client.start(settings.WRITE, settings.SettingWriteRequest(name=key, val=value, t=self.id))

    def _calibration(self, stream: int, channel: int, coefficients: tuple[float, ...]) -> Reply[Empty]:
        request = logger.CalibrateRequest(id=secrets.randbits(32), s=stream, c=channel, cal=coefficients, t=self.id)
        return self._device.client.start(logger.CALIBRATE, request)


def _left_s(error: RefusedError) -> int:
    """A device of other making may not say."""
    left = error.details.get("left")
    return left if isinstance(left, int) and 0 <= left <= _NOT_LONGER_S else logger.TRIAL_S
