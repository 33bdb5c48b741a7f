"""`fieldlog archive`: what has been read from which device."""

from __future__ import annotations

import click

from fieldlog.cli.archive_add import import_, merge
from fieldlog.cli.archive_events import events
from fieldlog.cli.archive_list import ls
from fieldlog.cli.archive_tiers import check, rebuild


@click.group()
def archive() -> None:
    """Look after the archive of readings."""


archive.add_command(ls)
archive.add_command(events)
archive.add_command(merge)
archive.add_command(import_)
archive.add_command(check)
archive.add_command(rebuild)
