"""How the link changes with settings that affect it, and how the device is reached again.

Rule: until it is known which side of the change the device is on, both are tried in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fieldlog.config.model import Change, Plan
from fieldlog.config.values import decode
from fieldlog.device import Device
from fieldlog.steady_link import OtherDevice
from fieldlog.transports.base import Tuning
from fieldlog.url import DEFAULT_UDP_PORT
from fieldlog_protocol.commands.logger import SettingFlag
from fieldlog_protocol.errors import FieldlogError, LinkError, ProtocolError

T = TypeVar("T")

_BAUD, _PORT = "Bd", "{port}"
_PAUSE_S = 0.3
GRACE_S = 15.0
"""How long a device is looked for after it has given a change up by itself."""


def tuning_after(plan: Plan, former: Tuning) -> Tuning:
    """What the host's end of the link has to be once the plan is in effect, as far as the settings say so by their units."""
    baud = port = None
    for change in plan.settings:
        if _acts_now(change):
            value = decode(change.setting, change.new)
            if change.setting.unit == _BAUD and isinstance(value, int):
                baud = value
            elif change.setting.unit == _PORT and isinstance(value, int):
                port = value or DEFAULT_UDP_PORT
    return former.adopting(Tuning(baud, port))


def changes_link(plan: Plan) -> bool:
    """Whether the link may be another one as soon as the plan is in effect."""
    return any(map(_acts_now, plan.settings))


def _acts_now(change: Change) -> bool:
    return change.setting.flags & (SettingFlag.AFFECTS_LINK | SettingFlag.NEEDS_RESTART) == SettingFlag.AFFECTS_LINK


class GaveUp(LinkError):
    """The device has gone back by itself: reaching it again is of no use."""


class Reach:
    """Takes steps on a device that may be on either side of a change of the link, until `ends_at` and a while longer.

    `ends_at` is when the device has given up by itself at the latest, in the loop's time. `check` raises OtherDevice unless
    it is the device that it was: no step is taken on another one, which may have come to the same port.
    """

    def __init__(
        self, device: Device, new: Tuning, tell: Callable[[str], None], check: Callable[[], Awaitable[object]]
    ) -> None:
        self._device = device
        self._tell = tell
        self._check = check
        self.former = device.client.tuning
        self.new = new
        self.lost = False
        self.ends_at = asyncio.get_running_loop().time()

    @property
    def time_is_over(self) -> bool:
        """Whether the device has gone back by itself."""
        return self._now() >= self.ends_at

    async def take(self, step: Callable[[], Awaitable[T]], first: Tuning | None = None) -> T:
        """What the step answers, taken as often as it needs; `first` is how to open the link before. Raises what a
        refused step raises, and when the device stays away OtherDevice, or what went wrong first."""
        tuning = first or self._device.client.tuning
        error: FieldlogError | None = None if first is None else await self._open(first)
        lost: FieldlogError | None = None
        while True:
            if error is None:
                try:
                    return await step()
                except GaveUp:
                    raise
                except (LinkError, ProtocolError, OtherDevice) as failed:
                    error = failed
            if lost is None:
                lost, self.lost = error, True
                left_s = max(0.0, self.ends_at + GRACE_S - self._now())
                if left_s >= 1:
                    self._tell(f"{self._device.name} does not answer. Trying to reach it again for {left_s:.0f} s")
            if self._now() >= self.ends_at + GRACE_S:
                raise (error if isinstance(error, OtherDevice) else lost) from None
            tuning = self._other(tuning)
            await asyncio.sleep(_PAUSE_S)
            error = await self._open(tuning)

    async def _open(self, tuning: Tuning) -> FieldlogError | None:
        """What stands in the way, a refusal to say who it is included; None: it is reached."""
        try:
            await self._device.reopen(tuning)
            await self._check()
        except FieldlogError as error:
            return error
        return None

    def _other(self, tuning: Tuning) -> Tuning:
        return self.former if tuning == self.new or self.time_is_over else self.new

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
