"""How a device's boot loader was built, and what is wrong with the firmware that it will start."""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog_protocol.image import ImageVersion, PublicKey
from fieldlog_sim.boot_swap import BootMode


@dataclass(frozen=True, slots=True)
class BootConfig:
    """`keys`: without them an image need not be signed. `recovery`: the first start ends in serial recovery.

    `hanging`: versions that never come up, until the watchdog bites; `failing`: those whose self test fails.
    """

    mode: BootMode = BootMode.MOVE
    images: int = 1
    keys: tuple[PublicKey, ...] = ()
    no_downgrade: bool = False
    security_counter: bool = False
    recovery: bool = False
    hanging: frozenset[ImageVersion] = frozenset()
    failing: frozenset[ImageVersion] = frozenset()
