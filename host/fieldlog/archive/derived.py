"""A selection of readings as the Parquet files hold it: for whoever needs much of it at once, and soon.

Rule of this module: it reads derived files only while they show exactly what the archive holds; in any doubt it says so
and the blocks themselves are read. Nothing but the columns and row groups that are wanted is touched.
"""

# pyarrow tells little or nothing of its types; the rules that complain of it are silenced here alone.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeArgument=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from fieldlog.archive.columns import Columns, Kind
from fieldlog.archive.dataset import folder_of, manifest_of
from fieldlog.archive.manifest import Entry, read, read_stamp
from fieldlog.archive.plan import chosen_channels
from fieldlog.archive.selection import Selection
from fieldlog.archive.source import Source
from fieldlog.clock_model import UNKNOWN_TIME, Quality
from fieldlog_protocol.blocks.schema import Channel, Stream

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.store import Archive

_QUALITIES = {quality.name.lower(): int(quality) for quality in Quality}


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
class _File:
    """One file of the selection: which row groups, and what its columns are."""

    path: Path
    label: str
    channels: tuple[Channel, ...]
    names: tuple[str, ...]
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Derived:
    """Readings to be read: each job gives the next batch, in any thread. `first_us` to `last_us` holds all their times."""

    first_us: int
    last_us: int
    rows: int
    jobs: Sequence[Callable[[], DerivedSeries]]


class _Doubtful(Exception):
    """The files cannot be taken for what the archive holds."""


def derived(archive: Archive, readings: Readings) -> Derived | None:
    """The selection from the Parquet files; None where they are not there, not up to date, or hold less than it wants."""
    folder = folder_of(archive.path)
    manifest = manifest_of(archive.path)
    if read_stamp(manifest) != archive.stamp():
        return None
    try:
        return _found(archive, readings, folder, read(manifest) or {})
    except (_Doubtful, pa.ArrowException, OSError):
        return None


def _found(archive: Archive, readings: Readings, folder: Path, entries: Mapping[str, Entry]) -> Derived:
    sources = archive.sources()
    columns = Columns(
        stream for source in sources for stream in source.schemas.streams({number for _, number in source.parts()})
    )
    jobs: list[Callable[[], DerivedSeries]] = []
    ends: list[tuple[int, int]] = []
    rows = 0
    for name, label in _names(readings, entries):
        path = folder / name
        if not path.exists() or path.stat().st_size != entries[name].size:
            raise _Doubtful
        file, spans, count = _opened(path, label, readings.selection, columns)
        if file is not None:
            jobs += [partial(_read, file, group, readings.selection) for group in file.groups]
            ends += spans
            rows += count
    low = min((low for low, _ in ends), default=0)
    high = max((high for _, high in ends), default=0)
    return Derived(*_clipped(readings.selection, low, high), rows, jobs)


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


def _opened(
    path: Path, label: str, selection: Selection, columns: Columns
) -> tuple[_File | None, list[tuple[int, int]], int]:
    """The file with the row groups that may hold some of the selection, the spans of their times, and their readings."""
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        told = msgspec.json.decode(metadata.metadata[b"fieldlog"])
        streams = msgspec.convert(told["streams"], list[Stream])
        spans: list[tuple[int, int]] = []
        groups: list[int] = []
        rows = 0
        for group in range(metadata.num_row_groups):
            span = _span(metadata.row_group(group).column(0).statistics)
            if span is not None and _inside(selection, *span):
                spans.append(span)
                groups.append(group)
                rows += metadata.row_group(group).num_rows
    if len(streams) != 1:
        raise _Doubtful  # a column of one description is empty where another holds
    (stream,) = streams
    chosen = tuple(stream.channels[index] for index in chosen_channels(stream, selection))
    places = [columns.places(stream, [channel])[0] for channel in chosen]
    if any(columns.all[place].kind is Kind.TEXT for place in places):
        raise _Doubtful  # names of an enum, whose numbers are what is drawn
    names = tuple(columns.all[place].name for place in places)
    return (_File(path, label, chosen, names, tuple(groups)) if chosen and groups else None), spans, rows


def _span(statistics: Any) -> tuple[int, int] | None:
    """None where no reading has a known time."""
    if statistics is None or not statistics.has_min_max:
        return None
    return int(statistics.min_raw), int(statistics.max_raw)


def _inside(selection: Selection, first_us: int, last_us: int) -> bool:
    after = selection.start_us is None or last_us >= selection.start_us
    return after and (selection.end_us is None or first_us < selection.end_us)


def _clipped(selection: Selection, first_us: int, last_us: int) -> tuple[int, int]:
    low = first_us if selection.start_us is None else max(first_us, selection.start_us)
    high = last_us if selection.end_us is None else min(last_us, selection.end_us)
    return low, high


def _read(file: _File, group: int, selection: Selection) -> DerivedSeries:
    wanted = ["time", "starts", "quality", *dict.fromkeys(file.names)]
    with pq.ParquetFile(file.path) as opened:
        table = opened.read_row_group(group, columns=wanted, use_threads=False)
    utc_us = _times(table.column("time"))
    found = DerivedSeries(
        file.label,
        file.channels,
        utc_us,
        _numbers(table.column("starts")).view(np.bool_),
        _quality(table.column("quality")),
        [_numbers(table.column(name)) for name in file.names],
    )
    return _cut(found, selection) if selection.bounded else found


def _numbers(column: Any) -> npt.NDArray[Any]:
    """An array where the values lie; floats with NaN where one is missing. pyarrow's own way to numpy imports pandas."""
    parts = [_chunk_numbers(chunk) for chunk in column.chunks]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _chunk_numbers(chunk: Any) -> npt.NDArray[Any]:
    known, data = chunk.buffers()
    values = _bits(data, chunk) if pa.types.is_boolean(chunk.type) else _values(data, chunk)
    if not chunk.null_count:
        return values
    return np.where(_bits(known, chunk) != 0, values, np.nan)


def _values(data: Any, chunk: Any) -> npt.NDArray[Any]:
    dtype = np.dtype(_DTYPES[chunk.type])
    return np.frombuffer(data, dtype, len(chunk), chunk.offset * dtype.itemsize)


def _bits(data: Any, chunk: Any) -> npt.NDArray[np.uint8]:
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=chunk.offset + len(chunk), bitorder="little")
    return bits[chunk.offset :]


_DTYPES = {pa.int8(): "i1", pa.int32(): "i4", pa.int64(): "i8", pa.float64(): "f8"}


def _times(column: Any) -> npt.NDArray[np.int64]:
    parts: list[npt.NDArray[np.int64]] = []
    for chunk in column.cast(pa.int64()).chunks:
        values = _values(chunk.buffers()[1], chunk)
        if chunk.null_count:
            values = np.where(_bits(chunk.buffers()[0], chunk) != 0, values, UNKNOWN_TIME)
        parts.append(values)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _quality(column: Any) -> npt.NDArray[np.uint8]:
    parts: list[npt.NDArray[np.uint8]] = []
    for chunk in column.chunks:
        names = [_QUALITIES[name] for name in chunk.dictionary.to_pylist()]
        if len(names) == 1:
            parts.append(np.full(len(chunk), names[0], np.uint8))
        else:
            parts.append(np.array(names, np.uint8)[_values(chunk.indices.buffers()[1], chunk.indices)])
    return np.concatenate(parts)


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
