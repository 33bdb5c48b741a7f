"""How long a logger can go on: by what is left of its log, and by what is left in its battery.

Rule: an estimate says what it rests on. The rate at which a session fills the log is measured on that session as soon as
it has written enough, and is guessed until then from what the readings take as raw numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import StreamInfo
from fieldlog_protocol.commands.logger import ArmRequest, SessionInfo, StartMode, StopReason

USUAL_PACKING = 3.0
"""How many times smaller than raw numbers readings usually are in the log."""
_ENOUGH_BLOCKS = 12
_UNITS = ((365.25 * 86_400, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
_VALUE_BYTES = {"1": 1, "2": 2, "4": 4, "8": 8}


@dataclass(frozen=True, slots=True)
class Estimate:
    """`bytes_per_s` is None where a stream has no fixed rate and nothing was measured.

    `memory_s`: until the log is full, or in a ring until the oldest is overwritten. `battery_s`: at the present current.
    """

    free_bytes: int
    bytes_per_s: float | None
    measured: bool
    memory_s: float | None
    battery_s: float | None


def rough(seconds: float) -> str:
    """A duration as one says it: 3.5 days."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}"


def estimate(info: LoggerInfo, streams: Sequence[StreamInfo], session: SessionInfo | None = None) -> Estimate:
    """For a session that records `streams`; with `session`, if it is being recorded, what was measured on it."""
    rate = None if session is None else measured_rate(info, streams, session)
    usual = rate if rate is not None else usual_rate(streams)
    free = free_bytes(info)
    return Estimate(
        free_bytes=free,
        bytes_per_s=usual,
        measured=rate is not None,
        memory_s=free / usual if usual else None,
        battery_s=_battery_s(info),
    )


def free_bytes(info: LoggerInfo) -> int:
    """What can be written before anything is overwritten that is to be kept, or in a ring that is held at all."""
    if info.wrap:
        return info.total_bytes - info.used_bytes if info.used_bytes < info.total_bytes else 0
    kept = (info.next_seq - max(info.first_seq, info.released_seq)) * info.block_size
    return max(0, info.total_bytes - max(0, min(kept, info.used_bytes)))


def usual_rate(streams: Sequence[StreamInfo]) -> float | None:
    """Bytes a second that such streams usually take."""
    if not streams or not all(stream.period_us for stream in streams):
        return None
    return sum(_frame_bytes(stream) * 1e6 / stream.period_us for stream in streams) / USUAL_PACKING


def measured_rate(info: LoggerInfo, streams: Sequence[StreamInfo], session: SessionInfo) -> float | None:
    """Bytes a second that the running session takes; None before it has written enough to tell."""
    if session.why != StopReason.RUNNING or session.last is None or not session.frames:
        return None
    blocks = session.last - session.first + 1
    if blocks < _ENOUGH_BLOCKS or not streams or not all(stream.period_us for stream in streams):
        return None
    frames_per_s = sum(1e6 / stream.period_us for stream in streams)
    return blocks * info.block_size / session.frames * frames_per_s


def _frame_bytes(stream: StreamInfo) -> int:
    return sum(_VALUE_BYTES[channel.type.dtype[-1]] for channel in stream.channels)


def _battery_s(info: LoggerInfo) -> float | None:
    if info.battery_mah is None or not info.current_ua:
        return None
    return info.battery_mah * 1000 / info.current_ua * 3600


def shortfalls(info: LoggerInfo, request: ArmRequest, lasts: Estimate) -> list[str]:
    """What ends before the session that was just armed is over, as far as that has an end; sentences for people."""
    wanted_s = _planned_s(info, request)
    if wanted_s is None:
        return []
    found: list[str] = []
    if lasts.memory_s is not None and not request.wrap and lasts.memory_s < wanted_s:
        found.append(f"the log will be full after about {rough(lasts.memory_s)} of the {rough(wanted_s)} asked for")
    if lasts.battery_s is not None and info.recording and lasts.battery_s < wanted_s:
        found.append(f"the battery will last about {rough(lasts.battery_s)} of the {rough(wanted_s)} asked for")
    return found


def _planned_s(info: LoggerInfo, request: ArmRequest) -> float | None:
    """How long it is to record; None without such a condition."""
    begins_s = max(info.utc_s or 0, (request.at or 0) if request.start == StartMode.AT else 0)
    until = None if request.until is None or not begins_s else request.until - begins_s
    return min((float(planned) for planned in (request.secs, until) if planned is not None), default=None)
