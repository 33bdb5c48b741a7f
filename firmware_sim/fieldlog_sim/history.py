"""A past for a new device: a boot before the present one, in which it recorded what is in its log when it is ready.

Rule: history is not forged. The same device boots at the beginning of it, is armed, samples and is synced as any other,
only that its time is stepped instead of waited for; then its power fails, and it boots again into the present.
"""

from __future__ import annotations

from fieldlog_protocol.commands.logger import ArmRequest, StreamPeriod
from fieldlog_sim.device import Device

SYNC_EVERY_US = 7 * 86_400_000_000
SYNC_ERROR_US = 20_000
_REQUEST_ID = 0x48495354


class SteppedTime:
    """Time that stands still between steps."""

    def __init__(self, utc_us: int) -> None:
        self.now_us = utc_us

    def utc_us(self, at: float | None = None) -> int:  # noqa: ARG002 - it stands still
        return self.now_us

    def until_s(self, utc_us: float | None, now: float) -> float:  # noqa: ARG002 - nobody waits for it
        return 0.0


def record_history(
    device: Device, time: SteppedTime, end_us: int, label: str, streams: tuple[StreamPeriod, ...] | None = None
) -> None:
    """Let `device`, which runs on `time`, record from now to `end_us`: with wrap, so that the newest readings are held."""
    device.set_clock(time.now_us, SYNC_ERROR_US, "gnss")
    assert device.logger is not None
    device.logger.arm(ArmRequest(id=_REQUEST_ID, label=label, wrap=True, streams=streams))
    while time.now_us < end_us:
        time.now_us = min(time.now_us + SYNC_EVERY_US, end_us)
        device.advance()
        device.set_clock(time.now_us, SYNC_ERROR_US, "gnss")
    device.logger.seal()
