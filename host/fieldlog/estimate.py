"""How long a logger can go on: by what is left of its log, and by what is left in its battery.

Rule: an estimate says what it rests on. The rate at which a session fills the log is measured on that session as soon as
it has written enough, and is guessed until then from what the readings take as raw numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import StreamInfo
from fieldlog_protocol.commands.logger import ArmRequest, SessionInfo, StartMode, State, StopReason

USUAL_PACKING = 3.0
"""How many times smaller than raw numbers readings usually are in the log."""
_ENOUGH_BLOCKS = 12
_UNITS = ((365.25 * 86_400, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
_VALUE_BYTES = {"1": 1, "2": 2, "4": 4, "8": 8}


@dataclass(frozen=True, slots=True)
class Estimate:
    """`bytes_per_s` is None without a session, and where a stream has no fixed rate and nothing was measured.

    `memory_s`: time of recording until the log is full, or in a ring until the oldest is overwritten. `battery_s`: from
    now, at the currents that the device tells. `begins_s`: until recording begins, 0 once it has; None: not known.
    `records_s`: time of recording that is left until the session's own conditions end it; None: they do not.
    `fed_s`: time of recording that the charge of today is enough for, at what the device says that it will draw then.
    """

    free_bytes: int
    bytes_per_s: float | None
    measured: bool
    memory_s: float | None
    battery_s: float | None
    begins_s: float | None = None
    records_s: float | None = None
    fed_s: float | None = None

    @property
    def memory_is_enough(self) -> bool:
        """Whether the session ends before the log is full."""
        return self.records_s is not None and self.memory_s is not None and self.records_s <= self.memory_s

    @property
    def full_s(self) -> float | None:
        """From now until the log is full; None where that is not known, or the session ends before."""
        if self.memory_s is None or self.begins_s is None or self.memory_is_enough:
            return None
        return self.begins_s + self.memory_s


def rough(seconds: float) -> str:
    """A duration as one says it: 3.5 days."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}"


def estimate(info: LoggerInfo, streams: Sequence[StreamInfo], session: SessionInfo | None = None) -> Estimate:
    """For a session that records `streams`; with `session`, if it is being recorded, what was measured on it."""
    rate = None if session is None else measured_rate(info, streams, session)
    usual = rate if rate is not None else usual_rate(streams)
    free = free_bytes(info)
    begins_s = _begins_s(info)
    return Estimate(
        free_bytes=free,
        bytes_per_s=usual,
        measured=rate is not None,
        memory_s=free / usual if usual else None,
        battery_s=_battery_s(info, begins_s),
        begins_s=begins_s,
        records_s=_records_s(info, frames_per_s(streams), begins_s, 0 if session is None else session.frames),
        fed_s=_charge_uas(info) / info.recording_ua if info.battery_mah is not None and info.recording_ua else None,
    )


def planned(info: LoggerInfo, request: ArmRequest) -> LoggerInfo:
    """An idle device as if it had been armed so. What it would draw from its battery then, it alone can tell."""
    waits = {StartMode.NOW: 0, StartMode.AT: (request.at or 0) - (info.utc_s or 0), StartMode.AFTER: request.at or 0}
    starts_in_s = waits.get(StartMode(request.start or 0))
    return replace(
        info,
        state=State.ARMED if request.start else State.LOGGING,
        plan=request,
        starts_in_s=None if starts_in_s is None else max(0, starts_in_s),
        wrap=bool(request.wrap),
        current_ua=None,
        recording_ua=None,
    )


def allowed_ua(info: LoggerInfo, lasts: Estimate) -> float | None:
    """What may be drawn on average, so that the battery lasts until the session's end; None where either is not known."""
    if info.battery_mah is None or lasts.records_s is None or lasts.begins_s is None:
        return None
    until_s = lasts.begins_s + lasts.records_s
    return _charge_uas(info) / until_s if until_s else None


