"""What became of a plan, and how a failure says what the device holds.

Rule: no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fieldlog.config.model import Plan
from fieldlog.logger_info import LoggerInfo
from fieldlog.transports.base import Tuning
from fieldlog_protocol.commands.logger import SettingFlag
from fieldlog_protocol.errors import (
    DeviceNotFound,
    FieldlogError,
    LinkError,
    NotPaired,
    ProtocolError,
    RefusedError,
    RequestTimeout,
    UsageError,
    VerificationError,
)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a plan: all of it holds, and was read back from the device.

    `transaction`: it was one, so that nobody ever saw a part of it; else the values were written one after another.
    `kept`: they outlast a restart; some devices cannot store them. `link`: how the device is reached from now on, where
    that has changed: such as "115200 baud" or "UDP port 1338", and `tuning` the same in numbers. `notes` are sentences for whoever asked.
    """

    plan: Plan
    transaction: bool
    kept: bool = True
    link: str | None = None
    tuning: Tuning | None = None
    notes: tuple[str, ...] = ()


def restart_note(plan: Plan) -> str:
    """Which values wait for a restart; empty when none does."""
    keys = [change.setting.key for change in plan.settings if change.setting.flags & SettingFlag.NEEDS_RESTART]
    return f"After a restart of the device these take effect: {', '.join(keys)} (`fieldlog reset`)" if keys else ""


def recording_note(info: LoggerInfo) -> str:
    """What becomes of a session; empty where none is armed or recorded."""
    if not info.active:
        return ""
    what = (
        "is being recorded and goes on: what it records from now on goes" if info.recording else "stays armed and goes"
    )
    return f"Session {info.session} {what} by the new values"


def changed_since(name: str, keys: Sequence[str]) -> FieldlogError:
    """Somebody else was quicker."""
    return FieldlogError(
        f"{name} has changed since the plan was made: {', '.join(keys)}. Nothing was changed by this plan; repeat the "
        "command to make it again"
    )


_KINDS = (UsageError, ProtocolError, VerificationError, RequestTimeout, DeviceNotFound, NotPaired, LinkError)


def with_state(error: FieldlogError, state: str) -> FieldlogError:
    """The same kind of error, which says what state the device is in too."""
    text = f"{str(error).rstrip('.')}. {state}"
    if isinstance(error, RefusedError):
        return RefusedError(error.code, error.group, text, error.details)
    kind = next((kind for kind in _KINDS if isinstance(error, kind)), FieldlogError)
    return kind(text)
