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
    from collections.abc import Container, Iterator
    from pathlib import Path

    from fieldlog.archive.series import Series
    from fieldlog.archive.store import Archive

_MOST_LOOKS = 8


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


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look at one file told. `noted` is what the manifest said of it at the beginning of that look."""

    noted: Entry | None
    rows: int = 0
    is_uncompared: bool = False
    is_behind: bool = False
    unwritten: int = 0
    fault: str | None = None


def compare(archive: Archive) -> Agreement | None:
    """Both tiers against each other; None when there are no Parquet files at all, which is no fault.

    Another program may be writing: a file gets its name a moment before that is noted. What looks wrong is looked at again
    as long as what is noted of it changes.
    """
    folder, manifest = folder_of(archive.path), manifest_of(archive.path)
    there = set(files_in(folder))
    if not there:
        return None
    seen = _look(archive)
    for _ in range(_MOST_LOOKS):
        faulty = [name for name, one in seen.items() if one.fault is not None]
        notes = (read(manifest) or {}) if faulty else {}
        if not (outdated := {name for name in faulty if notes.get(name) != seen[name].noted}):
            break
        seen |= _look(archive, outdated)
    found = Agreement(len(seen))
    for name, one in seen.items():
        _count(found, name, one)
    strays = [name for name in sorted(there - seen.keys()) if (folder / name).exists()]
    found.wrong += [f"{name} shows readings that the archive does not hold" for name in strays]
    return found


def _look(archive: Archive, names: Container[str] | None = None) -> dict[str, _Seen]:
    """At all files, or those named."""
    folder, manifest = folder_of(archive.path), manifest_of(archive.path)
    entries = read(manifest) or {}
    return {
        part.name: _seen(part, folder / part.name, entries.get(part.name), read_outlines(manifest, part.name))
        for part in parts(archive)
        if names is None or part.name in names
    }


def _count(found: Agreement, name: str, one: _Seen) -> None:
    found.rows += one.rows
    found.uncompared += one.is_uncompared
    found.behind += one.is_behind
    found.unwritten += one.unwritten
    if one.fault is not None:
        found.wrong.append(f"{name} {one.fault}")


def _seen(part: Part, path: Path, entry: Entry | None, packed: Packed | None) -> _Seen:
    is_current = entry is not None and entry.origin == part.origin
    rows = entry.rows if entry else 0
    if (fault := _file_fault(path, entry)) is not None:
        # a program that was killed may have given a file its name and have noted nothing: what is in it tells
        is_sound = not is_current and _shows(part, path)
        return _Seen(entry, is_behind=is_sound, fault=None if is_sound else fault)
    if is_current and rows and (fault := _fault(part, path, packed)) is not None:
        return _Seen(entry, fault=fault)
    if not is_current or (rows and packed is None):
        return _Seen(entry, is_behind=True, unwritten=max(0, part.frames - rows))
    if part.readings.lacks:
        return _Seen(entry, is_uncompared=True)
    return _Seen(entry, rows)


def _shows(part: Part, path: Path) -> bool:
    """Whether a file shows all that the archive holds now, whatever is noted of it."""
    from fieldlog.archive.arrow import difference

    return difference(path, part.layout, part.series()) is None and not part.readings.lacks


def _fault(part: Part, path: Path, packed: Packed | None) -> str | None:
    """What is wrong in a file that is as it was written, from what the archive holds now."""
    from fieldlog.archive.arrow import difference

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


def _file_fault(path: Path, entry: Entry | None) -> str | None:
    """Whether the file is not as it was written, whatever is in its place."""
    if entry is None:
        return "is there, but nothing is noted of how it was written" if path.exists() else None
    if not entry.rows:
        return None
    try:
        if file_hash(path, len(entry.hash)) != entry.hash:
            return "is damaged, or was left by a rebuild that was broken off: its bytes are not those that were noted"
    except FileNotFoundError:
        return "is missing: it was deleted after it was written"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None
