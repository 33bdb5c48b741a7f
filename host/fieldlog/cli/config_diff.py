"""`fieldlog config diff`: what a file would change on a device."""

from __future__ import annotations

from pathlib import Path

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.cli.config_raw import schema_option
from fieldlog.cli.config_target import Described, described
from fieldlog.cli.config_words import show_plan
from fieldlog.cli.failure import FAILED
from fieldlog.config.document import Document, read_file
from fieldlog.config.log_check import held_against
from fieldlog.config.model import Plan, Problems, Wanted
from fieldlog.config.plan import make_plan
from fieldlog.config.plan_words import plan_json
from fieldlog.config.schema import Schema
from fieldlog.config.template import resolved, unused_sections


@click.command(short_help="Show what FILE would change.")
@options
@schema_option
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--exit-code", is_flag=True, help="Exit with 1 where there are differences, as git diff does.")
def diff(common: Common, file: Path, exit_code: bool, own: Schema | None) -> None:
    """Show what FILE would change: the device's value -> the file's value. Nothing is written.

    What FILE does not speak of is no difference. Exits with 0 both ways, unless --exit-code is given.
    """

    async def work() -> Plan:
        document = read_file(file)
        async with common.connect() as device:
            found = await described(device, own)
            wanted = _wanted(document, found)
            for section in unused_sections(document, [found.identity]):
                common.output.note(f"{file}: the section {section!r} does not hold for this device")
            return await make_plan(device, wanted, found.target)

    plan = run(work())

    def show() -> None:
        show_plan(common.output, plan)
        if plan.empty:
            common.output.note(f"the device has all that {file} says")

    common.output.result({"file": str(file), "differs": not plan.empty, "changes": plan_json(plan)}, show)
    if exit_code and not plan.empty:
        click.get_current_context().exit(FAILED)


def _wanted(document: Document, device: Described) -> Wanted:
    """What the file wants of this device; raises Problems with all that is wrong with it."""
    found, wrong = resolved(document, device.identity)
    wanted, unfit = held_against(found, device.target, device.info)
    if wrong or unfit:
        raise Problems((*wrong, *unfit), document.name)
    return wanted
