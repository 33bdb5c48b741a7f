"""CSV files of readings, a block of their text at a time."""

# pyarrow tells nothing of its types; the rules that complain of it are silenced here alone.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import csv

from fieldlog.tables.arrays import floats, in_words, qualities, texts, times
from fieldlog.tables.header import NULLS, WANTED, Long, header_of, unguarded
from fieldlog.tables.table import NO_TIME, Floats, Micros, Name, Rows

_BLOCK_BYTES = 1 << 22


class CsvTable:
    """A file of text; `label` is what its readings are of where it has no column of devices."""

    def __init__(self, path: Path, label: str, tz: tzinfo) -> None:
        self._path = path
        self._label = label
        self._header = header_of(path, tz)

    @property
    def channels(self) -> Sequence[Name]:
        return list(self._header.channels.values())

    @property
    def left_out(self) -> Sequence[str]:
        return [f"{self._path.name}: {name} has words for values: left out." for name in self._header.words]

    @property
    def names_devices(self) -> bool:
        return self._header.device is not None

    def span_us(self) -> tuple[int, int]:
        ends: list[int] = []
        for batch in self._batches([self._header.time]):
            utc_us = times(batch.column(0), self._header.tz)
            known = utc_us[utc_us != NO_TIME]
            ends += [int(known.min()), int(known.max())] if len(known) else []
        return (min(ends), max(ends)) if ends else (0, 0)

    def rows(self) -> Iterator[Rows]:
        header = self._header
        extra = [header.device, header.quality]
        if header.long is not None:
            extra += [header.long.channel, header.long.value, header.long.unit]
        wanted = [header.time, *header.channels, *(place for place in extra if place is not None)]
        for batch in self._batches(wanted):
            for label, part in self._devices(batch):
                if header.long is None:
                    yield self._wide(label, part)
                else:
                    yield from self._long(label, part, header.long)

    def _devices(self, batch: Any) -> Iterator[tuple[str, Any]]:
        """Rows of one device after the other, as they stand."""
        if self._header.device is None:
            yield self._label, batch
            return
        number, words = texts(batch.column(str(self._header.device)))
        begins = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
        for begin, end in zip(begins, [*begins[1:], len(number)], strict=True):
            yield unguarded(words[number[begin]]), batch.slice(begin, end - begin)

    def _wide(self, label: str, batch: Any) -> Rows:
        columns = [(name, floats(batch.column(str(place)))) for place, name in self._header.channels.items()]
        return Rows(label, self._times(batch), columns, None, self._quality(batch))

    def _long(self, label: str, batch: Any, places: Long) -> Iterator[Rows]:
        """The values of each channel; those that are words are left out."""
        values = _numbers(batch.column(str(places.value)))
        number, words = texts(batch.column(str(places.channel)))
        unit, units = (number * 0, [""]) if places.unit is None else texts(batch.column(str(places.unit)))
        utc_us, quality = self._times(batch), self._quality(batch)
        both = number * len(units) + unit
        for pair in np.unique(both).tolist():
            these = both == pair
            name = Name(unguarded(words[pair // len(units)]), unguarded(units[pair % len(units)]))
            told = None if quality is None else quality[these]
            yield Rows(label, utc_us[these], [(name, values[these])], None, told)

    def _times(self, batch: Any) -> Micros:
        return times(batch.column(str(self._header.time)), self._header.tz)

    def _quality(self, batch: Any) -> npt.NDArray[np.uint8] | None:
        place = self._header.quality
        return None if place is None else qualities(batch.column(str(place)))

    def _batches(self, places: Sequence[int]) -> Iterator[Any]:
        """The columns at these places, each called by its place."""
        header = self._header
        kinds = dict.fromkeys(map(str, header.channels), pa.float64())
        kinds |= dict.fromkeys(map(str, set(places) - set(header.channels)), pa.string())
        kinds[str(header.time)] = pa.timestamp("us", "UTC") if header.aware else pa.timestamp("us")
        convert = csv.ConvertOptions(
            column_types=kinds,
            include_columns=list(map(str, places)),
            null_values=list(NULLS),
            decimal_point=header.decimal_point,
        )
        read = csv.ReadOptions(
            column_names=list(map(str, range(header.n_columns))), skip_rows=header.n_lines, block_size=_BLOCK_BYTES
        )
        parse = csv.ParseOptions(delimiter=header.delimiter)
        with in_words(self._path, WANTED), csv.open_csv(self._path, read, parse, convert) as reader:
            yield from reader


def _numbers(array: Any) -> Floats:
    """Texts as numbers, NaN where one is none."""
    number, words = texts(array)
    return np.array([_number(word) for word in words], np.float64)[number]


def _number(word: str) -> float:
    try:
        return float(word.replace(",", "."))
    except ValueError:
        return float("nan")
