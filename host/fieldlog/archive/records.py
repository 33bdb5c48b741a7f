"""What the archive tells about itself, as plain records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fieldlog_protocol.blocks.events import Event

LONGEST_UID = 64
"""Bytes."""


@dataclass(frozen=True, slots=True)
class LogInfo:
    """One log: a device (`uid`, hex) since its store was formatted (`log_id`). Serial and label are only names; `apart` is what
    it is called beside another device of its name."""

    uid: str
    log_id: int
    serial: str = ""
    label: str = ""
    product: str = ""
    firmware: str = ""
    first_seen_us: int = 0
    apart: str = ""

    @property
    def name(self) -> str:
        """What people call the device."""
        return self.apart or self.label or self.serial or self.uid

    @property
    def names_apart(self) -> tuple[str, str]:
        """Its name with the serial number or the uid behind it."""
        name = self.label or self.serial or self.uid
        return f"{name} {self.serial}", f"{name} {self.uid}"


def told_apart(infos: Sequence[LogInfo]) -> list[LogInfo]:
    """Where devices have one name, each with its serial number behind it, or its uid where that tells no more."""
    alike: dict[str, dict[str, str]] = {}
    for info in infos:
        alike.setdefault(info.name, {})[info.uid] = info.serial
    return [_apart(info, alike[info.name]) for info in infos]


def _apart(info: LogInfo, serials: dict[str, str]) -> LogInfo:
    if len(serials) == 1:
        return info
    by_serial, by_uid = info.names_apart
    return replace(info, apart=by_serial if len({*serials.values()} - {""}) == len(serials) else by_uid)


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
