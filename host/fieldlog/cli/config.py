"""`fieldlog config`: settings, typed where the device describes them, bytes where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.cli.config_apply import apply_command
from fieldlog.cli.config_diff import diff
from fieldlog.cli.config_raw import commit, delete, load, save, schema_option
from fieldlog.cli.config_schema import schema
from fieldlog.cli.config_set import set_
from fieldlog.cli.config_target import described
from fieldlog.config.export import export as export_text
from fieldlog.config.export import toml_value
from fieldlog.config.present import Entry, Present, read, read_all
from fieldlog.config.raw import show_raw
from fieldlog.config.schema import Schema
from fieldlog.config.units import unit_name
from fieldlog.device import Device
from fieldlog.files import check_target
from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import RefusedError


@click.group()
def config() -> None:
    """Show and change a device's settings."""


for _command in (set_, diff, schema, delete, commit, load, save):
    config.add_command(_command)
config.add_command(apply_command)


@config.command(short_help="Show settings: value, unit, default.")
@options
@schema_option
@click.argument("keys", nargs=-1)
def show(common: Common, keys: tuple[str, ...], own: Schema | None) -> None:
    """Show all settings or those named KEYS: value, unit, default; * marks what differs from the default."""

    async def work() -> list[Entry]:
        async with common.connect() as device:
            known = (await described(device, own, streams=False)).target.schema
            return await read(device, known, keys or None)

    entries = run(work())
    rows = [
        (
            entry.setting.key,
            _shown(entry.value),
            unit_name(entry.setting.unit),
            _shown(entry.default),
            "*" if entry.set_by_somebody else "",
        )
        for entry in entries
    ]
    data = {"settings": [_entry_json(entry) for entry in entries]}
    common.output.result(data, lambda: common.output.table(["setting", "value", "unit", "default", ""], rows))


@config.command()
@options
@schema_option
@click.argument("keys", nargs=-1, required=True)
def get(common: Common, keys: tuple[str, ...], own: Schema | None) -> None:
    """Show the values of KEYS, one a line. A device that describes no types gives bytes, as hex: or str:."""

    async def work() -> dict[str, object]:
        async with common.connect() as device:
            if own is not None or await device.has_logger():
                entries = await read(device, (await described(device, own, streams=False)).target.schema, keys)
                return {entry.setting.key: toml_value(entry.value) for entry in entries}
            return await _raw(device, keys, missing)

    missing: dict[str, RefusedError] = {}
    values = run(work())
    if missing and common.output.as_json:
        raise _refused(missing)

    def show_values() -> None:
        for key, value in values.items():
            common.output.line(f"{key} = {_shown(value)}" if len(keys) > 1 else _shown(value))

    common.output.result({"values": values}, show_values)
    if missing:
        raise _refused(missing)


async def _raw(device: Device, keys: Sequence[str], missing: dict[str, RefusedError]) -> dict[str, object]:
    """The values that the device gives; `missing` gets why it does not give the others."""
    values: dict[str, object] = {}
    for key in keys:
        try:
            values[key] = show_raw(await device.read_setting(key))
        except RefusedError as error:
            missing[key] = error
    return values


def _refused(missing: Mapping[str, RefusedError]) -> RefusedError:
    error = next(iter(missing.values()))
    text = "; ".join(f"{key}: {refusal}" for key, refusal in missing.items())
    return RefusedError(error.code, error.group, text, error.details)


@config.command(short_help="Write the configuration as TOML.")
@options
@schema_option
@click.option(
    "--output", "-o", "target", type=click.Path(dir_okay=False, path_type=Path), help="Where to; else stdout."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--changed", is_flag=True, help="Only what differs from the default.")
def export(common: Common, target: Path | None, force: bool, changed: bool, own: Schema | None) -> None:
    """Write settings, calibrations and metadata as TOML, with comments that say what they mean and may be.

    The file can be edited, compared (`config diff`) and applied (`config apply`), to this device or others.
    """
    if target is not None:
        check_target(target, force=force)

    async def work() -> Present:
        async with common.connect() as device:
            found = await described(device, own)
            return await read_all(device, found.target, found.title)

    text = export_text(run(work()), changed_only=changed)
    data: dict[str, object] = {"file": None if target is None else str(target)}
    if target is None:
        data |= {"toml": text}
    else:
        with whole_file(target, force=force) as aside:
            aside.write_text(text, encoding="utf-8")
    common.output.result(data, lambda: common.output.lines(text.rstrip("\n") if target is None else str(target)))


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
        "changed": entry.set_by_somebody,
    }
