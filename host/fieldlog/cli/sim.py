"""`fieldlog sim`: the simulator, as a program of its own. Nothing of it is imported here."""

from __future__ import annotations

import os
import subprocess
import sys

import click

_COMMAND = [sys.executable, "-m", "fieldlog_sim"]


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sim(arguments: tuple[str, ...]) -> None:
    """Run simulated devices in the foreground; see `fieldlog sim --help`."""
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(sys.executable, [*_COMMAND, *arguments])  # signals then reach the simulator itself
    raise click.exceptions.Exit(subprocess.call([*_COMMAND, *arguments]))
