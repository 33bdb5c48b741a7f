"""`fieldlog info`, `identify` and `selftest`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import click
import msgspec

from fieldlog.cli.common import Common, options, run
from fieldlog.cli.image_slots import slot_flags, slot_json
from fieldlog.cli.output import Output
from fieldlog.datetimes import utc_text
from fieldlog.device import Device
from fieldlog.flash_slots import idle, merely_claimed
from fieldlog.image_words import next_restart, runs_no_firmware
from fieldlog.logger_info import LoggerInfo
from fieldlog.self_test import self_test
from fieldlog.text import size_text
from fieldlog.unit_signs import with_sign
from fieldlog_protocol.commands import GROUP_NAMES, logger
from fieldlog_protocol.commands.os import BOOTLOADER_MODES
from fieldlog_protocol.errors import ProtocolError, RefusedError, RequestTimeout

T = TypeVar("T")


@click.command()
@options
def info(common: Common) -> None:
    """Show what a device is and does."""

    async def work() -> dict[str, Any]:
        async with common.connect() as device:
            return await _gather(device, common.output.warn)

    found = run(work())
    common.output.result(found, lambda: _show(common.output, found))


async def _gather(device: Device, warn: Callable[[str], None]) -> dict[str, Any]:
    params = device.client.params
    offered = _Offered(device, warn)
    groups = await offered(device.groups())
    has_logger = await device.has_logger()
    slots = await offered(device.images())
    system, boot = await offered(device.os_info()), await _bootloader(device, offered)
    known = has_logger or system is not None or boot is not None
    if slots is not None and not known and await merely_claimed(device, slots):
        slots = idle(slots)
    return {
        "device": device.name,
        "recovery": not known and slots is not None and runs_no_firmware(slots),
        "logger": logger_json(await device.logger_info()) if has_logger else None,
        "system": system,
        "bootloader": boot,
        "images": [slot_json(slot) for slot in slots or ()],
        "next_restart": [] if slots is None else next_restart(slots),
        "clock": await _clock(device, offered),
        "buffers": None if params is None else {"size": params.buf_size, "count": params.buf_count},
        "groups": None if groups is None else [{"id": number, "name": GROUP_NAMES.get(number)} for number in groups],
    }


@dataclass(frozen=True, slots=True)
class _Offered:
    """Asks for what not every device serves. What makes no sense, or is never answered by a device that still answers other
    things, is told and takes nothing else with it."""

    device: Device
    warn: Callable[[str], None]

    async def __call__(self, answer: Awaitable[T]) -> T | None:
        """The answer, None where there is none."""
        try:
            return await answer
        except RefusedError:
            return None
        except ProtocolError as error:
            self.warn(str(error))
        except RequestTimeout as error:
            with suppress(RefusedError):
                await self.device.params()
            self.warn(f"{str(error).partition('. ')[0]}, though it answers other questions: that is left out")
        return None


async def _bootloader(device: Device, offered: _Offered) -> dict[str, object] | None:
    name = await offered(device.bootloader())
    if name is None or name.bootloader is None:
        return None
    mode = await offered(device.bootloader("mode"))
    number = None if mode is None else mode.mode
    text = None if number is None else BOOTLOADER_MODES.get(number, f"mode {number}")
    return {"name": name.bootloader, "mode": number, "mode_text": text}


async def _clock(device: Device, offered: _Offered) -> str | None:
    time = await offered(device.datetime())
    return None if time is None else time.isoformat()


def logger_json(info: LoggerInfo) -> Mapping[str, object]:
    """The logger's description as JSON shows it: states and capabilities by name."""
    state = info.state.name.lower() if isinstance(info.state, logger.State) else info.state
    names = [capability.name.lower() for capability in info.capabilities if capability.name]
    plan = None if info.plan is None else msgspec.to_builtins(info.plan)
    return asdict(info) | {"state": state, "capabilities": names, "plan": plan}


def _show(output: Output, found: dict[str, Any]) -> None:
    boot, buffers, groups = found["bootloader"], found["buffers"], found["groups"]
    about = [] if found["logger"] is None else _logger_fields(found["logger"])
    output.fields(
        [
            *about,
            ("device", found["device"]),
            ("system", "none: the boot loader's recovery answers" if found["recovery"] else found["system"]),
            ("boot loader", boot and f"{boot['name']}" + (f", {boot['mode_text']}" if boot["mode_text"] else "")),
            ("clock", found["clock"]),
            ("buffers", buffers and f"{buffers['count']} of {buffers['size']} bytes"),
            ("groups", groups and ", ".join(group["name"] or str(group["id"]) for group in groups)),
            *map(_image_field, found["images"]),
        ]
    )
    for sentence in found["next_restart"]:
        output.note(sentence)


def _image_field(image: Mapping[str, object]) -> tuple[str, object]:
    flags = ", ".join(slot_flags(image)) or "inactive"
    return f"image {image['image']} slot {image['slot']}", f"{image['version']}  {flags}"


def _logger_fields(info: dict[str, Any]) -> list[tuple[str, object]]:
    share = f"({100 * info['used_bytes'] / info['total_bytes']:.1f} %)" if info["total_bytes"] else ""
    battery = info["battery_mv"]
    return [
        ("name", info["name"]),
        ("serial", info["serial"]),
        ("product", info["product"]),
        ("hardware", info["hardware"]),
        ("firmware", info["firmware"]),
        ("uid", info["uid"]),
        ("state", info["state"]),
        ("log", f"{size_text(info['used_bytes'])} of {size_text(info['total_bytes'])} {share}".rstrip()),
        ("battery", None if battery is None else battery_text(battery, info["battery_percent"])),
        ("clock set", _utc(info["clock_set_s"])),
        ("last restart", info["reset_reason"]),
    ]


def battery_text(millivolts: int, percent: int | None) -> str:
    """Voltage, and charge where the device tells it."""
    return f"{millivolts / 1000:.3f} V" + ("" if percent is None else f", {percent} %")


def _utc(seconds: int | None) -> str:
    """A logger knows of syncs since its restart alone; earlier ones are in its log."""
    return "not since the last restart" if seconds is None else utc_text(seconds * 1_000_000)


@click.command()
@options
@click.option("--seconds", type=click.IntRange(1, 255), metavar="S", default=5, show_default=True, help="How long.")
def identify(common: Common, seconds: int) -> None:
    """Make a logger blink, to find it among others."""

    async def work() -> None:
        async with common.connect() as device:
            await device.identify(seconds)

    run(work())
    common.output.result({"seconds": seconds}, lambda: common.output.note(f"it blinks for {seconds} s"))


@click.command()
@options
def selftest(common: Common) -> None:
    """Let a logger test its sensors, battery and flash. The exit code is 1 if anything fails."""

    async def work() -> list[logger.TestResult]:
        async with common.connect() as device:
            return await self_test(device)

    results = run(work())
    passed = all(result.ok for result in results)
    data = {"passed": passed, "results": [{"name": r.n, "passed": r.ok, "measured": r.x} for r in results]}
    rows = [(result.n, "passed" if result.ok else "FAILED", with_sign(result.x or "")) for result in results]
    common.output.result(data, lambda: common.output.table(["test", "result", "measured"], rows))
    if not passed:
        raise click.exceptions.Exit(1)
