"""`fieldlog archive check` and `fieldlog archive rebuild`: whether all is well, and the Parquet files anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldlog.cli.common import archive_option, on_interrupt, output_options
from fieldlog.cli.failure import described, exit_code, sentence
from fieldlog.cli.output import Output
from fieldlog.text import count
from fieldlog_protocol.errors import FieldlogError, VerificationError

if TYPE_CHECKING:
    from fieldlog.archive.agreement import Agreement
    from fieldlog.archive.dataset import Update
    from fieldlog.archive.records import LogInfo
    from fieldlog.archive.store import Archive

_INTERRUPTED = "every Parquet file is whole, new or as it was. Repeat the command to have all of them new"
_DERIVING = (
    "what came is in the archive, and not in all Parquet files yet: `fieldlog archive rebuild --changed` writes them"
)
_MIXED = (
    "blocks named above came with different contents under the same numbers: all of them are whole and kept, the first is "
    "shown, and no pull and no other archive changes that"
)
_REBUILD = "`fieldlog archive rebuild` writes the Parquet files anew from the blocks"


@dataclass(slots=True)
class _Found:
    """What a check found."""

    blocks: int = 0
    readings: int = 0
    damaged: list[str] = field(default_factory=list[str])
    undecodable: list[str] = field(default_factory=list[str])
    conflicts: list[str] = field(default_factory=list[str])
    missing: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    undescribed: list[str] = field(default_factory=list[str])
    clock: list[str] = field(default_factory=list[str])
    parquet: Agreement | None = None


@click.command()
@output_options
@archive_option
def check(output: Output, archive: Path) -> None:
    """Check every block's CRC, decode all readings, compare the Parquet files with them, and name what is missing.

    The exit code is 5 if anything is damaged or the Parquet files do not agree with the blocks. That there are none is
    no fault.
    """
    from fieldlog import archive as archives
    from fieldlog.archive.agreement import compare

    found = _Found()
    with archives.open(archive, writable=False) as store:
        _check_blocks(store, found)
        found.parquet = compare(store)
    fault = _fault(archive, found)
    data = _json(archive, found) | ({} if fault is None else {"error": described(fault)})
    output.result(data, lambda: _show(output, found))
    for text in (*found.undescribed, *found.clock):
        output.warn(text)
    if fault is not None:
        output.complain(str(fault))
        raise click.exceptions.Exit(exit_code(fault))


def _check_blocks(store: Archive, found: _Found) -> None:
    from fieldlog.archive.log import NOT_SENT
    from fieldlog.archive.ranges import difference, union

    for log in store.logs():
        whole, spoiled = log.verify()
        found.blocks += whole
        found.damaged += [f"{log.info().name}: {text}." for text in spoiled]
        held = log.held()
        asked = union(range(gap.first_seq, gap.last_seq + 1) for gap in log.gaps() if gap.reason == NOT_SENT)
        lost = difference(log.lost(), asked)
        unread = difference(union([*log.absent(held.start, held.stop), *asked]), lost)
        parts = sorted([*((part, True) for part in lost), *((part, False) for part in unread)], key=_start)
        found.missing += [_lacking(log.info(), part, lost=gone) for part, gone in parts]
    for uid in dict.fromkeys(log.info().uid for log in store.logs()):
        selection = store.readings(uid)
        found.readings += sum(len(series) for series in selection.batches())
        found.clock += selection.clock_warnings
        found.undescribed += selection.undescribed
        found.undecodable += selection.undecodable
        found.conflicts += selection.conflicts
        told = {*found.damaged, *found.clock, *found.undescribed}
        found.damaged += [text for text in selection.problems if text not in told]


def _start(found: tuple[range, bool]) -> int:
    return found[0].start


def _lacking(log: LogInfo, part: range, *, lost: bool) -> dict[str, object]:
    return {
        "device": log.name,
        "uid": log.uid,
        "log_id": log.log_id,
        "first_seq": part.start,
        "last_seq": part.stop - 1,
        "lost": lost,
    }


def _missing_line(part: dict[str, object]) -> str:
    """In words: `lost` is what a pull found gone, the rest may still come."""
    one = part["first_seq"] == part["last_seq"]
    which = f"block {part['first_seq']}" if one else f"blocks {part['first_seq']} to {part['last_seq']}"
    if part["lost"]:
        return f"{part['device']}: {which} {'is' if one else 'are'} lost: a gap"
    was, it = ("was", "it") if one else ("were", "them")
    return f"{part['device']}: {which} {was} still open when the device was read, or did not come: the next pull asks for {it}"


def _json(archive: Path, found: _Found) -> dict[str, object]:
    parquet = found.parquet
    return {
        "archive": str(archive),
        "blocks": found.blocks,
        "readings": found.readings,
        "damaged": found.damaged,
        "undecodable": found.undecodable,
        "conflicts": found.conflicts,
        "missing": found.missing,
        "undescribed": found.undescribed,
        "clock": found.clock,
        "parquet": parquet
        and {
            "files": parquet.files,
            "readings": parquet.rows,
            "uncompared": parquet.uncompared,
            "behind": parquet.behind,
            "unwritten": parquet.unwritten,
            "wrong": parquet.wrong,
        },
    }


def _show(output: Output, found: _Found) -> None:
    output.line(f"{count(found.blocks, 'whole block')}, {count(found.readings, 'reading')} decoded")
    if found.parquet is None:
        output.line("no Parquet files: `fieldlog archive rebuild` makes them")
    else:
        output.line(_compared(found.parquet))
    if found.parquet is not None and found.parquet.behind:
        output.line(_not_yet(found.parquet))
    for part in found.missing:
        output.line(_missing_line(part))
    for text in found.damaged:
        output.line(text)
    for text in found.parquet.wrong if found.parquet else ():
        output.line(f"Parquet file {text}")


def _compared(parquet: Agreement) -> str:
    """In words: of a file that lacks what came since nothing is compared."""
    said: list[str] = []
    if parquet.rows or not (parquet.behind or parquet.uncompared):
        said.append(f"{count(parquet.rows, 'reading')} in them agree")
    if parquet.behind:
        which = "" if parquet.behind == parquet.files else f"{parquet.behind} "
        said.append(f"{which}not up to date and not compared")
    if parquet.uncompared:
        said.append(f"{parquet.uncompared} cannot be compared, since blocks are damaged")
    return f"{count(parquet.files, 'Parquet file')}, {'; '.join(said)}"


def _not_yet(parquet: Agreement) -> str:
    """What only waits to be written, as after a pull that was broken off."""
    files = count(parquet.behind, "Parquet file")
    what = (
        f"not written yet: {count(parquet.unwritten, 'reading')} of {files}"
        if parquet.unwritten
        else f"not written yet: what came to be known of times or names, or outlines for plots, in {files}"
    )
    return f"{what}. The next pull or `fieldlog archive rebuild --changed` writes them"


def _fault(archive: Path, found: _Found) -> VerificationError | None:
    wrong = found.parquet.wrong if found.parquet else []
    also = f". Beside that {count(len(wrong), 'Parquet file')} are wrong: {_REBUILD}" if wrong else ""
    whole = [*([_without_sense(found)] if found.undecodable else []), *([_MIXED] if found.conflicts else [])]
    spoiled = len([text for text in found.damaged if text not in {*found.undecodable, *found.conflicts}])
    if spoiled:
        first = (
            f"{archive} is damaged in {count(spoiled, 'place')}, named above; the rest is readable. Nothing was "
            "changed; pull again while the device has these blocks, or merge an archive that holds them"
        )
        return VerificationError(f"{_sentences(first, *whole)}{also}")
    if whole:
        return VerificationError(f"{_sentences(*whole)}. The rest is readable, and nothing was changed{also}")
    if wrong:
        return VerificationError(
            f"the blocks in {archive} are whole, but {count(len(wrong), 'Parquet file')} named above do not agree with "
            f"them. Nothing was changed; {_REBUILD}"
        )
    return None


def _sentences(first: str, *others: str) -> str:
    return ". ".join([first, *(text[:1].upper() + text[1:] for text in others)])


def _without_sense(found: _Found) -> str:
    """Of blocks that another copy would not mend."""
    which = (
        "block named above is whole and cannot"
        if len(found.undecodable) == 1
        else "blocks named above are whole and cannot"
    )
    return (
        f"{len(found.undecodable)} {which} be decoded: the device's firmware wrote what its description does not say, or "
        "what only a newer fieldlog understands"
    )


def derive(output: Output, archive: Path) -> Sequence[str]:
    """Bring the Parquet files up to date; answers warnings: whatever happens, the readings are safe in the archive."""
    from fieldlog import archive as archives
    from fieldlog.archive.dataset import update_dataset

    try:
        with (
            on_interrupt(_DERIVING),
            archives.open(archive) as store,
            output.progress("writing Parquet files", "readings") as progress,
        ):
            return update_dataset(store, progress=progress).problems
    except (FieldlogError, OSError) as error:
        safe = "The readings are safe in the archive; `fieldlog archive rebuild --changed` tries again"
        return [f"the Parquet files are not up to date: {sentence(error).rstrip('.')}. {safe}"]


@click.command()
@output_options
@archive_option
@click.option("--changed", is_flag=True, help="Only what changed since, as a pull does.")
def rebuild(output: Output, archive: Path, *, changed: bool) -> None:
    """Write the Parquet files of all readings anew from the blocks.

    They lie in the archive's folder `readings`, which DuckDB, polars and pandas open as it is.
    """
    from fieldlog import archive as archives
    from fieldlog.archive.dataset import folder_of, update_dataset

    with (
        on_interrupt(_INTERRUPTED),
        archives.open(archive, writable=False) as store,
        output.progress("writing readings", "readings") as progress,
    ):
        done = update_dataset(store, everything=not changed, progress=progress)
        folder = folder_of(store.path)
    output.result(_rebuilt(folder, done), lambda: output.line(f"{_summary(done)}, in {folder}"))
    for text in done.problems:
        output.warn(text)


def _rebuilt(folder: Path, done: Update) -> dict[str, object]:
    return {
        "folder": str(folder),
        "written": done.written,
        "kept": done.kept,
        "removed": done.removed,
        "readings": done.rows,
        "problems": list(done.problems),
    }


def _summary(done: Update) -> str:
    kept = f", {count(done.kept, 'file')} left as they were" if done.kept else ""
    removed = f", {count(done.removed, 'file')} removed" if done.removed else ""
    return f"{count(done.rows, 'reading')} in {count(done.written, 'file')} written{kept}{removed}"
