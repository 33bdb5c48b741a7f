"""`fieldlog flash`."""

from __future__ import annotations

from pathlib import Path

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.flash import RETURN_S, Flashed, Outcome, Plan, load
from fieldlog.flash import flash as install
from fieldlog_protocol.errors import UsageError

_SAYINGS = {
    Outcome.ALREADY: "{version} runs already and is confirmed: nothing to do",
    Outcome.CONFIRMED: "{version} runs and is confirmed",
    Outcome.TESTING: "{version} runs on trial: `fieldlog image confirm` keeps it, a restart brings {before} back",
}


@click.command()
@options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="IMAGE")
@click.option("--image", "number", type=click.IntRange(0, 15), default=0, help="Number of the image on the device.")
@click.option("--no-confirm", is_flag=True, help="Leave the new firmware on trial.")
@click.option("--permanent", is_flag=True, help="Install for good, without a trial.")
@click.option("--wait", type=click.FloatRange(1, 3600), default=RETURN_S, metavar="S", help="How long it may restart.")
def flash(common: Common, file: Path, *, number: int, no_confirm: bool, permanent: bool, wait: float) -> None:
    """Install firmware: check IMAGE, upload, test, restart, confirm.

    It can be repeated whenever it was interrupted: what is done already is left out.
    """
    if no_confirm and permanent:
        raise UsageError("--no-confirm and --permanent exclude each other")
    data = file.read_bytes()
    load(data)  # refused before a device is bothered
    plan = Plan(number=number, confirm=not no_confirm, permanent=permanent, return_s=wait)

    async def work() -> Flashed:
        async with common.connect() as device:
            with common.output.progress(f"uploading {file.name}") as progress:
                return await install(device, data, plan, tell=common.output.note, progress=progress)

    done = run(work())
    result = {"outcome": done.outcome.name.lower(), "version": done.version, "before": done.before}
    saying = _SAYINGS[done.outcome].format(version=done.version, before=done.before or "the former firmware")
    common.output.result(result, lambda: common.output.line(saying))
