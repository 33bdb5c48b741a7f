"""`fieldlog log arm`: begin recording a session, now or later, and say what there is to know before one walks away."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import msgspec

from fieldlog import deployment
from fieldlog.arming import Preflight, Wish, arm, assumed_zones, prepare, recorded_streams, session_state, survey
from fieldlog.cli.common import Common, Standing, options, run
from fieldlog.cli.log_from import by_file
from fieldlog.cli.log_words import (
    battery_json,
    clock_field,
    clock_json,
    estimate_fields,
    estimate_json,
    metadata_field,
    start_field,
    start_json,
    stop_field,
    stop_json,
    streams_field,
)
from fieldlog.cli.output import Output
from fieldlog.clock import DeviceTime
from fieldlog.config.document import read_file
from fieldlog.config.log_section import FIELDS, combined
from fieldlog.estimate import Estimate, estimate, planned, shortfalls
from fieldlog.local_times import typed_time
from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import StreamInfo, read_streams
from fieldlog.unit_signs import with_sign
from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import State
from fieldlog_protocol.errors import UsageError


@dataclass(frozen=True, slots=True)
class _Armed:
    """What was asked for, found and done. `done` None: nothing, and `info` is what the device would say."""

    wish: Wish
    request: logger.ArmRequest
    found: Preflight
    done: logger.ArmResponse | None
    info: LoggerInfo
    streams: Sequence[StreamInfo]
    warnings: Sequence[str]

    @property
    def recorded(self) -> list[StreamInfo]:
        return recorded_streams(self.info, self.streams)

    @property
    def state(self) -> str:
        """That of the device now."""
        state = self.found.info.state if self.done is None else self.done.state
        return State(state).name.lower() if state in State.__members__.values() else f"state {state}"


def request_id() -> int:
    """Names one request, so that a repetition of it acts only once."""
    return secrets.randbits(32)


def _metadata(words: tuple[str, ...]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise UsageError(f"--meta takes NAME=TEXT, not {word!r}")
        texts[key] = text
    return texts


def _given(words: dict[str, Any]) -> dict[str, object]:
    """Fields of a Wish that the command line gives."""
    given: dict[str, object] = {}
    for key, field in FIELDS.items():
        word = words[_PARAMETERS.get(key, key)]
        if word is not None and word != ():
            given[field.name] = field.read(f"--{key}", word)
    if words["meta"]:
        given["metadata"] = _metadata(words["meta"])
    return given


_PARAMETERS = {"for": "for_", "on-button": "on_button"}


@click.command(name="arm")
@options
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take what a configuration file says in [log] and [metadata]; options given here win.",
)
@click.option("--label", metavar="TEXT", help="Label of the session.")
@click.option(
    "--stream", "streams", multiple=True, metavar="NAME[=PERIOD]", help="Record this stream; repeatable. Else all."
)
@click.option(
    "--period", metavar="TIME", help="Sampling period, such as 10s, 1min or 100Hz, of streams named without one."
)
@click.option("--at", metavar="TIME", help="Begin at this time: ISO 8601, in the deployment's zone or UTC if bare.")
@click.option("--after", metavar="TIME", help="Begin after a while, such as 2h.")
@click.option(
    "--above", metavar="CHANNEL=VALUE", help="Begin with the first reading at or above: 'temperature=30 Cel'."
)
@click.option("--below", metavar="CHANNEL=VALUE", help="Begin with the first reading at or below.")
@click.option("--on-button", is_flag=True, default=None, help="Begin when the device's button is pressed.")
@click.option("--until", metavar="TIME", help="End before this time.")
@click.option("--for", "for_", metavar="TIME", help="End after so much time of recording, such as 3d.")
@click.option("--frames", type=click.IntRange(1), metavar="N", help="End after N frames of all streams.")
@click.option(
    "--wrap/--no-wrap", default=None, help="When the log is full, overwrite the oldest; else recording stops."
)
@click.option(
    "--meta",
    multiple=True,
    metavar="NAME=TEXT",
    help="Travels with the readings: deployment, site, operator, zone, ...",
)
@click.option("--dry-run", is_flag=True, help="Show all that and change nothing.")
def arm_command(common: Common, /, file: Path | None, *, dry_run: bool, **words: Any) -> None:
    """Begin recording a session, now or later.

    Shows beforehand what may spoil it: the clock's error, the battery, how long the log will last, and a self test.
    """
    given = _given(words)
    document = None if file is None else read_file(file)
    standing = Standing("nothing was changed")

    async def work() -> _Armed:
        async with common.connect() as device:
            await device.need_logger()
            known = await survey(device)
            wish, not_there = combined({}, given), list[str]()
            if document is not None:
                wish, not_there = await by_file(device, document, known, given)
            request, found = await prepare(device, wish, known)
            for sentence in assumed_zones(wish, found.metadata):
                common.output.note(sentence)
            warnings = [*found.warnings(), *not_there]
            for warning in warnings:
                common.output.warn(warning)
            if dry_run:
                info = planned(replace(found.info, utc_s=_seconds(found.clock)), request)
                return _Armed(wish, request, found, None, info, _at_periods(known.streams, request), warnings)
            request = msgspec.structs.replace(request, id=request_id())
            standing.text = _perhaps(wish)
            done = await arm(device, request, wish, found)
            standing.text = f"session {done.session} {session_state(done.state)}"
            streams = await read_streams(device)
            return _Armed(wish, request, found, done, await device.logger_info(), streams, warnings)

    with standing.told():
        armed = run(work())
    lasts = estimate(replace(armed.info, wrap=armed.wish.wrap), armed.recorded)
    short = shortfalls(lasts, wrap=armed.wish.wrap)
    for warning in short:
        common.output.warn(warning)
    common.output.result(_json(armed, lasts, short), lambda: _show(common.output, armed, lasts))


def _perhaps(wish: Wish) -> str:
    """What holds while the device is asked to."""
    metadata = "the metadata may have been changed, and " if wish.metadata else ""
    return f"{metadata}a session may have been armed or begun: `fieldlog log status` shows that, and `fieldlog log stop` ends it"


def _seconds(clock: DeviceTime) -> int | None:
    return None if clock.utc_us is None else clock.utc_us // 1_000_000


def _at_periods(streams: Sequence[StreamInfo], request: logger.ArmRequest) -> list[StreamInfo]:
    """The streams as they would be sampled."""
    periods = {item.s: item.us for item in request.streams or ()}
    return [replace(stream, period_us=periods.get(stream.id) or stream.period_us) for stream in streams]


def _json(armed: _Armed, lasts: Estimate, short: Sequence[str]) -> dict[str, object]:
    found = armed.found
    return {
        "session": armed.done and armed.done.session,
        "state": armed.state,
        "dry_run": armed.done is None,
        "label": armed.wish.label,
        "streams": [{"id": stream.id, "name": stream.name, "period_us": stream.period_us} for stream in armed.recorded],
        "start": start_json(armed.request, armed.streams, armed.info),
        "stop": stop_json(armed.request),
        "preflight": {
            "clock": clock_json(found.clock, found.info),
            "battery": battery_json(found.info if armed.done is None else armed.info),
            "estimate": estimate_json(lasts, wrap=armed.wish.wrap),
            "self_test": None
            if found.tests is None
            else [{"name": test.n, "passed": test.ok, "measured": test.x} for test in found.tests],
            "warnings": [*armed.warnings, *short],
        },
        "metadata": found.metadata,
    }


def _show(output: Output, armed: _Armed, lasts: Estimate) -> None:
    request, found, wish = armed.request, armed.found, armed.wish
    waits = armed.info.state == State.ARMED if armed.done is None else armed.done.state == State.ARMED
    output.line(_headline(armed, waits=waits))
    output.fields(
        [
            ("label", wish.label),
            ("records", streams_field(armed.recorded)),
            (
                "begins",
                start_field(request, armed.streams, armed.info, _zone("--at", wish.at, found)) if waits else None,
            ),
            ("ends", stop_field(request, _zone("--until", wish.until, found))),
            *estimate_fields(lasts, armed.info, wrap=wish.wrap),
            ("clock", clock_field(found.clock)),
            (
                "self test",
                "; ".join(f"{test.n}: {with_sign(test.x or 'good')}" for test in found.tests or () if test.ok),
            ),
            metadata_field(found.metadata),
        ]
    )


def _headline(armed: _Armed, *, waits: bool) -> str:
    if armed.done is None:
        return f"nothing was changed: a session would be {'armed' if waits else 'recorded from now on'}"
    return f"session {armed.done.session} {session_state(armed.done.state)}"


def _zone(option: str, text: str | None, found: Preflight) -> dt.tzinfo | None:
    """That in which a time was typed."""
    zone = deployment.known_zone(found.metadata)
    return zone if text is None else typed_time(text, option, zone).tzinfo
