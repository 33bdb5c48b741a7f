"""What a person wants recorded, made into the one request that arms a logger, and what to know before it is sent.

Rule: whatever can be found wrong here is found before anything is changed on the device.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import msgspec

from fieldlog import deployment
from fieldlog.clock import DeviceTime, read_clock
from fieldlog.config.schema import nearest
from fieldlog.device import Device
from fieldlog.estimate import Estimate, estimate
from fieldlog.local_times import is_bare, moment_text, typed_time
from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import StreamInfo, read_sessions, read_streams
from fieldlog.self_test import self_test
from fieldlog.thresholds import parse_threshold
from fieldlog_protocol.commands import Group, logger
from fieldlog_protocol.commands.logger import ArmRequest, Capability, LoggerError, StartMode, State, StreamPeriod
from fieldlog_protocol.durations import duration_text
from fieldlog_protocol.error_texts import error_text
from fieldlog_protocol.errors import RefusedError, UsageError, VerificationError

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


class UnfitWish(UsageError):
    """Something of a wish that this device cannot do, or nobody. `field` is that of the Wish, `stream` a name in it."""

    def __init__(self, field: str, text: str, stream: str | None = None) -> None:
        super().__init__(text)
        self.field = field
        self.stream = stream


@dataclass(frozen=True, slots=True)
class Survey:
    """What of a device decides whether it can do what is wished."""

    info: LoggerInfo
    streams: Sequence[StreamInfo]
    metadata: Mapping[str, str] | None
    """What it has now; None where it keeps none, or nothing that can be understood."""
    clock: DeviceTime


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


async def survey(device: Device) -> Survey:
    """Ask an idle device for all that matters; one that records is refused."""
    info = await device.logger_info()
    require_idle(info)
    streams = await read_streams(device)
    present = await deployment.read_metadata(device) if Capability.METADATA in info.capabilities else None
    return Survey(info, streams, present, await read_clock(device))


async def prepare(device: Device, wish: Wish, known: Survey | None = None) -> tuple[ArmRequest, Preflight]:
    """The request that arms the device, all checked, and what was found; nothing is changed yet."""
    known = known or await survey(device)
    request = request_for(wish, known)
    tests = await self_test(device) if Capability.SELF_TEST in known.info.capabilities else None
    return request, Preflight(known.info, known.clock, tests, deployment.merged(known.metadata, wish.metadata))


def request_for(wish: Wish, known: Survey) -> ArmRequest:
    """The request without its id, which is 0; raises UnfitWish."""
    metadata = deployment.merged(known.metadata, wish.metadata)
    with _about("metadata"):
        _require_metadata(known.info, wish, metadata)
    return build_request(wish, known.info, known.streams, known.clock, metadata)


def unfit(wish: Wish, known: Survey) -> list[UnfitWish]:
    """All that the device cannot do of a wish. That its clock is not set is no fault of the wish's: it counts as set."""
    if known.clock.utc_us is None:
        known = replace(known, clock=DeviceTime(time.time_ns() // 1000, 0, 0))
    found = _unfit_streams(wish, known.streams)
    if any(error.stream not in names(known.streams) for error in found if error.stream is not None):
        wish = replace(wish, streams={}, period_us=None)  # which ones are meant nobody knows
    elif found:
        wish = replace(wish, streams=dict.fromkeys(wish.streams), period_us=None)
    while True:
        try:
            request_for(wish, known)
        except UnfitWish as error:
            if found and found[-1].field == error.field:
                return found
            found.append(error)
            nothing: dict[str, object] = {error.field: getattr(Wish(), error.field)}
            wish = replace(wish, **nothing)  # type: ignore[arg-type]
        else:
            return found


@contextmanager
def _about(field: str) -> Generator[None]:
    """What is wrong within is this field of the wish."""
    try:
        yield
    except UnfitWish:
        raise
    except UsageError as error:
        raise UnfitWish(field, str(error)) from error


def _require_metadata(info: LoggerInfo, wish: Wish, metadata: Mapping[str, str]) -> None:
    if not wish.metadata:
        return
    if Capability.METADATA not in info.capabilities:
        raise UsageError("this device keeps no metadata. Nothing was changed; leave --meta out")
    if deployment.ZONE in metadata:
        deployment.zone_of(metadata[deployment.ZONE])
    deployment.require_fits(metadata)


async def arm(device: Device, request: ArmRequest, wish: Wish, found: Preflight) -> logger.ArmResponse:
    """Write the metadata, if there is new, and arm.

    These are two requests, and another program may write between them: what stands in the end is read back. Raises
    VerificationError for a session with other metadata than `found`; a RefusedError says what is on the device.
    """
    if wish.metadata:
        require_idle(await device.logger_info())  # else it would become that of another's session
    try:
        if wish.metadata:
            await deployment.write_metadata(device, found.metadata or {})
        done = await device.request(logger.ARM, request)
    except RefusedError as error:
        text = f"{error}. {_left(error, wish)}"
        raise RefusedError(error.code, error.group, text, error.details) from error
    if Capability.METADATA in found.info.capabilities:
        _require_own(await deployment.read_metadata(device), found.metadata, done)
    return done


def _left(error: RefusedError, wish: Wish) -> str:
    """What a refusal leaves behind."""
    if not wish.metadata:
        return "No session was begun"
    if (error.group, error.code) == (Group.LOGGER, LoggerError.RECORDING):
        return (
            "Another program armed it in the same moment: that session has the metadata given here now, and no other was "
            "begun. `fieldlog log status` shows it"
        )
    return "No session was begun; the metadata may be on the device already"


def _require_own(present: Mapping[str, str] | None, meant: Mapping[str, str] | None, done: logger.ArmResponse) -> None:
    if (present or {}) != (meant or {}):
        raise VerificationError(
            f"session {done.session} {session_state(done.state)}, with other metadata than this command meant: another "
            "program wrote some in the same moment, or the device did not keep what was written. `fieldlog log status` "
            "shows them; end the session with `fieldlog log stop`, and arm again"
        )


def session_state(state: int) -> str:
    """What has become of a session, behind its number."""
    return "is armed" if state == State.ARMED else "is being recorded"


async def estimate_now(device: Device, info: LoggerInfo, streams: Sequence[StreamInfo]) -> Estimate:
    """For what is armed or being recorded, with what was measured on it; nothing is to fill the log of an idle device."""
    sessions = await read_sessions(device) if info.recording else []
    running = next((session for session in sessions if session.id == info.session), None)
    return estimate(info, recorded_streams(info, streams) if info.active else (), running)


def recorded_streams(info: LoggerInfo, streams: Sequence[StreamInfo]) -> list[StreamInfo]:
    """Those of the session that is armed or recorded; all of a device that does not tell."""
    if info.plan is None or info.plan.streams is None:
        return list(streams)
    ids = {item.s for item in info.plan.streams}
    return [stream for stream in streams if stream.id in ids]


def require_idle(info: LoggerInfo) -> None:
    """Refuse, as the device would, before anything else is asked of it."""
    if info.active:
        code = LoggerError.RECORDING
        text = f"{error_text(code, Group.LOGGER)}. Nothing was changed; `fieldlog log stop` ends it"
        raise RefusedError(code, Group.LOGGER, text)


def build_request(
    wish: Wish, info: LoggerInfo, streams: Sequence[StreamInfo], clock: DeviceTime, metadata: Mapping[str, str] | None
) -> ArmRequest:
    """The request without its id, which is 0; raises UnfitWish."""
    chosen = _chosen(wish, streams)
    zone = deployment.known_zone(metadata)
    at = _time(wish, "at", zone)
    until = _time(wish, "until", zone)
    request = _with_start(ArmRequest(id=0), wish, info, chosen, at)
    _require_clock(request, until, clock)
    _require_order(request, at, until, clock)
    asked = None
    if wish.streams or wish.period_us is not None:
        asked = tuple(StreamPeriod(s=stream.id, us=_wanted_period(wish, stream)) for stream in chosen)
    fields: dict[str, object] = {
        "label": wish.label or None,
        "until": None if until is None else int(until.timestamp()),
        "secs": wish.for_s,
        "frames": wish.frames,
        "wrap": wish.wrap or None,
        "streams": asked,
    }
    return msgspec.structs.replace(request, **fields)


def _chosen(wish: Wish, streams: Sequence[StreamInfo]) -> list[StreamInfo]:
    if wrong := _unfit_streams(wish, streams):
        raise UnfitWish(wrong[0].field, "; ".join(map(str, wrong)))
    return [
        replace(stream, period_us=_wanted_period(wish, stream) or stream.period_us) for stream in _meant(wish, streams)
    ]


def names(streams: Sequence[StreamInfo]) -> list[str]:
    return [stream.name for stream in streams]


def _meant(wish: Wish, streams: Sequence[StreamInfo]) -> list[StreamInfo]:
    """Those that are there of the ones named, in the order of the wish; all where none is named."""
    known = {stream.name: stream for stream in streams}
    return [known[name] for name in wish.streams if name in known] if wish.streams else list(streams)


def _unfit_streams(wish: Wish, streams: Sequence[StreamInfo]) -> list[UnfitWish]:
    """All that is wrong with the streams named and their periods."""
    known = names(streams)
    found: list[UnfitWish] = []
    for name in wish.streams:
        if name not in known:
            hint = nearest(name, known) or f"Streams of this device: {', '.join(known) or 'none'}"
            found.append(UnfitWish("streams", f"there is no stream {name!r}. {hint}", name))
    for stream in _meant(wish, streams):
        own = wish.streams.get(stream.name) is not None
        try:
            _require_period(stream, _wanted_period(wish, stream))
        except UsageError as error:
            found.append(UnfitWish("streams" if own else "period_us", str(error), stream.name if own else None))
    return found


def _wanted_period(wish: Wish, stream: StreamInfo) -> int | None:
    own = wish.streams.get(stream.name)
    return wish.period_us if own is None else own


def _require_period(stream: StreamInfo, period_us: int | None) -> None:
    """Refuse, as the device would, and say what it takes; a device that gives no range judges for itself."""
    if period_us is None or period_us == stream.period_us:
        return
    least, most = stream.least_us, stream.most_us
    if least is not None and most is not None and not least <= period_us <= most:
        raise UsageError(
            f"stream {stream.name!r} cannot be sampled every {duration_text(period_us)}: it takes periods from "
            f"{duration_text(least)} to {duration_text(most)}. Nothing was changed"
        )


def _with_start(
    request: ArmRequest, wish: Wish, info: LoggerInfo, chosen: Sequence[StreamInfo], at: dt.datetime | None
) -> ArmRequest:
    """The request with the one condition to begin on; UsageError for several, or for one that the device cannot wait for."""
    ways: dict[str, tuple[StartMode, Mapping[str, object]]] = {}
    if at is not None:
        ways["at"] = StartMode.AT, {"at": int(at.timestamp())}
    if wish.after_s is not None:
        ways["after_s"] = StartMode.AFTER, {"at": wish.after_s}
    for name, text in (("above", wish.above), ("below", wish.below)):
        if text is not None:
            with _about(name):
                ways[name] = StartMode.THRESHOLD, _threshold(text, chosen, below=name == "below")
    if wish.on_button:
        ways["on_button"] = StartMode.BUTTON, {}
    if len(ways) > 1:
        raise UnfitWish(list(ways)[-1], _one_condition(ways))
    for name, (mode, fields) in ways.items():
        if _NEEDS[mode] not in info.capabilities:
            raise UnfitWish(name, f"this device cannot begin {_HOW[mode]}. Nothing was changed")
        return msgspec.structs.replace(request, start=int(mode), **fields)
    return request


def _threshold(text: str, chosen: Sequence[StreamInfo], *, below: bool) -> Mapping[str, object]:
    found = parse_threshold(text, chosen, below=below)
    return {"s": found.stream, "ch": found.channel, "level": found.level, "below": found.below or None}


def _one_condition(ways: Collection[str]) -> str:
    if set(ways) == {"above", "below"}:
        return "a session begins on one condition: give --above or --below, not both"
    return "a session begins on one condition: give one of --at, --after, --above, --below, --on-button"


def _time(wish: Wish, field: str, zone: ZoneInfo | None) -> dt.datetime | None:
    text: str | None = getattr(wish, field)
    with _about(field):
        return None if text is None else typed_time(text, f"--{field}", zone)


def _require_clock(request: ArmRequest, until: dt.datetime | None, clock: DeviceTime) -> None:
    if clock.utc_us is None and (request.start == StartMode.AT or until is not None):
        what = "--at" if request.start == StartMode.AT else "--until"
        text = f"the device's clock is not set, so it cannot know when {what} is. Nothing was changed; `fieldlog clock sync` sets it"
        raise RefusedError(LoggerError.CLOCK_NOT_SET, Group.LOGGER, text)


def _require_order(request: ArmRequest, at: dt.datetime | None, until: dt.datetime | None, clock: DeviceTime) -> None:
    now_s = (clock.utc_us or 0) // 1_000_000
    if at is not None and at.timestamp() <= now_s:
        raise UnfitWish(
            "at",
            f"--at {_told(at)} is over by the device's clock: it is {moment_text(now_s, at.tzinfo)} now. "
            "Nothing was changed",
        )
    waits_s = (request.at or 0) if request.start == StartMode.AFTER else 0
    begins_s = at.timestamp() if at is not None else now_s + waits_s
    if until is not None and until.timestamp() <= begins_s:
        begins = moment_text(int(begins_s), until.tzinfo if at is None else at.tzinfo)
        when = begins if at is not None or waits_s else f"now, {begins}"
        text = f"the session would end ({_told(until)}) before it begins ({when}). Nothing was changed"
        raise UnfitWish("until", text)


def _told(time: dt.datetime) -> str:
    return moment_text(int(time.timestamp()), time.tzinfo)


def assumed_zones(wish: Wish, metadata: Mapping[str, str] | None) -> list[str]:
    """Which zone was taken for times that were typed without one, where the wish does not name it; sentences for people."""
    if deployment.ZONE in wish.metadata:
        return []
    zone = deployment.known_zone(metadata)
    source = "as no zone is given" if zone is None else "the zone that the device's metadata names already"
    return [
        f"{option} {text} is taken as {_told(typed_time(text, option, zone))}, {source}. "
        "An offset such as +02:00 or --meta zone=NAME says another"
        for option, text in (("--at", wish.at), ("--until", wish.until))
        if text is not None and is_bare(text)
    ]
