"""Readings as Arrow, and Parquet files of them. The only module that knows pyarrow; pandas and polars come by way of it.

Rule of this module: it converts and knows neither database nor devices. A value that is missing and a time that is not
known are null. One `Series` becomes one record batch, and one record batch one row group.
"""

# pyarrow, pandas and polars tell little or nothing of their types; the rules that complain of it are silenced here alone.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeArgument=false

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from pyarrow.fs import LocalFileSystem  # type: ignore[import-untyped]

from fieldlog.archive.columns import Column, Columns, Kind
from fieldlog.archive.places import device_value, stream_value
from fieldlog.archive.series import Series
from fieldlog.clock_model import UNBOUNDED, UNKNOWN_TIME, Quality
from fieldlog_protocol.blocks.schema import Channel
from fieldlog_protocol.errors import UsageError

Batch: TypeAlias = Any  # pyarrow.RecordBatch
Schema: TypeAlias = Any  # pyarrow.Schema
Reader: TypeAlias = Any  # pyarrow.RecordBatchReader
Table: TypeAlias = Any  # pyarrow.Table
Array: TypeAlias = Any  # pyarrow.Array

_TIME = pa.timestamp("us", "UTC")
_QUALITY = pa.dictionary(pa.int8(), pa.string())
_QUALITIES = [quality.name.lower() for quality in Quality]
_TYPES = {
    Kind.INT32: pa.int32(),
    Kind.INT64: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.BOOL: pa.bool_(),
    Kind.TEXT: pa.string(),
}
_DETAILS = (
    pa.field("error_us", pa.int64(), metadata={"unit": "us"}),
    pa.field("quality", _QUALITY, nullable=False),
    pa.field("starts", pa.bool_(), nullable=False),
    pa.field("boot", pa.uint16(), nullable=False),
    pa.field("tick", pa.int64(), nullable=False, metadata={"unit": "s/32768"}),
    pa.field("log", pa.uint32(), nullable=False),
)
_NAMES = pa.dictionary(pa.int32(), pa.string())
_PARTITIONS = (
    pa.field("device", _NAMES, nullable=False),
    pa.field("session", pa.int32(), nullable=False),
    pa.field("stream", _NAMES, nullable=False),
)
_DELTA, _SPLIT, _RUNS, _PLAIN = "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "RLE", "PLAIN"
_DICTIONARY = "dictionary"  # pyarrow names these columns in another place


@dataclass(frozen=True, slots=True)
class Partitions:
    """What folders tell of a file's readings, for columns of a table: every device and stream that can occur."""

    devices: tuple[str, ...]
    streams: tuple[str, ...]


