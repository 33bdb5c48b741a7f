"""What a logger says of itself, all parts merged (FL group, command 0)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from fieldlog_protocol.commands.logger import ArmRequest, Capability, InfoResponse, State
from fieldlog_protocol.errors import ProtocolError, RefusedError

T = TypeVar("T")


class NoLogger(RefusedError):
    """The device has no FL group."""

    def __init__(self, name: str) -> None:
        super().__init__(
            8,
            None,
            f"{name} has no fieldlog logger group, so it cannot log, pull or keep a log's clock. "
            "Flash, image, fs, config, stats, shell, clock and reset work on it",
        )


@dataclass(frozen=True, slots=True)
class LoggerInfo:
    """One snapshot of a logger. Texts are the device's and not fit for a terminal as they are.

    Seqs count blocks; `tick` counts 32768 Hz ticks since the boot `boot_id`; `utc_s` and `clock_set_s` are None while
    the device's clock has not been set. `plan` is how the session armed or recorded was asked for, and `starts_in_s` when
    it begins, if that is known. `current_ua` is what is drawn from the battery on average in the present state.
    `recording_ua` is what it will be while the session armed is recorded.
    `clock_ppm`: how far off the tick's rate may be, None for a crystal.
    """

    protocol_version: int
    schema_hash: bytes
    uid: bytes
    log_id: int
    serial: str
    name: str
    product: str
    hardware: str
    firmware: str
    capabilities: Capability
    block_size: int
    boot_id: int
    tick: int
    state: State | int
    first_seq: int
    open_seqs: tuple[int, ...]
    next_seq: int
    used_bytes: int
    total_bytes: int
    released_seq: int
    wrap: bool
    session: int
    plan: ArmRequest | None
    starts_in_s: int | None
    battery_mv: int | None
    battery_percent: int | None
    battery_mah: int | None
    current_ua: int | None
    recording_ua: int | None
    reset_reason: str
    utc_s: int | None
    clock_set_s: int | None
    clock_ppm: int | None
    erase_token: int | None

    @property
    def recording(self) -> bool:
        return self.state == State.LOGGING

    @property
    def active(self) -> bool:
        """Whether a session is armed or being recorded."""
        return self.state in (State.ARMED, State.LOGGING)


def merge(parts: Sequence[InfoResponse]) -> LoggerInfo:
    """One LoggerInfo of all parts; raises ProtocolError when what every logger must say is missing."""
    said: dict[str, object] = {}
    for part in parts:
        said |= {key: value for key in part.__struct_fields__ if (value := getattr(part, key)) is not None}
    whole = msgspec.structs.replace(parts[0], **said)
    return LoggerInfo(
        protocol_version=whole.v or 1,
        schema_hash=whole.schema or b"",
        uid=_needed(whole.uid or None, "uid"),
        log_id=_needed(whole.log, "log"),
        serial=whole.serial or "",
        name=whole.name or "",
        product=whole.product or "",
        hardware=whole.hw or "",
        firmware=whole.fw or "",
        capabilities=Capability(whole.caps or 0),
        block_size=_needed(whole.block, "block"),
        boot_id=_needed(whole.boot, "boot"),
        tick=_needed(whole.tick, "tick"),
        state=_state(_needed(whole.state, "state")),
        first_seq=_needed(whole.first, "first"),
        open_seqs=whole.open or (),
        next_seq=_needed(whole.next, "next"),
        used_bytes=whole.used or 0,
        total_bytes=whole.total or 0,
        released_seq=whole.released or 0,
        wrap=whole.wrap or False,
        session=whole.session or 0,
        plan=whole.plan,
        starts_in_s=whole.left,
        battery_mv=whole.mv,
        battery_percent=whole.pct,
        battery_mah=whole.mah,
        current_ua=whole.ua,
        recording_ua=whole.rua,
        reset_reason=whole.reset or "",
        utc_s=whole.utc or None,
        clock_set_s=whole.set or None,
        clock_ppm=whole.ppm or None,
        erase_token=whole.token,
    )


def _needed(value: T | None, key: str) -> T:
    if value is None:
        raise ProtocolError(f"the logger's description lacks {key!r}, which every logger must give")
    return value


def _state(number: int) -> State | int:
    return State(number) if number in State.__members__.values() else number
