"""A selection of readings as the Parquet files hold it: for whoever needs much of it at once, and soon.

Rule of this module: it reads derived files only while they show exactly what the archive holds; in any doubt it says so
and the blocks themselves are read. Nothing but the columns and row groups that are wanted is touched, and pyarrow is
loaded only where outlines do not do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fieldlog.archive.columns import Columns
from fieldlog.archive.database import ArchiveError, in_a_hurry
from fieldlog.archive.dataset import column_heads, columns_of, folder_of, manifest_of
from fieldlog.archive.manifest import Entry, read, read_heads, read_outlines, read_stamp
from fieldlog.archive.outline import Outline
from fieldlog.archive.outline_file import ColumnHead, GroupHead, Head, head_of, outlines
from fieldlog.archive.plan import chosen_channels
from fieldlog.archive.selection import Selection
from fieldlog.archive.source import Source
from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog_protocol.blocks.schema import Channel, Stream

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.store import Archive


@dataclass(frozen=True, slots=True)
class DerivedSeries:
    """A batch of readings, of one stream in one session: a `Series` without what only the blocks tell.

    `columns`: whole numbers, or floats with NaN where a value is missing.
    """

    label: str
    channels: tuple[Channel, ...]
    utc_us: npt.NDArray[np.int64]
    starts: npt.NDArray[np.bool_]
    quality: npt.NDArray[np.uint8]
    columns: list[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class DerivedOutline:
    """What a batch of readings comes to; `channels` and `outline.channels` are in the same order. `alike`: how many readings
    of these channels there are in all."""

    label: str
    channels: tuple[Channel, ...]
    outline: Outline
    alike: int


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the selection: what its columns are, and which row groups are wanted. `session`: which it is of all;
    `n_unseen`: readings in row groups in which no time is known, which are not among those wanted."""

    path: Path
    label: str
    session: tuple[str, str]
    stream: Stream
    places: tuple[int, ...]
    channels: tuple[Channel, ...]
    names: tuple[str, ...]
    groups: tuple[tuple[int, GroupHead], ...]
    outlined: _Outlined | None
    n_unseen: int

    @property
    def rows(self) -> int:
        return sum(head.rows for _, head in self.groups)

    def batches(self, selection: Selection, alike: int) -> Iterator[DerivedBatch]:
        found = dict(enumerate(self.outlined.read())) if self.outlined else {}
        for number, head in self.groups:
            yield DerivedBatch(self, number, selection, None if _cuts(selection, head) else found.get(number), alike)


@dataclass(frozen=True, slots=True)
class _Outlined:
    """The outlines of a file, not read yet."""

    manifest: Path
    name: str
    head: Head
    packed: bytes

    def read(self) -> list[Outline | None]:
        try:
            with in_a_hurry():
                found = read_outlines(self.manifest, self.name)
        except ArchiveError:
            found = None
        if found is None or found.head != self.packed:
            return [None] * len(self.head.groups)
        return outlines(self.head, found.data)


@dataclass(frozen=True, slots=True)
class DerivedBatch:
    """A row group, read by whoever wants it, in any thread."""

    file: _File
    group: int
    selection: Selection
    outline: Outline | None
    alike: int

    def outlined(self) -> DerivedOutline | None:
        """What it comes to; None where that is not known, or not all of it is wanted."""
        found = self.outline
        if found is None:
            return None
        channels = tuple(found.channels[place] for place in self.file.places)
        return DerivedOutline(self.file.label, self.file.channels, replace(found, channels=channels), self.alike)

    def read(self) -> DerivedSeries:
        from fieldlog.archive.row_groups import read_rows

        file = self.file
        rows = read_rows(file.path, self.group, file.names)
        found = DerivedSeries(file.label, file.channels, rows.utc_us, rows.starts, rows.quality, rows.columns)
        return _cut(found, self.selection) if self.selection.bounded else found


@dataclass(frozen=True, slots=True)
class Derived:
    """Readings to be read, batch by batch in order. `first_us` to `last_us` holds all their times. `n_unseen`: those without
    a known time that are in no batch, where no times are asked for."""

    first_us: int
    last_us: int
    files: tuple[_File, ...]
    selection: Selection
    n_unseen: int

    def batches(self) -> Iterator[DerivedBatch]:
        """The outlines of a file are read when its first batch is asked for."""
        alike: Counter[tuple[Channel, ...]] = Counter()
        for file in self.files:
            alike[file.channels] += file.rows
        return (batch for file in self.files for batch in file.batches(self.selection, alike[file.channels]))


class _Doubtful(Exception):
    """The files cannot be taken for what the archive holds."""


def derived(archive: Archive, readings: Readings) -> Derived | None:
    """The selection from the Parquet files; None where they are not there, not up to date, or hold less than it wants, and
    while another program writes them."""
    manifest, stamp = manifest_of(archive.path), archive.stamp()
    try:
        with in_a_hurry():
            return _Finder(archive, readings, manifest).found() if read_stamp(manifest) == stamp else None
    except (_Doubtful, ArchiveError, OSError):
        return None


