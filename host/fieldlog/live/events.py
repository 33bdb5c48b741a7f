"""What happens while a logger is followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fieldlog.live.frames import Frames, Layout
from fieldlog.logger_info import LoggerInfo


@dataclass(frozen=True, slots=True)
class Found:
    """What the device is and does: at first, whenever it was asked again because nothing came, and after a restart.

    `error_us`: how far off times may be by this computer's clock.
    """

    info: LoggerInfo
    layouts: tuple[Layout, ...]
    error_us: int


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The link broke and is being opened again; `text` says so for people."""

    text: str


@dataclass(frozen=True, slots=True)
class LinkBack:
    """The link works again. What the device no longer has is in `lost` of the frames that come."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The device has restarted: how many frames were missed by that is not known."""

    boot_id: int


Event: TypeAlias = Frames | Found | LinkLost | LinkBack | Restarted
