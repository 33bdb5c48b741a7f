"""`fieldlog config set`: a few settings, changed all or not at all where the device can do that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.cli.config_raw import schema_option
from fieldlog.cli.config_target import Described, described
from fieldlog.cli.config_words import show_plan
from fieldlog.config.apply import Applied
from fieldlog.config.assignments import assigned, plan_raw
from fieldlog.config.check import check
from fieldlog.config.model import Located, Resolved
from fieldlog.config.plan import make_plan
from fieldlog.config.plan_words import plan_json
from fieldlog.config.schema import Schema
from fieldlog.config.write import write
from fieldlog.device import Device


@click.command("set")
@options
@schema_option
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE...")
def set_(common: Common, assignments: tuple[str, ...], own: Schema | None) -> None:
    """Change settings and store them: log/max_age=10min, alarm/high='3.5 degC', device/name=Attic.

    Numbers take any unit that fits; without one it is the setting's own. All values are checked before the first is
    written. On a device that describes no types a value says how its bytes are written: hex:01ff, str:text, u32:10,
    i32:-5, bool:on or f32:3.5.
    """

    async def work() -> None:
        async with common.connect() as device:
            if own is not None or await device.has_logger():
                found = await described(device, own, streams=False)
                _say(common, await _set(found, assigned(assignments)))
            else:
                _say_raw(common, *await _set_raw(device, assignments))

    run(work())


async def _set(found: Described, values: Mapping[str, str]) -> Applied:
    device, target = found.device, found.target
    wanted = check(Resolved({key: Located(words) for key, words in values.items()}, {}, None, {}), target)
    plan = await make_plan(device, wanted, target)
    kept = plan.empty or await write(device, {change.setting.key: change.new for change in plan.settings})
    return Applied(plan, transaction=False, kept=kept)


def _say(common: Common, applied: Applied) -> None:
    data = {"written": [change.setting.key for change in applied.plan.settings], "saved": applied.kept}

    def show() -> None:
        show_plan(common.output, applied.plan)
        if applied.plan.needs_restart:
            common.output.note("some of it takes effect after a restart: `fieldlog reset`")
        for note in applied.notes:
            common.output.note(note)

    common.output.result(data | {"changes": plan_json(applied.plan)}, show)
    _warn_unless_kept(common, applied.kept)


async def _set_raw(device: Device, assignments: Sequence[str]) -> tuple[list[str], bool]:
    values = plan_raw(assignments)
    return list(values), await write(device, values)


def _say_raw(common: Common, keys: Sequence[str], kept: bool) -> None:
    data = {"written": keys, "saved": kept}
    common.output.result(data, lambda: common.output.note(f"written: {', '.join(keys)}"))
    _warn_unless_kept(common, kept)


def _warn_unless_kept(common: Common, kept: bool) -> None:
    if not kept:
        common.output.warn("this device cannot store settings on request: a restart may bring the former values back")
