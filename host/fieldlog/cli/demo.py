"""`fieldlog demo`: the whole job with a simulated logger, by the same commands that a user types."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from fieldlog.cli.common import on_interrupt
from fieldlog_protocol.errors import FieldlogError
from fieldlog_protocol.image import ImageVersion, build_image

_SAMPLE = "newark"
_PLOTTED = "temperature,dew point,relative humidity,pressure,precipitation"
_NEW_VERSION = "1.1.0"
_BODY_LENGTH = 20_000
_FIRMWARE = "firmware.bin"


@click.command()
@click.option(
    "--output",
    "-o",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("fieldlog-demo"),
    show_default=True,
    help="Folder for what the demo makes; each run gets one of its own in it.",
)
@click.option("--ble", is_flag=True, help="Reach the logger over BLE, on a virtual radio.")
def demo(folder: Path, *, ble: bool) -> None:
    """Show all of it with a simulated logger: flash, configure, read out and plot a year of weather."""
    run = _new_folder(folder)
    with on_interrupt(f"what the demo made so far is in {run}. Run it again for a new one"):
        _show(run, ["--ble", "0"] if ble else [] if os.name == "posix" else ["--udp", "127.0.0.1:0"])


def _show(run: Path, links: Sequence[str]) -> None:
    firmware, archive, table, picture = run / _FIRMWARE, run / "archive", run / "newark.csv", run / "newark.png"
    with _simulated_logger(links) as url:
        steps: tuple[tuple[str, Sequence[str]], ...] = (
            *_scan(url),
            ("See what is there", ("info", "--device", url)),
            ("Look at new firmware, install it and let it prove itself", ("image", "inspect", str(firmware))),
            ("", ("flash", str(firmware), "--stop-logging", "--device", url)),
            (
                "Configure: a name, and a lower alarm",
                ("config", "set", "device/name=Newark", "alarm/low=-20", "-d", url),
            ),
            ("", ("config", "show", "-d", url)),
            ("Set its clock", ("clock", "sync", "-d", url)),
            ("See what it has recorded", ("log", "status", "-d", url)),
            ("", ("log", "sessions", "-d", url)),
            ("Read it out into an archive", ("pull", "-d", url, "--archive", str(archive))),
        )
        for title, words in steps:
            _step(title, words)
    _step("Check the archive", ("archive", "check", "--archive", str(archive)))
    _step("Export the readings", ("export", "--archive", str(archive), "-o", str(table)))
    _step(
        "Plot them, but for the wind: beside one reading of 1048 mph, as the record has it, the others are a flat line",
        (
            *("plot", "--archive", str(archive), "-o", str(picture), "--title", "Newark airport, 2013"),
            *("--channels", _PLOTTED),
        ),
    )
    click.echo(f"\nDone. Everything is in {run}; the plot of the whole year is\n{picture.resolve()}")


def _new_folder(folder: Path) -> Path:
    """A folder for this run, with firmware in it: nothing that a former one made is touched."""
    try:
        run = _make_folder(folder)
        (run / _FIRMWARE).write_bytes(build_image(bytes(_BODY_LENGTH), ImageVersion.of(_NEW_VERSION)))
    except OSError as error:
        raise FieldlogError(
            f"the demo can write nothing to {folder}: {error.strerror or error}. Nothing was started; name a folder that "
            "has room and can be written to with --output"
        ) from error
    return run


def _make_folder(folder: Path) -> Path:
    name = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        run = folder / f"{name}{suffix}"
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            continue
        return run
    raise FieldlogError(f"there are too many demo folders in {folder}; remove some")


@contextmanager
def _simulated_logger(links: Sequence[str]) -> Generator[str]:
    """A simulated logger that has replayed its sample; its URL."""
    command = [sys.executable, "-m", "fieldlog_sim", "--json", "--until-eof", "--replay", _SAMPLE, *links]
    click.secho("# Start a simulated logger that has recorded a year of real weather", bold=True)
    click.echo(" ".join(["$ fieldlog sim --replay", _SAMPLE, *links]))
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        if not line:
            raise FieldlogError("the simulated logger did not start; what it said stands above")
        ready = json.loads(line)
        url = _lasting_url(ready)
        click.echo(f"{ready['serial']} ready at {url}")
        yield url
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()


def _lasting_url(ready: dict[str, str]) -> str:
    """Over BLE by the address: the demo gives the logger another name."""
    url = ready["url"]
    _, query, options = url.partition("?")
    return f"ble:{ready['address']}{query}{options}" if url.startswith("ble:") else url


def _scan(url: str) -> Sequence[tuple[str, Sequence[str]]]:
    """Where there is something to scan."""
    if not url.startswith("ble:"):
        return ()
    words = ("devices", "--ble", "--seconds", "1", "--radio", url.partition("?")[2])
    return (("Listen for loggers: a scan alone tells which one needs attention", words),)


def _step(title: str, words: Sequence[str]) -> None:
    """Say what is done, do it, and stop at the first that fails, with that one's exit code."""
    from fieldlog.cli.main import invoke

    if title:
        click.secho(f"\n# {title}", bold=True)
    click.echo("$ fieldlog " + " ".join(f"'{word}'" if {" ", "&"} & set(word) else word for word in words))
    if code := invoke(words):
        click.echo("error: the demo stopped at the step above; what it made before is kept", err=True)
        raise click.exceptions.Exit(code)