class _Finder:
    """Looks for the files of a selection; those without outlines are opened to see what they hold."""

    def __init__(self, archive: Archive, readings: Readings, manifest: Path) -> None:
        self._archive = archive
        self._readings = readings
        self._selection = readings.selection
        self._manifest = manifest
        self._folder = folder_of(archive.path)
        self._entries = read(manifest) or {}
        self._heads = read_heads(manifest)

    def found(self) -> Derived:
        files: list[_File] = []
        spans: list[tuple[int, int]] = []
        n_unseen = 0
        for name, label in _names(self._readings, self._entries):
            file = self._file(name, label)
            files += [file] if file.channels and file.groups else []
            spans += [span for _, head in file.groups if (span := head.span) is not None]
            n_unseen += file.n_unseen if file.channels and not self._selection.bounded else 0
        low, high = min((low for low, _ in spans), default=0), max((high for _, high in spans), default=0)
        return Derived(*_clipped(self._selection, low, high), tuple(files), self._selection, n_unseen)

    def _file(self, name: str, label: str) -> _File:
        path, entry = self._folder / name, self._entries[name]
        if not path.exists() or path.stat().st_size != entry.size:
            raise _Doubtful
        head = self._head(name, entry)
        stream, columns, heads = self._described(path) if head is None else (head.stream, head.columns, head.groups)
        if stream is None:
            raise _Doubtful  # a column of one description is empty where another holds
        places = tuple(chosen_channels(stream, self._selection))
        if any(columns[place].text for place in places):
            raise _Doubtful  # names of an enum, whose numbers are what is drawn
        return _File(
            path=path,
            label=label,
            session=(str(path.parent.parent), path.name.split("-")[0]),
            stream=stream,
            places=places,
            channels=tuple(stream.channels[place] for place in places),
            names=tuple(columns[place].name for place in places),
            groups=tuple((number, group) for number, group in enumerate(heads) if _inside(self._selection, group)),
            outlined=None if head is None else _Outlined(self._manifest, name, head, self._heads[name]),
            n_unseen=sum(group.rows for group in heads if group.span is None),
        )

    def _head(self, name: str, entry: Entry) -> Head | None:
        head = head_of(self._heads[name]) if name in self._heads else None
        return head if head is not None and head.origin == entry.origin else None

    def _described(self, path: Path) -> tuple[Stream | None, tuple[ColumnHead, ...], tuple[GroupHead, ...]]:
        """What the file itself says."""
        from fieldlog.archive.row_groups import PARQUET_ERRORS, described

        try:
            streams, groups = described(path)
        except PARQUET_ERRORS:
            raise _Doubtful from None
        stream = streams[0] if len(streams) == 1 else None
        return stream, () if stream is None else column_heads(self._columns, stream), tuple(groups)

    @cached_property
    def _columns(self) -> Columns:
        return columns_of({source: source.parts() for source in self._archive.sources()})


def _names(readings: Readings, entries: Mapping[str, Entry]) -> Iterator[tuple[str, str]]:
    """The files of the selection that have any reading, in the order of logs, sessions, streams and blocks, each with what
    people call its device."""
    found: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for name, entry in entries.items():
        device, session, stream, file = name.split("/")
        place = (device.removeprefix("device=uid-"), file.split("-")[0])
        number = int(stream.removeprefix("stream=").split("_")[0])
        if entry.rows:
            found.setdefault(place, []).append((int(session.removeprefix("session=")), number, name))
    for source in readings.sources:
        for session_id, stream_id, name in sorted(found.get(_place(source), [])):
            if readings.selection.wants(source.log.key, session_id, stream_id):
                yield name, source.info.name


def _place(source: Source) -> tuple[str, str]:
    return source.info.uid, f"{source.info.log_id:08x}"


def _inside(selection: Selection, head: GroupHead) -> bool:
    """Whether some of a row group may be wanted."""
    if head.span is None:
        return False
    first_us, last_us = head.span
    after = selection.start_us is None or last_us >= selection.start_us
    return after and (selection.end_us is None or first_us < selection.end_us)


def _cuts(selection: Selection, head: GroupHead) -> bool:
    """Whether some of a row group may not be wanted."""
    if head.span is None or not selection.bounded:
        return selection.bounded
    first_us, last_us = head.span
    before = selection.start_us is not None and first_us < selection.start_us
    return before or not head.timed or (selection.end_us is not None and last_us >= selection.end_us)


def _clipped(selection: Selection, first_us: int, last_us: int) -> tuple[int, int]:
    low = first_us if selection.start_us is None else max(first_us, selection.start_us)
    high = last_us if selection.end_us is None else min(last_us, selection.end_us)
    return low, high


def _cut(series: DerivedSeries, selection: Selection) -> DerivedSeries:
    """The readings inside the times wanted; what follows one that is left out begins anew."""
    keep = series.utc_us != UNKNOWN_TIME
    if selection.start_us is not None:
        keep &= series.utc_us >= selection.start_us
    if selection.end_us is not None:
        keep &= series.utc_us < selection.end_us
    if keep.all():
        return series
    starts = series.starts | np.concatenate([[False], ~keep[:-1]])
    columns = [column[keep] for column in series.columns]
    return DerivedSeries(
        series.label, series.channels, series.utc_us[keep], starts[keep], series.quality[keep], columns
    )
