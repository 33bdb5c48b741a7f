"""`fieldlog log status`: what a logger does, on which conditions, and how long it can go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import click

from fieldlog import deployment
from fieldlog.arming import estimate_now, recorded_streams
from fieldlog.cli.common import Common, options, run
from fieldlog.cli.log_words import (
    battery_json,
    clock_field,
    clock_json,
    estimate_fields,
    estimate_json,
    every,
    metadata_field,
    start_field,
    start_json,
    stop_field,
    stop_json,
)
from fieldlog.cli.output import Output
from fieldlog.clock import DeviceTime, read_clock
from fieldlog.device import Device
from fieldlog.estimate import Estimate
from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import StreamInfo, read_streams
from fieldlog.text import size_text
from fieldlog.unit_signs import in_brackets
from fieldlog_protocol.commands.logger import Capability, State
from fieldlog_protocol.errors import VerificationError


@dataclass(frozen=True, slots=True)
class Status:
    """All that is asked of the device."""

    info: LoggerInfo
    streams: list[StreamInfo]
    clock: DeviceTime
    estimate: Estimate
    metadata: Mapping[str, str] | None

    @property
    def state(self) -> str:
        state = self.info.state
        return state.name.lower() if isinstance(state, State) else f"state {state}"


@click.command()
@options
def status(common: Common) -> None:
    """Show whether it records, what, on which conditions, and how long its log and battery will last."""

    async def work() -> Status:
        async with common.connect() as device:
            return await _ask(device)

    found = run(work())
    common.output.result(_json(found), lambda: _show(common.output, found))


async def _ask(device: Device) -> Status:
    info = await device.logger_info()
    streams = await read_streams(device)
    metadata = await deployment.read_metadata(device) if Capability.METADATA in info.capabilities else None
    return Status(info, streams, await _clock(device), await estimate_now(device, info, streams), metadata)


async def _clock(device: Device) -> DeviceTime:
    """A device whose ticks make no sense has a state all the same."""
    try:
        return await read_clock(device)
    except VerificationError:
        return DeviceTime(None, None, None)


def _json(found: Status) -> dict[str, object]:
    info = found.info
    return {
        "state": found.state,
        "session": info.session,
        "label": None if info.plan is None else info.plan.label or "",
        "start": start_json(info.plan, found.streams, info),
        "stop": stop_json(info.plan),
        "used_bytes": info.used_bytes,
        "total_bytes": info.total_bytes,
        "wrap": info.wrap,
        "first_seq": info.first_seq,
        "next_seq": info.next_seq,
        "released_seq": info.released_seq,
        "estimate": estimate_json(found.estimate, wrap=info.wrap),
        "battery": battery_json(info),
        "clock": clock_json(found.clock, info),
        "metadata": found.metadata,
        "streams": [_stream_json(stream, found) for stream in found.streams],
    }


def _stream_json(stream: StreamInfo, found: Status) -> dict[str, object]:
    channels = [{"name": channel.name, "unit": channel.unit} for channel in stream.channels]
    recorded = found.info.active and stream in recorded_streams(found.info, found.streams)
    return {
        "id": stream.id,
        "name": stream.name,
        "period_us": stream.period_us,
        "recorded": recorded,
        "channels": channels,
    }


def _show(output: Output, found: Status) -> None:
    info = found.info
    share = 100 * info.used_bytes / info.total_bytes if info.total_bytes else 0
    zone = deployment.known_zone(found.metadata)
    when_full = "overwrites the oldest" if info.wrap else "stops"
    output.fields(
        [
            ("state", found.state),
            ("session" if info.active else "last session", info.session or None),
            ("label", info.plan and info.plan.label),
            ("begins", start_field(info.plan, found.streams, info, zone) if info.state == State.ARMED else None),
            ("ends", stop_field(info.plan, zone, clock_set=found.clock.utc_us is not None)),
            (
                "log",
                f"{size_text(info.used_bytes)} of {size_text(info.total_bytes)} ({share:.1f} %); when full it {when_full}",
            ),
            ("blocks", f"{info.first_seq} to {info.next_seq - 1}" if info.used_bytes else "none"),
            *estimate_fields(found.estimate, info, wrap=info.wrap),
            ("clock", clock_field(found.clock)),
            metadata_field(found.metadata),
        ]
    )
    _show_streams(output, found)


def _show_streams(output: Output, found: Status) -> None:
    """Those of the session apart from the others."""
    recorded = recorded_streams(found.info, found.streams) if found.info.active else []
    others = [stream for stream in found.streams if stream not in recorded]
    heads = ("streams of the session", "streams that are not recorded") if recorded else ("", "streams")
    for head, streams in zip(heads, (recorded, others), strict=True):
        if streams:
            output.line(f"{head}:")
            output.fields((f"  {stream.name}", _described(stream)) for stream in streams)


def _described(stream: StreamInfo) -> str:
    channels = ", ".join(in_brackets(channel.name, channel.unit) for channel in stream.channels)
    return f"{every(stream.period_us)}: {channels}"
