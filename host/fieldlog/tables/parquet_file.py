"""Parquet files of readings, a part of a row group at a time."""

# pyarrow tells nothing of its types; the rules that complain of it are silenced here alone.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from fieldlog.archive.columns import RESERVED, Columns
from fieldlog.archive.places import device_value, stream_value
from fieldlog.plot.trace import OFF_ON
from fieldlog.same_names import Owner, shared_names, title_of
from fieldlog.tables.arrays import flags, floats, in_words, is_number, qualities, texts, times
from fieldlog.tables.table import NO_TIME, Name, Rows
from fieldlog_protocol.blocks.schema import ChannelType, Stream
from fieldlog_protocol.errors import UsageError

_ROWS_AT_ONCE = 1 << 17
_TIMES = ("time", "timestamp", "datetime", "date", "utc")
WANTED = "Nothing was plotted; a table has a column of times and some of numbers, as `fieldlog export` writes them"


class ParquetTable:
    """A file, whoever wrote it; one of fieldlog's own tells streams, units and what interrupts a line."""

    def __init__(self, path: Path, label: str, tz: tzinfo) -> None:
        self._path = path
        self._label = label
        self._tz = tz
        with in_words(path, WANTED), pq.ParquetFile(path) as file:
            self._schema = file.schema_arrow
        self._time = self._time_column()
        told: dict[str, Any] = msgspec.json.decode((self._schema.metadata or {}).get(b"fieldlog", b"{}"))
        self._own = "streams" in told and {"starts", "quality"} <= set(self._schema.names)
        self._streams = _columns_of(msgspec.convert(told["streams"], list[Stream])) if self._own else {}
        self._labels = _labels_of(told)
        aside = {self._time, *(RESERVED if self._own else ())}
        plain = [field for field in self._schema if field.name not in aside]
        self._names = {field.name: _name(field) for field in plain if is_number(field.type)}
        self._words = [field.name for field in plain if not is_number(field.type)]

    def _time_column(self) -> str:
        stamps = [field.name for field in self._schema if pa.types.is_timestamp(field.type)]
        named = [name for wanted in _TIMES for name in stamps if name.lower() == wanted]
        if not stamps:
            raise UsageError(f"{self._path} has no column of times. {WANTED}")
        found: str = (named or stamps)[0]
        return found

    @property
    def channels(self) -> Sequence[Name]:
        if not self._own:
            return list(self._names.values())
        own = (pair for found in self._streams.values() for pair in found.items())
        return list(dict.fromkeys(name for key, name in own if key in self._names))

    @property
    def left_out(self) -> Sequence[str]:
        return [f"{self._path.name}: {name} has no numbers for values: left out." for name in self._words]

    @property
    def names_devices(self) -> bool:
        return self._own and len(self._labels) > 1

    def span_us(self) -> tuple[int, int]:
        ends: list[int] = []
        for batch in self._batches([self._time]):
            utc_us = times(batch.column(0), self._tz)
            known = utc_us[utc_us != NO_TIME]
            ends += [int(known.min()), int(known.max())] if len(known) else []
        return (min(ends), max(ends)) if ends else (0, 0)

    def rows(self) -> Iterator[Rows]:
        if not self._own:
            for batch in self._batches([self._time, *self._names]):
                columns = [(name, floats(batch.column(key))) for key, name in self._names.items()]
                yield Rows(self._label, times(batch.column(self._time), self._tz), columns)
            return
        places = [name for name in ("device", "session", "stream") if name in self._schema.names]
        last: tuple[str, ...] | None = None
        for batch in self._batches([self._time, "starts", "quality", *places, *self._names]):
            for place, part in _groups(batch, places):
                yield self._own_rows(dict(zip(places, place, strict=True)), part, fresh=place != last)
                last = place

    def _own_rows(self, place: Mapping[str, str], batch: Any, *, fresh: bool) -> Rows:
        """Of one stream in one session of one device."""
        channels = self._streams.get(place.get("stream", ""), {}) or {
            key: name for found in self._streams.values() for key, name in found.items()
        }
        starts = flags(batch.column("starts"))
        if fresh:
            starts[:1] = True
        columns = [(name, floats(batch.column(key))) for key, name in channels.items() if key in self._names]
        label = self._labels.get(place.get("device", ""), self._label)
        return Rows(
            label, times(batch.column(self._time), self._tz), columns, starts, qualities(batch.column("quality"))
        )

    def _batches(self, names: Sequence[str]) -> Iterator[Any]:
        with in_words(self._path, WANTED), pq.ParquetFile(self._path) as file:
            yield from file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(names))


def _name(field: Any) -> Name:
    return Name(field.name, _unit(field), states=OFF_ON if pa.types.is_boolean(field.type) else None)


def _unit(field: Any) -> str:
    unit: bytes = (field.metadata or {}).get(b"unit", b"")
    return unit.decode("utf-8", "replace")


def _columns_of(streams: Sequence[Stream]) -> dict[str, dict[str, Name]]:
    """Of each stream the columns of its channels, under the names that they have in a picture."""
    columns = Columns(streams)
    shared = shared_names(Owner("", stream.id, one.name, one.unit) for stream in streams for one in stream.channels)
    found: dict[str, dict[str, Name]] = {}
    for stream in streams:
        for place, channel in zip(columns.places(stream, stream.channels), stream.channels, strict=True):
            states = OFF_ON if channel.type == ChannelType.BOOL else None
            title = channel.name
            if (channel.name, channel.unit) in shared:
                title = title_of(stream.name, channel.name)
            name = Name(title, channel.unit, held=not stream.period_us, states=states)
            found.setdefault(stream_value(stream), {})[columns.all[place].name] = name
    return found


def _labels_of(told: Mapping[str, Any]) -> dict[str, str]:
    """What people call each device."""
    devices: list[dict[str, Any]] = told.get("devices", [])
    return {device_value(one["uid"]): one["label"] or one["serial"] or one["uid"] for one in devices}


def _groups(batch: Any, places: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Rows of one device, session and stream after the other."""
    if not batch.num_rows:
        return
    found = [texts(batch.column(name)) for name in places]
    changes = np.zeros(batch.num_rows, np.bool_)
    changes[0] = True
    for number, _ in found:
        changes[1:] |= number[1:] != number[:-1]
    begins = np.flatnonzero(changes).tolist()
    for begin, end in zip(begins, [*begins[1:], batch.num_rows], strict=True):
        yield tuple(words[number[begin]] for number, words in found), batch.slice(begin, end - begin)
