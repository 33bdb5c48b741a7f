"""`fieldlog archive`: what has been read from which device."""

from __future__ import annotations

from pathlib import Path

import click

from fieldlog.cli.archive_add import import_, merge
from fieldlog.cli.archive_list import ls
from fieldlog.cli.common import archive_option, output_options
from fieldlog.cli.output import Output
from fieldlog.text import count
from fieldlog_protocol.errors import VerificationError


@click.group()
def archive() -> None:
    """Look after the archive of readings."""


archive.add_command(ls)
archive.add_command(merge)
archive.add_command(import_)


@archive.command()
@output_options
@archive_option
def check(output: Output, archive: Path) -> None:
    """Check every block's CRC, decode all readings and name what is missing. The exit code is 5 if anything is damaged."""
    from fieldlog import archive as archives

    damaged: list[str] = []
    clock: list[str] = []
    missing: list[dict[str, object]] = []
    blocks = readings = 0
    with archives.open(archive, writable=False) as store:
        for log in store.logs():
            whole, spoiled = log.verify()
            blocks += whole
            damaged += [f"{log.info().name}: {text}." for text in spoiled]
            held = log.held()
            missing.extend(_lacking(log.info().uid, part) for part in log.absent(held.start, held.stop))
        for uid in dict.fromkeys(log.info().uid for log in store.logs()):
            selection = store.readings(uid)
            readings += sum(len(series) for series in selection.batches())
            clock += selection.clock_warnings
            damaged += [text for text in selection.problems if text not in (*damaged, *clock)]
    data = {
        "archive": str(archive),
        "blocks": blocks,
        "readings": readings,
        "damaged": damaged,
        "missing": missing,
        "clock": clock,
    }

    def show() -> None:
        output.line(f"{count(blocks, 'whole block')}, {count(readings, 'reading')} decoded")
        for part in missing:
            output.line(f"device {part['uid']} lacks blocks {part['first_seq']} to {part['last_seq']}")
        for text in damaged:
            output.line(text)

    output.result(data, show)
    for text in clock:
        output.warn(text)
    if damaged:
        raise VerificationError(
            f"{archive} is damaged in {count(len(damaged), 'place')}, named above; the rest is readable. Nothing was changed"
        )


def _lacking(uid: str, part: range) -> dict[str, object]:
    return {"uid": uid, "first_seq": part.start, "last_seq": part.stop - 1}
