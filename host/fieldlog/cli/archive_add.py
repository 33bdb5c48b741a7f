"""`fieldlog archive merge` and `fieldlog archive import`: what did not come through a link."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldlog.cli.archive_tiers import derive
from fieldlog.cli.common import archive_option, on_interrupt, output_options
from fieldlog.cli.failure import CONFLICT, conflict_text, described, exit_code
from fieldlog.cli.output import Output
from fieldlog.text import count
from fieldlog_protocol.blocks.block import BLOCK_SIZES
from fieldlog_protocol.errors import VerificationError

if TYPE_CHECKING:
    from fieldlog.archive.dump import Imported, ImportedLog
    from fieldlog.archive.merge import Merged, MergedLog
    from fieldlog.archive.store import Archive

_MOST_LINES = 10
_STORED = (
    "all of it is in the archive, and not in all Parquet files yet: `fieldlog archive rebuild --changed` writes them"
)
_INTERRUPTED = "what was taken over so far is in the archive. Repeat the command to go on"


no_parquet_option = click.option(
    "--no-parquet", is_flag=True, help="Leave the Parquet files of the archive as they are."
)


@click.command()
@click.argument("other", type=click.Path(path_type=Path))
@no_parquet_option
@output_options
@archive_option
def merge(output: Output, archive: Path, other: Path, *, no_parquet: bool) -> None:
    """Take over all that the archive OTHER holds. OTHER is only read; repeat it at will."""
    from fieldlog import archive as archives
    from fieldlog.archive.merge import merge as merge_archives

    with (
        on_interrupt(_INTERRUPTED),
        archives.open(other, writable=False) as source,
        archives.open(archive) as store,
        output.progress(f"merging {other}", "block") as progress,
    ):
        done = merge_archives(store, source, progress)
    warnings = _derived(output, archive, no_parquet=no_parquet)
    output.result(_merged_json(archive, other, done), lambda: _show_merged(output, archive, done))
    for log in done.logs:
        _warn_of_conflicts(output, log.info.name, log.conflicts)
        for text in log.damaged:
            output.warn(f"{log.info.name}: {text}")
    for warning in warnings:
        output.warn(warning)
    if any(log.conflicts for log in done.logs):
        raise click.exceptions.Exit(CONFLICT)


def _derived(output: Output, archive: Path, *, no_parquet: bool) -> Sequence[str]:
    """The Parquet files, where they are wanted, once all is stored; answers warnings."""
    if no_parquet:
        return ()
    with on_interrupt(_STORED):
        return derive(output, archive)


def _merged_json(archive: Path, other: Path, done: Merged) -> dict[str, object]:
    return {
        "archive": str(archive),
        "other": str(other),
        "blocks": done.blocks,
        "devices": [
            {
                "device": log.info.name,
                "uid": log.info.uid,
                "log_id": log.info.log_id,
                "new": log.is_new,
                "blocks": log.blocks,
                "filled": _seqs(log.filled),
                "conflicts": log.conflicts,
                "damaged": log.damaged,
            }
            for log in done.logs
        ],
    }


def _show_merged(output: Output, archive: Path, done: Merged) -> None:
    for log in done.logs:
        output.line(_merged_line(log))
    if not done.blocks:
        output.line(f"no new blocks; {archive} holds all of it")


def _merged_line(log: MergedLog) -> str:
    filled = sum(map(len, log.filled))
    kind = "new device or log" if log.is_new else "known"
    closed = f", {count(filled, 'block')} of them where some were missing" if filled else ""
    return f"{log.info.name} ({kind}): {count(log.blocks, 'new block')}{closed}"


@click.command("import")
@click.argument("dump", type=click.Path(path_type=Path))
@click.option(
    "--block-size",
    type=click.Choice(list(map(str, BLOCK_SIZES))),
    help="Take only pages of this many bytes; else blocks of any size, and those without padding.",
)
@click.option("--name", default="", help="What to call the logger, where no pull has told its name.")
@no_parquet_option
@output_options
@archive_option
def import_(output: Output, archive: Path, dump: Path, block_size: str | None, name: str, *, no_parquet: bool) -> None:
    """Take over the readings in DUMP, the memory of a logger that no longer answers.

    DUMP is the image of its flash or card, or of a part of it, byte by byte. Repeat it at will.
    """
    from fieldlog import archive as archives
    from fieldlog.archive.dump import import_dump, require_dump

    size = None if block_size is None else int(block_size)
    require_dump(dump)  # before an archive is made for it
    with (
        on_interrupt(_INTERRUPTED),
        archives.open(archive, empty=False) as store,
        output.progress(f"reading {dump}") as progress,
    ):
        done = import_dump(store, dump, block_size=size, name=name, progress=progress)
        undecoded = _undecoded(store, done)
    warnings = _derived(output, archive, no_parquet=no_parquet)
    fault = _left_out(archive, dump, done) or _unreadable(archive, undecoded)
    data = _imported_json(archive, dump, done, undecoded) | ({} if fault is None else {"error": described(fault)})
    output.result(data, lambda: _show_imported(output, archive, done, undecoded))
    for log in done.logs:
        _warn_of_conflicts(output, log.info.name, log.conflicts)
        if name and log.info.name != name.strip():
            output.warn(f"{log.info.name} has told its name itself, in a pull: it is not called {name}")
    if done.newer:
        output.warn(f"{count(done.newer, 'block')} of a newer format left out: update fieldlog, and import again")
    for warning in warnings:
        if warning not in undecoded:
            output.warn(warning)
    if fault is not None:
        output.complain(str(fault))
        raise click.exceptions.Exit(exit_code(fault))
    if any(log.conflicts for log in done.logs):
        raise click.exceptions.Exit(CONFLICT)


def _left_out(archive: Path, dump: Path, done: Imported) -> VerificationError | None:
    if not done.strangers:
        return None
    return VerificationError(
        f"{count(done.strangers, 'block')} in {dump} could be of more than one log: left out; what is certain is "
        f"in {archive}. Cut the dump into one file for each logger, or read each logger's memory out by itself, and import "
        "each"
    )


def _undecoded(store: Archive, done: Imported) -> list[str]:
    """A sentence for each block of these logs that is whole and makes no sense."""
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.selection import Selection

    found: list[str] = []
    for imported in done.logs:
        log = store.log(bytes.fromhex(imported.info.uid), imported.info.log_id)
        readings = Readings(store.path, store.sources([log]), Selection.of([log], None, None, None, None))
        deque(readings.batches(), maxlen=0)
        found += readings.undecodable
    return found


def _unreadable(archive: Path, undecoded: Sequence[str]) -> VerificationError | None:
    if not undecoded:
        return None
    which = "block is" if len(undecoded) == 1 else "blocks are"
    return VerificationError(
        f"{len(undecoded)} {which} in {archive}, whole, and cannot be decoded; the rest is readable. The firmware that wrote "
        "them did what its description does not say, or what only a newer fieldlog understands"
    )


def _imported_json(archive: Path, dump: Path, done: Imported, undecoded: Sequence[str]) -> dict[str, object]:
    return {
        "archive": str(archive),
        "dump": str(dump),
        "size_bytes": done.size,
        "logs": [
            {
                "device": log.info.name,
                "uid": log.info.uid,
                "log_id": log.info.log_id,
                "blocks": log.blocks,
                "new": log.stored,
                "missing": _seqs(log.missing),
                "conflicts": log.conflicts,
            }
            for log in done.logs
        ],
        "unknown_blocks": done.strangers,
        "undecoded": undecoded,
        "recovered": done.recovered,
        "torn": done.torn,
        "newer": done.newer,
        "erased_bytes": done.erased,
        "other_bytes": done.other,
    }


def _show_imported(output: Output, archive: Path, done: Imported, undecoded: Sequence[str]) -> None:
    for log in done.logs:
        output.line(_imported_line(log, archive))
        if log.missing:
            lacking = sum(map(len, log.missing))
            output.line(
                f"{count(lacking, 'block')} between them {_are(lacking)} not in the archive: {_listed(log.missing)}"
            )
    if done.recovered:
        output.line(
            f"{count(done.recovered, 'block')} had been left unsealed by a loss of power, and read as far as that goes"
        )
    if done.torn:
        output.line(f"{count(done.torn, 'block')} in the dump {_are(done.torn)} not whole: left out")
    for text in undecoded[:_MOST_LINES]:
        output.line(text)
    if len(undecoded) > _MOST_LINES:
        output.line(f"and {len(undecoded) - _MOST_LINES} more, which `fieldlog archive check` names")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _imported_line(log: ImportedLog, archive: Path) -> str:
    return f"{log.info.name}: {count(log.blocks, 'block')}, {log.stored} of them new, now in {archive}"


def _listed(parts: Sequence[range]) -> str:
    shown = [f"{part.start} to {part.stop - 1}" if len(part) > 1 else str(part.start) for part in parts[:5]]
    return ", ".join([*shown, "..."] if len(parts) > len(shown) else shown)


def _warn_of_conflicts(output: Output, name: str, conflicts: list[int]) -> None:
    if conflicts:
        output.warn(f"{name}: {conflict_text(conflicts)}")


def _seqs(parts: Sequence[range]) -> list[list[int]]:
    return [[part.start, part.stop - 1] for part in parts]
