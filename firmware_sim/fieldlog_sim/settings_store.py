"""Settings on flash: keys and values, any number of them replaced in one atomic record.

The partition is two halves, of which one is active. A record is appended to it and counts once its CRC is right. When
the half is full, or its end was torn, all that is live is written to the other half as one record, and that half's
header, programmed last, makes it the active one. So a power cut leaves the former set or the new one, never a mixture,
and both halves wear alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.layout import Layout
from fieldlog_sim.nor_flash import Partition
from fieldlog_sim.store_errors import StoreFull

MAX_KEY = 72
MAX_VALUE = 512
_MAGIC = 0x53474E53
_DELETED = 0xFFFF


@dataclass(frozen=True, slots=True)
class _HalfHeader:
    magic: int
    generation: int
    crc: int


@dataclass(frozen=True, slots=True)
class _RecordHeader:
    """`crc` covers the length and the payload."""

    length: int
    crc: int


@dataclass(frozen=True, slots=True)
class _EntryHeader:
    key_length: int
    value_length: int


_HALF = Layout(_HalfHeader, [("magic", "u32"), ("generation", "u32"), ("crc", "u32")], endian="little")
_RECORD = Layout(_RecordHeader, [("length", "u32"), ("crc", "u32")], endian="little")
_ENTRY = Layout(_EntryHeader, [("key_length", "u16"), ("value_length", "u16")], endian="little")


class SettingsStore:
    """Mounts at once: what it holds in memory is what flash holds."""

    def __init__(self, partition: Partition) -> None:
        if partition.sectors < 2:
            raise UsageError("a settings store needs two sectors or more")
        self._partition = partition
        self._half_sectors = partition.sectors // 2
        self._half_size = self._half_sectors * partition.sector_size
        self._values: dict[str, bytes] = {}
        self._generation, self._active = max((self._read_generation(half), half) for half in (0, 1))
        self._end: int | None = None
        if self._generation:
            self._end = self._load()

    def get(self, key: str) -> bytes | None:
        return self._values.get(key)

    def items(self) -> dict[str, bytes]:
        return dict(sorted(self._values.items()))

    def put(self, key: str, value: bytes) -> None:
        self.put_many({key: value})

    def delete(self, key: str) -> None:
        self.put_many({key: None})

    def put_many(self, changes: Mapping[str, bytes | None]) -> None:
        """Set these and delete those that are None: all of it or, when power goes or space ends, nothing."""
        for key, value in changes.items():
            _require_in_limits(key, value)
        news = {key: value for key, value in changes.items() if value != self._values.get(key)}
        if not news:
            return
        values = {key: value for key, value in {**self._values, **news}.items() if value is not None}
        record = _build_record(news)
        if self._end is not None and self._end + len(record) <= self._half_size:
            self._append(self._end, record)
        else:
            self._rewrite(values)
        self._values = values

    def _append(self, end: int, record: bytes) -> None:
        self._partition.program(self._active * self._half_size + end, record)
        self._end = end + len(record)

    def _rewrite(self, values: Mapping[str, bytes]) -> None:
        record = _build_record(values)
        if _HALF.size + len(record) > self._half_size:
            raise StoreFull(
                f"the settings take {len(record)} bytes, the store holds {self._half_size - _HALF.size}. "
                "Nothing was changed. Delete settings that are not needed"
            )
        half, generation = 1 - self._active, self._generation + 1
        for sector in range(self._half_sectors):
            self._partition.erase(half * self._half_sectors + sector)
        start = half * self._half_size
        self._partition.program(start + _HALF.size, record)
        self._partition.program(start, _build_half_header(generation))
        self._active, self._generation, self._end = half, generation, _HALF.size + len(record)

    def _read_generation(self, half: int) -> int:
        """0 for a half that was never completed."""
        data = self._partition.read(half * self._half_size, _HALF.size)
        header = _HALF.parse(data)
        valid = header.magic == _MAGIC and header.crc == zlib.crc32(data[:-4])
        return header.generation if valid else 0

    def _load(self) -> int | None:
        """Replay the active half. The end of its log, or None when what lies behind is not erased: it was torn."""
        data = self._partition.read(self._active * self._half_size, self._half_size)
        end = _HALF.size
        for payload in _records(data, end):
            self._replay(payload)
            end += _RECORD.size + len(payload)
        return end if data.count(0xFF, end) == len(data) - end else None

    def _replay(self, payload: bytes) -> None:
        for key, value in _entries(payload):
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value


class Section:
    """The keys of a store that begin with a prefix, without it: what belongs to one part of the firmware."""

    def __init__(self, store: SettingsStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def get(self, key: str) -> bytes | None:
        return self._store.get(self._prefix + key)

    def put_many(self, changes: Mapping[str, bytes | None]) -> None:
        self._store.put_many(self.records(changes))

    def records(self, changes: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
        """The changes as the store has them, to be put together with those of other parts."""
        return {self._prefix + key: value for key, value in changes.items()}

    def clear(self) -> None:
        self._store.put_many(dict.fromkeys(key for key in self._store.items() if key.startswith(self._prefix)))


def _require_in_limits(key: str, value: bytes | None) -> None:
    if not 1 <= len(key.encode()) <= MAX_KEY:
        raise UsageError(f"a settings key has 1 to {MAX_KEY} bytes, {key[:MAX_KEY]!r} has {len(key.encode())}")
    if value is not None and len(value) > MAX_VALUE:
        raise UsageError(f"a settings value has at most {MAX_VALUE} bytes, that of {key!r} has {len(value)}")


def _build_half_header(generation: int) -> bytes:
    body = _HALF.build(_HalfHeader(_MAGIC, generation, 0))[:-4]
    return body + zlib.crc32(body).to_bytes(4, "little")


def _build_record(values: Mapping[str, bytes | None]) -> bytes:
    payload = b"".join(_build_entry(key.encode(), value) for key, value in values.items())
    return _RECORD.build(_RecordHeader(len(payload), _record_crc(payload))) + payload


def _build_entry(key: bytes, value: bytes | None) -> bytes:
    length = _DELETED if value is None else len(value)
    return _ENTRY.build(_EntryHeader(len(key), length)) + key + (value or b"")


def _record_crc(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(len(payload).to_bytes(4, "little")))


def _records(data: bytes, at: int) -> Iterator[bytes]:
    """The payloads up to the first record that is erased, torn or does not fit."""
    while at + _RECORD.size <= len(data):
        header = _RECORD.parse(data[at : at + _RECORD.size])
        at += _RECORD.size
        payload = data[at : at + header.length]
        if len(payload) != header.length or header.crc != _record_crc(payload):
            return
        yield payload
        at += header.length


def _entries(payload: bytes) -> Iterator[tuple[str, bytes | None]]:
    at = 0
    while at < len(payload):
        header = _ENTRY.parse(payload[at : at + _ENTRY.size])
        key_end = at + _ENTRY.size + header.key_length
        at = key_end if header.value_length == _DELETED else key_end + header.value_length
        yield (
            payload[key_end - header.key_length : key_end].decode(),
            None if header.value_length == _DELETED else payload[key_end:at],
        )