def free_bytes(info: LoggerInfo) -> int:
    """What can be written before anything is overwritten that is to be kept, or in a ring that is held at all."""
    if info.wrap:
        return info.total_bytes - info.used_bytes if info.used_bytes < info.total_bytes else 0
    kept = (info.next_seq - max(info.first_seq, info.released_seq)) * info.block_size
    return max(0, info.total_bytes - max(0, min(kept, info.used_bytes)))


def frames_per_s(streams: Sequence[StreamInfo]) -> float | None:
    """Of all streams together; None where one has no fixed rate."""
    if not streams or not all(stream.period_us for stream in streams):
        return None
    return sum(1e6 / stream.period_us for stream in streams)


def usual_rate(streams: Sequence[StreamInfo]) -> float | None:
    """Bytes a second that such streams usually take."""
    if frames_per_s(streams) is None:
        return None
    return sum(_frame_bytes(stream) * 1e6 / stream.period_us for stream in streams) / USUAL_PACKING


def measured_rate(info: LoggerInfo, streams: Sequence[StreamInfo], session: SessionInfo) -> float | None:
    """Bytes a second that the running session takes; None before it has written enough to tell."""
    if session.why != StopReason.RUNNING or session.last is None or not session.frames:
        return None
    blocks, per_s = session.last - session.first + 1, frames_per_s(streams)
    if blocks < _ENOUGH_BLOCKS or per_s is None:
        return None
    return blocks * info.block_size / session.frames * per_s


def _frame_bytes(stream: StreamInfo) -> int:
    return sum(_VALUE_BYTES[channel.type.dtype[-1]] for channel in stream.channels)


def _begins_s(info: LoggerInfo) -> float | None:
    if info.recording:
        return 0.0
    return info.starts_in_s if info.state == State.ARMED else None


def _charge_uas(info: LoggerInfo) -> float:
    return (info.battery_mah or 0) * 1000 * 3600


def _battery_s(info: LoggerInfo, begins_s: float | None) -> float | None:
    """At the present current, and from the session's beginning on at what it will draw then, where that is known."""
    if info.battery_mah is None or not info.current_ua:
        return None
    charge_uas = _charge_uas(info)
    lasts_s = charge_uas / info.current_ua
    if not begins_s or not info.recording_ua or lasts_s <= begins_s:
        return lasts_s
    return begins_s + (charge_uas - begins_s * info.current_ua) / info.recording_ua


def _records_s(info: LoggerInfo, per_s: float | None, begins_s: float | None, frames: int) -> float | None:
    """How long it is to record from now or its beginning on; `frames` are in the log already."""
    plan = info.plan
    if plan is None:
        return None
    left: list[float] = []
    if plan.until is not None and info.utc_s is not None and begins_s is not None:
        left.append(plan.until - info.utc_s - begins_s)
    if plan.secs is not None and (per_s or not frames):
        left.append(plan.secs - (frames / per_s if per_s else 0))
    if plan.frames is not None and per_s:
        left.append((plan.frames - frames) / per_s)
    return max(0.0, min(left)) if left else None


def shortfalls(lasts: Estimate, *, wrap: bool) -> list[str]:
    """What ends before the session that was just armed is over, as far as that has an end; sentences for people."""
    wanted_s = lasts.records_s
    if wanted_s is None:
        return []
    found: list[str] = []
    if lasts.memory_s is not None and not wrap and lasts.memory_s < wanted_s:
        found.append(f"the log will be full after about {rough(lasts.memory_s)} of the {rough(wanted_s)} asked for")
    if lasts.begins_s is None and lasts.fed_s is not None and lasts.fed_s < wanted_s:
        soon = "if it begins now, and less if it waits"
        return [*found, f"the battery will last about {rough(lasts.fed_s)} of the {rough(wanted_s)} asked for {soon}"]
    if lasts.battery_s is None or lasts.begins_s is None or lasts.battery_s >= lasts.begins_s + wanted_s:
        return found
    fed_s = lasts.battery_s - lasts.begins_s
    how_far = (
        f"last about {rough(fed_s)} of the {rough(wanted_s)} asked for" if fed_s > 0 else "be flat before it begins"
    )
    return [*found, f"the battery will {how_far}"]
