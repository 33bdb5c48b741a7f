"""`fieldlog flash`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from fieldlog.cli.common import Common, on_interrupt, options, run
from fieldlog.cli.output import OnProgress
from fieldlog.flash import RETURN_S, Flashed, Outcome, Plan, load
from fieldlog.flash import flash as install
from fieldlog_protocol.errors import UsageError

_SAYINGS = {
    Outcome.ALREADY: "{version} runs already and is confirmed: nothing to do",
    Outcome.CONFIRMED: "{version} runs and is confirmed",
    Outcome.TESTING: "{version} runs on trial: `fieldlog image confirm` keeps it, a restart brings {before} back",
}


@dataclass(slots=True)
class _Watch:
    """How far an installation has come, for whoever interrupts it. Until an image is complete it cannot be started."""

    common: Common
    may_start: bool = False

    def tell(self, step: str) -> None:
        """Each step but the first, the upload, comes when the image is on the device."""
        self.may_start = not step.startswith("uploading")
        self.common.output.note(step)

    def progress(self, show: OnProgress) -> OnProgress:
        def moved(done: int, total: int) -> None:
            self.may_start = done >= total
            show(done, total)

        return moved

    def state(self) -> str:
        if self.may_start:
            return (
                "the new firmware is on the device and may have been started already. Repeat the command: it does what "
                "is left to do"
            )
        return "nothing was installed, the device runs what it ran. Repeat the command: it goes on where it stopped"


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

    watch = _Watch(common)

    async def work() -> Flashed:
        async with common.connect() as device:
            with common.output.progress(f"uploading {file.name}") as show:
                return await install(device, data, plan, tell=watch.tell, progress=watch.progress(show))

    with on_interrupt(watch.state):
        done = run(work())
    result = {"outcome": done.outcome.name.lower(), "version": done.version, "before": done.before}
    saying = _SAYINGS[done.outcome].format(version=done.version, before=done.before or "the former firmware")
    common.output.result(result, lambda: common.output.line(saying))
