"""What `log arm` and `log status` tell alike, as JSON and in words: conditions, clock, battery, how long it will last."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence

from fieldlog.cli.info import battery_text
from fieldlog.clock import DeviceTime
from fieldlog.estimate import USUAL_PACKING, Estimate, allowed_ua, rough
from fieldlog.local_times import iso, moment_text
from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import StreamInfo
from fieldlog.text import size_text
from fieldlog.thresholds import turned, value_of
from fieldlog.unit_signs import unit_sign
from fieldlog_protocol.blocks.schema import Channel
from fieldlog_protocol.commands.logger import ArmRequest, StartMode, State
from fieldlog_protocol.durations import duration_text

Field = tuple[str, object]

_LAST_S = 2**32
_NEAR_S = 2 * 86_400
_WHILE: Mapping[int, str] = {State.IDLE: " while it is idle", State.ARMED: " while it waits"}


def _moment(seconds: float | None) -> str | None:
    """When it will be so many seconds from now; None for what no calendar holds."""
    if seconds is None or time.time() + seconds >= _LAST_S:
        return None
    return iso(time.time() + seconds)


# how a session begins and ends


def start_json(request: ArmRequest | None, streams: Sequence[StreamInfo], info: LoggerInfo) -> dict[str, object] | None:
    if request is None:
        return None
    mode = request.start or 0
    found: dict[str, object] = {
        "mode": StartMode(mode).name.lower() if mode in StartMode.__members__.values() else f"mode {mode}",
        "at": iso(request.at or 0) if mode == StartMode.AT else None,
        "after_seconds": request.at if mode == StartMode.AFTER else None,
        "begins_in_seconds": info.starts_in_s,
    }
    watched = _watched(request, streams)
    if watched is not None:
        stream, channel = watched
        side = _side(request, channel)
        threshold = value_of(channel, request.level or 0)
        found |= {"stream": stream.name, "channel": channel.name, "unit": channel.unit, side: threshold}
    return found


def _watched(request: ArmRequest, streams: Sequence[StreamInfo]) -> tuple[StreamInfo, Channel] | None:
    """The channel whose threshold is waited for, as far as the device says one that it has."""
    if request.start != StartMode.THRESHOLD:
        return None
    first = request.streams[0].s if request.streams else None
    wanted = first if request.s is None else request.s
    stream = next((stream for stream in streams if wanted in (None, stream.id)), None)
    position = request.ch or 0
    return None if stream is None or position >= len(stream.channels) else (stream, stream.channels[position])


def start_field(
    request: ArmRequest | None, streams: Sequence[StreamInfo], info: LoggerInfo, zone: dt.tzinfo | None
) -> str | None:
    if request is None:
        return None
    mode = request.start or 0
    if mode == StartMode.THRESHOLD:
        return _threshold_words(request, streams)
    if mode == StartMode.BUTTON:
        return "when its button is pressed"
    left = None if info.starts_in_s is None else f"in {rough(info.starts_in_s)}"
    if mode == StartMode.AT:
        return f"at {moment_text(request.at or 0, zone)}, " + (left or "once its clock is set")
    return left or "after a while"


def _threshold_words(request: ArmRequest, streams: Sequence[StreamInfo]) -> str:
    watched = _watched(request, streams)
    if watched is None:
        return "on a threshold"
    channel = watched[1]
    threshold = f"{value_of(channel, request.level or 0):.15g} {unit_sign(channel.unit)}".rstrip()
    return f"when {channel.name} is at or {_side(request, channel)} {threshold}"


def _side(request: ArmRequest, channel: Channel) -> str:
    return "below" if turned(channel, bool(request.below)) else "above"


def stop_json(request: ArmRequest | None) -> dict[str, object] | None:
    if request is None:
        return None
    return {
        "until": None if request.until is None else iso(request.until),
        "for_seconds": request.secs,
        "frames": request.frames,
        "when_full": "wrap" if request.wrap else "stop",
    }


def stop_field(request: ArmRequest | None, zone: dt.tzinfo | None, *, clock_set: bool = True) -> str | None:
    if request is None:
        return None
    once = "" if clock_set or request.until is None else ", once its clock is set"
    ends = [
        None if request.until is None else f"at {moment_text(request.until, zone)}{once}",
        None if request.secs is None else f"after {rough(request.secs)} of recording",
        None if request.frames is None else f"after {request.frames} frames",
        None if request.wrap else "when the log is full",
    ]
    said = [end for end in ends if end is not None]
    return f"{',' if once else ''} or ".join(said) if said else "when it is stopped"


# what it has left


def clock_json(clock: DeviceTime, info: LoggerInfo) -> dict[str, object]:
    return {
        "utc": None if clock.utc_us is None else iso(clock.utc_us / 1e6),
        "offset_us": clock.offset_us,
        "error_us": clock.error_us,
        "set": None if info.clock_set_s is None else iso(info.clock_set_s),
    }


def clock_field(clock: DeviceTime) -> str:
    if clock.utc_us is None or clock.offset_us is None:
        return "not set: `fieldlog clock sync` sets it"
    sure = "" if clock.error_us is None else f", give or take {clock.error_us / 1e6:.3f} s"
    return f"{round(clock.offset_us / 1e6, 3) + 0.0:+.3f} s off{sure}"


def battery_json(info: LoggerInfo) -> dict[str, object]:
    return {
        "mv": info.battery_mv,
        "percent": info.battery_percent,
        "mah": info.battery_mah,
        "current_ua": info.current_ua,
        "recording_ua": info.recording_ua,
    }


def estimate_json(found: Estimate, *, wrap: bool) -> dict[str, object]:
    return {
        "free_bytes": found.free_bytes,
        "bytes_per_second": found.bytes_per_s,
        "measured": found.measured,
        "memory_seconds": found.memory_s,
        "memory_end": _moment(found.full_s),
        "memory_is_enough": found.memory_is_enough,
        "memory_wraps": wrap,
        "battery_seconds": found.battery_s,
        "battery_end": _moment(found.battery_s),
        "battery_recording_seconds": found.fed_s,
    }


def estimate_fields(found: Estimate, info: LoggerInfo, *, wrap: bool) -> list[Field]:
    return [("memory", _memory(found, info, wrap=wrap)), ("battery", _battery(found, info))]


def _memory(found: Estimate, info: LoggerInfo, *, wrap: bool) -> str:
    free = f"{size_text(found.free_bytes)} free"
    if found.memory_s is None or not found.bytes_per_s:
        return free
    how = "measured" if found.measured else f"guessed: {USUAL_PACKING:g} times smaller than raw numbers"
    if found.memory_is_enough:
        return f"{free}, enough until the session ends ({how})"
    if wrap:
        return f"holds the last {rough(info.total_bytes / found.bytes_per_s)} ({how})"
    if found.full_s is None:
        return f"{free}, enough for {rough(found.memory_s)} of recording ({how})"
    day = _day(found.full_s)
    return f"{free}, full in {rough(found.full_s)}{f', on {day}' if day else ''} ({how})"


def _battery(found: Estimate, info: LoggerInfo) -> str | None:
    if info.battery_mv is None:
        return None
    charge = battery_text(info.battery_mv, info.battery_percent)
    if found.battery_s is None:
        return charge + _left(found, info)
    day = _day(found.battery_s)
    lasts = f"until {day} ({rough(found.battery_s)})" if day else rough(found.battery_s)
    if found.begins_s is None and found.fed_s is not None:
        records = f"{rough(found.fed_s)} of recording at {info.recording_ua} uA"
        return f"{charge}, enough for {records}; while it waits {lasts} at {info.current_ua} uA"
    return f"{charge}, lasts {lasts}, {_currents(found, info)}"


def _left(found: Estimate, info: LoggerInfo) -> str:
    """Of a device that does not say what it draws: what it may draw."""
    if info.battery_mah is None:
        return ""
    most_ua = allowed_ua(info, found)
    enough = "" if most_ua is None else f", enough until the session ends where no more than {most_ua:.3g} uA are drawn"
    return f", {info.battery_mah:g} mAh left{enough}"


def _currents(found: Estimate, info: LoggerInfo) -> str:
    """What the end of the battery is reckoned from."""
    now = f"at {info.current_ua} uA"
    if not info.recording_ua or info.recording_ua == info.current_ua or not found.begins_s:
        return now + _WHILE.get(info.state, "")
    return f"{now} until it begins and {info.recording_ua} uA then"


def _day(seconds: float) -> str | None:
    """The date so many seconds from now, and the time of day where that is near."""
    moment = _moment(seconds)
    if moment is None or seconds > _NEAR_S:
        return moment and moment[:10]
    return f"{moment[:10]} {moment[11:16]} UTC"


# what is recorded


def every(period_us: int) -> str:
    return f"every {duration_text(period_us)}" if period_us else "as it comes"


def streams_field(streams: Sequence[StreamInfo]) -> str:
    return ", ".join(f"{stream.name} {every(stream.period_us)}" for stream in streams)


def metadata_field(texts: Mapping[str, str] | None) -> Field:
    """None: what the device holds cannot be understood."""
    return "metadata", None if not texts else ", ".join(f"{key}={text}" for key, text in texts.items())
