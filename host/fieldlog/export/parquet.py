"""Readings as one Parquet file that explains itself: units, devices, sessions and calibrations stand in its schema.

Rule of this module: it streams, and what a column is called and holds is as `archive.arrow` has it.
"""

# pyarrow tells nothing of its types; the rules that complain of it are silenced here alone.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from fieldlog.archive import arrow
from fieldlog.archive.columns import Column, Columns
from fieldlog.archive.places import device_value, stream_value
from fieldlog.export.about import DeviceTold, Seen, seen_in
from fieldlog.export.layout import Batches
from fieldlog_protocol.blocks.schema import Stream

_ROWS_OF_GROUP = 1 << 18
_PLACES = ("device", "session", "stream")


def write_parquet(readings: Batches, path: Path, about: Sequence[DeviceTold] = ()) -> int:
    """Write `readings` into a file; answers the number of rows. `about`: what is known of their devices and sessions.

    A row for each reading of a stream: streams follow one another, and a channel is null in the rows of other streams.
    Each field's metadata has its `unit` and `calibration`; `units` in the file's has all units, `fieldlog` what is known
    of devices, sessions and streams, as JSON. UsageError, and no file, when there is no reading.
    """
    seen = seen_in(readings)
    layout = _layout(seen)
    schema = _explained(layout, seen, about)
    count = 0
    groups = _groups(layout.batch(series) for series in readings.batches())
    first = next(groups, [])
    with pq.ParquetWriter(path, schema, **_options(layout.columns, first)) as writer:
        for batches in chain([first] if first else [], groups):
            table = pa.Table.from_batches(batches).replace_schema_metadata(schema.metadata).cast(schema)
            writer.write_table(table, row_group_size=max(1, len(table)))
            count += len(table)
    return count


def _layout(seen: Seen) -> arrow.Layout:
    devices = dict.fromkeys(device_value(uid) for uid in seen.uids)
    streams = dict.fromkeys(map(stream_value, seen.streams))
    return arrow.Layout(Columns(seen.streams), arrow.Partitions(tuple(devices), tuple(streams)))


def _groups(batches: Iterable[Any]) -> Iterator[list[Any]]:
    """As many batches as fill a row group: those of short sessions are small."""
    held: list[Any] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= _ROWS_OF_GROUP:
            yield held
            held = []
    if held:
        yield held


def _options(columns: Columns, first: Sequence[Any]) -> dict[str, Any]:
    """As the archive's own files have it, by the longest of the `first` batches, and for what its folders stand for."""
    options = arrow.file_options(columns, max(first, key=len, default=None))
    options["use_dictionary"] = [*options["use_dictionary"], *_PLACES]
    options["compression"] = {**options["compression"], **dict.fromkeys(_PLACES, "snappy")}
    return options


def _explained(layout: arrow.Layout, seen: Seen, about: Sequence[DeviceTold]) -> Any:
    """The schema with all that is known."""
    calibrations = _calibrations(layout.columns, seen.streams)
    fields = [_field(field, calibrations.get(field.name)) for field in layout.schema]
    told = msgspec.json.encode({"format": 1, "devices": seen.told(about), "streams": seen.streams})
    metadata = {**layout.schema.metadata, b"units": json.dumps(layout.units).encode(), b"fieldlog": told}
    return pa.schema(fields, metadata=metadata)


def _field(field: Any, calibrations: list[tuple[float, ...]] | None) -> Any:
    if calibrations is None:
        return field
    return field.with_metadata({**(field.metadata or {}), b"calibration": json.dumps(calibrations).encode()})


def _calibrations(columns: Columns, streams: Sequence[Stream]) -> dict[str, list[tuple[float, ...]]]:
    """The polynomials of the channels in each column; one that was calibrated on the way has several."""
    found: dict[str, dict[tuple[float, ...], None]] = {}
    for stream in streams:
        places = columns.places(stream, stream.channels)
        for place, channel in zip(places, stream.channels, strict=True):
            column: Column = columns.all[place]
            found.setdefault(column.name, {})[channel.calibration] = None
    return {name: list(different) for name, different in found.items() if any(different)}
