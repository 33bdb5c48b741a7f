"""Row groups of Parquet files as arrays. The one module but `arrow` that knows pyarrow.

Rule of this module: nothing but the columns and row groups that are wanted is touched.
"""

# pyarrow tells little or nothing of its types; the rules that complain of it are silenced here alone.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeArgument=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from fieldlog.archive.outline_file import GroupHead
from fieldlog.clock_model import UNKNOWN_TIME, Quality
from fieldlog_protocol.blocks.schema import Stream

PARQUET_ERRORS: tuple[type[Exception], ...] = (pa.ArrowException, OSError)
_QUALITIES = {quality.name.lower(): int(quality) for quality in Quality}


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a row group. `columns`: whole numbers, or floats with NaN where a value is missing."""

    utc_us: npt.NDArray[np.int64]
    starts: npt.NDArray[np.bool_]
    quality: npt.NDArray[np.uint8]
    columns: list[npt.NDArray[Any]]


def described(path: Path) -> tuple[list[Stream], list[GroupHead]]:
    """The streams of a file as it describes them, and its row groups."""
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        told = msgspec.json.decode(metadata.metadata[b"fieldlog"])
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        heads = [GroupHead(group.num_rows, _span(group.column(0).statistics), timed=False) for group in groups]
    return msgspec.convert(told["streams"], list[Stream]), heads


def _span(statistics: Any) -> tuple[int, int] | None:
    """None where no reading has a known time."""
    if statistics is None or not statistics.has_min_max:
        return None
    return int(statistics.min_raw), int(statistics.max_raw)


def read_rows(path: Path, group: int, names: Sequence[str]) -> Rows:
    """The times, and the values of the columns of these names."""
    wanted = ["time", "starts", "quality", *dict.fromkeys(names)]
    with pq.ParquetFile(path) as opened:
        table = opened.read_row_group(group, columns=wanted, use_threads=False)
    return Rows(
        _times(table.column("time")),
        _numbers(table.column("starts")).view(np.bool_),
        _quality(table.column("quality")),
        [_numbers(table.column(name)) for name in names],
    )


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
