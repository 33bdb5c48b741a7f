"""`fieldlog config`: settings, typed where the device describes them, bytes where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.config import assignments as words
from fieldlog.config import export as exports
from fieldlog.config import present
from fieldlog.config import schema as schemas
from fieldlog.config.export import toml_value
from fieldlog.config.present import Entry
from fieldlog.config.raw import show_raw
from fieldlog.config.schema import Schema
from fieldlog.config.values import Setting, allowed
from fieldlog.config.write import write
from fieldlog.device import Device
from fieldlog.files import check_target
from fieldlog.whole_file import whole_file
from fieldlog_protocol.commands.logger import SettingFlag
from fieldlog_protocol.errors import RefusedError, UsageError


@click.group()
def config() -> None:
    """Show and change a device's settings."""


@config.command()
@options
@click.argument("keys", nargs=-1)
def show(common: Common, keys: tuple[str, ...]) -> None:
    """Show all settings or those named KEYS: value, unit, default; * marks what differs from the default."""

    async def work() -> list[Entry]:
        async with common.connect() as device:
            return await present.read(device, await _described(device), keys or None)

    entries = run(work())
    rows = [
        (
            entry.setting.key,
            _shown(entry.value),
            entry.setting.unit,
            _shown(entry.default),
            "*" if entry.changed else "",
        )
        for entry in entries
    ]
    data = {"settings": [_entry_json(entry) for entry in entries]}
    common.output.result(data, lambda: common.output.table(["setting", "value", "unit", "default", ""], rows))


@config.command()
@options
@click.argument("keys", nargs=-1, required=True)
def get(common: Common, keys: tuple[str, ...]) -> None:
    """Show the values of KEYS, one a line. A device that describes no types gives bytes, as hex: or str:."""

    async def work() -> dict[str, object]:
        async with common.connect() as device:
            if await device.has_logger():
                entries = await present.read(device, await schemas.schema(device), keys)
                return {entry.setting.key: toml_value(entry.value) for entry in entries}
            return {key: show_raw(await device.read_setting(key)) for key in keys}

    values = run(work())

    def show_values() -> None:
        for key, value in values.items():
            common.output.line(f"{key} = {_shown(value)}" if len(values) > 1 else _shown(value))

    common.output.result({"values": values}, show_values)


@config.command("set")
@options
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE...")
def set_(common: Common, assignments: tuple[str, ...]) -> None:
    """Change settings and store them.

    On a device that describes no types a value says how its bytes are written: hex:01ff, str:text, u32:10, i32:-5,
    bool:on or f32:3.5.
    """

    async def work() -> tuple[Sequence[str], bool]:
        async with common.connect() as device:
            known = await schemas.schema(device) if await device.has_logger() else None
            values = _planned(known, assignments)
            saved = await write(device, values)
            restart = known is not None and any(known[key].flags & SettingFlag.NEEDS_RESTART for key in values)
            if restart:
                common.output.note("some of it takes effect after a restart: `fieldlog reset`")
            return list(values), saved

    keys, saved = run(work())
    common.output.result({"written": keys, "saved": saved}, lambda: common.output.note(f"written: {', '.join(keys)}"))
    if not saved:
        common.output.warn("this device cannot store settings on request: a restart may bring the former values back")


@config.command()
@options
@click.option(
    "--output", "-o", "target", type=click.Path(dir_okay=False, path_type=Path), help="Where to; else stdout."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--changed", is_flag=True, help="Only what differs from the default.")
def export(common: Common, target: Path | None, force: bool, changed: bool) -> None:
    """Write all settings as TOML, with comments that say what they mean and may be."""
    if target is not None:
        check_target(target, force=force)

    async def work() -> tuple[str, list[Entry]]:
        async with common.connect() as device:
            known = await _described(device)
            info = await device.logger_info()
            title = (
                f"fieldlog configuration of {info.serial or info.uid.hex()} ({info.product}, firmware {info.firmware})"
            )
            return title, await present.read(device, known)

    title, entries = run(work())
    text = exports.export(entries, title, changed_only=changed)
    data: dict[str, object] = {"file": None if target is None else str(target)}
    if target is None:
        data |= {"toml": text}
    else:
        with whole_file(target) as aside:
            aside.write_text(text, encoding="utf-8")
    common.output.result(data, lambda: common.output.lines(text.rstrip("\n") if target is None else str(target)))


@config.command()
@options
def schema(common: Common) -> None:
    """Show what each setting takes and what it is for."""

    async def work() -> Schema:
        async with common.connect() as device:
            return await _described(device)

    known = run(work())
    rows = [(setting.key, allowed(setting), setting.text) for setting in known.values()]
    data = {"schema": [_setting_json(setting) for setting in known.values()]}
    common.output.result(data, lambda: common.output.table(["setting", "takes", "meaning"], rows))


async def _described(device: Device) -> Schema:
    """The device's schema; where it has none, say what can be done instead."""
    if not await device.has_logger():
        raise RefusedError(
            8, None, f"{device.name} does not describe its settings. Name the keys you know: `fieldlog config get KEY`"
        )
    return await schemas.schema(device)


def _planned(known: Schema | None, assignments: Sequence[str]) -> dict[str, bytes]:
    """The bytes to write; without a schema it is the key that tells which of the assignments is wrong."""
    if known is not None:
        return words.plan(known, assignments)
    planned: dict[str, bytes] = {}
    for assignment in assignments:
        try:
            planned |= words.plan(None, [assignment])
        except UsageError as error:
            key, separator, _ = assignment.partition("=")
            raise UsageError(f"{key.strip()}: {error}" if separator else str(error)) from error
    return planned


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    return "" if value is None else str(value)


def _entry_json(entry: Entry) -> dict[str, object]:
    return {
        "key": entry.setting.key,
        "value": toml_value(entry.value),
        "unit": entry.setting.unit,
        "default": None if entry.default is None else toml_value(entry.default),
        "changed": entry.changed,
    }


def _setting_json(setting: Setting) -> Mapping[str, object]:
    flags = [flag.name.lower() for flag in setting.flags if flag.name]
    return asdict(setting) | {"type": setting.type.name.lower(), "flags": flags, "choices": list(setting.choices)}
