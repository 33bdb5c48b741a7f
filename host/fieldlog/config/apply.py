"""A plan becomes what the device has: all of it, or nothing.

Rule: whoever calls has shown the plan to somebody. What fails leaves the former values, and what is raised says so, or
says that it cannot be known and when it will be. Repeating is always safe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fieldlog.config.model import Plan
from fieldlog.device import Device

TIMEOUT_S = 60
"""How long a device keeps values on trial that nobody confirms."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a plan: all of it holds, and was read back from the device.

    `transaction`: it was one, so that nobody ever saw a part of it; else the values were written one after another.
    `kept`: they outlast a restart; some devices cannot store them. `link`: how the device is reached from now on, where
    that has changed: such as "115200 baud" or "UDP port 1338". `notes` are sentences for whoever asked.
    """

    plan: Plan
    transaction: bool
    kept: bool = True
    link: str | None = None
    notes: tuple[str, ...] = ()


def _nobody(_: str) -> None:
    """Nobody listens."""


async def settle(device: Device, tell: Callable[[str], None] = _nobody) -> None:
    """Wait until no transaction is open, so that what is read is what holds: before any plan is made.

    A transaction is left open by a host that was killed in the middle, for its time limit at most. `tell` is called
    with a sentence when there is something to wait for. Harmless on a device without transactions.
    """


async def apply(
    device: Device, plan: Plan, *, timeout_s: int = TIMEOUT_S, tell: Callable[[str], None] = _nobody
) -> Applied:
    """Let the device have what the plan says, and read it back; an empty plan is done at once.

    The link may be opened anew on the way, and `device` then stands for the new one. `tell` gets a sentence for each
    step that takes its time. Raises what stopped it (LinkError, RefusedError, ProtocolError, VerificationError; UsageError
    when the device has changed since the plan was made), each with what the device holds now.
    """
    raise NotImplementedError
