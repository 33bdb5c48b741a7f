"""From Arrow's columns to numpy's arrays, and its errors in words. The door to pyarrow for tables that are read back."""

# pyarrow tells nothing of its types; the rules that complain of it are silenced here alone.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]

from fieldlog.clock_model import Quality
from fieldlog.tables.table import NO_TIME, Bools, Floats, Micros
from fieldlog.zone_offsets import offsets_us
from fieldlog_protocol.errors import UsageError

_QUALITIES = {quality.name.lower(): int(quality) for quality in Quality}


@contextmanager
def in_words(path: Path, wanted: str) -> Generator[None]:
    """Turns pyarrow's errors into one sentence about the file at `path`; `wanted` says what it should be."""
    try:
        yield
    except pa.ArrowException as error:
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{path} cannot be read: {said}. {wanted}") from None


def is_number(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind))


def floats(array: Any) -> Floats:
    """NaN where null."""
    plain = array.cast(pa.int8()) if pa.types.is_boolean(array.type) else array
    plain = plain.cast(pa.float64(), safe=False)
    return np.where(_known(plain), _values(plain, np.dtype(np.float64)), np.nan)


def times(array: Any, tz: tzinfo) -> Micros:
    """UTC, NO_TIME where null; what has no zone is meant in `tz`."""
    bare = array.type.tz is None
    plain = array.cast(pa.timestamp("us", array.type.tz), safe=False).cast(pa.int64())
    values = _values(plain, np.dtype(np.int64))
    known = _known(plain)
    if bare and tz is not UTC:
        values = _from_local(np.where(known, values, 0), tz)
    return np.where(known, values, NO_TIME)


def flags(array: Any) -> Bools:
    found: Bools = floats(array) != 0
    return found


def texts(array: Any) -> tuple[npt.NDArray[np.int64], list[str]]:
    """(number of the text of each row, the different texts); a null is the text ""."""
    named = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    words = [str(word) for word in named.dictionary.to_pylist()]
    numbers = floats(named.indices)
    empty = np.isnan(numbers)
    if empty.any():
        words.append("")
        numbers = np.where(empty, len(words) - 1, numbers)
    return numbers.astype(np.int64), words


def qualities(array: Any) -> npt.NDArray[np.uint8]:
    number, words = texts(array)
    return np.array([_QUALITIES.get(word, Quality.UNKNOWN) for word in words], np.uint8)[number]


def _from_local(local_us: Micros, tz: tzinfo) -> Micros:
    guess = local_us - offsets_us(tz, local_us)
    return local_us - offsets_us(tz, guess)


def _values(array: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)


def _known(array: Any) -> Bools:
    if not array.null_count:
        return np.ones(len(array), np.bool_)
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    found: Bools = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")[array.offset :].view(
        np.bool_
    )
    return found
