"""When an armed session begins and ends, in ticks of the present boot; and what cannot be armed.

Rule: what was asked for survives a restart, and the device's belief of UTC may not. A session that begins or ends at a
time of day then waits until the clock is set again. One that begins after a while begins when it would have by the
clock, if the clock was set when it was armed and is set again, and else a whole while after the restart: late rather
than never, and never early. Recording time counts while it records alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.commands import Group, Message
from fieldlog_protocol.commands.logger import LABEL_MAX, ArmRequest, LoggerError, StartMode, StreamPeriod
from fieldlog_sim.device_clock import MAX_UTC_S, DeviceClock
from fieldlog_sim.dispatch import Refusal


def refuse(code: LoggerError) -> Refusal:
    """A refusal of the FL group."""
    return Refusal(code, Group.LOGGER)


class Plan(Message, frozen=True, kw_only=True):
    """What is kept of an arm request, without its streams: boot, tick and believed UTC (in us) are those of arming."""

    arm: ArmRequest
    boot: int
    tick: int
    utc: int | None = None

    @property
    def mode(self) -> StartMode:
        """When it begins."""
        return start_mode(self.arm)

    def start_tick(self, clock: DeviceClock, boot_id: int) -> int | None:
        """When it begins by itself; None while that is not known, and for a threshold."""
        at = self.arm.at or 0
        if self.mode is StartMode.AT:
            return tick_of(clock, at * 1_000_000)
        if self.mode is not StartMode.AFTER:
            return None
        if boot_id == self.boot:
            return self.tick + at * TICK_HZ
        by_clock = None if self.utc is None else tick_of(clock, self.utc + at * 1_000_000)
        return at * TICK_HZ if by_clock is None else by_clock

    def end_tick(self, clock: DeviceClock, began: int, recorded_before: int) -> int | None:
        """The first tick that is not recorded any more. `began` is when recording began in this boot, and
        `recorded_before` for how many ticks it went on in earlier ones."""
        ends: list[int | None] = []
        if self.arm.secs is not None:
            first = began + (self.mode is StartMode.NOW)  # the frame of the moment of arming is not part of it
            ends.append(first + self.arm.secs * TICK_HZ - recorded_before)
        if self.arm.until is not None:
            ends.append(tick_of(clock, self.arm.until * 1_000_000))
        return min((end for end in ends if end is not None), default=None)


def start_mode(request: ArmRequest) -> StartMode:
    """When the session is to begin; refuses what is no mode."""
    number = request.start or 0
    if number not in StartMode.__members__.values():
        raise refuse(LoggerError.NOT_SUPPORTED)
    return StartMode(number)


def tick_of(clock: DeviceClock, utc_us: int) -> int | None:
    """At which tick it will be or was `utc_us` by the device's clock; None while that is not set."""
    now = clock.tick
    believed_us = clock.believed_at(now)
    return None if believed_us is None else max(0, now + (utc_us - believed_us) * TICK_HZ // 1_000_000)


def chosen_streams(
    wanted: Sequence[StreamPeriod] | None,
    streams: Collection[Stream],
    period_range: Callable[[int], tuple[int, int]],
) -> dict[int, int]:
    """Period of each stream to be recorded, in the order asked for."""
    present = {stream.id: stream.period_us for stream in streams}
    if wanted is None:
        return present
    chosen: dict[int, int] = {}
    for item in wanted:
        if item.s not in present:
            raise refuse(LoggerError.NO_SUCH_STREAM)
        least, most = period_range(item.s)
        period_us = present[item.s] if item.us is None else item.us
        if period_us != present[item.s] and not least <= period_us <= most:
            raise refuse(LoggerError.PERIOD_NOT_ALLOWED)
        chosen[item.s] = period_us
    if not chosen:
        raise refuse(LoggerError.OUT_OF_RANGE)
    return chosen


def require_possible(
    request: ArmRequest, chosen: Mapping[int, int], streams: Collection[Stream], clock: DeviceClock
) -> None:
    """Refuse conditions that this device cannot watch for, that make no sense, or that need a clock that is not set."""
    mode = start_mode(request)
    if len((request.label or "").encode()) > LABEL_MAX:  # the table counts characters
        raise refuse(LoggerError.OUT_OF_RANGE)
    if mode is StartMode.BUTTON:
        raise refuse(LoggerError.NOT_SUPPORTED)
    if mode is StartMode.THRESHOLD:
        _require_channel(request, chosen, streams)
    if 0 in (request.secs, request.frames) or max(request.at or 0, request.until or 0, request.secs or 0) > MAX_UTC_S:
        raise refuse(LoggerError.OUT_OF_RANGE)
    timed = mode in (StartMode.AT, StartMode.AFTER)
    if (timed and request.at is None) or (mode is StartMode.THRESHOLD and request.level is None):
        raise refuse(LoggerError.OUT_OF_RANGE)
    believed_us = clock.believed_utc_us
    if believed_us is None and (mode is StartMode.AT or request.until is not None):
        raise refuse(LoggerError.CLOCK_NOT_SET)
    if request.until is not None and request.until * 1_000_000 <= _begins_us(request, mode, believed_us or 0):
        raise refuse(LoggerError.OUT_OF_RANGE)


def _begins_us(request: ArmRequest, mode: StartMode, now_us: int) -> int:
    """The earliest that the session can begin."""
    asked_us = (request.at or 0) * 1_000_000
    if mode is StartMode.AT:
        return max(now_us, asked_us)
    return now_us + asked_us if mode is StartMode.AFTER else now_us


def _require_channel(request: ArmRequest, chosen: Mapping[int, int], streams: Collection[Stream]) -> None:
    stream = next((stream for stream in streams if stream.id == trigger_stream(request, chosen)), None)
    if stream is None or stream.id not in chosen:
        raise refuse(LoggerError.NO_SUCH_STREAM)
    if (request.ch or 0) >= len(stream.channels):
        raise refuse(LoggerError.NO_SUCH_CHANNEL)


def trigger_stream(request: ArmRequest, recorded: Collection[int]) -> int:
    """The stream that is watched for a threshold."""
    return next(iter(recorded)) if request.s is None else request.s