class Layout:
    """The schema of some readings, and how they are put into it; a file has no `partitions`."""

    def __init__(
        self, columns: Columns, partitions: Partitions | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        self.columns = columns
        self._partitions = partitions
        fields = [pa.field("time", _TIME), *map(_field, columns.all), *_DETAILS]
        units = {column.name: column.unit for column in columns.all}
        # pandas hands PANDAS_ATTRS on as the frame's attrs
        told = {"PANDAS_ATTRS": json.dumps({"units": units}), **(metadata or {})}
        self.schema: Schema = pa.schema([*fields, *(_PARTITIONS if partitions else ())], metadata=told)

    @property
    def units(self) -> dict[str, str]:
        return {column.name: column.unit for column in self.columns.all}

    def batch(self, series: Series) -> Batch:
        """The readings of a series: a column per channel, null in those of other streams."""
        values: dict[int, Array] = {}
        places = self.columns.places(series.stream, series.channels)
        for place, channel, raw in zip(places, series.channels, series.raw, strict=True):
            values[place] = _values(self.columns.all[place], channel, raw)
        n = len(series)
        arrays = [
            _array(series.utc_us, _TIME, series.utc_us == UNKNOWN_TIME),
            *(
                values[place] if place in values else pa.nulls(n, _TYPES[column.kind])
                for place, column in enumerate(self.columns.all)
            ),
            _array(series.error_us, pa.int64(), series.error_us == UNBOUNDED),
            _named(_array(series.quality.view(np.int8), pa.int8()), _QUALITIES),
            _array(series.starts, pa.bool_()),
            _array(series.boot_id, pa.uint16()),
            _array(series.tick, pa.int64()),
            _array(np.full(n, series.log.log_id, np.uint32), pa.uint32()),
        ]
        return pa.record_batch([*arrays, *self._places(series, n)], schema=self.schema)

    def _places(self, series: Series, n: int) -> list[Array]:
        if self._partitions is None:
            return []
        return [
            _repeated(self._partitions.devices, device_value(series.log.uid), n),
            _array(np.full(n, series.session, np.int32), pa.int32()),
            _repeated(self._partitions.streams, stream_value(series.stream), n),
        ]


def _repeated(values: tuple[str, ...], value: str, n: int) -> Array:
    """The same dictionary in every batch, as some readers need it."""
    return _named(_array(np.full(n, values.index(value), np.int32), pa.int32()), values)


def _field(column: Column) -> Any:
    return pa.field(column.name, _TYPES[column.kind], nullable=column.optional, metadata={"unit": column.unit})


def _array(values: npt.NDArray[Any], type: Any, missing: npt.NDArray[np.bool_] | None = None) -> Array:
    """The values where they lie. Made of buffers: pyarrow's own way from numpy imports pandas wherever it is installed."""
    known = None if missing is None or not missing.any() else pa.py_buffer(_bits(~missing))
    data = _bits(values) if pa.types.is_boolean(type) else np.ascontiguousarray(values)
    return pa.Array.from_buffers(type, len(values), [known, pa.py_buffer(data)])


def _bits(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.packbits(flags, bitorder="little")


def _named(indices: Array, names: Sequence[str]) -> Array:
    """A dictionary array of strings, of indices that are all within."""
    data = [name.encode() for name in names]
    ends = np.cumsum([0, *map(len, data)]).astype(np.int32)
    words = pa.StringArray.from_buffers(len(data), pa.py_buffer(ends), pa.py_buffer(b"".join(data)))
    return pa.DictionaryArray.from_arrays(indices, words, safe=False)


def _values(column: Column, channel: Channel, raw: npt.NDArray[Any]) -> Array:
    missing = _missing(channel, raw) if column.optional else None
    if column.kind is Kind.TEXT:
        return _texts(channel, raw, missing)
    if column.kind is Kind.BOOL:
        return _array(raw != 0, pa.bool_(), missing)
    if column.kind is Kind.FLOAT:
        return _array(channel.values(raw), pa.float64(), missing)
    return _array(_whole(channel, raw, column.kind), _TYPES[column.kind], missing)


def _missing(channel: Channel, raw: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    missing: npt.NDArray[np.bool_] = np.zeros(len(raw), np.bool_)
    if channel.type.is_float:
        missing = np.isnan(raw)
    elif channel.missing is not None:
        missing = raw == channel.missing
    return missing


def _whole(channel: Channel, raw: npt.NDArray[Any], kind: Kind) -> npt.NDArray[Any]:
    dtype = np.int32 if kind is Kind.INT32 else np.int64
    if (channel.multiplier, channel.offset, channel.exponent) == (1, 0, 0):
        return raw.astype(dtype, copy=False)
    scaled: npt.NDArray[Any] = (raw.astype(np.int64) * channel.multiplier + channel.offset) * 10**channel.exponent
    return scaled.astype(dtype)


def _texts(channel: Channel, raw: npt.NDArray[Any], missing: npt.NDArray[np.bool_] | None) -> Array:
    """The names of an enum's values, and the number where one has no name."""
    names = [*channel.choices, *map(str, range(len(channel.choices), 256))]
    return _named(_array(raw.astype(np.int32), pa.int32(), missing), names).cast(pa.string())


# -- readers ----------------------------------------------------------------------------------------------------


def reader(layout: Layout, pieces: Iterable[Series]) -> Reader:
    """A stream of record batches; a piece is converted when it is asked for."""
    return pa.RecordBatchReader.from_batches(layout.schema, (layout.batch(piece) for piece in pieces))


def to_pandas(layout: Layout, table: Table) -> Any:
    """A pandas DataFrame with the units in `attrs["units"]`."""
    try:
        import pandas as pd  # type: ignore[import-untyped]  # noqa: F401 - pyarrow imports it too, less clearly
    except ImportError as error:
        raise _not_installed("pandas") from error
    frame = table.to_pandas()
    frame.attrs["units"] = layout.units
    return frame


def to_polars(table: Table) -> Any:
    """A polars DataFrame."""
    try:
        import polars as pl
    except ImportError as error:
        raise _not_installed("polars") from error
    return pl.from_arrow(table)


def to_numpy(table: Table) -> dict[str, npt.NDArray[Any]]:
    """An array per column: NaT and NaN where null, so that whole numbers some of which are missing become floats."""
    return {name: _numpy(table.column(name)) for name in table.column_names}


def _numpy(column: Array) -> npt.NDArray[Any]:
    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    found: npt.NDArray[Any] = plain.to_numpy()
    return found


def _not_installed(name: str) -> UsageError:
    return UsageError(f"{name} is not installed: install it, or take to_arrow() or to_numpy().")


# -- Parquet ----------------------------------------------------------------------------------------------------


class ParquetWriter:
    """A file of readings, a row group per batch. It is whole when `close` returns. `first`: the batch to be written first."""

    def __init__(self, path: Path, layout: Layout, first: Batch) -> None:
        pool = pa.system_memory_pool()  # a twentieth quicker than pyarrow's own, which keeps 20 MB more
        # a page is written in two pieces, most of them far smaller than what the system takes well
        self._file = LocalFileSystem().open_output_stream(str(path), compression=None, buffer_size=_BUFFERED_BYTES)
        options = file_options(layout.columns, first)
        try:
            self._writer = pq.ParquetWriter(self._file, layout.schema, memory_pool=pool, **options)
        except BaseException:
            self._file.close()
            raise
        self.rows = 0

    def write(self, batch: Batch) -> None:
        self._writer.write_batch(batch, row_group_size=len(batch))
        self.rows += len(batch)

    def close(self) -> None:
        try:
            self._writer.close()
        finally:
            self._file.close()


def file_options(columns: Columns, first: Batch | None = None) -> dict[str, Any]:
    """Encodings by what the values are, which readings that come `first` tell; bits per value are in docs/archive.md."""
    ways = {column.name: _way(column, first) for column in columns.all}
    dictionaries = [name for name, (encoding, _) in ways.items() if encoding == _DICTIONARY]
    encodings = _TIMES | {name: encoding for name, (encoding, _) in ways.items() if encoding != _DICTIONARY}
    return {
        "compression": dict.fromkeys(("quality", *_TIMES), "snappy")
        | dict.fromkeys(_ALIKE, "lz4")
        | {name: compression for name, (_, compression) in ways.items()},
        "compression_level": {name: 1 for name, (_, compression) in ways.items() if compression == "zstd"},
        "write_statistics": ["time"],  # what readers skip row groups and pages by
        "use_dictionary": ["quality", *dictionaries],
        "column_encoding": encodings,
        "write_page_index": True,
        "write_batch_size": _VALUES_AT_ONCE,
    }


def _way(column: Column, first: Batch | None) -> tuple[str, str]:
    """Encoding and compression of a channel's column.

    Decimal fractions make long binary ones, of which the same ones come again: a dictionary. The more of them are new,
    the more of it are its values, and if next to all are new their bytes are split, as those of binary fractions are.
    Whole numbers move in small steps: deltas. zstd has its price and stands where it makes a column smaller by a tenth
    or more; behind the numbers of a dictionary snappy gains a fortieth, for a fifth of the time that they take.
    """
    if column.kind is Kind.FLOAT and not column.binary:
        new = 0.0 if first is None else _share_of_new(first.column(column.name))
        return next(way for most, way in _DECIMALS if new <= most)
    return _WAYS[column.kind]


def _share_of_new(values: Array) -> float:
    """Of floats the part that did not come before, among some evenly chosen ones; 0 where there are none."""
    if values.null_count == len(values):
        return 0.0
    held = np.frombuffer(values.buffers()[1], np.float64)[values.offset : values.offset + len(values)]
    chosen = held[:: max(1, len(held) // _TRIED_VALUES)]
    known = chosen[~np.isnan(chosen)]
    return len(np.unique(known)) / max(1, len(known))


_TRIED_VALUES = 1 << 14
_DECIMALS = (
    (0.2, (_DICTIONARY, "none")),
    (0.4, (_DICTIONARY, "zstd")),
    (0.95, (_PLAIN, "zstd")),
    (1.0, (_SPLIT, "zstd")),
)
"""Ways for decimal fractions of which up to such a part is new."""
_BUFFERED_BYTES = 1 << 18
_VALUES_AT_ONCE = 1 << 14  # of a column are handed to its encoder; pyarrow's own 1024 take a twentieth more time
_TIMES = {"time": _DELTA, "error_us": _DELTA, "tick": _DELTA, "boot": _PLAIN, "log": _PLAIN, "starts": _PLAIN}
_ALIKE = ("boot", "log")  # hardly ever change: lz4 makes as good as nothing of them, in the shortest time
_WAYS = {
    Kind.INT32: (_DELTA, "snappy"),
    Kind.INT64: (_DELTA, "snappy"),
    Kind.FLOAT: (_SPLIT, "zstd"),
    Kind.BOOL: (_RUNS, "snappy"),
    Kind.TEXT: (_DICTIONARY, "snappy"),
}


def difference(path: Path, layout: Layout, pieces: Iterator[Series]) -> str | None:
    """What distinguishes a Parquet file from the readings that it should hold; None when nothing does."""
    try:
        with pq.ParquetFile(path) as file:
            return _difference(file, layout, pieces)
    except (pa.ArrowException, OSError) as error:
        return f"cannot be read ({' '.join(str(error).split())[:120]})"


def _difference(file: Any, layout: Layout, pieces: Iterator[Series]) -> str | None:
    if not file.schema_arrow.equals(layout.schema, check_metadata=True):
        return "has other columns or descriptions than the archive gives it"
    groups = range(file.metadata.num_row_groups)
    rows = 0
    for group, piece in zip(groups, pieces, strict=False):
        expected = pa.Table.from_batches([layout.batch(piece)])
        if not file.read_row_group(group).equals(expected):
            return f"holds other readings than the archive among its {len(piece)} from number {rows} on"
        rows += len(piece)
    more = sum(map(len, pieces))
    if file.metadata.num_rows != rows + more:
        return f"holds {file.metadata.num_rows} readings and the archive {rows + more}"
    return None
