"""What the archive tells about itself, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field

from fieldlog_protocol.blocks.events import Event

LONGEST_UID = 64
"""Bytes."""


@dataclass(frozen=True, slots=True)
class LogInfo:
    """One log: a device (`uid`, hex) since its store was formatted (`log_id`). Serial and label are only names."""

    uid: str
    log_id: int
    serial: str = ""
    label: str = ""
    product: str = ""
    firmware: str = ""
    first_seen_us: int = 0

    @property
    def name(self) -> str:
        """What people call the device."""
        return self.label or self.serial or self.uid


@dataclass(frozen=True, slots=True)
class Session:
    """One run of logging; `stop_tick` and `last_seq` are None while it goes on. `metadata`: texts of the deployment."""

    id: int
    label: str
    boot_id: int
    start_tick: int
    stop_tick: int | None
    first_seq: int
    last_seq: int | None
    frames: int
    reason: str
    metadata: dict[str, str] = field(default_factory=dict[str, str], hash=False)


@dataclass(frozen=True, slots=True)
class Gap:
    """Blocks that will never be had: overwritten before they were read, or never committed."""

    first_seq: int
    last_seq: int
    reason: str
    found_us: int


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the log, and the block that tells it."""

    seq: int
    boot_id: int
    tick: int
    event: Event
    session: int = 0


@dataclass(frozen=True, slots=True)
class Pull:
    """One attempt at reading a device; `outcome` stays "interrupted" until it is told otherwise."""

    started_us: int
    finished_us: int | None
    blocks: int
    bytes: int
    outcome: str
