"""What a person wants recorded, made into the one request that arms a logger, and what to know before it is sent.

Rule: whatever can be found wrong here is found before anything is changed on the device.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import msgspec

from fieldlog import deployment
from fieldlog.clock import DeviceTime, read_clock
from fieldlog.datetimes import utc_text
from fieldlog.device import Device
from fieldlog.estimate import Estimate, estimate
from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import StreamInfo, read_sessions, read_streams
from fieldlog.self_test import self_test
from fieldlog.thresholds import parse_threshold
from fieldlog_protocol.commands import Group, logger
from fieldlog_protocol.commands.logger import ArmRequest, Capability, LoggerError, StartMode, State, StreamPeriod
from fieldlog_protocol.error_texts import error_text
from fieldlog_protocol.errors import RefusedError, UsageError

_NEEDS = {
    StartMode.AT: Capability.START_AT,
    StartMode.AFTER: Capability.START_AFTER,
    StartMode.THRESHOLD: Capability.START_THRESHOLD,
    StartMode.BUTTON: Capability.START_BUTTON,
}
_HOW = {
    StartMode.AT: "at a time",
    StartMode.AFTER: "after a while",
    StartMode.THRESHOLD: "on a threshold",
    StartMode.BUTTON: "on a button",
}
FAR_OFF_US = 2_000_000
"""A device's clock that is off by more is worth a warning."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be recorded. Times are ISO 8601 texts; periods by name of the stream, None to leave them.

    `above` and `below` are texts such as "temperature=30 Cel". `metadata` is added to what the device has.
    """

    label: str = ""
    streams: Mapping[str, int | None] = field(default_factory=dict[str, int | None])
    period_us: int | None = None
    at: str | None = None
    after_s: int | None = None
    above: str | None = None
    below: str | None = None
    on_button: bool = False
    until: str | None = None
    for_s: int | None = None
    frames: int | None = None
    wrap: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Preflight:
    """What to know before one leaves a logger to itself. `tests` is None where it cannot test itself."""

    info: LoggerInfo
    clock: DeviceTime
    tests: Sequence[logger.TestResult] | None
    metadata: Mapping[str, str] | None

    def warnings(self) -> list[str]:
        """What may spoil the recording."""
        found: list[str] = []
        if self.clock.utc_us is None:
            found.append("the device's clock is not set: `fieldlog clock sync` sets it")
        elif abs(self.clock.offset_us or 0) > FAR_OFF_US:
            off_s = (self.clock.offset_us or 0) / 1e6
            found.append(f"the device's clock is off by {off_s:+.1f} s: `fieldlog clock sync` sets it")
        return found + [
            f"the self test failed: {test.n} {test.x or ''}".rstrip() for test in self.tests or () if not test.ok
        ]


async def prepare(device: Device, wish: Wish) -> tuple[ArmRequest, Preflight]:
    """The request that arms the device, all checked, and what was found; nothing is changed yet."""
    info = await device.logger_info()
    require_idle(info)
    streams = await read_streams(device)
    present = await deployment.read_metadata(device) if Capability.METADATA in info.capabilities else None
    metadata = deployment.merged(present, wish.metadata)
    _require_metadata(info, wish, metadata)
    clock = await read_clock(device)
    request = build_request(wish, info, streams, clock, metadata)
    tests = await self_test(device) if Capability.SELF_TEST in info.capabilities else None
    return request, Preflight(info, clock, tests, metadata)


def _require_metadata(info: LoggerInfo, wish: Wish, metadata: Mapping[str, str]) -> None:
    if not wish.metadata:
        return
    if Capability.METADATA not in info.capabilities:
        raise UsageError("this device keeps no metadata. Nothing was changed; leave --meta out")
    if deployment.ZONE in metadata:
        deployment.zone_of(metadata[deployment.ZONE])
    deployment.require_fits(metadata)


async def arm(
    device: Device, request: ArmRequest, wish: Wish, metadata: Mapping[str, str] | None
) -> logger.ArmResponse:
    """Write the metadata, if there is new, and arm."""
    if wish.metadata:
        await deployment.write_metadata(device, metadata or {})
    return await device.request(logger.ARM, request)


async def estimate_now(device: Device, info: LoggerInfo, streams: Sequence[StreamInfo]) -> Estimate:
    """For what is armed or being recorded, with what was measured on it."""
    sessions = await read_sessions(device) if info.recording else []
    running = next((session for session in sessions if session.id == info.session), None)
    return estimate(info, recorded_streams(info, streams), running)


def recorded_streams(info: LoggerInfo, streams: Sequence[StreamInfo]) -> list[StreamInfo]:
    """Those of the session that is armed or recorded; all of a device that does not tell."""
    if info.plan is None or info.plan.streams is None:
        return list(streams)
    ids = {item.s for item in info.plan.streams}
    return [stream for stream in streams if stream.id in ids]


def require_idle(info: LoggerInfo) -> None:
    """Refuse, as the device would, before anything else is asked of it."""
    if info.state in (State.ARMED, State.LOGGING):
        code = LoggerError.RECORDING
        raise RefusedError(code, Group.LOGGER, error_text(code, Group.LOGGER))


def build_request(
    wish: Wish, info: LoggerInfo, streams: Sequence[StreamInfo], clock: DeviceTime, metadata: Mapping[str, str] | None
) -> ArmRequest:
    """The request without its id, which is 0."""
    chosen = _chosen(wish, streams)
    zone = deployment.known_zone(metadata)
    request = _with_start(ArmRequest(id=0), wish, info, chosen, zone)
    until = None if wish.until is None else utc_seconds(wish.until, "--until", zone)
    _require_clock(request, until, clock)
    _require_order(request, until, clock)
    asked = None
    if wish.streams or wish.period_us is not None:
        asked = tuple(StreamPeriod(s=stream.id, us=_wanted_period(wish, stream)) for stream in chosen)
    fields: dict[str, object] = {
        "label": wish.label or None,
        "until": until,
        "secs": wish.for_s,
        "frames": wish.frames,
        "wrap": wish.wrap or None,
        "streams": asked,
    }
    return msgspec.structs.replace(request, **fields)


def _chosen(wish: Wish, streams: Sequence[StreamInfo]) -> list[StreamInfo]:
    known = {stream.name: stream for stream in streams}
    unknown = [name for name in wish.streams if name not in known]
    if unknown:
        raise UsageError(f"there is no stream {unknown[0]!r}. Streams of this device: {', '.join(known)}")
    wanted = [known[name] for name in wish.streams] if wish.streams else list(streams)
    return [replace(stream, period_us=_wanted_period(wish, stream) or stream.period_us) for stream in wanted]


def _wanted_period(wish: Wish, stream: StreamInfo) -> int | None:
    own = wish.streams.get(stream.name)
    return wish.period_us if own is None else own


def _with_start(
    request: ArmRequest, wish: Wish, info: LoggerInfo, chosen: Sequence[StreamInfo], zone: ZoneInfo | None
) -> ArmRequest:
    """The request with the one condition to begin on; UsageError for several, or for one that the device cannot wait for."""
    ways: dict[StartMode, Mapping[str, object]] = {}
    if wish.at is not None:
        ways[StartMode.AT] = {"at": utc_seconds(wish.at, "--at", zone)}
    if wish.after_s is not None:
        ways[StartMode.AFTER] = {"at": wish.after_s}
    for text, below in ((wish.above, False), (wish.below, True)):
        if text is not None:
            if StartMode.THRESHOLD in ways:
                raise UsageError("a session begins on one condition: give --above or --below, not both")
            found = parse_threshold(text, chosen, below=below)
            ways[StartMode.THRESHOLD] = {
                "s": found.stream,
                "ch": found.channel,
                "level": found.level,
                "below": found.below or None,
            }
    if wish.on_button:
        ways[StartMode.BUTTON] = {}
    if len(ways) > 1:
        raise UsageError("a session begins on one condition: give one of --at, --after, --above, --below, --on-button")
    for mode, fields in ways.items():
        if _NEEDS[mode] not in info.capabilities:
            raise UsageError(f"this device cannot begin {_HOW[mode]}. Nothing was changed")
        return msgspec.structs.replace(request, start=int(mode), **fields)
    return request


def _require_clock(request: ArmRequest, until: int | None, clock: DeviceTime) -> None:
    if clock.utc_us is None and (request.start == StartMode.AT or until is not None):
        raise UsageError(
            "the device's clock is not set, so it cannot know when that is. Nothing was changed; "
            "`fieldlog clock sync` sets it"
        )


def _require_order(request: ArmRequest, until: int | None, clock: DeviceTime) -> None:
    now_s = (clock.utc_us or 0) // 1_000_000
    at_s = request.at or 0
    if request.start == StartMode.AT and at_s <= now_s:
        raise UsageError(f"{iso(at_s)} is over by the device's clock ({iso(now_s)}). Nothing was changed")
    begins_s = {StartMode.AT: at_s, StartMode.AFTER: now_s + at_s}.get(StartMode(request.start or 0), now_s)
    if until is not None and until <= begins_s:
        raise UsageError(
            f"the session would end ({iso(until)}) before it begins ({iso(begins_s)}). Nothing was changed"
        )


def utc_seconds(text: str, option: str, zone: ZoneInfo | None) -> int:
    """Seconds since 1970 of a time with its offset; one without is meant in the deployment's zone, else in UTC."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} takes a time such as 2030-07-01T12:00:00+02:00, not {text!r}") from None
    if time.tzinfo is None:
        time = _local(time, option, zone) if zone is not None else time.replace(tzinfo=dt.UTC)
    seconds = int(time.timestamp())
    if not 0 <= seconds < 2**32:
        raise UsageError(f"{option} {text} lies outside the years 1970 to 2106, which devices know")
    return seconds


def _local(time: dt.datetime, option: str, zone: ZoneInfo) -> dt.datetime:
    aware = time.replace(tzinfo=zone)
    if aware.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != time:
        raise UsageError(f"{option} {time.isoformat()} does not exist in {zone}: the clocks are put forward then")
    if aware.utcoffset() != aware.replace(fold=1).utcoffset():
        raise UsageError(f"{option} {time.isoformat()} comes twice in {zone}: add the offset that is meant")
    return aware


def iso(seconds: float) -> str:
    """For people, in UTC."""
    return utc_text(int(seconds) * 1_000_000, "seconds")
