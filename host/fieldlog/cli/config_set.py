"""`fieldlog config set`: a few settings, changed all or not at all where the device can do that."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import click

from fieldlog.cli.common import Common, on_interrupt, options, run
from fieldlog.cli.config_raw import schema_option
from fieldlog.cli.config_target import Described, described
from fieldlog.cli.config_time import seconds, timeout_option
from fieldlog.cli.config_words import link_text, show_plan
from fieldlog.config.apply import Applied, apply, settle
from fieldlog.config.assignments import assigned, plan_raw
from fieldlog.config.check import check
from fieldlog.config.model import Located, Resolved
from fieldlog.config.plan import make_plan
from fieldlog.config.plan_words import plan_json
from fieldlog.config.schema import Schema
from fieldlog.config.target import Target
from fieldlog.config.write import write
from fieldlog.device import Device
from fieldlog.url import DeviceUrl, choose
from fieldlog_protocol.errors import UsageError


@click.command("set", short_help="Change settings and store them.")
@options
@schema_option
@timeout_option
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE...")
def set_(common: Common, assignments: tuple[str, ...], own: Schema | None, timeout: str) -> None:
    """Change settings and store them: log/max_age=10min, alarm/high='3.5 degC', device/name=Attic.

    Numbers take any unit that fits; without one it is the setting's own. All values are checked before the first is
    written. On a device that describes no types a value says how its bytes are written: hex:01ff, str:text, u32:10,
    i32:-5, bool:on or f32:3.5.
    """

    timeout_s = seconds("--timeout", timeout, 1)
    url = choose(common.url)

    async def work() -> None:
        async with common.connect(url) as device:
            if own is not None or await device.has_logger():
                found = await described(device, own, streams=False)
                applied = await _set(common, found, assigned(assignments), timeout_s)
                _say(common, applied, url)
            else:
                _say_raw(common, *await _set_raw(device, assignments))

    with on_interrupt(
        f"unless the changes were told already, a logger has its former values again within {timeout_s} s at the latest. "
        "`fieldlog config get` says what holds"
    ):
        run(work())


async def _set(common: Common, found: Described, values: Mapping[str, str], timeout_s: int) -> Applied:
    device, target = found.device, found.target
    for key, words in values.items():
        _require_no_metadata(key, words, target)
    wanted = check(Resolved({key: Located(words) for key, words in values.items()}, {}, None, {}), target)
    await settle(device, common.output.note)
    return await apply(device, await make_plan(device, wanted, target), timeout_s=timeout_s, tell=common.output.note)


def _require_no_metadata(key: str, words: str, target: Target) -> None:
    """What is said of a deployment looks like a setting, in a table of its own of a configuration file."""
    table, _, name = key.partition("/")
    if table == "metadata" and key not in target.schema:
        raise UsageError(
            f"the device has no setting {key!r}, and what is said of a deployment is none. Nothing was changed; `fieldlog "
            f"log arm --meta {shlex.quote(f'{name}={words}')}` says it of the next session, and so does [metadata] in a file"
        )


def _say(common: Common, applied: Applied, url: DeviceUrl) -> None:
    def show() -> None:
        show_plan(common.output, applied.plan)
        for note in applied.notes:
            common.output.note(note)
        if applied.link:
            common.output.note(link_text(applied, url))
        if applied.plan.empty:
            common.output.note("nothing to change: the device has these values")

    keys = [change.setting.key for change in applied.plan.settings]
    data: dict[str, object] = {"written": keys, "saved": applied.kept, "changes": plan_json(applied.plan)}
    common.output.result(data | {"notes": list(applied.notes), "link": applied.link}, show)
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
