"""`fieldlog provision`: a fleet from one file, device after device."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import click

from fieldlog.cli.common import Common, on_interrupt, options_of_many, run
from fieldlog.cli.config_time import seconds, timeout_option
from fieldlog.cli.provision_desk import Desk
from fieldlog.config.schema_cache import default_cache
from fieldlog.firmware_package import load_package
from fieldlog.flash_checks import check_file
from fieldlog.flash_plan import FlashOptions
from fieldlog.keys import load_key
from fieldlog.pinned_keys import default_pins
from fieldlog.provision.fleet import Fleet
from fieldlog.provision.fleet_file import read_fleet
from fieldlog.provision.line import Line, present_devices
from fieldlog.provision.one_device import Options
from fieldlog.provision.progress import Progress, alone, state_path
from fieldlog.provision.report import prepare_folder, report_folder
from fieldlog.provision.wanted import check_rows
from fieldlog.text import count
from fieldlog.url import VARIABLE, DeviceUrl, choose, parse
from fieldlog_protocol.errors import UsageError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
WAIT_S = 30.0


@click.command()
@options_of_many
@click.argument("fleet", type=_FILE, metavar="FLEET")
@click.option("--config", type=_FILE, metavar="FILE", help="The configuration of rows that name none.")
@click.option("--image", type=_FILE, metavar="FILE", help="Firmware that every device shall run.")
@click.option("--key", type=_FILE, metavar="PEM", help="The key that must have signed it.")
@click.option("--allow-downgrade", is_flag=True, help="Install an older version too.")
@click.option("--stop-logging", is_flag=True, help="End sessions that are armed or recorded; their readings stay.")
@click.option("--line", "as_line", is_flag=True, help="Devices come one after another to the same --device.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    metavar="S",
    help=f"How long to wait for a device: {WAIT_S:.0f} s for each --device; on a line for ever.",
)
@timeout_option
@click.option("--yes", is_flag=True, help="Give rows that name no serial or uid to devices as they come, unasked.")
@click.option("--check", is_flag=True, help="Look for errors in the files only, and change nothing.")
@click.option("--report", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where reports go.")
def provision(common: Common, /, fleet: Path, **words: Any) -> None:
    """Prepare the devices of FLEET (.csv or .toml): flash, configure, set the clock, self test, arm.

    Without --device it attends to USB devices as they are plugged in, until every row is done. Stop it and repeat it at
    will: what is done is left out, what is half done goes on.
    """
    found = read_fleet(fleet, words["config"])
    check_rows(found)
    chosen, digest = _options(found, words)
    if words["check"]:
        data: dict[str, object] = {"fleet": str(fleet), "rows": len(found.rows)}
        common.output.result(
            data, lambda: common.output.line(f"{count(len(found.rows), 'row')}, nothing wrong with them")
        )
        return
    with alone(fleet):
        _prepare(common, found, Progress(state_path(fleet)), (chosen, digest), words)


def _prepare(common: Common, fleet: Fleet, progress: Progress, how: tuple[Options, str], words: dict[str, Any]) -> None:
    folder = words["report"] or report_folder(fleet.path)
    desk = Desk(common, fleet, progress, folder, unasked=words["yes"])
    line = Line(fleet, progress, how[0], desk.connect, desk.ask, desk.tell, desk.ended, how[1])
    desk.require_answers(line.free_rows)
    prepare_folder(folder, fleet.path)
    try:
        with on_interrupt(f"what was done is in {progress.path}. Repeat the command to go on"):
            run(_attend(line, _urls(common), as_line=words["as_line"], wait_s=words["wait_s"]))
    except KeyboardInterrupt:
        desk.leave()
        raise
    finally:
        path = desk.show()
    desk.end(path)


async def _attend(line: Line, urls: list[DeviceUrl], *, as_line: bool, wait_s: float | None) -> None:
    if not urls:
        await line.attend_line(present_devices, wait_s, listed=True)
    elif as_line:
        await line.attend_line(lambda: urls, wait_s, listed=False)
    else:
        await line.attend_all(urls, WAIT_S if wait_s is None else wait_s)


def _urls(common: Common) -> list[DeviceUrl]:
    """Those that the user names; none: whatever is plugged in."""
    named = [parse(text) for text in common.devices]
    return named or ([choose(None)] if os.environ.get(VARIABLE) else [])


def _options(fleet: Fleet, words: dict[str, Any]) -> tuple[Options, str]:
    """And the digest of what they say of the firmware."""
    image: Path | None = words["image"] or fleet.image
    if words["key"] is not None and image is None:
        raise UsageError("--key says who must have signed the firmware: give --image")
    package = None if image is None else load_package(image)
    digest = "" if image is None else hashlib.sha256(image.read_bytes()).hexdigest()
    if package is not None:
        check_file(package)
    wanted = FlashOptions(
        allow_downgrade=words["allow_downgrade"],
        stop_logging=words["stop_logging"],
        key=None if words["key"] is None else load_key(words["key"]),
        pins=default_pins(),
    )
    timeout_s = seconds("--timeout", words["timeout"], 1)
    return Options(package, wanted, words["stop_logging"], default_cache(), timeout_s), digest
