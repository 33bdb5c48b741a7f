"""`fieldlog flash`."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fieldlog.cli.common import Common, on_interrupt, options, run
from fieldlog.cli.failure import described, exit_code, sentence
from fieldlog.cli.output import OnProgress, Output
from fieldlog.firmware_package import FirmwarePackage, load_package
from fieldlog.flash import Flashed, Installed, Outcome, TakenBack, carry_out
from fieldlog.flash_checks import check_file, make_plan
from fieldlog.flash_plan import LEAST_BATTERY, RETURN_S, FlashOptions, FlashPlan, Part
from fieldlog.flash_recovery import carry_out_recovery
from fieldlog.flash_restart import lasting
from fieldlog.keys import load_key
from fieldlog.pinned_keys import default_pins
from fieldlog.steady_link import SteadyLink
from fieldlog.url import choose
from fieldlog_protocol.commands.os import BOOTLOADER_MODES
from fieldlog_protocol.errors import FieldlogError, ImageError, UsageError

_SAYINGS = {
    Outcome.ALREADY: "{version} runs already and is confirmed: nothing to do",
    Outcome.CONFIRMED: "{version} runs and is confirmed",
    Outcome.TESTING: "{version} runs on trial: `fieldlog image confirm` keeps it, a restart brings {before} back",
}
_UNSEEN = "{version} was installed; whether it runs the device does not show"
_STOPPED = "the session that was stopped is not resumed: `fieldlog log arm` begins another"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(slots=True)
class _Watch:
    """How far an installation has come, for whoever interrupts it. Until an image is complete it cannot be started."""

    common: Common
    may_start: bool = False
    stopped: bool = False
    """Whether it ended a session, which nothing takes up again."""

    def tell(self, step: str) -> None:
        """The images are on the device when they are marked; a restart that comes before is of something else."""
        self.may_start = self.may_start or step.startswith(("marked", "restarting", "the image runs"))
        self.stopped = self.stopped or (step.startswith("session ") and step.endswith(" stopped"))
        self.common.output.note(step)

    def progress(self, show: OnProgress) -> OnProgress:
        def moved(done: int, total: int) -> None:
            self.may_start = done >= total
            show(done, total)

        return moved

    def state(self) -> str:
        if self.may_start:
            return self.ended(
                "the new firmware is on the device and may have been started already. Repeat the command: it does what "
                "is left to do"
            )
        return self.ended(
            "nothing was installed, the device runs what it ran. Repeat the command: it goes on where it stopped"
        )

    def ended(self, text: str) -> str:
        """What is said at an end before time, with what became of the session."""
        return f"{text.removesuffix('.')}. {_STOPPED.capitalize()}" if self.stopped else text

    @contextmanager
    def told(self) -> Generator[None]:
        """At either end it is said that a session was stopped. An error stays what it is, with all that it carries."""
        try:
            yield
        except FieldlogError as error:
            if self.stopped:
                error.args = (self.ended(str(error)),)
            raise
        if self.stopped:
            self.common.output.note(_STOPPED)


@click.command()
@options
@click.argument("file", type=_FILE, metavar="IMAGE")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be done, but do nothing.")
@click.option(
    "--key", type=_FILE, metavar="PEM", help="The key that must have signed it: its public half, or all of it."
)
@click.option(
    "--pin-key", "pin", is_flag=True, help="Remember --key: later updates of this device must be signed with it."
)
@click.option("--allow-downgrade", is_flag=True, help="Install an older version too.")
@click.option("--stop-logging", is_flag=True, help="End a session that is being recorded; its readings stay.")
@click.option(
    "--allow-changed-settings", is_flag=True, help="Keep new firmware that has not all settings as they were chosen."
)
@click.option(
    "--min-battery",
    "least_battery",
    type=click.IntRange(0, 100),
    default=LEAST_BATTERY,
    show_default=True,
    metavar="PERCENT",
    help="Do not begin below this.",
)
@click.option(
    "--image",
    "number",
    type=click.IntRange(0, 15),
    metavar="N",
    help="Number of the image, where the file does not say.",
)
@click.option(
    "--slot",
    type=click.IntRange(0, 31),
    metavar="N",
    help="Number of the slot, where the device has several to choose from.",
)
@click.option("--erase", is_flag=True, help="Erase the slot before the upload.")
@click.option("--no-confirm", is_flag=True, help="Leave the new firmware on trial.")
@click.option("--permanent", is_flag=True, help="Install for good, without a trial.")
@click.option("--recovery", is_flag=True, help="By the boot loader's serial recovery: for devices that do not come up.")
@click.option(
    "--wait",
    type=click.FloatRange(1, 3600),
    default=RETURN_S,
    show_default=True,
    metavar="S",
    help="How long the device may take to come back from a restart.",
)
def flash(
    common: Common,
    /,
    file: Path,
    *,
    dry_run: bool,
    key: Path | None,
    no_confirm: bool,
    wait: float,
    recovery: bool,
    **more: Any,
) -> None:
    """Install firmware: check IMAGE (an image or a zip package), upload, test, restart, see that it works, confirm.

    It can be repeated whenever it was interrupted: what is done already is left out.
    """
    if no_confirm and more["permanent"]:
        raise UsageError("--no-confirm and --permanent exclude each other")
    if more["pin"] and key is None:
        raise UsageError("--pin-key remembers the key that --key names: give both")
    if recovery and no_confirm:
        raise UsageError("--no-confirm does not go with --recovery, where there is no trial: leave it out")
    if recovery and more["pin"]:
        raise UsageError("--pin-key does not go with --recovery: leave it out, and pin the key with a later update")
    package = _load(file)
    wanted = FlashOptions(
        confirm=not no_confirm,
        return_s=wait,
        key=None if key is None else load_key(key),
        pins=default_pins(),
        **more,
    )
    if dry_run:
        plan = run(_plan(common, package, wanted, recovery=recovery))
        common.output.result(_plan_json(plan, wanted), lambda: _show_plan(common.output, plan, wanted))
    elif recovery:
        _recover(common, file.name, package, wanted)
    else:
        _install(common, file.name, package, wanted)


def _load(file: Path) -> FirmwarePackage:
    """What is wrong with the file itself is told before a device is bothered."""
    try:
        package = load_package(file)
    except ImageError as error:
        raise ImageError(f"{error}. The device was not changed") from error
    check_file(package)
    return package


async def _plan(common: Common, package: FirmwarePackage, wanted: FlashOptions, *, recovery: bool) -> FlashPlan:
    async with common.connect() as device:
        return await make_plan(device, package, wanted, recovery=recovery)


def _install(common: Common, name: str, package: FirmwarePackage, wanted: FlashOptions) -> None:
    watch = _Watch(common)

    async def work() -> tuple[FlashPlan, Flashed]:
        async with common.connect(lasting(choose(common.url))) as device:
            plan = await SteadyLink(device, wanted.reconnect_s).ask(lambda: make_plan(device, package, wanted))
            _tell_notes(common.output, plan)
            with common.output.progress(f"uploading {name}") as show:
                return plan, await carry_out(device, plan, wanted, tell=watch.tell, progress=watch.progress(show))

    try:
        with on_interrupt(watch.state), watch.told():
            plan, done = run(work())
    except TakenBack as error:
        _show_taken_back(common.output, error)
        raise click.exceptions.Exit(exit_code(error)) from error
    _show_done(common.output, plan, done)


def _show_taken_back(output: Output, error: TakenBack) -> None:
    """Also where an update failed, programs are told what runs."""
    images = [{**_image_json(one), "tried": tried} for one, tried in zip(error.images, error.tried, strict=True)]
    first = {name: images[0][name] for name in ("version", "before", "tried")}
    output.result({"outcome": "reverted", **first, "images": images, "error": described(error)}, lambda: None)
    output.complain(sentence(error))


def _recover(common: Common, name: str, package: FirmwarePackage, wanted: FlashOptions) -> None:
    watch = _Watch(common)

    async def work() -> tuple[FlashPlan, Flashed]:
        async with common.connect(lasting(choose(common.url))) as device:
            link = SteadyLink(device, wanted.reconnect_s)
            plan = await link.ask(lambda: make_plan(device, package, wanted, recovery=True))
            _tell_notes(common.output, plan)
            with common.output.progress(f"uploading {name}") as show:
                return plan, await carry_out_recovery(device, plan, wanted, tell=watch.tell, progress=show)

    state = "the device may hold half an image and wait in its boot loader. Repeat the command"
    with on_interrupt(lambda: watch.ended(state)), watch.told():
        plan, done = run(work())
    _show_done(common.output, plan, done)


def _tell_notes(output: Output, plan: FlashPlan) -> None:
    if not plan.nothing_to_do:
        for note in plan.notes:
            output.note(f"note: {note}")


def _show_done(output: Output, plan: FlashPlan, done: Flashed) -> None:
    judged = {"signatures": [part.signature for part in plan.parts], "notes": list(plan.notes)}
    output.result({**_result_json(done), **judged}, lambda: _show_result(output, done))


def _show_result(output: Output, done: Flashed) -> None:
    for image in done.images:
        name = f"image {image.number}: " if len(done.images) > 1 else ""
        before = image.before or "the former firmware"
        saying = _SAYINGS[done.outcome] if image.seen else _UNSEEN
        output.line(name + saying.format(version=image.version, before=before))


def _result_json(done: Flashed) -> Mapping[str, object]:
    return {
        "outcome": done.outcome.name.lower(),
        "version": done.version,
        "before": done.before,
        "images": [_image_json(one) for one in done.images],
        "sent_bytes": done.sent,
    }


def _image_json(one: Installed) -> dict[str, object]:
    return {"image": one.number, "version": one.version, "before": one.before}


def _show_plan(output: Output, plan: FlashPlan, wanted: FlashOptions) -> None:
    mode = plan.survey.mode
    output.fields([("device", plan.survey.name), ("boot loader", None if mode is None else BOOTLOADER_MODES.get(mode))])
    rows = [
        (part.number, part.version, part.size, part.before, part.signature, part.action.value) for part in plan.parts
    ]
    output.table(["image>", "version", "size>", "instead of", "signature", "state"], rows)
    for number, step in enumerate(plan.steps(wanted), 1):
        output.line(f"{number}. {step}")
    if plan.nothing_to_do:
        output.line("nothing to do")
    for note in plan.notes:
        output.note(f"note: {note}")


def _plan_json(plan: FlashPlan, wanted: FlashOptions) -> Mapping[str, object]:
    return {
        "device": plan.survey.name,
        "bootloader_mode": plan.survey.mode,
        "reverts": plan.survey.reverts,
        "images": [_part_json(part) for part in plan.parts],
        "steps": plan.steps(wanted),
        "notes": list(plan.notes),
    }


def _part_json(part: Part) -> Mapping[str, object]:
    return {
        "image": part.number,
        "file": part.packaged.name,
        "version": part.version,
        "size": part.size,
        "hash": part.hash,
        "before": part.before,
        "signature": part.signature,
        "state": part.action.name.lower(),
    }
