"""A plan becomes what the device has: all of it, or nothing.

Rule: whoever calls has shown the plan to somebody. What fails leaves the former values, and what is raised says so, or
says that it cannot be known and when it will be. Repeating is always safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from fieldlog.config.in_order import apply_in_order
from fieldlog.config.link_change import GaveUp, Reach, changes_link, tuning_after
from fieldlog.config.model import Plan
from fieldlog.config.outcome import Applied, changed_since, recording_note, restart_note, with_state
from fieldlog.config.read_back import ReadBack, read_back
from fieldlog.config.same_device import require_same
from fieldlog.config.transaction import WAIT_S, Tell, Transaction, is_refusal, nobody, settle
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog_protocol.commands.logger import TRIAL_S, Capability, LoggerError
from fieldlog_protocol.errors import (
    FieldlogError,
    RefusedError,
    VerificationError,
)

__all__ = ["TIMEOUT_S", "WAIT_S", "Applied", "apply", "settle"]

TIMEOUT_S = TRIAL_S
"""How long a device keeps values on trial that nobody confirms."""

NOTHING_CHANGED = "Nothing was changed: the former values hold"
_SLOW_CLOCK = 1.05
_MARGIN_S = 1.0
_LAST_WORD_S = 3.0
"""What an interrupted host takes to tell the device so."""


async def apply(
    device: Device, plan: Plan, *, timeout_s: int = TIMEOUT_S, tell: Callable[[str], None] = nobody
) -> Applied:
    """Let the device have what the plan says, and read it back; an empty plan is done at once.

    The link may be opened anew on the way, and `device` then stands for the new one. `tell` gets a sentence for each
    step that takes its time. Raises what stopped it (LinkError, RefusedError, ProtocolError, VerificationError; FieldlogError
    when the device has changed since the plan was made), each with what the device holds now.
    """
    if plan.empty:
        return Applied(plan, transaction=True)
    try:
        info = await require_same(device, plan.uid) if await device.has_logger() else None
    except FieldlogError as error:
        raise with_state(error, NOTHING_CHANGED) from error
    if info is None or Capability.TRANSACTION not in info.capabilities:
        return await apply_in_order(device, plan)
    return await _Application(device, plan, timeout_s, tell, info).run()


class _Application:
    """One plan on its way into one device."""

    def __init__(self, device: Device, plan: Plan, timeout_s: int, tell: Tell, info: LoggerInfo) -> None:
        self._device = device
        self._plan = plan
        self._tell = tell
        self._transaction = Transaction(device, timeout_s)
        self._reach = Reach(device, tuning_after(plan, device.client.tuning), tell, self._same)
        self._uid = info.uid
        self._began_in = info.boot_id
        self._boot_id = 0
        self._committed = False
        self._recording = recording_note(info)

    async def run(self) -> Applied:
        try:
            await self._stage()
        except asyncio.CancelledError:
            await self._last_word()
            raise
        except FieldlogError as error:
            raise with_state(error, await self._never_begun()) from error
        try:
            await self._try_out()
        except asyncio.CancelledError:
            await self._last_word()
            raise
        except FieldlogError as error:
            raise await self._gone_back(error) from error
        await self._keep()
        return self._applied()

    def _applied(self) -> Applied:
        tuning = self._device.client.tuning
        link = None if tuning == self._reach.former else str(tuning)
        notes = tuple(filter(None, [restart_note(self._plan), self._recording]))
        return Applied(self._plan, transaction=True, link=link, tuning=None if link is None else tuning, notes=notes)

    # nothing is in effect yet

    async def _stage(self) -> None:
        await self._transaction.begin(self._tell)
        changed = (await read_back(self._device, self._plan)).not_former
        if changed:
            raise changed_since(self._device.name, changed)
        await self._transaction.write(self._plan)

    async def _never_begun(self) -> str:
        """Let the device forget what it was sent; it does so by itself too."""
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self._transaction.abort()
        except (FieldlogError, TimeoutError):
            return (
                f"{NOTHING_CHANGED}. What was sent so far is forgotten by the device within "
                f"{self._transaction.limit_s} s; applying again waits for that"
            )
        return NOTHING_CHANGED

    # on trial

    async def _try_out(self) -> None:
        """From here on the device has the new values, or will have gone back by itself."""
        self._limit()
        await self._reach.take(self._commit)
        if changes_link(self._plan):
            self._tell(self._sentence_of_link())
            await self._reach.take(self._device.params, first=self._reach.new)
        found = await self._reach.take(self._read_back)
        if found.not_new and not found.not_former and self._boot_id != self._began_in:
            raise GaveUp(f"{self._device.name} restarted, and so went back to its former values by itself")
        if found.not_new and not found.not_former and self._reach.lost:
            raise self._too_long_away()
        if found.not_new:
            raise VerificationError(
                f"{self._device.name} said that the new values are in effect, and does not hold them: "
                f"{', '.join(found.not_new)}"
            )

    async def _commit(self) -> None:
        """A commit that may have arrived is repeated only while this transaction is open: it names none, and would put
        what another host has written in half on trial."""
        if self._committed and not await self._transaction.is_open():
            raise self._too_long_away()
        self._committed = True
        await self._transaction.commit()
        self._limit()

    def _too_long_away(self) -> GaveUp:
        return GaveUp(
            f"{self._device.name} went back to its former values by itself: it was out of reach for longer than its time "
            f"limit of {self._transaction.limit_s} s"
        )

    def _limit(self) -> None:
        now = asyncio.get_running_loop().time()
        self._reach.ends_at = now + self._transaction.limit_s * _SLOW_CLOCK + _MARGIN_S

    def _sentence_of_link(self) -> str:
        if self._reach.new != self._reach.former:
            return f"The link changes: going on at {self._reach.new}"
        return "The link may change in a way that cannot be followed from here; seeing whether the device still answers"

    async def _gone_back(self, error: FieldlogError) -> FieldlogError:
        """The former values are brought back, or come back by themselves: an error that says which."""
        self._tell(f"{error}. {self._on_the_way_back(error)}")
        aborted = False
        try:
            aborted = await self._reach.take(self._aborted)
            first = self._reach.former if self._device.client.tuning != self._reach.former else None
            left = (await self._reach.take(self._read_back, first)).not_former
        except RefusedError as refusal:
            return with_state(error, self._not_readable(refusal, aborted=aborted))
        except FieldlogError:
            return with_state(error, self._not_known())
        if not left:
            return with_state(error, "The former values are back, and were read back")
        if not aborted:
            return with_state(
                error, f"The device still has the new values and refuses to go back now. {self._by_itself()}"
            )
        return VerificationError(
            f"{error}. The device was told to go back to its former values and holds others: {', '.join(left)}. "
            "Compare them with `fieldlog config diff`"
        )

    def _on_the_way_back(self, error: FieldlogError) -> str:
        if isinstance(error, GaveUp):
            return "Reading back whether it holds them"
        if self._reach.time_is_over:
            return "By now it has gone back to its former values by itself; looking for it once more"
        return f"Bringing the former values back; the device does so by itself after {self._transaction.limit_s} s"

    async def _aborted(self) -> bool:
        """Whether the transaction is over. What is not open any more has ended before."""
        try:
            await self._transaction.abort()
        except RefusedError as error:
            return is_refusal(error, LoggerError.NO_TRANSACTION)
        return True

    def _by_itself(self) -> str:
        return (
            f"It goes back to all of its former values by itself, {self._transaction.limit_s} s after they were replaced. "
            "Look then with `fieldlog config diff`"
        )

    def _not_readable(self, refusal: RefusedError, *, aborted: bool) -> str:
        took = "It was told to go back to its former values, and took that" if aborted else self._by_itself()
        return f"{took}. What it holds could not be read back ({refusal})"

    def _not_known(self) -> str:
        return (
            "It does not answer, so that nobody can look; but by now it has gone back to all of its former values by "
            f"itself, as it does {self._transaction.limit_s} s after they were replaced. Compare with `fieldlog config "
            "diff` as soon as it answers again"
        )

    # for good

    async def _keep(self) -> None:
        refusal: RefusedError | None = None
        try:
            refusal = await self._reach.take(self._confirm_refused)
            held = None if refusal is None else await self._held_after(refusal)
        except FieldlogError as error:
            raise with_state(
                error,
                "The new values were in effect, and whether the device was still told to keep them is not known: it "
                "holds all of them, or all of the former ones again. Look at it with `fieldlog config diff` as soon as "
                "it answers",
            ) from error
        if refusal is not None and held is None:
            raise await self._gone_back(refusal) from refusal
        if refusal is not None and held is not None and held.not_new:
            state = "The former values hold, and were read back" if not held.not_former else "It holds other values now"
            raise with_state(refusal, f"The device restarted, or its time limit was over before. {state}. Apply again")

    async def _confirm_refused(self) -> RefusedError | None:
        try:
            await self._transaction.confirm()
        except RefusedError as error:
            return error
        return None

    async def _held_after(self, refusal: RefusedError) -> ReadBack | None:
        """No transaction is open any more: it was confirmed and the device has restarted since, or it has ended.

        None: it is open, and the device refuses to keep it.
        """
        if is_refusal(refusal, LoggerError.NO_TRANSACTION):
            return await self._reach.take(self._read_back)
        return None

    async def _read_back(self) -> ReadBack:
        self._boot_id = (await self._same()).boot_id
        return await read_back(self._device, self._plan)

    async def _same(self) -> LoggerInfo:
        return await require_same(self._device, self._uid)

    async def _last_word(self) -> None:
        """Somebody interrupted this."""
        with suppress(FieldlogError, TimeoutError):
            async with asyncio.timeout(_LAST_WORD_S):
                await self._transaction.abort()
