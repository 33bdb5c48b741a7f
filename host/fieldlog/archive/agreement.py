"""Whether the Parquet files show what the blocks say: every file is read in full and compared, value by value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fieldlog.archive.dataset import Part, files_in, folder_of, manifest_of, parts
from fieldlog.archive.file_writer import file_hash
from fieldlog.archive.manifest import Entry, read, read_outlines
from fieldlog.archive.outline import outline
from fieldlog.archive.outline_file import Packed, Packer, agree, group_head, is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fieldlog.archive.series import Series
    from fieldlog.archive.store import Archive


@dataclass(slots=True)
class Agreement:
    """`files` there should be; of those `rows` readings agree; `wrong`: a sentence for each that does not.

    `uncompared`: files as they were written, from blocks of which some cannot be read any more.
    `behind`: files that are as they were written, or not there yet, and lack what came since: `unwritten` readings.
    """

    files: int = 0
    rows: int = 0
    uncompared: int = 0
    behind: int = 0
    unwritten: int = 0
    wrong: list[str] = field(default_factory=list[str])


def compare(archive: Archive) -> Agreement | None:
    """Both tiers against each other; None when there are no Parquet files at all, which is no fault."""
    folder = folder_of(archive.path)
    there = set(files_in(folder))
    if not there:
        return None
    manifest = manifest_of(archive.path)
    entries = read(manifest) or {}
    found = Agreement()
    wanted: set[str] = set()
    for part in parts(archive):
        wanted.add(part.name)
        entry = entries.get(part.name)
        packed = read_outlines(manifest, part.name)
        fault = _fault(part, folder / part.name, entry, packed)
        found.files += 1
        rows = entry.rows if entry else 0
        if fault is not None:
            found.wrong.append(f"{part.name} {fault}")
        elif not _is_current(part, entry) or (rows and packed is None):
            found.behind += 1
            found.unwritten += max(0, part.frames - rows)
        elif part.readings.lacks:
            found.uncompared += 1
        else:
            found.rows += rows
    found.wrong += [f"{name} shows readings that the archive does not hold" for name in sorted(there - wanted)]
    return found


def _is_current(part: Part, entry: Entry | None) -> bool:
    """Whether the file was written from what the archive holds now."""
    return entry is not None and entry.origin == part.origin


def _fault(part: Part, path: Path, entry: Entry | None, packed: Packed | None) -> str | None:
    from fieldlog.archive.arrow import difference

    if entry is None:
        return "is there, but nothing is noted of how it was written" if path.exists() else None
    fault = _file_fault(path, entry) if entry.rows else None
    if fault is not None or not entry.rows or not _is_current(part, entry):
        return fault
    packer = Packer()
    differs = difference(path, part.layout, _noted(part.series(), packer))
    if part.readings.lacks:
        return None  # what blocks that rotted on this disk lack, the file may still have: they are reported
    return differs or (None if packed is None else _outline_fault(packed, part.packed(packer)))


def _noted(pieces: Iterator[Series], packer: Packer) -> Iterator[Series]:
    for piece in pieces:
        packer.add(group_head(piece.utc_us), outline(piece))
        yield piece


def _outline_fault(packed: Packed, expected: Packed) -> str | None:
    if not is_whole(packed):
        return "has damaged outlines, so that plots of it take longer"
    return None if agree(packed, expected) else "has outlines of other readings, so that plots of it show these"


def _file_fault(path: Path, entry: Entry) -> str | None:
    """Whether the file is not as it was written, whatever is in its place."""
    try:
        if file_hash(path, len(entry.hash)) != entry.hash:
            return "is damaged, or was left by a rebuild that was broken off: its bytes are not those that were noted"
    except FileNotFoundError:
        return "is missing: it was deleted after it was written"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None
